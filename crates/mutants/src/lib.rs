//! Decides which deliberate bug is switched on: none, or one of a list.
//!
//! The places in `protocol`, `daemon` and `store` that a bug changes ask [`Mutant::is_on`]. In a build without the
//! feature `switch` the answer is false and known to the compiler, so nothing is left of the question. With
//! it, a program that looks for bugs chooses one by name before it starts, so that all of them are in one
//! build.

mod list;

#[cfg(feature = "switch")]
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

pub use list::{Mutant, Part};

/// The place of the bug that is on, counted from one.
#[cfg(feature = "switch")]
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Whether the bug has struck since it was chosen.
#[cfg(feature = "switch")]
static STRUCK: AtomicBool = AtomicBool::new(false);

impl Mutant {
    /// Whether this bug is on.
    #[must_use]
    #[inline(always)]
    pub fn is_on(self) -> bool {
        #[cfg(feature = "switch")]
        let on = CHOSEN.load(Ordering::Relaxed) == self as u8 + 1;
        #[cfg(not(feature = "switch"))]
        let on = false;
        on
    }

    /// Whether this bug is on; if so, it has struck.
    #[must_use]
    #[inline(always)]
    pub fn strikes(self) -> bool {
        #[cfg(feature = "switch")]
        if self.is_on() {
            STRUCK.store(true, Ordering::Relaxed);
        }
        self.is_on()
    }

    /// Whether this bug is on and has struck: for a second guard that is down only then, so that what is
    /// found is what the bug did.
    #[must_use]
    #[inline(always)]
    pub fn has_struck(self) -> bool {
        #[cfg(feature = "switch")]
        let struck = self.is_on() && STRUCK.load(Ordering::Relaxed);
        #[cfg(not(feature = "switch"))]
        let struck = false;
        struck
    }

    /// The bug of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }
}

/// Switches one bug on and all others off, for the whole process. False, and nothing is changed, in a build
/// that can have none.
#[must_use = "a search for a bug that is not there finds nothing"]
pub fn choose(mutant: Option<Mutant>) -> bool {
    #[cfg(feature = "switch")]
    {
        STRUCK.store(false, Ordering::Relaxed);
        CHOSEN.store(mutant.map_or(0, |mutant| mutant as u8 + 1), Ordering::Relaxed);
        true
    }
    #[cfg(not(feature = "switch"))]
    {
        mutant.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_says_what_it_does() {
        let mut names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Mutant::ALL.len());
        for mutant in Mutant::ALL {
            assert_eq!(Mutant::named(mutant.name()), Some(*mutant));
            assert!(!mutant.about().is_empty() && !mutant.rule().is_empty());
        }
        assert_eq!(Mutant::named("none-of-them"), None);
    }

    #[cfg(not(feature = "switch"))]
    #[test]
    fn a_build_for_use_has_no_bug_and_says_so() {
        assert!(!choose(Mutant::ALL.first().copied()));
        assert!(Mutant::ALL.iter().all(|mutant| !mutant.is_on()));
        assert!(choose(None));
    }

    #[cfg(feature = "switch")]
    #[test]
    fn one_bug_is_on_at_a_time() {
        for chosen in Mutant::ALL {
            assert!(choose(Some(*chosen)));
            let on: Vec<&Mutant> = Mutant::ALL.iter().filter(|mutant| mutant.is_on()).collect();
            assert_eq!(on, [chosen]);
            assert!(!chosen.has_struck() && chosen.strikes() && chosen.has_struck());
        }
        assert!(choose(None));
        assert!(Mutant::ALL.iter().all(|mutant| !mutant.is_on()));
    }
}
