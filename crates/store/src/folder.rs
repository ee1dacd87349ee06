//! Decides what a data folder is: whose it is, in which format, and how it was last left.
//!
//! ```text
//! lock          held by the process that uses the folder
//! format        "whimbrel 1": the version of everything here
//! generation    how often the folder was opened; the database holds the same number
//! whimbrel.db   titles, journals, keys, notes
//! chunks.db     chunks of snapshots
//! upgrading     only while an upgrade is under way
//! backup-N      everything as it was before the upgrade from format N
//! ```
//!
//! # What a restored backup shows
//!
//! If only some files of the folder come from a backup, the two generations differ and the folder
//! is [`LastClose::Mixed`]. A folder that was restored as a whole looks like any other that was
//! left at that time: no file in it can tell. A node therefore asks the members before it serves
//! daemons whatever it finds here.
//!
//! # Upgrades
//!
//! An older folder is copied first, then brought forward step by step, then its format is raised
//! ([`upgrade`]). There is one format so far, so there are no steps; a folder of a format that no step leads from
//! is refused.

mod files;
mod upgrade;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use whimbrel_wire::StoreId;

use crate::engine::Vault;
use crate::error::StoreError;
use crate::sqlite::{Place, Sqlite, SqliteChunks};
use files::{Files as _, Real, replace};
use upgrade::Step;

/// The format of folders that this version makes and reads.
const FORMAT: u32 = 1;

/// Steps from each older format to the next.
const STEPS: &[Step] = &[];

const GENERATION: &str = "folder.generation";
const CLOSED: &str = "folder.closed";

/// A data folder in use. The lock lasts as long as this value: drop the stores first.
#[must_use = "the folder is locked only while this lives"]
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    generation: u64,
    last_close: LastClose,
    /// Locked; the lock goes with the file.
    _lock: File,
}

/// How the folder was left before this opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LastClose {
    /// It did not exist.
    New,
    /// By [`Folder::close`].
    Clean,
    /// By a crash, or without `close`.
    Crash,
    /// The files are not of one time: some of them come from a backup.
    Mixed {
        /// How often the database was opened.
        database: u64,
        /// How often the folder was.
        folder: u64,
    },
}

