//! Decides still-serving: a daemon serves until it is frozen, takes no turn while it is, and the
//! freeze ends.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_protocol::Event;
use whimbrel_wire::{EntityId, MigrationPhase};

use super::Observed;

pub(super) const NAME: &str = "still-serving";

#[derive(Default)]
pub(super) struct StillServing {
    /// Daemons that are being moved and serve.
    moving: BTreeSet<EntityId>,
    frozen: BTreeMap<EntityId, usize>,
    /// Turns made during a move.
    pub(super) served: u64,
}

impl StillServing {
    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::Turned { node, entity, frozen, .. } => {
                if *frozen || self.frozen.get(entity) == Some(node) {
                    return Err(format!("{entity} made a turn on node {node} while it was frozen"));
                }
                if self.moving.contains(entity) {
                    self.served += 1;
                }
            }
            Observed::Said { entity, event: Event::Phase { phase, .. }, .. } => {
                if *phase < MigrationPhase::Cutover {
                    self.moving.insert(*entity);
                } else {
                    self.moving.remove(entity);
                }
            }
            Observed::Said { entity, event: Event::MoveEnded { .. }, .. } => {
                self.moving.remove(entity);
            }
            Observed::Said { node, entity, event: Event::Frozen { .. } } => {
                self.frozen.insert(*entity, *node);
            }
            Observed::Said {
                entity,
                event: Event::Thawed { .. } | Event::HandedOver { .. },
                ..
            } => {
                self.frozen.remove(entity);
            }
            Observed::Died { node } => self.frozen.retain(|_, at| at != node),
            Observed::Said { .. }
            | Observed::Committed { .. }
            | Observed::Answered { .. }
            | Observed::Posted { .. }
            | Observed::Born { .. }
            | Observed::Offered { .. }
            | Observed::TurnFailed
            | Observed::Replayed { .. }
            | Observed::Stepped { .. }
            | Observed::Digested { .. }
            | Observed::Recovered { .. }
            | Observed::Live { .. }
            | Observed::MoveAsked { .. }
            | Observed::Wiped => {}
        }
        Ok(())
    }
}
