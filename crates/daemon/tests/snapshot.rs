//! Snapshots as one value, and proofs of continuity.

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers of tests")]

use bytes::Bytes;
use proptest::prelude::*;
use whimbrel_daemon::fakes::Counting;
use whimbrel_daemon::kinds::{Kv, KvCommand};
use whimbrel_daemon::{
    ContinuityError, ContinuityProof, Host, Native, RestoreError, SnapshotError, StateSnapshot,
};
use whimbrel_wire::{
    AttemptId, CausalEvent, Deed, DeedError, Digest, EntityId, Epoch, Head, Identity, InputOrigin,
    Kind, Ledger, NodeKey, OriginHash, Position, Purpose, Sender, Sequence, SignedDeed, StoreId,
    Time,
};

fn kind() -> Kind {
    Kind::new("kv").unwrap()
}

fn give(host: &mut Host, payload: Bytes) -> Vec<CausalEvent> {
    let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
    let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
    host.turn(host.epoch(), Time::ZERO, &origin, &event).unwrap().answer.outputs
}

fn snapshot() -> StateSnapshot {
    let entity = EntityId::from_bytes([1; 32]);
    let mut host = Host::born(entity, kind(), Native::boxed(Kv::new()), [0; 32], &Digest::ZERO);
    for index in 0..200_u8 {
        let put = KvCommand::Put { key: &[index], value: &[index; 2000] };
        give(&mut host, put.to_bytes());
    }
    StateSnapshot::of(host.capture().unwrap(), Ledger::default()).unwrap()
}

#[test]
fn a_snapshot_comes_back_from_its_bytes() {
    let snapshot = snapshot();
    assert_eq!(snapshot.kind(), &kind());
    assert_eq!(snapshot.entity_id(), EntityId::from_bytes([1; 32]));
    let bytes = snapshot.to_bytes();
    let back = StateSnapshot::from_bytes(bytes.clone()).unwrap();
    assert_eq!(back, snapshot);
    assert_eq!(back.to_bytes(), bytes);
    let mut host = back.host(&kind(), Native::boxed(Kv::new())).unwrap();
    assert_eq!(host.digest().unwrap(), snapshot.manifest().state.digest());
    assert_eq!(host.head(), snapshot.manifest().head);
}

