//! Decides which lanes exist and which of them share a connection.
//!
//! A lane is one long-lived stream in each direction. Control and events share a connection and are
//! separate streams on it; bulk has a connection of its own, so that neither its flow control nor a
//! fault in it can hold up or end the other two.

use std::fmt;

/// What kind of traffic a frame is. Frames of one lane arrive in order; lanes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// Small and urgent: offers, freezes, deeds, acknowledgements.
    Control,
    /// Events of clients and outputs of daemons.
    Events,
    /// Snapshot chunks. Has its own connection.
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

    /// Among the streams of one connection the higher one is sent first.
    pub(in crate::link) const fn priority(self) -> i32 {
        match self {
            Self::Control => 1,
            Self::Events | Self::Bulk => 0,
        }
    }

    /// The connection this lane travels on.
    pub(in crate::link) const fn channel(self) -> Channel {
        match self {
            Self::Control | Self::Events => Channel::Prompt,
            Self::Bulk => Channel::Bulk,
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

/// One connection to a peer, with the lanes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::link) enum Channel {
    /// Control and events.
    Prompt,
    /// Bulk alone.
    Bulk,
}

impl Channel {
    pub(in crate::link) const ALL: [Self; 2] = [Self::Prompt, Self::Bulk];

    pub(in crate::link) const fn lanes(self) -> &'static [Lane] {
        match self {
            Self::Prompt => &[Lane::Control, Lane::Events],
            Self::Bulk => &[Lane::Bulk],
        }
    }

    pub(in crate::link) const fn index(self) -> usize {
        match self {
            Self::Prompt => 0,
            Self::Bulk => 1,
        }
    }
}
