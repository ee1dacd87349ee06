//! Decides what a caller holds of a daemon.

use whimbrel_daemon::{StateSnapshot, Stats};
use whimbrel_protocol::Standing;
use whimbrel_wire::{EntityId, Epoch, Head, Kind, NodeId, OriginHash};

use crate::error::DaemonError;
use crate::runtime::DaemonRuntime;

/// A daemon that was spawned here. Cheap to clone; dropping it stops nothing.
#[derive(Clone)]
pub struct DaemonHandle {
    runtime: DaemonRuntime,
    entity: EntityId,
}

/// What a node knows of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonStatus {
    /// Which daemon.
    pub entity: EntityId,
    /// Its index.
    pub origin_hash: OriginHash,
    /// Its kind, if it is in memory here.
    pub kind: Option<Kind>,
    /// What this node is to it.
    pub standing: Standing,
    /// Its owner, as far as this node knows.
    pub owner: Option<NodeId>,
    /// Its epoch, as far as this node knows.
    pub epoch: Option<Epoch>,
    /// Where it stands, if it lives here.
    pub head: Option<Head>,
    /// Where its last snapshot stands, if it lives here: a restart replays from there.
    pub snapshot: Option<Head>,
    /// Events that wait at its gate here.
    pub held: usize,
    /// How it is, in the words of its kind, if it lives here.
    pub particulars: Option<String>,
}

impl DaemonHandle {
    pub(crate) const fn new(runtime: DaemonRuntime, entity: EntityId) -> Self {
        Self { runtime, entity }
    }

    /// Who it is.
    #[must_use]
    pub const fn entity_id(&self) -> EntityId {
        self.entity
    }

    /// Its index.
    #[must_use]
    pub fn origin_hash(&self) -> OriginHash {
        self.entity.origin_hash()
    }

    /// What it has done on this node since it came here; none if it lives elsewhere.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.runtime.stats(self.entity)
    }

    /// A portable copy of its state, without a title.
    ///
    /// # Errors
    ///
    /// As [`DaemonRuntime::snapshot`].
    pub async fn snapshot(&self) -> Result<Option<StateSnapshot>, DaemonError> {
        self.runtime.snapshot(self.origin_hash()).await
    }
}
