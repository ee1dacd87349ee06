//! The bounds of tokens, revocations and the audit log.

/// Longest token, in bytes. A longer one is refused before anything is computed.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Most blocks of one token: it was minted, and narrowed so often less one.
pub const BLOCKS_MAX: usize = 8;

/// Most daemons, channels or nodes that one block names.
pub const LISTED_MAX: usize = 16;

/// Longest name of a holder, in bytes.
pub const HOLDER_BYTES_MAX: usize = 64;

/// Most blocks that one node remembers as revoked.
pub const REVOKED_MAX: usize = 100_000;

/// Longest line of an audit log, in bytes.
pub const LINE_BYTES_MAX: usize = 4 * 1024;
