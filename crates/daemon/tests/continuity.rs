//! How two proofs of one daemon stand to each other.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use bytes::Bytes;
use whimbrel_daemon::fakes::Counting;
use whimbrel_daemon::{
    ContinuityError, ContinuityProof, ContinuityStatus, Fork, ForkError, ForkRecord, Host, Native,
    Unverifiable,
};
use whimbrel_wire::{
    AttemptId, CausalEvent, Deed, Digest, EntityId, Epoch, Head, Identity, InputOrigin, Kind,
    NodeKey, OriginHash, Sender, Sequence, SignedDeed, StoreId, Time,
};

/// A daemon, its title, and what it put out.
struct Life {
    host: Host,
    deeds: Vec<SignedDeed>,
    links: Vec<CausalEvent>,
    base: Head,
}

fn node(index: u8) -> NodeKey {
    NodeKey::from_seed(&[index; 32])
}

fn entity() -> EntityId {
    Identity::from_seed(&[1; 32]).entity_id()
}

impl Life {
    fn born() -> Self {
        let identity = Identity::from_seed(&[1; 32]);
        let birth = Deed::birth(&identity, node(2).public(), StoreId::new(1), AttemptId::new(1));
        let (kind, body) = (Kind::new("counting").unwrap(), Native::boxed(Counting::new()));
        let host = Host::born(entity(), kind, body, [0; 32], &birth.digest());
        let base = host.head();
        Self { host, deeds: vec![birth], links: Vec::new(), base }
    }

    fn says(mut self, text: &'static str) -> Self {
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        let event =
            CausalEvent::unchained(OriginHash::new(0), 1, Bytes::from_static(text.as_bytes()));
        let turned = self.host.turn(self.host.epoch(), Time::ZERO, &origin, &event).unwrap();
        self.links.extend(turned.answer.outputs);
        self
    }

    fn moves(mut self, from: u8, to: u8) -> Self {
        let previous = self.deeds.last().unwrap();
        let deed = Deed {
            entity: entity(),
            epoch: self.host.epoch().next(),
            from: node(from).public(),
            to: node(to).public(),
            store: StoreId::new(to.into()),
            attempt: AttemptId::new(to.into()),
            head: self.host.head(),
            snapshot: Digest::ZERO,
            previous: previous.digest(),
        };
        let signed = deed.sign(&node(from));
        self.host.enter_epoch(self.host.epoch().next(), &signed.digest());
        self.deeds.push(signed);
        self
    }

    fn proof(&self) -> ContinuityProof {
        ContinuityProof {
            entity: entity(),
            deeds: self.deeds.clone(),
            base: self.base,
            base_epoch: Epoch::FIRST,
            links: self.links.clone(),
            to: self.host.head(),
        }
    }

    /// The proof of what came after what another one proves.
    fn since(&self, known: &ContinuityProof) -> ContinuityProof {
        let base_epoch = known.deeds.last().unwrap().deed.epoch;
        let links = self.links[known.links.len()..].to_vec();
        ContinuityProof { base: known.to, base_epoch, links, ..self.proof() }
    }
}

fn between(known: &ContinuityProof, later: &ContinuityProof) -> ContinuityStatus {
    ContinuityStatus::between(&entity(), known, later)
}

#[test]
fn a_chain_that_goes_on_is_continuous_and_through_hand_overs_migrated() {
    let life = Life::born().says("one");
    let known = life.proof();
    assert_eq!(between(&known, &known), ContinuityStatus::Continuous { outputs: 0 });
    let life = life.says("two");
    let continuous = ContinuityStatus::Continuous { outputs: 1 };
    assert_eq!(between(&known, &life.proof()), continuous);
    assert_eq!(between(&known, &life.since(&known)), continuous);
    let life = life.moves(2, 3);
    let idle = life.proof();
    let migrated = |hand_overs, outputs| ContinuityStatus::Migrated { hand_overs, outputs };
    assert_eq!(between(&known, &idle), migrated(1, 1));
    let life = life.moves(3, 2).says("three");
    assert_eq!(between(&known, &life.since(&known)), migrated(2, 2));
    assert_eq!(between(&idle, &life.since(&idle)), migrated(1, 1));
}

fn handed() -> Life {
    Life::born().says("one").moves(2, 3)
}

