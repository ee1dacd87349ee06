//! Every engine passes the same battery.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use whimbrel_store::conformance::{Backend, Harness, Loss, Split, battery, chunks_battery};
use whimbrel_store::{
    Chunks, Engine, Hold, Journal, Memory, MemoryChunks, Place, Sqlite, SqliteChunks, StoreError,
    Swept, Titles, Vault,
};
use whimbrel_wire::{
    AttemptId, ChunkRef, Digest, EntityId, Position, SeatRecord, StoreId, Turn, Write, WriteError,
};
use zeroize::Zeroizing;

const STORE: StoreId = StoreId::new(42);

struct InMemory(Memory);

impl Harness for InMemory {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.0
    }

    fn reopen(&mut self) {
        self.0 = self.0.clone();
    }

    fn lose_answer(&mut self, _: bool) -> bool {
        false
    }
}

/// The engine in memory, with turns that come alone taken by [`Memory::append`].
#[derive(Clone)]
struct OneByOne {
    memory: Memory,
    taken: usize,
}

impl Journal for OneByOne {
    fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>> {
        writes.iter().map(|write| self.write(write)).collect()
    }

    fn turns(
        &mut self,
        entity: &EntityId,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        self.memory.turns(entity, attempt, after, count_max, bytes_max)
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        self.memory.tidy()
    }
}

impl OneByOne {
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        if let Write::Append { entity, epoch, after, turns } = write
            && let [turn] = &turns[..]
        {
            self.taken += 1;
            return self.memory.append(entity, *epoch, *after, turn.clone());
        }
        self.memory.commit(std::slice::from_ref(write)).remove(0)
    }
}

impl Titles for OneByOne {
    fn store_id(&self) -> StoreId {
        self.memory.store_id()
    }

    fn entities(&mut self) -> Result<Vec<EntityId>, StoreError> {
        self.memory.entities()
    }

    fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError> {
        self.memory.record(entity)
    }
}

impl Vault for OneByOne {
    fn put_key(&mut self, entity: &EntityId, sealed: &[u8]) -> Result<(), StoreError> {
        self.memory.put_key(entity, sealed)
    }

    fn key(&mut self, entity: &EntityId) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.memory.key(entity)
    }

    fn drop_key(&mut self, entity: &EntityId) -> Result<(), StoreError> {
        self.memory.drop_key(entity)
    }

    fn set_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.memory.set_note(name, bytes)
    }

    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.note(name)
    }
}

/// Counts the turns that all engines of a battery took alone.
struct Alone {
    engine: OneByOne,
    taken: Arc<AtomicUsize>,
}

impl Harness for Alone {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.engine
    }

    fn reopen(&mut self) {
        self.engine = self.engine.clone();
    }

    fn lose_answer(&mut self, _: bool) -> bool {
        false
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.taken.fetch_add(self.engine.taken, Ordering::Relaxed);
    }
}

struct OnDisk {
    folder: TempDir,
    engine: Option<Sqlite>,
}

impl OnDisk {
    fn open(folder: &TempDir) -> Sqlite {
        let chunks = Arc::new(MemoryChunks::new());
        let place = Place::real(folder.path().join("whimbrel.db"));
        Sqlite::open(place, STORE, Some(chunks)).unwrap()
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Some(Self::open(&folder));
        Self { folder, engine }
    }
}

impl Harness for OnDisk {
    fn engine(&mut self) -> &mut dyn Engine {
        self.engine.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.engine = None;
        self.engine = Some(Self::open(&self.folder));
    }

    fn lose_answer(&mut self, _: bool) -> bool {
        false
    }
}

struct OnTwo(Split);

impl Harness for OnTwo {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.0
    }

    fn reopen(&mut self) {
        self.0 = self.0.clone();
    }

    fn lose_answer(&mut self, done: bool) -> bool {
        self.0.lose(Loss { backend: Backend::Journal, done });
        true
    }
}

#[test]
fn the_engine_in_memory_passes() {
    battery(&mut || Box::new(InMemory(Memory::new(STORE, None))));
}

#[test]
fn the_engine_in_memory_passes_when_it_takes_turns_one_by_one() {
    let taken = Arc::<AtomicUsize>::default();
    battery(&mut || {
        let engine = OneByOne { memory: Memory::new(STORE, None), taken: 0 };
        Box::new(Alone { engine, taken: Arc::clone(&taken) })
    });
    assert!(taken.load(Ordering::Relaxed) > 10, "the battery appends single turns: {taken:?}");
}

#[test]
fn the_engine_on_sqlite_passes() {
    battery(&mut || Box::new(OnDisk::new()));
}

#[test]
fn an_engine_with_a_separate_authority_passes() {
    battery(&mut || Box::new(OnTwo(Split::new(STORE))));
}

#[test]
fn chunks_in_memory_pass() {
    chunks_battery(&mut || (Box::new(MemoryChunks::new()), Box::new(|| {})));
}

/// Chunks in a file that can be closed and opened while others hold on to them.
#[derive(Clone)]
struct Reopened {
    path: PathBuf,
    open: Arc<Mutex<Option<SqliteChunks>>>,
    _folder: Arc<TempDir>,
}

impl Reopened {
    fn reopen(&self) {
        let mut open = self.open.lock().unwrap();
        *open = None;
        *open = Some(SqliteChunks::open(Place::real(&self.path)).unwrap());
    }

    fn with<T>(&self, action: impl FnOnce(&SqliteChunks) -> T) -> T {
        action(self.open.lock().unwrap().as_ref().unwrap())
    }
}

impl Chunks for Reopened {
    fn put(&self, chunks: &[(ChunkRef, Bytes)]) -> Result<(), StoreError> {
        self.with(|open| open.put(chunks))
    }

    fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.with(|open| open.get(digest))
    }

    fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<usize>, StoreError> {
        self.with(|open| open.missing(chunks))
    }

    fn hold(&self) -> Hold {
        self.with(Chunks::hold)
    }

    fn sweep(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        floor: u64,
        after: Option<Digest>,
        count_max: usize,
    ) -> Result<Swept, StoreError> {
        self.with(|open| open.sweep(keep, floor, after, count_max))
    }
}

#[test]
fn chunks_on_sqlite_pass() {
    chunks_battery(&mut || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chunks.db");
        let chunks = Reopened { path, open: Arc::default(), _folder: Arc::new(folder) };
        chunks.reopen();
        let again = chunks.clone();
        (Box::new(chunks), Box::new(move || again.reopen()))
    });
}
