//! Decides which rows say what: reads a [`View`] of one daemon and makes its changes.
//!
//! Whatever is read is checked: lengths, numbers, encodings, that deeds and turns have no gaps.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    AttemptId, CopyRecord, EntityId, Epoch, Head, Holding, Manifest, Position, SeatRecord,
    SignedDeed, StoreId, Turn, decode, encode,
};

use super::litter;
use crate::chunks::{Chunks, names_present};
use crate::error::StoreError;
use crate::rules::{Change, Edges, Held, Seat, View};

/// Most turns in one row, and most bytes of payload: what a reader has to decode to see one.
const ROW_TURNS_MAX: usize = 256;
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// The rows of one daemon.
pub(super) struct Rows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) store: StoreId,
    pub(super) chunks: Option<&'a dyn Chunks>,
    pub(super) entity: EntityId,
}

/// A copy without its manifest.
struct CopyRow {
    id: i64,
    edges: Edges,
}

fn head_from(bytes: &[u8]) -> Result<Head, StoreError> {
    decode(bytes).map_err(|_| damaged("where a copy ends"))
}

/// The error for bytes that are not what was written.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

/// The error for what SQLite could not do.
#[allow(clippy::wildcard_enum_match_arm, reason = "an error of another crate, open-ended")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(code, _)
            if matches!(
                code.code,
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
            ) =>
        {
            StoreError::Damaged(error.to_string())
        }
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..) => {
            StoreError::Damaged(error.to_string())
        }
        error => StoreError::Failed(error.to_string()),
    }
}

/// Whether every other write would meet this error too: a full or broken disk.
pub(super) fn is_surroundings(error: &StoreError) -> bool {
    !matches!(error, StoreError::Damaged(_))
}

/// A 128-bit number in a row.
pub(super) fn wide(bytes: &[u8]) -> Result<u128, StoreError> {
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| damaged("an id of 128 bits"))?;
    Ok(u128::from_be_bytes(bytes))
}

fn number(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Failed(format!("{value} is out of range")))
}

fn count(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| damaged("a number below zero"))
}

const fn key(attempt: AttemptId) -> [u8; 16] {
    attempt.get().to_be_bytes()
}

