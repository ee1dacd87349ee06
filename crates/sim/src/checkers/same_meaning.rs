//! Decides same-meaning: what goes live on the target is what was frozen on the source, and may go on
//! there.

use std::collections::BTreeMap;

use whimbrel_wire::{Digest, EntityId, Epoch, Position};

use super::{EndDaemon, Observed};

pub(super) const NAME: &str = "same-meaning";

#[derive(Default)]
pub(super) struct SameMeaning {
    frozen: BTreeMap<(EntityId, Epoch, Position), Digest>,
}

impl SameMeaning {
    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::Digested { entity, epoch, head, state } => {
                self.frozen.insert((*entity, *epoch, head.position), *state);
            }
            Observed::Live { node, entity, epoch, head, state, fit, .. } => {
                let before = Epoch::new(epoch.get() - 1);
                let frozen = self.frozen.get(&(*entity, before, head.position));
                if frozen.is_some_and(|frozen| frozen != state) {
                    return Err(format!("{entity} came out differently on node {node}"));
                }
                if frozen.is_some() && !fit {
                    return Err(format!("{entity} went on where its gate refuses, node {node}"));
                }
            }
            Observed::Said { .. }
            | Observed::Committed { .. }
            | Observed::Recovered { .. }
            | Observed::Answered { .. }
            | Observed::Posted { .. }
            | Observed::Born { .. }
            | Observed::Offered { .. }
            | Observed::Turned { .. }
            | Observed::TurnFailed
            | Observed::Replayed { .. }
            | Observed::Stepped { .. }
            | Observed::MoveAsked { .. }
            | Observed::Died { .. }
            | Observed::Wiped => {}
        }
        Ok(())
    }
}

/// A daemon lives under the definition that its node was given, if it was given one.
pub(super) fn end(daemon: &EndDaemon) -> Result<(), String> {
    match &daemon.under {
        Some((found, given)) if found != given => {
            Err(format!("{} lives under version {found} and its node has {given}", daemon.entity))
        }
        Some(_) | None => Ok(()),
    }
}
