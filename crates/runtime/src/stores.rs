//! Decides where the state of daemons is kept: on disk, or in memory for volatile ones.

use std::path::Path;
use std::sync::{Arc, Mutex};

use whimbrel_store::{Chunks, Folder, Memory, MemoryChunks, Titles};
use whimbrel_wire::StoreId;

use crate::config::Durability;
use crate::error::MeshError;
use crate::saver::Saver;

/// One store: its writer and its chunks.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) writer: Writer,
    pub(crate) chunks: Arc<dyn Chunks>,
}

/// How writes reach the engine.
#[derive(Clone)]
pub(crate) enum Writer {
    /// On its own thread, in groups.
    Queued(Saver),
    /// At once, in memory.
    Direct(Arc<Mutex<Memory>>),
}

/// The stores of a node.
pub(crate) struct Stores {
    durable: Option<Store>,
    volatile: Store,
    id: StoreId,
}

impl Stores {
    /// Opens the stores; `fresh` names a data folder that is made now.
    pub(crate) fn open(data: Option<&Path>, fresh: StoreId) -> Result<Self, MeshError> {
        let durable = data.map(|folder| open_durable(folder, fresh)).transpose()?;
        let (durable, id) = match durable {
            Some((store, id)) => (Some(store), id),
            None => (None, fresh),
        };
        let chunks: Arc<dyn Chunks> = Arc::new(MemoryChunks::default());
        let memory = Arc::new(Mutex::new(Memory::new(id, None)));
        let volatile = Store { writer: Writer::Direct(memory), chunks };
        Ok(Self { durable, volatile, id })
    }

    /// The data folder.
    pub(crate) const fn id(&self) -> StoreId {
        self.id
    }

    /// The store for a daemon; without a data folder everything is volatile.
    pub(crate) fn of(&self, durability: Durability) -> Store {
        match (durability, &self.durable) {
            (Durability::Durable, Some(durable)) => durable.clone(),
            (Durability::Durable, None) | (Durability::Volatile, _) => self.volatile.clone(),
        }
    }

    /// All stores.
    pub(crate) fn all(&self) -> Vec<Store> {
        self.durable.iter().chain([&self.volatile]).cloned().collect()
    }

    /// The store on disk, if there is one.
    pub(crate) const fn durable(&self) -> Option<&Store> {
        self.durable.as_ref()
    }
}

fn open_durable(path: &Path, fresh: StoreId) -> Result<(Store, StoreId), MeshError> {
    let (folder, engine, chunks) = Folder::open(path, fresh)?;
    tracing::info!(folder = %path.display(), left = ?folder.last_close(), "data folder opened");
    let id = engine.store_id();
    let saver = Saver::start(engine, move |engine| {
        if let Err(error) = folder.close(engine) {
            tracing::error!(%error, "the data folder was not closed in order");
        }
    })?;
    Ok((Store { writer: Writer::Queued(saver), chunks }, id))
}
