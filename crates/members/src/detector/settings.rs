//! How long a detector waits, and how much it says at once.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};

/// Waits and bounds of a detector. All nodes of a mesh should have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorSettings {
    /// Time between two probes of one node each. At least twice `answer_max`.
    pub probe_interval: Duration,
    /// How long an answer is waited for before others are asked to probe.
    pub answer_max: Duration,
    /// How long a suspect may take to contradict before it seems down.
    pub suspect_max: Duration,
    /// How long a member of which nothing was ever heard does not seem down.
    pub quiet_max: Duration,
    /// Time between two attempts to reach members that seem down.
    pub announce_interval: Duration,
    /// Time between two packets with news.
    pub gossip_interval: Duration,
    /// After so long a run that is down is forgotten.
    pub forget_after: Duration,
    /// How long a packet is at most, in bytes. It has to fit into a datagram of any network.
    pub packet_bytes_max: usize,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            answer_max: Duration::from_millis(500),
            suspect_max: Duration::from_secs(5),
            quiet_max: Duration::from_secs(5),
            announce_interval: Duration::from_secs(2),
            gossip_interval: Duration::from_millis(500),
            forget_after: Duration::from_secs(60),
            packet_bytes_max: 1_100,
        }
    }
}

/// How many are asked to probe a member that did not answer, and how many hear news at once.
const HELPERS: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// How many packets carry a piece of news.
const REPEATS: NonZeroU8 = NonZeroU8::new(8).expect("eight is not zero");

impl DetectorSettings {
    pub(super) fn foca(&self) -> Config {
        let every = |frequency| Some(PeriodicParams { frequency, num_members: HELPERS });
        Config {
            probe_period: self.probe_interval.max(self.answer_max * 2),
            probe_rtt: self.answer_max,
            num_indirect_probes: HELPERS,
            max_transmissions: REPEATS,
            suspect_to_down_after: self.suspect_max,
            remove_down_after: Some(self.forget_after),
            max_packet_size: NonZeroUsize::new(self.packet_bytes_max).unwrap_or(NonZeroUsize::MIN),
            notify_down_members: true,
            periodic_announce: None,
            // This crate does it itself, for those that were never heard of too.
            periodic_announce_to_down_members: None,
            periodic_gossip: every(self.gossip_interval),
        }
    }
}
