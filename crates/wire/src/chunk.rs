//! Decides how a snapshot names its pieces: by digest and length.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Purpose};

/// One chunk, named by what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many bytes: at most [`CHUNK_BYTES_MAX`](crate::limits::CHUNK_BYTES_MAX).
    pub bytes: u32,
}

/// A run of chunk references, itself stored and sent as a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkList(pub Vec<ChunkRef>);

impl ChunkRef {
    /// The name of these bytes. Bytes beyond the limit of a chunk never match any reference.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { digest: Digest::of(Purpose::Chunk, bytes), bytes: length }
    }

    /// Whether `bytes` are this chunk.
    #[must_use]
    pub fn names(&self, bytes: &[u8]) -> bool {
        u32::try_from(bytes.len()).is_ok_and(|length| length == self.bytes)
            && Digest::of(Purpose::Chunk, bytes) == self.digest
    }
}
