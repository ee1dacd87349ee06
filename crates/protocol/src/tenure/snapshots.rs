//! Decides when an owner takes a snapshot, and what it forgets afterwards.
//!
//! A snapshot is taken between two turns, made durable elsewhere, published once the journal has
//! reached it, and only then are older turns forgotten; never while a move may still need them
//! (rule 12). A kind that does not replay is settled by its snapshots: each group of turns is
//! answered only when a snapshot beyond it is published (rule 13).
//!
//! # Invariants
//!
//! * S1 (published within journal): a snapshot is published only at a durable position.
//! * S2 (of this past): a capture of turns that were taken back is never published.

use whimbrel_mutants::Mutant;
use whimbrel_wire::{CatchUp, CausalEvent, Manifest, Position, Turn, Write, WriteError};

use crate::desk::{Desk, Saving};
use crate::port::{Capture, DeliverError, Output, Ticket};
use crate::replica::Replica;
use crate::settings::Settings;
use crate::tenure::{Life, Opening, Owner};

/// Bytes of events after the base snapshot beyond which the next one is taken.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The snapshots of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Snapshots {
    base: Manifest,
    stage: Stage,
    /// Captures that were given up and not yet reported. Their turns were taken back, so what
    /// they saw never was; the next capture waits until the last of them is reported.
    late: u32,
    wanted: bool,
    journal_bytes: u64,
    /// Who waits for a snapshot that is still to be taken.
    tickets: Vec<Ticket>,
    /// Who waits for the one that is under way.
    served: Vec<Ticket>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    Capturing,
    /// Its chunks are durable; it waits until the journal has reached it.
    Waiting(Box<Manifest>),
    Publishing(Box<Manifest>),
}

impl Snapshots {
    pub(super) const fn with_base(base: Manifest) -> Self {
        Self {
            base,
            stage: Stage::Idle,
            late: 0,
            wanted: false,
            journal_bytes: 0,
            tickets: Vec::new(),
            served: Vec::new(),
        }
    }

    pub(super) const fn base(&self) -> &Manifest {
        &self.base
    }

    pub(super) fn rebase(&mut self, base: Manifest) {
        self.base = base;
        self.journal_bytes = 0;
    }

    pub(super) fn give_up(&mut self) {
        let capturing = matches!(self.stage, Stage::Capturing);
        self.late += u32::from(capturing && !Mutant::LateCaptures.is_on());
        self.stage = Stage::Idle;
    }

    pub(super) fn grew(&mut self, turn: &Turn) {
        self.journal_bytes += turn.event.payload.len() as u64;
    }

    /// How much a target would have to replay from the base.
    pub(crate) const fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    /// One is to be taken as soon as may be.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn settle_by_snapshot(&mut self, replica: &Replica) {
        self.wanted |= replica.catch_up != CatchUp::Replay;
    }

    /// Up to where turns may be answered.
    pub(super) fn settled(&self, durable: Position, replica: &Replica) -> Position {
        match replica.catch_up {
            _ if Mutant::AnsweredBeforeSnapshot.is_on() => durable,
            CatchUp::Replay => durable,
            CatchUp::Deltas | CatchUp::FreezeAndCopy => durable.min(self.base.head.position),
        }
    }

    pub(super) fn is_due(&self, replica: &Replica, settings: &Settings) -> bool {
        let turns = replica.head.position.get() - self.base.head.position.get();
        let many = settings.snapshot_every > 0 && turns >= settings.snapshot_every;
        matches!(self.stage, Stage::Idle)
            && self.late == 0
            && (self.wanted || many || self.journal_bytes >= JOURNAL_BYTES_MAX)
    }

    /// Whether one more turn, made of `event` and saved at once, leaves nothing to do here.
    pub(super) fn rest_after(
        &self,
        event: &CausalEvent,
        replica: &Replica,
        settings: &Settings,
    ) -> bool {
        match self.stage {
            Stage::Idle => {
                let turns = replica.head.position.next().get() - self.base.head.position.get();
                let few = settings.snapshot_every == 0 || turns < settings.snapshot_every;
                let bytes = self.journal_bytes + event.payload.len() as u64;
                self.late == 0 && !self.wanted && few && bytes < JOURNAL_BYTES_MAX
            }
            Stage::Capturing | Stage::Publishing(_) => true,
            // The save may be what it waits for.
            Stage::Waiting(_) => false,
        }
    }
}

impl Owner {
    /// Somebody wants a snapshot as of now or later.
    pub(crate) fn want_snapshot(&mut self, desk: &mut Desk<'_>, ticket: Option<Ticket>) {
        self.snapshots.wanted = true;
        self.snapshots.tickets.extend(ticket);
        self.capture_if_wanted(desk);
    }

