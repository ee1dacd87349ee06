//! Decides what a seat shows of itself. Nothing here changes it.

use super::*;

/// What a seat is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatStatus {
    /// What this node is to the daemon.
    pub standing: Standing,
    /// The owner, as far as this node knows.
    pub owner: Option<NodeId>,
    /// The epoch, as far as this node knows.
    pub epoch: Option<Epoch>,
    /// Where the daemon stands, if it lives here.
    pub head: Option<Head>,
    /// Where its last snapshot stands, if it lives here: a restart replays from there.
    pub snapshot: Option<Head>,
    /// Events that wait at the gate.
    pub held: usize,
}

/// What a node is to a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// The record is being read.
    Reading,
    /// It does not hold it.
    Stranger,
    /// It is being born here.
    Bearing,
    /// It owns it and is building it from the disk.
    Opening,
    /// It owns it and runs it.
    Live,
    /// It owns it, frozen for the last step of a move.
    Frozen,
    /// It owns it and cannot run it.
    Parked(String),
    /// It owns it and was told to stop it.
    Stopped,
    /// It handed it over and waits for the acknowledgement.
    Departed,
    /// It deleted it.
    Deleted,
}

impl Seat {
    /// What this seat is, for people.
    #[must_use]
    pub fn status(&self) -> SeatStatus {
        let (standing, stands, held) = match &self.tenure {
            Tenure::Reading(_) => (Standing::Reading, None, 0),
            Tenure::Stranger => (Standing::Stranger, None, 0),
            Tenure::Bearing(_) => (Standing::Bearing, None, 0),
            Tenure::Departed(_) => (Standing::Departed, None, 0),
            Tenure::Deleted => (Standing::Deleted, None, 0),
            Tenure::Owner(owner) => {
                let frozen = owner.departure.as_ref().is_some_and(Departure::is_frozen);
                let standing = match &owner.life {
                    Life::Opening(_) => Standing::Opening,
                    Life::Live if frozen => Standing::Frozen,
                    Life::Live => Standing::Live,
                    Life::Parked { reason } => Standing::Parked(reason.clone()),
                    Life::Stopped => Standing::Stopped,
                };
                (standing, Some((owner.replica.head, owner.base().head)), owner.held())
            }
        };
        let (head, snapshot) = stands.unzip();
        let (owner, epoch) = (self.title.owner(), self.title.epoch());
        SeatStatus { standing, owner, epoch, head, snapshot, held }
    }

    /// The phase of the newest move of this daemon that this node orchestrates; none once its
    /// record is gone.
    #[must_use]
    pub fn migration_phase(&self) -> Option<MigrationPhase> {
        self.orchestrations.values().filter_map(|orchestration| orchestration.phase).max()
    }

    /// The figures of a move that this node orchestrates.
    #[must_use]
    pub fn migration_progress(&self, attempt: AttemptId) -> Option<Progress> {
        self.orchestrations.get(&attempt)?.progress
    }

    /// The dealings of the daemon, if it lives here.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        match &self.tenure {
            Tenure::Owner(owner) => Some(&owner.replica.ledger),
            Tenure::Reading(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Departed(_)
            | Tenure::Deleted => None,
        }
    }

    /// The copy from which the daemon runs here, if it runs here and takes events.
    #[must_use]
    pub fn live_copy(&self) -> Option<(AttemptId, Epoch)> {
        match &self.tenure {
            Tenure::Owner(owner) if matches!(owner.life, Life::Live) => {
                Some((owner.copy, owner.epoch))
            }
            Tenure::Owner(_)
            | Tenure::Reading(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Departed(_)
            | Tenure::Deleted => None,
        }
    }

    /// Whether the daemon runs here and is on its way to another node: what is secret of it may have been sealed.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        matches!(&self.tenure, Tenure::Owner(owner) if owner.departure.is_some())
    }

    /// Snapshots whose chunks a collection of garbage must leave alone, beyond those on record.
    #[must_use]
    pub fn manifests_in_use(&self) -> Vec<Manifest> {
        let arriving = self.arrivals.values().filter_map(Arrival::manifest);
        let leaving = match &self.tenure {
            Tenure::Owner(owner) => owner.departure.as_ref().and_then(Departure::manifest),
            Tenure::Departed(departed) => departed.departure.manifest(),
            Tenure::Reading(_) | Tenure::Stranger | Tenure::Bearing(_) | Tenure::Deleted => None,
        };
        arriving.chain(leaving).cloned().collect()
    }

    /// Whether a move of the daemon is under way here, in whatever role.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        let leaves = match &self.tenure {
            Tenure::Owner(owner) => owner.departure.is_some(),
            Tenure::Departed(_) => true,
            Tenure::Reading(_) | Tenure::Stranger | Tenure::Bearing(_) | Tenure::Deleted => false,
        };
        leaves || !self.arrivals.is_empty() || !self.orchestrations.is_empty()
    }

    /// How many copies wait here for a deed.
    #[must_use]
    pub fn waiting_copies(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether the key of the daemon goes with a copy that is thrown away here: no other copy of it waits,
    /// and none went live.
    #[must_use]
    pub fn key_goes_with_copy(&self) -> bool {
        self.waiting_copies() == 0 && self.title.owner() != Some(self.station.node())
    }

    /// Whether the seat could be forgotten by a driver that needs room: it would be the same after
    /// reading its record again.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.tenure, Tenure::Stranger | Tenure::Deleted)
            && self.arrivals.is_empty()
            && self.orchestrations.is_empty()
            && self.litter.is_empty()
            && self.couriers.values().all(Courier::is_idle)
    }
}
