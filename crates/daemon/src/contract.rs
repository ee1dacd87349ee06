//! Decides what a native daemon is: the trait that people implement.
//!
//! Who calls it and what becomes of its answers is decided by the [`Host`](crate::Host).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use whimbrel_wire::{CatchUp, CausalEvent, EntityId, EvolutionWord, StateVersion, TimerId};

use crate::body::{Coming, Misfit, Objection, founded_on_nothing};
use crate::capture::FrozenState;
use crate::channels::News;
use crate::context::Context;
use crate::paged::PagedMap;
use crate::restore::{RestoreError, StateReader};

/// A stateful, addressable computation: bytes in, bytes out.
///
/// An implementation must be deterministic: equal state, event and context give equal outputs and
/// equal state. Time, randomness and timers are in the [`Context`]; clocks, threads, random hash
/// orders and global state break the rule. Whoever cannot keep it says so in
/// [`catch_up`](Self::catch_up).
///
/// ```
/// use bytes::Bytes;
/// use whimbrel_daemon::{Context, MeshDaemon, ProcessError, RestoreError};
/// use whimbrel_wire::CausalEvent;
///
/// /// Adds up the bytes that it is sent.
/// #[derive(Default)]
/// struct Adder {
///     sum: u64,
/// }
///
/// impl MeshDaemon for Adder {
///     fn name(&self) -> &str {
///         "adder"
///     }
///
///     fn process(
///         &mut self,
///         _context: &mut Context<'_>,
///         event: &CausalEvent,
///     ) -> Result<Vec<Bytes>, ProcessError> {
///         if event.payload.is_empty() {
///             return Err(ProcessError::new("there is nothing to add"));
///         }
///         self.sum += event.payload.iter().map(|&byte| u64::from(byte)).sum::<u64>();
///         Ok(vec![self.sum.to_string().into()])
///     }
///
///     fn snapshot(&self) -> Option<Bytes> {
///         Some(Bytes::copy_from_slice(&self.sum.to_le_bytes()))
///     }
///
///     fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
///         let state = state.try_into().map_err(|_| RestoreError::declined("not eight bytes"))?;
///         self.sum = u64::from_le_bytes(state);
///         Ok(())
///     }
/// }
/// ```
pub trait MeshDaemon: Send {
    /// What it is called, for people.
    fn name(&self) -> &str;

    /// What a node must offer to run it.
    fn requirements(&self) -> Requirements {
        Requirements::default()
    }

    /// Takes on what a newborn is given by whoever spawns it: a definition, a program. Called once,
    /// on a fresh daemon, before its first state is written down; never when it is restored. The
    /// timer that it gives is due at once, so a daemon can begin by itself.
    ///
    /// # Errors
    ///
    /// [`Misfit`]: it is not born. A kind that is given nothing refuses what it is given.
    fn found(
        &mut self,
        entity: &EntityId,
        given: Option<&[u8]>,
    ) -> Result<Option<TimerId>, Misfit> {
        founded_on_nothing(entity, given)
    }

    /// Takes an event and gives the answers to its sender.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] declines the event. The implementation must then have changed nothing;
    /// what it asked of the context is forgotten, and the sender learns the reason.
    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError>;

    /// Something happened on a channel that it listens to. Unless told otherwise, a message is an
    /// event like any other, and the rest is passed over.
    ///
    /// # Errors
    ///
    /// As for [`process`](Self::process); a message that is declined counts as heard.
    fn hear(&mut self, context: &mut Context<'_>, news: &News) -> Result<Vec<Bytes>, ProcessError> {
        match news {
            News::Message { event, .. } => self.process(context, event),
            News::Subscribed { .. } | News::Refused { .. } | News::Unsubscribed { .. } => {
                Ok(Vec::new())
            }
        }
    }

