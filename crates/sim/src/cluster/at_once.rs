//! Decides how a delivery goes the short way: at some nodes, some of the time, the disk answers at
//! once, and an owner at rest takes its event in one step.
//!
//! The node may still die in it: before the turn, before the save, before the answer.

use whimbrel_protocol::{Output, Ticket};
use whimbrel_wire::{CausalEvent, EntityId, Write};

use super::{Action, Cluster};
use crate::cluster::node::Node;
use crate::disk::Fate;
use crate::medium::Medium;

impl Cluster {
    /// Delivers an event the short way. False if it has to go the long way; then nothing happened.
    pub(super) fn deliver_at_once(
        &mut self,
        node: usize,
        entity: EntityId,
        ticket: Ticket,
        event: &CausalEvent,
    ) -> bool {
        if self.nodes[node].disk.files.medium() != Medium::Memory {
            return false;
        }
        let now = self.nodes[node].local(self.now);
        let mut out = Vec::new();
        let Some(seat) = self.nodes[node].seats.get_mut(&entity) else { return false };
        let Some(rest) = seat.at_rest(now, event, &mut out) else { return false };
        let (copy, epoch, time, origin) = (rest.copy(), rest.epoch(), rest.time(), rest.origin());
        self.count_step();
        self.tally.at_once += 1;
        let Self { coverage, nodes, .. } = self;
        if let (Some(coverage), Some(seat)) = (coverage, nodes[node].seats.get(&entity)) {
            coverage.at_rest(seat.places());
        }
        self.say_at_once(node, entity, ticket);
        if self.dies(node, "at rest, before the turn") {
            return true;
        }
        let turned = self.turn(node, entity, copy, epoch, time, origin, event);
        if self.violation.is_some() || self.dies(node, "at rest, before the save") {
            return true;
        }
        let fate = self.draw_fate(node);
        // The seat is as it was: a turn does not touch it.
        let Node { seats, disk, .. } = &mut self.nodes[node];
        let rest = seats.get_mut(&entity).and_then(|seat| seat.at_rest(now, event, &mut out));
        let Some(rest) = rest else {
            self.broken(("same-meaning", "an owner at rest is none any more".to_owned()));
            return true;
        };
        let (mut write, mut answer) = (None, None);
        match turned {
            Err(failure) => rest.failed(ticket, &failure),
            Ok(turned) => {
                let (unsaved, append) = rest.made(turned);
                let appended = Write::from(append.clone());
                let (result, done) = disk.append(append, fate);
                write = done.then_some(appended);
                match result {
                    Ok(()) => answer = Some(unsaved.saved()),
                    Err(error) => unsaved.not_saved(ticket, error),
                }
            }
        }
        if let Some(write) = write {
            self.committed(node, &write);
        }
        self.look(node, entity);
        if self.dies(node, "at rest, before the answer") {
            return true;
        }
        if let Some(answer) = answer {
            let result = Ok(answer);
            let delivered = Output::Delivered { ticket, result };
            out.insert(0, delivered);
        }
        let (mut inputs, room) = std::mem::take(&mut self.spare);
        self.perform_all(node, entity, &mut out, &mut inputs);
        if self.nodes[node].up {
            self.set_alarm(node, entity);
        }
        self.feed_all(node, inputs, room);
        true
    }

    /// Whether the node dies before its next act; then it is dead.
    fn dies(&mut self, node: usize, moment: &'static str) -> bool {
        let Some(rest) = self.death_before(node, None) else { return false };
        if let Some(coverage) = &mut self.coverage {
            coverage.crash_while(moment);
        }
        self.act(Action::Crash { node, rest });
        true
    }

    /// What becomes of the next save.
    fn draw_fate(&mut self, node: usize) -> Fate {
        let Self { nodes, dice, save_fate, saves, .. } = self;
        let fate = super::perform::fate(nodes[node].disk.faults, *save_fate, saves, dice);
        if fate != Fate::Good {
            self.count_node_fault();
        }
        fate
    }
}
