//! Decides how long the machines wait and how much they hold: every bound has a name here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rarely::Rarely;

/// The waits and bounds of a seat. A driver may change them; the defaults suit a local network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// How long an unanswered message rests before it is sent again.
    pub resend_after: Duration,
    /// The longest rest between two sends of the same message.
    pub resend_max: Duration,
    /// How long a source or target waits for a sign of the other side before it gives an
    /// uncommitted attempt up.
    pub silence_max: Duration,
    /// How long a daemon stays frozen for an uncommitted attempt; then it thaws and the attempt
    /// fails.
    pub freeze_max: Duration,
    /// Events that a seat holds while it cannot take them. Beyond it: *busy*.
    pub held_max: usize,
    /// Turns that were made and are not yet durable. Beyond it no new turn starts.
    pub unsaved_max: usize,
    /// Turns in one append.
    pub append_turns_max: usize,
    /// Outputs that other daemons have not acknowledged. Beyond it: *busy*.
    pub outbox_max: usize,
    /// Sessions of clients. Beyond it the longest idle one ends, if it is idle long enough.
    pub sessions_max: usize,
    /// How long a client may be silent before its session may end.
    pub session_idle: Duration,
    /// Answers kept for one sender. Beyond it: *busy*.
    pub answers_max: usize,
    /// Turns between two automatic snapshots; zero turns them off.
    pub snapshot_every: u64,
    /// Turns that the target may lack when the source freezes.
    pub cutover_lag_max: u64,
    /// Rounds of catching up in vain before the move fails; beyond half of them the source throttles.
    pub rounds_max: u32,
    /// Turns in one round message.
    pub round_turns_max: usize,
    /// Bytes of events in one round message.
    pub round_bytes_max: usize,
    /// Pieces of a snapshot that a target has asked for and not yet got.
    pub pieces_in_flight_max: usize,
    /// Copies that wait at one seat. Beyond it: *no capacity*.
    pub arrivals_max: usize,
    /// Events of one sender that are on their way. More wait at the sender.
    pub courier_window: usize,
    /// Events of one sender that wait at the sender. Beyond it: *busy*.
    pub courier_queue_max: usize,
    /// How long a sender looks for the owner before it says that nobody knows the daemon.
    pub search_max: Duration,
    /// How long a node that starts again waits for what the members know of its daemons.
    pub ask_first: Duration,
    /// The first rest before a target that was not ready is asked again; it doubles.
    pub not_ready_after: Duration,
    /// How often rare branches are taken without a reason: for simulators.
    pub rarely: Rarely,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resend_after: Duration::from_millis(200),
            resend_max: Duration::from_secs(2),
            silence_max: Duration::from_secs(10),
            freeze_max: Duration::from_secs(2),
            held_max: 16_384,
            unsaved_max: 4_096,
            append_turns_max: 1_024,
            outbox_max: 4_096,
            sessions_max: 4_096,
            session_idle: Duration::from_secs(24 * 3600),
            answers_max: 1_024,
            snapshot_every: 16_384,
            cutover_lag_max: 64,
            rounds_max: 200,
            round_turns_max: 512,
            round_bytes_max: 256 * 1024,
            pieces_in_flight_max: 64,
            arrivals_max: 4,
            courier_window: 256,
            courier_queue_max: 8_192,
            search_max: Duration::from_secs(5),
            ask_first: Duration::from_millis(1_000),
            not_ready_after: Duration::from_millis(250),
            rarely: Rarely::default(),
        }
    }
}
