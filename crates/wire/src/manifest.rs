//! Decides what a snapshot is: a manifest that names its chunks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::channel::SubscriptionBinding;
use crate::chunk::ChunkRef;
use crate::digest::{Digest, Purpose};
use crate::frame::encode;
use crate::id::{EntityId, Epoch, Kind, StateVersion};
use crate::ledger::Ledger;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_LISTS_MAX, LUGGAGE_CHUNKS_MAX};
use crate::link::{CausalLink, Head};
use crate::time::Time;

/// The state of a daemon at a position, by the digests of its pieces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose state.
    pub entity: EntityId,
    /// What can read it.
    pub kind: Kind,
    /// In which format of that kind.
    pub version: StateVersion,
    /// In which epoch it was taken.
    pub epoch: Epoch,
    /// Where the daemon stood.
    pub head: Head,
    /// The link of its last output, if it ever put one out.
    pub last: Option<CausalLink>,
    /// The daemon's own time.
    pub time: Time,
    /// The state itself.
    pub state: StateRef,
    /// Chunks whose bytes, one after the other, encode a [`Luggage`].
    pub luggage: Vec<ChunkRef>,
}

/// The state as a list of lists of chunks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateRef {
    /// How many bytes all chunks hold.
    pub bytes: u64,
    /// How many chunks there are.
    pub chunks: u32,
    /// Chunks that each encode a [`ChunkList`](crate::ChunkList).
    pub lists: Vec<ChunkRef>,
}

/// What travels beside the state of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Luggage {
    /// Marks, answers and outbox.
    pub ledger: Ledger,
    /// What its host keeps for it (timers, seed), in the host's own format.
    pub host: Bytes,
    /// The channels that it listens to, for readers that do not know the host's own format, which
    /// is what counts.
    pub subscriptions: Vec<SubscriptionBinding>,
}

impl Manifest {
    /// The digest that stands for the whole snapshot.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(Purpose::Snapshot, &encode(self))
    }

    /// How many messages carry it in full: the manifest, its lists, its luggage, its chunks.
    #[must_use]
    pub fn messages(&self) -> u32 {
        let named = self.state.lists.len() + self.luggage.len();
        u32::try_from(named).unwrap_or(u32::MAX).saturating_add(self.state.chunks).saturating_add(1)
    }

    /// Whether its sizes are within the limits and agree with each other.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let named = self.state.lists.iter().chain(&self.luggage);
        self.state.lists.len() <= CHUNK_LISTS_MAX
            && self.luggage.len() <= LUGGAGE_CHUNKS_MAX
            && named.into_iter().all(|chunk| chunk.bytes as usize <= CHUNK_BYTES_MAX)
            && self.state.bytes <= u64::from(self.state.chunks) * CHUNK_BYTES_MAX as u64
    }
}

impl StateRef {
    /// The digest of the state alone: equal states in the same layout have equal digests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(Purpose::State, &encode(&self.lists))
    }
}
