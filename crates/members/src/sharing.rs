//! Decides how much work a node hands to another one that has less of it.
//!
//! # Limits
//!
//! * [`WORTH`]: what would change sides has to be at least this part of what there is, so that nodes which are
//!   nearly even leave each other alone.

use serde::{Deserialize, Serialize};

/// One in so many turns has to change sides, or none does.
const WORTH: u64 = 8;

/// How much of the work a node has that may be done elsewhere: turns that may take long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burden {
    /// Daemons with a turn that waits for a thread, or is being made.
    pub turns: u32,
    /// Threads that make them.
    pub threads: u32,
}

impl Burden {
    /// How many daemons this node should hand over, so that both have as many for each thread. None while
    /// nothing waits here.
    #[must_use]
    pub fn excess_over(self, other: Self) -> u32 {
        let (own, its) = (u64::from(self.threads.max(1)), u64::from(other.threads.max(1)));
        let weighted = (u64::from(self.turns) * its).saturating_sub(u64::from(other.turns) * own);
        let even = weighted / (own + its);
        let waiting = u64::from(self.turns).saturating_sub(own);
        let count = even.min(waiting);
        if count * WORTH < u64::from(self.turns) {
            return 0;
        }
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excess(own: (u32, u32), other: (u32, u32)) -> u32 {
        let burden = |(turns, threads)| Burden { turns, threads };
        burden(own).excess_over(burden(other))
    }

    #[test]
    fn both_are_even_afterwards() {
        assert_eq!(excess((1_000, 2), (0, 2)), 500);
        assert_eq!(excess((1_000, 2), (0, 6)), 750);
        assert_eq!(excess((1_000, 2), (600, 2)), 200);
        assert_eq!(excess((u32::MAX, u32::MAX), (0, u32::MAX)), 0);
        assert_eq!(excess((3, 2), (0, 2)), 1);
    }

    #[test]
    fn nothing_moves_for_little() {
        assert_eq!(excess((260, 2), (250, 2)), 0);
        assert_eq!(excess((0, 2), (1_000, 2)), 0);
        // What runs already gains nothing elsewhere.
        assert_eq!(excess((2, 2), (0, 2)), 0);
        assert_eq!(excess((1, 0), (0, 0)), 0);
    }
}
