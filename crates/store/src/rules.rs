//! Decides whether a write may happen, and what it changes.
//!
//! Engines differ in where they keep things, never in what they allow: each shows its present
//! state as a [`View`], gets back a list of [`Change`]s or a refusal, and makes the changes in the
//! same atomic step. Deeds that come in were verified by the caller; that they continue what is
//! known is checked again here.
//!
//! # Invariants
//!
//! * R1 (no gap): the deeds of a daemon are those of epochs 1 to n, each naming the one before.
//! * R2 (one deed): a deed, once known, is never replaced.
//! * R3 (one live copy): `Owned` and `HandedOver` name one copy; it is not among the waiting.
//! * R4 (fenced): turns enter the live copy in the epoch of the last deed only.

use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    AttemptId, Digest, EntityId, Epoch, Head, Manifest, Position, SignedDeed, StoreId, Turn, Write,
    WriteRefusal,
};

use crate::error::StoreError;

/// The ownership row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    /// The epoch of the last deed known.
    pub(crate) epoch: Option<Epoch>,
    /// What is held here.
    pub(crate) held: Held,
}

/// What is held of the daemon itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    #[default]
    Nothing,
    /// Owned by the last deed; this is the live copy.
    Owned { live: AttemptId },
    /// Handed over by the deed of epoch `by`; this is the frozen copy.
    HandedOver { live: AttemptId, by: Epoch },
    /// Deleted here.
    Deleted,
}

/// Where a copy begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edges {
    /// The epoch under which it was saved.
    pub(crate) epoch: Epoch,
    /// Turns up to here are gone.
    pub(crate) forgotten: Position,
    /// Its base snapshot.
    pub(crate) base: Head,
    /// The last turn after the base.
    pub(crate) last: Option<Head>,
}

/// What an engine shows of one daemon.
pub(crate) trait View {
    fn store(&self) -> StoreId;
    fn seat(&mut self) -> Result<Seat, StoreError>;
    fn deed(&mut self, epoch: Epoch) -> Result<Option<SignedDeed>, StoreError>;
    fn edges(&mut self, attempt: AttemptId) -> Result<Option<Edges>, StoreError>;
    fn has_copies(&mut self) -> Result<bool, StoreError>;
    fn begun(&mut self, attempt: AttemptId) -> Result<bool, StoreError>;
    /// Whether every chunk that the manifest itself names is there.
    fn chunks_complete(&mut self, manifest: &Manifest) -> Result<bool, StoreError>;
}

