//! Decides how a store says that it could not answer.

use thiserror::Error;
use whimbrel_wire::Position;

/// Why a store did not answer. For writes see [`whimbrel_wire::WriteError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What was read back is not what was written. Fault: disk. Changed: nothing. Again: no; the
    /// daemon in question needs another copy of its state.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store could not do it. Fault: surroundings. Changed: nothing that matters, the call may
    /// be repeated as it is. Again: once the cause is gone.
    #[error("the store failed: {0}")]
    Failed(String),
    /// There is no such copy. Fault: caller. Changed: nothing. Again: no.
    #[error("there is no such copy")]
    NoCopy,
    /// The turns asked for were forgotten, or are part of the base snapshot. Fault: caller.
    /// Changed: nothing. Again: from `through` on.
    #[error("the turns up to {through} are forgotten")]
    Forgotten {
        /// The last position that is gone.
        through: Position,
    },
    /// The bytes of a chunk do not match its name. Fault: caller. Changed: nothing. Again: no.
    #[error("chunk {index} of the batch does not match its digest")]
    WrongChunk {
        /// Which of the batch.
        index: usize,
    },
}