impl Rows<'_> {
    /// Makes one change.
    pub(super) fn apply(&self, change: &Change<'_>) -> Result<(), StoreError> {
        match change {
            Change::Seat(seat) => self.put_seat(seat),
            Change::Deed(deed) => {
                let epoch = number(deed.deed.epoch.get())?;
                let sql = "INSERT INTO deed (entity, epoch, deed) VALUES (?1, ?2, ?3)";
                self.execute(sql, params![self.entity.as_bytes(), epoch, encode(*deed)])
            }
            Change::Attempt(attempt) => {
                let sql = "INSERT INTO attempt (entity, attempt) VALUES (?1, ?2)";
                self.execute(sql, params![self.entity.as_bytes(), key(*attempt)])
            }
            Change::ForgetAttempts => {
                self.execute("DELETE FROM attempt WHERE entity = ?1", [self.entity.as_bytes()])
            }
            Change::PutCopy { attempt, epoch, manifest } => {
                self.put_copy(*attempt, *epoch, manifest)
            }
            Change::Base { attempt, manifest } => {
                let sql = "UPDATE copy SET base = ?2, manifest = ?3 WHERE id = ?1";
                let base = encode(&manifest.head);
                self.execute(sql, params![self.existing(*attempt)?.id, base, encode(*manifest)])
            }
            Change::Turns { attempt, turns } => self.put_turns(*attempt, turns),
            Change::Forget { attempt, through } => {
                let (copy, through) = (self.existing(*attempt)?.id, number(through.get())?);
                self.execute("UPDATE copy SET forgotten = ?2 WHERE id = ?1", [copy, through])?;
                litter::note(self.connection, copy, through)
            }
            Change::DropCopy { attempt } => self.drop_copy(*attempt),
        }
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.execute(values).map(|_| ()).map_err(failed)
    }

    fn one<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row(values, read).optional().map_err(failed)
    }

    fn put_seat(&self, seat: &Seat) -> Result<(), StoreError> {
        let (held, live, handed) = match seat.held {
            Held::Nothing => (0, None, None),
            Held::Owned { live } => (1, Some(key(live)), None),
            Held::HandedOver { live, by } => (2, Some(key(live)), Some(number(by.get())?)),
            Held::Deleted => (3, None, None),
        };
        let epoch = number(seat.epoch.map_or(0, Epoch::get))?;
        let sql = "INSERT INTO seat (entity, epoch, held, live, handed) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (entity) DO UPDATE SET epoch = excluded.epoch, held = excluded.held,
                   live = excluded.live, handed = excluded.handed";
        self.execute(sql, params![self.entity.as_bytes(), epoch, held, live, handed])
    }

    fn put_copy(
        &self,
        attempt: AttemptId,
        epoch: Epoch,
        manifest: &Manifest,
    ) -> Result<(), StoreError> {
        self.drop_copy(attempt)?;
        let sql = "INSERT INTO copy (entity, attempt, epoch, forgotten, base, manifest)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let forgotten = number(manifest.head.position.get())?;
        let base = encode(&manifest.head);
        let (entity, epoch) = (self.entity.as_bytes(), number(epoch.get())?);
        let manifest = encode(manifest);
        self.execute(sql, params![entity, key(attempt), epoch, forgotten, base, manifest])
    }

    fn drop_copy(&self, attempt: AttemptId) -> Result<(), StoreError> {
        let Some(copy) = self.copy(attempt)? else { return Ok(()) };
        self.execute("DELETE FROM copy WHERE id = ?1", [copy.id])?;
        litter::note(self.connection, copy.id, litter::ALL)
    }

    fn put_turns(&self, attempt: AttemptId, turns: &[Turn]) -> Result<(), StoreError> {
        let copy = self.existing(attempt)?.id;
        let mut rest = turns;
        while let Some(first) = rest.first() {
            let (batch, later) = rest.split_at(row_length(rest));
            rest = later;
            let Some(last) = batch.last() else { continue };
            let sql = "INSERT INTO turn (copy, first, last, head, batch)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let edges = (number(first.position().get())?, number(last.position().get())?);
            self.execute(
                sql,
                params![copy, edges.0, edges.1, encode(&last.stamp.head), encode(&batch)],
            )?;
        }
        Ok(())
    }

    fn copy(&self, attempt: AttemptId) -> Result<Option<CopyRow>, StoreError> {
        let sql = "SELECT id, epoch, forgotten, base FROM copy WHERE entity = ?1 AND attempt = ?2";
        let values = params![self.entity.as_bytes(), key(attempt)];
        let read =
            |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Vec<u8>>(3)?));
        let Some((id, epoch, forgotten, base)) = self.one(sql, values, read)? else {
            return Ok(None);
        };
        let base = head_from(&base)?;
        let sql = "SELECT head FROM turn WHERE copy = ?1 ORDER BY first DESC LIMIT 1";
        let last = self.one(sql, [id], |row| row.get::<_, Vec<u8>>(0))?;
        let last = last.map(|last| head_from(&last)).transpose()?;
        let last = last.filter(|last| base.position < last.position);
        let epoch = Epoch::new(count(epoch)?);
        let forgotten = Position::new(count(forgotten)?);
        Ok(Some(CopyRow { id, edges: Edges { epoch, forgotten, base, last } }))
    }

    fn existing(&self, attempt: AttemptId) -> Result<CopyRow, StoreError> {
        self.copy(attempt)?.ok_or_else(|| damaged("a copy that the ownership row names"))
    }

    /// Everything that is known of the daemon.
    pub(super) fn record(&mut self) -> Result<SeatRecord, StoreError> {
        let seat = self.seat()?;
        let deeds = self.deeds()?;
        if deeds.last().map(|deed| deed.deed.epoch) != seat.epoch {
            return Err(damaged("the chain of deeds"));
        }
        let live = seat.held.live();
        let mut waiting = self.copies()?;
        let index = waiting.iter().position(|copy| live == Some(copy.attempt));
        let kept = index.map(|index| waiting.remove(index));
        let holding = match (seat.held, kept) {
            (Held::Owned { .. }, Some(copy)) => Holding::Owned(copy),
            (Held::HandedOver { .. }, Some(copy)) => Holding::HandedOver(copy),
            (Held::Owned { .. } | Held::HandedOver { .. }, None) => {
                return Err(damaged("a copy that the ownership row names"));
            }
            (Held::Deleted, _) => Holding::Deleted,
            (Held::Nothing, _) => Holding::Nothing,
        };
        Ok(SeatRecord { deeds, holding, attempts: self.attempts()?, waiting })
    }

    fn column(&self, sql: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let found = statement.query_map([self.entity.as_bytes()], |row| row.get(0));
        found.map_err(failed)?.map(|bytes| bytes.map_err(failed)).collect()
    }

    fn deeds(&self) -> Result<Vec<SignedDeed>, StoreError> {
        let found = self.column("SELECT deed FROM deed WHERE entity = ?1 ORDER BY epoch")?;
        let mut next = Epoch::FIRST;
        let mut read = |bytes: Vec<u8>| {
            let deed = self.deed_from(&bytes, next)?;
            next = next.next();
            Ok(deed)
        };
        found.into_iter().map(&mut read).collect()
    }

    fn deed_from(&self, bytes: &[u8], epoch: Epoch) -> Result<SignedDeed, StoreError> {
        let deed: SignedDeed = decode(bytes).map_err(|_| damaged("a deed"))?;
        if deed.deed.entity != self.entity || deed.deed.epoch != epoch {
            return Err(damaged("a deed in the place of another"));
        }
        Ok(deed)
    }

    fn attempts(&self) -> Result<Vec<AttemptId>, StoreError> {
        let sql = "SELECT attempt FROM attempt WHERE entity = ?1 ORDER BY attempt";
        let found = self.column(sql)?;
        found.iter().map(|bytes| wide(bytes).map(AttemptId::new)).collect()
    }

    fn copies(&self) -> Result<Vec<CopyRecord>, StoreError> {
        let sql = "SELECT attempt FROM copy WHERE entity = ?1 ORDER BY attempt";
        let found = self.column(sql)?;
        let read = |bytes: &Vec<u8>| {
            let attempt = AttemptId::new(wide(bytes)?);
            let copy = self.existing(attempt)?;
            let sql = "SELECT manifest FROM copy WHERE id = ?1";
            let bytes = self.one(sql, [copy.id], |row| row.get::<_, Vec<u8>>(0))?;
            let manifest: Option<Manifest> = bytes.and_then(|bytes| decode(&bytes).ok());
            let sound = |manifest: &Manifest| manifest.head == copy.edges.base;
            let manifest = manifest.filter(sound).ok_or_else(|| damaged("a manifest"))?;
            let last = copy.edges.last;
            Ok(CopyRecord { attempt, epoch: copy.edges.epoch, manifest, last })
        };
        found.iter().map(read).collect()
    }

    /// Turns of one copy.
    pub(super) fn turns(
        &self,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        let copy = self.copy(attempt)?.ok_or(StoreError::NoCopy)?;
        let forgotten = copy.edges.forgotten;
        if after < forgotten {
            return Err(StoreError::Forgotten { through: forgotten });
        }
        let sql = "SELECT batch FROM turn WHERE copy = ?1 AND first >= coalesce(
                     (SELECT max(first) FROM turn WHERE copy = ?1 AND first <= ?2), 0)
                   ORDER BY first";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([copy.id, number(after.next().get())?]).map_err(failed)?;
        let (mut turns, mut bytes, mut position) = (Vec::new(), 0, after);
        while let Some(row) = rows.next().map_err(failed)? {
            let batch = row.get_ref(0).map_err(failed)?.as_blob();
            let batch = batch.map_err(|_| damaged("a batch of turns"))?;
            let batch: Vec<Turn> = decode(batch).map_err(|_| damaged("a batch of turns"))?;
            for turn in batch.into_iter().filter(|turn| after < turn.position()) {
                bytes += turn.event.payload.len().max(1);
                if turns.len() == count_max || (bytes_max < bytes && !turns.is_empty()) {
                    return Ok(turns);
                }
                position = position.next();
                if turn.position() != position {
                    return Err(damaged("a journal with a gap"));
                }
                turns.push(turn);
            }
        }
        Ok(turns)
    }
}

