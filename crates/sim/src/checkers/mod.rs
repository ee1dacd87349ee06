//! Decides whether a run kept what we promise; one file for each promise, named after it.
//!
//! The cluster tells what happens as [`Observed`]; a checker answers at once when that breaks its
//! promise, and once more at the end.

mod each_heard;
mod it_ends;
mod journals;
mod nothing_lost;
mod nothing_twice;
mod one_lineage;
mod one_owner;
mod same_meaning;
mod still_serving;

use std::collections::BTreeMap;
use std::fmt;

use whimbrel_protocol::{Event, Turned};
use whimbrel_wire::{
    Answer, AttemptId, CausalEvent, Digest, EntityId, Epoch, Head, Hearing, InputOrigin,
    SeatRecord, SubscriptionBinding, SubscriptionState, Write,
};

use crate::kinds::Shown;
use crate::scribe::Style;
use journals::Journals;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{promise} broken at {seconds:.6} s: {what}")]
pub struct Violation {
    /// Which promise.
    pub promise: &'static str,
    /// How.
    pub what: String,
    /// When, in simulated seconds.
    pub seconds: Seconds,
}

/// Seconds that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// Something that happened.
pub(crate) enum Observed<'a> {
    /// A daemon was born; what it had written before, if it was made of another one.
    Born { entity: EntityId, head: Head, style: Style, lines: Vec<(u64, u64)> },
    /// Somebody gave an event away.
    Offered { entity: EntityId, author: u64, number: u64 },
    /// What became of it, as its author is told.
    Answered { entity: EntityId, author: u64, number: u64, reply: Reply<'a> },
    /// A live daemon made a turn.
    Turned {
        node: usize,
        entity: EntityId,
        epoch: Epoch,
        frozen: bool,
        /// The newest epoch on the disk of that node.
        known: Option<Epoch>,
        origin: InputOrigin,
        event: &'a CausalEvent,
        before: Head,
        turned: &'a Turned,
    },
    /// A live daemon's turn was asked for and failed.
    TurnFailed,
    /// A copy made a turn again.
    Replayed {
        entity: EntityId,
        epoch: Epoch,
        origin: InputOrigin,
        event: &'a CausalEvent,
        before: Head,
        turned: &'a Turned,
    },
    /// A write is on a disk.
    Committed { node: usize, write: &'a Write },
    /// Who runs a daemon after a step.
    Stepped { entity: EntityId, lives: Vec<(usize, Epoch)> },
    /// An output left for another daemon.
    Posted { entity: EntityId, event: &'a CausalEvent },
    /// A node said something.
    Said { node: usize, entity: EntityId, event: &'a Event },
    /// The digest of a frozen owner was taken.
    Digested { entity: EntityId, epoch: Epoch, head: Head, state: Digest },
    /// A daemon is live; where, and in which state.
    Live {
        node: usize,
        entity: EntityId,
        epoch: Epoch,
        head: Head,
        state: Digest,
        /// Whether its gate lets that state go on.
        fit: bool,
        has_key: bool,
    },
    /// A move was asked for.
    MoveAsked { node: usize, entity: EntityId, attempt: AttemptId },
    /// A node lost its memory.
    Died { node: usize },
    /// A disk was read after a crash: what it holds of a daemon.
    Recovered { node: usize, entity: EntityId, record: &'a SeatRecord },
    /// A disk was wiped: what it alone held may be gone.
    Wiped,
}

/// What an author is told.
pub(crate) enum Reply<'a> {
    Taken(&'a Answer),
    /// It was not taken and never will be.
    Never(String),
    Unknown,
}

/// How a daemon ended up.
pub(crate) struct EndDaemon {
    pub(crate) entity: EntityId,
    pub(crate) lives: Vec<(usize, Epoch, Head)>,
    pub(crate) shown: Option<Shown>,
    /// Under which version of its definition it lives, and which one its node was given.
    pub(crate) under: Option<(String, &'static str)>,
    /// To whom it listens, in which way, and how that stands.
    pub(crate) listens: Vec<(SubscriptionBinding, Hearing, SubscriptionState)>,
    /// It was deleted.
    pub(crate) deleted: bool,
    pub(crate) standings: Vec<String>,
    pub(crate) phases: Vec<String>,
    /// Which nodes hold its key.
    pub(crate) keys: Vec<usize>,
    pub(crate) settled: bool,
    pub(crate) waiting_clients: usize,
}

/// All checkers.
#[derive(Default)]
pub(crate) struct Checkers {
    pub(crate) journals: Journals,
    one_owner: one_owner::OneOwner,
    nothing_lost: nothing_lost::NothingLost,
    nothing_twice: nothing_twice::NothingTwice,
    one_lineage: one_lineage::OneLineage,
    it_ends: it_ends::ItEnds,
    still_serving: still_serving::StillServing,
    same_meaning: same_meaning::SameMeaning,
    /// A disk was wiped: losses are told and expected.
    pub(crate) wiped: bool,
}

impl EndDaemon {
    /// Who wrote what, in order: as its state has it, or its journal where the state does not tell.
    pub(crate) fn lines(&self, journals: &Journals) -> Vec<(u64, u64)> {
        match self.shown.as_ref().and_then(Shown::pages) {
            Some(pages) => pages.lines.clone(),
            None => journals.of(&self.entity).map(journals::Journal::lines).unwrap_or_default(),
        }
    }
}

/// A broken promise without its moment.
pub(crate) type Broken = (&'static str, String);

impl Checkers {
    pub(crate) fn see(&mut self, observed: &Observed<'_>) -> Result<(), Broken> {
        if matches!(observed, Observed::Wiped) {
            self.wiped = true;
        }
        self.journals.see(observed).map_err(|what| (one_lineage::NAME, what))?;
        let journals = &self.journals;
        self.one_owner.see(observed).map_err(|what| (one_owner::NAME, what))?;
        self.nothing_lost.see(observed, journals).map_err(|what| (nothing_lost::NAME, what))?;
        self.nothing_twice.see(observed).map_err(|what| (nothing_twice::NAME, what))?;
        self.one_lineage.see(observed, journals).map_err(|what| (one_lineage::NAME, what))?;
        self.it_ends.see(observed).map_err(|what| (it_ends::NAME, what))?;
        self.still_serving.see(observed).map_err(|what| (still_serving::NAME, what))?;
        self.same_meaning.see(observed).map_err(|what| (same_meaning::NAME, what))
    }

    /// The last look. `authors` says which daemon writes as which author.
    pub(crate) fn end(
        &self,
        daemons: &[EndDaemon],
        authors: &BTreeMap<EntityId, u64>,
    ) -> Result<(), Broken> {
        for daemon in daemons {
            self.it_ends.end(daemon).map_err(|what| (it_ends::NAME, what))?;
            self.one_owner.end(daemon).map_err(|what| (one_owner::NAME, what))?;
            if self.wiped || daemon.deleted {
                continue;
            }
            let journals = &self.journals;
            same_meaning::end(daemon).map_err(|what| (same_meaning::NAME, what))?;
            self.nothing_lost.end(daemon, journals).map_err(|what| (nothing_lost::NAME, what))?;
            self.nothing_twice.end(daemon, journals).map_err(|what| (nothing_twice::NAME, what))?;
            self.one_lineage.end(daemon, journals).map_err(|what| (one_lineage::NAME, what))?;
        }
        if !self.wiped {
            each_heard::end(daemons).map_err(|what| (each_heard::NAME, what))?;
        }
        nothing_lost::end_between(daemons, authors).map_err(|what| (nothing_lost::NAME, what))
    }

    /// Whether a daemon was handed over by this very attempt.
    pub(crate) fn has_handed_over(&self, attempt: AttemptId) -> bool {
        self.it_ends.handed.contains(&attempt)
    }

    /// Turns made while a move was under way and the daemon not frozen.
    pub(crate) const fn served(&self) -> u64 {
        self.still_serving.served
    }
}
