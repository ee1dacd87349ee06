//! Decides which timer of a daemon is due next.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::{Time, TimerId};

/// The timers of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    times: BTreeMap<TimerId, Time>,
    /// The same by time.
    order: BTreeSet<(Time, TimerId)>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: TimerId, at: Time) {
        if let Some(before) = self.times.insert(timer, at) {
            self.order.remove(&(before, timer));
        }
        self.order.insert((at, timer));
    }

    /// Forgets a timer and says when it was due.
    pub(crate) fn cancel(&mut self, timer: TimerId) -> Option<Time> {
        let at = self.times.remove(&timer)?;
        self.order.remove(&(at, timer));
        Some(at)
    }

    /// The first that is due; of several at one time the one with the smallest id.
    #[inline]
    pub(crate) fn next(&self) -> Option<(Time, TimerId)> {
        self.order.first().copied()
    }

    pub(crate) fn contains(&self, timer: TimerId) -> bool {
        self.times.contains_key(&timer)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// By id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TimerId, Time)> + '_ {
        self.times.iter().map(|(&timer, &at)| (timer, at))
    }
}
