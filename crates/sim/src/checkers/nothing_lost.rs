//! Decides nothing-lost: what was acknowledged is in the state of the daemon for ever.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::{EntityId, Holding, Position, SeatRecord, Write};

use super::journals::Journals;
use super::{EndDaemon, Observed, Reply};
use crate::entities::Entities;
use crate::kinds::Shown;
use crate::scribe::AUTHOR_TIMER;

pub(super) const NAME: &str = "nothing-lost";

#[derive(Default)]
pub(super) struct NothingLost {
    acknowledged: Entities<Vec<(u64, u64)>>,
    /// Up to where the disk of a node was said to hold a daemon that it owns.
    saved: Entities<BTreeMap<usize, Position>>,
    wiped: bool,
}

impl NothingLost {
    pub(super) fn see(
        &mut self,
        observed: &Observed<'_>,
        journals: &Journals,
    ) -> Result<(), String> {
        match observed {
            Observed::Wiped => self.wiped = true,
            Observed::Answered { entity, author, number, reply: Reply::Taken(answer) }
                if !self.wiped =>
            {
                let Some(journal) = journals.of(entity) else { return Ok(()) };
                for output in &answer.outputs {
                    if !journal.holds(output) {
                        return Err(format!("{author}:{number} was answered before it was saved"));
                    }
                }
                if answer.failure.is_none() {
                    let acknowledged = self.acknowledged.entry(*entity, Vec::new);
                    acknowledged.push((*author, *number));
                }
            }
            Observed::Posted { entity, event } if !self.wiped => {
                let saved = journals.of(entity).is_none_or(|journal| journal.holds(event));
                if !saved {
                    let sequence = event.link.sequence;
                    return Err(format!("output {sequence} of {entity} left before it was saved"));
                }
            }
            Observed::Committed { node, write: Write::Append { entity, turns, .. } } => {
                if let Some(last) = turns.last() {
                    let saved = self.saved.entry(*entity, BTreeMap::new);
                    saved.insert(*node, last.position());
                }
            }
            Observed::Recovered { node, entity, record } if !self.wiped => {
                let saved = self.saved.get(entity).and_then(|saved| saved.get(node)).copied();
                return recovered(*node, *entity, record, saved);
            }
            Observed::Recovered { .. }
            | Observed::Answered { .. }
            | Observed::Posted { .. }
            | Observed::Born { .. }
            | Observed::Offered { .. }
            | Observed::Turned { .. }
            | Observed::TurnFailed
            | Observed::Replayed { .. }
            | Observed::Committed { .. }
            | Observed::Stepped { .. }
            | Observed::Said { .. }
            | Observed::Digested { .. }
            | Observed::Live { .. }
            | Observed::MoveAsked { .. }
            | Observed::Died { .. } => {}
        }
        Ok(())
    }

    pub(super) fn end(&self, daemon: &EndDaemon, journals: &Journals) -> Result<(), String> {
        let Some(shown) = &daemon.shown else { return Ok(()) };
        let entity = daemon.entity;
        let lines = daemon.lines(journals);
        let written: BTreeSet<(u64, u64)> = lines.iter().copied().collect();
        for event in self.acknowledged.get(&entity).into_iter().flatten() {
            if !written.contains(event) {
                return Err(format!("{entity} lost {event:?}, which was acknowledged"));
            }
        }
        let Some(journal) = journals.of(&entity) else { return Ok(()) };
        let Some(pages) = shown.pages() else {
            let expected = journal.style.expected(journal.events());
            if expected.as_ref() == Some(shown) {
                return Ok(());
            }
            return Err(format!("{entity} is not what its journal makes of it"));
        };
        let timers = pages.lines.iter().filter(|(author, _)| *author == AUTHOR_TIMER).count();
        if timers as u64 != pages.timers_set {
            let set = pages.timers_set;
            return Err(format!("{entity} set {set} timers and {timers} came"));
        }
        let model = journal.lines();
        if model != lines {
            let (model, lines) = (model.len(), lines.len());
            return Err(format!("{entity} wrote {lines} lines, its journal says {model}"));
        }
        Ok(())
    }
}

/// What a disk held for certain, it holds after a crash, unless the daemon has left it since.
fn recovered(
    node: usize,
    entity: EntityId,
    record: &SeatRecord,
    saved: Option<Position>,
) -> Result<(), String> {
    let Some(saved) = saved else { return Ok(()) };
    let held = match &record.holding {
        Holding::Owned(copy) | Holding::HandedOver(copy) => Some(copy.head().position),
        // It left, and the state was dropped; that the title stays is for others to see.
        Holding::Nothing if !record.deeds.is_empty() => return Ok(()),
        Holding::Nothing => None,
        Holding::Deleted => return Ok(()),
    };
    if held < Some(saved) {
        return Err(format!("node {node} had {entity} up to {saved}, after a crash {held:?}"));
    }
    Ok(())
}

/// What daemons told each other arrived: all of it, once, in order.
pub(super) fn end_between(
    daemons: &[EndDaemon],
    authors: &BTreeMap<EntityId, u64>,
) -> Result<(), String> {
    for sender in daemons {
        let pages = sender.shown.as_ref().and_then(Shown::pages);
        let Some((pages, author)) = pages.zip(authors.get(&sender.entity)) else { continue };
        for (to, sent) in &pages.sent {
            let Some(receiver) = daemons.iter().find(|daemon| daemon.entity == *to) else {
                continue;
            };
            let received = receiver.shown.as_ref().and_then(Shown::pages);
            let Some(received) = received else { continue };
            let heard: Vec<u64> = received
                .lines
                .iter()
                .filter(|(by, _)| by == author)
                .map(|(_, number)| *number)
                .collect();
            if heard != (1..=*sent).collect::<Vec<_>>() {
                let sender = sender.entity;
                return Err(format!("{sender} told {to} {sent} things, it heard {heard:?}"));
            }
        }
    }
    Ok(())
}
