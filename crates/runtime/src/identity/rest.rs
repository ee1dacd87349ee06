//! Decides how the key of a daemon lies on the disk of its node.
//!
//! XChaCha20-Poly1305 under a key that BLAKE3 derives from the node's secret key. The nonce is
//! random; at 192 bits two never meet, however often keys are locked. The associated data is the
//! version and the daemon.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 24 | the nonce |
//! | 32 | the daemon's seed, encrypted |
//! | 16 | the tag |
//!
//! It protects a copy of the daemon's store that is read without the node's key. Whoever has both
//! has the daemons.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use whimbrel_wire::{EntityId, Identity, NodeKey};
use zeroize::{Zeroize, Zeroizing};

use super::error::IdentityError;
use super::random::Random;

/// The version that this node writes, and the only one that it reads.
const VERSION: u8 = 1;

/// The length of a locked key of this version.
pub(super) const LOCKED_BYTES: usize = 1 + 24 + 32 + 16;

/// The nonce, the encrypted seed and the tag.
type Parts<'a> = (&'a [u8; 24], &'a [u8; 32], &'a [u8; 16]);

/// Separates this use of the node's key from every other. It is part of what lies on the disk.
const CONTEXT: &str = "whimbrel 2026-11-21 identity of a daemon at rest 1";

/// Locks `identity` so that only `node` can unlock it.
///
/// # Errors
///
/// [`Randomness`](IdentityError::Randomness).
pub(crate) fn lock(node: &NodeKey, identity: &Identity) -> Result<Vec<u8>, IdentityError> {
    lock_seed(node, &identity.entity_id(), &identity.seed())
}

/// Locks the seed of whichever daemon it is, in the name of `entity`.
pub(super) fn lock_seed(
    node: &NodeKey,
    entity: &EntityId,
    seed: &Zeroizing<[u8; 32]>,
) -> Result<Vec<u8>, IdentityError> {
    let mut nonce = [0; 24];
    let mut random = Random::default();
    random.fill(&mut nonce);
    random.finish()?;
    let mut sealed = seed.clone();
    let tag = cipher(node)
        .encrypt_inout_detached(&nonce.into(), &associated(entity), sealed.as_mut_slice().into())
        .map_err(|_| IdentityError::Cipher)?;
    Ok([&[VERSION], nonce.as_slice(), sealed.as_slice(), tag.as_slice()].concat())
}

/// Unlocks what `node` locked of the daemon `entity`.
///
/// # Errors
///
/// [`UnknownVersion`](IdentityError::UnknownVersion), [`WrongLength`](IdentityError::WrongLength);
/// [`NotLockedHere`](IdentityError::NotLockedHere) for another node, another daemon or altered
/// bytes; [`WrongDaemon`](IdentityError::WrongDaemon) when this node locked another key in the
/// daemon's name.
pub(crate) fn unlock(
    node: &NodeKey,
    entity: &EntityId,
    locked: &[u8],
) -> Result<Identity, IdentityError> {
    let (nonce, sealed, tag) = split(locked)?;
    let mut seed = Zeroizing::new(*sealed);
    cipher(node)
        .decrypt_inout_detached(
            &(*nonce).into(),
            &associated(entity),
            seed.as_mut_slice().into(),
            &(*tag).into(),
        )
        .map_err(|_| IdentityError::NotLockedHere)?;
    let identity = Identity::from_seed(&seed);
    let found = identity.entity_id();
    if found == *entity {
        Ok(identity)
    } else {
        Err(IdentityError::WrongDaemon { expected: *entity, found })
    }
}

/// The cipher under the key that `node` has for this. It wipes itself.
fn cipher(node: &NodeKey) -> XChaCha20Poly1305 {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(node.seed().as_slice());
    let mut key = Zeroizing::new([0; 32]);
    let mut output = hasher.finalize_xof();
    output.fill(key.as_mut_slice());
    output.zeroize();
    hasher.zeroize();
    XChaCha20Poly1305::new((&*key).into())
}

fn associated(entity: &EntityId) -> [u8; 33] {
    let mut bytes = [VERSION; 33];
    bytes[1..].copy_from_slice(entity.as_bytes());
    bytes
}

/// Takes the parts apart, or says what is wrong with their length or version.
fn split(locked: &[u8]) -> Result<Parts<'_>, IdentityError> {
    let wrong = IdentityError::WrongLength { bytes: locked.len(), expected: LOCKED_BYTES };
    let (version, rest) = locked.split_first().ok_or(wrong)?;
    if *version != VERSION {
        return Err(IdentityError::UnknownVersion { version: *version });
    }
    let (nonce, rest) = rest.split_first_chunk().ok_or(wrong)?;
    let (sealed, rest) = rest.split_first_chunk().ok_or(wrong)?;
    let tag = rest.try_into().map_err(|_| wrong)?;
    Ok((nonce, sealed, tag))
}
