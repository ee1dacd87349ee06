//! Decides nothing-twice: what was sent is applied once, in the order of its sender, and nothing
//! that was never sent or was refused.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::EntityId;

use super::{EndDaemon, Observed, Reply};
use crate::clients::AUTHOR_HOSTS;
use crate::scribe::{AUTHOR_DAEMONS, AUTHOR_TIMER};

pub(super) const NAME: &str = "nothing-twice";

#[derive(Default)]
pub(super) struct NothingTwice {
    offered: BTreeSet<(EntityId, u64, u64)>,
    refused: BTreeMap<(EntityId, u64, u64), String>,
}

impl NothingTwice {
    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::Offered { entity, author, number } => {
                self.offered.insert((*entity, *author, *number));
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
            | Observed::Live { .. }
            | Observed::MoveAsked { .. }
            | Observed::Died { .. }
            | Observed::Wiped => {}
        }
        Ok(())
    }

    pub(super) fn end(&self, daemon: &EndDaemon) -> Result<(), String> {
        let Some(pages) = &daemon.pages else { return Ok(()) };
        let entity = daemon.entity;
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (author, number) in &pages.lines {
            let (author, number) = (*author, *number);
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
            if !self.offered.contains(&(entity, author, number)) {
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
