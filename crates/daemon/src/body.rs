//! Decides what a host needs of whatever it runs: the one contract under native daemons,
//! statecharts and isolates.
//!
//! A body holds state and takes turns. It knows nothing of chains, epochs, journals or moves.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use whimbrel_wire::limits::{REASON_BYTES_MAX, REPORT_BYTES_MAX};
use whimbrel_wire::{
    AttemptId, CatchUp, CausalEvent, EntityId, EvolutionWord, Manifest, MigrationFailureReason,
    StateVersion, Time, TimerId,
};

use crate::capture::FrozenState;
use crate::channels::News;
use crate::context::Context;
use crate::contract::{ProcessError, Requirements};
use crate::restore::{RestoreError, StateReader};
use crate::schedule::Schedule;

/// What a host runs.
pub trait Body: Send {
    /// What it is called, for people.
    fn name(&self) -> &str;

    /// How a copy of it catches up with it.
    fn catch_up(&self) -> CatchUp;

    /// The format in which it writes its state.
    fn version(&self) -> StateVersion;

    /// What a node must offer to run it.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }

    /// The formats of state that it reads, the one that it writes among them.
    fn reads(&self) -> RangeInclusive<StateVersion> {
        self.version()..=self.version()
    }

    /// Whether this build can run the daemon of `manifest`, whose format it reads. Asked before
    /// anything is transferred.
    ///
    /// # Errors
    ///
    /// [`Misfit`] says why not.
    fn admit(&self, _manifest: &Manifest) -> Result<(), Misfit> {
        Ok(())
    }

    /// Takes on what a newborn is given by whoever spawns it, on a fresh body, before its first
    /// state is written down. The timer that it gives is due at once.
    ///
    /// # Errors
    ///
    /// [`Misfit`]: it is not born.
    fn found(
        &mut self,
        entity: &EntityId,
        given: Option<&[u8]>,
    ) -> Result<Option<TimerId>, Misfit> {
        founded_on_nothing(entity, given)
    }

    /// Gets ready to be frozen: what takes long and changes no state. Called while the daemon
    /// still serves.
    ///
    /// # Errors
    ///
    /// [`Misfit`] when it cannot be frozen at present.
    fn prepare(&mut self) -> Result<(), Misfit> {
        Ok(())
    }

    /// What must be so whatever happens before the freeze: asked of a copy as soon as it is built,
    /// while the source serves.
    ///
    /// # Errors
    ///
    /// [`Objection`] ends the move early.
    fn foresee(&self, _coming: &Coming) -> Result<(), Objection> {
        Ok(())
    }

    /// The gate: whether the state that this body was restored with, and caught up to the last
    /// position of the source, may go on here, and under which definition if not under its own. It
    /// is then told so by [`EvolutionWord::Adopted`], once it lives here.
    ///
    /// # Errors
    ///
    /// [`Objection`] keeps the daemon where it was.
    fn judge(&self, _coming: &Coming) -> Result<Option<Bytes>, Objection> {
        Ok(None)
    }

    /// Whether it may come to live under another definition. Only then is it told, and asked by
    /// [`judge`](Self::judge) after a start in which it was not told yet.
    fn evolves(&self) -> bool {
        false
    }

    /// Whether a turn may take long: then it is made on a thread for such, and nothing else waits
    /// for it.
    fn is_heavy(&self) -> bool {
        false
    }

    /// How its turns want to be made, if they may take long.
    fn schedule(&self) -> Schedule {
        Schedule::default()
    }

    /// How much it has done since it was built, in units of its kind: what a node may hold it to so much of in a
    /// second. It may begin again at zero.
    fn work(&self) -> u64 {
        0
    }

    /// How it is, for people: a few words, at most a line.
    fn particulars(&self) -> Option<String> {
        None
    }

    /// Takes `input`, or goes on with it, for at most `budget`.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] declines the input. The body has then changed nothing.
    fn turn(
        &mut self,
        context: &mut Context<'_>,
        input: Input<'_>,
        budget: Budget,
    ) -> Result<Step, ProcessError>;

    /// Goes on by itself between turns, for at most `budget`. Only bodies whose copies catch up by
    /// [`CatchUp::Deltas`] have anything to do here; what they do cannot be seen before a turn.
    fn idle(&mut self, _budget: Budget) -> Idle {
        Idle::Resting
    }

    /// The frozen view of its state. Called under the daemon's lock: it should cost in proportion
    /// to what changed. A base need not be named: pages that did not change keep their names, and
    /// a [`ChunkSink`](crate::ChunkSink) wants no chunk twice.
    fn capture(&mut self) -> Arc<dyn FrozenState>;

    /// Becomes the state that is read, on a fresh body. The bytes may be anything.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; the body is then of no use.
    fn restore(
        &mut self,
        version: StateVersion,
        state: &mut StateReader<'_>,
    ) -> Result<(), RestoreError>;
}

/// What most kinds make of what a newborn is given: they are given nothing.
pub(crate) fn founded_on_nothing(
    _entity: &EntityId,
    given: Option<&[u8]>,
) -> Result<Option<TimerId>, Misfit> {
    match given {
        None => Ok(None),
        Some(_) => Err(Misfit("a newborn of this kind is given nothing".to_owned())),
    }
}

/// What a turn is about.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An event arrived.
    Event(&'a CausalEvent),
    /// A timer came due.
    Timer(TimerId),
    /// Something happened on a channel that it listens to.
    News(&'a News),
    /// Its host says something about its own definition.
    Evolution(&'a EvolutionWord),
    /// The body yielded: it goes on where it was.
    More,
}

/// How a turn went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The turn is over; these are the answers to the sender.
    Done(Vec<Bytes>),
    /// The budget is used up and the turn is not over.
    Yield,
    /// The turn is over although the body is in the middle of something: it waits for an input
    /// that only a later turn can bring. These are the answers so far.
    Blocked(Vec<Bytes>),
}

/// Whether a body has more to do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing.
    Resting,
    /// More of the same.
    Working,
}

/// How much a body may do before it yields, in units of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budget(pub u64);

/// A copy that is about to live somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coming {
    /// By which attempt: terms that were agreed for it count, and no others.
    pub attempt: AttemptId,
    /// Its own time where it is frozen.
    pub now: Time,
}

/// Why a state may not go on somewhere.
///
/// Fault: whoever chose the place, or gave it its definitions. Changed: nothing. Again: with terms, with
/// another definition, or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{summary}")]
pub struct Objection {
    /// In one line.
    pub summary: String,
    /// In full, in a form of the kind, if there is more to say. At most
    /// [`REPORT_BYTES_MAX`] bytes travel.
    pub report: Option<Bytes>,
}

impl From<Misfit> for Objection {
    fn from(Misfit(summary): Misfit) -> Self {
        Self { summary, report: None }
    }
}

/// As it travels: what is too long is cut off, and a report that is too long stays behind.
impl From<Objection> for MigrationFailureReason {
    fn from(objection: Objection) -> Self {
        let Objection { mut summary, report } = objection;
        summary.truncate(summary.floor_char_boundary(REASON_BYTES_MAX));
        match report.filter(|report| report.len() <= REPORT_BYTES_MAX) {
            None => Self::Incompatible(summary),
            Some(report) => Self::IncompatibleMigration { summary, report },
        }
    }
}

/// Why a body and a state, or a body and a moment, do not fit.
///
/// Fault: caller. Changed: nothing. Again: with another build, or later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Misfit(pub String);
