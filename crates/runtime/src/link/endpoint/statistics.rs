//! What can be told about a link.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::link::lane::Lane;

/// One lane of one peer, since the peer was first heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStatistics {
    /// Frames given to a connection. Some may have been lost with it.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames handed on from the peer.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames that wait to be sent.
    pub frames_queued: usize,
    /// Their bytes.
    pub bytes_queued: usize,
}

/// One peer, since it was first heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Whether this node's connection for each lane stands, in the order of [`Lane::ALL`].
    pub connected: [bool; 3],
    /// How many connections of the peer to this node stand.
    pub accepted: usize,
    /// The estimated time to the peer and back, if any connection stands.
    pub round_trip: Option<Duration>,
    /// Packets sent and never acknowledged, on all connections so far.
    pub packets_lost: u64,
    /// Attempts to dial it.
    pub dials: u64,
    /// Those that failed.
    pub dials_failed: u64,
    /// Connections closed because it broke the rules.
    pub faults: u64,
    /// Datagrams sent. Some may have been lost.
    pub datagrams_sent: u64,
    /// Datagrams that came.
    pub datagrams_received: u64,
    /// [`Lane::Control`].
    pub control: LaneStatistics,
    /// [`Lane::Events`].
    pub events: LaneStatistics,
    /// [`Lane::Bulk`].
    pub bulk: LaneStatistics,
}

impl LinkStatistics {
    /// The part about `lane`.
    #[must_use]
    pub const fn lane(&self, lane: Lane) -> LaneStatistics {
        match lane {
            Lane::Control => self.control,
            Lane::Events => self.events,
            Lane::Bulk => self.bulk,
        }
    }
}

/// Incoming connections of all peers and strangers, since the node began to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeStatistics {
    /// Accepted from a member.
    pub accepted: u64,
    /// Begun and failed: a stranger, another protocol, a wrong opening, or too slow.
    pub failed: u64,
    /// Turned away because too many were going on.
    pub turned_away: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct LaneCounters {
    pub(super) frames_sent: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) frames_received: Counter,
    pub(super) bytes_received: Counter,
}

#[derive(Debug, Default)]
pub(super) struct PeerCounters {
    pub(super) lanes: [LaneCounters; 3],
    pub(super) dials: Counter,
    pub(super) dials_failed: Counter,
    pub(super) faults: Counter,
    pub(super) datagrams_sent: Counter,
    pub(super) datagrams_received: Counter,
}

#[derive(Debug, Default)]
pub(super) struct HandshakeCounters {
    pub(super) accepted: Counter,
    pub(super) failed: Counter,
    pub(super) turned_away: Counter,
}

impl HandshakeCounters {
    pub(super) fn values(&self) -> HandshakeStatistics {
        HandshakeStatistics {
            accepted: self.accepted.value(),
            failed: self.failed.value(),
            turned_away: self.turned_away.value(),
        }
    }
}
