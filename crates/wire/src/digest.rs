//! Decides how bytes become digests: BLAKE3 in keyed mode, one key per purpose.
//!
//! The keys are public constants. They separate purposes, so that bytes hashed for one can never
//! pass for another; keyed mode costs nothing over plain BLAKE3.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hex::unhex_32;

/// A 32-byte BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

/// What a digest is for. Digests of different purposes never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// One output in the chain of a daemon.
    Link,
    /// The chain passing through a deed.
    HandOver,
    /// The start of a chain.
    Genesis,
    /// A deed, for signing and for naming it.
    Deed,
    /// A chunk of a snapshot.
    Chunk,
    /// The state as a whole, from the digests of its chunks.
    State,
    /// A manifest, which stands for the snapshot.
    Snapshot,
    /// A node's id from its key.
    Node,
    /// A daemon's index from its key.
    Origin,
    /// Deterministic randomness inside a daemon.
    Random,
    /// An attempt derived from an earlier one.
    Attempt,
    /// The definition of a statechart, with those of its children.
    Definition,
    /// A statechart instance that was written down.
    Checkpoint,
    /// What a node says of itself to the others, for signing.
    Report,
    /// What is said of a member, for signing and for naming it.
    Membership,
    /// Leave to join a mesh, for signing.
    Invitation,
    /// A block of a permission token.
    Token,
    /// A line of an audit log.
    Audit,
}

impl Digest {
    /// The digest that stands for "none yet".
    pub const ZERO: Self = Self([0; 32]);

    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest that is written so: 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex_32(text).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of `bytes` for `purpose`.
    #[must_use]
    pub fn of(purpose: Purpose, bytes: &[u8]) -> Self {
        Self(*blake3::keyed_hash(purpose.key(), bytes).as_bytes())
    }

    /// The first eight bytes as a little-endian number, for indices.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(first)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Purpose {
    /// The key of this purpose: its name, padded with zeros.
    const fn key(self) -> &'static [u8; 32] {
        match self {
            Self::Link => b"whimbrel link 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::HandOver => b"whimbrel hand-over 1\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Genesis => b"whimbrel genesis 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Deed => b"whimbrel deed 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Chunk => b"whimbrel chunk 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::State => b"whimbrel state 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Snapshot => b"whimbrel snapshot 1\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Node => b"whimbrel node 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Origin => b"whimbrel origin 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Random => b"whimbrel random 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Attempt => b"whimbrel attempt 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Definition => b"whimbrel definition 1\0\0\0\0\0\0\0\0\0\0\0",
            Self::Checkpoint => b"whimbrel checkpoint 1\0\0\0\0\0\0\0\0\0\0\0",
            Self::Membership => b"whimbrel membership 1\0\0\0\0\0\0\0\0\0\0\0",
            Self::Invitation => b"whimbrel invitation 1\0\0\0\0\0\0\0\0\0\0\0",
            Self::Report => b"whimbrel report 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Token => b"whimbrel token 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Audit => b"whimbrel audit 1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }
}

/// A digest of bytes that arrive in pieces.
pub struct DigestWriter(blake3::Hasher);

impl DigestWriter {
    /// An empty one for `purpose`.
    #[must_use]
    pub fn new(purpose: Purpose) -> Self {
        Self(blake3::Hasher::new_keyed(purpose.key()))
    }

    /// Adds `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The digest of all that was written.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }

    /// Fills `out` with as many bytes as it has room for (BLAKE3's extendable output).
    pub fn fill(&self, out: &mut [u8]) {
        self.0.finalize_xof().fill(out);
    }
}
