//! Decides what lies under the disk of a node: the engine in memory, or the real SQLite on a file
//! system that loses what was not synced.
//!
//! After a crash of the real engine nobody knows which of the last writes are there. They are
//! looked for once the files can be read again, and count as made from then on: reading makes them
//! durable.

use std::sync::Arc;

use whimbrel_protocol::Append;
use whimbrel_store::vfs::FaultyDisk;
use whimbrel_store::{
    Chunks, Engine, Memory, MemoryChunks, Place, Sqlite, SqliteChunks, StoreError,
};
use whimbrel_wire::{
    CopyRecord, EntityId, Holding, Position, SeatRecord, StoreId, Write, WriteError,
};

use crate::dice::Dice;

/// Which engine a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Memory,
    Sqlite,
}

/// The engine of one node and its chunks.
pub(crate) struct Files {
    store: StoreId,
    pub(crate) chunks: Arc<dyn Chunks>,
    engine: Under,
    /// Writes that may or may not be there.
    undecided: Vec<Write>,
    /// Whether something was forgotten that is still to be tidied away.
    untidy: bool,
}

#[allow(clippy::large_enum_variant, reason = "there is one for each node")]
enum Under {
    Memory(Memory),
    Sqlite { disk: FaultyDisk, engine: Option<Sqlite> },
}

impl Files {
    pub(crate) fn new(store: StoreId, medium: Medium) -> Self {
        let (chunks, engine) = match medium {
            Medium::Memory => in_memory(store),
            // Without another VFS the run goes on in memory.
            Medium::Sqlite => FaultyDisk::new().map_or_else(
                |_| in_memory(store),
                |disk| (open_chunks(&disk), Under::Sqlite { disk, engine: None }),
            ),
        };
        Self { store, chunks, engine, undecided: Vec::new(), untidy: false }
    }

    pub(crate) const fn medium(&self) -> Medium {
        match self.engine {
            Under::Memory(_) => Medium::Memory,
            Under::Sqlite { .. } => Medium::Sqlite,
        }
    }

    /// The engine, opened if it has to be.
    pub(crate) fn engine(&mut self) -> Result<&mut dyn Engine, StoreError> {
        match &mut self.engine {
            Under::Memory(memory) => Ok(memory),
            Under::Sqlite { disk, engine } => {
                let opened = match engine.take() {
                    Some(opened) => opened,
                    None => Sqlite::open(
                        Place::on(disk.name(), "journal.db"),
                        self.store,
                        Some(Arc::clone(&self.chunks)),
                    )?,
                };
                Ok(engine.insert(opened))
            }
        }
    }

    /// Makes all writes durable, by one sync where there is one.
    pub(crate) fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>> {
        let results = match self.engine() {
            Ok(engine) => engine.commit(writes),
            Err(error) => {
                writes.iter().map(|_| Err(WriteError::Failed(error.to_string()))).collect()
            }
        };
        for (write, result) in writes.iter().zip(&results) {
            if matches!(result, Err(WriteError::Unknown(_))) {
                self.undecided.push(write.clone());
            }
        }
        self.untidy = true;
        results
    }

    /// Saves one turn at once, as the engine in memory does it without a copy.
    pub(crate) fn append(&mut self, append: Append) -> Result<(), WriteError> {
        let Under::Memory(memory) = &mut self.engine else {
            return self.commit(&[append.into()]).pop().unwrap_or(Ok(()));
        };
        let Append { entity, epoch, after, turn } = append;
        memory.append(&entity, epoch, after, turn)
    }

    pub(crate) fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError> {
        self.engine()?.record(entity)
    }

    /// Frees a little of what was forgotten.
    pub(crate) fn tidy(&mut self) {
        if self.untidy {
            self.untidy = self.engine().and_then(|engine| engine.tidy()).unwrap_or(false);
        }
    }

    /// Those of the undecided writes that turn out to be there; none while nobody can read.
    pub(crate) fn decide(&mut self) -> Vec<Write> {
        if self.undecided.is_empty() {
            return Vec::new();
        }
        let undecided = std::mem::take(&mut self.undecided);
        let mut there = Vec::new();
        for (index, write) in undecided.iter().enumerate() {
            match self.is_there(write) {
                Ok(true) => there.push(write.clone()),
                Ok(false) => {}
                Err(_) => {
                    self.undecided = undecided[index..].to_vec();
                    break;
                }
            }
        }
        there
    }

