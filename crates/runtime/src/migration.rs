//! Decides how a caller follows a move that this node orchestrates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use whimbrel_members::Placement;
use whimbrel_protocol::{Event, Input, MoveError};
use whimbrel_wire::{
    AttemptId, EntityId, MigrationEnvelope, MigrationFailureReason, MigrationPhase, NodeId,
    Progress, Role,
};

use crate::cell::Work;
use crate::core::{Core, lock};
use crate::error::MigrationError;
use crate::superposition::SuperpositionState;

/// Moves whose end nobody has seen yet.
#[derive(Default)]
pub(crate) struct Moves(Mutex<HashMap<AttemptId, watch::Sender<State>>>);

/// How a move stands.
#[derive(Clone, Debug)]
pub(crate) struct State {
    superposition: SuperpositionState,
    phase: Option<MigrationPhase>,
    progress: Option<Progress>,
    result: Option<Result<(), MigrationFailureReason>>,
    /// Why it could not be called off.
    refused: Option<MigrationFailureReason>,
}

impl State {
    /// Whether the move ended and the daemon is where it was.
    pub(crate) const fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }
}

impl Moves {
    /// Follows an attempt from now on.
    pub(crate) fn follow(
        &self,
        entity: EntityId,
        attempt: AttemptId,
        target: NodeId,
    ) -> watch::Receiver<State> {
        let superposition = SuperpositionState::new(entity, attempt, target);
        let state =
            State { superposition, phase: None, progress: None, result: None, refused: None };
        let (sender, receiver) = watch::channel(state);
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
                self.note(*attempt, |state| {
                    state.superposition.hear(event);
                    state.phase = Some(*phase);
                });
            }
            Event::Progressed { attempt, progress } => {
                self.note(*attempt, |state| {
                    state.superposition.hear(event);
                    state.progress = Some(*progress);
                });
            }
            Event::MoveEnded { attempt, result } => {
                let result = match result {
                    Ok(_) => Ok(()),
                    Err(MoveError { reason }) => Err(reason.clone()),
                };
                self.note(*attempt, |state| {
                    state.superposition.hear(event);
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

    /// Takes note of what a party of a move said.
    pub(crate) fn listen(&self, from: NodeId, envelope: &MigrationEnvelope) {
        if envelope.role != Role::Target {
            return;
        }
        for sender in lock(&self.0).values() {
            sender.send_if_modified(|state| {
                let superposition = &mut state.superposition;
                superposition.entity == envelope.entity
                    && superposition.listen(from, &envelope.message)
            });
        }
    }

    /// Where a daemon is in a move that this node orchestrates.
    pub(crate) fn superposition(&self, entity: &EntityId) -> Option<SuperpositionState> {
        let moves = lock(&self.0);
        let states = moves.values().map(|sender| sender.borrow().superposition.clone());
        states.into_iter().find(|superposition| superposition.entity == *entity)
    }

    fn note(&self, attempt: AttemptId, note: impl FnOnce(&mut State)) {
        if let Some(sender) = lock(&self.0).get(&attempt) {
            sender.send_modify(note);
        }
    }
}

/// How a daemon is seen to go from one place to another.
#[derive(Clone, Debug)]
pub struct Superpositions {
    state: watch::Receiver<State>,
    seen: Option<SuperpositionState>,
}

impl Superpositions {
    /// The next state; none after the end of the move.
    pub async fn next(&mut self) -> Option<SuperpositionState> {
        loop {
            let ended = self.state.has_changed().is_err();
            let state = self.state.borrow_and_update().superposition.clone();
            if self.seen.as_ref() != Some(&state) {
                self.seen = Some(state.clone());
                return Some(state);
            }
            if ended || self.state.changed().await.is_err() {
                // What was said last, if that was after the last look.
                let last = self.state.borrow().superposition.clone();
                let is_new = self.seen.as_ref() != Some(&last);
                self.seen = Some(last.clone());
                return is_new.then_some(last);
            }
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
    placement: Option<Arc<Placement>>,
}

impl MigrationHandle {
    pub(crate) const fn new(
        core: Arc<Core>,
        entity: EntityId,
        attempt: AttemptId,
        state: watch::Receiver<State>,
    ) -> Self {
        Self { core, entity, attempt, state, placement: None }
    }

    /// The same, of a move whose target was chosen.
    pub(crate) fn placed(self, placement: Placement) -> Self {
        Self { placement: Some(Arc::new(placement)), ..self }
    }

    /// Why this target was chosen, and why the others were not; none if the caller named it.
    #[must_use]
    pub fn placement(&self) -> Option<&Placement> {
        self.placement.as_deref()
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

    /// Where the daemon is: at the source, at the target, or on its way. The last word stays.
    #[must_use]
    pub fn superposition(&self) -> SuperpositionState {
        self.state.borrow().superposition.clone()
    }

    /// Every change of that from now on. Whoever is slow sees the newest one.
    #[must_use]
    pub fn superpositions(&self) -> Superpositions {
        Superpositions { state: self.state.clone(), seen: None }
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
