//! Decides how anyone can check that a run of outputs is one unbroken chain of one daemon, its
//! hand-overs included, with nothing but the daemon's public key.
//!
//! # Invariants
//!
//! * V1 (title): the deeds follow each other from a birth that the daemon's own key signed.
//! * V2 (chain): each output names the digest before it, and each deed between `base` and `to`
//!   names the head that the chain had when it was signed.
//!
//! # Limits
//!
//! * [`PROOF_LINKS_MAX`], [`PROOF_DEEDS_MAX`]: a longer chain is proved in parts, each with the
//!   end of the one before it as its base.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{
    CausalEvent, DeedError, EntityId, Epoch, Head, OriginHash, Sequence, SignedDeed,
};

use crate::limits::{PROOF_DEEDS_MAX, PROOF_LINKS_MAX};

/// A run of outputs with everything that is needed to check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinuityProof {
    /// Whose outputs.
    pub entity: EntityId,
    /// The title: all deeds from the birth to the present.
    pub deeds: Vec<SignedDeed>,
    /// Where the run begins.
    pub base: Head,
    /// In which epoch it begins: later deeds are steps of the run.
    pub base_epoch: Epoch,
    /// The outputs, in order.
    pub links: Vec<CausalEvent>,
    /// Where the run ends, in the epoch of the last deed.
    pub to: Head,
}

/// Why a run of outputs proves nothing.
///
/// Fault: whoever made it. Changed: nothing. Again: no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContinuityError {
    /// It is about another daemon.
    #[error("the proof is about another daemon")]
    Entity,
    /// It has more outputs or deeds than one proof may have.
    #[error("the proof is too long")]
    TooLong,
    /// There is no deed at all, or none of the epoch in which it begins.
    #[error("the title is incomplete")]
    Untitled,
    /// A deed does not hold.
    #[error("the title does not hold at {epoch}: {error}")]
    Title {
        /// Which.
        epoch: Epoch,
        /// Why.
        error: DeedError,
    },
    /// It claims to begin at the birth and does not.
    #[error("the chain does not begin at the birth of the daemon")]
    Genesis,
    /// An output is not the next one of the chain.
    #[error("the chain breaks at {at}")]
    Broken {
        /// At which output.
        at: Sequence,
    },
    /// A deed names another head than the chain had.
    #[error("the hand-over to {epoch} was signed at another head")]
    HandOver {
        /// Which deed.
        epoch: Epoch,
    },
    /// The chain ends elsewhere.
    #[error("the chain ends elsewhere")]
    End,
}

/// How far the check has come.
struct Walk<'a> {
    head: Head,
    origin: OriginHash,
    epoch: Epoch,
    /// Deeds that are still to be passed through.
    deeds: &'a [SignedDeed],
}

impl ContinuityProof {
    /// Whether this is one unbroken run of outputs of `entity`. What came before
    /// [`base`](Self::base) is proved only if [`is_complete`](Self::is_complete).
    ///
    /// # Errors
    ///
    /// [`ContinuityError`] says where it breaks.
    pub fn verify(&self, entity: &EntityId) -> Result<(), ContinuityError> {
        if self.entity != *entity {
            return Err(ContinuityError::Entity);
        }
        if self.links.len() > PROOF_LINKS_MAX || self.deeds.len() > PROOF_DEEDS_MAX {
            return Err(ContinuityError::TooLong);
        }
        verify_title(&self.deeds, entity)?;
        self.verify_base(entity)?;
        let passed = self.deeds.iter().position(|deed| deed.deed.epoch == self.base_epoch);
        let passed = passed.ok_or(ContinuityError::Untitled)? + 1;
        let mut walk = Walk {
            head: self.base,
            origin: entity.origin_hash(),
            epoch: self.base_epoch,
            deeds: &self.deeds[passed..],
        };
        for event in &self.links {
            walk.hand_over_until(event.link.epoch)?;
            walk.follow(event)?;
        }
        while !walk.deeds.is_empty() {
            walk.hand_over()?;
        }
        let same = walk.head.hash == self.to.hash && walk.head.sequence == self.to.sequence;
        let onwards = walk.head.position <= self.to.position;
        if same && onwards { Ok(()) } else { Err(ContinuityError::End) }
    }

    /// Whether it begins at the birth of the daemon, so that it leaves nothing out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.base_epoch == Epoch::FIRST && self.base.sequence == Sequence::FIRST
    }

    /// A run that says it begins at the birth begins with its digest.
    fn verify_base(&self, entity: &EntityId) -> Result<(), ContinuityError> {
        let birth = self.deeds.first().ok_or(ContinuityError::Untitled)?;
        let newborn = Head::newborn(entity, &birth.digest());
        if self.is_complete() && self.base.hash != newborn.hash {
            return Err(ContinuityError::Genesis);
        }
        Ok(())
    }
}

/// Whether these deeds follow each other from the birth of `entity` on.
pub(crate) fn verify_title(deeds: &[SignedDeed], entity: &EntityId) -> Result<(), ContinuityError> {
    let (birth, later) = deeds.split_first().ok_or(ContinuityError::Untitled)?;
    let at = |deed: &SignedDeed, error| ContinuityError::Title { epoch: deed.deed.epoch, error };
    birth.verify_birth(entity).map_err(|error| at(birth, error))?;
    let mut previous = birth;
    for deed in later {
        deed.verify_after(previous).map_err(|error| at(deed, error))?;
        previous = deed;
    }
    Ok(())
}

impl Walk<'_> {
    fn hand_over_until(&mut self, epoch: Epoch) -> Result<(), ContinuityError> {
        while self.epoch < epoch && !self.deeds.is_empty() {
            self.hand_over()?;
        }
        Ok(())
    }

    /// Passes through the next deed.
    fn hand_over(&mut self) -> Result<(), ContinuityError> {
        let Some((deed, later)) = self.deeds.split_first() else { return Ok(()) };
        let Head { position, sequence, hash } = deed.deed.head;
        let here = hash == self.head.hash
            && sequence == self.head.sequence
            && position >= self.head.position;
        if !here {
            return Err(ContinuityError::HandOver { epoch: deed.deed.epoch });
        }
        self.head = deed.deed.head.through_deed(&deed.digest());
        self.epoch = deed.deed.epoch;
        self.deeds = later;
        Ok(())
    }

    /// Passes through the next output.
    fn follow(&mut self, event: &CausalEvent) -> Result<(), ContinuityError> {
        let link = &event.link;
        let next = link.origin == self.origin
            && link.sequence == self.head.sequence.next()
            && link.epoch == self.epoch
            && link.parent == self.head.hash;
        if !next {
            return Err(ContinuityError::Broken { at: link.sequence });
        }
        self.head = Head { sequence: link.sequence, hash: event.digest(), ..self.head };
        Ok(())
    }
}
