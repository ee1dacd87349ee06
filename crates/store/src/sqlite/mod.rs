//! Decides how an engine keeps everything but chunks in one SQLite file.
//!
//! What may happen is decided by `rules`; here it becomes rows. One connection with one writer,
//! exclusive, so that the same code runs on a real disk and on the faulty one of [`crate::vfs`],
//! which has no shared memory.
//!
//! # When a commit fails
//!
//! ```text
//!           commit failed              read the number of commits
//!   Open ────────────────▶ Broken ─────────────────────────────────▶ Open
//!                            ▲ │ cannot open
//!                            └─┘
//! ```
//!
//! A failed commit may have happened: its pages may lie in the log without a sync. The connection
//! is closed, leaving the log as it is, and opened anew. The number of commits, which every commit
//! raises, tells what can be seen:
//!
//! * the commit cannot be seen: its last page is not whole in the log, and never will be. `Failed`.
//! * it can be seen, but perhaps only in the cache of the machine: the log is copied into the
//!   database, that is synced, and the log emptied and begun anew, so that it cannot come back. Then it
//!   is durable: `Ok`.
//! * the disk refuses even that: `Unknown`, and each later call first tries to open again.
//!
//! For the same reason every other opening empties the log: a process that was killed between
//! writing and syncing leaves commits that are visible and not durable.

mod chunks;
mod litter;
mod log;
mod rows;
mod schema;
mod seams;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use whimbrel_mutants::Mutant;
use whimbrel_wire::{AttemptId, EntityId, Position, SeatRecord, StoreId, Turn, Write, WriteError};
use zeroize::Zeroizing;

pub use self::chunks::SqliteChunks;
use self::litter::Slice;
use self::log::{Limits, Log};
use self::rows::{Rows, damaged, failed, is_surroundings};
use crate::chunks::Chunks;
use crate::engine::{Journal, Titles, Vault};
use crate::error::StoreError;
use crate::memory::{empty, refused};
use crate::rules::decide;

/// Where a SQLite file lies: a path, on the disk of the machine or on one of [`crate::vfs`].
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The name of a registered VFS; none for the disk of the machine.
    pub vfs: Option<String>,
}

/// The engine on one SQLite file.
pub struct Sqlite {
    place: Place,
    store: StoreId,
    chunks: Option<Arc<dyn Chunks>>,
    log_limits: Limits,
    state: State,
}

/// Whether the file can be used.
enum State {
    Open { connection: Connection, log: Log, commits: i64 },
    Broken,
}

/// How an attempt at a group of writes ended.
enum Outcome {
    /// Committed, or nothing to commit: these are the answers.
    Done(Vec<Result<(), WriteError>>),
    /// The write at this index could not be made, by no fault of the disk as a whole.
    Without(usize, String),
    /// Nothing happened.
    Failed(String),
    /// Perhaps these answers, perhaps nothing.
    Unknown(Vec<Result<(), WriteError>>, String),
}

impl Place {
    /// A file on the disk of the machine.
    #[must_use]
    pub fn real(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), vfs: None }
    }

    /// A file on a registered VFS.
    #[must_use]
    pub fn on(vfs: &str, path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), vfs: Some(vfs.to_owned()) }
    }
}

impl Sqlite {
    /// Opens the file at `place`, or makes it for the store `fresh`. With `chunks`, a snapshot is
    /// refused whose own chunks are not there.
    ///
    /// Nothing else may have the file open: [`crate::Folder`] sees to that on a real disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the disk refuses, [`StoreError::Damaged`] when the file is not
    /// ours or of a format that this version does not know.
    pub fn open(
        place: Place,
        fresh: StoreId,
        chunks: Option<Arc<dyn Chunks>>,
    ) -> Result<Self, StoreError> {
        let (store, state) = State::open(&place, fresh)?;
        Ok(Self { place, store, chunks, log_limits: Limits::USUAL, state })
    }