/// One thing that a write changes about a daemon.
#[derive(Clone, Debug)]
pub(crate) enum Change<'w> {
    /// The ownership row.
    Seat(Seat),
    /// One more deed.
    Deed(&'w SignedDeed),
    /// One more attempt begun.
    Attempt(AttemptId),
    /// No attempt is open.
    ForgetAttempts,
    /// A copy in place of any of the same attempt, without turns.
    PutCopy { attempt: AttemptId, epoch: Epoch, manifest: &'w Manifest },
    /// Another base for a copy.
    Base { attempt: AttemptId, manifest: &'w Manifest },
    /// More turns for a copy.
    Turns { attempt: AttemptId, turns: &'w [Turn] },
    /// Turns up to here are gone.
    Forget { attempt: AttemptId, through: Position },
    /// A copy and its turns are gone.
    DropCopy { attempt: AttemptId },
}

/// Why a write was not decided for.
#[derive(Debug)]
pub(crate) enum Problem {
    Refused(WriteRefusal),
    Store(StoreError),
}

type Decided<'w> = Result<Vec<Change<'w>>, Problem>;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<WriteRefusal> for Problem {
    fn from(refusal: WriteRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Held {
    /// The copy that is live or frozen.
    pub(crate) const fn live(self) -> Option<AttemptId> {
        match self {
            Self::Owned { live } | Self::HandedOver { live, .. } => Some(live),
            Self::Nothing | Self::Deleted => None,
        }
    }
}

impl Edges {
    /// Where the copy ends.
    pub(crate) fn end(&self) -> Head {
        self.last.unwrap_or(self.base)
    }

    fn position(&self) -> WriteRefusal {
        WriteRefusal::Position { last: self.end().position }
    }
}

/// What `write` changes, or why it may not happen.
pub(crate) fn decide<'w>(view: &mut dyn View, write: &'w Write) -> Decided<'w> {
    match write {
        Write::Birth { deed, manifest } => birth(view, deed, manifest),
        Write::Append { epoch, after, turns, .. } => append(view, *epoch, *after, turns),
        Write::Publish { entity, epoch, manifest } => publish(view, entity, *epoch, manifest),
        Write::Compact { epoch, through, .. } => compact(view, *epoch, *through),
        Write::BeginAttempt { epoch, attempt, .. } => begin(view, *epoch, *attempt),
        Write::HandOver { deed } => hand_over(view, deed),
        Write::Reclaim { deed } => reclaim(view, deed),
        Write::SaveCopy { entity, attempt, epoch, manifest } => {
            save_copy(view, entity, *attempt, *epoch, manifest)
        }
        Write::AppendCopy { attempt, after, turns, .. } => {
            append_copy(view, *attempt, *after, turns)
        }
        Write::Accept { deeds } => accept(view, deeds),
        Write::Learn { deeds } => learn(view, deeds),
        Write::DropCopy { attempt, .. } => drop_copy(view, *attempt),
        Write::DropState { deed, .. } => drop_state(view, deed),
        Write::Delete { epoch, .. } => delete(view, *epoch),
    }
}

fn birth<'w>(view: &mut dyn View, deed: &'w SignedDeed, manifest: &'w Manifest) -> Decided<'w> {
    if view.seat()? != Seat::default() || view.has_copies()? {
        return Err(WriteRefusal::Known.into());
    }
    if deed.deed.epoch != Epoch::FIRST || deed.deed.previous != Digest::ZERO {
        return Err(WriteRefusal::DeedGap.into());
    }
    if deed.deed.store != view.store() || manifest.entity != deed.deed.entity {
        return Err(WriteRefusal::NotOwner.into());
    }
    if manifest.head.position != Position::FIRST {
        return Err(WriteRefusal::Position { last: Position::FIRST }.into());
    }
    complete(view, manifest)?;
    let live = deed.deed.attempt;
    Ok(vec![
        Change::Deed(deed),
        Change::PutCopy { attempt: live, epoch: Epoch::FIRST, manifest },
        Change::Seat(Seat { epoch: Some(Epoch::FIRST), held: Held::Owned { live } }),
    ])
}

fn append<'w>(
    view: &mut dyn View,
    epoch: Epoch,
    after: Position,
    turns: &'w [Turn],
) -> Decided<'w> {
    let attempt = may_append(view, epoch, after, turns)?;
    Ok(more_turns(attempt, turns))
}

/// The live copy, if these turns may enter it.
#[inline]
pub(crate) fn may_append<V: View + ?Sized>(
    view: &mut V,
    epoch: Epoch,
    after: Position,
    turns: &[Turn],
) -> Result<AttemptId, Problem> {
    let attempt = owned(view, epoch)?;
    if turns.iter().any(|turn| turn.stamp.epoch != epoch) {
        return Err(WriteRefusal::NotOwner.into());
    }
    follow(view, attempt, after, turns)?;
    Ok(attempt)
}

fn append_copy<'w>(
    view: &mut dyn View,
    attempt: AttemptId,
    after: Position,
    turns: &'w [Turn],
) -> Decided<'w> {
    if view.seat()?.held.live() == Some(attempt) {
        return Err(WriteRefusal::NoCopy.into());
    }
    follow(view, attempt, after, turns)?;
    Ok(more_turns(attempt, turns))
}

/// Whether the turns follow the end of a copy at `after`, without gaps.
#[inline]
fn follow<V: View + ?Sized>(
    view: &mut V,
    attempt: AttemptId,
    after: Position,
    turns: &[Turn],
) -> Result<(), Problem> {
    let edges = view.edges(attempt)?.ok_or(WriteRefusal::NoCopy)?;
    let mut expected = after;
    let contiguous = turns.iter().all(|turn| {
        expected = expected.next();
        turn.position() == expected
    });
    if edges.end().position != after || !contiguous {
        return Err(edges.position().into());
    }
    Ok(())
}

