//! Decides what a daemon can know and ask for during a turn: its time, its randomness, its timers,
//! its messages to other daemons and its channels.
//!
//! Everything here is a function of the journal, so that a replay of the turn sees the same.
//! What becomes of the wishes is decided by the [`Host`](crate::Host) after the turn.
//!
//! # Invariants
//!
//! * X1 (deterministic): randomness depends on seed, position and how much of it was drawn.

use bytes::Bytes;
use whimbrel_wire::{
    ChannelName, ChannelWord, DigestWriter, EntityId, Hearing, Position, Purpose, Sender, Start,
    Time, TimerId,
};

use crate::channels::Wish;

/// How much randomness is made at a time.
const BLOCK_BYTES: usize = 64;

/// What a daemon is given for one turn.
pub struct Context<'a> {
    pub(crate) entity: &'a EntityId,
    pub(crate) now: Time,
    pub(crate) position: Position,
    pub(crate) sender: Option<Sender>,
    pub(crate) seed: &'a [u8; 32],
    pub(crate) random: Random,
    pub(crate) desk: &'a mut Desk,
}

/// What a daemon asked for during a turn; nothing of it has happened yet.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) sends: Vec<(EntityId, Bytes)>,
    /// In order; none cancels.
    pub(crate) timers: Vec<(TimerId, Option<Time>)>,
    /// About channels, in order.
    pub(crate) wishes: Vec<Wish>,
}

/// A stream of randomness that costs nothing until it is used.
#[derive(Debug)]
pub(crate) struct Random {
    block: [u8; BLOCK_BYTES],
    /// How many bytes of the block were used.
    used: usize,
    /// The number of the next block.
    next: u64,
}

impl Default for Random {
    fn default() -> Self {
        Self { block: [0; BLOCK_BYTES], used: BLOCK_BYTES, next: 0 }
    }
}

impl Desk {
    pub(crate) fn clear(&mut self) {
        self.sends.clear();
        self.timers.clear();
        self.wishes.clear();
    }
}

impl Context<'_> {
    /// The daemon itself.
    #[must_use]
    pub fn entity(&self) -> &EntityId {
        self.entity
    }

    /// The daemon's time: nanoseconds since the Unix epoch. It never goes back and stands still
    /// within a turn.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The place of this turn in the journal.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Who sent the event of this turn, as the journal has it; none if the turn is no event's. Nobody can
    /// pretend to be a daemon that he is not; what a client says of itself nobody vouches for.
    #[must_use]
    pub fn sender(&self) -> Option<Sender> {
        self.sender
    }

    /// A random number, the same in every replay of this turn.
    #[must_use]
    pub fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Fills `out` with random bytes, the same in every replay of this turn.
    pub fn fill_random(&mut self, out: &mut [u8]) {
        let mut rest = out;
        while !rest.is_empty() {
            if self.random.used == BLOCK_BYTES {
                self.next_block();
            }
            let count = rest.len().min(BLOCK_BYTES - self.random.used);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&self.random.block[self.random.used..self.random.used + count]);
            self.random.used += count;
            rest = later;
        }
    }

    fn next_block(&mut self) {
        DigestWriter::new(Purpose::Random)
            .write(self.seed)
            .write(&self.position.get().to_le_bytes())
            .write(&self.random.next.to_le_bytes())
            .fill(&mut self.random.block);
        self.random.used = 0;
        self.random.next += 1;
    }

    /// Sends `payload` to another daemon, after this turn is durable, exactly once. Outputs to
    /// other daemons come before the answers of the turn in the daemon's chain.
    pub fn send(&mut self, to: EntityId, payload: impl Into<Bytes>) {
        self.desk.sends.push((to, ChannelWord::escape(payload.into())));
    }

    /// Opens a channel on which this daemon publishes, or changes how many of the last messages it
    /// retains for those who come late: at most
    /// [`RETAINED_MAX`](crate::limits::RETAINED_MAX) messages and
    /// [`RETAINED_BYTES_MAX`](crate::limits::RETAINED_BYTES_MAX).
    pub fn open_channel(&mut self, channel: ChannelName, retained: u32) {
        self.desk.wishes.push(Wish::Open { channel, retained });
    }

    /// Publishes `payload`, after this turn is durable: everyone who listens hears it once, in the
    /// order in which this daemon published. A channel that was not opened is, and retains nothing.
    pub fn publish(&mut self, channel: ChannelName, payload: impl Into<Bytes>) {
        self.desk.wishes.push(Wish::Publish { channel, payload: payload.into() });
    }

    /// Listens to a channel of another daemon. What becomes of it is told to
    /// [`hear`](crate::MeshDaemon::hear); one that stands or is on its way stays as it is.
    pub fn subscribe(
        &mut self,
        publisher: EntityId,
        channel: ChannelName,
        hearing: Hearing,
        start: Start,
    ) {
        self.desk.wishes.push(Wish::Join { publisher, channel, hearing, start });
    }

    /// Listens no more. Messages still come until the publisher has heard of it.
    pub fn unsubscribe(&mut self, publisher: EntityId, channel: ChannelName) {
        self.desk.wishes.push(Wish::Leave { publisher, channel });
    }

    /// Calls [`on_timer`](crate::MeshDaemon::on_timer) at `at` or as soon afterwards as the
    /// daemon is live. A timer that is set again moves.
    pub fn set_timer(&mut self, timer: TimerId, at: Time) {
        self.desk.timers.push((timer, Some(at)));
    }

    /// Forgets a timer; one that was never set is no mistake.
    pub fn cancel_timer(&mut self, timer: TimerId) {
        self.desk.timers.push((timer, None));
    }
}
