//! Decides how nodes are shut down, daemons stopped, deleted and exported, clocks moved, and chunks
//! collected that nothing names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use whimbrel_daemon::{Host, StateSnapshot};
use whimbrel_protocol::{Input, Ticket};
use whimbrel_store::{Chunks, Marking, Memory, StoreError};
use whimbrel_wire::{AttemptId, EntityId, Epoch, Holding, Manifest};

use super::node::Stopping;
use super::perform::Shelf;
use super::{Action, Cluster, Happening, MILLI, Sweeping};
use crate::checkers::Observed;
use crate::clients::Asker;
use crate::entities::Entities;
use crate::medium::Medium;
use crate::scribe::Style;

/// A copy of a data folder; its chunks are not copied, as none of them may go meanwhile.
pub(crate) struct Backup {
    memory: Option<Box<Memory>>,
    keys: BTreeMap<EntityId, AttemptId>,
    on_disk: Entities<Epoch>,
}

/// Chunks that one step of a sweep looks at.
const STEP_CHUNKS: usize = 8;

impl Cluster {
    /// The clock of a node runs ahead at once.
    pub(super) fn jump(&mut self, node: usize, by: u64) {
        if !self.nodes[node].up {
            return;
        }
        self.count_node_fault();
        self.say_fault(node, format_args!("jumps ahead in time"));
        self.nodes[node].offset += by;
        let berths = self.nodes[node].seats.values_mut();
        berths.for_each(|berth| berth.wake = None);
        let seats: Vec<EntityId> = self.nodes[node].seats.keys().copied().collect();
        for entity in seats {
            self.feed(node, entity, Input::Woke);
        }
    }

    /// The node stops everything that lives on it, and closes once that is done.
    pub(crate) fn shut_down(&mut self, node: usize, rest: u64) {
        if !self.nodes[node].up || self.nodes[node].stopping.is_some() {
            return;
        }
        self.count_node_fault();
        self.say_fault(node, format_args!("shuts down"));
        let seats: Vec<EntityId> = self.nodes[node].seats.keys().copied().collect();
        let asked: Vec<(EntityId, Ticket)> =
            seats.into_iter().map(|entity| (entity, self.ticket(Asker::Stopper(node)))).collect();
        let tickets: BTreeSet<Ticket> = asked.iter().map(|(_, ticket)| *ticket).collect();
        if tickets.is_empty() {
            return self.plan(MILLI, Happening::Act(Action::Close { node, rest }));
        }
        self.nodes[node].stopping = Some(Stopping { tickets, rest });
        for (entity, ticket) in asked {
            self.feed(node, entity, Input::Stop { ticket });
        }
    }

    /// Something that was to be stopped is, or was not there.
    pub(super) fn stopped(&mut self, ticket: Ticket) {
        let Some(Asker::Stopper(node)) = self.tickets.remove(&ticket) else { return };
        let Some(stopping) = &mut self.nodes[node].stopping else { return };
        stopping.tickets.remove(&ticket);
        if stopping.tickets.is_empty() {
            let rest = stopping.rest;
            self.plan(MILLI, Happening::Act(Action::Close { node, rest }));
        }
    }

    /// The node closes: what its disk was asked for is done, nobody is told.
    pub(super) fn close(&mut self, node: usize, rest: u64) {
        if !self.nodes[node].up {
            return;
        }
        self.say_fault(node, format_args!("closes"));
        self.nodes[node].forget();
        for write in self.nodes[node].disk.close() {
            self.committed(node, &write);
        }
        self.see(&Observed::Died { node });
        for client in &mut self.clients {
            if client.node == node {
                client.under_way.clear();
            }
        }
        self.plan(rest, Happening::Act(Action::Restart { node }));
    }

    /// A daemon is stopped where it lives; its node starts it again when it starts itself.
    pub(super) fn stop(&mut self, daemon: usize) {
        let entity = self.daemons[daemon].entity;
        let Some(node) = self.owner_of(entity) else { return };
        let ticket = self.ticket(Asker::Stopper(node));
        self.feed(node, entity, Input::Stop { ticket });
    }

    /// A daemon is deleted where it lives.
    pub(super) fn delete(&mut self, daemon: usize) {
        let entity = self.daemons[daemon].entity;
        let Some(node) = self.owner_of(entity) else { return };
        let ticket = self.ticket(Asker::Stopper(node));
        self.feed(node, entity, Input::Delete { ticket });
    }

    /// A snapshot is taken of a daemon where it lives.
    pub(crate) fn export(&mut self, daemon: usize) {
        let entity = self.daemons[daemon].entity;
        let Some(owner) = self.owner_of(entity) else { return };
        let ticket = self.ticket(Asker::Exporter(owner));
        self.feed(owner, entity, Input::Snapshot { ticket });
    }

