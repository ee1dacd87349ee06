//! Decides how chunks of snapshots are kept and when they may go.
//!
//! A chunk is named by its digest, so the same bytes are kept once. Nothing counts references:
//! what no manifest names is found by marking and sweeping, in small steps.
//!
//! # Collecting beside writers
//!
//! A writer puts chunks (or is told that they are present) before the manifest that names them is
//! saved. In between nothing on disk protects them, so the writer takes a [`Hold`] before its
//! first `put` or `missing` and drops it after the manifest was saved. Whatever is put or asked
//! for while a hold lives stays until a collection that began after the hold ended.
//!
//! A collection begins with a hold of its own ([`Marking::begin`]), which reaches back to the
//! oldest one that lives; *then* its caller reads the records and marks their manifests. A writer
//! that ended before is seen by its manifest, one that did not by its hold.
//!
//! A step of the sweep is one atomic step of the store, so a crash leaves fewer unnamed chunks and
//! nothing else.
//!
//! # Limits
//!
//! * A collection remembers 8 bytes for each chunk in use, each hold 32 bytes for each chunk that
//!   was touched. Two digests that share 8 bytes keep each other alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use whimbrel_mutants::Mutant;
use whimbrel_wire::{ChunkList, ChunkRef, Digest, Manifest, decode};

use crate::error::StoreError;

/// Keeps chunks. Calls block; many threads may call at once.
pub trait Chunks: Send + Sync {
    /// Keeps these chunks: all of them, durable on return. Those that are there are passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError::WrongChunk`] changes nothing. After [`StoreError::Failed`] any number of them
    /// may have been kept, which harms nobody: the call may be repeated.
    fn put(&self, chunks: &[(ChunkRef, Bytes)]) -> Result<(), StoreError>;

    /// The bytes of a chunk, checked against the digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when they are others.
    fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError>;

    /// Which of `chunks` (by index, rising) are not here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<usize>, StoreError>;

    /// Keeps a collection away from everything that is put or asked for from here on.
    fn hold(&self) -> Hold;

    /// One step of a sweep: looks at up to `count_max` chunks after `after` in the order of their
    /// digests and removes those that `keep` does not want and no hold protects. For [`Sweep`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]; nothing was removed.
    fn sweep(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        floor: u64,
        after: Option<Digest>,
        count_max: usize,
    ) -> Result<Swept, StoreError>;
}

/// What one step of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many chunks it removed.
    pub removed: usize,
    /// The last chunk it looked at; none when there were no more.
    pub last: Option<Digest>,
}

/// Protects what a writer touches until its manifest is saved.
#[must_use = "chunks are protected only while the hold lives"]
#[derive(Debug)]
pub struct Hold {
    id: u64,
    floor: u64,
    touched: Arc<Touched>,
}

/// A collection that learns what is in use.
#[must_use = "a collection that is dropped removes nothing"]
#[derive(Debug)]
pub struct Marking {
    hold: Hold,
    live: BTreeSet<u64>,
}

/// A collection that removes what is not in use.
#[must_use = "a sweep removes nothing until it is stepped"]
#[derive(Debug)]
pub struct Sweep {
    marking: Marking,
    after: Option<Digest>,
}

/// What was put or asked for while anybody holds.
#[derive(Debug, Default)]
pub(crate) struct Touched(Mutex<Moments>);

/// Chunks by when they were last touched, in a count of holds.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    count: u64,
    /// Of each hold: how far back it reaches, which is to the oldest that lived when it began.
    floors: BTreeMap<u64, u64>,
    touched: BTreeMap<Digest, u64>,
}

impl Marking {
    /// Begins a collection. Call this before reading which manifests are in use.
    pub fn begin(chunks: &dyn Chunks) -> Self {
        Self { hold: chunks.hold(), live: BTreeSet::new() }
    }

    /// Everything that `manifest` names, directly or through its lists, is in use.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when a list is missing or is none: then nothing should be removed,
    /// and this collection is gone.
    pub fn mark(mut self, chunks: &dyn Chunks, manifest: &Manifest) -> Result<Self, StoreError> {
        for chunk in &manifest.luggage {
            self.live.insert(chunk.digest.prefix());
        }
        for list in &manifest.state.lists {
            self.live.insert(list.digest.prefix());
            let bytes = chunks.get(&list.digest)?;
            let missing = || StoreError::Damaged(format!("chunk list {} is missing", list.digest));
            let ChunkList(named) = decode(&bytes.ok_or_else(missing)?)
                .map_err(|error| StoreError::Damaged(format!("chunk list: {error}")))?;
            self.live.extend(named.iter().map(|chunk| chunk.digest.prefix()));
        }
        Ok(self)
    }

