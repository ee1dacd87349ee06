//! What an envelope and a locked key promise, and what happens to every lie.

use std::mem::needs_drop;

use ed25519_dalek::VerifyingKey;
use whimbrel_trust::{PermissionToken, Scope};
use whimbrel_wire::limits::ENVELOPE_BYTES_MAX;
use whimbrel_wire::{AttemptId, Digest, EntityId, Epoch, Identity, NodeKey, PublicKey};
use zeroize::Zeroizing;

use super::envelope::{ENVELOPE_BYTES, open, seal_plain};
use super::rest::{LOCKED_BYTES, lock_plain};
use super::{
    Binding, IdentityError, Secrets, TOKENS_MAX, TooManyTokens, curve, lock, seal, unlock, unsealer,
};

/// An envelope and a locked key that the first version made of the cast below.
const ENVELOPE_OF_VERSION_1: &str = "0166dd1675868862d5e75282f4b2c6cb8db05296c54de1fa04abd454e38e8a577e15edccee0a64ee5fe14009e41acc8cfac17c5a99cb971aac043e2942a344c18421e47412feba5ba3a604f80465336a9b";
const LOCKED_OF_VERSION_1: &str = "011f8e8fdb684d3408c55ff9e7d61406fad5677474fb2db9381fb1ba8ed4fc3f8d9b69d7aa8cce95cb2878724e8932870dd73583538d931531e4eb63fafb5bd81c613402caca24e4a6";

fn source() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn target() -> NodeKey {
    NodeKey::from_seed(&[2; 32])
}

fn third() -> NodeKey {
    NodeKey::from_seed(&[3; 32])
}

fn daemon() -> Secrets {
    Identity::from_seed(&[4; 32]).into()
}

fn other_daemon() -> Secrets {
    Identity::from_seed(&[5; 32]).into()
}

fn token(number: u8) -> PermissionToken {
    let root = NodeKey::from_seed(&[9; 32]);
    PermissionToken::mint(&root, "a daemon", Scope::everything(99), &Zeroizing::new([number; 32]))
        .unwrap()
}

/// A daemon that holds tokens.
fn rich() -> Secrets {
    let mut secrets = daemon();
    secrets.give(token(10)).unwrap();
    secrets.give(token(11)).unwrap();
    secrets
}

fn bound() -> Binding {
    Binding {
        entity: daemon().entity_id(),
        attempt: AttemptId::new(6),
        epoch: Epoch::new(7),
        snapshot: Digest::from_bytes([8; 32]),
    }
}

fn envelope() -> Vec<u8> {
    seal(&source(), &target().public(), &daemon(), &bound()).unwrap().to_vec()
}

fn opened(envelope: &[u8]) -> Result<EntityId, IdentityError> {
    open(&target(), &source().public(), envelope, &bound()).map(|key| key.entity_id())
}

