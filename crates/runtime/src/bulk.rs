//! Decides how chunks are read and written beside the daemons: on threads of their own, in batches.
//!
//! # Limits
//!
//! * [`BATCH_CHUNKS_MAX`] chunks are made durable by one sync.
//! * [`THREADS`] threads; what waits for them is bounded by the windows of the moves.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_daemon::{
    ChunkSink, ChunkSource, Host, RestoreError, SinkError, SourceError, read_luggage,
};
use whimbrel_protocol::{Input, Restored};
use whimbrel_store::{Chunks, StoreError};
use whimbrel_wire::limits::CHUNK_LIST_LENGTH_MAX;
use whimbrel_wire::{
    AttemptId, ChunkList, ChunkRef, Ledger, Manifest, Message, MigrationFailureReason,
    MigrationMessage, NodeId, decode, encode_frame,
};

use crate::cell::{Cell, Inner, Work};
use crate::core::{Core, lock};
use crate::link::{Lane, SendError};

/// Chunks in one batch.
const BATCH_CHUNKS_MAX: usize = 64;

/// Threads that move chunks.
const THREADS: usize = 2;

/// How long a piece waits for room on the link before it is dropped and asked for again.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce() + Send>;

/// The threads that move chunks.
#[derive(Default)]
pub(crate) struct Bulk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    saves: Mutex<VecDeque<Save>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Save {
    cell: Arc<Cell>,
    attempt: AttemptId,
    chunk: ChunkRef,
    bytes: Bytes,
}

impl Bulk {
    pub(crate) fn start(&self) -> std::io::Result<Vec<JoinHandle<()>>> {
        (0..THREADS)
            .map(|index| {
                let shared = Arc::clone(&self.0);
                std::thread::Builder::new()
                    .name(format!("whimbrel-bulk-{index}"))
                    .spawn(move || shared.work())
            })
            .collect()
    }

    /// Runs `job` on one of the threads.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        lock(&self.0.queue).jobs.push_back(Box::new(job));
        self.0.ready.notify_one();
    }

    pub(crate) fn close(&self) {
        lock(&self.0.queue).closed = true;
        self.0.ready.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            job();
        }
    }
}

/// Reads a chunk and sends it as a piece of a snapshot.
pub(crate) fn send_piece(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    to: NodeId,
    message: Message,
    chunk: ChunkRef,
) {
    let (shared, cell) = (Arc::clone(core), Arc::clone(cell));
    core.bulk.run(move || {
        let mut message = message;
        match cell.store.chunks.get(&chunk.digest) {
            Ok(Some(bytes)) => fill(&mut message, bytes),
            Ok(None) => return tracing::error!(digest = %chunk.digest, "a chunk is missing"),
            Err(error) => return tracing::error!(%error, "a chunk could not be read"),
        }
        let (Ok(frame), Some(links)) = (encode_frame(&message), shared.links()) else { return };
        if let Err(SendError::Full) = links.send(to, Lane::Bulk, frame.clone()) {
            shared.wait_for_room(to);
            // A piece that finds no room even then is asked for again.
            let _ = links.send(to, Lane::Bulk, frame);
        }
    });
}

impl Core {
    /// Waits until the link takes more, within bounds.
    fn wait_for_room(&self, to: NodeId) {
        let (Some(links), Some(runtime)) = (self.links(), self.tokio.get()) else { return };
        let room = links.room(to, Lane::Bulk);
        drop(runtime.block_on(async { tokio::time::timeout(ROOM_WAIT_MAX, room).await }));
    }
}

fn fill(message: &mut Message, bytes: Bytes) {
    if let Message::Migration(envelope) = message
        && let MigrationMessage::SnapshotReady { snapshot_bytes, .. } = &mut envelope.message
    {
        *snapshot_bytes = bytes;
    }
}

/// Makes a chunk durable, together with others that wait.
pub(crate) fn save_chunk(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    attempt: AttemptId,
    chunk: ChunkRef,
    bytes: Bytes,
) {
    let first = {
        let mut saves = lock(&core.bulk.0.saves);
        saves.push_back(Save { cell: Arc::clone(cell), attempt, chunk, bytes });
        saves.len() == 1
    };
    if first {
        let shared = Arc::clone(core);
        core.bulk.run(move || save_batches(&shared));
    }
}

