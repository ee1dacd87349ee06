//! Decides why a move can fail, and whether another try can help.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::StateVersion;

/// Why a move did not happen. The daemon goes on where it was.
///
/// Fault, effect and remedy stand with each reason; none of them changes the daemon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum MigrationFailureReason {
    /// The target exists and is still starting, or the source is opening the daemon. Fault: nobody.
    /// Again: yes, it is retried with back-off by whoever orchestrates.
    #[error("source or target is not ready yet")]
    NotReady,
    /// The target cannot build this kind. Fault: caller. Again: with another target.
    #[error("the target has no factory for this kind")]
    FactoryNotFound,
    /// The target runs no daemons at all. Fault: caller. Again: with another target.
    #[error("the target does not host daemons")]
    ComputeNotSupported,
    /// Capture, transfer or restore failed. Fault: stated. Again: it may help.
    #[error("the state could not be moved: {0}")]
    StateFailed(String),
    /// The daemon is being moved by another attempt. Fault: caller. Again: after that one ended.
    #[error("the daemon is already being moved")]
    AlreadyMigrating,
    /// The daemon's key was needed and did not arrive. Fault: caller or peer. Again: with the
    /// key, or after the target was given it.
    #[error("the identity could not be handed over: {0}")]
    IdentityTransportFailed(String),
    /// Source or target stayed *not ready* for the whole retry budget. Fault: surroundings. Again: yes.
    #[error("source or target was not ready in {attempts} attempts")]
    NotReadyTimeout {
        /// How often it was asked.
        attempts: u8,
    },
    /// The node that was asked does not own the daemon. Fault: caller. Again: at its owner.
    #[error("the node does not own the daemon")]
    NotOwner,
    /// The attempt names another epoch than the present one, or has ended. Fault: caller. Again:
    /// with a new attempt.
    #[error("the attempt is over or names an old epoch")]
    StaleAttempt,
    /// The daemon came out differently on the target. Fault: the daemon. Again: by
    /// freeze-and-copy, which is done by itself.
    #[error("the daemon does not replay to the same state")]
    Diverged,
    /// Events came faster than the target could replay, for all rounds. Fault: surroundings.
    /// Again: at a quieter time.
    #[error("the target could not catch up")]
    CouldNotCatchUp,
    /// Nothing was heard for too long. Fault: surroundings. Again: yes.
    #[error("the other side was silent for too long")]
    TimedOut,
    /// Someone asked for it to end. Fault: nobody. Again: yes.
    #[error("the move was cancelled")]
    Cancelled,
    /// The target has no room. Fault: surroundings. Again: with another target.
    #[error("the target has no capacity")]
    CapacityExceeded,
    /// A definite error of a store. Fault: surroundings. Again: after the disk was seen to.
    #[error("the store refused: {0}")]
    StoreFailed(String),
    /// The snapshot has a wrong digest, length, kind or shape. Fault: peer. Again: it may help.
    #[error("the snapshot is not what it claims to be: {0}")]
    SnapshotInvalid(String),
    /// The target equals the source. Fault: caller. Again: no.
    #[error("the daemon is already there")]
    SameNode,
    /// The target is no member, as the source knows them. Fault: caller. Again: no.
    #[error("the node is not a member")]
    UnknownNode,
    /// The kind, its version, its requirements or its state do not fit the target, or the daemon
    /// cannot leave at present. Fault: caller. Again: with another target, or later.
    #[error("it may not be moved there: {0}")]
    Incompatible(String),
    /// The sender does not play the role that this message needs. Fault: peer. Again: no.
    #[error("the sender does not play that role")]
    WrongPeer,
    /// The move is past its commit point and cannot be called off. Fault: nobody. Again: move it
    /// back instead.
    #[error("too late: the move is committed")]
    TooLate,
    /// A node shut down. Fault: surroundings. Again: yes.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The gate of the target: its definition would misread the live state, or nobody agreed to what
    /// would become of it. Fault: whoever gave the target its definition. Again: with terms, with
    /// another definition, or at another target.
    #[error("{summary}")]
    IncompatibleMigration {
        /// The verdict and its worst cause, in one line.
        summary: String,
        /// The whole report, in a form of the kind: JSON for a statechart.
        report: Bytes,
    },
    /// The target reads other formats of the kind's state. Fault: caller. Again: with another
    /// target, or another build there.
    #[error("the state has the format {found} and the target reads {first} to {last}")]
    VersionNotRead {
        /// The format of the state.
        found: StateVersion,
        /// The oldest that the target reads.
        first: StateVersion,
        /// The newest.
        last: StateVersion,
    },
}

impl MigrationFailureReason {
    /// Whether the same move, tried again unchanged, may succeed.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::NotReady
            | Self::NotReadyTimeout { .. }
            | Self::StateFailed(_)
            | Self::AlreadyMigrating
            | Self::StaleAttempt
            | Self::Diverged
            | Self::CouldNotCatchUp
            | Self::TimedOut
            | Self::Cancelled
            | Self::StoreFailed(_)
            | Self::SnapshotInvalid(_)
            | Self::ShuttingDown => true,
            Self::FactoryNotFound
            | Self::ComputeNotSupported
            | Self::IdentityTransportFailed(_)
            | Self::NotOwner
            | Self::CapacityExceeded
            | Self::SameNode
            | Self::UnknownNode
            | Self::Incompatible(_)
            | Self::WrongPeer
            | Self::TooLate
            | Self::IncompatibleMigration { .. }
            | Self::VersionNotRead { .. } => false,
        }
    }
}
