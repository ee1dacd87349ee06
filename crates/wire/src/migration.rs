//! Decides what the parties of a move can say to each other (subprotocol 0x0500).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::deed::SignedDeed;
use crate::digest::Digest;
use crate::failure::MigrationFailureReason;
use crate::id::{NodeId, OriginHash, Position, StoreId};
use crate::key::PublicKey;
use crate::link::{CausalEvent, CausalLink, Head};
use crate::turn::Stamp;

/// The messages of a move. Each travels in a
/// [`MigrationEnvelope`](crate::MigrationEnvelope) with the attempt, the epoch and the sender's
/// role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MigrationMessage {
    /// Orchestrator → source: start this attempt.
    TakeSnapshot {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// Where to.
        target_node: NodeId,
        /// Whether its key moves along.
        transport_identity: bool,
        /// How the target is to catch up.
        catch_up: CatchUp,
    },
    /// Source → target: one piece of the snapshot. Index 0 is the manifest.
    SnapshotReady {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The bytes of this piece.
        snapshot_bytes: Bytes,
        /// The position that the snapshot covers through.
        seq_through: u64,
        /// Which piece: 0 is the manifest, then its lists, its luggage, its chunks.
        chunk_index: u32,
        /// How many pieces there are.
        total_chunks: u32,
        /// The digest of the snapshot that it belongs to.
        snapshot: Digest,
        /// With index 0: what the target must know to judge the offer.
        offer: Option<Offer>,
    },
    /// Target → source, copy to the orchestrator: the daemon is built and not active.
    RestoreComplete {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The position restored through.
        restored_seq: u64,
        /// The snapshot that was restored.
        snapshot: Digest,
        /// Where the copy stands.
        head: Head,
        /// The data folder that holds the copy.
        store: StoreId,
        /// The key of the target.
        key: PublicKey,
    },
    /// Target → source, copy to the orchestrator: replayed and saved up to here.
    ReplayComplete {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The position replayed through.
        replayed_seq: u64,
        /// The link of the last output on the target.
        target_head: CausalLink,
        /// Where the copy stands.
        head: Head,
        /// The digest of the state, if the source named one to compare with.
        state: Option<Digest>,
        /// The data folder that holds the copy.
        store: StoreId,
        /// The key of the target.
        key: PublicKey,
    },
    /// Orchestrator → source: freeze and hand over when the lag allows.
    CutoverNotify {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// Where to.
        target_node: NodeId,
    },
    /// Source → orchestrator: the hand-over is saved; here it is.
    CleanupComplete {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The hand-over.
        deed: SignedDeed,
    },
    /// Any → the others: the attempt is over and changed nothing.
    MigrationFailed {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// Why.
        reason: MigrationFailureReason,
    },
    /// Source → target: turns to replay, in order.
    BufferedEvents {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// What came in.
        events: Vec<CausalEvent>,
        /// What the journal added to each; as many as there are events.
        stamps: Vec<Stamp>,
        /// With the last ones: where the source is frozen. None while it goes on serving.
        frozen: Option<Frozen>,
    },
    /// Whoever holds the deed → target: go live.
    ActivateTarget {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The hand-over.
        deed: SignedDeed,
    },
    /// Target → source, copy to the orchestrator: the daemon lives here.
    ActivateAck {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The position that the target is authoritative through.
        replayed_seq: u64,
        /// The digest of the deed that it obeyed.
        deed: Digest,
    },
    /// Target → source: these pieces of the snapshot are missing here.
    ChunksWanted {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// Of which snapshot.
        snapshot: Digest,
        /// Runs of piece indices: first and count.
        ranges: Vec<(u32, u32)>,
    },
    /// Source → orchestrator: how it goes.
    Progressed {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// The figures.
        progress: Progress,
    },
    /// Orchestrator → source: give up, if it is not too late.
    Cancel {
        /// Which daemon.
        daemon_origin: OriginHash,
    },
    /// Orchestrator → source: start this attempt, as [`TakeSnapshot`](Self::TakeSnapshot) does, after
    /// the daemon was told these terms.
    TakeSnapshotOnTerms {
        /// Which daemon.
        daemon_origin: OriginHash,
        /// Where to.
        target_node: NodeId,
        /// Whether its key moves along.
        transport_identity: bool,
        /// How the target is to catch up.
        catch_up: CatchUp,
        /// What whoever asks for the move agrees to, in a form of the daemon's kind. At most
        /// [`TERMS_BYTES_MAX`](crate::limits::TERMS_BYTES_MAX).
        terms: Bytes,
    },
}

/// What a target must know before it takes the first chunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// Who asked for the move and wants copies of the answers.
    pub orchestrator: NodeId,
    /// The daemon's key, sealed to the target; none if it does not travel.
    pub envelope: Option<Bytes>,
    /// How the target is to catch up.
    pub catch_up: CatchUp,
    /// Set when the source is frozen at this snapshot: then it is the last one.
    pub frozen: Option<Frozen>,
}

/// How a copy catches up with a daemon that goes on working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CatchUp {
    /// By replaying its inputs: it is deterministic and event-driven.
    Replay,
    /// By taking over what changed, in rounds: its memory changes by itself.
    Deltas,
    /// Not at all: it is frozen first and the pause grows with the state.
    FreezeAndCopy,
}

/// Where a source is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Frozen {
    /// Its last durable head.
    pub head: Head,
    /// The digest of its state there.
    pub state: Digest,
}

/// The six phases of a move, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MigrationPhase {
    /// The source chooses or takes a snapshot.
    Snapshot,
    /// Chunks travel.
    Transfer,
    /// The target builds the daemon.
    Restore,
    /// The target replays while the source goes on serving.
    Replay,
    /// The source is frozen; the last events and the vote.
    Cutover,
    /// The hand-over is saved; the target goes live.
    Complete,
}

/// How a move goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// In which phase.
    pub phase: MigrationPhase,
    /// Bytes of the snapshot that were sent.
    pub bytes_sent: u64,
    /// Bytes of the snapshot in all.
    pub bytes_total: u64,
    /// Pieces that were sent.
    pub chunks_sent: u32,
    /// Pieces in all.
    pub chunks_total: u32,
    /// Turns that the target has replayed.
    pub events_replayed: u64,
    /// Turns that it still lacks.
    pub lag: u64,
    /// Where the source stands.
    pub position: Position,
}

impl MigrationMessage {
    /// The index of the daemon that it is about.
    #[must_use]
    pub const fn daemon_origin(&self) -> OriginHash {
        match self {
            Self::TakeSnapshot { daemon_origin, .. }
            | Self::TakeSnapshotOnTerms { daemon_origin, .. }
            | Self::SnapshotReady { daemon_origin, .. }
            | Self::RestoreComplete { daemon_origin, .. }
            | Self::ReplayComplete { daemon_origin, .. }
            | Self::CutoverNotify { daemon_origin, .. }
            | Self::CleanupComplete { daemon_origin, .. }
            | Self::MigrationFailed { daemon_origin, .. }
            | Self::BufferedEvents { daemon_origin, .. }
            | Self::ActivateTarget { daemon_origin, .. }
            | Self::ActivateAck { daemon_origin, .. }
            | Self::ChunksWanted { daemon_origin, .. }
            | Self::Progressed { daemon_origin, .. }
            | Self::Cancel { daemon_origin } => *daemon_origin,
        }
    }
}
