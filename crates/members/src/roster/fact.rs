//! What is said of members, by whom, and whether it holds.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use whimbrel_wire::{Digest, NodeId, NodeKey, PublicKey, Purpose, Signature, encode};

/// How long a name of a node is at most, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// How many addresses a node has at most.
pub const ADDRESSES_MAX: usize = 8;

/// Names a mesh: what is said in one counts for nothing in another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeshId(u128);

impl MeshId {
    /// The mesh with this number, which should be drawn at random.
    #[must_use]
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The mesh of 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node as it is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its key.
    pub key: PublicKey,
    /// What it is called, at most [`NAME_BYTES_MAX`].
    pub name: String,
    /// Where it can be dialled, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
}

impl Contact {
    /// A node that is found like this. A name that is none is replaced by the id, and addresses that are too many
    /// are left out.
    #[must_use]
    pub fn new(key: PublicKey, name: &str, addresses: &[SocketAddr]) -> Self {
        let addresses = addresses.iter().take(ADDRESSES_MAX).copied().collect();
        let contact = Self { key, name: name.to_owned(), addresses };
        if contact.is_fit() { contact } else { Self { name: key.node_id().to_string(), ..contact } }
    }

    /// Its id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.key.node_id()
    }

    /// Whether it keeps within its bounds.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        self.name.len() <= NAME_BYTES_MAX
            && !self.name.is_empty()
            && self.name.bytes().all(letters)
            && self.addresses.len() <= ADDRESSES_MAX
    }
}

/// What is said of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Says {
    /// It may talk from here on.
    Joined {
        /// How it is found.
        contact: Contact,
        /// Whether it takes the place of whoever says this: any member may name its own successor.
        succeeds: bool,
    },
    /// It may not talk any more.
    Left,
}

/// Something said of one member. A later one takes the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// In which mesh.
    pub mesh: MeshId,
    /// Of whom.
    pub member: PublicKey,
    /// The how-manieth of that member, from 1 on.
    pub version: u64,
    /// What.
    pub says: Says,
    /// By whom.
    pub by: PublicKey,
}

/// A fact with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFact {
    /// What it says.
    pub fact: Fact,
    /// The signature of `fact.by` over the digest of the fact.
    pub signature: Signature,
}

impl Fact {
    /// The node that it is about.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.member.node_id()
    }

    /// The digest that names it, and that is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(Purpose::Membership, &encode(self))
    }

    /// Signs it. `key` is that of `by`.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedFact {
        let signature = key.sign(self.digest().as_bytes());
        SignedFact { fact: self, signature }
    }
}

impl SignedFact {
    /// Whether its signature holds and it keeps within its bounds.
    #[must_use]
    pub fn holds(&self) -> bool {
        let fact = &self.fact;
        let is_fit = match &fact.says {
            Says::Joined { contact, .. } => contact.is_fit() && contact.key == fact.member,
            Says::Left => true,
        };
        is_fit && fact.version > 0 && self.is_signed()
    }

    fn is_signed(&self) -> bool {
        self.fact.by.verify(self.fact.digest().as_bytes(), &self.signature).is_ok()
    }

    /// Whether this counts where both are known: the later one; of two that claim the same place, the one by
    /// which the member has left, else the one with the smaller digest. All nodes choose alike.
    #[must_use]
    pub fn beats(&self, other: &Self) -> bool {
        let rank = |signed: &Self| {
            let fact = &signed.fact;
            let digest = fact.digest();
            (fact.version, fact.says == Says::Left, std::cmp::Reverse(digest))
        };
        rank(self) > rank(other)
    }
}
