//! What can be wrong with a token, and whose fault it is.

use thiserror::Error;

use crate::limits::{BLOCKS_MAX, TOKEN_BYTES_MAX};

/// Why something may not be done. Nothing changed in any case.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrustRefusal {
    /// This mesh names root keys, and no token was shown. Fault: caller. Again: with one.
    #[error("this mesh demands a token")]
    NoToken,
    /// Fault: caller. Again: no.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes are no token: cut short, added to, or of another version. Fault: caller. Again: no.
    #[error("the token is damaged or none")]
    Malformed,
    /// None of the root keys of this node signed it. Fault: caller. Again: no.
    #[error("no root key of this mesh signed the token")]
    UnknownRoot,
    /// A block is not signed by the key that the block before it names. Fault: caller. Again: no.
    #[error("block {block} of the token is forged")]
    Forged {
        /// Which, counted from 0.
        block: usize,
    },
    /// A block allows what the one before it does not. Fault: caller. Again: no.
    #[error("block {block} of the token allows more than the one before it")]
    Widened {
        /// Which, counted from 0.
        block: usize,
    },
    /// What shows that its bearer was given it is of another token: blocks were taken off. Fault: caller.
    /// Again: no.
    #[error("the token is not whole: its last block was not given to whoever shows it")]
    NotWhole,
    /// Its time is over, by the clock of this node. Fault: caller. Again: with a new one.
    #[error("the token expired at {until} s")]
    Expired {
        /// Since the Unix epoch.
        until: u64,
    },
    /// A block was revoked. Fault: caller. Again: with a new one.
    #[error("block {block} of the token was revoked")]
    Revoked {
        /// Which, counted from 0.
        block: usize,
    },
    /// It is a good token for something else. Fault: caller. Again: with a wider one.
    #[error("the token does not cover this: {act}")]
    NotCovered {
        /// What was asked for.
        act: String,
    },
}

/// Why there is no token. Fault: caller. Changed: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MintError {
    /// It would allow more than the token from which it is made.
    #[error("a token can only be narrowed")]
    Wider,
    /// It was sealed: whoever holds it cannot narrow it.
    #[error("the token is sealed")]
    Sealed,
    /// It names too many things, or its holder has no proper name.
    #[error("the token would name too much, or its holder by too long a name")]
    Unbounded,
    /// It was narrowed too often.
    #[error("a token has at most {BLOCKS_MAX} blocks")]
    TooManyBlocks,
}
