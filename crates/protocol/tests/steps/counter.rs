//! A daemon that adds up the bytes that it is told, and says the sum.

use bytes::Bytes;
use whimbrel_protocol::{TurnFailure, Turned};
use whimbrel_wire::{
    Answer, CausalEvent, CausalLink, Digest, EntityId, Epoch, Head, InputOrigin, OriginHash,
    Purpose, encode,
};

/// The daemon to which a counter writes when it is told to.
pub(crate) const FRIEND: EntityId = EntityId::from_bytes([0xf7; 32]);

/// The state of one copy.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) origin: OriginHash,
    pub(crate) head: Head,
    pub(crate) last: Option<CausalLink>,
    pub(crate) sum: u64,
    /// What this copy adds by mistake in each turn.
    pub(crate) drift: u64,
}

impl Counter {
    /// Takes one turn.
    ///
    /// `panic` makes it panic, `write` makes it write to its friend; all else is added up.
    pub(crate) fn turn(
        &mut self,
        epoch: Epoch,
        origin: &InputOrigin,
        event: &CausalEvent,
    ) -> Result<Turned, TurnFailure> {
        let mut answer = Answer::default();
        let mut sent = Vec::new();
        if matches!(origin, InputOrigin::Event { .. }) {
            if event.payload == "panic" {
                return Err(TurnFailure::Panicked("it was told to".to_owned()));
            }
            self.sum += event.payload.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            self.sum += self.drift;
            if event.payload == "write" {
                sent.push((FRIEND, self.put_out(epoch)));
            }
            answer.outputs.push(self.put_out(epoch));
        }
        self.head.position = self.head.position.next();
        Ok(Turned { head: self.head, last: self.last, answer, sent, next_timer: None })
    }

    fn put_out(&mut self, epoch: Epoch) -> CausalEvent {
        let said = Bytes::from(self.sum.to_string());
        let (head, event) = self.head.put_out(self.origin, epoch, said);
        (self.head, self.last) = (head, Some(event.link));
        event
    }

    /// The digest of the state.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(Purpose::State, &encode(&(self.sum, self.drift)))
    }
}
