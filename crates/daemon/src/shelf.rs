//! Decides how chunks are kept in memory: by name, once each.

use std::collections::BTreeMap;

use bytes::Bytes;
use whimbrel_wire::ChunkRef;

use crate::capture::{ChunkSink, SinkError};
use crate::restore::{ChunkSource, SourceError};

/// Chunks in memory, to write to and to read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkShelf(BTreeMap<ChunkRef, Bytes>);

impl ChunkShelf {
    /// A shelf of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The chunks by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ChunkRef, &Bytes)> {
        self.0.iter()
    }

    /// The bytes that are kept under a name.
    #[must_use]
    pub fn get(&self, chunk: &ChunkRef) -> Option<&Bytes> {
        self.0.get(chunk)
    }

    /// Keeps `bytes` under the name `chunk`, whether they are right or not.
    pub fn insert(&mut self, chunk: ChunkRef, bytes: Bytes) {
        self.0.insert(chunk, bytes);
    }
}

impl ChunkSink for ChunkShelf {
    fn wants(&mut self, chunk: &ChunkRef) -> Result<bool, SinkError> {
        Ok(!self.0.contains_key(chunk))
    }

    fn put(&mut self, chunk: ChunkRef, bytes: Bytes) -> Result<(), SinkError> {
        self.insert(chunk, bytes);
        Ok(())
    }
}

impl ChunkSource for ChunkShelf {
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, SourceError> {
        let missing = || SourceError("it is not there".to_owned());
        self.0.get(chunk).cloned().ok_or_else(missing)
    }
}
