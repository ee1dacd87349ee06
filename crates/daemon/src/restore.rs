//! Decides how the chunks of a snapshot become a state again, and what is wrong when they do not.
//!
//! A [`StateReader`] walks the lists of a manifest and hands out chunk by chunk, each checked
//! against its name, so that a body never sees bytes that the manifest does not name. Where the
//! bytes come from is decided by the [`ChunkSource`].
//!
//! # Limits
//!
//! * [`CHUNK_LIST_LENGTH_MAX`]: a longer list is refused.
//! * [`WHOLE_BYTES_MAX`]: a longer state is not read into one buffer.

use bytes::Bytes;
use thiserror::Error;
use whimbrel_wire::limits::{CHUNK_BYTES_MAX, CHUNK_LIST_LENGTH_MAX};
use whimbrel_wire::{ChunkList, ChunkRef, Kind, Luggage, Manifest, StateRef, StateVersion, decode};

use crate::limits::WHOLE_BYTES_MAX;

/// Gives the chunks of a snapshot.
pub trait ChunkSource {
    /// The bytes of `chunk`. They need not be right: whoever asks checks them.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when there are none to be had.
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, SourceError>;
}

/// A chunk that could not be read.
///
/// Fault: surroundings. Changed: nothing. Again: once the cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the chunk could not be read: {0}")]
pub struct SourceError(pub String);

/// Why a snapshot did not become a daemon. No daemon exists afterwards and nothing else changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot is of another kind. Fault: caller. Again: with the right factory.
    #[error("the snapshot is of kind {found}")]
    Kind {
        /// Which.
        found: Kind,
    },
    /// The kind does not read this version of its state. Fault: caller. Again: with another
    /// build.
    #[error("the kind does not read version {found} of its state")]
    Version {
        /// Which.
        found: StateVersion,
    },
    /// See [`SourceError`].
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The bytes of a chunk are not those that its name stands for. Fault: peer or disk. Again:
    /// with the right bytes.
    #[error("a chunk of the snapshot has the wrong digest or length")]
    Chunk,
    /// The lists do not add up to what the manifest says, or exceed a limit. Fault: peer. Again:
    /// no.
    #[error("the sizes of the snapshot do not agree with its manifest")]
    Sizes,
    /// The chunks are what they claim to be, and no state of this kind. Fault: peer or the kind.
    /// Again: no.
    #[error("the state is malformed: {0}")]
    Malformed(&'static str),
    /// The kind itself declines the state. Fault: peer or the kind. Again: no.
    #[error("the daemon declined the state: {0}")]
    Declined(String),
    /// The state is longer than what may be read into one buffer. Fault: the kind. Again: when
    /// it keeps its state in pages.
    #[error("the state of {bytes} bytes is too long for a daemon without pages")]
    TooLarge {
        /// How long.
        bytes: u64,
    },
    /// The daemon panicked while it read its state. Fault: the kind. Again: with another build.
    #[error("the daemon panicked while it read its state: {0}")]
    Panicked(String),
}

impl RestoreError {
    /// The kind declines the state because of `reason`.
    pub fn declined(reason: impl Into<String>) -> Self {
        Self::Declined(reason.into())
    }
}

/// Hands out a state chunk by chunk.
pub struct StateReader<'a> {
    state: &'a StateRef,
    source: &'a mut dyn ChunkSource,
    lists: usize,
    list: std::vec::IntoIter<ChunkRef>,
    chunks: u64,
    bytes: u64,
}

impl<'a> StateReader<'a> {
    /// A reader of `state` whose chunks are in `source`.
    #[must_use]
    pub fn new(state: &'a StateRef, source: &'a mut dyn ChunkSource) -> Self {
        Self { state, source, lists: 0, list: Vec::new().into_iter(), chunks: 0, bytes: 0 }
    }

    /// How many bytes the manifest claims. A claim is not to be allocated on.
    #[must_use]
    pub fn claimed_bytes(&self) -> u64 {
        self.state.bytes
    }

    /// Goes to the next list and says its name; none after the last one. Chunks of the list
    /// before that were not asked for are passed over and then missing in the end.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] when the list is not there, not itself, empty or too long.
    pub fn next_list(&mut self) -> Result<Option<ChunkRef>, RestoreError> {
        let Some(name) = self.state.lists.get(self.lists) else { return Ok(None) };
        let bytes = checked(self.source, name)?;
        let ChunkList(list) =
            decode(&bytes).map_err(|_| RestoreError::Malformed("a list of chunks is broken"))?;
        if list.is_empty() || list.len() > CHUNK_LIST_LENGTH_MAX {
            return Err(RestoreError::Sizes);
        }
        self.lists += 1;
        self.list = list.into_iter();
        Ok(Some(*name))
    }

    /// The next chunk of the present list; none after its last one.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] when the chunk is not there, not itself, empty or one too many.
    pub fn next_chunk(&mut self) -> Result<Option<(ChunkRef, Bytes)>, RestoreError> {
        let Some(name) = self.list.next() else { return Ok(None) };
        self.chunks += 1;
        self.bytes += u64::from(name.bytes);
        let claimed = self.chunks <= u64::from(self.state.chunks) && self.bytes <= self.state.bytes;
        if !claimed || name.bytes == 0 {
            return Err(RestoreError::Sizes);
        }
        Ok(Some((name, checked(self.source, &name)?)))
    }

    /// All chunks one after the other.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; also when the state is longer than [`WHOLE_BYTES_MAX`].
    pub fn read_whole(&mut self) -> Result<Vec<u8>, RestoreError> {
        if self.state.bytes > WHOLE_BYTES_MAX {
            return Err(RestoreError::TooLarge { bytes: self.state.bytes });
        }
        let mut whole = Vec::new();
        while self.next_list()?.is_some() {
            while let Some((_, bytes)) = self.next_chunk()? {
                whole.extend_from_slice(&bytes);
            }
        }
        Ok(whole)
    }

    /// Whether all of the state was read and is as much as the manifest says.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Sizes`] when it is not.
    pub fn finish(&mut self) -> Result<(), RestoreError> {
        let all = self.lists == self.state.lists.len()
            && self.list.len() == 0
            && self.chunks == u64::from(self.state.chunks)
            && self.bytes == self.state.bytes;
        if all { Ok(()) } else { Err(RestoreError::Sizes) }
    }
}

/// The luggage of a snapshot.
///
/// # Errors
///
/// [`RestoreError`] when it is not there or not what the manifest names.
pub fn read_luggage(
    manifest: &Manifest,
    source: &mut dyn ChunkSource,
) -> Result<Luggage, RestoreError> {
    if !manifest.is_sound() {
        return Err(RestoreError::Sizes);
    }
    let mut bytes = Vec::new();
    for name in &manifest.luggage {
        bytes.extend_from_slice(&checked(source, name)?);
    }
    decode(&bytes).map_err(|_| RestoreError::Malformed("the luggage is broken"))
}

fn checked(source: &mut dyn ChunkSource, name: &ChunkRef) -> Result<Bytes, RestoreError> {
    if name.bytes as usize > CHUNK_BYTES_MAX {
        return Err(RestoreError::Sizes);
    }
    let bytes = source.read(name)?;
    if name.names(&bytes) { Ok(bytes) } else { Err(RestoreError::Chunk) }
}
