//! Decides what one entry of a journal holds: what a daemon took in, when, and where it then was.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, ClientId, EntityId, Epoch, Position, TimerId};
use crate::link::{CausalEvent, Head};
use crate::time::Time;

/// Who sent an event, as far as exactly-once needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Sender {
    /// The host itself, through `deliver`: the caller waits for the turn, so it has no number.
    Host,
    /// A client in the session that the daemon granted at this position.
    Client {
        /// Which client.
        client: ClientId,
        /// Where in the journal its session was opened.
        session: Position,
    },
    /// Another daemon. Its session never ends.
    Daemon(EntityId),
}

/// Why a turn happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InputOrigin {
    /// An event arrived.
    Event {
        /// From whom.
        sender: Sender,
        /// Which of the events that this sender sent to this daemon; the first is 1, and it is 0
        /// when the host is the sender.
        number: u64,
        /// Every answer up to this number has reached the sender, so none of them is kept.
        answered: u64,
    },
    /// An event on which the daemon panicked: it counts as taken, and the daemon never sees it.
    Poisoned {
        /// From whom.
        sender: Sender,
        /// As for an event.
        number: u64,
        /// As for an event.
        answered: u64,
    },
    /// A timer of the daemon came due.
    Timer(TimerId),
    /// A client was granted a session at this position.
    SessionOpened(ClientId),
    /// The host told the daemon what it is to become: the payload is an [`EvolutionWord`].
    Evolution,
}

/// What a host tells a daemon about its own definition. Only a host says it, and only as a turn of
/// origin [`InputOrigin::Evolution`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EvolutionWord {
    /// Whoever asked for a move agrees to these terms. They are kept with the state, so they reach
    /// the target however the state does.
    Agreed {
        /// For which attempt; another one has to agree anew.
        attempt: AttemptId,
        /// The terms, in a form of the kind.
        terms: Bytes,
    },
    /// The daemon goes on under another definition: the first turn in the epoch that the attempt
    /// began.
    Adopted {
        /// By the terms of which attempt, if there are any.
        attempt: AttemptId,
        /// The definition, in a form of the kind. It is here in full: a replay on another node needs
        /// no node's settings.
        definition: Bytes,
    },
}

/// What a journal adds to an event: position, time, origin and where the daemon then stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The daemon's own time at this turn: nanoseconds since the Unix epoch. It never goes back.
    pub time: Time,
    /// In which epoch the owner took it.
    pub epoch: Epoch,
    /// Why the turn happened.
    pub origin: InputOrigin,
    /// Where the daemon stood after it. The position of the turn is `head.position`.
    pub head: Head,
}

/// What a daemon answered in one turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// What it put out for the sender.
    pub outputs: Vec<CausalEvent>,
    /// Why it declined the event, if it did. The event counts as taken and changed nothing.
    pub failure: Option<String>,
}

/// One turn of a daemon, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// What came in; empty for timers and sessions.
    pub event: CausalEvent,
    /// What the journal adds.
    pub stamp: Stamp,
}

impl Turn {
    /// Its place in the journal.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.stamp.head.position
    }
}