fn more_turns(attempt: AttemptId, turns: &[Turn]) -> Vec<Change<'_>> {
    if turns.is_empty() { Vec::new() } else { vec![Change::Turns { attempt, turns }] }
}

fn publish<'w>(
    view: &mut dyn View,
    entity: &EntityId,
    epoch: Epoch,
    manifest: &'w Manifest,
) -> Decided<'w> {
    let seat = view.seat()?;
    let live = match seat.held {
        Held::Owned { live } if seat.epoch == Some(epoch) => live,
        Held::HandedOver { live, by } if by == epoch.next() => live,
        Held::Owned { .. } | Held::HandedOver { .. } | Held::Nothing | Held::Deleted => {
            return Err(WriteRefusal::NotOwner.into());
        }
    };
    if manifest.entity != *entity {
        return Err(WriteRefusal::NotOwner.into());
    }
    let edges = view.edges(live)?.ok_or(WriteRefusal::NoCopy)?;
    let position = manifest.head.position;
    let beyond = edges.end().position < position && !Mutant::PublishedUnsaved.is_on();
    if position < edges.base.position || beyond {
        return Err(edges.position().into());
    }
    complete(view, manifest)?;
    Ok(vec![Change::Base { attempt: live, manifest }])
}

fn compact<'w>(view: &mut dyn View, epoch: Epoch, through: Position) -> Decided<'w> {
    let attempt = owned(view, epoch)?;
    let edges = view.edges(attempt)?.ok_or(WriteRefusal::NoCopy)?;
    let base = edges.base.position;
    if base < through {
        return Err(WriteRefusal::Position { last: base }.into());
    }
    if through <= edges.forgotten {
        return Ok(Vec::new());
    }
    Ok(vec![Change::Forget { attempt, through }])
}

fn begin<'w>(view: &mut dyn View, epoch: Epoch, attempt: AttemptId) -> Decided<'w> {
    let live = owned(view, epoch)?;
    if attempt == live || view.begun(attempt)? {
        return Err(WriteRefusal::AttemptKnown.into());
    }
    Ok(vec![Change::Attempt(attempt)])
}

fn hand_over<'w>(view: &mut dyn View, deed: &'w SignedDeed) -> Decided<'w> {
    let seat = view.seat()?;
    let epoch = deed.deed.epoch;
    if seat.epoch.is_some_and(|last| epoch <= last) {
        return Err(WriteRefusal::DeedKnown.into());
    }
    let Held::Owned { live } = seat.held else {
        return Err(WriteRefusal::NotOwner.into());
    };
    let known = chain_end(view, &seat)?;
    follows(known.as_ref(), deed)?;
    let edges = view.edges(live)?.ok_or(WriteRefusal::NoCopy)?;
    ends_at(&edges, deed)?;
    Ok(vec![
        Change::Deed(deed),
        Change::ForgetAttempts,
        Change::Seat(Seat { epoch: Some(epoch), held: Held::HandedOver { live, by: epoch } }),
    ])
}

fn reclaim<'w>(view: &mut dyn View, deed: &'w SignedDeed) -> Decided<'w> {
    let seat = view.seat()?;
    let epoch = deed.deed.epoch;
    if seat.epoch.is_some_and(|last| epoch <= last) {
        return Err(WriteRefusal::DeedKnown.into());
    }
    // Once a later deed is known, the heir had it.
    let live = match seat.held {
        Held::HandedOver { live, by } if seat.epoch == Some(by) => live,
        Held::HandedOver { .. } | Held::Owned { .. } | Held::Nothing | Held::Deleted => {
            return Err(WriteRefusal::NotOwner.into());
        }
    };
    let known = chain_end(view, &seat)?;
    follows(known.as_ref(), deed)?;
    let takes_back = known.is_some_and(|known| deed.deed.takes_back(&known.deed));
    if !takes_back || deed.deed.store != view.store() {
        return Err(WriteRefusal::NotOwner.into());
    }
    let edges = view.edges(live)?.ok_or(WriteRefusal::NoCopy)?;
    ends_at(&edges, deed)?;
    Ok(vec![
        Change::Deed(deed),
        Change::ForgetAttempts,
        Change::Seat(Seat { epoch: Some(epoch), held: Held::Owned { live } }),
    ])
}

