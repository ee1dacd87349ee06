//! Decides nothing-twice: what was sent is applied once, in the order of its sender, and nothing
//! that was never sent or was refused.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::EntityId;

use super::journals::Journals;
use super::{EndDaemon, Observed, Reply};
use crate::clients::AUTHOR_HOSTS;
use crate::entities::Entities;
use crate::scribe::{AUTHOR_DAEMONS, AUTHOR_TIMER};

pub(super) const NAME: &str = "nothing-twice";

#[derive(Default)]
pub(super) struct NothingTwice {
    /// The numbers that each author gave away, rising.
    offered: Entities<BTreeMap<u64, Vec<u64>>>,
    refused: BTreeMap<(EntityId, u64, u64), String>,
}

impl NothingTwice {
    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::Offered { entity, author, number } => {
                let authors = self.offered.entry(*entity, BTreeMap::new);
                authors.entry(*author).or_default().push(*number);
            }
            Observed::Answered { entity, author, number, reply: Reply::Never(why) } => {
                self.refused.insert((*entity, *author, *number), why.clone());
            }
            Observed::Answered { .. }
            | Observed::Posted { .. }
            | Observed::Born { .. }
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
            | Observed::Died { .. }
            | Observed::Wiped => {}
        }
        Ok(())
    }

    pub(super) fn end(&self, daemon: &EndDaemon, journals: &Journals) -> Result<(), String> {
        if daemon.shown.is_none() {
            return Ok(());
        }
        let entity = daemon.entity;
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let before = journals.of(&entity).map_or(0, |journal| journal.before.len());
        for (author, number) in daemon.lines(journals).into_iter().skip(before) {
            if !seen.insert((author, number)) {
                return Err(format!("{entity} applied {author}:{number} twice"));
            }
            if author >= AUTHOR_DAEMONS {
                // Timers of one daemon come in the order of their times.
                if author != AUTHOR_TIMER && last.insert(author, number) >= Some(number) {
                    return Err(format!("{entity} heard {author}:{number} out of order"));
                }
                continue;
            }
            let offered = self.offered.get(&entity).and_then(|authors| authors.get(&author));
            if offered.is_none_or(|numbers| numbers.binary_search(&number).is_err()) {
                return Err(format!("{entity} applied {author}:{number}, which nobody sent"));
            }
            if let Some(why) = self.refused.get(&(entity, author, number)) {
                return Err(format!("{entity} applied {author}:{number} after saying: {why}"));
            }
            let before = last.insert(author, number);
            if author < AUTHOR_HOSTS && before >= Some(number) {
                return Err(format!("{entity} applied {author}:{number} out of order"));
            }
        }
        Ok(())
    }
}
