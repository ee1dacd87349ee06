//! Decides what the crash tests may see of an engine, and turn in it.

use super::litter::Slice;
use super::rows::failed;
use super::{Sqlite, SqliteChunks, State};
use crate::error::StoreError;

impl Sqlite {
    /// A log so short that a few commits fill it.
    pub(crate) fn shorten_log(&self, pages: u32) {
        if let State::Open { connection, .. } = &self.state {
            // A log of the usual length passes too, only sees less.
            let _ = connection.pragma_update(None, "wal_autocheckpoint", pages);
        }
    }

    /// Deletes at most one row of what is forgotten.
    pub(crate) fn tidy_one(&mut self) -> Result<bool, StoreError> {
        self.tidy_slice(Slice { rows_max: 1, bytes_max: 1 })
    }

    /// Rows of turns that no read comes upon.
    pub(crate) fn unwanted(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM turn LEFT JOIN copy ON copy.id = turn.copy
                   WHERE copy.id IS NULL OR turn.last <= copy.forgotten";
        self.connection()?.query_row(sql, [], |row| row.get(0)).map_err(failed)
    }
}

impl SqliteChunks {
    /// As [`Sqlite::shorten_log`].
    pub(crate) fn shorten_log(&self, pages: u32) -> Result<(), StoreError> {
        self.write(|connection| {
            connection.pragma_update(None, "wal_autocheckpoint", pages).map_err(failed)
        })
    }
}
