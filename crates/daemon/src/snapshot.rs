//! Decides how a snapshot is one value that can be carried anywhere.
//!
//! A snapshot carries no title: whoever imports one gets state and not the right to be the daemon.
//!
//! ```text
//! "WHIMBREL SNAPSHOT" ‖ version u8 (1)
//! ‖ length u32 ‖ manifest
//! ‖ count u32 ‖ (length u32 ‖ chunk) …     in the order of their names
//! ‖ digest of all before                   (numbers are little-endian)
//! ```
//!
//! # Invariants
//!
//! * S1 (complete): it holds each chunk that its manifest names, and no other.
//!
//! # Limits
//!
//! * [`SNAPSHOT_BYTES_MAX`]: more is refused.

use bytes::{Buf, Bytes};
use thiserror::Error;
use whimbrel_wire::limits::{CHUNK_BYTES_MAX, CHUNK_LISTS_MAX, LUGGAGE_CHUNKS_MAX};
use whimbrel_wire::{
    ChunkRef, Digest, EntityId, Kind, Ledger, Luggage, Manifest, Purpose, decode, encode,
};

use crate::body::Body;
use crate::capture::{Capture, CaptureError};
use crate::host::Host;
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::restore::{ChunkSource, RestoreError, StateReader, read_luggage};
use crate::shelf::ChunkShelf;

const MAGIC: &[u8] = b"WHIMBREL SNAPSHOT";
const VERSION: u8 = 1;
const DIGEST_BYTES: usize = 32;

/// Longest manifest: its lists and luggage at their limits, and room for the rest.
const MANIFEST_BYTES_MAX: usize = (CHUNK_LISTS_MAX + LUGGAGE_CHUNKS_MAX) * 40 + 4096;

/// The state of a daemon at a position, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSnapshot {
    manifest: Manifest,
    luggage: Luggage,
    chunks: ChunkShelf,
}

