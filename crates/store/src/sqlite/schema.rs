//! Decides the tables of the database and the settings under which it is opened.
//!
//! A change here is a new [`FORMAT`] and a step in `folder` that brings older files to it.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use whimbrel_mutants::Mutant;
use whimbrel_wire::StoreId;

use super::Place;
use super::rows::{damaged, failed, wide};
use crate::error::StoreError;

/// The format of the tables, as `user_version` of the file.
pub(crate) const FORMAT: i64 = 1;

/// Marks the file as ours, as `application_id`: "whim".
pub(crate) const APPLICATION: i64 = 0x7768_696d;

const TABLES: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    store BLOB NOT NULL,
    commits INTEGER NOT NULL
);
CREATE TABLE note (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE key (entity BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE seat (
    entity BLOB PRIMARY KEY,
    epoch INTEGER NOT NULL,
    held INTEGER NOT NULL,
    live BLOB,
    handed INTEGER
) WITHOUT ROWID;
CREATE TABLE deed (
    entity BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    deed BLOB NOT NULL,
    PRIMARY KEY (entity, epoch)
) WITHOUT ROWID;
CREATE TABLE attempt (
    entity BLOB NOT NULL,
    attempt BLOB NOT NULL,
    PRIMARY KEY (entity, attempt)
) WITHOUT ROWID;
CREATE TABLE copy (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    entity BLOB NOT NULL,
    attempt BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    forgotten INTEGER NOT NULL,
    base BLOB NOT NULL,
    manifest BLOB NOT NULL,
    UNIQUE (entity, attempt)
);
CREATE TABLE turn (
    copy INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    head BLOB NOT NULL,
    batch BLOB NOT NULL,
    PRIMARY KEY (copy, first)
) WITHOUT ROWID;
CREATE TABLE litter (copy INTEGER PRIMARY KEY, through INTEGER NOT NULL);
";

/// Opens a file with the settings that everything of ours has.
pub(super) fn connect(place: &Place) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let opened = match &place.vfs {
        None => Connection::open_with_flags(&place.path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(&place.path, flags, vfs.as_str()),
    };
    let connection = opened.map_err(failed)?;
    // Closing must not touch the log: what a failed commit left there is for the next opening to
    // judge, and a log that was removed can come back.
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(no_checkpoint, true).map_err(failed)?;
    Ok(connection)
}

/// Switches to a log, with a sync at each commit.
///
/// With a log EXTRA is what FULL is. It adds that the removal of the journal with which a new file
/// begins is synced too: that journal must not come back and undo everything.
pub(super) fn keep_log(connection: &Connection) -> Result<(), StoreError> {
    let level = if Mutant::CommitUnsynced.is_on() {
        "NORMAL"
    } else if Mutant::RemovalUnsynced.is_on() {
        "FULL"
    } else {
        "EXTRA"
    };
    connection.pragma_update(None, "synchronous", level).map_err(failed)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::Failed(format!("the journal mode is {mode}, not wal")));
    }
    Ok(())
}

/// Opens the database, with its tables, and makes everything that can be seen durable.
pub(super) fn open(place: &Place) -> Result<Connection, StoreError> {
    let connection = look(place)?;
    if !Mutant::LogTrusted.is_on() {
        empty_log(&connection, Some(place))?;
    }
    prepare(&connection, TABLES)?;
    Ok(connection)
}

/// Opens the database: what is seen may not be durable.
pub(super) fn look(place: &Place) -> Result<Connection, StoreError> {
    let connection = connect(place)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    keep_log(&connection)?;
    let settings = "PRAGMA secure_delete = FAST;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA wal_autocheckpoint = 0;";
    connection.execute_batch(settings).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes the tables of a new file; refuses one that is not ours.
pub(super) fn prepare(connection: &Connection, tables: &str) -> Result<(), StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0)).map_err(failed);
    let (application, format): (i64, i64) = (number("application_id")?, number("user_version")?);
    match (application, format) {
        (APPLICATION, FORMAT) => Ok(()),
        (0, 0) => {
            let made = format!(
                "BEGIN IMMEDIATE; {tables}
                 PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;"
            );
            connection.execute_batch(&made).map_err(failed)
        }
        (APPLICATION, other) => Err(damaged(&format!("format {other} of the database"))),
        (other, _) => Err(damaged(&format!("a database of application {other:#x}"))),
    }
}

/// Which store this is and how many commits it has seen; a new file becomes `fresh`.
pub(super) fn meta(connection: &Connection, fresh: StoreId) -> Result<(StoreId, i64), StoreError> {
    let sql = "SELECT store, commits FROM meta";
    let row = connection.query_row(sql, [], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)));
    let Some((store, commits)) = row.optional().map_err(failed)? else {
        let sql = "INSERT INTO meta (id, store, commits) VALUES (1, ?1, 0)";
        connection.execute(sql, [fresh.get().to_be_bytes()]).map_err(failed)?;
        return Ok((fresh, 0));
    };
    Ok((StoreId::new(wide(&store)?), commits))
}

/// Copies the log into the database, syncs it, cuts the log to nothing and begins it anew, in the `place`
/// that is taken for it.
///
/// That the log was cut is not durable by itself. One that came back would be copied over the database
/// again, and without what a failed sync kept from it, which the database has. The first commit of the
/// new log is synced, and the cut with it.
pub(super) fn empty_log(connection: &Connection, place: Option<&Place>) -> Result<(), StoreError> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
    if busy != 0 {
        return Err(StoreError::Failed("a reader keeps the log from being emptied".to_owned()));
    }
    if let Some(place) = place {
        super::log::take_place(place);
    }
    // A commit that changes nothing: its number as it is.
    let format: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    connection.pragma_update(None, "user_version", format).map_err(failed)
}
