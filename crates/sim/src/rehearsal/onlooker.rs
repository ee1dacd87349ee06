//! Decides what a rehearsal sees: how moves ended, how long daemons stood still, how long events took.

use std::collections::BTreeMap;

use whimbrel_protocol::{Event, Ticket};
use whimbrel_wire::{AttemptId, EntityId, Message, encode};

/// What was seen since the beginning.
#[derive(Debug, Default)]
pub(crate) struct Onlooker {
    /// Moves that ended, in order; taken away by who asked for them.
    pub(super) ended: Vec<Ended>,
    /// Since when a daemon stands still.
    frozen: BTreeMap<EntityId, u64>,
    /// How long daemons stood still, in nanoseconds.
    pub(super) pauses: Vec<u64>,
    /// Where a daemon last came to life.
    pub(super) places: BTreeMap<EntityId, usize>,
    /// When events were sent.
    sent: BTreeMap<Ticket, u64>,
    /// How long they took to be acknowledged, in nanoseconds.
    pub(super) answers: Vec<u64>,
    pub(super) events: u64,
    /// Bytes of all messages of moves.
    pub(super) bytes: u64,
}

/// A move that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) attempt: AttemptId,
    pub(super) at: u64,
    /// Why the daemon is not there.
    pub(super) failed: Option<String>,
}

impl Onlooker {
    /// Forgets what was before, but not where daemons live.
    pub(super) fn begin(&mut self) {
        *self = Self { places: std::mem::take(&mut self.places), ..Self::default() };
    }

    /// A node says something about a daemon.
    pub(crate) fn said(&mut self, now: u64, node: usize, entity: EntityId, event: &Event) {
        match event {
            Event::MoveEnded { attempt, result } => {
                let failed = result.as_ref().err().map(|error| error.reason.to_string());
                self.ended.push(Ended { attempt: *attempt, at: now, failed });
            }
            Event::Frozen { .. } => {
                self.frozen.entry(entity).or_insert(now);
            }
            Event::Thawed { .. } => self.goes_on(now, entity),
            Event::Live { .. } => {
                self.places.insert(entity, node);
                self.goes_on(now, entity);
            }
            Event::Phase { .. }
            | Event::Progressed { .. }
            | Event::CancelRefused { .. }
            | Event::HandedOver { .. }
            | Event::Dropped { .. }
            | Event::Warning(_)
            | _ => {}
        }
    }

    fn goes_on(&mut self, now: u64, entity: EntityId) {
        if let Some(since) = self.frozen.remove(&entity) {
            self.pauses.push(now - since);
        }
    }

    /// A client sends an event.
    pub(crate) fn sent(&mut self, now: u64, ticket: Ticket) {
        self.events += 1;
        self.sent.insert(ticket, now);
    }

    /// A client is told what became of its event.
    pub(crate) fn answered(&mut self, now: u64, ticket: Ticket, taken: bool) {
        let since = self.sent.remove(&ticket);
        self.answers.extend(since.filter(|_| taken).map(|since| now - since));
    }

    /// A message goes to another node; says how long it is if that has to be known.
    pub(crate) fn carried(&mut self, message: &Message, paced: bool) -> u64 {
        let moves = matches!(message, Message::Migration(_));
        if !moves && !paced {
            return 0;
        }
        let bytes = encode(message).len() as u64;
        self.bytes += if moves { bytes } else { 0 };
        bytes
    }
}
