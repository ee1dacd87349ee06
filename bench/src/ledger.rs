//! Decides whether each event was applied exactly once.
//!
//! Every event adds one to a counter of the daemon, and is answered by what the counter is then.
//! One sender's events are applied in order, so the n-th acknowledged event of a counter must be
//! answered by n: less means that one was lost, more that one was applied twice. At the end the
//! counters are read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Oddities that are kept in words.
const ODDITIES_MAX: usize = 20;

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was applied; the counter is this now.
    Applied(i64),
    /// It was not applied for certain.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// The account of all events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// What all counters that were read back say together.
    pub(crate) applied: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) unknown: BTreeMap<String, u64>,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) oddities: Vec<String>,
    #[serde(skip)]
    counters: BTreeMap<u64, Counter>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counter {
    /// What it must be.
    count: i64,
    /// How much more it may be.
    doubt: i64,
}

impl Ledger {
    /// Takes down what became of an event, in the order in which they were sent. `at` says when.
    pub(crate) fn note(&mut self, event: u64, counter: u64, at: u64, outcome: Outcome) {
        self.sent += 1;
        match outcome {
            Outcome::Applied(sum) => {
                self.acknowledged += 1;
                self.counters.entry(counter).or_default().count += 1;
                self.compare(counter, sum, &format!("event {event} acknowledged at {at}"));
            }
            Outcome::Refused(why) => *self.refused.entry(why).or_default() += 1,
            Outcome::Unknown(why) => {
                self.counters.entry(counter).or_default().doubt += 1;
                *self.unknown.entry(why).or_default() += 1;
            }
        }
    }

    /// Compares a counter that was read back.
    pub(crate) fn read_back(&mut self, counter: u64, sum: i64) {
        self.applied += u64::try_from(sum).unwrap_or(0);
        self.compare(counter, sum, "read back");
    }

    /// After an error the account goes on from what the daemon says, so that it counts once.
    fn compare(&mut self, counter: u64, sum: i64, when: &str) {
        let known = self.counters.entry(counter).or_default();
        let expected = *known;
        let surplus = sum - expected.count;
        if surplus < 0 {
            self.lost += surplus.unsigned_abs();
        } else if surplus > expected.doubt {
            self.doubled += surplus.abs_diff(expected.doubt);
        }
        let doubt = (expected.doubt - surplus.max(0)).max(0);
        *known = Counter { count: sum, doubt };
        if (surplus < 0 || surplus > expected.doubt) && self.oddities.len() < ODDITIES_MAX {
            let expected = expected.count;
            self.oddities.push(format!("e{counter} is {sum} instead of {expected}: {when}"));
        }
    }

    /// The counters that were used.
    pub(crate) fn counters(&self) -> Vec<u64> {
        self.counters.keys().copied().collect()
    }

    /// Nothing was lost or doubled, and what the daemon holds in the end is what was acknowledged,
    /// and at most what nobody knows beyond it. An account of nothing proves nothing.
    pub(crate) fn is_right(&self) -> bool {
        let most = self.acknowledged + self.unknown();
        let held = (self.acknowledged..=most).contains(&self.applied);
        self.lost == 0 && self.doubled == 0 && self.acknowledged > 0 && held
    }

    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.values().sum()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Adds the account of another run.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { sent, acknowledged, applied, refused, unknown, lost, doubled, oddities, .. } =
            other;
        self.sent += sent;
        self.acknowledged += acknowledged;
        self.applied += applied;
        self.lost += lost;
        self.doubled += doubled;
        self.oddities.extend(oddities);
        for (why, count) in refused {
            *self.refused.entry(why).or_default() += count;
        }
        for (why, count) in unknown {
            *self.unknown.entry(why).or_default() += count;
        }
    }

    /// In lines.
    pub(crate) fn print(&self) {
        let (refused, unknown) = (self.refused(), self.unknown());
        let Self { sent, acknowledged, applied, lost, doubled, .. } = self;
        println!(
            "ledger: sent {sent}  acknowledged {acknowledged}  applied {applied}  \
             refused {refused}  unknown {unknown}  lost {lost}  doubled {doubled}  {}",
            if self.is_right() { "RIGHT" } else { "WRONG" }
        );
        for (why, count) in self.refused.iter().chain(&self.unknown) {
            println!("  {count} × {why}");
        }
        for oddity in &self.oddities {
            println!("  WRONG: {oddity}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_lost_or_doubled_is_found_once() {
        let mut ledger = Ledger::default();
        for (event, sum) in [1, 2, 4, 5].into_iter().enumerate() {
            ledger.note(event as u64, 7, 0, Outcome::Applied(sum));
        }
        assert_eq!((ledger.lost, ledger.doubled), (0, 1));
        ledger.read_back(7, 4);
        assert_eq!((ledger.lost, ledger.doubled), (1, 1));
    }

    #[test]
    fn an_event_of_unknown_fate_may_count_or_not() {
        let mut ledger = Ledger::default();
        ledger.note(0, 7, 0, Outcome::Unknown("cut".to_owned()));
        ledger.note(1, 7, 0, Outcome::Applied(2));
        ledger.note(2, 7, 0, Outcome::Applied(3));
        ledger.read_back(7, 3);
        assert!(ledger.is_right());
    }

    #[test]
    fn an_account_that_was_not_read_back_or_is_of_nothing_is_not_right() {
        let mut ledger = Ledger::default();
        assert!(!ledger.is_right());
        ledger.note(0, 7, 0, Outcome::Applied(1));
        assert!(!ledger.is_right());
        ledger.read_back(7, 1);
        assert!(ledger.is_right());
    }
}