fn unlocked(locked: &[u8]) -> Result<EntityId, IdentityError> {
    unlock(&source(), &daemon().entity_id(), locked).map(|key| key.entity_id())
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn a_key_comes_out_of_its_envelope_as_it_went_in() {
    let key = open(&target(), &source().public(), &envelope(), &bound()).unwrap();
    assert_eq!(key.identity().seed(), daemon().identity().seed());
    assert_eq!(envelope().len(), ENVELOPE_BYTES);
}

#[test]
fn a_node_can_seal_to_itself() {
    let envelope = seal(&source(), &source().public(), &daemon(), &bound()).unwrap();
    let key = open(&source(), &source().public(), &envelope, &bound()).unwrap();
    assert_eq!(key.identity().seed(), daemon().identity().seed());
}

#[test]
fn an_unsealer_opens_with_the_key_inside_it() {
    let unseal = unsealer(target());
    let key = unseal(&envelope(), &bound(), &source().public()).unwrap();
    assert_eq!(key.identity().seed(), daemon().identity().seed());
    let error = unseal(&envelope(), &bound(), &third().public()).unwrap_err();
    assert_eq!(error, IdentityError::NotAuthentic);
}

#[test]
fn two_envelopes_of_one_move_share_nothing_but_the_version() {
    let (first, second) = (envelope(), envelope());
    assert_eq!(first[0], second[0]);
    assert_ne!(first[1..33], second[1..33]);
    assert_ne!(first[33..65], second[33..65]);
    assert_eq!(opened(&first), opened(&second));
}

#[test]
fn the_seed_is_not_readable_in_the_envelope_or_on_the_disk() {
    for bytes in [envelope(), lock(&source(), &daemon()).unwrap()] {
        assert!(!bytes.windows(8).any(|window| window == [4; 8]));
    }
}

#[test]
fn what_version_1_sealed_and_locked_opens_for_ever() {
    assert_eq!(opened(&unhex(ENVELOPE_OF_VERSION_1)), Ok(daemon().entity_id()));
    assert_eq!(unlocked(&unhex(LOCKED_OF_VERSION_1)), Ok(daemon().entity_id()));
}

#[test]
fn an_envelope_has_one_reader_and_no_other_node_opens_it() {
    for node in [third(), source()] {
        let error = open(&node, &source().public(), &envelope(), &bound()).unwrap_err();
        assert_eq!(error, IdentityError::NotAuthentic);
    }
}

#[test]
fn an_envelope_has_one_writer_and_another_source_is_refused() {
    let forged = seal(&third(), &target().public(), &daemon(), &bound()).unwrap();
    assert_eq!(opened(&forged), Err(IdentityError::NotAuthentic));
    let own = seal(&target(), &target().public(), &daemon(), &bound()).unwrap();
    assert_eq!(opened(&own), Err(IdentityError::NotAuthentic));
}

#[test]
fn a_source_is_not_taken_for_the_negative_of_its_key() {
    let mut negative = *source().public().as_bytes();
    negative[31] ^= 0x80;
    let negative = PublicKey::from_bytes(negative);
    assert!(curve::public(&negative).unwrap() == curve::public(&source().public()).unwrap());
    let error = open(&target(), &negative, &envelope(), &bound()).unwrap_err();
    assert_eq!(error, IdentityError::NotAuthentic);
}

#[test]
fn an_envelope_is_for_one_move_and_refused_in_another() {
    for other in [
        Binding { entity: other_daemon().entity_id(), ..bound() },
        Binding { attempt: AttemptId::new(1 << 127), ..bound() },
        Binding { attempt: bound().attempt.derived(), ..bound() },
        Binding { epoch: bound().epoch.next(), ..bound() },
        Binding { snapshot: Digest::ZERO, ..bound() },
    ] {
        let error = open(&target(), &source().public(), &envelope(), &other).unwrap_err();
        assert_eq!(error, IdentityError::NotAuthentic, "{other:?}");
    }
}

#[test]
fn the_encoding_of_a_move_is_what_the_documentation_says() {
    let encoded = bound().encode(1, &source().public(), &target().public());
    let mut expected = b"whimbrel identity envelope 1".to_vec();
    expected.extend(source().public().as_bytes());
    expected.extend(target().public().as_bytes());
    expected.extend(daemon().entity_id().as_bytes());
    expected.extend([6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([7, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([8; 32]);
    assert_eq!(encoded.to_vec(), expected);
}

#[test]
fn a_flipped_bit_anywhere_in_an_envelope_is_noticed() {
    let envelope = envelope();
    for (byte, bit) in (0..envelope.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut altered = envelope.clone();
        altered[byte] ^= 1 << bit;
        let expected = match byte {
            0 => IdentityError::UnknownVersion { version: altered[0] },
            _ => IdentityError::NotAuthentic,
        };
        assert_eq!(opened(&altered), Err(expected), "byte {byte}, bit {bit}");
    }
}

#[test]
fn an_envelope_cut_off_anywhere_or_continued_is_refused() {
    let envelope = envelope();
    for bytes in 0..ENVELOPE_BYTES {
        let expected = IdentityError::WrongLength { bytes, expected: ENVELOPE_BYTES };
        assert_eq!(opened(&envelope[..bytes]), Err(expected));
    }
    for bytes in ENVELOPE_BYTES + 1..=ENVELOPE_BYTES_MAX {
        let mut longer = envelope.clone();
        longer.resize(bytes, 0);
        let expected = IdentityError::WrongLength { bytes, expected: ENVELOPE_BYTES };
        assert_eq!(opened(&longer), Err(expected));
    }
}

#[test]
fn an_envelope_beyond_the_limit_is_refused_whatever_it_says() {
    for (bytes, version) in [(ENVELOPE_BYTES_MAX + 1, 1), (1 << 20, 9)] {
        assert_eq!(opened(&vec![version; bytes]), Err(IdentityError::TooLong { bytes }));
    }
}

#[test]
fn an_envelope_of_a_newer_node_is_named_as_such() {
    for version in [0, 3, 255] {
        let mut envelope = envelope();
        envelope[0] = version;
        assert_eq!(opened(&envelope), Err(IdentityError::UnknownVersion { version }));
        envelope.truncate(1);
        assert_eq!(opened(&envelope), Err(IdentityError::UnknownVersion { version }));
    }
}

#[test]
fn an_ephemeral_key_of_small_order_is_refused() {
    let mut one = [0; 32];
    one[0] = 1;
    for weak in [[0; 32], one] {
        let mut envelope = envelope();
        envelope[1..33].copy_from_slice(&weak);
        assert_eq!(opened(&envelope), Err(IdentityError::NotAuthentic));
    }
}

#[test]
fn the_key_of_another_daemon_is_not_sealed() {
    let error = seal(&source(), &target().public(), &other_daemon(), &bound()).unwrap_err();
    let (expected, found) = (daemon().entity_id(), other_daemon().entity_id());
    assert_eq!(error, IdentityError::WrongDaemon { expected, found });
}

#[test]
fn an_envelope_is_of_one_daemon_and_the_key_of_another_is_refused() {
    let plain = other_daemon().to_plain();
    let envelope = seal_plain(&source(), &target().public(), 1, plain, &bound()).unwrap();
    let (expected, found) = (daemon().entity_id(), other_daemon().entity_id());
    assert_eq!(opened(&envelope), Err(IdentityError::WrongDaemon { expected, found }));
}

#[test]
fn a_node_key_that_is_no_usable_point_is_refused_on_both_sides() {
    for bytes in unusable_points() {
        let key = PublicKey::from_bytes(bytes);
        let expected = IdentityError::UnusableKey { key };
        assert_eq!(seal(&source(), &key, &daemon(), &bound()).unwrap_err(), expected);
        assert_eq!(open(&target(), &key, &envelope(), &bound()).unwrap_err(), expected);
    }
}

/// Points of small order, a point outside the main subgroup, and what is no point.
fn unusable_points() -> Vec<[u8; 32]> {
    let order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let small = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        order_8,
        // Zero and one, spelled as p and p + 1.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        // No point has y = 2, nor the largest number.
        "0200000000000000000000000000000000000000000000000000000000000000",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    let mut points: Vec<[u8; 32]> =
        small.iter().map(|text| unhex(text).try_into().unwrap()).collect();
    let point = |bytes: &[u8; 32]| VerifyingKey::from_bytes(bytes).unwrap().to_edwards();
    let torsion = point(&unhex(order_8).try_into().unwrap());
    let mixed = point(target().public().as_bytes()) + torsion;
    points.push(mixed.compress().to_bytes());
    points
}

#[test]
fn no_second_spelling_of_a_point_is_usable() {
    // y + p for every y that leaves room for it, where p = 2^255 - 19; with either sign.
    for (y, sign) in (0..19).flat_map(|y| [(y, 0x7f), (y, 0xff)]) {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + y;
        bytes[31] = sign;
        let key = PublicKey::from_bytes(bytes);
        assert!(curve::public(&key) == Err(IdentityError::UnusableKey { key }), "{key}");
    }
}

#[test]
fn a_key_comes_back_from_the_disk_as_it_was_locked() {
    let locked = lock(&source(), &daemon()).unwrap();
    let key = unlock(&source(), &daemon().entity_id(), &locked).unwrap();
    assert_eq!(key.identity().seed(), daemon().identity().seed());
    assert_eq!(locked.len(), LOCKED_BYTES);
}

#[test]
fn two_locks_of_one_key_share_nothing_but_the_version() {
    let [first, second] = [lock(&source(), &daemon()), lock(&source(), &daemon())];
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first[0], second[0]);
    assert_ne!(first[1..25], second[1..25]);
    assert_ne!(first[25..57], second[25..57]);
}

#[test]
fn a_locked_key_has_one_reader_and_another_node_cannot_unlock_it() {
    let locked = lock(&target(), &daemon()).unwrap();
    assert_eq!(unlocked(&locked), Err(IdentityError::NotLockedHere));
}

#[test]
fn a_locked_key_put_in_the_place_of_another_is_refused() {
    let locked = lock(&source(), &other_daemon()).unwrap();
    assert_eq!(unlocked(&locked), Err(IdentityError::NotLockedHere));
}

#[test]
fn a_locked_key_is_of_one_daemon_and_that_of_another_is_refused() {
    let (expected, found) = (daemon().entity_id(), other_daemon().entity_id());
    let locked = lock_plain(&source(), &expected, 1, other_daemon().to_plain()).unwrap();
    assert_eq!(unlocked(&locked), Err(IdentityError::WrongDaemon { expected, found }));
}

#[test]
fn a_flipped_bit_anywhere_in_a_locked_key_is_noticed() {
    let locked = lock(&source(), &daemon()).unwrap();
    for (byte, bit) in (0..locked.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut altered = locked.clone();
        altered[byte] ^= 1 << bit;
        let expected = match byte {
            0 => IdentityError::UnknownVersion { version: altered[0] },
            _ => IdentityError::NotLockedHere,
        };
        assert_eq!(unlocked(&altered), Err(expected), "byte {byte}, bit {bit}");
    }
}

#[test]
fn a_locked_key_cut_off_anywhere_or_continued_is_refused() {
    let mut locked = lock(&source(), &daemon()).unwrap();
    locked.resize(2 * LOCKED_BYTES, 0);
    for bytes in (0..locked.len()).filter(|bytes| *bytes != LOCKED_BYTES) {
        let expected = IdentityError::WrongLength { bytes, expected: LOCKED_BYTES };
        assert_eq!(unlocked(&locked[..bytes]), Err(expected));
    }
}

#[test]
fn an_envelope_is_no_locked_key_and_a_locked_key_no_envelope() {
    let locked = lock(&source(), &daemon()).unwrap();
    assert!(matches!(opened(&locked), Err(IdentityError::WrongLength { .. })));
    assert!(matches!(unlocked(&envelope()), Err(IdentityError::WrongLength { .. })));
}

#[test]
fn nothing_left_by_what_holds_a_secret_when_it_is_dropped() {
    fn wipes<T: zeroize::ZeroizeOnDrop>() {}
    // The buffers of this module; `secret` hands out hpke's key, `cipher` the other one.
    wipes::<Zeroizing<[u8; 32]>>();
    wipes::<chacha20poly1305::XChaCha20Poly1305>();
    wipes::<ed25519_dalek::SigningKey>();
    assert!(needs_drop::<curve::Secret>());
    assert!(needs_drop::<Identity>());
    assert!(needs_drop::<Secrets>());
    assert!(needs_drop::<PermissionToken>());
    wipes::<Zeroizing<Vec<u8>>>();
    assert!(needs_drop::<NodeKey>());
}

#[test]
fn an_error_says_nothing_of_the_seed() {
    let plain = other_daemon().to_plain();
    let envelope = seal_plain(&source(), &target().public(), 1, plain, &bound()).unwrap();
    let error = opened(&envelope).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("0505") && !text.contains("5, 5"), "{text}");
}

#[test]
fn tokens_come_out_of_an_envelope_and_off_the_disk_as_they_went_in() {
    let envelope = seal(&source(), &target().public(), &rich(), &bound()).unwrap();
    let locked = lock(&source(), &rich()).unwrap();
    let opened = open(&target(), &source().public(), &envelope, &bound()).unwrap();
    let unlocked = unlock(&source(), &daemon().entity_id(), &locked).unwrap();
    for secrets in [opened, unlocked] {
        assert_eq!(secrets.tokens(), rich().tokens());
        assert_eq!(secrets.identity().seed(), daemon().identity().seed());
    }
    // Nothing of a token can be read in either.
    for bytes in [envelope.to_vec(), locked] {
        for readable in [&b"a daemon"[..], &[10; 8], &[11; 8]] {
            assert!(!bytes.windows(8).any(|window| window == readable));
        }
    }
}

#[test]
fn tokens_are_bound_to_node_move_and_daemon_as_the_key_is() {
    let envelope = seal(&source(), &target().public(), &rich(), &bound()).unwrap();
    assert_eq!(opened(&envelope), Ok(daemon().entity_id()));
    let elsewhere = open(&third(), &source().public(), &envelope, &bound());
    assert_eq!(elsewhere.unwrap_err(), IdentityError::NotAuthentic);
    for other in [
        Binding { attempt: bound().attempt.derived(), ..bound() },
        Binding { epoch: bound().epoch.next(), ..bound() },
        Binding { snapshot: Digest::ZERO, ..bound() },
    ] {
        let error = open(&target(), &source().public(), &envelope, &other).unwrap_err();
        assert_eq!(error, IdentityError::NotAuthentic, "{other:?}");
    }
    let locked = lock(&source(), &rich()).unwrap();
    let error = unlock(&source(), &other_daemon().entity_id(), &locked).unwrap_err();
    assert_eq!(error, IdentityError::NotLockedHere);
}

#[test]
fn no_flipped_bit_and_no_cut_of_wrapped_tokens_is_believed() {
    let envelope = seal(&source(), &target().public(), &rich(), &bound()).unwrap().to_vec();
    let locked = lock(&source(), &rich()).unwrap();
    for byte in 0..envelope.len().max(locked.len()) {
        for (bytes, read) in [(&envelope, opened as fn(&[u8]) -> _), (&locked, unlocked)] {
            let mut altered = bytes.clone();
            if byte < bytes.len() {
                altered[byte] ^= 1;
                assert!(read(&altered).is_err(), "byte {byte}");
                assert!(read(&bytes[..byte]).is_err(), "{byte} bytes");
            }
        }
    }
}

#[test]
fn a_version_does_not_pass_for_the_other_one() {
    // The key alone under the version for tokens, and tokens under that for the key alone.
    let plain = [daemon().to_plain(), rich().to_plain()];
    for (version, plain) in [(2, &plain[0]), (1, &plain[1])] {
        let envelope =
            seal_plain(&source(), &target().public(), version, plain.clone(), &bound()).unwrap();
        assert!(matches!(opened(&envelope), Err(IdentityError::WrongLength { .. })));
        let locked = lock_plain(&source(), &daemon().entity_id(), version, plain.clone()).unwrap();
        assert!(matches!(unlocked(&locked), Err(IdentityError::WrongLength { .. })));
    }
    // What follows the key is no tokens.
    for tail in [&b"x"[..], &[0, 0], &[4, 0, 1, 2, 3], &[4, 0, 1, 2, 3, 4]] {
        let plain = Zeroizing::new([&daemon().to_plain()[..], tail].concat());
        let envelope = seal_plain(&source(), &target().public(), 2, plain, &bound()).unwrap();
        assert_eq!(opened(&envelope), Err(IdentityError::Malformed), "{tail:?}");
    }
}

#[test]
fn a_daemon_holds_so_many_tokens_and_no_more() {
    let mut secrets = daemon();
    for number in 0..TOKENS_MAX {
        secrets.give(token(number as u8 + 1)).unwrap();
        secrets.give(token(number as u8 + 1)).unwrap();
    }
    assert_eq!(secrets.give(token(99)), Err(TooManyTokens));
    assert_eq!(secrets.tokens().len(), TOKENS_MAX);
    assert!(seal(&source(), &target().public(), &secrets, &bound()).is_ok());
    assert_eq!(secrets.take(&token(1).ids()[0]), 1);
    assert_eq!(secrets.take(&token(1).ids()[0]), 0);
    secrets.give(token(99)).unwrap();
}
