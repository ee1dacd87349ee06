//! The bounds of everything that crosses the network or the disk.
//!
//! Each is a number that a peer cannot exceed without an error; the type that it bounds says what
//! the answer is.

/// Longest frame, in bytes: length prefix excluded. Longer ones are refused before allocation.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Longest payload of one event or output, in bytes. Leaves room for the words around it.
pub const PAYLOAD_BYTES_MAX: usize = 512 * 1024;

/// Longest chunk of a snapshot, in bytes.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Most chunk references in one chunk list; a list of this length is itself a valid chunk.
pub const CHUNK_LIST_LENGTH_MAX: usize = 1024;

/// Most chunk lists in one manifest: 4,096 lists of 1,024 chunks.
pub const CHUNK_LISTS_MAX: usize = 4096;

/// Most chunks of luggage (marks, outbox, host state) in one manifest.
pub const LUGGAGE_CHUNKS_MAX: usize = 1024;

/// Longest name of a kind, in bytes.
pub const KIND_BYTES_MAX: usize = 128;

/// Longest free text inside a failure reason, in bytes.
pub const REASON_BYTES_MAX: usize = 512;

/// Longest terms of a move, in bytes; longer ones are refused by whoever asks for the move, and by the source.
pub const TERMS_BYTES_MAX: usize = 256 * 1024;

/// Longest report of a gate inside a failure reason, in bytes. Whoever writes a longer one leaves out the
/// least of it and says so.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;

/// Longest sealed identity envelope, in bytes: with the tokens that a daemon holds.
pub const ENVELOPE_BYTES_MAX: usize = 9 * 1024;

/// Most events in one `BufferedEvents`; beyond it the sender starts another message.
pub const EVENTS_PER_MESSAGE_MAX: usize = 1024;

/// Most deeds in one answer about a title; whoever needs more asks again.
pub const DEEDS_PER_MESSAGE_MAX: usize = 256;

/// Most ranges of chunk indices in one `ChunksWanted`.
pub const RANGES_PER_MESSAGE_MAX: usize = 1024;

/// Longest name of a channel, in bytes.
pub const CHANNEL_NAME_BYTES_MAX: usize = 255;

/// Most messages on their way to a subscriber that hears [`Recent`](crate::Hearing::Recent).
pub const HEARING_WINDOW_MAX: u32 = 256;

/// Most permits of a daemon: what is open to all, and one for each token that it holds.
pub const PERMITS_MAX: usize = 9;

/// Most publishers, and most channels, that one permit names.
pub const PERMIT_NAMES_MAX: usize = 256;
