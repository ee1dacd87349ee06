//! Whose deed is believed: each field of a birth and of a hand-over counts.

use whimbrel_wire::{
    AttemptId, Deed, DeedError, Digest, EntityId, Epoch, Head, Identity, NodeKey, Position,
    PublicKey, Sequence, Signature, SignedDeed, StoreId,
};

fn daemon() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn first_owner() -> NodeKey {
    NodeKey::from_seed(&[2; 32])
}

fn second_owner() -> NodeKey {
    NodeKey::from_seed(&[3; 32])
}

fn thief() -> NodeKey {
    NodeKey::from_seed(&[4; 32])
}

fn birth() -> SignedDeed {
    Deed::birth(&daemon(), first_owner().public(), StoreId::new(7), AttemptId::new(8))
}

fn next() -> Deed {
    Deed {
        entity: daemon().entity_id(),
        epoch: Epoch::new(2),
        from: first_owner().public(),
        to: second_owner().public(),
        store: StoreId::new(9),
        attempt: AttemptId::new(10),
        head: Head {
            position: Position::new(11),
            sequence: Sequence::new(12),
            hash: Digest::from_bytes([13; 32]),
        },
        snapshot: Digest::from_bytes([14; 32]),
        previous: birth().digest(),
    }
}

type Tampering = (&'static str, fn(&mut Deed));

/// One change for each field of a deed.
const EACH_FIELD: [Tampering; 11] = [
    ("entity", |deed| deed.entity = EntityId::from_bytes([9; 32])),
    ("epoch", |deed| deed.epoch = deed.epoch.next()),
    ("from", |deed| deed.from = thief().public()),
    ("to", |deed| deed.to = thief().public()),
    ("store", |deed| deed.store = StoreId::new(99)),
    ("attempt", |deed| deed.attempt = AttemptId::new(99)),
    ("position", |deed| deed.head.position = Position::new(99)),
    ("sequence", |deed| deed.head.sequence = Sequence::new(99)),
    ("hash", |deed| deed.head.hash = Digest::from_bytes([99; 32])),
    ("snapshot", |deed| deed.snapshot = Digest::from_bytes([99; 32])),
    ("previous", |deed| deed.previous = Digest::from_bytes([99; 32])),
];

/// What is said of a deed whose field was changed after it was signed.
fn after_tampering(
    signed: &SignedDeed,
    verdict: impl Fn(&SignedDeed) -> Result<(), DeedError>,
) -> Vec<(&'static str, Result<(), DeedError>)> {
    let judge = |(field, tamper): Tampering| {
        let mut changed = signed.clone();
        tamper(&mut changed.deed);
        assert_ne!(changed, *signed, "{field}");
        (field, verdict(&changed))
    };
    EACH_FIELD.into_iter().map(judge).collect()
}

#[test]
fn a_birth_is_believed_and_each_of_its_fields_counts() {
    let entity = daemon().entity_id();
    assert_eq!(birth().verify_birth(&entity), Ok(()));
    let found = after_tampering(&birth(), |signed| signed.verify_birth(&entity));
    let expected = [
        ("entity", Err(DeedError::Entity)),
        ("epoch", Err(DeedError::Birth)),
        ("from", Err(DeedError::Birth)),
        ("to", Err(DeedError::Signature)),
        ("store", Err(DeedError::Signature)),
        ("attempt", Err(DeedError::Signature)),
        ("position", Err(DeedError::Signature)),
        ("sequence", Err(DeedError::Signature)),
        ("hash", Err(DeedError::Signature)),
        ("snapshot", Err(DeedError::Signature)),
        ("previous", Err(DeedError::Birth)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_hand_over_is_believed_and_each_of_its_fields_counts() {
    let signed = next().sign(&first_owner());
    assert_eq!(signed.verify_after(&birth()), Ok(()));
    let found = after_tampering(&signed, |signed| signed.verify_after(&birth()));
    let expected = [
        ("entity", Err(DeedError::Entity)),
        ("epoch", Err(DeedError::Sequence)),
        ("from", Err(DeedError::Sequence)),
        ("to", Err(DeedError::Signature)),
        ("store", Err(DeedError::Signature)),
        ("attempt", Err(DeedError::Signature)),
        ("position", Err(DeedError::Signature)),
        ("sequence", Err(DeedError::Signature)),
        ("hash", Err(DeedError::Signature)),
        ("snapshot", Err(DeedError::Signature)),
        ("previous", Err(DeedError::Sequence)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn nobody_but_the_daemon_signs_its_birth() {
    let entity = daemon().entity_id();
    let forged = birth().deed.sign(&first_owner());
    assert_eq!(forged.verify_birth(&entity), Err(DeedError::Signature));
    let other = Identity::from_seed(&[5; 32]);
    let theirs = Deed::birth(&other, first_owner().public(), StoreId::new(7), AttemptId::new(8));
    assert_eq!(theirs.verify_birth(&entity), Err(DeedError::Entity));
}

#[test]
fn nobody_but_the_owner_signs_a_hand_over() {
    for key in [second_owner(), thief()] {
        assert_eq!(next().sign(&key).verify_after(&birth()), Err(DeedError::Signature));
    }
    let named = Deed { from: thief().public(), ..next() };
    assert_eq!(named.sign(&thief()).verify_after(&birth()), Err(DeedError::Sequence));
}

#[test]
fn a_flipped_bit_anywhere_in_a_signature_is_noticed() {
    let signed = next().sign(&first_owner());
    // An interpreter takes seconds for each.
    let stride = if cfg!(miri) { 200 } else { 1 };
    let places = (0..64).flat_map(|byte| (0..8).map(move |bit| (byte, bit)));
    for (byte, bit) in places.step_by(stride) {
        let mut bytes = *signed.signature.as_bytes();
        bytes[byte] ^= 1 << bit;
        let flipped = SignedDeed { signature: Signature::from_bytes(bytes), ..signed.clone() };
        assert_eq!(flipped.verify_after(&birth()), Err(DeedError::Signature), "{byte}, {bit}");
    }
}

#[test]
fn a_deed_follows_its_own_predecessor_only() {
    let second = next().sign(&first_owner());
    let third = Deed {
        epoch: Epoch::new(3),
        from: second_owner().public(),
        to: first_owner().public(),
        previous: second.digest(),
        ..next()
    };
    let third = third.sign(&second_owner());
    assert_eq!(third.verify_after(&second), Ok(()));
    assert_eq!(third.verify_after(&birth()), Err(DeedError::Sequence));
    assert_eq!(third.verify_after(&third), Err(DeedError::Sequence));
    assert_eq!(third.follows(&second), Ok(()));
    assert_eq!(third.follows(&birth()), Err(DeedError::Sequence));
    // Another deed of epoch 2 by the same owner: the chain tells the two apart.
    let twin = Deed { attempt: AttemptId::new(11), ..next() }.sign(&first_owner());
    assert_eq!(twin.verify_after(&birth()), Ok(()));
    assert_eq!(third.verify_after(&twin), Err(DeedError::Sequence));
}

#[test]
fn a_key_that_is_no_point_verifies_nothing() {
    let entity = EntityId::from_bytes([0xff; 32]);
    let mut signed = birth();
    (signed.deed.entity, signed.deed.from) = (entity, PublicKey::from_bytes([0xff; 32]));
    assert_eq!(signed.verify_birth(&entity), Err(DeedError::Signature));
}

/// The deed by which the first owner takes back what it gave to the second.
fn taking_back() -> Deed {
    let given = next().sign(&first_owner());
    Deed {
        epoch: Epoch::new(3),
        from: first_owner().public(),
        to: first_owner().public(),
        store: StoreId::new(7),
        attempt: AttemptId::new(20),
        previous: given.digest(),
        head: given.deed.head.through_deed(&given.digest()),
        ..next()
    }
}

#[test]
fn what_was_given_is_taken_back_by_its_giver_for_itself_from_where_it_was_given() {
    let given = next().sign(&first_owner());
    assert_eq!(taking_back().sign(&first_owner()).verify_after(&given), Ok(()));
    type Wrong = (fn(&mut Deed), NodeKey);
    let wrong: [Wrong; 5] = [
        (|deed| deed.to = second_owner().public(), first_owner()),
        (|deed| deed.to = thief().public(), first_owner()),
        (|deed| deed.from = thief().public(), thief()),
        (|deed| deed.head = next().head, first_owner()),
        (|deed| deed.snapshot = Digest::ZERO, first_owner()),
    ];
    for (alter, key) in wrong {
        let mut deed = taking_back();
        alter(&mut deed);
        assert_eq!(deed.sign(&key).verify_after(&given), Err(DeedError::Sequence));
    }
    assert_eq!(
        taking_back().sign(&thief()).verify_after(&given),
        Err(DeedError::Signature),
        "only its giver signs it"
    );
    // The heir gave it on: then nobody but the new owner has a say.
    let on = Deed { from: second_owner().public(), to: thief().public(), ..taking_back() };
    let on = on.sign(&second_owner());
    assert_eq!(on.verify_after(&given), Ok(()));
    let late = Deed { epoch: Epoch::new(4), previous: on.digest(), ..taking_back() };
    assert_eq!(late.sign(&first_owner()).verify_after(&on), Err(DeedError::Sequence));
    // Nobody takes a birth back.
    let born = Deed { previous: birth().digest(), epoch: Epoch::new(2), ..taking_back() };
    let identity = Deed { from: birth().deed.from, to: birth().deed.from, ..born };
    assert!(!identity.takes_back(&birth().deed));
}