    /// A timer came due.
    fn on_timer(&mut self, _context: &mut Context<'_>, _timer: TimerId) {}

    /// All of its state; none if it has no state, or keeps it in [`paged`](Self::paged).
    fn snapshot(&self) -> Option<Bytes> {
        None
    }

    /// Takes on a state that [`snapshot`](Self::snapshot) gave. Called on a fresh daemon only.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Declined`] when the bytes are no state of this kind. They may be anything.
    fn restore(&mut self, _state: &[u8]) -> Result<(), RestoreError> {
        Err(RestoreError::declined("this kind does not restore"))
    }

    /// Whether it has state that travels.
    fn is_stateful(&self) -> bool {
        self.snapshot().is_some()
    }

    /// The format in which it writes its state.
    fn version(&self) -> StateVersion {
        StateVersion::new(1)
    }

    /// The formats of state that it reads, the one that it writes among them. A target that does not
    /// read the format of a state refuses it before anything is transferred. One that reads an
    /// older format than it writes is given the state as it is frozen, and writes it in its own
    /// format from then on.
    fn reads(&self) -> RangeInclusive<StateVersion> {
        self.version()..=self.version()
    }

    /// How a copy of it catches up. A kind that is not deterministic says
    /// [`CatchUp::FreezeAndCopy`].
    fn catch_up(&self) -> CatchUp {
        CatchUp::Replay
    }

    /// Gets ready to be frozen for a move: what takes long and changes no state. It is still served
    /// meanwhile, and the move may fail afterwards.
    ///
    /// # Errors
    ///
    /// [`Misfit`] when it must not leave at present.
    fn prepare(&mut self) -> Result<(), Misfit> {
        Ok(())
    }

    /// Asked of a copy at the target as soon as it is built, while the source serves: what no later
    /// event can change.
    ///
    /// # Errors
    ///
    /// [`Objection`] ends the move early.
    fn foresee(&self, _coming: &Coming) -> Result<(), Objection> {
        Ok(())
    }

    /// Asked of a copy at the target, once it has caught up with the frozen source: whether its
    /// state may go on there, and under which definition if not under its own.
    ///
    /// # Errors
    ///
    /// [`Objection`] keeps the daemon where it was.
    fn judge(&self, _coming: &Coming) -> Result<Option<Bytes>, Objection> {
        Ok(None)
    }

    /// Whether it may come to live under another definition.
    fn evolves(&self) -> bool {
        false
    }

    /// Its host says what was agreed for a move, or what it goes on as.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] declines it; a move on terms that are declined does not begin.
    fn evolve(
        &mut self,
        _context: &mut Context<'_>,
        _word: &EvolutionWord,
    ) -> Result<Vec<Bytes>, ProcessError> {
        Err(ProcessError::new("this kind is moved without terms"))
    }

    /// Where it keeps its state, if that is in pages. Then all of its state is there, neither
    /// [`snapshot`](Self::snapshot) nor [`restore`](Self::restore) is called, and freezing it
    /// costs next to nothing.
    fn paged(&mut self) -> Option<&mut dyn Paged> {
        None
    }
}

/// A state whose frozen view costs next to nothing.
pub trait Paged: Send {
    /// The frozen view.
    fn freeze(&self) -> Arc<dyn FrozenState>;

    /// Becomes the state that is read.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; this state is then as before.
    fn thaw(&mut self, state: &mut StateReader<'_>) -> Result<(), RestoreError>;
}

/// What a node must offer to run a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Tags that the node must carry, all of them.
    pub tags: BTreeSet<String>,
    /// Memory that it claims, in bytes. A node takes daemons as long as what they claim together is
    /// within what it offers.
    pub memory_bytes: u64,
}

/// Why a daemon declined an event.
///
/// Fault: sender. Changed: nothing, except that the event counts as taken. Again: not with the
/// same event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct ProcessError {
    reason: String,
}

impl Requirements {
    /// Whether a node with these tags and this much free memory will do.
    #[must_use]
    pub fn are_met_by(&self, tags: &BTreeSet<String>, memory_bytes: u64) -> bool {
        self.tags.is_subset(tags) && self.memory_bytes <= memory_bytes
    }
}

impl ProcessError {
    /// The event is declined because of `reason`, which the sender will read.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Why.
    #[must_use]
    pub fn into_reason(self) -> String {
        self.reason
    }
}

impl Paged for PagedMap {
    fn freeze(&self) -> Arc<dyn FrozenState> {
        Arc::new(self.clone())
    }

    fn thaw(&mut self, state: &mut StateReader<'_>) -> Result<(), RestoreError> {
        *self = Self::read(state)?;
        Ok(())
    }
}
