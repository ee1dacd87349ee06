//! Decides what the crash tests may see of an engine, and turn in it.

use super::litter::Slice;
use super::log::Limits;
use super::rows::failed;
use super::{Sqlite, SqliteChunks};
use crate::error::StoreError;

impl Sqlite {
    /// A log so short that a few commits fill it.
    pub(crate) fn shorten_log(&mut self, pages: u32) {
        let pages_max = i32::try_from(pages).unwrap_or(i32::MAX);
        self.log_limits = Limits { pages_copied: pages_max / 2, pages_max };
    }

    /// Deletes at most one row of what is forgotten, and copies the log if it is long.
    pub(crate) fn tidy_one(&mut self) -> Result<bool, StoreError> {
        let more = self.tidy_slice(Slice { rows_max: 1, bytes_max: 1 })?;
        self.copy_log(self.log_limits.pages_copied)?;
        Ok(more)
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
