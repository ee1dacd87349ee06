//! Decides what a node writes down about a daemon, and what it finds after a crash.
//!
//! A [`Write`] is one atomic request to a store: it happens completely, is refused, or ends with
//! an outcome that nobody knows. Each names what it expects to find, so that a store can refuse
//! what comes from the past.
//!
//! A *copy* is the state of a daemon on a disk: a base snapshot and the turns after it. It is
//! named by the attempt that brought it here. The owner runs from its live copy; a target collects
//! a copy that becomes live only by a deed.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::deed::SignedDeed;
use crate::digest::Digest;
use crate::id::{AttemptId, EntityId, Epoch, Position};
use crate::link::Head;
use crate::manifest::Manifest;
use crate::turn::Turn;

/// One atomic request to a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "it lives for one step; a box would cost more")]
pub enum Write {
    /// A daemon is born here. Refused if anything is known of it.
    Birth {
        /// Its birth deed.
        deed: SignedDeed,
        /// Its first snapshot, at position zero. The chunks are saved before.
        manifest: Manifest,
    },
    /// Turns of a daemon that lives here. Refused unless this store owns it in `epoch` and its
    /// journal ends at `after`.
    Append {
        /// Which daemon.
        entity: EntityId,
        /// In which epoch the turns were taken.
        epoch: Epoch,
        /// The position before the first of them.
        after: Position,
        /// The turns, without gaps.
        turns: Vec<Turn>,
    },
    /// A new base snapshot of a daemon that lives here. Refused unless this store owns it in
    /// `epoch` (or has handed it over and not yet dropped it) and the position is in the journal.
    Publish {
        /// Which daemon.
        entity: EntityId,
        /// In which epoch.
        epoch: Epoch,
        /// The snapshot. The chunks are saved before.
        manifest: Manifest,
    },
    /// Forget the turns up to `through` of a daemon that lives here. Refused beyond its base
    /// snapshot.
    Compact {
        /// Which daemon.
        entity: EntityId,
        /// In which epoch.
        epoch: Epoch,
        /// The last position to forget.
        through: Position,
    },
    /// An attempt to move the daemon away begins. Refused unless this store owns it in `epoch`,
    /// or if the attempt was ever begun.
    BeginAttempt {
        /// Which daemon.
        entity: EntityId,
        /// In which epoch.
        epoch: Epoch,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The commit point of a move, at the source. Refused unless this store owns the daemon in the
    /// epoch before, its journal ends at the position of
    /// the deed's head, and no deed of this epoch is known.
    HandOver {
        /// The deed.
        deed: SignedDeed,
    },
    /// The source takes back what it handed over, from its frozen copy. Refused unless this store
    /// handed the daemon over in the epoch before, still has the copy, and it ends at the position of
    /// the deed's head.
    Reclaim {
        /// The deed.
        deed: SignedDeed,
    },
    /// A target keeps a copy that waits for its deed. Refused if a deed beyond `epoch` is known.
    /// A copy of the same attempt is replaced.
    SaveCopy {
        /// Which daemon.
        entity: EntityId,
        /// Which attempt.
        attempt: AttemptId,
        /// The epoch that the attempt would end.
        epoch: Epoch,
        /// The snapshot. The chunks are saved before.
        manifest: Manifest,
    },
    /// Turns that a waiting copy has replayed. Refused unless the copy exists and ends at `after`.
    AppendCopy {
        /// Which daemon.
        entity: EntityId,
        /// Which attempt.
        attempt: AttemptId,
        /// The position before the first of them.
        after: Position,
        /// The turns, without gaps.
        turns: Vec<Turn>,
    },
    /// A target goes live: the copy of the deed's attempt becomes the live copy. Refused unless
    /// that copy exists and ends at the position of the deed's head, and no deed of this epoch is
    /// known. (Positions, not hashes: a chain goes through a deed without a turn.)
    Accept {
        /// Deeds up to and including the one that makes this node the owner, as far as they were
        /// not known: in order, without gaps.
        deeds: Vec<SignedDeed>,
    },
    /// Verified deeds that make some other node the owner, or that explain a title. Those that
    /// are known are passed over; a different deed of a known epoch is refused.
    Learn {
        /// In order.
        deeds: Vec<SignedDeed>,
    },
    /// Throw a waiting copy away. Never refused.
    DropCopy {
        /// Which daemon.
        entity: EntityId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The hand-over with this digest was acknowledged: forget the state, keep the deeds.
    DropState {
        /// Which daemon.
        entity: EntityId,
        /// The digest of the deed.
        deed: Digest,
    },
    /// Forget the state of a daemon for good and leave a tombstone. Refused unless this store
    /// owns it in `epoch`.
    Delete {
        /// Which daemon.
        entity: EntityId,
        /// In which epoch.
        epoch: Epoch,
    },
}

/// Why a write did not happen, or may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// What the write expected was not so. Fault: caller. Changed: nothing, for certain. Again:
    /// no.
    #[error("the store refused: {0}")]
    Refused(WriteRefusal),
    /// The store could not do it and is sure of that: a full disk. Fault: surroundings. Changed:
    /// nothing, for certain. Again: once the cause is gone.
    #[error("the store failed and changed nothing: {0}")]
    Failed(String),
    /// Whether it happened is not known. Fault: surroundings. Changed: perhaps. Again: only after
    /// the record was read anew.
    #[error("the store does not know whether it happened: {0}")]
    Unknown(String),
}

/// What a write expected and did not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum WriteRefusal {
    /// This store does not own the daemon in that epoch.
    #[error("not the owner in that epoch")]
    NotOwner,
    /// The journal ends elsewhere.
    #[error("the journal ends at {last}")]
    Position {
        /// Where.
        last: Position,
    },
    /// A deed of that epoch, or of a later one, is known.
    #[error("a deed of that epoch is known")]
    DeedKnown,
    /// The deeds do not follow what is known.
    #[error("the deeds leave a gap")]
    DeedGap,
    /// The daemon is known.
    #[error("the daemon is known")]
    Known,
    /// The attempt was begun before.
    #[error("the attempt was begun before")]
    AttemptKnown,
    /// There is no such copy.
    #[error("there is no such copy")]
    NoCopy,
    /// A chunk that the snapshot names is not there.
    #[error("a chunk of the snapshot is missing")]
    ChunkMissing,
}

