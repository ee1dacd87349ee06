//! Decides when catching up gets nowhere, and how many turns may start so that it gets somewhere.
//!
//! Only rounds in vain count: those before which the target lacks no less than it did once before.
//! A long lag that shrinks may take any number of rounds. When half of the rounds that may be in
//! vain were, the source throttles: one turn starts for two that the target replays, so each round
//! leaves less to do than the one before it, and clients wait for turns and not for the move.
//!
//! # Invariants
//!
//! * P1 (rounds end): each round either counts or lowers the least lag, and both are bounded; while
//!   the source throttles, replayed turns outnumber started ones by two to one.
//!
//! # Limits
//!
//! * `rounds_max` rounds in vain: the move fails, and nothing is throttled any more.
//! * `freeze_max` without a replayed turn while the source throttles: likewise. A throttle
//!   stands still for as long as a freeze, at most.

use whimbrel_wire::{Position, Time};

use crate::port::Moment;
use crate::settings::Settings;

/// How catching up goes, since the cut-over was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    in_vain: u32,
    least: Option<u64>,
    throttle: Option<Throttle>,
}

/// Turns may start that end at or before a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Throttle {
    through: Position,
    /// When the target last replayed something, or the throttling began.
    gained: Time,
}

impl Pace {
    /// A round begins before which the target lacks `lag` turns and the source made those through
    /// `made`. False: too many were in vain.
    pub(super) fn begin(
        &mut self,
        now: Time,
        lag: u64,
        made: Position,
        settings: &Settings,
    ) -> bool {
        if self.least.is_none_or(|least| lag < least) {
            self.least = Some(lag);
            return true;
        }
        self.in_vain += 1;
        if settings.rounds_max / 2 < self.in_vain && self.throttle.is_none() {
            self.throttle = Some(Throttle { through: made, gained: now });
            // From here on each round that is answered gains.
            self.least = Some(lag);
        }
        self.in_vain <= settings.rounds_max
    }

    /// The target has replayed so many turns.
    pub(super) const fn replayed(&mut self, now: Time, turns: u64) {
        if let Some(throttle) = &mut self.throttle
            && 0 < turns
        {
            throttle.through = Position::new(throttle.through.get() + turns / 2);
            throttle.gained = now;
        }
    }

    /// Whether a turn may start after `made`.
    pub(super) fn admits(&self, made: Position) -> bool {
        self.throttle.is_none_or(|throttle| made < throttle.through)
    }

    /// Whether turns wait too long for a target that replays nothing.
    pub(super) fn stands(&self, now: Time, settings: &Settings) -> bool {
        self.throttle.is_some_and(|throttle| settings.freeze_max <= now.since(throttle.gained))
    }

    /// Shows every moment that it remembers.
    pub(super) fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        if let Some(throttle) = &mut self.throttle {
            see(Moment::Since(&mut throttle.gained));
        }
    }
}
