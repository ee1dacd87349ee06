//! Decides what people are told of the other nodes, and where a daemon goes that is moved without a target.

use std::time::Duration;

use whimbrel_members::{Candidate, Placement, Report, Seems, place};
use whimbrel_wire::{EntityId, NodeId};

use crate::config::MigrationOpts;
use crate::error::DaemonError;
use crate::migration::MigrationHandle;
use crate::runtime::DaemonRuntime;

/// What is known of a member, this node included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub node: NodeId,
    /// How it seems to be: a hint.
    pub seems: Seems,
    /// For how long.
    pub since: Duration,
    /// What it last said of itself.
    pub report: Option<Report>,
}

/// Where a daemon is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this node.
    Node(NodeId),
    /// To the node that suits it best.
    Best,
}

impl<T: Into<NodeId>> From<T> for Target {
    fn from(node: T) -> Self {
        Self::Node(node.into())
    }
}

impl DaemonRuntime {
    /// Every member, this node included, in the order of their ids.
    #[must_use]
    pub fn neighbours(&self) -> Vec<Neighbour> {
        let nodes = self.core().members.nodes();
        nodes.into_iter().filter_map(|node| self.neighbour(node)).collect()
    }

    /// One member, or this node.
    #[must_use]
    pub fn neighbour(&self, node: NodeId) -> Option<Neighbour> {
        let core = self.core();
        let now = core.clock.now();
        if node == core.node() {
            let report = core.neighbours.own.last();
            let since = now.since(whimbrel_wire::Time::ZERO);
            return Some(Neighbour { node, seems: Seems::Alive, since, report });
        }
        let view = core.neighbours.view(node)?;
        Some(Neighbour {
            node,
            seems: view.seems,
            since: now.since(view.since),
            report: view.report,
        })
    }

    /// Where a daemon could live: all members, the suited ones first and the best of them at the front, each
    /// with the reason.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Unknown`], [`DaemonError::Unanswered`] when its owner does not say what it wants.
    pub async fn placement(&self, entity: EntityId) -> Result<Placement, DaemonError> {
        let owner = self.find(entity).await?;
        self.not_lost(owner)?;
        let core = self.core();
        let wanted = core.neighbours.wants.ask(core, owner, entity).await?;
        let candidates = self.neighbours().into_iter().map(|neighbour| {
            let Neighbour { node, seems, report, .. } = neighbour;
            Candidate { node, seems, report }
        });
        Ok(place(&wanted, owner, candidates.collect()))
    }

    /// The node that suits a daemon best, with what is to be said of all of them.
    pub(crate) async fn best(&self, entity: EntityId) -> Result<(NodeId, Placement), DaemonError> {
        let placement = self.placement(entity).await?;
        match placement.best().map(|place| place.node) {
            Some(node) => Ok((node, placement)),
            None => Err(DaemonError::NoPlace(Box::new(placement))),
        }
    }

    /// Starts to move a daemon to the node that suits it best. The handle says which, and why.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NoPlace`] says of each node why not; as [`placement`](Self::placement) and
    /// [`migrate`](Self::migrate).
    pub async fn migrate_to_best(
        &self,
        entity: EntityId,
        opts: MigrationOpts,
    ) -> Result<MigrationHandle, DaemonError> {
        let (target, placement) = self.best(entity).await?;
        Ok(self.migrate(entity, target, opts).await?.placed(placement))
    }

    /// For tests: while set, no news about members come in or go out, as if all those packets were lost. This
    /// node seems down to the others, and they to it.
    pub fn simulate_silence(&self, flag: bool) {
        self.core().neighbours.silence(flag);
    }

    /// Refuses what cannot work at present: the node seems down, and no link to it stands.
    pub(crate) fn not_lost(&self, node: NodeId) -> Result<(), DaemonError> {
        let seems = self.neighbour(node).map(|neighbour| neighbour.seems);
        let link = self.mesh().link_statistics(node);
        let linked = link.is_some_and(|link| link.connected.contains(&true));
        if seems == Some(Seems::Down) && !linked {
            return Err(DaemonError::NodeDown(node));
        }
        Ok(())
    }
}
