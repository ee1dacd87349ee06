//! Decides when the log of the journal is copied into the database, and where the log lies.
//!
//! A commit appends to the log and syncs it. Copying the log takes two syncs more and a write for
//! each page that changed, so no commit does it while the log has room: [`crate::Journal::tidy`]
//! does, in moments in which nothing waits.
//!
//! On the disk of a machine the place of the log is taken beforehand. A commit that makes the file
//! longer waits for the journal of the file system too, and so for what others write meanwhile.
//!
//! # Invariants
//!
//! * W1 (log bounded): no commit begins while the log holds [`Limits::pages_max`] pages or more.
//!
//! # Limits
//!
//! * [`Limits::USUAL`]. A commit that finds the log full copies it first; if the disk refuses that,
//!   the commit has failed and nothing of it happened.
//! * [`PLACE_BYTES`] are taken for the log. What it needs beyond is taken by the commit that needs it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::Connection;

use super::Place;
use super::rows::failed;
use crate::error::StoreError;

/// What is taken for the log: as much as it holds before it is copied.
const PLACE_BYTES: usize = 1024 * 1024 + 64 * 1024;

/// How long the log may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From here on it is copied as soon as nothing waits.
    pub(super) pages_copied: i32,
    /// From here on the next commit copies it first.
    pub(super) pages_max: i32,
}

impl Limits {
    /// Pages of 4 KiB: 1 MiB, and 8 MiB. A smaller log makes each copy shorter and more of them;
    /// `examples/commits.rs` measures it.
    pub(super) const USUAL: Self = Self { pages_copied: 256, pages_max: 2_048 };
}

/// The log of one connection.
#[derive(Debug)]
pub(super) struct Log {
    /// As the last commit left it.
    pages: Arc<AtomicI32>,
}

impl Log {
    /// Watches the log of `connection`. How long it is, the next commit tells.
    pub(super) fn watch(connection: &mut Connection) -> Result<Self, StoreError> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(failed)?;
        Ok(Self { pages })
    }

    /// Whether it holds at least so many pages that are not in the database.
    pub(super) fn holds(&self, pages: i32) -> bool {
        pages <= self.pages.load(Ordering::Relaxed)
    }

    /// Copies it into the database, which is synced; the next commit begins it anew.
    pub(super) fn copy(&self, connection: &Connection) -> Result<(), StoreError> {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (busy, pages, copied): (i64, i64, i64) =
            connection.query_row(sql, [], read).map_err(failed)?;
        if busy != 0 || copied < pages {
            return Err(StoreError::Failed("a reader keeps the log from being copied".to_owned()));
        }
        self.pages.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Takes the place of a log that was just emptied.
///
/// Zeros are no log, so whoever opens the database finds an empty one. Nothing depends on the place
/// but how long commits take: a disk that refuses it is let be.
pub(super) fn take_place(place: &Place) {
    if place.vfs.is_some() {
        return;
    }
    let mut path = place.path.clone().into_os_string();
    path.push("-wal");
    let taken = std::fs::OpenOptions::new().write(true).open(PathBuf::from(path));
    let filled = taken.and_then(|mut file| {
        file.write_all(&vec![0; PLACE_BYTES])?;
        file.sync_data()
    });
    drop(filled);
}