fn save_batches(core: &Arc<Core>) {
    loop {
        let batch: Vec<Save> = {
            let mut saves = lock(&core.bulk.0.saves);
            let Some(first) = saves.front() else { return };
            let chunks = Arc::clone(&first.cell.store.chunks);
            let same = saves
                .iter()
                .take(BATCH_CHUNKS_MAX)
                .take_while(|save| Arc::ptr_eq(&save.cell.store.chunks, &chunks))
                .count();
            saves.drain(..same).collect()
        };
        let Some(first) = batch.first() else { return };
        let chunks: Vec<(ChunkRef, Bytes)> =
            batch.iter().map(|save| (save.chunk, save.bytes.clone())).collect();
        let result = first.cell.store.chunks.put(&chunks).map_err(|error| error.to_string());
        for Save { cell, attempt, chunk, .. } in batch {
            let result = result.clone();
            core.post(&cell, Work::Input(Input::ChunkSaved { attempt, chunk, result }));
        }
    }
}

/// Reads which chunks the lists of a snapshot name.
pub(crate) fn read_pieces(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    attempt: AttemptId,
    lists: Vec<ChunkRef>,
) {
    let (shared, cell) = (Arc::clone(core), Arc::clone(cell));
    core.bulk.run(move || {
        let result = lists.iter().try_fold(Vec::new(), |mut pieces, list| {
            let bytes = read_chunk(&*cell.store.chunks, list)?;
            let ChunkList(chunks) = decode(&bytes).map_err(|error| error.to_string())?;
            if chunks.len() > CHUNK_LIST_LENGTH_MAX {
                return Err(format!("a list names {} chunks", chunks.len()));
            }
            pieces.extend(chunks);
            Ok(pieces)
        });
        shared.post(&cell, Work::Input(Input::PiecesRead { attempt, result }));
    });
}

/// Finds out which chunks are not here.
pub(crate) fn find_missing(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    attempt: AttemptId,
    chunks: Vec<ChunkRef>,
) {
    let (shared, cell) = (Arc::clone(core), Arc::clone(cell));
    core.bulk.run(move || {
        let missing = cell.store.chunks.missing(&chunks).map_err(|error| error.to_string());
        let result = missing.map(|missing| {
            missing.into_iter().filter_map(|index| u32::try_from(index).ok()).collect()
        });
        shared.post(&cell, Work::Input(Input::MissingFound { attempt, result }));
    });
}

/// Names what changed in a daemon that is about to be frozen, so that naming the frozen state takes
/// no time in proportion to it. At most one such job at a time for each copy.
pub(crate) fn warm(core: &Core, inner: &mut Inner, copy: AttemptId) {
    let warming = inner.warming.entry(copy).or_default();
    if warming.swap(true, Ordering::AcqRel) {
        return;
    }
    let warming = Arc::clone(warming);
    let Some(Ok(frozen)) = inner.hosts.get_mut(&copy).map(Host::capture) else {
        warming.store(false, Ordering::Release);
        return;
    };
    core.bulk.run(move || {
        frozen.warm();
        warming.store(false, Ordering::Release);
    });
}

/// Makes a frozen view a snapshot: writes its chunks and names them in a manifest.
pub(crate) fn write_capture(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    copy: AttemptId,
    frozen: whimbrel_daemon::Capture,
    ledger: Ledger,
) {
    let (shared, cell) = (Arc::clone(core), Arc::clone(cell));
    core.bulk.run(move || {
        let result = keep_capture(&cell.store.chunks, frozen, ledger);
        shared.post(&cell, Work::Input(Input::Captured { copy, result }));
    });
}

/// Writes the chunks of a frozen view; durable on return.
pub(crate) fn keep_capture(
    chunks: &Arc<dyn Chunks>,
    frozen: whimbrel_daemon::Capture,
    ledger: Ledger,
) -> Result<Manifest, String> {
    let mut sink = BatchSink { chunks: &**chunks, batch: Vec::new() };
    let parts = frozen.write(&mut sink).map_err(|error| error.to_string())?;
    let manifest = parts.manifest(ledger, &mut sink).map_err(|error| error.to_string())?;
    sink.flush().map_err(|error| error.to_string())?;
    Ok(manifest)
}

/// Builds a daemon from a snapshot whose chunks are here.
pub(crate) fn restore(core: &Arc<Core>, cell: &Arc<Cell>, copy: AttemptId, manifest: Manifest) {
    let (shared, cell) = (Arc::clone(core), Arc::clone(cell));
    core.bulk.run(move || {
        let arrives = cell.look(|inner| inner.arriving.contains_key(&copy));
        let built = build(&shared, &cell, &manifest);
        let built = if arrives { built.and_then(|built| foreseen(built, copy)) } else { built };
        let work = match built {
            Ok((host, ledger)) => {
                if arrives {
                    shared.handler().restored(cell.entity());
                }
                shared.claims.insist(cell.entity(), host.requirements().memory_bytes);
                let restored = Restored {
                    ledger,
                    next_timer: host.next_timer(),
                    catch_up: host.catch_up(),
                    evolves: host.evolves(),
                };
                let input = Input::Restored { copy, result: Ok(restored) };
                Work::Install { copy, host: Box::new(host), input }
            }
            Err(reason) => Work::Input(Input::Restored { copy, result: Err(reason) }),
        };
        shared.post(&cell, work);
    });
}

