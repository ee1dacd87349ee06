//! Decides what people can do about members: invite, strike off, leave, and let another key take over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use whimbrel_members::{Roster, RosterError, Seems};
use whimbrel_protocol::Standing;
use whimbrel_wire::{EntityId, NodeId, PublicKey};

use super::{Membership, Untaken};
use crate::cell::Inner;
use crate::clock::Clock;
use crate::config::MigrationOpts;
use crate::core::Core;
use crate::error::{DaemonError, MigrationError};
use crate::mesh::random;
use crate::runtime::DaemonRuntime;

/// How long others may take to say that they know.
const AWARE_MAX: Duration = Duration::from_secs(10);

/// How long the move of one daemon may take when a node leaves.
const MOVE_MAX: Duration = Duration::from_secs(600);

/// How often it is looked whether something has become so.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a node has not left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// It may not. Fault: caller. Changed: nothing.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// These members do not know the successor yet. Fault: surroundings. Changed: nothing. Again: when they are up;
    /// or strike off those that will not be.
    #[error("{} members do not know the successor yet, the first of them {}", .0.len(), first(.0))]
    Unaware(Vec<NodeId>),
    /// A daemon could not be moved away. Fault: see the cause. Changed: others may have been moved. Again: yes.
    #[error("the daemon {entity} could not be moved away: {why}")]
    Stays {
        /// Which.
        entity: EntityId,
        /// Why.
        why: Box<DaemonError>,
    },
    /// Daemons that were moved away are not settled at their new owners yet. Fault: surroundings. Changed: all were
    /// moved. Again: yes.
    #[error("{0} daemons are not settled at their new owners yet")]
    Unsettled(usize),
    /// What is said of members could not be saved. Fault: surroundings. Changed: all daemons were moved. Again: yes.
    #[error("could not save that this node leaves")]
    NotSaved(#[source] std::io::Error),
    /// The runtime is not up.
    #[error(transparent)]
    Runtime(#[from] Box<DaemonError>),
}

fn first(nodes: &[NodeId]) -> String {
    nodes.first().map(ToString::to_string).unwrap_or_default()
}

impl From<Untaken<RosterError>> for LeaveError {
    fn from(untaken: Untaken<RosterError>) -> Self {
        match untaken {
            Untaken::Refused(error) => Self::Roster(error),
            Untaken::NotSaved(error) => Self::NotSaved(error),
        }
    }
}

impl Membership {
    /// The members that are `unaware` of something: once they are so few that this `is_enough`, or after
    /// [`AWARE_MAX`].
    async fn wait_while_unaware(
        &self,
        unaware: impl Fn(&Roster) -> BTreeSet<NodeId>,
        is_enough: impl Fn(&BTreeSet<NodeId>) -> bool,
    ) -> BTreeSet<NodeId> {
        let waited = tokio::time::timeout(AWARE_MAX, async {
            loop {
                let heard = self.heard.notified();
                let left = self.look(&unaware);
                if is_enough(&left) {
                    return left;
                }
                drop(tokio::time::timeout(LOOK_AGAIN, heard).await);
            }
        });
        match waited.await {
            Ok(left) => left,
            Err(_) => self.look(&unaware),
        }
    }
}

impl DaemonRuntime {
    fn membership(&self) -> Result<&Membership, RosterError> {
        self.core().membership().ok_or(RosterError::NoMesh)
    }

    /// Writes an invitation that is good for one guest, for so long: `guest` if that is given, else whoever has
    /// the text first. With `succeeds` the guest takes the place of this node.
    ///
    /// # Errors
    ///
    /// [`RosterError`].
    pub fn invite(
        &self,
        valid: Duration,
        guest: Option<PublicKey>,
        succeeds: bool,
    ) -> Result<String, RosterError> {
        let serial = random().map_err(|_| RosterError::NoMesh)?;
        let wall = Clock::wall_micros();
        let valid = u64::try_from(valid.as_micros()).unwrap_or(u64::MAX);
        let ends = wall.saturating_add(valid);
        let invited =
            self.membership()?.look(|roster| roster.invite(serial, ends, guest, succeeds));
        Ok(invited?.text())
    }

    /// Strikes off a member: it may not talk any more. Its daemons stay with it, and are served by nobody.
    ///
    /// # Errors
    ///
    /// [`LeaveError::Roster`], [`LeaveError::NotSaved`].
    pub async fn strike_off(&self, node: NodeId) -> Result<(), LeaveError> {
        self.take_step(move |roster| roster.strike_off(node)).await.map(drop)
    }

    async fn take_step<T: Send + 'static>(
        &self,
        take: impl FnOnce(&Roster) -> Result<whimbrel_members::Step<T>, RosterError> + Send + 'static,
    ) -> Result<T, LeaveError> {
        self.membership()?;
        let core = Arc::clone(self.core());
        let taken = tokio::task::spawn_blocking(move || {
            let membership = core.membership().ok_or(Untaken::Refused(RosterError::NoMesh))?;
            membership.step(&core, take)
        });
        let down = |_| LeaveError::Runtime(Box::new(DaemonError::ShuttingDown));
        Ok(taken.await.map_err(down)??)
    }

    /// Moves all daemons away, to `to` or to whom each suits best, and leaves: the others are told, and this node
    /// talks to nobody any more. It takes no daemon from the beginning on. Gives the members that have not
    /// said that they know, after ten seconds: they will be told by the others.
    ///
    /// # Errors
    ///
    /// [`LeaveError`]; then this node is a member as before.
    pub async fn leave(&self, to: Option<NodeId>) -> Result<Vec<NodeId>, LeaveError> {
        let core = self.core();
        self.membership()?.look(|roster| match (roster.mesh(), roster.has_left()) {
            (None, _) => Err(RosterError::NoMesh),
            (_, true) => Err(RosterError::Left),
            (Some(_), false) => Ok(()),
        })?;
        core.set_leaving(true);
        let left = self.go(to).await;
        if left.is_err() {
            core.set_leaving(false);
        }
        left
    }

    async fn go(&self, to: Option<NodeId>) -> Result<Vec<NodeId>, LeaveError> {
        let membership = self.membership()?;
        let successor = membership.look(Roster::successor);
        if let Some(successor) = successor {
            // A new key is known to all before it is used.
            self.wait_until_aware(successor).await?;
        }
        let to = to.or(successor);
        // What was on its way here when this began may arrive meanwhile.
        while let Some(entity) = self.owned().first().copied() {
            let stays = |why| LeaveError::Stays { entity, why: Box::new(why) };
            self.move_away(entity, to).await.map_err(stays)?;
        }
        let unsettled = self.wait_until_settled().await;
        if unsettled > 0 {
            return Err(LeaveError::Unsettled(unsettled));
        }
        let others: BTreeSet<NodeId> =
            membership.look(|roster| roster.others().into_keys().collect());
        let digest = self.take_step(Roster::leave).await?;
        let unaware = |roster: &Roster| roster.not_held_by(&digest, &others);
        // Whoever is down will hear it from the others.
        let all_down = |unaware: &BTreeSet<NodeId>| unaware.iter().all(|node| self.is_down(*node));
        let unaware = membership.wait_while_unaware(unaware, all_down).await;
        for node in others {
            self.core().members.remove(node);
        }
        Ok(unaware.into_iter().collect())
    }

    fn is_down(&self, node: NodeId) -> bool {
        self.neighbour(node).is_none_or(|neighbour| neighbour.seems == Seems::Down)
    }

    async fn wait_until_aware(&self, of: NodeId) -> Result<(), LeaveError> {
        let unaware = |roster: &Roster| roster.unaware_of(of);
        let unaware = self.membership()?.wait_while_unaware(unaware, BTreeSet::is_empty).await;
        if unaware.is_empty() {
            return Ok(());
        }
        Err(LeaveError::Unaware(unaware.into_iter().collect()))
    }

    /// The daemons that this node owns.
    fn owned(&self) -> Vec<EntityId> {
        let own = self.core().node();
        let owned = self
            .daemons()
            .into_iter()
            .filter(|status| status.owner == Some(own) && status.standing != Standing::Deleted);
        owned.map(|status| status.entity).collect()
    }

    async fn move_away(&self, entity: EntityId, to: Option<NodeId>) -> Result<(), DaemonError> {
        let opts = MigrationOpts::default();
        let moving = match to {
            Some(to) => self.migrate(entity, to, opts).await?,
            None => self.migrate_to_best(entity, opts).await?,
        };
        moving.wait_with_timeout(MOVE_MAX).await.map_err(|error| match error {
            MigrationError::Failed(reason) => DaemonError::Migration(reason),
            MigrationError::StillRunning | MigrationError::OrchestratorGone => {
                DaemonError::Migration(whimbrel_wire::MigrationFailureReason::TimedOut)
            }
        })
    }

    /// How many daemons are on their way here, or were handed over and are not acknowledged, after a while.
    async fn wait_until_settled(&self) -> usize {
        let unsettled = || {
            let cells = self.core().cells().into_iter();
            let open = |inner: &Inner| {
                let standing = inner.seat.status().standing;
                standing == Standing::Departed || !inner.arriving.is_empty()
            };
            cells.filter(|cell| cell.look(open)).count() + self.owned().len()
        };
        let waited = tokio::time::timeout(AWARE_MAX, async {
            while unsettled() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        if waited.await.is_ok() { 0 } else { unsettled() }
    }
}

impl Core {
    /// What is said of members; none before the node is open.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        self.membership.get()
    }
}
