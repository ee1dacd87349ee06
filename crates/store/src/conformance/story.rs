//! Decides the world of the checks: two nodes, one daemon, its turns, snapshots and deeds.

use bytes::Bytes;
use whimbrel_wire::{
    AttemptId, CausalEvent, CopyRecord, Deed, Digest, EntityId, Epoch, Head, Holding, Identity,
    InputOrigin, Kind, Manifest, NodeKey, Position, SeatRecord, Sender, Sequence, SignedDeed,
    Stamp, StateRef, StateVersion, StoreId, Time, Turn, Write, WriteError, WriteRefusal,
};

use super::Harness;

/// The attempt that a birth is.
pub(crate) const BIRTH: AttemptId = AttemptId::new(1);

/// A data folder that is not under test.
pub(crate) const ELSEWHERE: StoreId = StoreId::new(u128::MAX);

/// One engine and one daemon.
pub(crate) struct Story<'h> {
    pub(crate) harness: &'h mut dyn Harness,
    identity: Identity,
    /// The node whose engine is under test.
    here: NodeKey,
    /// Another one.
    there: NodeKey,
}

impl<'h> Story<'h> {
    pub(crate) fn new(harness: &'h mut dyn Harness) -> Self {
        Self {
            harness,
            identity: Identity::from_seed(&[3; 32]),
            here: NodeKey::from_seed(&[1; 32]),
            there: NodeKey::from_seed(&[2; 32]),
        }
    }

