//! Isolates held against the engine as it is.
//!
//! [`compare`] runs programs that are made at random twice: once on the engine, untouched, and once as
//! an isolate that is stopped and moved between the tiers through its bytes. Results, traps, globals,
//! tables, memories and everything that was said to the host have to be the same. The program
//! `whimbrel-differential` does that for many seeds, and measures speed, stops and states the same
//! way: both sides in one run.
//!
//! This is the one crate beside `isolate` that knows the engine; nothing depends on it.

mod ending;
mod hostile;
pub mod machines;
mod moved;
mod plain;
mod program;
mod random;

use std::collections::BTreeMap;
use std::ops::Range;

pub use hostile::{Attacks, attack};
pub use moved::Fault;

use moved::Carried;
use program::Subject;
use random::Random;

/// What came of many programs.
#[derive(Debug, Default)]
pub struct Sum {
    /// Programs that ran on both sides.
    pub compared: u64,
    /// Of those, programs that were moved at least once.
    pub moved: u64,
    /// Stops, each followed by a move.
    pub moves: u64,
    /// Host calls that were suspended, moved, and made again.
    pub suspended: u64,
    /// Programs that were not compared, because one side cannot run them.
    pub left_out: u64,
    /// Why, of those of this run.
    pub reasons: BTreeMap<String, u64>,
    /// Programs that came out differently: the seed, and how.
    pub differences: Vec<(u64, String)>,
}

impl Sum {
    fn leave_out(&mut self, reason: String) {
        self.left_out += 1;
        // Only the first words: the rest names places.
        let short = reason.lines().next().unwrap_or_default().chars().take(60).collect();
        *self.reasons.entry(short).or_default() += 1;
    }

    /// Takes over what came of others.
    pub fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.moved += other.moved;
        self.moves += other.moves;
        self.suspended += other.suspended;
        self.left_out += other.left_out;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.differences.extend(other.differences);
    }
}

/// Compares the programs of these seeds. With a fault, states are damaged on their way: then there
/// have to be differences.
#[must_use]
pub fn compare(seeds: Range<u64>, fault: Option<Fault>) -> Sum {
    let mut sum = Sum::default();
    let Ok(engine) = plain::engine() else { return sum };
    for seed in seeds {
        let mut random = Random::new(seed);
        let subject = match Subject::make(&mut random) {
            Ok(subject) => subject,
            Err(reason) => {
                sum.leave_out(reason);
                continue;
            }
        };
        let wanted = match plain::run(&engine, &subject) {
            Ok(wanted) => wanted,
            Err(error) => {
                sum.leave_out(format!("the engine: {error:#}"));
                continue;
            }
        };
        match moved::run(&subject, seed, &mut random, fault) {
            Carried::NotComparable(reason) => sum.leave_out(reason.to_owned()),
            Carried::Broken(what) => sum.differences.push((seed, what)),
            Carried::Ended { ending, moves, suspended } => {
                sum.compared += 1;
                sum.moved += u64::from(moves > 0);
                sum.moves += moves;
                sum.suspended += suspended;
                if let Some(difference) = wanted.difference(&ending) {
                    sum.differences.push((seed, difference));
                }
            }
        }
    }
    sum
}
