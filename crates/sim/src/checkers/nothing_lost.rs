//! Decides nothing-lost: what was acknowledged is in the state of the daemon for ever.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::{EntityId, InputOrigin};

use super::journals::Journals;
use super::{EndDaemon, Observed, Reply};
use crate::scribe::{AUTHOR_TIMER, read_line};

pub(super) const NAME: &str = "nothing-lost";

#[derive(Default)]
pub(super) struct NothingLost {
    acknowledged: BTreeMap<EntityId, BTreeSet<(u64, u64)>>,
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
                    let acknowledged = self.acknowledged.entry(*entity).or_default();
                    acknowledged.insert((*author, *number));
                }
            }
            Observed::Posted { entity, event } if !self.wiped => {
                let saved = journals.of(entity).is_none_or(|journal| journal.holds(event));
                if !saved {
                    let sequence = event.link.sequence;
                    return Err(format!("output {sequence} of {entity} left before it was saved"));
                }
            }
            Observed::Answered { .. }
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
        let Some(pages) = &daemon.pages else { return Ok(()) };
        let entity = daemon.entity;
        let written: BTreeSet<(u64, u64)> = pages.lines.iter().copied().collect();
        let empty = BTreeSet::new();
        for event in self.acknowledged.get(&entity).unwrap_or(&empty) {
            if !written.contains(event) {
                return Err(format!("{entity} lost {event:?}, which was acknowledged"));
            }
        }
        let timers = pages.lines.iter().filter(|(author, _)| *author == AUTHOR_TIMER).count();
        if timers as u64 != pages.timers_set {
            let set = pages.timers_set;
            return Err(format!("{entity} set {set} timers and {timers} came"));
        }
        let Some(journal) = journals.of(&entity) else { return Ok(()) };
        let model: Vec<(u64, u64)> = journal
            .turns
            .values()
            .filter(|fact| !fact.failed)
            .filter_map(|fact| match fact.origin {
                InputOrigin::Event { .. } => {
                    read_line(&fact.event.payload).map(|line| (line.author, line.number))
                }
                InputOrigin::Timer(timer) => Some((AUTHOR_TIMER, timer.get())),
                InputOrigin::Poisoned { .. } | InputOrigin::SessionOpened(_) => None,
            })
            .collect();
        if model != pages.lines {
            let (model, lines) = (model.len(), pages.lines.len());
            return Err(format!("{entity} wrote {lines} lines, its journal says {model}"));
        }
        Ok(())
    }
}

/// What daemons told each other arrived: all of it, once, in order.
pub(super) fn end_between(
    daemons: &[EndDaemon],
    authors: &BTreeMap<EntityId, u64>,
) -> Result<(), String> {
    for sender in daemons {
        let Some((pages, author)) = sender.pages.as_ref().zip(authors.get(&sender.entity)) else {
            continue;
        };
        for (to, sent) in &pages.sent {
            let Some(receiver) = daemons.iter().find(|daemon| daemon.entity == *to) else {
                continue;
            };
            let Some(received) = &receiver.pages else { continue };
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
