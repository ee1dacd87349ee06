//! Decides how the rows of forgotten turns leave the file: later than they are forgotten, in slices.
//!
//! A write that forgets turns only marks them: it drops the row of the copy or raises its
//! `forgotten`, and notes in `litter` up to which position the rows of that copy are not
//! wanted. Deleting is for [`crate::Journal::tidy`], so that no write waits for the pages of
//! another daemon's past to be read and freed.
//!
//! # Invariants
//!
//! * L1 (out of sight): a row of `turn` that `litter` names is below what its copy has forgotten,
//!   or its copy is gone. Ids of copies are never given twice, so no read comes upon it.
//! * L2 (found again): what is to be deleted is noted in the commit that forgets it, and struck
//!   out in the commit that deletes the last of it. A crash leaves fewer rows and the same note.
//!
//! # Limits
//!
//! * [`Slice::USUAL`] bounds what one slice deletes; a single row larger than that goes alone.
//! * Nothing bounds how much lies in `litter`, but that each row of it was once written by a turn.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use whimbrel_mutants::Mutant;

use super::rows::failed;
use crate::error::StoreError;

/// The position through which a copy that is gone is forgotten.
pub(super) const ALL: i64 = i64::MAX;

/// How much is deleted in one commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Rows of turns.
    pub(super) rows_max: usize,
    /// Bytes of their batches: pages that have to be read, to be freed.
    pub(super) bytes_max: usize,
}

impl Slice {
    /// About as long as the sync that makes it durable.
    pub(super) const USUAL: Self = Self { rows_max: 512, bytes_max: 1024 * 1024 };
}

/// Notes that the turns of a copy up to `through` are not wanted any more.
pub(super) fn note(connection: &Connection, copy: i64, through: i64) -> Result<(), StoreError> {
    if Mutant::LitterUnnoted.is_on() {
        return Ok(());
    }
    let sql = "INSERT INTO litter (copy, through) VALUES (?1, ?2)
               ON CONFLICT (copy) DO UPDATE SET through = max(through, excluded.through)";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.execute([copy, through]).map(|_| ()).map_err(failed)
}

/// Deletes one slice, as one commit. Whether more is left.
pub(super) fn tidy(connection: &mut Connection, slice: Slice) -> Result<bool, StoreError> {
    let Some((copy, through)) = first(connection)? else { return Ok(false) };
    let behavior = TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behavior).map_err(failed)?;
    let (last, more) = pick(&transaction, copy, through, slice)?;
    let more = more && !Mutant::LitterStruckEarly.is_on();
    if let Some(last) = last {
        let sql = "DELETE FROM turn WHERE copy = ?1 AND first <= ?2";
        let mut statement = transaction.prepare_cached(sql).map_err(failed)?;
        statement.execute([copy, last]).map_err(failed)?;
    }
    if !more {
        let sql = "DELETE FROM litter WHERE copy = ?1";
        transaction
            .prepare_cached(sql)
            .and_then(|mut done| done.execute([copy]))
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    Ok(more || first(connection)?.is_some())
}

/// The copy to go on with, and through which position it is forgotten.
fn first(connection: &Connection) -> Result<Option<(i64, i64)>, StoreError> {
    let sql = "SELECT copy, through FROM litter ORDER BY copy LIMIT 1";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let found = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
    found.optional().map_err(failed)
}

/// The first position of the last row that the slice takes, and whether it leaves any.
///
/// Rows lie in the order of their turns, so those to be deleted come before all others, and no
/// more rows are looked at than the slice may take, and one.
fn pick(
    connection: &Connection,
    copy: i64,
    through: i64,
    slice: Slice,
) -> Result<(Option<i64>, bool), StoreError> {
    // The length of a blob is known without reading its pages.
    let sql = "SELECT first, last, length(batch) FROM turn WHERE copy = ?1 ORDER BY first";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut found = statement.query(params![copy]).map_err(failed)?;
    let (mut taken, mut rows, mut bytes) = (None, 0, 0_usize);
    while let Some(row) = found.next().map_err(failed)? {
        let last: i64 = row.get(1).map_err(failed)?;
        if through < last {
            break;
        }
        let length: i64 = row.get(2).map_err(failed)?;
        rows += 1;
        bytes = bytes.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        if taken.is_some() && (slice.rows_max < rows || slice.bytes_max < bytes) {
            return Ok((taken, true));
        }
        taken = Some(row.get(0).map_err(failed)?);
    }
    Ok((taken, false))
}