    /// This chunk is in use although no manifest names it yet.
    pub fn pin(&mut self, digest: &Digest) {
        self.live.insert(digest.prefix());
    }

    /// All manifests are marked.
    pub fn sweep(self) -> Sweep {
        Sweep { marking: self, after: None }
    }
}

impl Sweep {
    /// Looks at up to `count_max` more chunks. Over when [`Swept::last`] is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`]; the step may be repeated.
    pub fn step(&mut self, chunks: &dyn Chunks, count_max: usize) -> Result<Swept, StoreError> {
        let live = &self.marking.live;
        let keep = |digest: &Digest| live.contains(&digest.prefix());
        let swept = chunks.sweep(&keep, self.marking.hold.floor, self.after, count_max)?;
        self.after = swept.last;
        Ok(swept)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut moments = self.touched.lock();
        moments.floors.remove(&self.id);
        match moments.floors.values().min().copied() {
            None => moments.touched.clear(),
            Some(floor) if self.floor < floor => {
                moments.touched.retain(|_, moment| floor <= *moment);
            }
            Some(_) => {}
        }
    }
}

impl Touched {
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        let mut moments = self.lock();
        moments.count += 1;
        let id = moments.count;
        let floor = moments.floors.keys().next().copied().unwrap_or(id);
        moments.floors.insert(id, floor);
        Hold { id, floor, touched: Arc::clone(self) }
    }

    /// A writer touches these before it writes or reads.
    pub(crate) fn touch<'d>(&self, digests: impl Iterator<Item = &'d Digest>) {
        let mut moments = self.lock();
        if moments.floors.is_empty() {
            return;
        }
        let count = moments.count;
        moments.touched.extend(digests.map(|digest| (*digest, count)));
    }

    /// A sweep keeps this until its removals are done: a touch comes before or after, never in
    /// between.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Moments> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moments {
    /// Whether the chunk was touched since `floor`.
    pub(crate) fn protects(&self, digest: &Digest, floor: u64) -> bool {
        self.touched.get(digest).is_some_and(|moment| floor <= *moment)
    }
}

/// Whether all bytes are what their names say.
pub(crate) fn check(chunks: &[(ChunkRef, Bytes)]) -> Result<(), StoreError> {
    let wrong = chunks.iter().position(|(chunk, bytes)| !chunk.names(bytes));
    let wrong = wrong.filter(|_| !Mutant::SnapshotsMixed.is_on());
    wrong.map_or(Ok(()), |index| Err(StoreError::WrongChunk { index }))
}

/// Whether the chunks that a manifest itself names are there: its lists and its luggage. What the
/// lists name is for the writer to have saved.
pub(crate) fn names_present(chunks: &dyn Chunks, manifest: &Manifest) -> Result<bool, StoreError> {
    let named: Vec<_> = manifest.state.lists.iter().chain(&manifest.luggage).copied().collect();
    Ok(named.is_empty() || chunks.missing(&named)?.is_empty())
}

/// Chunks in memory.
#[derive(Default)]
pub struct MemoryChunks {
    chunks: Mutex<BTreeMap<Digest, Bytes>>,
    touched: Arc<Touched>,
}

impl MemoryChunks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Bytes>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunks for MemoryChunks {
    fn put(&self, chunks: &[(ChunkRef, Bytes)]) -> Result<(), StoreError> {
        check(chunks)?;
        self.touched.touch(chunks.iter().map(|(chunk, _)| &chunk.digest));
        let mut kept = self.lock();
        for (chunk, bytes) in chunks {
            kept.entry(chunk.digest).or_insert_with(|| bytes.clone());
        }
        Ok(())
    }

    fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.lock().get(digest).cloned())
    }

    fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<usize>, StoreError> {
        self.touched.touch(chunks.iter().map(|chunk| &chunk.digest));
        let kept = self.lock();
        let absent = |(_, chunk): &(usize, &ChunkRef)| !kept.contains_key(&chunk.digest);
        Ok(chunks.iter().enumerate().filter(absent).map(|(index, _)| index).collect())
    }

    fn hold(&self) -> Hold {
        self.touched.hold()
    }

    fn sweep(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        floor: u64,
        after: Option<Digest>,
        count_max: usize,
    ) -> Result<Swept, StoreError> {
        let moments = self.touched.lock();
        let mut kept = self.lock();
        let later = kept.keys().filter(|digest| after.is_none_or(|after| after < **digest));
        let seen: Vec<_> = later.take(count_max.max(1)).copied().collect();
        let dead = seen.iter().filter(|digest| !keep(digest) && !moments.protects(digest, floor));
        let mut swept = Swept { removed: 0, last: seen.last().copied() };
        for digest in dead {
            kept.remove(digest);
            swept.removed += 1;
        }
        Ok(swept)
    }
}