fn save_copy<'w>(
    view: &mut dyn View,
    entity: &EntityId,
    attempt: AttemptId,
    epoch: Epoch,
    manifest: &'w Manifest,
) -> Decided<'w> {
    let seat = view.seat()?;
    if seat.held == Held::Deleted {
        return Err(WriteRefusal::Known.into());
    }
    if seat.epoch.is_some_and(|last| epoch < last) && !Mutant::TombstonesIgnored.is_on() {
        return Err(WriteRefusal::DeedKnown.into());
    }
    if seat.held.live() == Some(attempt) {
        return Err(WriteRefusal::AttemptKnown.into());
    }
    if manifest.entity != *entity {
        return Err(WriteRefusal::NoCopy.into());
    }
    complete(view, manifest)?;
    Ok(vec![Change::PutCopy { attempt, epoch, manifest }])
}

fn accept<'w>(view: &mut dyn View, deeds: &'w [SignedDeed]) -> Decided<'w> {
    let seat = view.seat()?;
    let last = deeds.last().ok_or(WriteRefusal::DeedGap)?;
    let epoch = last.deed.epoch;
    if seat.epoch.is_some_and(|known| epoch <= known) {
        return Err(WriteRefusal::DeedKnown.into());
    }
    if seat.held == Held::Deleted {
        return Err(WriteRefusal::Known.into());
    }
    let fresh = continue_chain(view, &seat, deeds)?;
    if last.deed.store != view.store() {
        return Err(WriteRefusal::NotOwner.into());
    }
    let live = last.deed.attempt;
    let waits = seat.held.live() != Some(live);
    let edges = view.edges(live)?.filter(|_| waits).ok_or(WriteRefusal::NoCopy)?;
    if edges.epoch.next() != epoch {
        return Err(WriteRefusal::NoCopy.into());
    }
    ends_at(&edges, last)?;
    let mut changes: Vec<_> = fresh.iter().map(Change::Deed).collect();
    // The frozen copy of an earlier stay is older than what comes back.
    changes.extend(seat.held.live().map(|attempt| Change::DropCopy { attempt }));
    changes.push(Change::ForgetAttempts);
    changes.push(Change::Seat(Seat { epoch: Some(epoch), held: Held::Owned { live } }));
    Ok(changes)
}

/// An owner that learns of a later deed has been handed over, be it by a self that an old backup
/// has forgotten: its copy is fenced, and stays until the hand-over is acknowledged.
fn learn<'w>(view: &mut dyn View, deeds: &'w [SignedDeed]) -> Decided<'w> {
    let seat = view.seat()?;
    let fresh = continue_chain(view, &seat, deeds)?;
    let Some(last) = fresh.last() else { return Ok(Vec::new()) };
    let mine = last.deed.store == view.store();
    if mine && view.edges(last.deed.attempt)?.is_some() {
        // This deed makes a waiting copy live: that is for `Accept` to do.
        return Err(WriteRefusal::Known.into());
    }
    let held = match seat.held {
        Held::Owned { live } => Held::HandedOver { live, by: fresh[0].deed.epoch },
        held @ (Held::Nothing | Held::HandedOver { .. } | Held::Deleted) => held,
    };
    let mut changes: Vec<_> = fresh.iter().map(Change::Deed).collect();
    changes.push(Change::ForgetAttempts);
    changes.push(Change::Seat(Seat { epoch: Some(last.deed.epoch), held }));
    Ok(changes)
}

fn drop_copy<'w>(view: &mut dyn View, attempt: AttemptId) -> Decided<'w> {
    let waits = view.seat()?.held.live() != Some(attempt);
    if waits && view.edges(attempt)?.is_some() {
        return Ok(vec![Change::DropCopy { attempt }]);
    }
    Ok(Vec::new())
}

