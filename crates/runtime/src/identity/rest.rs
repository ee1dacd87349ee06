//! Decides how the key of a daemon, and the tokens that it holds, lie on the disk of its node.
//!
//! XChaCha20-Poly1305 under a key that BLAKE3 derives from the node's secret key. The nonce is
//! random; at 192 bits two never meet, however often keys are locked. The associated data is the
//! version and the daemon.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 without tokens, 2 with |
//! | 24 | the nonce |
//! | 32 or more | the [`Secrets`], encrypted |
//! | 16 | the tag |
//!
//! It protects a copy of the daemon's store that is read without the node's key. Whoever has both
//! has the daemons.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use whimbrel_wire::{EntityId, NodeKey};
use zeroize::{Zeroize, Zeroizing};

use super::error::IdentityError;
use super::random::Random;
use super::secrets::Secrets;

/// The length of a locked key of version 1; one of version 2 is longer.
pub(super) const LOCKED_BYTES: usize = 1 + 24 + 32 + 16;

/// The version, the nonce, the encrypted secrets and the tag.
type Parts<'a> = (u8, &'a [u8; 24], &'a [u8], &'a [u8; 16]);

/// Separates this use of the node's key from every other. It is part of what lies on the disk.
const CONTEXT: &str = "whimbrel 2026-11-21 identity of a daemon at rest 1";

/// Locks `secrets` so that only `node` can unlock them.
///
/// # Errors
///
/// [`Randomness`](IdentityError::Randomness).
pub(crate) fn lock(node: &NodeKey, secrets: &Secrets) -> Result<Vec<u8>, IdentityError> {
    lock_plain(node, &secrets.entity_id(), secrets.version(), secrets.to_plain())
}

/// Locks the secrets of whichever daemon it is, in the name of `entity`.
pub(super) fn lock_plain(
    node: &NodeKey,
    entity: &EntityId,
    version: u8,
    mut sealed: Zeroizing<Vec<u8>>,
) -> Result<Vec<u8>, IdentityError> {
    let mut nonce = [0; 24];
    let mut random = Random::default();
    random.fill(&mut nonce);
    random.finish()?;
    let associated = associated(version, entity);
    let tag = cipher(node)
        .encrypt_inout_detached(&nonce.into(), &associated, sealed.as_mut_slice().into())
        .map_err(|_| IdentityError::Cipher)?;
    Ok([&[version], nonce.as_slice(), sealed.as_slice(), tag.as_slice()].concat())
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
) -> Result<Secrets, IdentityError> {
    let (version, nonce, sealed, tag) = split(locked)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    cipher(node)
        .decrypt_inout_detached(
            &(*nonce).into(),
            &associated(version, entity),
            plain.as_mut_slice().into(),
            &(*tag).into(),
        )
        .map_err(|_| IdentityError::NotLockedHere)?;
    Secrets::from_plain(version, entity, &plain)
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

fn associated(version: u8, entity: &EntityId) -> [u8; 33] {
    let mut bytes = [version; 33];
    bytes[1..].copy_from_slice(entity.as_bytes());
    bytes
}

/// Takes the parts apart, or says what is wrong with their length or version.
fn split(locked: &[u8]) -> Result<Parts<'_>, IdentityError> {
    let bytes = locked.len();
    let wrong = IdentityError::WrongLength { bytes, expected: LOCKED_BYTES };
    let (&version, rest) = locked.split_first().ok_or(wrong)?;
    if !matches!(version, 1 | 2) {
        return Err(IdentityError::UnknownVersion { version });
    }
    if bytes < LOCKED_BYTES || (bytes == LOCKED_BYTES) != (version == 1) {
        return Err(wrong);
    }
    let (nonce, rest) = rest.split_first_chunk().ok_or(wrong)?;
    let (sealed, tag) = rest.split_last_chunk().ok_or(wrong)?;
    Ok((version, nonce, sealed, tag))
}