    /// The same engine and another daemon.
    pub(crate) fn of_another(&mut self, seed: u8) -> Story<'_> {
        let identity = Identity::from_seed(&[seed; 32]);
        let (here, there) = (self.here.clone(), self.there.clone());
        Story { harness: &mut *self.harness, identity, here, there }
    }

    pub(crate) fn entity(&self) -> EntityId {
        self.identity.entity_id()
    }

    pub(crate) fn store(&mut self) -> StoreId {
        self.harness.engine().store_id()
    }

    pub(crate) fn birth_deed(&mut self) -> SignedDeed {
        let store = self.store();
        Deed::birth(&self.identity, self.here.public(), store, BIRTH)
    }

    pub(crate) fn birth(&mut self) -> Write {
        let deed = self.birth_deed();
        Write::Birth { manifest: self.manifest(Epoch::FIRST, self.newborn(&deed)), deed }
    }

    pub(crate) fn newborn(&self, birth: &SignedDeed) -> Head {
        Head::newborn(&self.entity(), &birth.digest())
    }

    pub(crate) fn manifest(&self, epoch: Epoch, head: Head) -> Manifest {
        Manifest {
            entity: self.entity(),
            kind: Kind::new("story").expect("a short name is a kind"),
            version: StateVersion::new(1),
            epoch,
            head,
            last: None,
            time: Time::ZERO,
            state: StateRef { bytes: 0, chunks: 0, lists: Vec::new() },
            luggage: Vec::new(),
        }
    }

    /// `count` turns in `epoch` after `head`, with one output each.
    pub(crate) fn turns(&self, epoch: Epoch, head: Head, count: u64) -> Vec<Turn> {
        let mut head = head;
        let mut turn = |index: u64| {
            let payload = Bytes::from(format!("input {} of {epoch}", head.position.get() + 1));
            let origin = self.entity().origin_hash();
            let event = CausalEvent::unchained(origin, index + 1, payload.clone());
            head = head.put_out(origin, epoch, payload).0;
            head.position = head.position.next();
            let origin =
                InputOrigin::Event { sender: Sender::Host, number: index + 1, answered: 0 };
            let time = Time::from_nanos(head.position.get());
            Turn { event, stamp: Stamp { time, epoch, origin, head } }
        };
        (0..count).map(&mut turn).collect()
    }

    pub(crate) fn append(&self, epoch: Epoch, after: Head, count: u64) -> (Write, Head) {
        let turns = self.turns(epoch, after, count);
        let head = turns.last().map_or(after, |turn| turn.stamp.head);
        let entity = self.entity();
        (Write::Append { entity, epoch, after: after.position, turns }, head)
    }

    /// The deed after `previous` that gives the daemon away, or back.
    pub(crate) fn deed(
        &mut self,
        previous: &SignedDeed,
        home: bool,
        attempt: u128,
        head: Head,
    ) -> SignedDeed {
        let store = if home { self.store() } else { ELSEWHERE };
        let (to, back) = (self.here.public(), self.there.public());
        let from = previous.deed.to;
        let deed = Deed {
            entity: self.entity(),
            epoch: previous.deed.epoch.next(),
            from,
            to: if home { to } else { back },
            store,
            attempt: AttemptId::new(attempt),
            head,
            snapshot: Digest::ZERO,
            previous: previous.digest(),
        };
        let signer = if from == self.here.public() { &self.here } else { &self.there };
        deed.sign(signer)
    }

    /// The deed by which this node takes back what `given` gave away, at `head`.
    pub(crate) fn reclaim(&mut self, given: &SignedDeed, head: Head) -> SignedDeed {
        let store = self.store();
        let deed = Deed {
            entity: self.entity(),
            epoch: given.deed.epoch.next(),
            from: self.here.public(),
            to: self.here.public(),
            store,
            attempt: AttemptId::new(0x7ec),
            head,
            snapshot: given.deed.snapshot,
            previous: given.digest(),
        };
        deed.sign(&self.here)
    }

    /// A birth deed for a node elsewhere.
    pub(crate) fn foreign_birth(&self) -> SignedDeed {
        Deed::birth(&self.identity, self.there.public(), ELSEWHERE, BIRTH)
    }

    pub(crate) fn commit(&mut self, write: &Write) -> Result<(), WriteError> {
        let mut answers = self.harness.engine().commit(std::slice::from_ref(write));
        assert_eq!(answers.len(), 1, "one answer for one write");
        answers.remove(0)
    }

    pub(crate) fn done(&mut self, write: &Write) {
        assert_eq!(self.commit(write), Ok(()), "{write:?}");
    }

    /// The write is refused and leaves no trace.
    pub(crate) fn refused(&mut self, write: &Write, refusal: WriteRefusal) {
        let before = self.record();
        assert_eq!(self.commit(write), Err(WriteError::Refused(refusal)), "{write:?}");
        assert_eq!(self.record(), before, "a refused write changed the record: {write:?}");
    }

    pub(crate) fn record(&mut self) -> SeatRecord {
        let entity = self.entity();
        self.harness.engine().record(&entity).expect("an engine in order shows its records")
    }

    pub(crate) fn owned(&mut self) -> CopyRecord {
        match self.record().holding {
            Holding::Owned(copy) => copy,
            other @ (Holding::Nothing | Holding::HandedOver(_) | Holding::Deleted) => {
                panic!("the daemon is not owned: {other:?}")
            }
        }
    }

    /// All turns of a copy after `after`.
    pub(crate) fn journal(&mut self, attempt: AttemptId, after: Position) -> Vec<Turn> {
        let entity = self.entity();
        let turns = self.harness.engine().turns(&entity, attempt, after, 10_000, usize::MAX);
        turns.expect("an engine in order shows its turns")
    }

    /// Born, and `count` turns on.
    pub(crate) fn started(&mut self, count: u64) -> (SignedDeed, Head) {
        let birth = self.birth();
        self.done(&birth);
        let deed = self.birth_deed();
        let head = self.newborn(&deed);
        let (append, head) = self.append(Epoch::FIRST, head, count);
        self.done(&append);
        (deed, head)
    }

    /// Born, some turns on, and handed over by the deed that comes back.
    pub(crate) fn gone(&mut self, attempt: u128) -> (SignedDeed, SignedDeed, Head) {
        let (birth, head) = self.started(3);
        let attempt_id = AttemptId::new(attempt);
        let (entity, epoch) = (self.entity(), Epoch::FIRST);
        self.done(&Write::BeginAttempt { entity, epoch, attempt: attempt_id });
        let deed = self.deed(&birth, false, attempt, head);
        self.done(&Write::HandOver { deed: deed.clone() });
        (birth, deed, head)
    }

    /// The copy with which attempt `attempt` would bring the daemon here from `epoch`.
    pub(crate) fn save_copy(&self, attempt: u128, epoch: Epoch, head: Head) -> Write {
        Write::SaveCopy {
            entity: self.entity(),
            attempt: AttemptId::new(attempt),
            epoch,
            manifest: self.manifest(epoch, head),
        }
    }

    /// A head somewhere.
    pub(crate) const fn head(position: u64) -> Head {
        let sequence = Sequence::new(position);
        Head { position: Position::new(position), sequence, hash: Digest::from_bytes([7; 32]) }
    }
}
