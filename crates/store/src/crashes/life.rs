//! Decides what a store does until the power goes, and what it must hold after that.
//!
//! A life is drawn from a seed: groups of writes, snapshots with chunks, collections (alone, and
//! between the chunks of a snapshot and its manifest), keys, notes, tidying, and openings. A model
//! in memory does the same, and every answer is compared with the model's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use whimbrel_wire::{ChunkList, ChunkRef, Digest, EntityId, WriteError, encode};

use super::store::Store;
use super::workload::{STORE, Workload, copies};
use super::{Broken, Promise};
use crate::chunks::{Chunks, Marking, MemoryChunks, Sweep};
use crate::engine::{Engine, Journal, Vault};
use crate::error::StoreError;
use crate::memory::Memory;
use crate::vfs::image::Random;

/// Chunks that one step of a sweep looks at.
const SWEEP_STEP: usize = 3;

/// Keys and notes have this many names.
const NAMES: u64 = 3;

/// What is done at a time; coverage is counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    Open,
    Commit,
    Snapshot,
    Collect,
    Key,
    Wipe,
    Note,
    Tidy,
    Recover,
}

/// How one step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    /// The disk has stopped.
    Stopped,
}

/// One life, and what is known of it.
pub(super) struct Life {
    random: Random,
    workload: Workload,
    /// What was acknowledged.
    pub(super) held: Memory,
    /// The same with the step whose answer is not known.
    pub(super) perhaps: Option<Memory>,
    /// Chunks that must be there.
    kept: Arc<MemoryChunks>,
    /// Chunks that were ever put: all that may be there.
    pub(super) ever: BTreeMap<Digest, Bytes>,
    pub(super) deed: Deed,
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        let kept = Arc::new(MemoryChunks::new());
        let chunks: Arc<dyn Chunks> = kept.clone();
        Self {
            random: Random(seed),
            workload: Workload::new(seed),
            held: Memory::new(STORE, Some(chunks)),
            perhaps: None,
            kept,
            ever: BTreeMap::new(),
            deed: Deed::Open,
        }
    }

    /// Does one thing more.
    pub(super) fn step(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        match self.random.below(24) {
            0..=9 => self.commit(store),
            10..=12 => self.snapshot(store),
            13 | 14 => self.collect(store),
            15 | 16 => self.key(store),
            17 => self.wipe(store),
            18 => self.note(store),
            19..=22 => self.tidy(store),
            _ => self.open(store),
        }
    }

    pub(super) fn open(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Open;
        let outcome = store.open();
        self.ended(store, outcome.map(|_| ()), self.held.clone())
    }

    fn commit(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Commit;
        let group = self.workload.group(&self.held);
        self.write(store, &group)
    }

    /// All answers are the model's, or the disk has stopped and they say so.
    fn write(
        &mut self,
        store: &mut Store,
        group: &[whimbrel_wire::Write],
    ) -> Result<Ended, Broken> {
        let mut after = self.held.clone();
        let expected = after.commit(group);
        let answers = store.engine()?.commit(group);
        if answers == expected {
            self.held = after;
            return Ok(Ended::Well);
        }
        let unknown = answers.iter().any(|answer| matches!(answer, Err(WriteError::Unknown(_))));
        let failed = answers.iter().all(|answer| matches!(answer, Err(WriteError::Failed(_))));
        if !store.has_stopped() || !(unknown || failed) {
            return Err(Broken::of(Promise::Honest, format!("{answers:?}, not {expected:?}")));
        }
        self.perhaps = unknown.then_some(after);
        Ok(Ended::Stopped)
    }

    /// A snapshot: chunks first, then the manifest that names them. Sometimes a chunk is left
    /// out, and the manifest must be refused; sometimes a collection comes in between.
    fn snapshot(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Snapshot;
        let state: Vec<_> = (0..1 + self.random.below(3)).map(|_| self.chunk()).collect();
        let list = encode(&ChunkList(state.iter().map(|(chunk, _)| *chunk).collect()));
        let list = (ChunkRef::of(&list), Bytes::from(list));
        let luggage = self.chunk();
        let (lists, names) = ([list.0], [luggage.0]);
        let Some(publish) = self.workload.publish(&self.held, &lists, &names) else {
            return Ok(Ended::Well);
        };
        let mut batch = state;
        batch.push(list);
        if self.random.below(6) != 0 {
            batch.push(luggage);
        }
        let held = (store.chunks()?.hold(), self.kept.hold());
        for part in batch.chunks(2) {
            let part = part.to_vec();
            self.ever.extend(part.iter().map(|(chunk, bytes)| (chunk.digest, bytes.clone())));
            if let Err(error) = store.chunks()?.put(&part) {
                return self.ended(store, Err(error), self.held.clone());
            }
            self.keep(&part)?;
        }
        if self.random.below(3) == 0 && self.collect(store)? == Ended::Stopped {
            return Ok(Ended::Stopped);
        }
        self.deed = Deed::Snapshot;
        let ended = self.write(store, std::slice::from_ref(&publish))?;
        drop(held);
        Ok(ended)
    }

    fn keep(&self, chunks: &[(ChunkRef, Bytes)]) -> Result<(), Broken> {
        self.kept.put(chunks).map_err(Broken::model)
    }

    fn chunk(&mut self) -> (ChunkRef, Bytes) {
        // Some are equal to earlier ones.
        let mut random = Random(self.random.below(200));
        let length = 1 + random.below(9_000) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        (ChunkRef::of(&bytes), bytes.into())
    }

    /// A whole collection, of the store and of the model, step by step.
    fn collect(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Collect;
        let chunks = store.chunks()?.clone();
        let marked = mark(&*chunks, store.engine()?);
        let mut sweep = match marked {
            Ok(sweep) => sweep,
            Err(error) => {
                return self.ended(store, Err(error), self.held.clone());
            }
        };
        let mut model = mark(&*self.kept, &mut self.held).map_err(Broken::model)?;
        loop {
            let expected = model.step(&*self.kept, SWEEP_STEP).map_err(Broken::model)?;
            match sweep.step(&*chunks, SWEEP_STEP) {
                Ok(swept) if swept == expected && swept.last.is_none() => return Ok(Ended::Well),
                Ok(swept) if swept == expected => {}
                Ok(swept) => {
                    let what = format!("a sweep did {swept:?}, not {expected:?}");
                    return Err(Broken::of(Promise::NoHole, what));
                }
                Err(error) => {
                    return self.ended(store, Err(error), self.held.clone());
                }
            }
        }
    }

    fn name(&mut self) -> (EntityId, String) {
        let number = self.random.below(NAMES);
        (EntityId::from_bytes([number as u8; 32]), format!("note {number}"))
    }

    fn key(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Key;
        let (entity, _) = self.name();
        let sealed = self.random.next().to_le_bytes();
        let mut after = self.held.clone();
        after.put_key(&entity, &sealed).map_err(Broken::model)?;
        let outcome = store.engine()?.put_key(&entity, &sealed);
        self.ended(store, outcome, after)
    }

    fn wipe(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Wipe;
        let (entity, _) = self.name();
        let mut after = self.held.clone();
        after.drop_key(&entity).map_err(Broken::model)?;
        let outcome = store.engine()?.drop_key(&entity);
        self.ended(store, outcome, after)
    }

    fn note(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Note;
        let (_, name) = self.name();
        let bytes = self.random.next().to_le_bytes();
        let mut after = self.held.clone();
        after.set_note(&name, &bytes).map_err(Broken::model)?;
        let outcome = store.engine()?.set_note(&name, &bytes);
        self.ended(store, outcome, after)
    }

    fn tidy(&mut self, store: &mut Store) -> Result<Ended, Broken> {
        self.deed = Deed::Tidy;
        let outcome = store.engine()?.tidy_one();
        self.ended(store, outcome.map(|_| ()), self.held.clone())
    }

    /// `after` holds after success; after a failure that, or what was before.
    fn ended(
        &mut self,
        store: &Store,
        outcome: Result<(), StoreError>,
        after: Memory,
    ) -> Result<Ended, Broken> {
        match outcome {
            Ok(()) => {
                self.held = after;
                Ok(Ended::Well)
            }
            Err(_) if store.has_stopped() => {
                self.perhaps = Some(after);
                Ok(Ended::Stopped)
            }
            Err(error) => {
                Err(Broken::of(Promise::Honest, format!("nothing is wrong, and {error}")))
            }
        }
    }

    /// Whether the chunk has to be there.
    pub(super) fn must_keep(&self, digest: &Digest) -> Result<bool, Broken> {
        self.kept.get(digest).map(|found| found.is_some()).map_err(Broken::model)
    }

    /// From here on, the chunks that are there are those that have to be.
    pub(super) fn go_on(&mut self, held: Memory, chunks: &dyn Chunks) -> Result<(), Broken> {
        (self.held, self.perhaps) = (held, None);
        for (digest, bytes) in &self.ever {
            if chunks.get(digest).map_err(Broken::damage)?.is_some() {
                self.keep(&[(ChunkRef::of(bytes), bytes.clone())])?;
            }
        }
        Ok(())
    }

    /// Every key and note of a store, by name.
    pub(super) fn vault(engine: &mut dyn Engine) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut found = Vec::new();
        for number in 0..NAMES {
            let key = engine.key(&EntityId::from_bytes([number as u8; 32]))?;
            found.push(key.map(|key| key.to_vec()));
            found.push(engine.note(&format!("note {number}"))?);
        }
        Ok(found)
    }
}

/// Marks everything that a store names.
fn mark(chunks: &dyn Chunks, engine: &mut dyn Engine) -> Result<Sweep, StoreError> {
    let mut marking = Marking::begin(chunks);
    for copy in copies(engine)? {
        marking = marking.mark(chunks, &copy.manifest)?;
    }
    Ok(marking.sweep())
}