/// How many of `turns` go into the next row: at least one.
fn row_length(turns: &[Turn]) -> usize {
    let mut bytes = 0;
    let fits = |turn: &&Turn| {
        bytes += turn.event.payload.len();
        bytes <= ROW_BYTES_MAX
    };
    turns.iter().take(ROW_TURNS_MAX).take_while(fits).count().max(1)
}

impl View for Rows<'_> {
    fn store(&self) -> StoreId {
        self.store
    }

    fn seat(&mut self) -> Result<Seat, StoreError> {
        let sql = "SELECT epoch, held, live, handed FROM seat WHERE entity = ?1";
        let read = |row: &Row<'_>| {
            let live: Option<Vec<u8>> = row.get(2)?;
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, live, row.get::<_, Option<i64>>(3)?))
        };
        let found = self.one(sql, [self.entity.as_bytes()], read)?;
        let Some((epoch, held, live, handed)) = found else { return Ok(Seat::default()) };
        let epoch = Some(Epoch::new(count(epoch)?));
        let live = live.map(|live| wide(&live).map(AttemptId::new)).transpose()?;
        let handed = handed.map(count).transpose()?.map(Epoch::new);
        let held = match (held, live, handed) {
            (0, None, None) => Held::Nothing,
            (1, Some(live), None) => Held::Owned { live },
            (2, Some(live), Some(by)) => Held::HandedOver { live, by },
            (3, None, None) => Held::Deleted,
            _ => return Err(damaged("an ownership row")),
        };
        Ok(Seat { epoch, held })
    }

    fn deed(&mut self, epoch: Epoch) -> Result<Option<SignedDeed>, StoreError> {
        let Ok(row) = number(epoch.get()) else { return Ok(None) };
        let sql = "SELECT deed FROM deed WHERE entity = ?1 AND epoch = ?2";
        let values = params![self.entity.as_bytes(), row];
        let found = self.one(sql, values, |row| row.get::<_, Vec<u8>>(0))?;
        found.map(|bytes| self.deed_from(&bytes, epoch)).transpose()
    }

    fn edges(&mut self, attempt: AttemptId) -> Result<Option<Edges>, StoreError> {
        Ok(self.copy(attempt)?.map(|copy| copy.edges))
    }

    fn has_copies(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM copy WHERE entity = ?1 LIMIT 1";
        Ok(self.one(sql, [self.entity.as_bytes()], |_| Ok(()))?.is_some())
    }

    fn begun(&mut self, attempt: AttemptId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM attempt WHERE entity = ?1 AND attempt = ?2";
        let values = params![self.entity.as_bytes(), key(attempt)];
        Ok(self.one(sql, values, |_| Ok(()))?.is_some())
    }

    fn chunks_complete(&mut self, manifest: &Manifest) -> Result<bool, StoreError> {
        if Mutant::PointersUnchecked.is_on() {
            return Ok(true);
        }
        self.chunks.map_or(Ok(true), |chunks| names_present(chunks, manifest))
    }
}