    fn is_there(&mut self, write: &Write) -> Result<bool, StoreError> {
        let Some(entity) = write.entity() else { return Ok(false) };
        let record = self.record(&entity)?;
        let held = match &record.holding {
            Holding::Owned(copy) | Holding::HandedOver(copy) => Some(copy),
            Holding::Nothing | Holding::Deleted => None,
        };
        let owned = matches!(record.holding, Holding::Owned(_));
        Ok(match write {
            Write::Append { after, turns, .. } => {
                let Some((held, last)) = held.zip(turns.last()) else { return Ok(false) };
                let (copy, after) = (held.attempt, *after);
                last.position() <= held.head().position
                    && self.turn_at(&entity, copy, after)?.is_none_or(|found| found == turns[0])
            }
            Write::HandOver { deed } | Write::Reclaim { deed } | Write::Birth { deed, .. } => {
                record.deeds.contains(deed)
            }
            Write::Accept { deeds } => {
                owned && deeds.last().is_some_and(|deed| record.deeds.last() == Some(deed))
            }
            Write::Publish { manifest, .. } => {
                held.is_some_and(|copy: &CopyRecord| copy.manifest == *manifest)
            }
            Write::DropCopy { attempt, .. } => {
                record.waiting.iter().all(|copy| copy.attempt != *attempt)
                    && held.is_none_or(|copy| copy.attempt != *attempt)
            }
            Write::Delete { .. } => matches!(record.holding, Holding::Deleted),
            // Nobody counts on these.
            Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::SaveCopy { .. }
            | Write::AppendCopy { .. }
            | Write::Learn { .. }
            | Write::DropState { .. } => false,
        })
    }

    /// The turn after `after`, unless it was forgotten.
    fn turn_at(
        &mut self,
        entity: &EntityId,
        copy: whimbrel_wire::AttemptId,
        after: Position,
    ) -> Result<Option<whimbrel_wire::Turn>, StoreError> {
        match self.engine()?.turns(entity, copy, after, 1, 1) {
            Ok(turns) => Ok(turns.into_iter().next()),
            Err(StoreError::Forgotten { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The process dies, or the power goes, perhaps again while the files are opened. What was
    /// asked for and not answered is done up to some call.
    pub(crate) fn crash(&mut self, begun: &[Write], dice: &mut Dice) {
        if !begun.is_empty() {
            self.stop_somewhere(dice);
            let results = self.commit(begun);
            let answered = begun.iter().zip(results).filter(|(_, result)| result.is_ok());
            self.undecided.extend(answered.map(|(write, _)| write.clone()));
        }
        let Under::Sqlite { disk, engine } = &mut self.engine else { return };
        *engine = None;
        lose(disk, dice);
        self.chunks = open_chunks(disk);
        if dice.chance(200) {
            disk.stop_at_write(dice.below(12));
            drop(self.engine().map(drop));
            let Under::Sqlite { disk, engine } = &mut self.engine else { return };
            *engine = None;
            lose(disk, dice);
            self.chunks = open_chunks(disk);
        }
    }

    /// The process ends in order: the files are closed and stay as they are.
    pub(crate) fn close(&mut self) {
        let Under::Sqlite { disk, engine } = &mut self.engine else { return };
        *engine = None;
        self.chunks = Arc::new(MemoryChunks::new());
        disk.kill();
        self.chunks = open_chunks(disk);
    }

    /// What an engine in memory holds, to be put back later.
    pub(crate) fn back_up(&self) -> Option<Box<Memory>> {
        match &self.engine {
            Under::Memory(memory) => Some(Box::new(memory.clone())),
            Under::Sqlite { .. } => None,
        }
    }

    pub(crate) fn put_back(&mut self, backup: Option<Box<Memory>>) {
        if let (Under::Memory(memory), Some(backup)) = (&mut self.engine, backup) {
            *memory = *backup;
        }
    }

    /// From some call on that comes soon, nothing works until the crash.
    pub(crate) fn stop_somewhere(&self, dice: &mut Dice) {
        let Under::Sqlite { disk, .. } = &self.engine else { return };
        if dice.chance(500) {
            disk.stop_at_sync(dice.below(2));
        } else {
            disk.stop_at_write(dice.below(10));
        }
    }

    /// Whether it has come to the call at which it was to stop.
    pub(crate) fn has_stopped(&self) -> bool {
        match &self.engine {
            Under::Memory(_) => false,
            Under::Sqlite { disk, .. } => disk.has_stopped(),
        }
    }

    /// No file can grow, or all can again.
    pub(crate) fn set_full(&self, full: bool) {
        if let Under::Sqlite { disk, .. } = &self.engine {
            disk.limit(full.then(|| disk.bytes()));
        }
    }

    /// The next sync fails, or none does.
    pub(crate) fn fail_syncs(&self, count: u64) {
        if let Under::Sqlite { disk, .. } = &self.engine {
            disk.fail_syncs(count);
        }
    }
}

fn in_memory(store: StoreId) -> (Arc<dyn Chunks>, Under) {
    let chunks: Arc<dyn Chunks> = Arc::new(MemoryChunks::new());
    let memory = Memory::new(store, Some(Arc::clone(&chunks)));
    (chunks, Under::Memory(memory))
}

/// Chunks in a file of their own. One that cannot be opened leaves none; a node without its
/// chunks restores nothing.
fn open_chunks(disk: &FaultyDisk) -> Arc<dyn Chunks> {
    let place = Place::on(disk.name(), "chunks.db");
    SqliteChunks::open(place).map_or_else(
        |_| Arc::new(MemoryChunks::new()) as Arc<dyn Chunks>,
        |chunks| Arc::new(chunks),
    )
}

fn lose(disk: &FaultyDisk, dice: &mut Dice) {
    if dice.chance(300) {
        disk.kill();
    } else {
        disk.crash(dice.next());
    }
}
