//! Decides how a copy follows a journal: turns in order, deeds between them, heads compared.
//!
//! The owner that starts again and the target of a move do the same: restore a snapshot, make the
//! turns after it again, and lead the chain through each deed at the place where the epoch
//! changes.
//!
//! # Invariants
//!
//! * R1 (replay matches): a replica's head after a turn equals the head that the journal names.

use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    CatchUp, CausalLink, EntityId, Epoch, Head, Ledger, Manifest, Time, TimerId, Turn,
};

use crate::inbox;
use crate::port::{ReplayStep, Restored, Turned};
use crate::settings::Settings;
use crate::title::Title;

/// A copy of a daemon in memory, as far as decisions need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) head: Head,
    pub(crate) epoch: Epoch,
    pub(crate) time: Time,
    pub(crate) last: Option<CausalLink>,
    pub(crate) ledger: Ledger,
    /// How many outputs of the ledger are not acknowledged: to count them takes a walk through all
    /// receivers.
    owed: usize,
    pub(crate) next_timer: Option<(Time, TimerId)>,
    pub(crate) catch_up: CatchUp,
    /// Whether it may come to live under another definition.
    pub(crate) evolves: bool,
}

/// Why turns cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayError {
    /// They do not follow what the copy has, or no deed explains their epoch.
    Gap,
    /// The daemon came out differently.
    Diverged,
}

impl Replica {
    pub(crate) fn restored(manifest: &Manifest, restored: Restored) -> Self {
        Self {
            head: manifest.head,
            epoch: manifest.epoch,
            time: manifest.time,
            last: manifest.last,
            owed: inbox::unacknowledged(&restored.ledger),
            ledger: restored.ledger,
            next_timer: restored.next_timer,
            catch_up: restored.catch_up,
            evolves: restored.evolves,
        }
    }

    /// The steps that make `turns` again, with the deeds between them.
    pub(crate) fn steps(
        &self,
        turns: &[Turn],
        title: &Title,
    ) -> Result<Vec<ReplayStep>, ReplayError> {
        let (mut head, mut epoch) = (self.head, self.epoch);
        let mut steps = Vec::with_capacity(turns.len());
        for turn in turns {
            while epoch < turn.stamp.epoch {
                epoch = epoch.next();
                head = Self::deed_step(head, epoch, title, &mut steps)?;
            }
            if turn.position() != head.position.next() {
                return Err(ReplayError::Gap);
            }
            head = turn.stamp.head;
            steps.push(ReplayStep::Turn(turn.clone()));
        }
        Ok(steps)
    }

    /// The steps that lead the chain from where it stands into `epoch`.
    pub(crate) fn steps_into(
        &self,
        into: Epoch,
        title: &Title,
    ) -> Result<Vec<ReplayStep>, ReplayError> {
        let (mut head, mut epoch) = (self.head, self.epoch);
        let mut steps = Vec::new();
        while epoch < into {
            epoch = epoch.next();
            head = Self::deed_step(head, epoch, title, &mut steps)?;
        }
        Ok(steps)
    }

    /// Takes over what the steps did. `turned` has one result for each turn among them.
    pub(crate) fn replayed(
        &mut self,
        steps: &[ReplayStep],
        turned: Vec<Turned>,
        settings: &Settings,
    ) -> Result<(), ReplayError> {
        let strict = true;
        self.take_over(steps, turned, settings, strict)
    }

    /// The same for an owner that starts again: a kind that does not replay may come out
    /// differently, since nobody was told how it came out before.
    pub(crate) fn redone(
        &mut self,
        steps: &[ReplayStep],
        turned: Vec<Turned>,
        settings: &Settings,
    ) -> Result<(), ReplayError> {
        let strict = self.catch_up == CatchUp::Replay;
        self.take_over(steps, turned, settings, strict)
    }

    fn take_over(
        &mut self,
        steps: &[ReplayStep],
        turned: Vec<Turned>,
        settings: &Settings,
        strict: bool,
    ) -> Result<(), ReplayError> {
        let mut results = turned.into_iter();
        for step in steps {
            match step {
                ReplayStep::Turn(turn) => {
                    let result = results.next().ok_or(ReplayError::Diverged)?;
                    if strict && result.head != turn.stamp.head {
                        return Err(ReplayError::Diverged);
                    }
                    self.enter(turn, result, settings);
                }
                ReplayStep::Deed { epoch, deed } => {
                    self.head = self.head.through_deed(deed);
                    self.epoch = *epoch;
                }
            }
        }
        Ok(())
    }

    /// Enters one turn.
    #[inline]
    pub(crate) fn enter(&mut self, turn: &Turn, turned: Turned, settings: &Settings) {
        inbox::take(&mut self.ledger, settings, turn, &turned);
        self.owed += turned.sent.len();
        self.head = turned.head;
        self.time = turn.stamp.time;
        self.last = turned.last;
        self.next_timer = turned.next_timer;
    }

    /// Strikes out what `to` has acknowledged, up to `number`.
    pub(crate) fn acknowledged(&mut self, to: &EntityId, number: u64) {
        let struck = inbox::acknowledged(&mut self.ledger, to, number);
        self.owed = self.owed.saturating_sub(struck);
    }

    /// How many outputs are not acknowledged.
    #[inline]
    pub(crate) fn owed(&self) -> usize {
        debug_assert_eq!(self.owed, inbox::unacknowledged(&self.ledger), "outputs are miscounted");
        self.owed
    }

    /// The link to name when nothing was ever put out: an empty one of the present epoch.
    pub(crate) fn target_head(&self, origin: whimbrel_wire::OriginHash) -> CausalLink {
        let sequence = self.head.sequence;
        let empty = CausalLink { origin, sequence, epoch: self.epoch, parent: self.head.hash };
        self.last.unwrap_or(empty)
    }

    fn deed_step(
        head: Head,
        epoch: Epoch,
        title: &Title,
        steps: &mut Vec<ReplayStep>,
    ) -> Result<Head, ReplayError> {
        let signed = title.deed(epoch).ok_or(ReplayError::Gap)?;
        let anywhere = Mutant::BufferingUnwired.is_on() || Mutant::ActivateUnvoted.is_on();
        if signed.deed.head != head && !anywhere {
            return Err(ReplayError::Gap);
        }
        let folded = !Mutant::DeedNotFolded.is_on();
        let deed = if folded { signed.digest() } else { whimbrel_wire::Digest::ZERO };
        steps.push(ReplayStep::Deed { epoch, deed });
        Ok(head.through_deed(&deed))
    }
}
