//! Decides how an engine keeps everything in memory: for volatile daemons, tests and models.
//!
//! It is as strict as one on a disk, but nothing survives the process. Its two halves, titles and
//! copies, are apart so that the battery can put them on two backends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use whimbrel_wire::{
    AttemptId, CopyRecord, EntityId, Epoch, Holding, Manifest, Position, SeatRecord, SignedDeed,
    StoreId, Turn, Write, WriteError, WriteRefusal,
};
use zeroize::Zeroizing;

use crate::chunks::{Chunks, names_present};
use crate::engine::{Journal, Titles, Vault};
use crate::error::StoreError;
use crate::rules::{Change, Edges, Held, Problem, Seat, View, decide, may_append};

/// An engine that keeps everything in memory. A clone is what a disk would hold at that moment.
#[derive(Clone)]
pub struct Memory {
    store: StoreId,
    chunks: Option<Arc<dyn Chunks>>,
    daemons: BTreeMap<EntityId, (Title, Copies)>,
    keys: BTreeMap<EntityId, Zeroizing<Vec<u8>>>,
    notes: BTreeMap<String, Vec<u8>>,
}

/// Chunks are kept elsewhere and not compared.
impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store
            && self.daemons == other.daemons
            && self.keys == other.keys
            && self.notes == other.notes
    }
}

impl Eq for Memory {}

impl Hash for Memory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.store, &self.daemons, &self.notes).hash(state);
        self.keys.keys().for_each(|entity| entity.hash(state));
    }
}

/// What is known of the title of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Title {
    pub(crate) seat: Seat,
    pub(crate) deeds: Vec<SignedDeed>,
    pub(crate) attempts: BTreeSet<AttemptId>,
}

/// The copies of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Copies(BTreeMap<AttemptId, Copy>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Copy {
    epoch: Epoch,
    forgotten: Position,
    manifest: Manifest,
    /// Those after `forgotten`, without gaps; each by itself, so that a journal that grows moves none of them.
    turns: VecDeque<Box<Turn>>,
}

/// Both halves, as the rules look at them.
pub(crate) struct Halves<'a> {
    pub(crate) store: StoreId,
    pub(crate) chunks: Option<&'a dyn Chunks>,
    pub(crate) title: &'a Title,
    pub(crate) copies: &'a Copies,
}

