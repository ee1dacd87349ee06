//! Decides how an owner builds its daemon from the disk: at a start, and whenever memory may be
//! ahead of the disk.
//!
//! # States
//!
//! ```text
//! Asking ─▶ Settling ─▶ Reading ─▶ Restoring ─▶ Following ⇄ Replaying ─▶ (live)
//! ```
//!
//! * Asking: what the members know of the daemon is asked first, for a bounded time; a folder that
//!   went back in time would otherwise serve what another node owns (rule 15).
//! * Reading: memory may be ahead of the disk, or the disk did not answer. What it holds is read
//!   anew, until it answers.
//! * Settling: turns made before a panic are still being saved.
//! * Capturing: a kind that does not replay made its last turns anew, to other ends than the journal
//!   names; it serves once a snapshot has them (rule 13).

use std::time::Duration;

use whimbrel_mutants::Mutant;
use whimbrel_wire::{CatchUp, CopyRecord, Digest, Manifest, MigrationFailureReason, Time, Turn};

use crate::desk::{Desk, Saving};
use crate::port::{Event, Output, ReplayStep, Restored, TurnFailure, Turned, Warning};
use crate::replica::Replica;
use crate::tenure::{Clock, Life, Owner};

/// How far the opening has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Opening {
    Asking {
        until: Time,
    },
    Settling,
    Reading {
        retry: Time,
    },
    Restoring,
    Following,
    Replaying(Vec<ReplayStep>),
    /// Turns were made anew that came out differently: they are settled by a snapshot first.
    Capturing,
}

impl Opening {
    /// What it is called.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Asking { .. } => "Asking",
            Self::Settling => "Settling",
            Self::Reading { .. } => "Reading",
            Self::Restoring => "Restoring",
            Self::Following => "Following",
            Self::Replaying(_) => "Replaying",
            Self::Capturing => "Capturing",
        }
    }
}

impl Owner {
    /// The owner as the store knows it, not yet built. A fresh start asks the members first.
    pub(crate) fn from_record(
        desk: &Desk<'_>,
        epoch: whimbrel_wire::Epoch,
        record: &CopyRecord,
        ask_first: bool,
    ) -> Self {
        let manifest = record.manifest.clone();
        let restored = Restored {
            ledger: whimbrel_wire::Ledger::default(),
            next_timer: None,
            catch_up: CatchUp::Replay,
            evolves: false,
        };
        let replica = Replica::restored(&manifest, restored);
        let mut owner = Self::live(epoch, record.attempt, manifest, replica, desk.now);
        owner.durable = record.head().position;
        owner.life = Life::Opening(if ask_first {
            let rest =
                if Mutant::AsksNobody.is_on() { Duration::ZERO } else { desk.settings().ask_first };
            Opening::Asking { until: desk.now + rest }
        } else {
            Opening::Settling
        });
        owner
    }

    /// Starts to build from the base snapshot.
    pub(crate) fn build(&mut self, desk: &mut Desk<'_>) {
        self.life = Life::Opening(Opening::Restoring);
        let manifest = Box::new(self.snapshots.base().clone());
        desk.push(Output::Restore { copy: self.copy, manifest, envelope: None });
    }

    /// Memory may be ahead of the disk: reads the record anew and obeys what it finds (rule 7).
    pub(crate) fn reopen(&mut self, desk: &mut Desk<'_>) {
        self.unsaved.clear();
        if !Mutant::TakenBackAnswered.is_on() {
            self.forsake(desk);
        }
        self.take_up_again();
        self.saving = false;
        self.timer_waits = false;
        desk.saves.forget(|saving| matches!(saving, Saving::Turns { .. } | Saving::Snapshot));
        self.snapshots.give_up();
        desk.push(Output::DropCopy { copy: self.copy });
        desk.push(Output::Read);
        let retry = desk.now + desk.settings().resend_max;
        self.life = Life::Opening(Opening::Reading { retry });
    }

    /// The record was read anew and this node still owns the daemon.
    pub(crate) fn reread(&mut self, desk: &mut Desk<'_>, record: &CopyRecord) {
        self.snapshots.rebase(record.manifest.clone());
        self.durable = record.head().position;
        self.build(desk);
    }

    /// Time has passed.
    pub(crate) fn tick_opening(&mut self, desk: &mut Desk<'_>) {
        match &self.life {
            Life::Opening(Opening::Asking { until }) if *until <= desk.now => self.build(desk),
            Life::Opening(Opening::Reading { retry }) if *retry <= desk.now => {
                let retry = desk.now + desk.settings().resend_max;
                self.life = Life::Opening(Opening::Reading { retry });
                desk.push(Output::Read);
            }
            Life::Opening(_) | Life::Live | Life::Parked { .. } | Life::Stopped => {}
        }
    }

    /// Whether it waits for its record.
    pub(crate) const fn is_reading(&self) -> bool {
        matches!(self.life, Life::Opening(Opening::Reading { .. }))
    }

    /// When the opening wants to be woken.
    pub(crate) const fn opening_at(&self) -> Option<Time> {
        match &self.life {
            Life::Opening(Opening::Asking { until }) => Some(*until),
            Life::Opening(Opening::Reading { retry }) => Some(*retry),
            Life::Opening(_) | Life::Live | Life::Parked { .. } | Life::Stopped => None,
        }
    }