/// The source signs a deed to itself, from where it handed the daemon over.
fn taken_back() -> Life {
    let mut life = handed();
    let given = life.deeds.last().unwrap().clone();
    let deed = Deed {
        epoch: given.deed.epoch.next(),
        to: node(2).public(),
        head: life.host.head(),
        store: StoreId::new(1),
        attempt: AttemptId::new(9),
        previous: given.digest(),
        ..given.deed
    };
    let signed = deed.sign(&node(2));
    life.host.enter_epoch(life.host.epoch().next(), &signed.digest());
    life.deeds.push(signed);
    life
}

#[test]
fn a_fork_is_on_record_signed_and_holds_for_whoever_has_the_public_key() {
    let title = taken_back().says("two").moves(2, 4).deeds;
    let records = ForkRecord::all(entity(), &title);
    let [record] = &records[..] else { panic!("{records:?}") };
    let point = record.verify(&entity()).unwrap();
    assert_eq!((point.lost, point.epoch), (Epoch::new(2), Epoch::new(3)));
    assert_eq!((point.loser, point.by), (node(3).node_id(), node(2).public()));
    assert_eq!(point.head, title[2].deed.head);
    assert!(ForkRecord::all(entity(), &handed().moves(3, 2).deeds).is_empty());

    let other = Identity::from_seed(&[7; 32]).entity_id();
    assert_eq!(record.verify(&other), Err(ForkError::Entity));
    let cut =
        |from: usize, to: usize| ForkRecord { entity: entity(), deeds: title[from..to].to_vec() };
    assert_eq!(cut(0, 2).verify(&entity()), Err(ForkError::NoFork));
    assert_eq!(cut(0, 4).verify(&entity()), Err(ForkError::NoFork));
    assert!(matches!(cut(1, 3).verify(&entity()), Err(ForkError::Title(_))));
    // Nobody but the giver signs such a deed.
    let mut forged = record.clone();
    forged.deeds[2].signature = node(3).sign(forged.deeds[2].digest().as_bytes());
    assert!(matches!(forged.verify(&entity()), Err(ForkError::Title(_))));
    let mut signed = record.deeds[2].deed.clone();
    (signed.from, signed.to) = (node(3).public(), node(3).public());
    forged.deeds[2] = signed.sign(&node(3));
    assert!(forged.verify(&entity()).is_err());
}

/// The heir served, its disk was given up, and the source signed a deed to itself: what the heir said is
/// left out, and whoever knew of it sees that.
#[test]
fn a_daemon_that_was_taken_back_has_forked_for_those_who_know_more() {
    let knew = handed().says("told").says("lost").proof();
    let at = Fork::TakenBack(Epoch::new(3));
    let later = taken_back().says("again").says("and again").proof();
    assert_eq!(between(&knew, &later), ContinuityStatus::Forked { at });
    // Even before it has put out as much as what is lost.
    assert_eq!(between(&knew, &taken_back().proof()), ContinuityStatus::Forked { at });
    let more = taken_back().says("a").says("b").says("c").moves(2, 4).says("d").proof();
    assert_eq!(between(&knew, &more), ContinuityStatus::Forked { at });
    // Whoever knew only what was handed over sees two hand-overs and no loss.
    let migrated = ContinuityStatus::Migrated { hand_overs: 1, outputs: 2 };
    assert_eq!(between(&handed().proof(), &later), migrated);
}

#[test]
fn two_deeds_of_one_epoch_are_a_fork_of_the_title() {
    let one = Life::born().says("one").moves(2, 3).proof();
    let other = Life::born().says("one").moves(2, 4).says("two").proof();
    let at = Fork::Title(Epoch::new(2));
    assert_eq!(between(&one, &other), ContinuityStatus::Forked { at });
}

#[test]
fn what_is_not_proved_is_unverifiable_only_proved_things_are_said() {
    let life = Life::born().says("one");
    let known = life.proof();
    let life = life.says("two");
    let later = life.proof();
    let unverifiable = |proof: &ContinuityProof, other: &ContinuityProof| {
        let status = between(proof, other);
        if let ContinuityStatus::Unverifiable(why) = status { Some(why) } else { None }
    };
    assert_eq!(unverifiable(&later, &known), Some(Unverifiable::Older));
    let life = life.says("three");
    let gap = Unverifiable::Gap { known: Sequence::new(1), begins: Sequence::new(2) };
    assert_eq!(unverifiable(&known, &life.since(&later)), Some(gap));
    let mut forged = later.clone();
    forged.links[1].payload = Bytes::from_static(b"never said");
    let end = ContinuityError::End;
    assert_eq!(unverifiable(&known, &forged), Some(Unverifiable::Later(end)));
    assert_eq!(unverifiable(&forged, &later), Some(Unverifiable::Known(end)));
}
