//! The bounds of what one daemon may keep and put out.
//!
//! Each is a number with a stated answer; those of the network and the disk are in
//! [`wire::limits`](whimbrel_wire::limits).

use whimbrel_wire::limits::PAYLOAD_BYTES_MAX;

/// Most outputs of one turn, answers and sends together. A daemon that exceeds it has a bug and
/// is treated as if it had panicked.
pub const OUTPUTS_PER_TURN_MAX: usize = 1024;

/// Most payload bytes of all answers of one turn: they travel in one frame. Beyond it: as above.
pub const ANSWER_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// Most payload bytes that one turn sends to other daemons. Beyond it: as above.
pub const SENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most timers that one daemon has set at a time. Beyond it: as above.
pub const TIMERS_MAX: usize = 16 * 1024;

/// How often a body may yield within one turn before it counts as stuck.
pub const YIELDS_PER_TURN_MAX: u32 = 1024;

/// How many units of work a body is given before it is to yield. What a unit is, the kind says.
pub const TURN_BUDGET: u64 = 10_000_000;

/// Longest state that is read into one buffer. A larger one must be paged; restoring it otherwise
/// is refused.
pub const WHOLE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Longest key of a [`PagedMap`](crate::PagedMap), in bytes. Longer ones are refused.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest value of a [`PagedMap`](crate::PagedMap), in bytes. Longer ones are refused.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest exported snapshot that is held in one value. A larger one is refused.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Most outputs in one proof of continuity; a longer chain is proved in parts.
pub const PROOF_LINKS_MAX: usize = 1024 * 1024;

/// Most hand-overs in one proof of continuity.
pub const PROOF_DEEDS_MAX: usize = 64 * 1024;

/// Most channels on which one daemon publishes. A body that opens more is treated as if it had
/// panicked; a host is told.
pub const CHANNELS_MAX: usize = 64;

/// Most subscribers of one channel. Further ones are refused as *full*; whoever needs more lets a
/// subscriber publish what it hears.
pub const SUBSCRIBERS_MAX: usize = 256;

/// Most messages that a body publishes in one turn, on all channels together. Beyond it: as for a
/// panic. With [`SUBSCRIBERS_MAX`] it bounds what one turn sends: 4,096 messages.
pub const PUBLISHED_PER_TURN_MAX: usize = 16;

/// Longest message, in bytes. Beyond it: as for a panic; a host is told.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Most messages that a channel retains for those who come late. More are not kept.
pub const RETAINED_MAX: u32 = 1024;

/// Most bytes of messages that a channel retains. Beyond it the oldest are forgotten.
pub const RETAINED_BYTES_MAX: usize = 1024 * 1024;

/// Most subscriptions of one daemon. Beyond it: as for a panic; a host is told.
pub const SUBSCRIPTIONS_MAX: usize = 4096;
