//! Decides what a daemon's dealings with others look like when they are written down: the marks
//! of its senders, the answers it still owes, and the outputs that are not yet acknowledged.
//!
//! These are state: they travel with the daemon and are rebuilt by replay.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::EntityId;
use crate::link::CausalEvent;
use crate::time::Time;
use crate::turn::{Answer, Sender};

/// All dealings of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ledger {
    /// What was taken in, by sender.
    pub sessions: BTreeMap<Sender, Session>,
    /// What is owed to other daemons, by receiver.
    pub outgoing: BTreeMap<EntityId, Outgoing>,
}

/// What one sender has been promised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The number of its last event that was taken in; the next is one more.
    pub mark: u64,
    /// The digest of that event, so that a repeat can be told from a forgery.
    pub last: Digest,
    /// The daemon's time when it was last heard of.
    pub heard: Time,
    /// Answers that it may not have seen, by the number of the event.
    pub answers: BTreeMap<u64, Answer>,
}

/// What one receiver is owed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outgoing {
    /// The number of the next output to this receiver; the first is 1.
    pub next: u64,
    /// What it has not acknowledged, in order; the last has number `next - 1`.
    pub waiting: VecDeque<CausalEvent>,
}

impl Ledger {
    /// Whether its numbers agree with each other. One that came from a peer or a disk may be
    /// anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let outgoing = |outgoing: &Outgoing| outgoing.next > outgoing.waiting.len() as u64;
        let session = |session: &Session| {
            session.answers.last_key_value().is_none_or(|(number, _)| *number <= session.mark)
        };
        self.outgoing.values().all(outgoing) && self.sessions.values().all(session)
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { next: 1, waiting: VecDeque::new() }
    }
}
