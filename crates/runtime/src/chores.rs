//! Decides when chunks that nothing names any more are removed: some time after records changed,
//! in small steps, beside everything else.
//!
//! # Limits
//!
//! * [`STEP_CHUNKS`] chunks are looked at in one step, so that writers never wait long.
//! * [`REST`] lies between two collections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use whimbrel_store::{Chunks, Engine, Marking, StoreError};
use whimbrel_wire::{Holding, Manifest, Write};

use crate::core::{Core, lock};
use crate::stores::{Store, Writer};

/// Chunks that one step looks at.
const STEP_CHUNKS: usize = 256;

/// Time between two collections.
const REST: Duration = Duration::from_secs(10);

/// Whether there is something to tidy up.
#[derive(Default)]
pub(crate) struct Chores {
    dirty: AtomicBool,
    closed: Mutex<bool>,
    closing: Condvar,
}

impl Chores {
    /// Takes note of a write that may leave chunks behind.
    pub(crate) fn note(&self, write: &Write) {
        let leaves = matches!(
            write,
            Write::Publish { .. }
                | Write::DropCopy { .. }
                | Write::DropState { .. }
                | Write::Delete { .. }
        );
        if leaves {
            self.dirty.store(true, Ordering::Release);
        }
    }

    pub(crate) fn close(&self) {
        *lock(&self.closed) = true;
        self.closing.notify_all();
    }

    /// Rests; false once closed.
    fn rest(&self) -> bool {
        let closed = lock(&self.closed);
        let waited = self.closing.wait_timeout_while(closed, REST, |closed| !*closed);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Starts the thread that collects chunks.
pub(crate) fn start(core: &Arc<Core>) -> std::io::Result<JoinHandle<()>> {
    let chores = Arc::clone(&core.chores);
    let core = Arc::downgrade(core);
    std::thread::Builder::new().name("whimbrel-chores".to_owned()).spawn(move || {
        while chores.rest() {
            let Some(core) = core.upgrade() else { return };
            if chores.dirty.swap(false, Ordering::AcqRel) {
                for store in core.stores.all() {
                    match collect(&core, &store) {
                        Ok(0) => {}
                        Ok(removed) => tracing::debug!(removed, "chunks collected"),
                        Err(error) => tracing::warn!(%error, "chunks could not be collected"),
                    }
                }
            }
        }
    })
}

/// Removes what nothing names; gives how many chunks that were.
fn collect(core: &Core, store: &Store) -> Result<usize, StoreError> {
    let chunks: &dyn Chunks = &*store.chunks;
    let mut marking = Marking::begin(chunks);
    let recorded = match &store.writer {
        Writer::Direct(memory) => manifests(&mut *lock(memory))?,
        Writer::Queued(saver) => match saver.answer(|engine| manifests(engine)) {
            Some(manifests) => manifests?,
            None => return Ok(0),
        },
    };
    for manifest in &recorded {
        marking = marking.mark(chunks, manifest)?;
    }
    for cell in core.cells() {
        for manifest in cell.look(|inner| inner.seat.manifests_in_use()) {
            // A copy that is still being fetched names lists that are not here yet: its hold
            // protects what is.
            if chunks.missing(&manifest.state.lists)?.is_empty() {
                marking = marking.mark(chunks, &manifest)?;
            }
        }
    }
    let mut sweep = marking.sweep();
    let mut removed = 0;
    loop {
        let swept = sweep.step(chunks, STEP_CHUNKS)?;
        removed += swept.removed;
        if swept.last.is_none() {
            return Ok(removed);
        }
    }
}

/// All snapshots on record.
fn manifests(engine: &mut (impl Engine + ?Sized)) -> Result<Vec<Manifest>, StoreError> {
    let mut manifests = Vec::new();
    for entity in engine.entities()? {
        let record = engine.record(&entity)?;
        match record.holding {
            Holding::Owned(copy) | Holding::HandedOver(copy) => manifests.push(copy.manifest),
            Holding::Nothing | Holding::Deleted => {}
        }
        manifests.extend(record.waiting.into_iter().map(|copy| copy.manifest));
    }
    Ok(manifests)
}
