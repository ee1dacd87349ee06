//! Decides what a daemon wants of its node: its owner knows, and is asked.
//!
//! # Limits
//!
//! * [`ANSWERS_MAX`] questions of others are answered at a time; further ones are dropped, and asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, oneshot};
use whimbrel_members::{Wanted, Word};
use whimbrel_wire::{EntityId, NodeId};

use super::say;
use crate::core::{Core, lock};
use crate::error::DaemonError;

/// Questions that are answered at a time.
const ANSWERS_MAX: usize = 8;

/// Who waits for the answer of which node.
type Waiting = Vec<(NodeId, oneshot::Sender<Option<Wanted>>)>;

/// Questions under way.
pub(super) struct Wants {
    waiting: Mutex<HashMap<EntityId, Waiting>>,
    answering: Arc<Semaphore>,
}

impl Default for Wants {
    fn default() -> Self {
        Self { waiting: Mutex::default(), answering: Arc::new(Semaphore::new(ANSWERS_MAX)) }
    }
}

impl Wants {
    /// A member asks. Its question is answered elsewhere: a cell may be in the middle of a long turn.
    pub(super) fn asked(&self, core: &Arc<Core>, from: NodeId, entity: EntityId) {
        let Ok(place) = Arc::clone(&self.answering).try_acquire_owned() else { return };
        let here = Arc::clone(core);
        tokio::task::spawn_blocking(move || {
            let wanted = here_wanted(&here, &entity);
            say(&here, from, &Word::WantedAnswered { entity, wanted });
            drop(place);
        });
    }

    /// A member answers.
    pub(super) fn answered(&self, from: NodeId, entity: &EntityId, wanted: Option<Wanted>) {
        let mut waiting = lock(&self.waiting);
        let Some(asked) = waiting.remove(entity) else { return };
        for (node, tell) in asked {
            if node == from {
                // Whoever asked may have given up.
                drop(tell.send(wanted.clone()));
            } else {
                waiting.entry(*entity).or_default().push((node, tell));
            }
        }
    }

    /// What `entity` wants, by its owner.
    pub(super) async fn ask(
        &self,
        core: &Arc<Core>,
        owner: NodeId,
        entity: EntityId,
    ) -> Result<Wanted, DaemonError> {
        if owner == core.node() {
            let here = Arc::clone(core);
            let wanted = tokio::task::spawn_blocking(move || here_wanted(&here, &entity));
            let wanted = wanted.await.map_err(|_| DaemonError::ShuttingDown)?;
            return wanted.ok_or(DaemonError::Unknown);
        }
        let settings = &core.station.settings;
        let asked_at = core.clock.now();
        while core.clock.now().since(asked_at) < settings.search_max {
            let (tell, told) = oneshot::channel();
            lock(&self.waiting).entry(entity).or_default().push((owner, tell));
            say(core, owner, &Word::WantedAsked { entity });
            let told = tokio::time::timeout(settings.resend_after, told).await;
            self.forget(&entity);
            // Otherwise question or answer was lost, or too slow.
            if let Ok(Ok(wanted)) = told {
                return wanted.ok_or(DaemonError::Unknown);
            }
        }
        Err(DaemonError::Unanswered(owner))
    }

    /// Strikes off those who wait no more.
    fn forget(&self, entity: &EntityId) {
        let mut waiting = lock(&self.waiting);
        let Some(asked) = waiting.get_mut(entity) else { return };
        asked.retain(|(_, tell)| !tell.is_closed());
        if asked.is_empty() {
            waiting.remove(entity);
        }
    }
}

/// What a daemon that lives here wants.
fn here_wanted(core: &Core, entity: &EntityId) -> Option<Wanted> {
    core.known_cell(entity)?.look(|inner| {
        let (copy, _) = inner.seat.live_copy()?;
        let known = inner.known(copy)?;
        Some(Wanted {
            kind: known.kind.as_str().to_owned(),
            tags: known.requirements.tags,
            memory_bytes: known.requirements.memory_bytes,
        })
    })
}
