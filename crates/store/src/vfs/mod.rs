//! A disk that fails, under the real SQLite.
//!
//! A [`FaultyDisk`] keeps files in memory and knows of each which writes were synced. It can lose
//! or tear the others, fill up, refuse to sync, and stop at a chosen moment, all from a seed and
//! without a clock. It is registered with SQLite as a VFS; open files on it with
//! [`crate::Place::on`] and the disk's name.
//!
//! It has no shared memory, so a file on it has one connection, in exclusive locking mode.
//!
//! SQLite draws the salts of its log from a generator of the whole process. They change bytes on
//! the disk from run to run, never the order of calls or what a reader finds.

mod calls;
pub(crate) mod image;

use std::sync::{Mutex, MutexGuard, PoisonError};

use self::calls::Slot;
pub use self::image::DiskCall;
use self::image::Image;
use crate::error::StoreError;

/// VFSs that no disk uses. SQLite keeps a pointer to each for ever, so they are never freed, only
/// used again: there are as many as disks lived at once.
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

/// A disk in memory that fails on request.
///
/// Dropping it empties it; connections that are still open find a dead disk.
#[derive(Debug)]
pub struct FaultyDisk {
    slot: &'static Slot,
}

impl FaultyDisk {
    /// An empty disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when SQLite refuses another VFS.
    pub fn new() -> Result<Self, StoreError> {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = match free {
            Some(slot) => slot,
            None => calls::register()?,
        };
        Ok(Self { slot })
    }

    /// The name under which SQLite knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.slot.name()
    }

    /// The power goes: of each write that was not synced, each sector is kept, lost or torn, as
    /// `seed` has it. All open files are dead, all requested faults are over.
    pub fn crash(&self, seed: u64) {
        self.image().crash(seed);
    }

    /// The process is killed: open files are dead, but what was written stays visible, synced or
    /// not. All requested faults are over.
    pub fn kill(&self) {
        self.image().kill();
    }

    /// Files may hold this many bytes together; writes beyond fail with "disk full". None for no
    /// limit.
    pub fn limit(&self, bytes_max: Option<u64>) {
        self.image().bytes_max = bytes_max;
    }

    /// The next `count` syncs fail. What they should have saved is then lost at the next crash,
    /// though it can be read until then, and though later syncs succeed: that is how disks are.
    pub fn fail_syncs(&self, count: u64) {
        self.image().failing_syncs = count;
    }

    /// After `count` more syncs, the next does not happen, and everything fails until a crash or
    /// a kill.
    pub fn stop_at_sync(&self, count: u64) {
        self.image().syncs_left = Some(count);
    }

    /// As [`FaultyDisk::stop_at_sync`], at a write.
    pub fn stop_at_write(&self, count: u64) {
        self.image().writes_left = Some(count);
    }

    /// After `count` more calls that change something, the next does not happen, and everything
    /// fails until a crash or a kill.
    pub fn stop_at_call(&self, count: u64) {
        self.image().calls_left = Some(count);
    }

    /// How many calls that change something were made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.image().calls
    }

    /// Whether everything fails until a crash or a kill.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.image().stopped
    }

    /// The file and the call at which [`FaultyDisk::stop_at_call`] last stopped everything.
    #[must_use]
    pub fn stopped_at(&self) -> Option<(String, DiskCall)> {
        self.image().stopped_at.clone()
    }

    /// How many syncs succeeded so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.image().syncs
    }

    /// How many writes succeeded so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.image().writes
    }

    /// How many bytes all files hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.image().bytes()
    }

    /// Turns one bit of a file, durably. False if the file does not reach that far.
    #[must_use]
    pub fn flip(&self, path: &str, offset: usize) -> bool {
        self.image().flip(path, offset)
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.slot.image()
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        self.image().clear();
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}
