//! Decides what the daemon of the model is: it notes each event that it is told and answers with
//! how many it has noted; and, if it has a friend, it passes the event on.
//!
//! It stands in for a host: positions, one chain of outputs, deeds folded into the chain.

use bytes::Bytes;
use whimbrel_protocol::{Capture, ReplayStep, Restored, Turned};
use whimbrel_wire::{
    Answer, CatchUp, CausalEvent, CausalLink, ChunkRef, Digest, EntityId, Epoch, Head, InputOrigin,
    Kind, Ledger, Luggage, Manifest, OriginHash, Purpose, Sender, StateRef, StateVersion, Time,
    Turn, decode, encode,
};

/// The only kind.
const KIND: &str = "tally";

/// One copy of the daemon in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    origin: OriginHash,
    pub(crate) head: Head,
    pub(crate) last: Option<CausalLink>,
    /// To whom each event is passed on.
    friend: Option<EntityId>,
    /// What was noted, in order.
    pub(crate) notes: Vec<u8>,
    /// What this copy notes beside each event by mistake, without saying so.
    slip: bool,
    slips: u8,
}

impl Tally {
    pub(crate) const fn born(origin: OriginHash, head: Head, friend: Option<EntityId>) -> Self {
        Self { origin, head, last: None, friend, notes: Vec::new(), slip: false, slips: 0 }
    }

    /// Takes one turn.
    pub(crate) fn turn(
        &mut self,
        epoch: Epoch,
        origin: &InputOrigin,
        event: &CausalEvent,
    ) -> Turned {
        let mut answer = Answer::default();
        let mut sent = Vec::new();
        if let InputOrigin::Event { sender, .. } = origin {
            self.notes.extend_from_slice(&event.payload);
            self.slips += u8::from(self.slip);
            if let Some(friend) = self.friend {
                sent.push((friend, self.put_out(epoch, event.payload.clone())));
            }
            if !matches!(sender, Sender::Daemon(_)) {
                let count = Bytes::from(vec![u8::try_from(self.notes.len()).unwrap_or(u8::MAX)]);
                answer.outputs.push(self.put_out(epoch, count));
            }
        }
        self.head.position = self.head.position.next();
        Turned { head: self.head, last: self.last, answer, sent, next_timer: None }
    }

    fn put_out(&mut self, epoch: Epoch, payload: Bytes) -> CausalEvent {
        let (head, event) = self.head.put_out(self.origin, epoch, payload);
        (self.head, self.last) = (head, Some(event.link));
        event
    }

    pub(crate) fn replay(&mut self, steps: &[ReplayStep]) -> Vec<Turned> {
        let mut results = Vec::new();
        for step in steps {
            match step {
                ReplayStep::Deed { deed, .. } => self.head = self.head.through_deed(deed),
                ReplayStep::Turn(Turn { event, stamp }) => {
                    results.push(self.turn(stamp.epoch, &stamp.origin, event));
                }
            }
        }
        results
    }

    /// The digest of the state.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(Purpose::State, &encode(&(&self.notes, self.slips)))
    }

    /// The snapshot of this copy: a manifest and the one chunk that it names.
    pub(crate) fn snapshot(&self, entity: EntityId, capture: &Capture) -> (Manifest, Bytes) {
        let host = encode(&(self.notes.clone(), self.slips)).into();
        let ledger = capture.ledger.clone();
        let luggage = Luggage { ledger, host, subscriptions: Vec::new() };
        let chunk = Bytes::from(encode(&luggage));
        let kind = Kind::new(KIND).unwrap_or_else(|_| unreachable!("the name is short"));
        let manifest = Manifest {
            entity,
            kind,
            version: StateVersion::new(1),
            epoch: capture.epoch,
            head: capture.head,
            last: self.last,
            time: Time::ZERO,
            state: StateRef { bytes: 0, chunks: 0, lists: Vec::new() },
            luggage: vec![ChunkRef::of(&chunk)],
        };
        (manifest, chunk)
    }

    /// Builds a copy from the snapshot, with the dealings that came with it.
    pub(crate) fn restore(
        manifest: &Manifest,
        chunk: &[u8],
        origin: OriginHash,
        friend: Option<EntityId>,
        slip: bool,
    ) -> Option<(Self, Restored)> {
        let Luggage { ledger, host, .. } = decode(chunk).ok()?;
        let (notes, slips) = decode(&host).ok()?;
        let (head, last) = (manifest.head, manifest.last);
        let copy = Self { origin, head, last, friend, notes, slip, slips };
        let (next_timer, catch_up) = (None, CatchUp::Replay);
        Some((copy, Restored { ledger, next_timer, catch_up, evolves: false }))
    }

    /// Whether this copy is not what its notes say.
    pub(crate) const fn has_slipped(&self) -> bool {
        self.slips > 0
    }

    /// Whether one event was noted twice.
    pub(crate) fn has_doubles(&self) -> bool {
        let mut seen = self.notes.clone();
        seen.sort_unstable();
        seen.windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// The dealings of a newborn daemon.
pub(crate) fn nothing(epoch: Epoch, head: Head, copy: whimbrel_wire::AttemptId) -> Capture {
    Capture { copy, epoch, head, ledger: Ledger::default() }
}
