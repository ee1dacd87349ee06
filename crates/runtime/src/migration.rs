//! Decides how a caller follows a move that this node orchestrates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use whimbrel_protocol::{Event, Input, MoveError};
use whimbrel_wire::{AttemptId, EntityId, MigrationFailureReason, MigrationPhase, Progress};

use crate::cell::Work;
use crate::core::{Core, lock};
use crate::error::MigrationError;

/// Moves whose end nobody has seen yet.
#[derive(Default)]
pub(crate) struct Moves(Mutex<HashMap<AttemptId, watch::Sender<State>>>);

/// How a move stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    phase: Option<MigrationPhase>,
    progress: Option<Progress>,
    result: Option<Result<(), MigrationFailureReason>>,
    /// Why it could not be called off.
    refused: Option<MigrationFailureReason>,
}

impl Moves {
    /// Follows an attempt from now on.
    pub(crate) fn follow(&self, attempt: AttemptId) -> watch::Receiver<State> {
        let (sender, receiver) = watch::channel(State::default());
        lock(&self.0).insert(attempt, sender);
        receiver
    }

    /// Nobody will tell how the moves end.
    pub(crate) fn abandon(&self) {
        lock(&self.0).clear();
    }

    /// Takes note of what a seat says about a move.
    pub(crate) fn hear(&self, event: &Event) {
        match event {
            Event::Phase { attempt, phase } => {
                self.note(*attempt, |state| state.phase = Some(*phase));
            }
            Event::Progressed { attempt, progress } => {
                self.note(*attempt, |state| state.progress = Some(*progress));
            }
            Event::MoveEnded { attempt, result } => {
                let result = match result {
                    Ok(_) => Ok(()),
                    Err(MoveError { reason }) => Err(reason.clone()),
                };
                self.note(*attempt, |state| {
                    state.phase = None;
                    state.result = Some(result);
                });
                lock(&self.0).remove(attempt);
            }
            Event::CancelRefused { attempt, reason } => {
                self.note(*attempt, |state| state.refused = Some(reason.clone()));
            }
            Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::HandedOver { .. }
            | Event::Live { .. }
            | Event::Dropped { .. }
            | Event::Warning(_)
            | _ => {}
        }
    }

    fn note(&self, attempt: AttemptId, note: impl FnOnce(&mut State)) {
        if let Some(sender) = lock(&self.0).get(&attempt) {
            sender.send_modify(note);
        }
    }
}

/// A move that was started here. Cheap to clone; dropping it stops nothing.
#[derive(Clone)]
pub struct MigrationHandle {
    core: Arc<Core>,
    entity: EntityId,
    attempt: AttemptId,
    state: watch::Receiver<State>,
}

impl MigrationHandle {
    pub(crate) const fn new(
        core: Arc<Core>,
        entity: EntityId,
        attempt: AttemptId,
        state: watch::Receiver<State>,
    ) -> Self {
        Self { core, entity, attempt, state }
    }

    /// The attempt that was asked for.
    #[must_use]
    pub const fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// The phase it is in; none before the source was asked and after the end.
    #[must_use]
    pub fn phase(&self) -> Option<MigrationPhase> {
        self.state.borrow().phase
    }

    /// The last figures that the source gave: bytes, chunks, events replayed, lag.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        self.state.borrow().progress
    }

    /// Waits for the end: the daemon is live on the target, or goes on where it was.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] says why the daemon was not moved.
    pub async fn wait(&self) -> Result<(), MigrationError> {
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| state.result.is_some()).await;
        let result = ended.map_err(|_| MigrationError::OrchestratorGone)?.result.clone();
        result.unwrap_or(Ok(())).map_err(MigrationError::Failed)
    }

    /// Waits for the end, for `limit` at most. The move goes on either way.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and [`MigrationError::StillRunning`].
    pub async fn wait_with_timeout(&self, limit: Duration) -> Result<(), MigrationError> {
        match tokio::time::timeout(limit, self.wait()).await {
            Ok(result) => result,
            Err(_) => Err(MigrationError::StillRunning),
        }
    }

    /// Asks for the move to be given up, and says nothing of what came of it: see
    /// [`cancel_and_wait`](Self::cancel_and_wait).
    pub fn cancel(&self) {
        let cell = self.core.cell(self.entity);
        self.core.post(&cell, Work::Input(Input::Cancel { attempt: self.attempt }));
    }

    /// Asks for the move to be given up, and waits until it is known whether it was: then the daemon
    /// goes on where it was.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Failed`] with [`MigrationFailureReason::TooLate`] when the move is past its
    /// commit point: it ends on the target. [`MigrationError::OrchestratorGone`].
    pub async fn cancel_and_wait(&self) -> Result<(), MigrationError> {
        self.cancel();
        let mut state = self.state.clone();
        let known = state.wait_for(|state| state.result.is_some() || state.refused.is_some());
        let known = known.await.map_err(|_| MigrationError::OrchestratorGone)?.clone();
        match known {
            State { result: Some(Err(_)), .. } => Ok(()),
            State { refused: Some(reason), .. } => Err(MigrationError::Failed(reason)),
            State { .. } => Err(MigrationError::Failed(MigrationFailureReason::TooLate)),
        }
    }
}