/// A deed later than the one that handed the daemon over proves that one to be done, so its
/// acknowledgement counts; an earlier one says nothing about the state that is held.
fn drop_state<'w>(view: &mut dyn View, digest: &Digest) -> Decided<'w> {
    let seat = view.seat()?;
    let (live, by) = match seat.held {
        Held::HandedOver { live, by } => (live, by),
        Held::Owned { .. } => return Err(WriteRefusal::NotOwner.into()),
        Held::Nothing | Held::Deleted => return Ok(Vec::new()),
    };
    let mut epoch = by;
    while let Some(deed) = view.deed(epoch)? {
        if deed.digest() == *digest {
            let held = Held::Nothing;
            return Ok(vec![
                Change::DropCopy { attempt: live },
                Change::Seat(Seat { held, ..seat }),
            ]);
        }
        epoch = epoch.next();
    }
    Err(WriteRefusal::NotOwner.into())
}

fn delete<'w>(view: &mut dyn View, epoch: Epoch) -> Decided<'w> {
    let attempt = owned(view, epoch)?;
    Ok(vec![
        Change::DropCopy { attempt },
        Change::ForgetAttempts,
        Change::Seat(Seat { epoch: Some(epoch), held: Held::Deleted }),
    ])
}

/// The live copy, if this store owns the daemon in `epoch`.
#[inline]
fn owned<V: View + ?Sized>(view: &mut V, epoch: Epoch) -> Result<AttemptId, Problem> {
    let seat = view.seat()?;
    match seat.held {
        Held::Owned { live } if seat.epoch == Some(epoch) => Ok(live),
        Held::Owned { live } | Held::HandedOver { live, .. }
            if Mutant::OldEpochAccepted.is_on() =>
        {
            Ok(live)
        }
        Held::Owned { .. } | Held::HandedOver { .. } | Held::Nothing | Held::Deleted => {
            Err(WriteRefusal::NotOwner.into())
        }
    }
}

fn complete(view: &mut dyn View, manifest: &Manifest) -> Result<(), Problem> {
    if view.chunks_complete(manifest)? { Ok(()) } else { Err(WriteRefusal::ChunkMissing.into()) }
}

/// The last deed known.
fn chain_end(view: &mut dyn View, seat: &Seat) -> Result<Option<SignedDeed>, Problem> {
    let Some(epoch) = seat.epoch else { return Ok(None) };
    let missing = || StoreError::Damaged(format!("the deed of {epoch} is missing"));
    Ok(Some(view.deed(epoch)?.ok_or_else(missing)?))
}

/// Whether `deed` is the next one.
fn follows(known: Option<&SignedDeed>, deed: &SignedDeed) -> Result<(), Problem> {
    let next = match known {
        None => deed.deed.epoch == Epoch::FIRST && deed.deed.previous == Digest::ZERO,
        Some(known) => {
            deed.deed.entity == known.deed.entity
                && deed.deed.epoch == known.deed.epoch.next()
                && deed.deed.previous == known.digest()
        }
    };
    if next { Ok(()) } else { Err(WriteRefusal::DeedGap.into()) }
}

/// Those of `deeds` that are new, if all of them agree with what is known and leave no gap.
fn continue_chain<'w>(
    view: &mut dyn View,
    seat: &Seat,
    deeds: &'w [SignedDeed],
) -> Result<&'w [SignedDeed], Problem> {
    let known = |deed: &&SignedDeed| seat.epoch.is_some_and(|last| deed.deed.epoch <= last);
    let count = deeds.iter().take_while(known).count();
    let (old, fresh) = deeds.split_at(count);
    for deed in old {
        if view.deed(deed.deed.epoch)?.as_ref() != Some(deed) {
            return Err(WriteRefusal::DeedKnown.into());
        }
    }
    let end = chain_end(view, seat)?;
    let mut before = end.as_ref();
    for deed in fresh {
        follows(before, deed)?;
        before = Some(deed);
    }
    Ok(fresh)
}

/// Whether the copy ends where the deed says that the daemon stood. Positions are compared and not
/// hashes: a chain goes through a deed without a turn.
fn ends_at(edges: &Edges, deed: &SignedDeed) -> Result<(), Problem> {
    let same = edges.end().position == deed.deed.head.position;
    let anywhere = Mutant::BufferingUnwired.is_on() || Mutant::ActivateUnvoted.is_on();
    if same || anywhere { Ok(()) } else { Err(edges.position().into()) }
}
