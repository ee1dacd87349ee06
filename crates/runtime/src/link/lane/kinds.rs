//! Decides which lanes exist.
//!
//! A lane is one long-lived stream in each direction, and has a connection of its own in each. Lanes on
//! one connection would share its congestion window and its send buffer: a flood of events would
//! then hold up control by milliseconds, and by as long as it lasts if the buffer fills.

use std::fmt;

/// What kind of traffic a frame is. Frames of one lane arrive in order; lanes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// Small and urgent: offers, freezes, deeds, acknowledgements.
    Control,
    /// Events of clients and outputs of daemons.
    Events,
    /// Snapshot chunks.
    Bulk,
}

impl Lane {
    /// Every lane, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Control, Self::Events, Self::Bulk];

    /// The byte that opens a stream of this lane.
    pub(in crate::link) const fn tag(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Events => 2,
            Self::Bulk => 3,
        }
    }

    /// The lane a stream says it is, if there is such a lane.
    pub(in crate::link) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.tag() == tag)
    }

    /// Where this lane stands in a table with one place per lane.
    pub(in crate::link) const fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Events => 1,
            Self::Bulk => 2,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Control => "control",
            Self::Events => "events",
            Self::Bulk => "bulk",
        })
    }
}