    /// The base snapshot is in memory, or cannot be.
    pub(crate) fn restored(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Restored, MigrationFailureReason>,
    ) {
        if !matches!(self.life, Life::Opening(Opening::Restoring)) {
            return;
        }
        match result {
            Ok(restored) => {
                self.replica = Replica::restored(self.snapshots.base(), restored);
                self.catch_up(desk);
            }
            Err(MigrationFailureReason::StoreFailed(error)) => self.open_later(desk, error),
            Err(reason) => self.park(desk, reason.to_string()),
        }
    }

    /// The disk did not answer, and may another time: what it holds is not to blame.
    fn open_later(&mut self, desk: &mut Desk<'_>, error: String) {
        desk.warn(Warning::Store { error });
        desk.push(Output::DropCopy { copy: self.copy });
        let retry = desk.now + desk.settings().resend_max;
        self.life = Life::Opening(Opening::Reading { retry });
    }

    /// Reads on in the journal, or goes live at its end.
    fn catch_up(&mut self, desk: &mut Desk<'_>) {
        self.life = Life::Opening(Opening::Following);
        let after = self.replica.head.position;
        if after < self.durable {
            let (count, bytes) = (desk.settings().round_turns_max, desk.settings().round_bytes_max);
            desk.push(Output::ReadTurns { copy: self.copy, after, count, bytes });
            return;
        }
        match self.replica.steps_into(self.epoch, desk.title) {
            Ok(steps) if steps.is_empty() => self.caught_up(desk),
            Ok(steps) => self.replay(desk, steps),
            Err(_) => self.park(desk, "its journal does not fit its title".to_owned()),
        }
    }

    /// Turns of the journal were read.
    pub(crate) fn turns_read(&mut self, desk: &mut Desk<'_>, result: Result<Vec<Turn>, String>) {
        if !matches!(self.life, Life::Opening(Opening::Following)) {
            return;
        }
        let turns = match result {
            Ok(turns) if turns.is_empty() => {
                return self.park(desk, "its journal ends too early".to_owned());
            }
            Ok(turns) => turns,
            Err(error) => return self.open_later(desk, error),
        };
        match self.replica.steps(&turns, desk.title) {
            Ok(steps) => self.replay(desk, steps),
            Err(_) => self.park(desk, "its journal has a gap".to_owned()),
        }
    }

    fn replay(&mut self, desk: &mut Desk<'_>, steps: Vec<ReplayStep>) {
        desk.push(Output::Replay { copy: self.copy, steps: steps.clone() });
        self.life = Life::Opening(Opening::Replaying(steps));
    }

    /// The steps have ended.
    pub(crate) fn replayed(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Vec<Turned>, TurnFailure>,
    ) {
        let Life::Opening(Opening::Replaying(steps)) = &self.life else { return };
        let outcome = result.map_err(|failure| failure.to_string()).and_then(|turned| {
            self.replica
                .redone(&steps.clone(), turned, &desk.station.settings)
                .map_err(|_| "it does not replay to the same state".to_owned())
        });
        match outcome {
            Ok(()) => self.catch_up(desk),
            Err(reason) => {
                desk.warn(Warning::Diverged { copy: self.copy });
                self.park(desk, reason);
            }
        }
    }

    /// The end of the journal is reached. A kind that does not replay has made the turns after its
    /// snapshot anew; none of them was answered, and none is before it cannot change again.
    fn caught_up(&mut self, desk: &mut Desk<'_>) {
        let redone = self.base().head.position < self.replica.head.position;
        if redone && self.replica.catch_up != CatchUp::Replay {
            self.life = Life::Opening(Opening::Capturing);
            return self.capture(desk);
        }
        self.go_live(desk);
    }

    pub(super) fn go_live(&mut self, desk: &mut Desk<'_>) {
        self.life = Life::Live;
        self.clock = Clock::starting(self.replica.time, desk.now);
        let (epoch, head) = (self.epoch, self.replica.head);
        desk.event(Event::Live { epoch, head });
        if !Mutant::OutboxNotResent.is_on() {
            self.post_all(desk);
        }
        self.ask_what_it_is_to_become(desk);
        self.pump(desk);
    }

    /// The daemon is owned and cannot run: it says so instead of serving.
    pub(crate) fn park(&mut self, desk: &mut Desk<'_>, reason: String) {
        self.life = Life::Parked { reason: reason.clone() };
        // No snapshot will settle what waits for one.
        if self.replica.catch_up != CatchUp::Replay {
            self.forsake(desk);
        }
        self.give_up(desk, MigrationFailureReason::StateFailed(reason.clone()));
        desk.push(Output::DropCopy { copy: self.copy });
        desk.warn(Warning::NotRunnable { reason: reason.clone() });
        for waiting in self.take_held() {
            let error = crate::port::DeliverError::NotRunnable(reason.clone());
            crate::tenure::refuse(desk, &waiting, whimbrel_wire::Refusal::NotRunnable, error);
        }
    }

    /// The digest that names the snapshot from which this owner would start again.
    pub(crate) fn base_digest(&self) -> Digest {
        self.base().digest()
    }

    /// The snapshot from which this owner would start again.
    pub(crate) const fn base(&self) -> &Manifest {
        self.snapshots.base()
    }
}
