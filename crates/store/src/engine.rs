//! Decides what a node asks of a store, one trait per duty.
//!
//! All calls block until they are answered. A driver with threads owns the engine on one thread
//! and sends it requests; a simulator calls it inline and stays deterministic. No call spans two
//! daemons, except that one [`Journal::commit`] may carry writes of many daemons, each of which
//! happens or is refused on its own.

use whimbrel_wire::{AttemptId, EntityId, Position, SeatRecord, StoreId, Turn, Write, WriteError};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// The one way to change what is known of daemons, and to read turns back.
///
/// How much a write forgets does not change how long it takes: see [`Journal::tidy`].
pub trait Journal {
    /// Does all writes, in order, and answers each. They become durable together: one sync for
    /// the whole call.
    ///
    /// Each is atomic on its own and sees those before it; a refused one disturbs no other. `Ok`
    /// means durable. `Failed` means that nothing of the write happened or ever will. After
    /// `Unknown` the caller reads [`Titles::record`] and obeys what it finds.
    fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>>;

    /// Turns of one copy, from the one after `after` on: at most `count_max`, and no more once
    /// their payloads exceed `bytes_max`; but at least one if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoCopy`], [`StoreError::Forgotten`] when the turn after `after` was compacted
    /// away or lies below the base snapshot with which the copy began.
    fn turns(
        &mut self,
        entity: &EntityId,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError>;

    /// Frees a little of what forgotten turns and dropped copies still take up, does what commits
    /// put off, and says whether more is left to free. Nothing that can be read changes, and a crash in it changes nothing else:
    /// the rest is found again by the next call, also after opening anew.
    ///
    /// It takes about as long as a small commit, so it is for moments in which nothing waits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store could not do it; then less or nothing was freed.
    fn tidy(&mut self) -> Result<bool, StoreError>;
}

/// What is known of daemons: who owns them, and what is held of them here.
pub trait Titles {
    /// The data folder that this store is.
    fn store_id(&self) -> StoreId;

    /// Every daemon of which anything is known, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    fn entities(&mut self) -> Result<Vec<EntityId>, StoreError>;

    /// What is known of one daemon; the default record for a stranger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError>;
}

/// Small secrets and settings.
pub trait Vault {
    /// Keeps the sealed key of a daemon in place of the one before. Durable on return.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    fn put_key(&mut self, entity: &EntityId, sealed: &[u8]) -> Result<(), StoreError>;

    /// The sealed key of a daemon.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    fn key(&mut self, entity: &EntityId) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Wipes the key of a daemon: its bytes are overwritten, in the log too, as far as files can
    /// promise that. Durable on return. An absent key is fine.
    ///
    /// No write drops a key by itself: a daemon may come back before the acknowledgement of its
    /// leaving arrives, and the key that then lies here is the new one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    fn drop_key(&mut self, entity: &EntityId) -> Result<(), StoreError>;

    /// Keeps a small value of the node in place of the one before. Durable on return.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    fn set_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// A small value of the node.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`].
    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
}

/// All duties that need one writer. Chunks of snapshots are apart: see [`crate::Chunks`].
pub trait Engine: Journal + Titles + Vault + Send {}

impl<T: Journal + Titles + Vault + Send> Engine for T {}