/// What a store knows of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeatRecord {
    /// All deeds known, from the birth on, without gaps.
    pub deeds: Vec<SignedDeed>,
    /// What is held of the daemon itself.
    pub holding: Holding,
    /// Attempts that were begun in the present epoch.
    pub attempts: Vec<AttemptId>,
    /// Copies that wait for a deed.
    pub waiting: Vec<CopyRecord>,
}

/// What a store holds of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holding {
    /// Nothing but deeds, or not even those.
    #[default]
    Nothing,
    /// The live copy: this node owns the daemon by the last deed.
    Owned(CopyRecord),
    /// The frozen copy: handed over by the last deed and not yet acknowledged.
    HandedOver(CopyRecord),
    /// The daemon was deleted here.
    Deleted,
}

/// One copy on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CopyRecord {
    /// The attempt that brought it here.
    pub attempt: AttemptId,
    /// The epoch in which its base snapshot was offered or taken.
    pub epoch: Epoch,
    /// Its base snapshot.
    pub manifest: Manifest,
    /// The stamp of the last turn in its journal; none if the journal holds nothing after the
    /// base.
    pub last: Option<Head>,
}

impl Write {
    /// The daemon that it is about; none for an empty list of deeds.
    #[must_use]
    pub fn entity(&self) -> Option<EntityId> {
        match self {
            Self::Birth { deed, .. } | Self::HandOver { deed } | Self::Reclaim { deed } => {
                Some(deed.deed.entity)
            }
            Self::Append { entity, .. }
            | Self::Publish { entity, .. }
            | Self::Compact { entity, .. }
            | Self::BeginAttempt { entity, .. }
            | Self::SaveCopy { entity, .. }
            | Self::AppendCopy { entity, .. }
            | Self::DropCopy { entity, .. }
            | Self::DropState { entity, .. }
            | Self::Delete { entity, .. } => Some(*entity),
            Self::Accept { deeds } | Self::Learn { deeds } => {
                deeds.first().map(|signed| signed.deed.entity)
            }
        }
    }
}

impl CopyRecord {
    /// Where the copy ends.
    #[must_use]
    pub fn head(&self) -> Head {
        self.last.unwrap_or(self.manifest.head)
    }
}
