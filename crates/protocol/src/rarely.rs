//! Decides whether a branch that is right but rare is taken without a reason, so that a simulator
//! meets it often.
//!
//! The places are marked by a [`Spot`]. Whether one strikes follows from the settings and the
//! moment alone, so a machine stays a function of its inputs. By default none ever does, and asking
//! costs one comparison.

use serde::{Deserialize, Serialize};
use whimbrel_wire::Time;

/// How often rare branches are taken, in thousandths. Default: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rarely(u16);

/// A place where a rare branch may be taken; in each the other side has to live with it anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// An owner answers *busy* although its queue has room.
    Busy,
    /// A source passes over a request for the cut-over, as if its lag were too large.
    CutOverRefused,
    /// A source ships no snapshot that it has, and takes a new one first.
    BaseIsFar,
    /// An orchestrator asks all members for the owner although it knows one.
    OwnerUnknown,
}

impl Rarely {
    /// In so many of a thousand moments.
    #[must_use]
    pub const fn of_thousand(count: u16) -> Self {
        Self(count)
    }

    pub(crate) const fn strikes(self, now: Time, spot: Spot) -> bool {
        if self.0 == 0 {
            return false;
        }
        let mixed = (now.as_nanos() ^ (spot as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32 & 1023 < self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_rare_happens_unless_it_is_wanted() {
        let strikes = |rarely: Rarely, spot| {
            (0..10_000).filter(|now| rarely.strikes(Time::from_nanos(now * 977), spot)).count()
        };
        assert_eq!(strikes(Rarely::default(), Spot::Busy), 0);
        let often = strikes(Rarely::of_thousand(100), Spot::Busy);
        assert!((700..1300).contains(&often), "{often}");
    }
}
