//! Decides what a deed says and whether its signature holds.
//!
//! A deed is the record "daemon D, epoch e+1, from S to T, at head H". The first one, the birth
//! deed, is signed by the daemon's own key; each later one by the node key of the owner before
//! it, by the giver who takes the daemon back, or by the daemon's own key once more, when it is brought back from
//! an older state. Their chain is the title, and it can be verified from the daemon's public key alone. What
//! follows from a title is decided elsewhere.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::{Digest, Purpose};
use crate::frame::encode;
use crate::id::{AttemptId, EntityId, Epoch, NodeId, StoreId};
use crate::key::{Identity, NodeKey, PublicKey, Signature};
use crate::link::Head;
use crate::manifest::Manifest;

/// The content of a hand-over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Deed {
    /// Which daemon.
    pub entity: EntityId,
    /// The epoch that it begins.
    pub epoch: Epoch,
    /// Who hands it over: the daemon's own key for a birth, else the owner before.
    pub from: PublicKey,
    /// Who owns the daemon from here on.
    pub to: PublicKey,
    /// The data folder of the new owner: an empty disk inherits nothing.
    pub store: StoreId,
    /// The attempt that led here.
    pub attempt: AttemptId,
    /// Where the daemon stood when it was frozen.
    pub head: Head,
    /// The snapshot from which the new owner started.
    pub snapshot: Digest,
    /// The deed before this one; [`Digest::ZERO`] for a birth.
    pub previous: Digest,
}

/// A deed with its signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignedDeed {
    /// What it says.
    pub deed: Deed,
    /// The signature of `deed.from` over the digest of the deed.
    pub signature: Signature,
}

/// Why a deed is not believed.
///
/// Fault: peer. Changed: nothing. Again: no, the deed stays wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeedError {
    /// The signature does not verify under the key that it names.
    #[error("the signature of the deed does not verify")]
    Signature,
    /// It is about another daemon.
    #[error("the deed is about another daemon")]
    Entity,
    /// It claims to be a birth and is not signed by the daemon, or not in the first epoch.
    #[error("the birth deed is malformed")]
    Birth,
    /// It does not continue the deed before it: epoch, previous digest or signer differ.
    #[error("the deed does not follow the one before it")]
    Sequence,
}

impl Deed {
    /// The birth deed of a daemon on the node `to`.
    #[must_use]
    pub fn birth(
        identity: &Identity,
        to: PublicKey,
        store: StoreId,
        attempt: AttemptId,
    ) -> SignedDeed {
        let entity = identity.entity_id();
        let head = Head {
            position: crate::Position::FIRST,
            sequence: crate::Sequence::FIRST,
            hash: Digest::ZERO,
        };
        let deed = Self {
            entity,
            epoch: Epoch::FIRST,
            from: entity.key(),
            to,
            store,
            attempt,
            head,
            snapshot: Digest::ZERO,
            previous: Digest::ZERO,
        };
        let signature = identity.sign(deed.digest().as_bytes());
        SignedDeed { deed, signature }
    }

    /// Signs this deed as the owner who gives the daemon away.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedDeed {
        let signature = key.sign(self.digest().as_bytes());
        SignedDeed { deed: self, signature }
    }

    /// The digest that names this deed, and that is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(Purpose::Deed, &encode(self))
    }

    /// Whether this takes back what `given` gave away: by its giver, for its giver, from the head to
    /// which that hand-over led.
    #[must_use]
    pub fn takes_back(&self, given: &Self) -> bool {
        given.epoch > Epoch::FIRST
            && self.from == given.from
            && self.to == given.from
            && self.head == given.head.through_deed(&given.digest())
            && self.snapshot == given.snapshot
    }

    /// The deed by which the daemon's own key says that it goes on from an older state, at another owner: the last
    /// one, by `previous`, is lost. It goes on from `manifest`, on the node `to`.
    #[must_use]
    pub fn revival(
        identity: &Identity,
        previous: &SignedDeed,
        (to, store): (PublicKey, StoreId),
        attempt: AttemptId,
        manifest: &Manifest,
    ) -> SignedDeed {
        let entity = identity.entity_id();
        let deed = Self {
            entity,
            epoch: previous.deed.epoch.next(),
            from: entity.key(),
            to,
            store,
            attempt,
            head: manifest.head,
            snapshot: manifest.digest(),
            previous: previous.digest(),
        };
        let signature = identity.sign(deed.digest().as_bytes());
        SignedDeed { deed, signature }
    }

    /// Whether the daemon itself says this, and not the owner by `given`, the deed before it: it was brought back
    /// from an older state, and all that that owner took in since is given up.
    #[must_use]
    pub fn revives(&self, given: &Self) -> bool {
        self.from == self.entity.key() && self.from != given.to
    }

    /// Whether this gives up what was taken in under `given`, the deed before it.
    #[must_use]
    pub fn forks_from(&self, given: &Self) -> bool {
        self.revives(given) || self.takes_back(given)
    }

    /// The new owner.
    #[must_use]
    pub fn owner(&self) -> NodeId {
        self.to.node_id()
    }
}

impl SignedDeed {
    /// The digest that names the deed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.deed.digest()
    }

    /// Whether this is the birth deed of `entity`.
    ///
    /// # Errors
    ///
    /// [`DeedError`] says what is wrong with it.
    pub fn verify_birth(&self, entity: &EntityId) -> Result<(), DeedError> {
        let deed = &self.deed;
        if deed.entity != *entity {
            return Err(DeedError::Entity);
        }
        let born = deed.epoch == Epoch::FIRST
            && deed.previous == Digest::ZERO
            && deed.from == entity.key();
        if !born {
            return Err(DeedError::Birth);
        }
        self.verify_signature()
    }

    /// Whether this deed continues `previous`, which was verified before: signed by the owner whom
    /// that one names, by its giver, who takes back what it gave, or by the daemon itself, which was brought back.
    ///
    /// # Errors
    ///
    /// [`DeedError`] says what is wrong with it.
    pub fn verify_after(&self, previous: &Self) -> Result<(), DeedError> {
        self.follows(previous)?;
        self.verify_signature()
    }

    /// Whether this deed says that it continues `previous`. It may be forged all the same: that is
    /// enough for a deed whose signature was made or verified here.
    ///
    /// # Errors
    ///
    /// As [`verify_after`](Self::verify_after), but for the signature.
    pub fn follows(&self, previous: &Self) -> Result<(), DeedError> {
        let deed = &self.deed;
        if deed.entity != previous.deed.entity {
            return Err(DeedError::Entity);
        }
        let may_sign = deed.from == previous.deed.to || deed.forks_from(&previous.deed);
        let follows = deed.epoch == previous.deed.epoch.next()
            && may_sign
            && deed.previous == previous.digest();
        if follows { Ok(()) } else { Err(DeedError::Sequence) }
    }

    fn verify_signature(&self) -> Result<(), DeedError> {
        let digest = self.digest();
        self.deed.from.verify(digest.as_bytes(), &self.signature).map_err(|_| DeedError::Signature)
    }
}