/// Why there is no snapshot. Nothing else changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes do not start like a snapshot. Fault: caller. Again: with a snapshot.
    #[error("this is no snapshot")]
    Foreign,
    /// It was written in another format. Fault: caller. Again: with a build that reads it.
    #[error("the snapshot has format {version}, this build reads {VERSION}")]
    Version {
        /// Which.
        version: u8,
    },
    /// Truncated or changed. Fault: whoever kept it. Again: with a good copy.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Longer than [`SNAPSHOT_BYTES_MAX`]. Fault: caller. Again: no.
    #[error("the snapshot of {bytes} bytes is too long for one value")]
    TooLarge {
        /// How long.
        bytes: u64,
    },
    /// Its chunks are not those that its manifest names. Fault: whoever made it. Again: no.
    #[error(transparent)]
    Content(#[from] RestoreError),
    /// The daemon could not be captured. Fault: stated there. Again: stated there.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

impl StateSnapshot {
    /// The snapshot of what `capture` froze, with what else belongs to the daemon.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Capture`], [`SnapshotError::TooLarge`].
    pub fn of(capture: Capture, ledger: Ledger) -> Result<Self, SnapshotError> {
        let mut shelf = ChunkShelf::new();
        let manifest = capture.write(&mut shelf)?.manifest(ledger, &mut shelf)?;
        Self::gather(manifest, &mut shelf)
    }

    /// The snapshot of `manifest` with its chunks from `source`.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Content`], [`SnapshotError::TooLarge`].
    pub fn gather(manifest: Manifest, source: &mut dyn ChunkSource) -> Result<Self, SnapshotError> {
        if manifest.state.bytes > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge { bytes: manifest.state.bytes });
        }
        let mut gathering = Gathering { source, chunks: ChunkShelf::new() };
        let luggage = read_luggage(&manifest, &mut gathering)?;
        let mut reader = StateReader::new(&manifest.state, &mut gathering);
        while reader.next_list()?.is_some() {
            while reader.next_chunk()?.is_some() {}
        }
        reader.finish()?;
        let chunks = gathering.chunks;
        Ok(Self { manifest, luggage, chunks })
    }

    /// The bytes of this snapshot.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        append(&mut bytes, &encode(&self.manifest));
        bytes.extend_from_slice(&word(self.chunks.len()));
        for (_, chunk) in self.chunks.iter() {
            append(&mut bytes, chunk);
        }
        let digest = Digest::of(Purpose::Snapshot, &bytes);
        bytes.extend_from_slice(digest.as_bytes());
        bytes.into()
    }

    /// The snapshot that `bytes` are, without a copy of its chunks.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] says what is wrong with them.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, SnapshotError> {
        if bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge { bytes: bytes.len() as u64 });
        }
        if !bytes.starts_with(MAGIC) {
            return Err(SnapshotError::Foreign);
        }
        let version = *bytes.get(MAGIC.len()).ok_or(SnapshotError::Damaged)?;
        if version != VERSION {
            return Err(SnapshotError::Version { version });
        }
        let start = MAGIC.len() + 1;
        let end = bytes.len().checked_sub(DIGEST_BYTES).filter(|&end| end >= start);
        let end = end.ok_or(SnapshotError::Damaged)?;
        let (content, digest) = bytes.split_at(end);
        if Digest::of(Purpose::Snapshot, content).as_bytes() != digest {
            return Err(SnapshotError::Damaged);
        }
        Self::from_content(bytes.slice(start..end))
    }

    fn from_content(mut rest: Bytes) -> Result<Self, SnapshotError> {
        let manifest = take(&mut rest, MANIFEST_BYTES_MAX)?;
        let manifest: Manifest = decode(&manifest).map_err(|_| SnapshotError::Damaged)?;
        let count = take_word(&mut rest)?;
        let mut shelf = ChunkShelf::new();
        let mut before = None;
        for _ in 0..count {
            let chunk = take(&mut rest, CHUNK_BYTES_MAX)?;
            let name = ChunkRef::of(&chunk);
            if before.is_some_and(|before| before >= name) {
                return Err(SnapshotError::Damaged);
            }
            before = Some(name);
            shelf.insert(name, chunk);
        }
        let snapshot = Self::gather(manifest, &mut shelf)?;
        let complete = rest.is_empty() && snapshot.chunks.len() == shelf.len();
        if complete { Ok(snapshot) } else { Err(SnapshotError::Damaged) }
    }

    /// Whose state it is.
    #[must_use]
    pub fn entity_id(&self) -> EntityId {
        self.manifest.entity
    }

    /// What can read it.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.manifest.kind
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What travels beside the state.
    #[must_use]
    pub fn luggage(&self) -> &Luggage {
        &self.luggage
    }

    /// All chunks: of the state, of its lists and of the luggage.
    #[must_use]
    pub fn chunks(&self) -> &ChunkShelf {
        &self.chunks
    }

    /// The host of this daemon, in the fresh `body` that was built for `kind`.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; no host exists then.
    pub fn host(&self, kind: &Kind, body: Box<dyn Body>) -> Result<Host, RestoreError> {
        // A copy of the names and not of the bytes.
        let mut chunks = self.chunks.clone();
        Host::restore(kind, &self.manifest, &self.luggage.host, body, &mut chunks)
    }
}

/// Keeps each chunk that was asked for.
struct Gathering<'a> {
    source: &'a mut dyn ChunkSource,
    chunks: ChunkShelf,
}

impl ChunkSource for Gathering<'_> {
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, crate::restore::SourceError> {
        if let Some(bytes) = self.chunks.get(chunk) {
            return Ok(bytes.clone());
        }
        let bytes = self.source.read(chunk)?;
        self.chunks.insert(*chunk, bytes.clone());
        Ok(bytes)
    }
}

fn word(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn append(bytes: &mut Vec<u8>, piece: &[u8]) {
    bytes.extend_from_slice(&word(piece.len()));
    bytes.extend_from_slice(piece);
}

fn take_word(rest: &mut Bytes) -> Result<usize, SnapshotError> {
    let word = rest.try_get_u32_le().map_err(|_| SnapshotError::Damaged)?;
    Ok(word as usize)
}

fn take(rest: &mut Bytes, longest: usize) -> Result<Bytes, SnapshotError> {
    let length = take_word(rest)?;
    if length > longest || length > rest.len() {
        return Err(SnapshotError::Damaged);
    }
    Ok(rest.split_to(length))
}
