//! Decides how the ed25519 key of a node becomes an X25519 key, so that a node needs only one.
//!
//! The map is the birational one between the two forms of the curve (RFC 7748, section 4.1), applied
//! as libsodium's `crypto_sign_ed25519_pk_to_curve25519` and `crypto_sign_ed25519_sk_to_curve25519`
//! apply it: u = (1 + y) / (1 − y) for the public half, the clamped first half of SHA-512 of the
//! seed for the secret half. Like libsodium it refuses what is no point, has a small order or lies
//! outside the main subgroup. That leaves each point one spelling: the few numbers that could be
//! spelled twice are in none of the points of the main subgroup, which a test goes through.

use ed25519_dalek::{SigningKey, VerifyingKey};
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, HpkeError, Kem};
use whimbrel_wire::{NodeKey, PublicKey};
use zeroize::Zeroizing;

use super::error::IdentityError;

/// The public half on the other curve.
pub(super) type Public = <X25519HkdfSha256 as Kem>::PublicKey;

/// The secret half on the other curve. It wipes itself.
pub(super) type Secret = <X25519HkdfSha256 as Kem>::PrivateKey;

/// The public half of `key`.
pub(super) fn public(key: &PublicKey) -> Result<Public, IdentityError> {
    let unusable = IdentityError::UnusableKey { key: *key };
    let Ok(parsed) = VerifyingKey::from_bytes(key.as_bytes()) else { return Err(unusable) };
    let point = parsed.to_edwards();
    if parsed.is_weak() || !point.is_torsion_free() {
        return Err(unusable);
    }
    Public::from_bytes(&point.to_montgomery().to_bytes()).map_err(|_| unusable)
}

/// The secret half of `key`.
pub(super) fn secret(key: &NodeKey) -> Result<Secret, HpkeError> {
    let scalar = Zeroizing::new(SigningKey::from_bytes(&key.seed()).to_scalar_bytes());
    Secret::from_bytes(scalar.as_slice())
}

#[cfg(test)]
mod tests {
    use hpke::Serializable;

    use super::*;

    /// From libsodium's test `ed25519_convert`.
    const SEED: [u8; 32] = [
        0x42, 0x11, 0x51, 0xa4, 0x59, 0xfa, 0xea, 0xde, 0x3d, 0x24, 0x71, 0x15, 0xf9, 0x4a, 0xed,
        0xae, 0x42, 0x31, 0x81, 0x24, 0x09, 0x5a, 0xfa, 0xbe, 0x4d, 0x14, 0x51, 0xa5, 0x59, 0xfa,
        0xed, 0xee,
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_convert_as_libsodium_converts_them() {
        let node = NodeKey::from_seed(&SEED);
        assert_eq!(
            hex(&public(&node.public()).unwrap().to_bytes()),
            "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50"
        );
        assert_eq!(
            hex(&secret(&node).unwrap().to_bytes()),
            "8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166"
        );
    }

    #[test]
    fn the_two_halves_still_belong_together() {
        for seed in 0..16 {
            let node = NodeKey::from_seed(&[seed; 32]);
            let derived = X25519HkdfSha256::sk_to_pk(&secret(&node).unwrap());
            assert!(derived == public(&node.public()).unwrap());
        }
    }
}