    /// The connection, opened anew if it has to be.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if let State::Broken = self.state {
            (_, self.state) = State::open(&self.place, self.store)?;
        }
        match &mut self.state {
            State::Open { connection, .. } => Ok(connection),
            State::Broken => Err(StoreError::Failed("the store is closed".to_owned())),
        }
    }

    /// Tries `writes` as one transaction, passing over those that are answered already.
    fn attempt(
        &mut self,
        writes: &[Write],
        answered: &[Option<WriteError>],
    ) -> Result<Outcome, StoreError> {
        let (store, chunks) = (self.store, self.chunks.clone());
        self.connection()?;
        self.copy_log(self.log_limits.pages_max)?;
        let State::Open { connection, commits, .. } = &mut self.state else {
            return Ok(Outcome::Failed("the store is closed".to_owned()));
        };
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            self.state = State::Broken;
            return Ok(Outcome::Failed(error.to_string()));
        }
        let mut answers = Vec::with_capacity(writes.len());
        let mut changed = false;
        for (index, write) in writes.iter().enumerate() {
            if let Some(error) = &answered[index] {
                answers.push(Err(error.clone()));
                continue;
            }
            let Some(entity) = write.entity() else {
                answers.push(empty(write));
                continue;
            };
            let mut rows = Rows { connection, store, chunks: chunks.as_deref(), entity };
            let changes = match decide(&mut rows, write) {
                Ok(changes) => changes,
                Err(problem) => {
                    answers.push(Err(refused(problem)));
                    continue;
                }
            };
            changed |= !changes.is_empty();
            for change in &changes {
                if let Err(error) = rows.apply(change) {
                    let outcome = if is_surroundings(&error) {
                        Outcome::Failed(error.to_string())
                    } else {
                        Outcome::Without(index, error.to_string())
                    };
                    return Ok(self.roll_back(outcome));
                }
            }
            answers.push(Ok(()));
        }
        if !changed {
            return Ok(self.roll_back(Outcome::Done(answers)));
        }
        let next = *commits + 1;
        let raised = connection
            .prepare_cached("UPDATE meta SET commits = ?1")
            .and_then(|mut statement| statement.execute([next]));
        if let Err(error) = raised {
            return Ok(self.roll_back(Outcome::Failed(error.to_string())));
        }
        match connection.execute_batch("COMMIT") {
            Ok(()) => {
                *commits = next;
                Ok(Outcome::Done(answers))
            }
            Err(error) => Ok(self.resolve(next, answers, &error.to_string())),
        }
    }

    /// Gives up the transaction; a connection that cannot is closed.
    fn roll_back(&mut self, outcome: Outcome) -> Outcome {
        let State::Open { connection, .. } = &mut self.state else { return outcome };
        if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
            self.state = State::Broken;
        }
        outcome
    }

    /// Finds out whether the commit with this number happened.
    fn resolve(&mut self, next: i64, answers: Vec<Result<(), WriteError>>, error: &str) -> Outcome {
        self.state = State::Broken;
        if Mutant::UnknownIsDone.is_on() {
            return Outcome::Done(answers);
        }
        if Mutant::FailedUnchecked.is_on() {
            return Outcome::Failed(error.to_owned());
        }
        let seen = schema::look(&self.place)
            .and_then(|connection| Ok((schema::meta(&connection, self.store)?.1, connection)));
        match seen {
            Ok((commits, connection)) if commits + 1 == next => {
                self.state = State::of(connection, commits);
                Outcome::Failed(error.to_owned())
            }
            Ok((commits, connection))
                if commits == next && schema::empty_log(&connection, None).is_ok() =>
            {
                self.state = State::of(connection, commits);
                Outcome::Done(answers)
            }
            Ok(_) | Err(_) => Outcome::Unknown(answers, error.to_owned()),
        }
    }

    /// One statement of its own, synced on return.
    fn change(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.copy_log(self.log_limits.pages_max)?;
        let outcome = self.connection()?.execute(sql, values);
        outcome.map(|_| ()).map_err(|error| {
            self.state = State::Broken;
            failed(error)
        })
    }

    /// Deletes one slice of what is forgotten. What a failure leaves behind is found by opening.
    fn tidy_slice(&mut self, slice: Slice) -> Result<bool, StoreError> {
        let outcome = litter::tidy(self.connection()?, slice);
        if outcome.is_err() {
            self.state = State::Broken;
        }
        outcome
    }

    /// Copies the log into the database if it holds at least so many pages. After a failure all is
    /// in the log as before, and can be read.
    fn copy_log(&self, pages: i32) -> Result<(), StoreError> {
        match &self.state {
            State::Open { connection, log, .. } if log.holds(pages) => log.copy(connection),
            State::Open { .. } | State::Broken => Ok(()),
        }
    }

    fn rows(&mut self, entity: EntityId) -> Result<Rows<'_>, StoreError> {
        let store = self.store;
        let connection = self.connection()?;
        Ok(Rows { connection, store, chunks: None, entity })
    }
}

