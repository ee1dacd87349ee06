//! Decides how chunks are kept in a SQLite file of their own.
//!
//! A second file, so that gigabytes of chunks never wait in the log of the journal, nor the
//! journal for them. A batch is one commit and one sync. On a real disk readers have connections of
//! their own and never wait for the writer; on a disk without shared memory all share one.
//!
//! # Limits
//!
//! * [`READERS_MAX`] idle connections are kept; a reader that finds none opens one.
//! * [`LOG_BYTES`] of log before a commit copies it into the database.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use whimbrel_mutants::Mutant;
use whimbrel_wire::{ChunkRef, Digest};

use super::Place;
use super::rows::{damaged, failed};
use super::schema::{connect, empty_log, keep_log, prepare};
use crate::chunks::{Chunks, Hold, Swept, Touched, check};
use crate::error::StoreError;

/// Bytes of one page: large, because chunks are.
const PAGE_BYTES: i64 = 16 * 1024;

/// Bytes of log before a commit copies it into the database.
const LOG_BYTES: i64 = 8 * 1024 * 1024;

/// Idle connections for readers.
const READERS_MAX: usize = 4;

/// Each connection keeps at most this many KiB of pages.
const CACHE_KIB: i64 = 2048;

const TABLES: &str = "
CREATE TABLE chunk (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL);
";

/// Chunks in a SQLite file.
pub struct SqliteChunks {
    place: Place,
    /// None after a failure: the next writer opens anew.
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
    touched: Arc<Touched>,
}

impl SqliteChunks {
    /// Opens the file at `place`, or makes it.
    ///
    /// # Errors
    ///
    /// As [`crate::Sqlite::open`].
    pub fn open(place: Place) -> Result<Self, StoreError> {
        let writer = Mutex::new(Some(open_writer(&place)?));
        let (readers, touched) = (Mutex::default(), Arc::default());
        Ok(Self { place, writer, readers, touched })
    }

    /// Runs `action` on the writer; after an error the connection is not trusted.
    pub(super) fn write<T>(
        &self,
        action: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut slot = lock(&self.writer);
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => open_writer(&self.place)?,
        };
        let outcome = action(&mut connection);
        if outcome.is_ok() {
            *slot = Some(connection);
        }
        outcome
    }

    fn read<T>(
        &self,
        action: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.place.vfs.is_some() {
            return self.write(|connection| action(connection));
        }
        let idle = lock(&self.readers).pop();
        let connection = idle.map_or_else(|| open_reader(&self.place), Ok)?;
        let outcome = action(&connection);
        let mut readers = lock(&self.readers);
        if outcome.is_ok() && readers.len() < READERS_MAX {
            readers.push(connection);
        }
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_writer(place: &Place) -> Result<Connection, StoreError> {
    let connection = connect(place)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
    if place.vfs.is_some() {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    }
    keep_log(&connection)?;
    empty_log(&connection, None)?;
    let settings = format!(
        "PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA journal_size_limit = {};
         PRAGMA wal_autocheckpoint = {};",
        2 * LOG_BYTES,
        LOG_BYTES / PAGE_BYTES,
    );
    connection.execute_batch(&settings).map_err(failed)?;
    prepare(&connection, TABLES)?;
    if Mutant::UnsyncedChunks.is_on() {
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    }
    Ok(connection)
}

fn open_reader(place: &Place) -> Result<Connection, StoreError> {
    let connection = connect(place)?;
    let settings = format!(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -{CACHE_KIB};"
    );
    connection.execute_batch(&settings).map_err(failed)?;
    Ok(connection)
}

fn is_there(connection: &Connection, digest: &Digest) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM chunk WHERE digest = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.exists([digest.as_bytes()]).map_err(failed)
}

impl fmt::Debug for SqliteChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteChunks(at {})", self.place.path.display())
    }
}

impl Chunks for SqliteChunks {
    fn put(&self, chunks: &[(ChunkRef, Bytes)]) -> Result<(), StoreError> {
        check(chunks)?;
        self.touched.touch(chunks.iter().map(|(chunk, _)| &chunk.digest));
        self.write(|connection| {
            let transaction = connection.transaction().map_err(failed)?;
            for (chunk, bytes) in chunks {
                let sql = "INSERT INTO chunk (digest, bytes) VALUES (?1, ?2)
                           ON CONFLICT DO NOTHING";
                let mut statement = transaction.prepare_cached(sql).map_err(failed)?;
                let values = params![chunk.digest.as_bytes(), bytes.as_ref()];
                statement.execute(values).map_err(failed)?;
            }
            transaction.commit().map_err(failed)
        })
    }

    fn get(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let found: Option<Vec<u8>> = self.read(|connection| {
            let sql = "SELECT bytes FROM chunk WHERE digest = ?1";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let found = statement.query_row([digest.as_bytes()], |row| row.get(0));
            found.optional().map_err(failed)
        })?;
        let Some(bytes) = found else { return Ok(None) };
        if ChunkRef::of(&bytes).digest != *digest {
            return Err(damaged(&format!("chunk {digest}")));
        }
        Ok(Some(bytes.into()))
    }

    fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<usize>, StoreError> {
        self.touched.touch(chunks.iter().map(|chunk| &chunk.digest));
        self.read(|connection| {
            let mut missing = Vec::new();
            for (index, chunk) in chunks.iter().enumerate() {
                if !is_there(connection, &chunk.digest)? {
                    missing.push(index);
                }
            }
            Ok(missing)
        })
    }

    fn hold(&self) -> Hold {
        self.touched.hold()
    }

    fn sweep(
        &self,
        keep: &dyn Fn(&Digest) -> bool,
        floor: u64,
        after: Option<Digest>,
        count_max: usize,
    ) -> Result<Swept, StoreError> {
        self.write(|connection| {
            let transaction = connection.transaction().map_err(failed)?;
            let seen = later(&transaction, after, count_max)?;
            // Held until the removals are done, so that whoever is told that a chunk is present
            // is told before and protects it, or after.
            let moments = self.touched.lock();
            let held =
                |digest: &Digest| moments.protects(digest, floor) && !Mutant::HoldsIgnored.is_on();
            let dead = |digest: &&Digest| !keep(digest) && !held(digest);
            let mut swept = Swept { removed: 0, last: seen.last().copied() };
            for digest in seen.iter().filter(dead) {
                let sql = "DELETE FROM chunk WHERE digest = ?1";
                let mut statement = transaction.prepare_cached(sql).map_err(failed)?;
                statement.execute([digest.as_bytes()]).map_err(failed)?;
                swept.removed += 1;
            }
            transaction.commit().map_err(failed)?;
            Ok(swept)
        })
    }
}

/// Up to `count_max` digests after `after`, in order.
fn later(
    connection: &Connection,
    after: Option<Digest>,
    count_max: usize,
) -> Result<Vec<Digest>, StoreError> {
    let sql = "SELECT digest FROM chunk WHERE digest > ?1 ORDER BY digest LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let after = after.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
    let count_max = i64::try_from(count_max.max(1)).unwrap_or(i64::MAX);
    let found = statement.query_map(params![after, count_max], |row| row.get::<_, Vec<u8>>(0));
    let digest = |bytes: rusqlite::Result<Vec<u8>>| {
        let bytes = <[u8; 32]>::try_from(bytes.map_err(failed)?);
        bytes.map(Digest::from_bytes).map_err(|_| damaged("the digest of a chunk"))
    };
    found.map_err(failed)?.map(digest).collect()
}
