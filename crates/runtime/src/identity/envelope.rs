//! Decides what an envelope is: HPKE (RFC 9180) in its authenticated mode, between two node keys.
//!
//! Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305. `info` is the encoding of the
//! [`Binding`] with the keys of both nodes and the version, so the key of the cipher depends on all of it; the
//! associated data is empty.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 without tokens, 2 with |
//! | 32 | the ephemeral X25519 key (`enc`) |
//! | 32 or more | the [`Secrets`], encrypted |
//! | 16 | the tag |

use std::sync::Arc;

use bytes::Bytes;
use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use whimbrel_wire::limits::ENVELOPE_BYTES_MAX;
use whimbrel_wire::{NodeKey, PublicKey};
use zeroize::Zeroizing;

use super::binding::Binding;
use super::curve;
use super::error::IdentityError;
use super::random::Random;
use super::secrets::Secrets;

/// The length of an envelope of version 1; one of version 2 is longer.
pub(super) const ENVELOPE_BYTES: usize = 1 + 32 + 32 + 16;

type Encapped = <X25519HkdfSha256 as Kem>::EncappedKey;
type Tag = AeadTag<ChaCha20Poly1305>;

/// The version, the ephemeral key, the encrypted secrets and the tag.
type Parts<'a> = (u8, &'a [u8; 32], &'a [u8], &'a [u8; 16]);

/// Opens an envelope that came from the node with the given key, for the given move.
///
/// The key of this node is inside and cannot be taken out, so whoever opens envelopes need not hold
/// it. See [`unsealer`].
pub type EnvelopeUnsealFn =
    Arc<dyn Fn(&[u8], &Binding, &PublicKey) -> Result<Secrets, IdentityError> + Send + Sync>;

/// What opens the envelopes that are sealed to `key`.
#[must_use = "it does nothing until an envelope comes"]
pub fn unsealer(key: NodeKey) -> EnvelopeUnsealFn {
    Arc::new(move |envelope, bound, source| open(&key, source, envelope, bound))
}

/// Seals `secrets` so that only `target` can open it, can tell that `source` sealed it, and only
/// for the move `bound`.
///
/// Two envelopes of one move differ; both open.
///
/// # Errors
///
/// [`WrongDaemon`](IdentityError::WrongDaemon) when `bound` names another daemon,
/// [`UnusableKey`](IdentityError::UnusableKey) for a bad `target`, and
/// [`Randomness`](IdentityError::Randomness).
pub(crate) fn seal(
    source: &NodeKey,
    target: &PublicKey,
    secrets: &Secrets,
    bound: &Binding,
) -> Result<Bytes, IdentityError> {
    let found = secrets.entity_id();
    if found != bound.entity {
        return Err(IdentityError::WrongDaemon { expected: bound.entity, found });
    }
    seal_plain(source, target, secrets.version(), secrets.to_plain(), bound)
}

/// Seals the secrets of whichever daemon it is.
pub(super) fn seal_plain(
    source: &NodeKey,
    target: &PublicKey,
    version: u8,
    mut sealed: Zeroizing<Vec<u8>>,
    bound: &Binding,
) -> Result<Bytes, IdentityError> {
    let to = curve::public(target)?;
    let secret = curve::secret(source).map_err(|_| IdentityError::Cipher)?;
    let public = X25519HkdfSha256::sk_to_pk(&secret);
    let mut random = Random::default();
    let result = hpke::single_shot_seal_inout_detached_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(
        &OpModeS::Auth((secret, public)),
        &to,
        &bound.encode(version, &source.public(), target),
        InOutBuf::from(sealed.as_mut_slice()),
        &[],
        &mut random,
    );
    random.finish()?;
    let (encapped, tag) = result.map_err(|_| IdentityError::Cipher)?;
    let (encapped, tag) = (encapped.to_bytes(), tag.to_bytes());
    Ok(Bytes::from([&[version], encapped.as_slice(), sealed.as_slice(), tag.as_slice()].concat()))
}

/// Opens an envelope that `source` sealed to `target` for the move `bound`.
///
/// # Errors
///
/// [`TooLong`](IdentityError::TooLong), [`UnknownVersion`](IdentityError::UnknownVersion) and
/// [`WrongLength`](IdentityError::WrongLength) before anything is computed;
/// [`UnusableKey`](IdentityError::UnusableKey) for a bad `source`;
/// [`NotAuthentic`](IdentityError::NotAuthentic) for another node, another move or altered bytes;
/// [`Malformed`](IdentityError::Malformed) when an honest envelope holds no tokens where they should be;
/// [`WrongDaemon`](IdentityError::WrongDaemon) when an honest envelope holds another daemon's key.
pub(super) fn open(
    target: &NodeKey,
    source: &PublicKey,
    envelope: &[u8],
    bound: &Binding,
) -> Result<Secrets, IdentityError> {
    let (version, encapped, sealed, tag) = split(envelope)?;
    let from = curve::public(source)?;
    let secret = curve::secret(target).map_err(|_| IdentityError::Cipher)?;
    let encapped = Encapped::from_bytes(encapped).map_err(|_| IdentityError::NotAuthentic)?;
    let tag = Tag::from_bytes(tag).map_err(|_| IdentityError::NotAuthentic)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    hpke::single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Auth(from),
        &secret,
        &encapped,
        &bound.encode(version, source, &target.public()),
        InOutBuf::from(plain.as_mut_slice()),
        &[],
        &tag,
    )
    .map_err(|_| IdentityError::NotAuthentic)?;
    Secrets::from_plain(version, &bound.entity, &plain)
}

/// Takes the parts apart, or says what is wrong with their length or version.
fn split(envelope: &[u8]) -> Result<Parts<'_>, IdentityError> {
    let bytes = envelope.len();
    if bytes > ENVELOPE_BYTES_MAX {
        return Err(IdentityError::TooLong { bytes });
    }
    let wrong = IdentityError::WrongLength { bytes, expected: ENVELOPE_BYTES };
    let (&version, rest) = envelope.split_first().ok_or(wrong)?;
    if !matches!(version, 1 | 2) {
        return Err(IdentityError::UnknownVersion { version });
    }
    if bytes < ENVELOPE_BYTES || (bytes == ENVELOPE_BYTES) != (version == 1) {
        return Err(wrong);
    }
    let (encapped, rest) = rest.split_first_chunk().ok_or(wrong)?;
    let (sealed, tag) = rest.split_last_chunk().ok_or(wrong)?;
    Ok((version, encapped, sealed, tag))
}
