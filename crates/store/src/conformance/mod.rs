//! Decides what every engine has to do: one battery of checks, written as sentences.
//!
//! An engine passes when [`battery`] returns. It brings a [`Harness`], which knows how to open the
//! engine again after a crash and, if it can, how to lose an answer. [`Split`] is an engine whose
//! titles and journals lie on two backends and whose answers can get lost: it stands for servers
//! on a network until there are some.

mod chunks;
mod journal;
mod moves;
mod split;
pub(crate) mod story;

pub use self::chunks::{ChunksHarness, chunks_battery};
pub use self::split::{Backend, Loss, Split};
use crate::engine::Engine;

/// An engine under test.
pub trait Harness {
    /// The engine.
    fn engine(&mut self) -> &mut dyn Engine;

    /// Crashes it and opens it again: what it has not made durable is gone.
    fn reopen(&mut self);

    /// Lets the answer to the next commit get lost, the commit done or not. False if the engine
    /// knows no such fault; then the checks about it are passed over.
    fn lose_answer(&mut self, done: bool) -> bool;
}

/// One check: its name, and what it does to a fresh engine.
type Check = (&'static str, fn(&mut dyn Harness));

/// Runs every check, each on an engine of its own.
///
/// # Panics
///
/// When the engine does not pass; the message names the check and what was found.
pub fn battery(make: &mut dyn FnMut() -> Box<dyn Harness>) {
    for (name, check) in journal::CHECKS.iter().chain(moves::CHECKS) {
        let mut harness = make();
        let check = std::panic::AssertUnwindSafe(|| check(harness.as_mut()));
        assert!(std::panic::catch_unwind(check).is_ok(), "the engine does not pass: {name}");
    }
}

/// How many checks [`battery`] runs.
#[must_use]
pub fn checks_count() -> usize {
    journal::CHECKS.len() + moves::CHECKS.len()
}

/// Lists functions with their names.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub(super) const CHECKS: &[super::Check] = &[$((stringify!($name), $name)),*];
    };
}
use checks;