/// What came, unless it is known already that it may not go on here.
fn foreseen(
    (mut host, ledger): (Host, Ledger),
    attempt: AttemptId,
) -> Result<(Host, Ledger), MigrationFailureReason> {
    match host.foresee(attempt) {
        Ok(Ok(())) => Ok((host, ledger)),
        Ok(Err(objection)) => Err(objection.into()),
        Err(error) => Err(MigrationFailureReason::StateFailed(error.to_string())),
    }
}

/// The host of a snapshot whose chunks are here, and the dealings that travelled with it.
pub(crate) fn build(
    core: &Core,
    cell: &Cell,
    manifest: &Manifest,
) -> Result<(Host, Ledger), MigrationFailureReason> {
    let mut source = PatientSource { chunks: &*cell.store.chunks, failed: None };
    let built = build_from(core, cell, manifest, &mut source);
    // A disk that did not answer is not the fault of what it holds.
    built.map_err(|reason| source.failed.map_or(reason, MigrationFailureReason::StoreFailed))
}

fn build_from(
    core: &Core,
    cell: &Cell,
    manifest: &Manifest,
    source: &mut PatientSource<'_>,
) -> Result<(Host, Ledger), MigrationFailureReason> {
    let invalid = |error: String| MigrationFailureReason::SnapshotInvalid(error);
    let body = core.body(&cell.entity(), &manifest.kind)?;
    let luggage = read_luggage(manifest, source).map_err(|error| invalid(error.to_string()))?;
    if !luggage.ledger.is_sound() {
        return Err(invalid("its dealings contradict themselves".to_owned()));
    }
    let host =
        Host::restore(&manifest.kind, manifest, &luggage.host, body, source).map_err(|error| {
            // A snapshot that is what it claims to be, and code that broke on it.
            let broke = matches!(error, RestoreError::Panicked(_));
            let why = error.to_string();
            if broke { MigrationFailureReason::StateFailed(why) } else { invalid(why) }
        })?;
    Ok((host, luggage.ledger))
}

fn read_chunk(chunks: &dyn Chunks, chunk: &ChunkRef) -> Result<Bytes, String> {
    let bytes = chunks.get(&chunk.digest).map_err(|error| error.to_string())?;
    bytes.ok_or_else(|| format!("chunk {} is missing", chunk.digest))
}

/// Chunks of the store, for a restore.
pub(crate) struct StoreSource<'a>(pub(crate) &'a dyn Chunks);

impl ChunkSource for StoreSource<'_> {
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, SourceError> {
        read_chunk(self.0, chunk).map_err(SourceError)
    }
}

/// Chunks of the store, for a restore that may be tried again: it remembers that the store failed.
struct PatientSource<'a> {
    chunks: &'a dyn Chunks,
    failed: Option<String>,
}

impl ChunkSource for PatientSource<'_> {
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, SourceError> {
        match self.chunks.get(&chunk.digest) {
            Err(StoreError::Failed(error)) => {
                self.failed = Some(error.clone());
                Err(SourceError(error))
            }
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(SourceError(format!("chunk {} is missing", chunk.digest))),
            Err(error) => Err(SourceError(error.to_string())),
        }
    }
}

/// Chunks for the store, in batches.
struct BatchSink<'a> {
    chunks: &'a dyn Chunks,
    batch: Vec<(ChunkRef, Bytes)>,
}

impl BatchSink<'_> {
    fn flush(&mut self) -> Result<(), SinkError> {
        let batch = std::mem::take(&mut self.batch);
        self.chunks.put(&batch).map_err(|error| SinkError(error.to_string()))
    }
}

impl ChunkSink for BatchSink<'_> {
    fn wants(&mut self, chunk: &ChunkRef) -> Result<bool, SinkError> {
        let missing = self.chunks.missing(std::slice::from_ref(chunk));
        missing.map(|missing| !missing.is_empty()).map_err(|error| SinkError(error.to_string()))
    }

    fn put(&mut self, chunk: ChunkRef, bytes: Bytes) -> Result<(), SinkError> {
        self.batch.push((chunk, bytes));
        if self.batch.len() >= BATCH_CHUNKS_MAX { self.flush() } else { Ok(()) }
    }
}
