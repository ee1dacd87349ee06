//! Decides what a caller can be told when something did not work.

use std::io;

use thiserror::Error;
use whimbrel_daemon::SnapshotError;
use whimbrel_members::Placement;
use whimbrel_protocol::{DeliverError, ReclaimError, SendError, SpawnError};
use whimbrel_store::{FolderError, StoreError};
use whimbrel_wire::{KindError, MigrationFailureReason, NodeId, OriginHash, SubscribeRefusal};

use crate::link::LinkError;
use crate::permits::TokenError;
use crate::trust::TrustError;

/// Why a node could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MeshError {
    /// Its link could not be bound. Fault: surroundings. Changed: nothing. Again: see the cause.
    #[error("could not open the link")]
    Link(#[from] LinkError),
    /// Its data folder could not be opened. Fault: surroundings. Changed: nothing. Again: see the
    /// cause.
    #[error("could not open the store")]
    Store(#[from] StoreError),
    /// Its data folder is in use, foreign, or of a newer format. Fault: caller. Changed: nothing.
    /// Again: see the cause.
    #[error("could not open the data folder")]
    Folder(#[from] FolderError),
    /// The audit log, or what was revoked, cannot be read or written. Fault: surroundings. Changed:
    /// nothing. Again: when the cause is gone.
    #[error("could not open the audit log and the list of revoked tokens")]
    Trust(#[source] io::Error),
    /// A folder or a thread could not be made. Fault: surroundings. Changed: nothing. Again: yes.
    #[error("the system refused")]
    System(#[from] io::Error),
    /// The system gave no random bytes. Fault: surroundings. Changed: nothing. Again: yes.
    #[error("there is no randomness")]
    Randomness,
    /// The saved list of members is damaged, or of another mesh than the config says. Fault: disk or caller.
    /// Changed: nothing. Again: with a whole file, or without it, and then without those who joined.
    #[error("the list of members in {} is damaged or of another mesh", .0.display())]
    Roster(std::path::PathBuf),
}

/// Why a runtime did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// `start` was not called yet. Fault: caller. Changed: nothing. Again: afterwards.
    #[error("the runtime is not started")]
    NotReady,
    /// The runtime is going down. Fault: caller. Changed: nothing. Again: no.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The kind has a factory. Fault: caller. Changed: nothing. Again: no.
    #[error("the kind {0:?} has a factory already")]
    FactoryAlreadyRegistered(String),
    /// The kind has no factory here. Fault: caller. Changed: nothing. Again: after it was
    /// registered.
    #[error("the kind {0:?} has no factory here")]
    FactoryNotFound(String),
    /// This node hosts no daemons. Fault: caller. Changed: nothing. Again: at a node that does.
    #[error("this node hosts no daemons")]
    HostsNone,
    /// The daemon requires what this node does not offer. Fault: caller. Changed: nothing. Again: at
    /// another node, or, for memory, after another daemon left.
    #[error("the daemon does not fit this node: {0}")]
    Unfit(String),
    /// The name is no name for a kind. Fault: caller. Changed: nothing. Again: with another.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// No daemon of this index is known here. Fault: caller. Changed: nothing. Again: no.
    #[error("no daemon {0} is known here")]
    NotFound(OriginHash),
    /// Two daemons share this index: name the whole identity. Fault: nobody. Changed: nothing.
    #[error("the index {0} is ambiguous")]
    Ambiguous(OriginHash),
    /// The snapshot is of another daemon. Fault: caller. Changed: nothing. Again: no.
    #[error("the snapshot is of another daemon")]
    SnapshotIdentityMismatch,
    /// The snapshot cannot be taken or read. Fault: caller. Changed: nothing. Again: no.
    #[error("the snapshot cannot be used")]
    Snapshot(#[from] SnapshotError),
    /// The state cannot be used by this kind. Fault: caller. Changed: nothing. Again: no.
    #[error("the daemon cannot be built: {0}")]
    Build(String),
    /// The kind does not take what the newborn is given. Fault: caller. Changed: nothing. Again:
    /// with something else.
    #[error("the daemon was not born: {0}")]
    Given(String),
    /// The daemon was not born. See the cause.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The event was not delivered. See the cause.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The daemon declined the event, which counts as taken. Fault: caller. Again: not with the
    /// same event.
    #[error("the daemon declined: {0}")]
    Declined(String),
    /// The event did not reach its daemon for certain. See the cause.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The publisher does not take the subscriber. See the reason.
    #[error("the subscription was refused: {0}")]
    Subscribe(#[from] SubscribeRefusal),
    /// Somebody else ended the subscription meanwhile. Fault: nobody. Changed: there is none.
    /// Again: yes.
    #[error("the subscription was ended meanwhile")]
    Unsubscribed,
    /// The call would block a thread that runs async tasks. Fault: caller. Changed: nothing.
    /// Again: with the async variant.
    #[error("this would block an async thread: use the async variant")]
    WouldBlock,
    /// The node seems down, and no link to it stands. Fault: surroundings. Changed: nothing. Again: when it is
    /// up again.
    #[error("{0} seems down")]
    NodeDown(NodeId),
    /// The node that owns the daemon seems alive: it is not brought back elsewhere. Fault: caller. Changed: nothing.
    /// Again: when that node is lost.
    #[error("{0} owns the daemon and seems alive")]
    OwnerUp(NodeId),
    /// The owner does not say what the daemon wants of its node. Fault: surroundings. Changed: nothing. Again:
    /// yes.
    #[error("{0} does not say what the daemon wants")]
    Unanswered(NodeId),
    /// No member suits the daemon: the placement says of each one why. Fault: surroundings. Changed: nothing.
    /// Again: when one is free, or up.
    #[error("no member suits the daemon")]
    NoPlace(Box<Placement>),
    /// No member knows the daemon. Fault: caller. Changed: nothing. Again: later.
    #[error("no member knows the daemon")]
    Unknown,
    /// The node is no member. Fault: caller. Changed: nothing. Again: after it was admitted.
    #[error("{0} is no member")]
    UnknownNode(NodeId),
    /// The store failed. Fault: surroundings. Changed: nothing. Again: yes.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The daemon was not taken back. See the cause.
    #[error(transparent)]
    Reclaim(#[from] ReclaimError),
    /// A daemon was not given a token, or none was taken from it. See the cause.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The move cannot be started. See the reason.
    #[error(transparent)]
    Migration(#[from] MigrationFailureReason),
    /// There is no randomness. Fault: surroundings. Changed: nothing. Again: yes.
    #[error("there is no randomness")]
    Randomness,
    /// The caller may not do it, or it could not be written down. See the cause.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Why a wait for a move ended without the daemon on the target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The move failed; the daemon goes on where it was.
    #[error("the daemon was not moved: {0}")]
    Failed(MigrationFailureReason),
    /// The wait was over first; the move goes on.
    #[error("the move has not ended yet")]
    StillRunning,
    /// The runtime that orchestrated it went down; the parties end it by themselves.
    #[error("the orchestrator went down")]
    OrchestratorGone,
}