/// Why a folder was not opened. Changed, for all: nothing but a lock file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Another process uses it. Fault: caller. Again: when that one has ended.
    #[error("the data folder {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// A newer version made it. Fault: caller. Again: with that version, or with the backup that
    /// its upgrade left beside it.
    #[error(
        "the data folder has format {found}; this version knows formats up to {known}. \
         use a newer version of whimbrel, or the backup that its upgrade made"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is too old to be upgraded. Fault: caller. Again: after a version in between has upgraded
    /// it.
    #[error("the data folder has format {found}; this version cannot bring it to {known}")]
    Older {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is not a data folder of ours. Fault: caller. Again: no.
    #[error("{} is not a data folder of whimbrel: {reason}", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What is there or not there.
        reason: &'static str,
    },
    /// The disk did not do it. Fault: surroundings. Again: once the cause is gone.
    #[error("could not use the data folder: {0}")]
    Disk(#[from] io::Error),
    /// A store in it could not be opened. As the store says.
    #[error("could not open a store in the data folder: {0}")]
    Store(#[from] StoreError),
}

impl Folder {
    /// Opens the folder at `path`, or makes it: locks it, upgrades it, opens its stores. A new one
    /// becomes the store `fresh`: 128 random bits.
    ///
    /// # Errors
    ///
    /// [`FolderError`] says why not.
    pub fn open(
        path: impl AsRef<Path>,
        fresh: StoreId,
    ) -> Result<(Self, Sqlite, Arc<SqliteChunks>), FolderError> {
        Self::open_as(path.as_ref(), fresh, FORMAT, STEPS)
    }

    fn open_as(
        path: &Path,
        fresh: StoreId,
        format: u32,
        steps: &[Step],
    ) -> Result<(Self, Sqlite, Arc<SqliteChunks>), FolderError> {
        Real.make_folder(path)?;
        let lock = lock(path)?;
        let new = upgrade::bring_to(&mut Real, path, format, steps)?;
        let chunks = Arc::new(SqliteChunks::open(Place::real(path.join("chunks.db")))?);
        let database = Place::real(path.join("whimbrel.db"));
        let mut engine = Sqlite::open(database, fresh, Some(chunks.clone()))?;
        let last_close = last_close(path, &mut engine, new)?;
        let generation = bump(path, &mut engine, last_close)?;
        let path = path.to_owned();
        Ok((Self { path, generation, last_close, _lock: lock }, engine, chunks))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it was left before.
    #[must_use]
    pub const fn last_close(&self) -> LastClose {
        self.last_close
    }

    /// Notes that everything was left in order, and gives the folder free.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: then the next opening sees a crash, and nothing is lost.
    pub fn close(self, mut engine: Sqlite) -> Result<(), StoreError> {
        engine.set_note(CLOSED, &self.generation.to_le_bytes())
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let file = File::options().create(true).append(true).open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn number(engine: &mut Sqlite, name: &str) -> Result<u64, StoreError> {
    let Some(bytes) = engine.note(name)? else { return Ok(0) };
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| StoreError::Damaged(name.to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

/// What the generations say. The database is raised first, so it may be one ahead.
fn last_close(path: &Path, engine: &mut Sqlite, new: bool) -> Result<LastClose, FolderError> {
    let database = number(engine, GENERATION)?;
    let text = fs::read_to_string(path.join("generation")).unwrap_or_default();
    let folder = text.trim().parse().unwrap_or(0);
    if new || (database == 0 && folder == 0) {
        return Ok(LastClose::New);
    }
    if database != folder && database != folder + 1 {
        return Ok(LastClose::Mixed { database, folder });
    }
    let clean = number(engine, CLOSED)? == database && database == folder;
    Ok(if clean { LastClose::Clean } else { LastClose::Crash })
}

/// One more opening, noted in the database and beside it.
fn bump(path: &Path, engine: &mut Sqlite, last: LastClose) -> Result<u64, FolderError> {
    let mut generation = number(engine, GENERATION)? + 1;
    if let LastClose::Mixed { folder, .. } = last {
        generation = generation.max(folder + 1);
    }
    engine.set_note(GENERATION, &generation.to_le_bytes())?;
    replace(&mut Real, path, "generation", &format!("{generation}\n"))?;
    Ok(generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Titles;

    fn open(path: &Path) -> Result<(Folder, Sqlite, Arc<SqliteChunks>), FolderError> {
        Folder::open(path, StoreId::new(7))
    }

    #[test]
    fn a_folder_remembers_who_it_is_and_how_it_was_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data");
        let (folder, engine, _chunks) = open(&path).unwrap();
        assert_eq!(folder.last_close(), LastClose::New);
        folder.close(engine).unwrap();
        let (folder, engine, _chunks) = Folder::open(&path, StoreId::new(8)).unwrap();
        assert_eq!((folder.last_close(), engine.store_id()), (LastClose::Clean, StoreId::new(7)));
        drop((folder, engine));
        let (folder, _engine, _chunks) = open(&path).unwrap();
        assert_eq!(folder.last_close(), LastClose::Crash);
    }

    #[test]
    fn a_folder_has_one_user() {
        let home = tempfile::tempdir().unwrap();
        let first = open(home.path()).unwrap();
        assert!(matches!(open(home.path()), Err(FolderError::Locked(_))));
        drop(first);
        drop(open(home.path()).unwrap());
    }

    #[test]
    fn a_newer_folder_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path()).unwrap());
        fs::write(home.path().join("format"), "whimbrel 2\n").unwrap();
        let before = fs::read(home.path().join("whimbrel.db")).unwrap();
        let error = open(home.path()).unwrap_err();
        assert!(matches!(error, FolderError::Newer { found: 2, known: 1 }));
        assert!(error.to_string().contains("newer version"), "{error}");
        assert_eq!(fs::read(home.path().join("whimbrel.db")).unwrap(), before);
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("format"), "something").unwrap();
        assert!(matches!(open(home.path()), Err(FolderError::Foreign { .. })));
        fs::remove_file(home.path().join("format")).unwrap();
        fs::write(home.path().join("whimbrel.db"), "something").unwrap();
        assert!(matches!(open(home.path()), Err(FolderError::Foreign { .. })));
    }

    #[test]
    fn a_database_from_an_old_backup_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let database = home.path().join("whimbrel.db");
        let (folder, engine, chunks) = open(home.path()).unwrap();
        folder.close(engine).unwrap();
        drop(chunks);
        // The log is part of the database, so a backup has both.
        let log = home.path().join("whimbrel.db-wal");
        let old = (fs::read(&database).unwrap(), fs::read(&log).unwrap());
        for _ in 0..3 {
            let (folder, engine, _chunks) = open(home.path()).unwrap();
            folder.close(engine).unwrap();
        }
        fs::write(&database, old.0).unwrap();
        fs::write(&log, old.1).unwrap();
        let (folder, engine, _chunks) = open(home.path()).unwrap();
        assert_eq!(folder.last_close(), LastClose::Mixed { database: 1, folder: 4 });
        folder.close(engine).unwrap();
        assert_eq!(open(home.path()).unwrap().0.last_close(), LastClose::Clean);
    }

    /// Format 0 never left the workshop: its database has another name.
    fn fabricate(path: &Path) {
        drop(open(path).unwrap());
        fs::rename(path.join("whimbrel.db"), path.join("journal.db")).unwrap();
        fs::rename(path.join("whimbrel.db-wal"), path.join("journal.db-wal")).unwrap();
        fs::write(path.join("format"), "whimbrel 0\n").unwrap();
    }

    fn rename(_: &mut dyn files::Files, path: &Path) -> Result<(), FolderError> {
        fs::rename(path.join("journal.db-wal"), path.join("whimbrel.db-wal"))?;
        Ok(fs::rename(path.join("journal.db"), path.join("whimbrel.db"))?)
    }

    /// The power goes in the middle of `rename`.
    fn rename_half(_: &mut dyn files::Files, path: &Path) -> Result<(), FolderError> {
        fs::rename(path.join("journal.db-wal"), path.join("whimbrel.db-wal"))?;
        Err(FolderError::Disk(io::Error::other("cut off")))
    }

    #[test]
    fn an_older_folder_is_upgraded_and_its_backup_stays() {
        let home = tempfile::tempdir().unwrap();
        fabricate(home.path());
        assert!(matches!(open(home.path()), Err(FolderError::Older { found: 0, known: 1 })));
        let before = fs::read(home.path().join("journal.db")).unwrap();
        let upgrade = |step| Folder::open_as(home.path(), StoreId::new(8), 1, &[(0, step)]);
        assert!(matches!(upgrade(rename_half), Err(FolderError::Disk(_))));
        let (_, engine, _) = upgrade(rename).unwrap();
        assert_eq!(engine.store_id(), StoreId::new(7));
        let backup = home.path().join("backup-0");
        assert_eq!(fs::read(backup.join("journal.db")).unwrap(), before);
        assert_eq!(fs::read_to_string(backup.join("format")).unwrap(), "whimbrel 0\n");
        assert_eq!(fs::read_to_string(home.path().join("format")).unwrap(), "whimbrel 1\n");
    }
}
