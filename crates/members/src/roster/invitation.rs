//! What it takes to join: an invitation, signed by a member, that names mesh, time and perhaps the guest.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{Digest, NodeKey, PublicKey, Purpose, Signature, decode, encode, hex, unhex};

use super::fact::{ADDRESSES_MAX, Contact, MeshId, SignedFact};

/// What the text of an invitation begins with.
const TEXT_HEAD: &str = "whimbrel-invitation-1-";

/// How long an invitation is at most, in bytes.
const INVITATION_BYTES_MAX: usize = 1_024;

/// Leave to join, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Which mesh.
    pub mesh: MeshId,
    /// Who invites. The guest joins at that node, and talks to no other one before.
    pub by: PublicKey,
    /// Where that node can be dialled.
    pub addresses: Vec<SocketAddr>,
    /// Names it: each is good for one guest.
    pub serial: u128,
    /// When it ends, in microseconds since the Unix epoch by the clock of the host.
    pub ends: u64,
    /// The one guest whom it admits; without one whoever has it first.
    pub guest: Option<PublicKey>,
    /// Whether the guest takes the place of the host.
    pub succeeds: bool,
}

/// An invitation with its signature. Whoever has it can join: keep it as a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInvitation {
    /// What it says.
    pub invitation: Invitation,
    /// The signature of `invitation.by` over its digest.
    pub signature: Signature,
}

/// What a guest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// By whose leave.
    pub invitation: SignedInvitation,
    /// What it is called.
    pub name: String,
    /// Where it can be dialled.
    pub addresses: Vec<SocketAddr>,
}

/// What a guest is told who is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Whose word counts when others join or are struck off.
    pub inviters: Vec<PublicKey>,
    /// The members, the host among them.
    pub contacts: Vec<Contact>,
    /// What is said of members.
    pub facts: Vec<SignedFact>,
}

/// Why somebody is not let in.
///
/// Fault: the guest, or whoever gave it the invitation. Changed: nothing. Again: with another invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The request is no request.
    #[error("the request is malformed")]
    Malformed,
    /// The invitation is not of this node, or its signature does not hold.
    #[error("the invitation was not signed by this node")]
    Forged,
    /// It is for another mesh.
    #[error("the invitation is for another mesh")]
    Mesh,
    /// It has ended.
    #[error("the invitation has ended")]
    Expired,
    /// It is for another guest.
    #[error("the invitation is for another guest")]
    Guest,
    /// Somebody has joined by it.
    #[error("the invitation was used")]
    Used,
    /// Its host may not invite any more.
    #[error("this node may not invite")]
    NoInviter,
    /// The guest is a member.
    #[error("the guest is a member already")]
    Member,
    /// There are as many members as there may be.
    #[error("there are as many members as there may be")]
    Full,
    /// The host could not write it down. Again: yes.
    #[error("the host could not save it")]
    NotSaved,
}

impl Invitation {
    fn digest(&self) -> Digest {
        Digest::of(Purpose::Invitation, &encode(self))
    }

    /// Signs it. `key` is that of `by`.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedInvitation {
        let signature = key.sign(self.digest().as_bytes());
        SignedInvitation { invitation: self, signature }
    }
}

impl SignedInvitation {
    /// Whether its signature holds and it keeps within its bounds.
    #[must_use]
    pub fn holds(&self) -> bool {
        let digest = self.invitation.digest();
        self.invitation.addresses.len() <= ADDRESSES_MAX
            && self.invitation.by.verify(digest.as_bytes(), &self.signature).is_ok()
    }

    /// As text, to be handed to the guest.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{TEXT_HEAD}{}", hex(&encode(self)))
    }

    /// The invitation in a text, if it is one and its signature holds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(TEXT_HEAD)?;
        if digits.len() > INVITATION_BYTES_MAX * 2 {
            return None;
        }
        decode::<Self>(&unhex(digits)?).ok().filter(Self::holds)
    }
}
