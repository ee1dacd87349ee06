//! Decides how much a link may hold and how long it may wait.
//!
//! # Limits
//!
//! Every field is one, with what happens beyond it. [`LinkLimits::default`] suits a local network.

use std::time::Duration;

use whimbrel_wire::limits::FRAME_BYTES_MAX;

use crate::link::error::LinkError;
use crate::link::lane::Lane;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// What one lane may hold for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// The longest frame. A longer one is not sent; a peer that announces one is cut off.
    pub frame_bytes_max: u32,
    /// The most frames that wait to be sent; beyond it the sender is told that the lane is full.
    pub queue_frames_max: usize,
    /// The most bytes that wait to be sent; beyond it likewise. A single frame always fits.
    pub queue_bytes_max: usize,
}

/// What the links of one node may hold, and how long they wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Bounds of [`Lane::Control`].
    pub control: LaneLimits,
    /// Bounds of [`Lane::Events`].
    pub events: LaneLimits,
    /// Bounds of [`Lane::Bulk`].
    pub bulk: LaneLimits,
    /// What a peer may send on one lane ahead of what is read here; then its sending waits.
    pub stream_window_bytes: u32,
    /// What may be under way to a peer on one connection without its acknowledgement; then sending waits.
    pub unacknowledged_bytes_max: u32,
    /// How long a connection may take until both sides know each other; then it is given up.
    pub handshake_time_max: Duration,
    /// How many incoming connections may be in that stage at once; more are refused. From half of it
    /// on, a caller has to prove its address first.
    pub handshakes_max: usize,
    /// How long a frame may take from its first byte to its last; then the peer is cut off. Time in which
    /// this node does not want to read does not count.
    pub frame_time_max: Duration,
    /// After so much silence a sign of life is sent.
    pub keep_alive_interval: Duration,
    /// After so much silence the connection counts as lost.
    pub idle_time_max: Duration,
    /// The first wait before a peer is dialled again. It doubles with each failure.
    pub redial_wait_min: Duration,
    /// The longest wait before a peer is dialled again.
    pub redial_wait_max: Duration,
    /// How long [`Links::close`](crate::link::Links::close) waits for peers to hear of it.
    pub close_time_max: Duration,
    /// The largest datagram looked for on a path. Larger ones cost less per byte where the network has them.
    pub datagram_bytes_max: u16,
    /// What is asked of the system for the socket's buffers, each way. It may grant less.
    pub socket_buffer_bytes: u32,
}

impl Default for LinkLimits {
    fn default() -> Self {
        let prompt = LaneLimits {
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            queue_frames_max: 8_192,
            queue_bytes_max: 8 * MIB as usize,
        };
        let bulk =
            LaneLimits { queue_frames_max: 1_024, queue_bytes_max: 16 * MIB as usize, ..prompt };
        Self {
            control: prompt,
            events: prompt,
            bulk,
            stream_window_bytes: 4 * MIB,
            unacknowledged_bytes_max: 8 * MIB,
            handshake_time_max: Duration::from_secs(3),
            handshakes_max: 256,
            frame_time_max: Duration::from_secs(60),
            keep_alive_interval: Duration::from_secs(1),
            idle_time_max: Duration::from_secs(5),
            redial_wait_min: Duration::from_millis(20),
            redial_wait_max: Duration::from_secs(1),
            close_time_max: Duration::from_secs(1),
            datagram_bytes_max: 1_452,
            socket_buffer_bytes: 4 * MIB,
        }
    }
}

impl LinkLimits {
    /// The bounds of `lane`.
    pub const fn lane(&self, lane: Lane) -> LaneLimits {
        match lane {
            Lane::Control => self.control,
            Lane::Events => self.events,
            Lane::Bulk => self.bulk,
        }
    }

    /// Refuses limits under which nothing could ever be sent or kept alive.
    pub(in crate::link) fn check(&self) -> Result<(), LinkError> {
        let lanes_hold_nothing = Lane::ALL.iter().any(|&lane| {
            let limits = self.lane(lane);
            limits.frame_bytes_max == 0 || limits.queue_frames_max == 0
        });
        let refused = [
            (lanes_hold_nothing, "a lane that holds nothing"),
            (self.stream_window_bytes < 64 * KIB, "a stream window below 64 KiB"),
            (self.stream_window_bytes > 256 * MIB, "a stream window above 256 MiB"),
            (self.unacknowledged_bytes_max < 64 * KIB, "less than 64 KiB under way"),
            (self.handshakes_max == 0, "no handshakes"),
            (self.frame_time_max.is_zero(), "no time for a frame"),
            (self.idle_time_max <= self.keep_alive_interval, "idle time below keep-alive"),
            (self.idle_time_max > Duration::from_secs(3600), "idle time above an hour"),
            (self.redial_wait_min.is_zero(), "redialling without a wait"),
            (self.redial_wait_max < self.redial_wait_min, "redial waits that shrink"),
            (self.datagram_bytes_max < 1_200, "datagrams below 1200 bytes"),
            (self.datagram_bytes_max > 65_527, "datagrams above 65527 bytes"),
        ];
        match refused.into_iter().find(|(is_so, _)| *is_so) {
            Some((_, what)) => Err(LinkError::Limits(what)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_are_usable_and_useless_ones_are_refused() {
        assert!(LinkLimits::default().check().is_ok());
        let asleep = LinkLimits { idle_time_max: Duration::ZERO, ..LinkLimits::default() };
        assert!(matches!(asleep.check(), Err(LinkError::Limits(_))));
    }
}