impl Memory {
    /// An empty store. With `chunks`, a snapshot is refused whose own chunks are not there.
    #[must_use]
    pub fn new(store: StoreId, chunks: Option<Arc<dyn Chunks>>) -> Self {
        let (daemons, keys, notes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { store, chunks, daemons, keys, notes }
    }

    /// Does a [`Write::Append`] of one turn, and keeps the turn itself: nothing is copied.
    ///
    /// # Errors
    ///
    /// Those of the write.
    #[inline]
    pub fn append(
        &mut self,
        entity: &EntityId,
        epoch: Epoch,
        after: Position,
        turn: Turn,
    ) -> Result<(), WriteError> {
        let Some((title, copies)) = self.daemons.get_mut(entity) else {
            return Err(WriteError::Refused(WriteRefusal::NotOwner));
        };
        let chunks = self.chunks.as_deref();
        let mut view = Halves { store: self.store, chunks, title, copies };
        let turns = std::slice::from_ref(&turn);
        let live = may_append(&mut view, epoch, after, turns).map_err(refused)?;
        if let Some(copy) = copies.0.get_mut(&live) {
            copy.turns.push_back(Box::new(turn));
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Some(entity) = write.entity() else { return empty(write) };
        let stranger = (Title::default(), Copies::default());
        let (title, copies) = self.daemons.get(&entity).unwrap_or(&stranger);
        let chunks = self.chunks.as_deref();
        let mut view = Halves { store: self.store, chunks, title, copies };
        let changes = decide(&mut view, write).map_err(refused)?;
        let (title, copies) = self.daemons.entry(entity).or_default();
        for change in &changes {
            title.apply(change);
            copies.apply(change);
        }
        if *title == stranger.0 && *copies == stranger.1 {
            self.daemons.remove(&entity);
        }
        Ok(())
    }
}

/// The answer to a write that is about no daemon: an empty list of deeds.
pub(crate) const fn empty(write: &Write) -> Result<(), WriteError> {
    match write {
        Write::Accept { .. } => Err(WriteError::Refused(WriteRefusal::DeedGap)),
        Write::Learn { .. }
        | Write::Birth { .. }
        | Write::Append { .. }
        | Write::Publish { .. }
        | Write::Compact { .. }
        | Write::BeginAttempt { .. }
        | Write::HandOver { .. }
        | Write::Reclaim { .. }
        | Write::SaveCopy { .. }
        | Write::AppendCopy { .. }
        | Write::DropCopy { .. }
        | Write::DropState { .. }
        | Write::Delete { .. } => Ok(()),
    }
}

/// A write that was not even tried.
pub(crate) fn refused(problem: Problem) -> WriteError {
    match problem {
        Problem::Refused(refusal) => WriteError::Refused(refusal),
        Problem::Store(error) => WriteError::Failed(error.to_string()),
    }
}

impl Title {
    /// Makes the changes that are about titles.
    pub(crate) fn apply(&mut self, change: &Change<'_>) {
        match change {
            Change::Seat(seat) => self.seat = *seat,
            Change::Deed(deed) => self.deeds.push((*deed).clone()),
            Change::Attempt(attempt) => {
                self.attempts.insert(*attempt);
            }
            Change::ForgetAttempts => self.attempts.clear(),
            Change::PutCopy { .. }
            | Change::Base { .. }
            | Change::Turns { .. }
            | Change::Forget { .. }
            | Change::DropCopy { .. } => {}
        }
    }

    /// The record of a daemon with these copies.
    pub(crate) fn record(&self, copies: &Copies) -> Result<SeatRecord, StoreError> {
        let live = self.seat.held.live();
        let kept = live.map(|live| copies.record(live).ok_or(StoreError::NoCopy)).transpose()?;
        let holding = match (self.seat.held, kept) {
            (Held::Owned { .. }, Some(copy)) => Holding::Owned(copy),
            (Held::HandedOver { .. }, Some(copy)) => Holding::HandedOver(copy),
            (Held::Deleted, _) => Holding::Deleted,
            (Held::Owned { .. } | Held::HandedOver { .. } | Held::Nothing, _) => Holding::Nothing,
        };
        let waiting = copies.0.keys().filter(|attempt| live != Some(**attempt));
        Ok(SeatRecord {
            deeds: self.deeds.clone(),
            holding,
            attempts: self.attempts.iter().copied().collect(),
            waiting: waiting.filter_map(|attempt| copies.record(*attempt)).collect(),
        })
    }
}

impl Copies {
    /// Makes the changes that are about copies.
    pub(crate) fn apply(&mut self, change: &Change<'_>) {
        match change {
            Change::PutCopy { attempt, epoch, manifest } => {
                let forgotten = manifest.head.position;
                let turns = VecDeque::new();
                let manifest = (*manifest).clone();
                self.0.insert(*attempt, Copy { epoch: *epoch, forgotten, manifest, turns });
            }
            Change::Base { attempt, manifest } => {
                if let Some(copy) = self.0.get_mut(attempt) {
                    copy.manifest = (*manifest).clone();
                }
            }
            Change::Turns { attempt, turns } => {
                if let Some(copy) = self.0.get_mut(attempt) {
                    copy.turns.extend(turns.iter().cloned().map(Box::new));
                }
            }
            Change::Forget { attempt, through } => {
                if let Some(copy) = self.0.get_mut(attempt) {
                    let gone = copy.index_after(*through);
                    copy.turns.drain(..gone);
                    copy.forgotten = *through;
                }
            }
            Change::DropCopy { attempt } => {
                self.0.remove(attempt);
            }
            Change::Seat(_) | Change::Deed(_) | Change::Attempt(_) | Change::ForgetAttempts => {}
        }
    }

    pub(crate) fn turns(
        &self,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        let copy = self.0.get(&attempt).ok_or(StoreError::NoCopy)?;
        if after < copy.forgotten {
            return Err(StoreError::Forgotten { through: copy.forgotten });
        }
        let mut bytes = 0;
        let fits = |turn: &&Turn| {
            let first = bytes == 0;
            bytes += turn.event.payload.len().max(1);
            first || bytes <= bytes_max
        };
        let later = copy.turns.range(copy.index_after(after)..).map(|turn| &**turn);
        Ok(later.take(count_max).take_while(fits).cloned().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn edges(&self, attempt: AttemptId) -> Option<Edges> {
        let copy = self.0.get(&attempt)?;
        let base = copy.manifest.head;
        let last = copy.turns.back().map(|turn| turn.stamp.head);
        let last = last.filter(|last| base.position < last.position);
        Some(Edges { epoch: copy.epoch, forgotten: copy.forgotten, base, last })
    }

    fn record(&self, attempt: AttemptId) -> Option<CopyRecord> {
        let last = self.edges(attempt)?.last;
        let copy = self.0.get(&attempt)?;
        Some(CopyRecord { attempt, epoch: copy.epoch, manifest: copy.manifest.clone(), last })
    }
}

impl Copy {
    /// Where the first turn after `position` stands among those kept, or would.
    fn index_after(&self, position: Position) -> usize {
        let count = position.get().saturating_sub(self.forgotten.get());
        usize::try_from(count).map_or(self.turns.len(), |count| count.min(self.turns.len()))
    }
}

impl View for Halves<'_> {
    fn store(&self) -> StoreId {
        self.store
    }

    fn seat(&mut self) -> Result<Seat, StoreError> {
        Ok(self.title.seat)
    }

    fn deed(&mut self, epoch: Epoch) -> Result<Option<SignedDeed>, StoreError> {
        let index = epoch.get().checked_sub(Epoch::FIRST.get());
        let index = index.and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| self.title.deeds.get(index)).cloned())
    }

    #[inline]
    fn edges(&mut self, attempt: AttemptId) -> Result<Option<Edges>, StoreError> {
        Ok(self.copies.edges(attempt))
    }

    fn has_copies(&mut self) -> Result<bool, StoreError> {
        Ok(!self.copies.is_empty())
    }

    fn begun(&mut self, attempt: AttemptId) -> Result<bool, StoreError> {
        Ok(self.title.attempts.contains(&attempt))
    }

    fn chunks_complete(&mut self, manifest: &Manifest) -> Result<bool, StoreError> {
        self.chunks.map_or(Ok(true), |chunks| names_present(chunks, manifest))
    }
}

impl Journal for Memory {
    fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>> {
        writes.iter().map(|write| self.write(write)).collect()
    }

    fn turns(
        &mut self,
        entity: &EntityId,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        let (_, copies) = self.daemons.get(entity).ok_or(StoreError::NoCopy)?;
        copies.turns(attempt, after, count_max, bytes_max)
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

impl Titles for Memory {
    fn store_id(&self) -> StoreId {
        self.store
    }

    fn entities(&mut self) -> Result<Vec<EntityId>, StoreError> {
        Ok(self.daemons.keys().copied().collect())
    }

    fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError> {
        let known = self.daemons.get(entity);
        known.map_or_else(|| Ok(SeatRecord::default()), |(title, copies)| title.record(copies))
    }
}

impl Vault for Memory {
    fn put_key(&mut self, entity: &EntityId, sealed: &[u8]) -> Result<(), StoreError> {
        self.keys.insert(*entity, Zeroizing::new(sealed.to_vec()));
        Ok(())
    }

    fn key(&mut self, entity: &EntityId) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.keys.get(entity).cloned())
    }

    fn drop_key(&mut self, entity: &EntityId) -> Result<(), StoreError> {
        self.keys.remove(entity);
        Ok(())
    }

    fn set_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.notes.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.notes.get(name).cloned())
    }
}
