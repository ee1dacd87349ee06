//! Decides what is said of a daemon that was brought back from an older state on an operator's word.
//!
//! Such a return is a deed by which the giver of a hand-over takes the daemon back, from the frozen copy that it
//! kept; or by which the daemon's own key says that it goes on from an exported snapshot, because its owner is lost.
//! Whatever the owner before took in since is lost. The deed is signed, begins a new epoch and is part of the
//! title, so nobody has to be believed: whoever knows the title sees the fork, and the old copy can never act
//! again.
//!
//! # Invariants
//!
//! * F1 (signed): a record verifies only if its deeds are a title from the birth on, and the last one takes back
//!   what the one before it gave, or is signed by the daemon itself.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{EntityId, Epoch, Head, NodeId, PublicKey, SignedDeed};

use crate::limits::PROOF_DEEDS_MAX;
use crate::proof::{ContinuityError, verify_title};

/// The record of a fork: what one owner took in was given up, and the daemon goes on from before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkRecord {
    /// Which daemon.
    pub entity: EntityId,
    /// Its title up to the deed that took it or brought it back. That deed is the last one.
    pub deeds: Vec<SignedDeed>,
}

/// Why a record proves no fork.
///
/// Fault: whoever made it. Changed: nothing. Again: no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ForkError {
    /// It is about another daemon.
    #[error("the record is about another daemon")]
    Entity,
    /// It has more deeds than a record may have.
    #[error("the record is too long")]
    TooLong,
    /// Its deeds are no title.
    #[error(transparent)]
    Title(#[from] ContinuityError),
    /// Its last deed is an ordinary hand-over.
    #[error("the last deed takes nothing back")]
    NoFork,
}

/// What a record that holds says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkPoint {
    /// The epoch that was given up: what was taken in during it is lost.
    pub lost: Epoch,
    /// The epoch in which the daemon goes on.
    pub epoch: Epoch,
    /// From where it goes on.
    pub head: Head,
    /// Whose epoch was given up.
    pub loser: NodeId,
    /// Who took the daemon back, and signed that; the daemon's own key if it was brought back from a snapshot.
    pub by: PublicKey,
}

impl ForkRecord {
    /// All forks in a title, in order.
    #[must_use]
    pub fn all(entity: EntityId, title: &[SignedDeed]) -> Vec<Self> {
        let pairs = title.windows(2).enumerate();
        let taken = pairs.filter(|(_, pair)| pair[1].deed.forks_from(&pair[0].deed));
        taken.map(|(index, _)| Self { entity, deeds: title[..index + 2].to_vec() }).collect()
    }

    /// What it says, if it holds.
    ///
    /// # Errors
    ///
    /// [`ForkError`].
    pub fn verify(&self, entity: &EntityId) -> Result<ForkPoint, ForkError> {
        if self.entity != *entity {
            return Err(ForkError::Entity);
        }
        if self.deeds.len() > PROOF_DEEDS_MAX {
            return Err(ForkError::TooLong);
        }
        verify_title(&self.deeds, entity)?;
        let [.., given, taken] = &self.deeds[..] else { return Err(ForkError::NoFork) };
        if !taken.deed.forks_from(&given.deed) {
            return Err(ForkError::NoFork);
        }
        Ok(ForkPoint {
            lost: given.deed.epoch,
            epoch: taken.deed.epoch,
            head: taken.deed.head,
            loser: given.deed.owner(),
            by: taken.deed.from,
        })
    }
}
