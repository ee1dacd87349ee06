//! Decides one-lineage: all outputs of a daemon form one chain, hand-overs included.

use whimbrel_wire::{CausalEvent, EntityId, Epoch};

use super::journals::Journals;
use super::{EndDaemon, Observed, Reply};
use crate::entities::Entities;

pub(super) const NAME: &str = "one-lineage";

#[derive(Default)]
pub(super) struct OneLineage {
    /// What left, by rising sequence.
    seen: Entities<Vec<CausalEvent>>,
    wiped: bool,
}

impl OneLineage {
    pub(super) fn see(&mut self, observed: &Observed<'_>, _: &Journals) -> Result<(), String> {
        match observed {
            Observed::Wiped => self.wiped = true,
            Observed::Answered { entity, reply: Reply::Taken(answer), .. } => {
                for output in &answer.outputs {
                    self.left(entity, output)?;
                }
            }
            Observed::Posted { entity, event } => self.left(entity, event)?,
            Observed::Answered { .. }
            | Observed::Born { .. }
            | Observed::Offered { .. }
            | Observed::Turned { .. }
            | Observed::TurnFailed
            | Observed::Replayed { .. }
            | Observed::Committed { .. }
            | Observed::Stepped { .. }
            | Observed::Said { .. }
            | Observed::Digested { .. }
            | Observed::Recovered { .. }
            | Observed::Live { .. }
            | Observed::MoveAsked { .. }
            | Observed::Died { .. } => {}
        }
        Ok(())
    }

    fn left(&mut self, entity: &EntityId, output: &CausalEvent) -> Result<(), String> {
        let sequence = output.link.sequence;
        let seen = self.seen.entry(*entity, Vec::new);
        // The newest is the likely one.
        let newest = seen.last().is_none_or(|last| last.link.sequence < sequence);
        if newest {
            seen.push(output.clone());
            return Ok(());
        }
        match seen.binary_search_by_key(&sequence, |known| known.link.sequence) {
            Ok(at) if seen[at] != *output => {
                seen[at] = output.clone();
                if self.wiped {
                    return Ok(());
                }
                Err(format!("{entity} put out two different outputs {sequence}"))
            }
            Ok(_) => Ok(()),
            Err(at) => {
                seen.insert(at, output.clone());
                Ok(())
            }
        }
    }

    /// Folds the whole history: every link and every deed.
    pub(super) fn end(&self, daemon: &EndDaemon, journals: &Journals) -> Result<(), String> {
        let entity = daemon.entity;
        let Some(journal) = journals.of(&entity) else { return Ok(()) };
        let (mut head, mut epoch) = (journal.born, Epoch::FIRST);
        for (position, fact) in journal.turns.iter() {
            while epoch < fact.epoch {
                epoch = epoch.next();
                let Some((at, deed)) = journal.deeds.get(&epoch) else {
                    return Err(format!("{entity} entered {epoch} without a deed"));
                };
                if *at != head {
                    return Err(format!("the deed of {epoch} names another head of {entity}"));
                }
                head = head.through_deed(deed);
            }
            if position != head.position.next().get() {
                return Err(format!("{entity} has no turn before p{position}"));
            }
            head.position = head.position.next();
            for output in &fact.outputs {
                let origin = entity.origin_hash();
                let (next, event) = head.put_out(origin, epoch, output.payload.clone());
                if event != *output {
                    let sequence = output.link.sequence;
                    return Err(format!("output {sequence} of {entity} is not in its chain"));
                }
                head = next;
            }
            if head != fact.head {
                return Err(format!("the chain of {entity} breaks at p{position}"));
            }
        }
        // What anybody was told is what happened in the end.
        let told = self.seen.get(&entity).into_iter().flatten();
        let mut outputs = journal.turns.values().flat_map(|fact| &fact.outputs);
        for output in told {
            let sequence = output.link.sequence;
            if outputs.find(|made| made.link.sequence == sequence) != Some(output) {
                return Err(format!(
                    "output {sequence} of {entity} left and is not in its history"
                ));
            }
        }
        let Some((.., last)) = daemon.lives.first() else { return Ok(()) };
        if last.position != head.position || last.sequence != head.sequence {
            return Err(format!("{entity} stands at {last:?}, its history at {head:?}"));
        }
        Ok(())
    }
}