impl State {
    /// Opens the file: which store it is, and its state.
    fn open(place: &Place, fresh: StoreId) -> Result<(StoreId, Self), StoreError> {
        let connection = schema::open(place)?;
        let (store, commits) = schema::meta(&connection, fresh)?;
        Ok((store, Self::of(connection, commits)))
    }

    /// A connection whose log cannot be watched is not used: the log would have no bound.
    fn of(mut connection: Connection, commits: i64) -> Self {
        match Log::watch(&mut connection) {
            Ok(log) => Self::Open { connection, log, commits },
            Err(_) => Self::Broken,
        }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqlite({} at {})", self.store, self.place.path.display())
    }
}

impl Journal for Sqlite {
    fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>> {
        let mut answered = vec![None; writes.len()];
        loop {
            let outcome = match self.attempt(writes, &answered) {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Failed(error.to_string()),
            };
            match outcome {
                Outcome::Done(answers) => return answers,
                // The others are tried again without it; each round answers one write more.
                Outcome::Without(index, error) => answered[index] = Some(WriteError::Failed(error)),
                Outcome::Failed(error) => {
                    return writes.iter().map(|_| Err(WriteError::Failed(error.clone()))).collect();
                }
                Outcome::Unknown(answers, error) => {
                    let unknown = |answer: Result<(), WriteError>| {
                        answer.and_then(|()| Err(WriteError::Unknown(error.clone())))
                    };
                    return answers.into_iter().map(unknown).collect();
                }
            }
        }
    }

    fn turns(
        &mut self,
        entity: &EntityId,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        self.rows(*entity)?.turns(attempt, after, count_max, bytes_max)
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        let more = self.tidy_slice(Slice::USUAL)?;
        self.copy_log(self.log_limits.pages_copied)?;
        Ok(more)
    }
}

impl Titles for Sqlite {
    fn store_id(&self) -> StoreId {
        self.store
    }

    fn entities(&mut self) -> Result<Vec<EntityId>, StoreError> {
        let connection = self.connection()?;
        let sql = "SELECT entity FROM seat UNION SELECT entity FROM copy ORDER BY 1";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let found = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(failed)?;
        let entity = |bytes: Result<Vec<u8>, _>| {
            let bytes = <[u8; 32]>::try_from(bytes.map_err(failed)?);
            bytes.map(EntityId::from_bytes).map_err(|_| damaged("the id of a daemon"))
        };
        found.map(entity).collect()
    }

    fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError> {
        self.rows(*entity)?.record()
    }
}

impl Vault for Sqlite {
    fn put_key(&mut self, entity: &EntityId, sealed: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO key (entity, sealed) VALUES (?1, ?2)
                   ON CONFLICT (entity) DO UPDATE SET sealed = excluded.sealed";
        self.change(sql, params![entity.as_bytes(), sealed])
    }

    fn key(&mut self, entity: &EntityId) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let sql = "SELECT sealed FROM key WHERE entity = ?1";
        let found = self.connection()?.query_row(sql, [entity.as_bytes()], |row| row.get(0));
        Ok(found.optional().map_err(failed)?.map(Zeroizing::new))
    }

    fn drop_key(&mut self, entity: &EntityId) -> Result<(), StoreError> {
        self.connection()?.pragma_update(None, "secure_delete", "ON").map_err(failed)?;
        let dropped = self.change("DELETE FROM key WHERE entity = ?1", [entity.as_bytes()]);
        let place = self.place.clone();
        let connection = self.connection()?;
        connection.pragma_update(None, "secure_delete", "FAST").map_err(failed)?;
        dropped?;
        schema::empty_log(connection, Some(&place))
    }

    fn set_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO note (name, bytes) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes";
        self.change(sql, params![name, bytes])
    }

    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM note WHERE name = ?1";
        let found = self.connection()?.query_row(sql, [name], |row| row.get(0));
        found.optional().map_err(failed)
    }
}
