//! Decides how what somebody knew of a daemon's chain stands to what is proved of it later, with nothing but the
//! daemon's public key.
//!
//! # Invariants
//!
//! * S1 (only proved): every status but *unverifiable* rests on two proofs that hold.

use thiserror::Error;
use whimbrel_wire::{EntityId, Epoch, Head, Sequence, SignedDeed};

use crate::proof::{ContinuityError, ContinuityProof};

/// How a later proof stands to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContinuityStatus {
    /// The chain goes on from what was known, with the same owner.
    Continuous {
        /// How many outputs were made since.
        outputs: u64,
    },
    /// The chain goes on from what was known, through hand-overs.
    Migrated {
        /// How many.
        hand_overs: u64,
        /// How many outputs were made since.
        outputs: u64,
    },
    /// Both hold, and the later one leaves out what was known: the daemon was brought back from an older
    /// state, or somebody signed twice.
    Forked {
        /// Where they part.
        at: Fork,
    },
    /// The two say nothing about each other.
    Unverifiable(Unverifiable),
}

/// Where two chains of one daemon part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fork {
    /// Two deeds begin this epoch.
    Title(Epoch),
    /// The output with this number that was known is not in the later chain.
    Chain(Sequence),
    /// The deed that begins this epoch took the daemon back from before an output that was known: see
    /// [`ForkRecord`](crate::ForkRecord).
    TakenBack(Epoch),
}

/// Why nothing can be said.
///
/// Fault: whoever made the proof, or nobody. Changed: nothing. Again: with another proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unverifiable {
    /// What was known does not hold.
    #[error("what was known proves nothing: {0}")]
    Known(ContinuityError),
    /// What is claimed to be later does not hold.
    #[error("what came later proves nothing: {0}")]
    Later(ContinuityError),
    /// The later run begins after what was known: what is between is not proved.
    #[error("nothing is proved between {known} and {begins}")]
    Gap {
        /// Where what was known ends.
        known: Sequence,
        /// Where the later run begins.
        begins: Sequence,
    },
    /// What is claimed to be later ends before what was known.
    #[error("what is claimed to be later is older")]
    Older,
}

impl ContinuityStatus {
    /// How `later` stands to `known`, both about `entity`.
    #[must_use]
    pub fn between(entity: &EntityId, known: &ContinuityProof, later: &ContinuityProof) -> Self {
        match compare(entity, known, later) {
            Ok(status) => status,
            Err(unverifiable) => Self::Unverifiable(unverifiable),
        }
    }
}

fn compare(
    entity: &EntityId,
    known: &ContinuityProof,
    later: &ContinuityProof,
) -> Result<ContinuityStatus, Unverifiable> {
    known.verify(entity).map_err(Unverifiable::Known)?;
    later.verify(entity).map_err(Unverifiable::Later)?;
    let deeds = known.deeds.iter().zip(&later.deeds);
    let parted = deeds.clone().find(|(one, other)| one.digest() != other.digest());
    if let Some((deed, _)) = parted {
        return Ok(ContinuityStatus::Forked { at: Fork::Title(deed.deed.epoch) });
    }
    let end = known.to.sequence;
    if let Some(epoch) = taken_back(known, later) {
        return Ok(ContinuityStatus::Forked { at: Fork::TakenBack(epoch) });
    }
    if later.deeds.len() < known.deeds.len() || later.to.sequence < end {
        return Err(Unverifiable::Older);
    }
    if later.base.sequence > end {
        return Err(Unverifiable::Gap { known: end, begins: later.base.sequence });
    }
    if !passes(later, &known.to) {
        return Ok(ContinuityStatus::Forked { at: Fork::Chain(end) });
    }
    let outputs = later.to.sequence.get() - end.get();
    let hand_overs = (later.deeds.len() - known.deeds.len()) as u64;
    Ok(match hand_overs {
        0 => ContinuityStatus::Continuous { outputs },
        _ => ContinuityStatus::Migrated { hand_overs, outputs },
    })
}

/// The first epoch after those of `known` in which the daemon was taken or brought back from before the end of
/// `known`: something that was put out is lost by that.
fn taken_back(known: &ContinuityProof, later: &ContinuityProof) -> Option<Epoch> {
    let from = known.deeds.len().checked_sub(1)?;
    let pairs = later.deeds.get(from..)?.windows(2);
    let is_lost = |pair: &&[SignedDeed]| match pair {
        [given, taken] => {
            taken.deed.forks_from(&given.deed) && taken.deed.head.sequence < known.to.sequence
        }
        _ => false,
    };
    pairs.into_iter().find(is_lost)?.last().map(|taken| taken.deed.epoch)
}

/// Whether a chain that holds goes through `point`.
fn passes(proof: &ContinuityProof, point: &Head) -> bool {
    let is_here = |head: &Head| head.sequence == point.sequence && head.hash == point.hash;
    let mut head = proof.base;
    let mut deeds = proof.deeds.iter().filter(|deed| deed.deed.epoch > proof.base_epoch).peekable();
    if is_here(&head) {
        return true;
    }
    for event in &proof.links {
        while let Some(deed) = deeds.next_if(|deed| deed.deed.epoch <= event.link.epoch) {
            head = deed.deed.head.through_deed(&deed.digest());
            if is_here(&head) {
                return true;
            }
        }
        head = Head { sequence: event.link.sequence, hash: event.digest(), ..head };
        if is_here(&head) {
            return true;
        }
    }
    deeds.any(|deed| is_here(&deed.deed.head.through_deed(&deed.digest())))
}
