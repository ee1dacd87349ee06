//! Decides it-ends: every move ends, once, with the truth about it, and everything settles.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_protocol::Event;
use whimbrel_wire::{AttemptId, EntityId, Epoch, MigrationPhase, Write};

use super::{EndDaemon, Observed};

pub(super) const NAME: &str = "it-ends";

/// Derived attempts of one move that are looked for.
const TRIES_MAX: usize = 64;

#[derive(Default)]
pub(super) struct ItEnds {
    moves: BTreeMap<AttemptId, Move>,
    /// Attempts by which a daemon was handed over.
    pub(super) handed: BTreeSet<AttemptId>,
    /// The attempt that began each epoch.
    begun: BTreeMap<(EntityId, Epoch), AttemptId>,
}

struct Move {
    node: usize,
    entity: EntityId,
    phase: Option<MigrationPhase>,
    ended: Option<Result<AttemptId, String>>,
    forgotten: bool,
}

impl ItEnds {
    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::MoveAsked { node, entity, attempt, .. } => {
                let (node, entity) = (*node, *entity);
                let move_ = Move { node, entity, phase: None, ended: None, forgotten: false };
                self.moves.insert(*attempt, move_);
            }
            Observed::Died { node } => {
                for move_ in self.moves.values_mut().filter(|move_| move_.node == *node) {
                    move_.forgotten |= move_.ended.is_none();
                }
            }
            Observed::Committed { write: Write::HandOver { deed }, .. } => {
                let attempt = deed.deed.attempt;
                if !self.handed.insert(attempt) {
                    return Err(format!("{attempt} handed the daemon over twice"));
                }
                self.begun.insert((deed.deed.entity, deed.deed.epoch), attempt);
            }
            // What was handed over came to nothing.
            Observed::Committed { write: Write::Reclaim { deed }, .. } => {
                let given = Epoch::new(deed.deed.epoch.get() - 1);
                let attempt = self.begun.get(&(deed.deed.entity, given));
                if !attempt.is_some_and(|attempt| self.handed.remove(attempt)) {
                    return Err(format!("{} takes back what was not given", deed.deed.epoch));
                }
            }
            Observed::Said { event: Event::Phase { attempt, phase }, .. } => {
                let Some(move_) = self.moves.get_mut(attempt) else { return Ok(()) };
                let again = *phase == MigrationPhase::Snapshot;
                if move_.phase >= Some(*phase) && !again {
                    let before = move_.phase;
                    return Err(format!("{attempt} went from {before:?} to {phase:?}"));
                }
                move_.phase = Some(*phase);
            }
            Observed::Said { event: Event::MoveEnded { attempt, result }, .. } => {
                let Some(move_) = self.moves.get_mut(attempt) else { return Ok(()) };
                let result = match result {
                    Ok(deed) => Ok(deed.deed.attempt),
                    Err(error) => Err(error.to_string()),
                };
                if move_.ended.replace(result).is_some() {
                    return Err(format!("{attempt} ended twice"));
                }
            }
            Observed::Committed { .. }
            | Observed::Said { .. }
            | Observed::Answered { .. }
            | Observed::Posted { .. }
            | Observed::Born { .. }
            | Observed::Offered { .. }
            | Observed::Turned { .. }
            | Observed::TurnFailed
            | Observed::Replayed { .. }
            | Observed::Stepped { .. }
            | Observed::Digested { .. }
            | Observed::Recovered { .. }
            | Observed::Live { .. }
            | Observed::Wiped => {}
        }
        Ok(())
    }

    pub(super) fn end(&self, daemon: &EndDaemon) -> Result<(), String> {
        let entity = daemon.entity;
        if !daemon.settled {
            let (standings, phases) = (&daemon.standings, &daemon.phases);
            return Err(format!(
                "{entity} does not settle: {standings:?}, moves {phases:?}, {} events wait",
                daemon.waiting_clients
            ));
        }
        for (attempt, move_) in self.moves.iter().filter(|(_, move_)| move_.entity == entity) {
            let next = |attempt: &AttemptId| Some(attempt.derived());
            let mut tries = std::iter::successors(Some(*attempt), next).take(TRIES_MAX);
            let handed = tries.find(|attempt| self.handed.contains(attempt));
            match (&move_.ended, handed) {
                (None, _) if move_.forgotten => {}
                (None, _) => return Err(format!("the move {attempt} never ended")),
                (Some(Ok(by)), Some(handed)) if *by == handed => {}
                (Some(Ok(by)), _) => {
                    return Err(format!("{attempt} is said done by {by}, it is not"));
                }
                (Some(Err(why)), Some(_)) => {
                    return Err(format!("{attempt} is said to have failed ({why}), and moved"));
                }
                (Some(Err(_)), None) => {}
            }
        }
        Ok(())
    }
}
