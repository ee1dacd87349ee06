//! Decides one-owner: at no moment do two nodes run one daemon in epochs that anyone honours.

use std::collections::BTreeMap;

use whimbrel_wire::{Digest, EntityId, Epoch, Write};

use super::{EndDaemon, Observed};

pub(super) const NAME: &str = "one-owner";

#[derive(Default)]
pub(super) struct OneOwner {
    deeds: BTreeMap<(EntityId, Epoch), Digest>,
    /// Which nodes have given a daemon away, and in which epoch they last did.
    left: BTreeMap<(EntityId, usize), Epoch>,
    wiped: bool,
}

impl OneOwner {
    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::Stepped { entity, lives } if lives.len() > 1 && !self.wiped => {
                Err(format!("{entity} runs on several nodes: {lives:?}"))
            }
            Observed::Turned { node, entity, epoch, known, .. } if *known > Some(*epoch) => {
                Err(format!(
                    "node {node} made a turn of {entity} in {epoch} and its disk says {known:?}"
                ))
            }
            Observed::Committed { node, write: Write::HandOver { deed } } => {
                let (entity, epoch) = (deed.deed.entity, deed.deed.epoch);
                let known = self.deeds.insert((entity, epoch), deed.digest());
                if known.is_some_and(|known| known != deed.digest()) && !self.wiped {
                    return Err(format!("two deeds of {entity} begin {epoch}"));
                }
                self.left.insert((entity, *node), epoch);
                Ok(())
            }
            Observed::Committed { node, write: Write::Reclaim { deed } } => {
                let (entity, epoch) = (deed.deed.entity, deed.deed.epoch);
                self.left.remove(&(entity, *node));
                self.deeds.insert((entity, epoch), deed.digest());
                Ok(())
            }
            Observed::Committed { node, write: Write::Accept { deeds } } => {
                let Some(last) = deeds.last() else { return Ok(()) };
                let (entity, epoch) = (last.deed.entity, last.deed.epoch);
                self.left.remove(&(entity, *node));
                let known = self.deeds.get(&(entity, epoch));
                if known.is_none_or(|known| *known != last.digest()) && !self.wiped {
                    return Err(format!("a deed of {entity} for {epoch} was accepted, not given"));
                }
                Ok(())
            }
            Observed::Recovered { node, entity, record } if !self.wiped => {
                let knows = record.deeds.last().map(|deed| deed.deed.epoch);
                match self.left.get(&(*entity, *node)) {
                    Some(left) if knows < Some(*left) => Err(format!(
                        "node {node} gave {entity} away in {left}, its disk knows {knows:?}"
                    )),
                    Some(_) | None => Ok(()),
                }
            }
            Observed::Live { node, entity, has_key: false, .. } => {
                Err(format!("{entity} is live on node {node} without its key"))
            }
            Observed::Wiped => {
                self.wiped = true;
                Ok(())
            }
            Observed::Stepped { .. }
            | Observed::Turned { .. }
            | Observed::Committed { .. }
            | Observed::Live { .. }
            | Observed::Born { .. }
            | Observed::Offered { .. }
            | Observed::Answered { .. }
            | Observed::TurnFailed
            | Observed::Replayed { .. }
            | Observed::Posted { .. }
            | Observed::Said { .. }
            | Observed::Digested { .. }
            | Observed::MoveAsked { .. }
            | Observed::Recovered { .. }
            | Observed::Died { .. } => Ok(()),
        }
    }

    /// The key is where the daemon is, and nowhere that it left.
    pub(super) fn end(&self, daemon: &EndDaemon) -> Result<(), String> {
        if self.wiped {
            return Ok(());
        }
        if daemon.deleted {
            let (entity, lives) = (daemon.entity, &daemon.lives);
            let gone = daemon.lives.is_empty();
            return if gone {
                Ok(())
            } else {
                Err(format!("{entity} is deleted, runs on {lives:?}"))
            };
        }
        let [(owner, ..)] = daemon.lives[..] else {
            return Err(format!("{} runs on {:?}", daemon.entity, daemon.lives));
        };
        if daemon.keys != [owner] {
            let keys = &daemon.keys;
            return Err(format!("{} lives on {owner}, its key on {keys:?}", daemon.entity));
        }
        Ok(())
    }
}
