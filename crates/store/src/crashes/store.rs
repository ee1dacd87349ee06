//! Decides what a whole store is on one faulty disk: the engine, and the chunks beside it.

use std::sync::Arc;

use super::workload::STORE;
use super::{Broken, Promise};
use crate::chunks::Chunks;
use crate::error::StoreError;
use crate::sqlite::{Place, Sqlite, SqliteChunks};
use crate::vfs::FaultyDisk;

/// Pages of log before a commit copies it: so few that this happens all the time.
const LOG_PAGES: u32 = 20;

pub(super) struct Store {
    pub(super) disk: FaultyDisk,
    open: Option<(Sqlite, Arc<SqliteChunks>)>,
}

impl Store {
    pub(super) fn new() -> Result<Self, Broken> {
        let disk = FaultyDisk::new().map_err(Broken::model)?;
        Ok(Self { disk, open: None })
    }

    /// Opens it, or opens it anew.
    pub(super) fn open(&mut self) -> Result<(), StoreError> {
        self.close();
        let chunks = Arc::new(SqliteChunks::open(Place::on(self.disk.name(), "chunks.db"))?);
        chunks.shorten_log(LOG_PAGES / 4)?;
        let shared: Arc<dyn Chunks> = chunks.clone();
        let place = Place::on(self.disk.name(), "whimbrel.db");
        let mut engine = Sqlite::open(place, STORE, Some(shared))?;
        engine.shorten_log(LOG_PAGES);
        self.open = Some((engine, chunks));
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn engine(&mut self) -> Result<&mut Sqlite, Broken> {
        self.open.as_mut().map(|(engine, _)| engine).ok_or_else(closed)
    }

    pub(super) fn chunks(&self) -> Result<&Arc<SqliteChunks>, Broken> {
        self.open.as_ref().map(|(_, chunks)| chunks).ok_or_else(closed)
    }

    /// Whether the disk stands still.
    pub(super) fn has_stopped(&self) -> bool {
        self.disk.has_stopped()
    }
}

fn closed() -> Broken {
    Broken::of(Promise::Honest, "the store is not open".to_owned())
}
