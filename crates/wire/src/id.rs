//! Decides how things are named: nodes, daemons, epochs, positions, attempts, stores, kinds.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::{Digest, Purpose};
use crate::key::PublicKey;
use crate::limits::KIND_BYTES_MAX;

/// Declares a number with a meaning: private field, short greppable `Display`.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name($inner);

        impl $name {
            /// The id with this number.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

/// Declares a hexadecimal 128-bit id.
macro_rules! wide {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(u128);

        impl $name {
            /// The id with this number.
            #[must_use]
            pub const fn new(number: u128) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> u128 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:08x}"), self.0 >> 96)
            }
        }
    };
}

/// Gives a counting id its first value and its successor.
macro_rules! counts {
    ($name:ident, $first:literal) => {
        impl $name {
            /// Where counting starts.
            pub const FIRST: Self = Self($first);

            /// The one after this. A counter of 64 bits does not run out; it stays at its end.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
    };
}

/// Declares what counts: a number with a meaning, a start and a successor.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $first:literal) => {
        number!($(#[$doc])* $name(u64), $prefix);
        counts!($name, $first);
    };
}

number!(
    /// A node of the mesh: the first eight bytes of the digest of its public key.
    NodeId(u64),
    "n"
);
number!(
    /// An index for a daemon, derived from its key. Two daemons may share one; wherever it
    /// matters the whole [`EntityId`] is compared.
    OriginHash(u64),
    "o"
);
counter!(
    /// How many times a daemon has been handed over, counted from its birth at 1. Only a verified
    /// deed raises it.
    Epoch,
    "e",
    1
);
counter!(
    /// A place in a daemon's journal: how many inputs it has taken. Before the first input it is 0.
    Position,
    "p",
    0
);
counter!(
    /// How many outputs a daemon has produced. Before the first output it is 0.
    Sequence,
    "s",
    0
);
number!(
    /// A timer inside a daemon, named by the daemon.
    TimerId(u64),
    "t"
);
number!(
    /// The version of the format in which a kind writes its state.
    StateVersion(u32),
    "v"
);
impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<u64> for OriginHash {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

wide!(
    /// One try at one move: 128 random bits.
    AttemptId,
    "a"
);
wide!(
    /// One data folder: 128 random bits from when it was made. A wiped disk has another.
    StoreId,
    "d"
);
wide!(
    /// One client that sends events: 128 random bits of its own choice.
    ClientId,
    "c"
);

impl AttemptId {
    /// The attempt that follows this one when a daemon turns out not to replay: the same move, by
    /// freeze-and-copy, under an id that everybody can derive and nobody confuses.
    #[must_use]
    pub fn derived(self) -> Self {
        let digest = Digest::of(Purpose::Attempt, &self.0.to_le_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&digest.as_bytes()[..16]);
        Self(u128::from_le_bytes(half))
    }
}

/// A daemon: its ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntityId([u8; 32]);

/// As bytes, the first eight at once: keys differ there, and maps compare them all the time.
impl Ord for EntityId {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((mine, rest), (theirs, others)) = (self.split(), other.split());
        mine.cmp(&theirs).then_with(|| rest.cmp(others))
    }
}

impl PartialOrd for EntityId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl EntityId {
    /// The daemon with this public key. Whether the bytes are a valid key shows when a signature
    /// is checked.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of its public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn split(&self) -> (u64, &[u8]) {
        let [a, b, c, d, e, f, g, h, rest @ ..] = &self.0;
        (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
    }

    /// Its public key.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        PublicKey::from_bytes(self.0)
    }

    /// Its index.
    #[must_use]
    pub fn origin_hash(&self) -> OriginHash {
        OriginHash(Digest::of(Purpose::Origin, &self.0).prefix())
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("d")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name under which nodes register how to build a daemon: 1 to 128 bytes of UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kind(String);

/// A name that cannot be a kind.
///
/// Fault: caller. Changed: nothing. Again: with another name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a kind is named by 1 to {KIND_BYTES_MAX} bytes, not {length}")]
pub struct KindError {
    length: usize,
}

impl Kind {
    /// The kind of this name.
    ///
    /// # Errors
    ///
    /// [`KindError`] when the name is empty or too long.
    pub fn new(name: impl Into<String>) -> Result<Self, KindError> {
        let name = name.into();
        if name.is_empty() || name.len() > KIND_BYTES_MAX {
            return Err(KindError { length: name.len() });
        }
        Ok(Self(name))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Kind {
    type Error = KindError;

    fn try_from(name: String) -> Result<Self, KindError> {
        Self::new(name)
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.0
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