    /// The snapshot was taken: it is one value from here on, and can be read by itself.
    pub(super) fn exported(&mut self, ticket: Ticket, manifest: Option<Box<Manifest>>) {
        let asker = self.tickets.remove(&ticket);
        let (Some(Asker::Exporter(node)), Some(manifest)) = (asker, manifest) else { return };
        let mut shelf = Shelf(self.nodes[node].disk.files.chunks.clone());
        match StateSnapshot::gather(*manifest, &mut shelf) {
            Ok(snapshot) => {
                let restored = self.thaw_export(&snapshot).map(|_| ());
                if let Err(what) = restored {
                    return self.broken(("same-meaning", what));
                }
                self.exports.push(snapshot);
            }
            // A disk that fails may fail here too.
            Err(_) if self.nodes[node].disk.files.medium() == Medium::Sqlite => {}
            Err(error) => {
                let what = format!("a snapshot cannot be exported: {error}");
                self.broken(("same-meaning", what));
            }
        }
    }

    fn thaw_export(&self, snapshot: &StateSnapshot) -> Result<(Style, Host), String> {
        let style = Style::of(&snapshot.manifest().kind).ok_or("of no kind")?;
        let host = snapshot.host(&style.kind(), style.body(0, &Arc::default()));
        Ok((style, host.map_err(|error| format!("an export cannot be read: {error}"))?))
    }

    /// A daemon of its own is made of an export.
    pub(crate) fn import(&mut self, node: usize, snapshot: &StateSnapshot) -> Option<usize> {
        let (style, host) = match self.thaw_export(snapshot) {
            Ok(thawed) => thawed,
            Err(what) => {
                self.broken(("same-meaning", what));
                return None;
            }
        };
        Some(self.bear(node, style, |entity, _, birth| host.reborn(entity, birth)))
    }

    /// A copy of the data folder of a node.
    pub(crate) fn back_up(&self, node: usize) -> Backup {
        let place = &self.nodes[node];
        let memory = place.disk.files.back_up();
        Backup { memory, keys: place.keys.clone(), on_disk: place.on_disk.clone() }
    }

    /// The folder of a node, which is down, is what it was.
    pub(crate) fn put_back(&mut self, node: usize, backup: Backup) {
        self.say_fault(node, format_args!("has an old folder"));
        let place = &mut self.nodes[node];
        // A key that comes back with a folder stays there.
        place.has_old_keys = true;
        (place.keys, place.on_disk) = (backup.keys, backup.on_disk);
        place.disk.files.put_back(backup.memory);
    }

    /// Begins to remove what nothing names on a node.
    pub(super) fn collect(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        // A store that cannot be read now is collected another time.
        if let Ok(marking) = self.mark(node) {
            let sweeping = Sweeping { node, life: self.nodes[node].life, sweep: marking.sweep() };
            self.plan(MILLI, Happening::Sweep(Box::new(sweeping)));
        }
    }

    fn mark(&mut self, node: usize) -> Result<Marking, StoreError> {
        let place = &mut self.nodes[node];
        let chunks = place.disk.files.chunks.clone();
        let chunks: &dyn Chunks = &*chunks;
        let mut marking = Marking::begin(chunks);
        for manifest in manifests(&mut place.disk.files)? {
            marking = marking.mark(chunks, &manifest)?;
        }
        for manifest in place.seats.values().flat_map(|seat| seat.manifests_in_use()) {
            // A copy that is still being fetched names lists that are not here yet: its hold
            // protects what is.
            if chunks.missing(&manifest.state.lists)?.is_empty() {
                marking = marking.mark(chunks, &manifest)?;
            }
        }
        Ok(marking)
    }

    /// One step of a sweep.
    pub(super) fn swept(&mut self, mut sweeping: Sweeping) {
        let node = sweeping.node;
        if !self.lives(node, sweeping.life) {
            return;
        }
        let chunks = self.nodes[node].disk.files.chunks.clone();
        let Ok(swept) = sweeping.sweep.step(&*chunks, STEP_CHUNKS) else { return };
        self.tally.collected += swept.removed as u64;
        if swept.last.is_some() {
            let rest = self.dice.between(MILLI / 10, 4 * MILLI);
            self.plan(rest, Happening::Sweep(Box::new(sweeping)));
        }
    }
}

/// All snapshots on record.
fn manifests(files: &mut crate::medium::Files) -> Result<Vec<Manifest>, StoreError> {
    let mut manifests = Vec::new();
    for entity in files.engine()?.entities()? {
        let record = files.record(&entity)?;
        match record.holding {
            Holding::Owned(copy) | Holding::HandedOver(copy) => manifests.push(copy.manifest),
            Holding::Nothing | Holding::Deleted => {}
        }
        manifests.extend(record.waiting.into_iter().map(|copy| copy.manifest));
    }
    Ok(manifests)
}
