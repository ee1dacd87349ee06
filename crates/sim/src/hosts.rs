//! Decides where the copies of daemons that a node has built lie, so that a turn costs no search.

use whimbrel_daemon::Host;
use whimbrel_wire::{AttemptId, EntityId};

use crate::entities::Entities;

/// The copies that a node has built: seldom more than one of a daemon.
#[derive(Default)]
pub(crate) struct Hosts(Entities<Vec<(AttemptId, Host)>>);

impl Hosts {
    #[inline]
    pub(crate) fn get(&self, entity: &EntityId, copy: AttemptId) -> Option<&Host> {
        let mut copies = self.0.get(entity)?.iter();
        copies.find(|(attempt, _)| *attempt == copy).map(|(_, host)| host)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, entity: &EntityId, copy: AttemptId) -> Option<&mut Host> {
        let mut copies = self.0.get_mut(entity)?.iter_mut();
        copies.find(|(attempt, _)| *attempt == copy).map(|(_, host)| host)
    }

    /// Puts a copy in the place of one of the same attempt, if there was one.
    pub(crate) fn insert(&mut self, entity: EntityId, copy: AttemptId, host: Host) {
        match self.get_mut(&entity, copy) {
            Some(place) => *place = host,
            None => self.0.entry(entity, Vec::new).push((copy, host)),
        }
    }

    pub(crate) fn remove(&mut self, entity: &EntityId, copy: AttemptId) {
        if let Some(copies) = self.0.get_mut(entity) {
            copies.retain(|(attempt, _)| *attempt != copy);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