#[test]
fn what_is_no_snapshot_is_told_apart() {
    let bytes = snapshot().to_bytes();
    let error = |bytes: Vec<u8>| StateSnapshot::from_bytes(bytes.into()).unwrap_err();
    assert_eq!(error(Vec::new()), SnapshotError::Foreign);
    assert_eq!(error(b"something else".to_vec()), SnapshotError::Foreign);
    let mut newer = bytes.to_vec();
    newer[17] = 2;
    assert_eq!(error(newer), SnapshotError::Version { version: 2 });
    assert_eq!(error(bytes[..18].to_vec()), SnapshotError::Damaged);
    assert_eq!(error(bytes[..bytes.len() - 1].to_vec()), SnapshotError::Damaged);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_with_any_other_byte_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = snapshot().to_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(StateSnapshot::from_bytes(bytes.into()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever changes a snapshot can also seal it again: it is refused by what is in it, or is
    /// another snapshot; never a panic.
    #[test]
    fn a_snapshot_that_was_changed_and_sealed_again_does_no_harm(
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        luggage in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let entity = EntityId::from_bytes([1; 32]);
        let body = Native::boxed(Kv::new());
        let mut host = Host::born(entity, kind(), body, [0; 32], &Digest::ZERO);
        give(&mut host, Bytes::from_static(b"put key value"));
        let capture = host.capture().unwrap();
        let sealed = StateSnapshot::of(capture, Ledger::default()).unwrap().to_bytes();
        let mut bytes = sealed[..sealed.len() - 32].to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let digest = Digest::of(Purpose::Snapshot, &bytes);
        bytes.extend_from_slice(digest.as_bytes());
        if let Ok(snapshot) = StateSnapshot::from_bytes(bytes.into()) {
            let kind = snapshot.kind().clone();
            let hosted = snapshot.host(&kind, Native::boxed(Kv::new()));
            prop_assert!(!matches!(hosted, Err(RestoreError::Panicked(_))));
            let mut chunks = snapshot.chunks().clone();
            let body = Native::boxed(Kv::new());
            let hosted = Host::restore(&kind, snapshot.manifest(), &luggage, body, &mut chunks);
            prop_assert!(hosted.is_err());
        }
    }
}

/// A daemon that lived on two nodes, and the proof of all it said.
struct Life {
    proof: ContinuityProof,
    entity: EntityId,
    /// Where it stood when the second epoch began.
    moved: Head,
}

fn hand_over(host: &mut Host, previous: &SignedDeed, from: &NodeKey, to: &NodeKey) -> SignedDeed {
    let deed = Deed {
        entity: host.entity(),
        epoch: host.epoch().next(),
        from: from.public(),
        to: to.public(),
        store: StoreId::new(2),
        attempt: AttemptId::new(2),
        head: host.head(),
        snapshot: Digest::ZERO,
        previous: previous.digest(),
    };
    let signed = deed.sign(from);
    host.enter_epoch(host.epoch().next(), &signed.digest());
    signed
}

fn life() -> Life {
    let identity = Identity::from_seed(&[1; 32]);
    let nodes = [NodeKey::from_seed(&[2; 32]), NodeKey::from_seed(&[3; 32])];
    let entity = identity.entity_id();
    let birth = Deed::birth(&identity, nodes[0].public(), StoreId::new(1), AttemptId::new(1));
    let body = Native::boxed(Counting::new());
    let mut host = Host::born(entity, kind(), body, [0; 32], &birth.digest());
    let base = host.head();
    let mut links = Vec::new();
    for _ in 0..3 {
        links.extend(give(&mut host, Bytes::from_static(b"one")));
    }
    let second = hand_over(&mut host, &birth, &nodes[0], &nodes[1]);
    let moved = host.head();
    links.extend(give(&mut host, Bytes::from_static(b"two")));
    let third = hand_over(&mut host, &second, &nodes[1], &nodes[0]);
    let fourth = hand_over(&mut host, &third, &nodes[0], &nodes[1]);
    links.extend(give(&mut host, Bytes::from_static(b"three")));
    let deeds = vec![birth, second, third, fourth];
    let to = host.head();
    let base_epoch = Epoch::FIRST;
    Life { proof: ContinuityProof { entity, deeds, base, base_epoch, links, to }, entity, moved }
}

#[test]
fn a_life_on_two_nodes_is_one_chain() {
    let Life { proof, entity, moved } = life();
    assert_eq!(proof.verify(&entity), Ok(()));
    assert!(proof.is_complete());
    let mut later = proof;
    later.base = moved;
    later.base_epoch = Epoch::new(2);
    later.links.drain(..3);
    assert_eq!(later.verify(&entity), Ok(()));
    assert!(!later.is_complete());
}

#[test]
fn a_proof_with_anything_changed_proves_nothing() {
    let Life { proof, entity, .. } = life();
    let broken = |change: &dyn Fn(&mut ContinuityProof)| {
        let mut proof = proof.clone();
        change(&mut proof);
        proof.verify(&entity).unwrap_err()
    };
    let at = |sequence| ContinuityError::Broken { at: Sequence::new(sequence) };
    assert_eq!(broken(&|proof| drop(proof.links.remove(1))), at(3));
    assert_eq!(broken(&|proof| proof.links[1].payload = Bytes::new()), at(3));
    assert_eq!(broken(&|proof| proof.links.swap(0, 1)), at(2));
    assert_eq!(broken(&|proof| proof.links[3].link.epoch = Epoch::FIRST), at(4));
    assert_eq!(broken(&|proof| proof.links[4].payload = Bytes::new()), ContinuityError::End);
    assert_eq!(broken(&|proof| drop(proof.links.pop())), ContinuityError::End);
    let early = ContinuityError::HandOver { epoch: Epoch::new(2) };
    assert_eq!(broken(&|proof| drop(proof.links.remove(2))), early);
    assert_eq!(broken(&|proof| proof.deeds.clear()), ContinuityError::Untitled);
    assert_eq!(broken(&|proof| proof.base_epoch = Epoch::new(9)), ContinuityError::Untitled);
    assert_eq!(broken(&|proof| proof.base.hash = Digest::ZERO), ContinuityError::Genesis);
    assert_eq!(broken(&|proof| proof.to.position = Position::FIRST), ContinuityError::End);
    let title = |epoch, error| ContinuityError::Title { epoch: Epoch::new(epoch), error };
    let gap = broken(&|proof| proof.deeds = [&proof.deeds[..1], &proof.deeds[2..]].concat());
    assert_eq!(gap, title(3, DeedError::Sequence));
    let forged = broken(&|proof| proof.deeds[3].deed.head = proof.to);
    assert_eq!(forged, title(4, DeedError::Signature));
    assert_eq!(
        broken(&|proof| proof.entity = EntityId::from_bytes([0; 32])),
        ContinuityError::Entity
    );
}

#[test]
fn another_node_cannot_pass_its_outputs_off_as_the_daemon() {
    let Life { mut proof, entity, .. } = life();
    let thief = NodeKey::from_seed(&[9; 32]);
    let last = proof.deeds[3].clone();
    let deed = Deed { epoch: Epoch::new(5), previous: last.digest(), head: proof.to, ..last.deed };
    proof.deeds.push(deed.sign(&thief));
    let error = DeedError::Sequence;
    let title = ContinuityError::Title { epoch: Epoch::new(5), error };
    assert_eq!(proof.verify(&entity), Err(title));
}