    pub(super) fn capture_if_wanted(&mut self, desk: &mut Desk<'_>) {
        let idle = matches!(self.snapshots.stage, Stage::Idle) && self.turning.is_none();
        if idle && self.snapshots.wanted && matches!(self.life, Life::Live) {
            self.capture(desk);
        }
    }

    /// Takes a snapshot between two turns.
    pub(super) fn capture(&mut self, desk: &mut Desk<'_>) {
        if self.snapshots.late > 0 {
            self.snapshots.wanted = true;
            return;
        }
        self.snapshots.stage = Stage::Capturing;
        self.snapshots.wanted = false;
        let tickets = std::mem::take(&mut self.snapshots.tickets);
        self.snapshots.served.extend(tickets);
        let mut ledger = self.replica.ledger.clone();
        if Mutant::MarksLeftBehind.is_on() {
            ledger.sessions.clear();
        }
        if Mutant::OutboxLeftBehind.is_on() {
            ledger.outgoing.clear();
        }
        let (copy, epoch, head) = (self.copy, self.epoch, self.replica.head);
        let capture = Capture { copy, epoch, head, ledger };
        desk.push(Output::Capture(Box::new(capture)));
    }

    /// The chunks of a snapshot are durable, or could not be made so.
    pub(crate) fn captured(&mut self, desk: &mut Desk<'_>, result: Result<Manifest, String>) {
        if self.snapshots.late > 0 {
            self.snapshots.late -= 1;
            return self.capture_again(desk);
        }
        if !matches!(self.snapshots.stage, Stage::Capturing) {
            return;
        }
        match result {
            Ok(manifest) => {
                self.snapshots.stage = Stage::Waiting(Box::new(manifest));
                self.publish(desk);
            }
            Err(_) if Mutant::SnapshotFailedGoesOn.strikes() => {
                let (head, time, last) = (self.replica.head, self.replica.time, self.replica.last);
                let stale = Manifest { head, time, last, epoch: self.epoch, ..self.base().clone() };
                self.snapshots.stage = Stage::Waiting(Box::new(stale));
                self.publish(desk);
            }
            Err(error) => self.snapshot_failed(desk, &error),
        }
    }

    /// The last capture that was given up has ended.
    fn capture_again(&mut self, desk: &mut Desk<'_>) {
        if matches!(self.life, Life::Opening(Opening::Capturing)) {
            self.capture(desk);
        } else {
            self.capture_if_wanted(desk);
        }
    }

    /// Publishes the snapshot that waits, once the journal has reached it.
    pub(crate) fn publish(&mut self, desk: &mut Desk<'_>) {
        let Stage::Waiting(manifest) = &self.snapshots.stage else { return };
        if self.durable < manifest.head.position && !Mutant::PublishedUnsaved.is_on() {
            return;
        }
        let manifest = manifest.clone();
        let (entity, epoch) = (desk.entity, self.epoch);
        let write = Write::Publish { entity, epoch, manifest: (*manifest).clone() };
        desk.save(Saving::Snapshot, write);
        self.snapshots.stage = Stage::Publishing(manifest);
    }

    /// The publication has ended. True if a new base stands.
    pub(crate) fn published(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<(), WriteError>,
    ) -> bool {
        let stage = std::mem::replace(&mut self.snapshots.stage, Stage::Idle);
        let Stage::Publishing(manifest) = stage else { return false };
        if let Err(error) = result {
            self.snapshot_failed(desk, &error.to_string());
            return false;
        }
        self.snapshots.rebase(*manifest);
        for ticket in std::mem::take(&mut self.snapshots.served) {
            let result = Ok(Box::new(self.snapshots.base.clone()));
            desk.push(Output::SnapshotTaken { ticket, result });
        }
        if self.departure.is_none() {
            let (entity, epoch) = (desk.entity, self.epoch);
            let through = self.snapshots.base.head.position;
            desk.save(Saving::Housekeeping, Write::Compact { entity, epoch, through });
        }
        if matches!(self.life, Life::Opening(Opening::Capturing)) {
            self.go_live(desk);
        }
        self.release(desk);
        self.capture_if_wanted(desk);
        self.pump(desk);
        true
    }

    fn snapshot_failed(&mut self, desk: &mut Desk<'_>, error: &str) {
        self.snapshots.stage = Stage::Idle;
        desk.warn(crate::port::Warning::Store { error: error.to_owned() });
        for ticket in std::mem::take(&mut self.snapshots.served) {
            let result = Err(DeliverError::Store(error.to_owned()));
            desk.push(Output::SnapshotTaken { ticket, result });
        }
        self.snapshot_failed_to_leave(desk, error);
        if matches!(self.life, Life::Opening(Opening::Capturing)) {
            return self.reopen(desk);
        }
        if !self.settling.is_empty() && self.replica.catch_up != CatchUp::Replay {
            // The turns themselves are saved and will be made anew.
            self.save_failed(desk, &WriteError::Unknown(error.to_owned()));
        }
    }
}
