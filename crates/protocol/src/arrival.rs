//! Decides how a daemon comes to this node: the target of a move.
//!
//! The other half is `departure`. A copy is collected, built, caught up and saved, and stays
//! passive: nothing but the hand-over makes it live, and after its final vote it is thrown away
//! only on the source's word.
//!
//! # States
//!
//! ```text
//! Vetting ─title─▶ Admitting ─may run─▶ Finding ⇄ Fetching ─all saved─▶ Listing ─▶ Finding ⇄ Fetching
//!                                      (lists and luggage)                          (state)
//!   ─▶ Saving ─▶ Restoring ─▶ Following ⇄ Replaying ─▶ SavingTurns ─▶ Following
//!                                 │ at the frozen head
//!                                 ▼
//!                              Judging ─▶  Voted ─deed─▶ Accepting ─saved─▶ Folding ─▶ (owner)
//! Orphan: a copy found on disk after a restart; it asks, and obeys the answer (rule 9).
//! ```
//!
//! # Invariants
//!
//! * A1 (deed alone activates): a copy becomes live only by a verified deed that names this node,
//!   this store, this attempt and the head of the copy.
//! * A2 (refusals before the vote): whatever can be refused is refused before the final vote
//!   (rule 11).
//! * A3 (one snapshot): pieces are taken only from the snapshot that the offer named.
//!
//! # Limits
//!
//! * `pieces_in_flight_max` pieces are asked for at a time.
//! * `silence_max` without a word of the source ends a copy that has not voted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use whimbrel_mutants::Mutant;
use whimbrel_wire::limits::{CHUNK_BYTES_MAX, EVENTS_PER_MESSAGE_MAX};
use whimbrel_wire::{
    AttemptId, CatchUp, CausalEvent, ChunkRef, Digest, Epoch, Frozen, Manifest,
    MigrationFailureReason, MigrationMessage, NodeId, Offer, Role, SignedDeed, Stamp, Time, Turn,
    Write, WriteError, decode,
};

use crate::desk::{Desk, Saving};
use crate::port::{Moment, Output, ReplayStep, Restored, TurnFailure, Turned, Warning};
use crate::replica::{ReplayError, Replica};
use crate::tenure::Waiting;

/// One copy that comes here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Arrival {
    pub(crate) attempt: AttemptId,
    /// The epoch that the attempt would end.
    pub(crate) epoch: Epoch,
    pub(crate) source: NodeId,
    pub(crate) orchestrator: NodeId,
    catch_up: CatchUp,
    stage: Stage,
    manifest: Option<Manifest>,
    snapshot: Digest,
    envelope: Option<Bytes>,
    pieces: Vec<ChunkRef>,
    listed: bool,
    pub(crate) replica: Option<Replica>,
    frozen: Option<Frozen>,
    state: Option<Digest>,
    /// What the daemon is told first when it lives here.
    pub(crate) word: Option<Bytes>,
    /// The deeds that make this node the owner, once they are here.
    deeds: Vec<SignedDeed>,
    /// Events that came early; they are taken when the daemon is live.
    pub(crate) held: VecDeque<Waiting>,
    heard: Time,
    resend_at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Vetting,
    Admitting,
    Finding { offset: usize },
    Fetching(Fetching),
    Listing,
    Saving,
    Restoring,
    Following,
    Replaying { turns: Vec<Turn>, steps: Vec<ReplayStep> },
    SavingTurns,
    Judging,
    Voted,
    Accepting,
    Folding(Vec<ReplayStep>),
    Orphan,
}

/// Pieces that are missing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Fetching {
    missing: VecDeque<u32>,
    asked: BTreeSet<u32>,
    saving: BTreeMap<ChunkRef, u32>,
}

/// What an arrival asks of its seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Nothing.
    Stay,
    /// It is over.
    Leave,
    /// The daemon is live: make the seat its owner.
    GoLive,
}

impl Arrival {
    /// A copy of which the source has made an offer.
    pub(crate) fn offered(
        attempt: AttemptId,
        epoch: Epoch,
        source: NodeId,
        manifest: Manifest,
        offer: Offer,
        now: Time,
    ) -> Self {
        let mut arrival = Self::new(attempt, epoch, source, offer.orchestrator, now);
        arrival.take_offer(manifest, offer);
        arrival
    }

    /// A copy that was found on disk.
    pub(crate) fn orphan(attempt: AttemptId, epoch: Epoch, source: NodeId, now: Time) -> Self {
        Self { stage: Stage::Orphan, ..Self::new(attempt, epoch, source, source, now) }
    }

    /// A deed names this node and the copy is gone: it must come again.
    pub(crate) fn heir(
        deeds: Vec<SignedDeed>,
        source: NodeId,
        epoch: Epoch,
        now: Time,
    ) -> Option<Self> {
        let attempt = deeds.last()?.deed.attempt;
        Some(Self { deeds, ..Self::new(attempt, epoch, source, source, now) })
    }

    fn new(
        attempt: AttemptId,
        epoch: Epoch,
        source: NodeId,
        orchestrator: NodeId,
        now: Time,
    ) -> Self {
        Self {
            attempt,
            epoch,
            source,
            orchestrator,
            catch_up: CatchUp::Replay,
            stage: Stage::Vetting,
            manifest: None,
            snapshot: Digest::ZERO,
            envelope: None,
            pieces: Vec::new(),
            listed: false,
            replica: None,
            frozen: None,
            state: None,
            word: None,
            deeds: Vec::new(),
            held: VecDeque::new(),
            heard: now,
            resend_at: now,
        }
    }

    fn take_offer(&mut self, manifest: Manifest, offer: Offer) {
        self.orchestrator = offer.orchestrator;
        self.catch_up = offer.catch_up;
        self.envelope = offer.envelope;
        self.frozen = offer.frozen.filter(|frozen| frozen.state != Digest::ZERO);
        self.snapshot = manifest.digest();
        self.pieces = [manifest.state.lists.clone(), manifest.luggage.clone()].concat();
        self.listed = false;
        self.manifest = Some(manifest);
        self.stage = Stage::Vetting;
    }

    /// The copy's snapshot, whose chunks must stay.
    pub(crate) const fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// What its state is called.
    pub(crate) const fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Vetting => "Vetting",
            Stage::Admitting => "Admitting",
            Stage::Finding { .. } => "Finding",
            Stage::Fetching(_) => "Fetching",
            Stage::Listing => "Listing",
            Stage::Saving => "Saving",
            Stage::Restoring => "Restoring",
            Stage::Following => "Following",
            Stage::Replaying { .. } => "Replaying",
            Stage::SavingTurns => "SavingTurns",
            Stage::Judging => "Judging",
            Stage::Voted => "Voted",
            Stage::Accepting => "Accepting",
            Stage::Folding(_) => "Folding",
            Stage::Orphan => "Orphan",
        }
    }

    /// Whether it may hold events until it is live.
    pub(crate) const fn is_close(&self) -> bool {
        matches!(self.stage, Stage::Voted | Stage::Accepting | Stage::Folding(_) | Stage::Judging)
    }

    /// When it wants to be woken.
    pub(crate) const fn wake_at(&self) -> Time {
        self.resend_at
    }

    /// Shows every moment that it remembers.
    pub(crate) fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        see(Moment::Since(&mut self.heard));
        see(Moment::Due(&mut self.resend_at));
    }

    /// Whether it has voted or holds a deed: then only the source's word or the deed ends it.
    fn is_bound(&self) -> bool {
        let voted = match self.stage {
            Stage::Voted if Mutant::CopyTimesOut.is_on() => false,
            Stage::Voted | Stage::Accepting | Stage::Folding(_) | Stage::Orphan => true,
            Stage::Vetting
            | Stage::Admitting
            | Stage::Finding { .. }
            | Stage::Fetching(_)
            | Stage::Listing
            | Stage::Saving
            | Stage::Restoring
            | Stage::Following
            | Stage::Replaying { .. }
            | Stage::SavingTurns
            | Stage::Judging => false,
        };
        voted || !self.deeds.is_empty()
    }

    fn send(&self, desk: &mut Desk<'_>, to: NodeId, message: MigrationMessage) {
        let message = desk.envelope(self.attempt, self.epoch, Role::Target, message);
        desk.push(Output::Send { to, message });
    }

    /// Answers the source, with a copy to the orchestrator.
    fn answer(&mut self, desk: &mut Desk<'_>, message: MigrationMessage) {
        self.send(desk, self.source, message.clone());
        if self.orchestrator != self.source {
            self.send(desk, self.orchestrator, message);
        }
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    /// Ends the attempt from this side. Never after the final vote.
    fn fail(&mut self, desk: &mut Desk<'_>, reason: MigrationFailureReason) -> Course {
        if !self.deeds.is_empty() {
            self.stage = Stage::Vetting;
            desk.warn(Warning::NotRunnable { reason: reason.to_string() });
            self.resend_at = desk.now + desk.settings().resend_max;
            return Course::Stay;
        }
        let daemon_origin = desk.origin;
        self.answer(desk, MigrationMessage::MigrationFailed { daemon_origin, reason });
        Course::Leave
    }

    /// The source offers a snapshot: the first time, again, or a later round.
    pub(crate) fn offer(
        &mut self,
        desk: &mut Desk<'_>,
        manifest: Manifest,
        offer: Offer,
    ) -> Course {
        self.heard = desk.now;
        if matches!(self.stage, Stage::Orphan) {
            return self.say_restarted(desk);
        }
        if self.manifest.is_some() && manifest.digest() == self.snapshot {
            self.frozen = self.frozen.or(offer.frozen);
            return self.nudge(desk);
        }
        // An earlier offer may come late: what was voted on, or is going live, is not given up for it.
        let settled = matches!(self.stage, Stage::Accepting | Stage::Folding(_));
        if settled || self.is_bound() && self.deeds.is_empty() {
            return Course::Stay;
        }
        if self.replica.take().is_some() {
            desk.push(Output::DropCopy { copy: self.attempt });
        }
        desk.forget_saves(self.attempt);
        self.take_offer(manifest, offer);
        self.vet(desk)
    }

    /// What was in memory is gone. The source gives the attempt up, or sends the deed if it is too
    /// late for that; until then the copy stays.
    fn say_restarted(&self, desk: &mut Desk<'_>) -> Course {
        let reason = MigrationFailureReason::StateFailed("the target was restarted".to_owned());
        let daemon_origin = desk.origin;
        let message = MigrationMessage::MigrationFailed { daemon_origin, reason };
        self.send(desk, self.source, message);
        Course::Stay
    }

    /// Looks whether the offer comes from the owner, by its title.
    pub(crate) fn vet(&mut self, desk: &mut Desk<'_>) -> Course {
        if !matches!(self.stage, Stage::Vetting) {
            return Course::Stay;
        }
        let heir = self.deeds.last().map(|signed| signed.deed.epoch);
        let known = desk.title.epoch();
        if known < Some(self.epoch) {
            desk.ask(self.source, None);
            self.resend_at = desk.now + desk.settings().resend_after;
            return Course::Stay;
        }
        let owner = desk.title.deed(self.epoch).map(|signed| signed.deed.owner());
        if owner != Some(self.source) {
            return self.fail(desk, MigrationFailureReason::WrongPeer);
        }
        let past = known > Some(self.epoch) && !Mutant::TombstonesIgnored.is_on();
        if past && heir.is_none() {
            return self.fail(desk, MigrationFailureReason::StaleAttempt);
        }
        let Some(manifest) = self.manifest.clone() else {
            self.ask_for_offer(desk);
            return Course::Stay;
        };
        self.stage = Stage::Admitting;
        desk.push(Output::Admit {
            attempt: self.attempt,
            epoch: self.epoch,
            manifest: Box::new(manifest),
            envelope: self.envelope.clone(),
            catch_up: self.catch_up,
        });
        Course::Stay
    }

    fn ask_for_offer(&mut self, desk: &mut Desk<'_>) {
        let daemon_origin = desk.origin;
        let snapshot = Digest::ZERO;
        let message =
            MigrationMessage::ChunksWanted { daemon_origin, snapshot, ranges: Vec::new() };
        self.send(desk, self.source, message);
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    /// This node may run the daemon, or not.
    pub(crate) fn admitted(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<(), MigrationFailureReason>,
    ) -> Course {
        if !matches!(self.stage, Stage::Admitting) {
            return Course::Stay;
        }
        if let Err(reason) = result {
            return self.fail(desk, reason);
        }
        self.find(desk, 0)
    }

    /// Asks the store which pieces from `offset` on it lacks.
    fn find(&mut self, desk: &mut Desk<'_>, offset: usize) -> Course {
        let chunks = self.pieces[offset..].to_vec();
        self.stage = Stage::Finding { offset };
        desk.push(Output::FindMissing { attempt: self.attempt, chunks });
        Course::Stay
    }

    /// The store said which pieces it lacks.
    pub(crate) fn missing_found(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Vec<u32>, String>,
    ) -> Course {
        let Stage::Finding { offset } = self.stage else { return Course::Stay };
        match result {
            Ok(missing) => {
                // Piece numbers count from 1: piece 0 is the manifest.
                let first = u32::try_from(offset).unwrap_or(u32::MAX).saturating_add(1);
                let missing =
                    missing.into_iter().map(|index| index.saturating_add(first)).collect();
                self.stage = Stage::Fetching(Fetching { missing, ..Fetching::default() });
                self.fetch(desk)
            }
            Err(error) => self.fail(desk, MigrationFailureReason::StoreFailed(error)),
        }
    }

    /// Asks for the next pieces, or goes on when all are saved.
    fn fetch(&mut self, desk: &mut Desk<'_>) -> Course {
        let window = desk.settings().pieces_in_flight_max;
        let Stage::Fetching(fetching) = &mut self.stage else { return Course::Stay };
        if fetching.missing.is_empty() && fetching.asked.is_empty() && fetching.saving.is_empty() {
            return self.fetched(desk);
        }
        let room = window.saturating_sub(fetching.asked.len() + fetching.saving.len());
        // Asking in halves of the window keeps the questions few and the pipe full.
        if room < window / 2 && !fetching.missing.is_empty() || fetching.missing.is_empty() {
            return Course::Stay;
        }
        let count = room.min(fetching.missing.len());
        let next: Vec<u32> = fetching.missing.drain(..count).collect();
        fetching.asked.extend(next.iter().copied());
        self.want(desk, &next);
        Course::Stay
    }

    fn want(&mut self, desk: &mut Desk<'_>, pieces: &[u32]) {
        let message = MigrationMessage::ChunksWanted {
            daemon_origin: desk.origin,
            snapshot: self.snapshot,
            ranges: ranges(pieces),
        };
        self.send(desk, self.source, message);
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    /// A piece has come.
    pub(crate) fn piece(
        &mut self,
        desk: &mut Desk<'_>,
        snapshot: &Digest,
        index: u32,
        bytes: Bytes,
    ) -> Course {
        self.heard = desk.now;
        let same = self.snapshot == *snapshot || Mutant::SnapshotsMixed.strikes();
        let Stage::Fetching(fetching) = &mut self.stage else { return Course::Stay };
        if !same || !fetching.asked.contains(&index) {
            return Course::Stay;
        }
        let place = (index as usize).checked_sub(1);
        let Some(chunk) = place.and_then(|place| self.pieces.get(place)).copied() else {
            return Course::Stay;
        };
        let named = bytes.len() <= CHUNK_BYTES_MAX && chunk.names(&bytes);
        if !named && !Mutant::SnapshotsMixed.is_on() {
            let what = format!("piece {index} has another digest or length");
            return self.fail(desk, MigrationFailureReason::SnapshotInvalid(what));
        }
        fetching.asked.remove(&index);
        // Two pieces may be the same chunk: then one save serves both.
        let twice = fetching.saving.insert(chunk, index).is_some();
        if !twice {
            desk.push(Output::SaveChunk { attempt: self.attempt, chunk, bytes });
        }
        self.resend_at = desk.now + desk.settings().resend_after;
        Course::Stay
    }

    /// A piece is durable.
    pub(crate) fn chunk_saved(
        &mut self,
        desk: &mut Desk<'_>,
        chunk: &ChunkRef,
        result: Result<(), String>,
    ) -> Course {
        let Stage::Fetching(fetching) = &mut self.stage else { return Course::Stay };
        fetching.saving.remove(chunk);
        match result {
            Ok(()) => self.fetch(desk),
            Err(error) => self.fail(desk, MigrationFailureReason::StoreFailed(error)),
        }
    }

    /// All pieces that were asked for are saved.
    fn fetched(&mut self, desk: &mut Desk<'_>) -> Course {
        let Some(manifest) = &self.manifest else { return Course::Stay };
        if self.listed {
            let write = Write::SaveCopy {
                entity: desk.entity,
                attempt: self.attempt,
                epoch: self.epoch,
                manifest: manifest.clone(),
            };
            self.stage = Stage::Saving;
            desk.save(Saving::Copy(self.attempt), write);
        } else {
            let lists = manifest.state.lists.clone();
            self.stage = Stage::Listing;
            desk.push(Output::ReadPieces { attempt: self.attempt, lists });
        }
        Course::Stay
    }

    /// The lists were read: now the pieces of the state are known.
    pub(crate) fn pieces_read(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Vec<ChunkRef>, String>,
    ) -> Course {
        if !matches!(self.stage, Stage::Listing) {
            return Course::Stay;
        }
        let Some(manifest) = &self.manifest else { return Course::Stay };
        let sound = |chunks: &Vec<ChunkRef>| {
            let bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
            chunks.len() == manifest.state.chunks as usize
                && bytes == manifest.state.bytes
                && chunks.iter().all(|chunk| chunk.bytes as usize <= CHUNK_BYTES_MAX)
        };
        match result {
            Ok(chunks) if sound(&chunks) => {
                let offset = self.pieces.len();
                self.pieces.extend(chunks);
                self.listed = true;
                self.find(desk, offset)
            }
            Ok(_) => {
                let what = "its lists do not name what the manifest says".to_owned();
                self.fail(desk, MigrationFailureReason::SnapshotInvalid(what))
            }
            Err(error) => self.fail(desk, MigrationFailureReason::SnapshotInvalid(error)),
        }
    }

    /// The copy is saved.
    pub(crate) fn copy_saved(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<(), WriteError>,
    ) -> Course {
        if !matches!(self.stage, Stage::Saving) {
            return Course::Stay;
        }
        if let Err(error) = result {
            return self.fail(desk, MigrationFailureReason::StoreFailed(error.to_string()));
        }
        let Some(manifest) = self.manifest.clone() else { return Course::Stay };
        self.stage = Stage::Restoring;
        let (copy, envelope) = (self.attempt, self.envelope.clone());
        desk.push(Output::Restore { copy, manifest: Box::new(manifest), envelope });
        Course::Stay
    }

    /// The copy is built.
    pub(crate) fn restored(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Restored, MigrationFailureReason>,
    ) -> Course {
        if !matches!(self.stage, Stage::Restoring) {
            return Course::Stay;
        }
        let Some(manifest) = &self.manifest else { return Course::Stay };
        match result {
            Ok(restored) => {
                self.replica = Some(Replica::restored(manifest, restored));
                self.stage = Stage::Following;
                self.say_restored(desk);
                self.arrive(desk)
            }
            Err(reason) => self.fail(desk, reason),
        }
    }

    fn say_restored(&mut self, desk: &mut Desk<'_>) {
        let Some(replica) = &self.replica else { return };
        let message = MigrationMessage::RestoreComplete {
            daemon_origin: desk.origin,
            restored_seq: replica.head.position.get(),
            snapshot: self.snapshot,
            head: replica.head,
            store: desk.station.store(),
            key: desk.station.public(),
        };
        self.answer(desk, message);
    }

    /// Turns to replay have come.
    pub(crate) fn events(
        &mut self,
        desk: &mut Desk<'_>,
        events: Vec<CausalEvent>,
        stamps: Vec<Stamp>,
        frozen: Option<Frozen>,
    ) -> Course {
        self.heard = desk.now;
        if events.len() != stamps.len() || events.len() > EVENTS_PER_MESSAGE_MAX {
            let what = "events and stamps do not match, or are too many".to_owned();
            return self.fail(desk, MigrationFailureReason::SnapshotInvalid(what));
        }
        match self.stage {
            Stage::Following => {}
            Stage::Voted => return self.nudge(desk),
            Stage::Orphan => return self.say_restarted(desk),
            Stage::Vetting
            | Stage::Admitting
            | Stage::Finding { .. }
            | Stage::Fetching(_)
            | Stage::Listing
            | Stage::Saving
            | Stage::Restoring
            | Stage::Replaying { .. }
            | Stage::SavingTurns
            | Stage::Judging
            | Stage::Accepting
            | Stage::Folding(_) => return Course::Stay,
        }
        let Some(replica) = &self.replica else { return Course::Stay };
        let named = frozen.filter(|frozen| frozen.state != Digest::ZERO);
        self.frozen = self.frozen.or(named);
        let turns: Vec<Turn> = events
            .into_iter()
            .zip(stamps)
            .map(|(event, stamp)| Turn { event, stamp })
            .filter(|turn| turn.position() > replica.head.position)
            .collect();
        if turns.is_empty() {
            return self.arrive(desk);
        }
        match replica.steps(&turns, desk.title) {
            Ok(steps) => {
                desk.push(Output::Replay { copy: self.attempt, steps: steps.clone() });
                self.stage = Stage::Replaying { turns, steps };
                Course::Stay
            }
            // A message was lost in between: saying where the copy stands brings it again.
            Err(ReplayError::Gap | ReplayError::Diverged) => {
                self.say_replayed(desk, None);
                Course::Stay
            }
        }
    }

    /// The turns were made again.
    pub(crate) fn replayed(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Vec<Turned>, TurnFailure>,
    ) -> Course {
        let stage = std::mem::replace(&mut self.stage, Stage::Following);
        let (turns, steps) = match stage {
            Stage::Replaying { turns, steps } => (turns, steps),
            Stage::Folding(steps) => return self.folded(desk, &steps, result),
            other @ (Stage::Vetting
            | Stage::Admitting
            | Stage::Finding { .. }
            | Stage::Fetching(_)
            | Stage::Listing
            | Stage::Saving
            | Stage::Restoring
            | Stage::Following
            | Stage::SavingTurns
            | Stage::Judging
            | Stage::Voted
            | Stage::Accepting
            | Stage::Orphan) => {
                self.stage = other;
                return Course::Stay;
            }
        };
        let Some(replica) = &mut self.replica else { return Course::Stay };
        let after = replica.head.position;
        let settings = &desk.station.settings;
        let followed = result.ok().map(|turned| replica.replayed(&steps, turned, settings));
        if followed != Some(Ok(())) {
            desk.warn(Warning::Diverged { copy: self.attempt });
            return self.fail(desk, MigrationFailureReason::Diverged);
        }
        if turns.is_empty() {
            return self.arrive(desk);
        }
        self.stage = Stage::SavingTurns;
        let (entity, attempt) = (desk.entity, self.attempt);
        let write = Write::AppendCopy { entity, attempt, after, turns };
        desk.save(Saving::CopyTurns(attempt), write);
        Course::Stay
    }

    /// The turns are saved.
    pub(crate) fn turns_saved(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<(), WriteError>,
    ) -> Course {
        if !matches!(self.stage, Stage::SavingTurns) {
            return Course::Stay;
        }
        if let Err(error) = result {
            return self.fail(desk, MigrationFailureReason::StoreFailed(error.to_string()));
        }
        self.stage = Stage::Following;
        self.arrive(desk)
    }

    /// The copy stands somewhere new: at the frozen head, or on the way to it.
    fn arrive(&mut self, desk: &mut Desk<'_>) -> Course {
        let Some(replica) = &self.replica else { return Course::Stay };
        // Where nothing happened since the last hand-over, the chain has yet to go through it.
        if let Ok(steps) = replica.steps_into(self.epoch, desk.title)
            && !steps.is_empty()
        {
            desk.push(Output::Replay { copy: self.attempt, steps: steps.clone() });
            self.stage = Stage::Replaying { turns: Vec::new(), steps };
            return Course::Stay;
        }
        // A copy that had to come again: the deed itself says where the source was frozen.
        let handed_over = self.deeds.last().map(|signed| signed.deed.head);
        if self.frozen.is_none() && handed_over == Some(replica.head) {
            self.stage = Stage::Voted;
            return self.accept(desk);
        }
        match self.frozen {
            Some(frozen) if frozen.head == replica.head || Mutant::BufferingUnwired.is_on() => {
                self.stage = Stage::Judging;
                desk.push(Output::Judge { copy: self.attempt });
            }
            Some(frozen) if frozen.head.position <= replica.head.position => {
                return self.fail(desk, MigrationFailureReason::Diverged);
            }
            Some(_) | None => self.say_replayed(desk, None),
        }
        Course::Stay
    }

    /// The state at the frozen head is named and judged: the final vote, a divergence, or the
    /// refusal of the gate, which is not asked about a state that is another one (rule 11).
    pub(crate) fn judged(
        &mut self,
        desk: &mut Desk<'_>,
        state: Digest,
        verdict: Result<Option<Bytes>, MigrationFailureReason>,
    ) -> Course {
        if !matches!(self.stage, Stage::Judging) {
            return Course::Stay;
        }
        let expected = self.frozen.map(|frozen| frozen.state);
        if state == Digest::ZERO {
            let what = "the state of the copy could not be named".to_owned();
            return self.fail(desk, MigrationFailureReason::StateFailed(what));
        }
        let compared = !Mutant::StateDigestIgnored.is_on()
            && !Mutant::BufferingUnwired.is_on()
            && !Mutant::SnapshotsMixed.has_struck()
            && !Mutant::SnapshotFailedGoesOn.has_struck();
        if expected != Some(state) && compared {
            desk.warn(Warning::Diverged { copy: self.attempt });
            return self.fail(desk, MigrationFailureReason::Diverged);
        }
        self.state = expected;
        let refusal = match verdict {
            Ok(word) => {
                self.word = word;
                None
            }
            Err(reason) => Some(reason),
        };
        // Past the commit point the title is accepted whatever the gate says.
        if !self.deeds.is_empty() {
            self.stage = Stage::Voted;
            return self.accept(desk);
        }
        if let Some(reason) = refusal
            && !Mutant::GateIgnored.is_on()
        {
            return self.fail(desk, reason);
        }
        self.stage = Stage::Voted;
        self.say_replayed(desk, self.state);
        if Mutant::LiveAtTheVote.is_on() {
            return Course::GoLive;
        }
        Course::Stay
    }

    fn say_replayed(&mut self, desk: &mut Desk<'_>, state: Option<Digest>) {
        let Some(replica) = &self.replica else { return };
        let message = MigrationMessage::ReplayComplete {
            daemon_origin: desk.origin,
            replayed_seq: replica.head.position.get(),
            target_head: replica.target_head(desk.origin),
            head: replica.head,
            state,
            store: desk.station.store(),
            key: desk.station.public(),
        };
        self.answer(desk, message);
    }

    /// Deeds that make this node the owner have been verified.
    pub(crate) fn inherit(&mut self, desk: &mut Desk<'_>, deeds: Vec<SignedDeed>) -> Course {
        if matches!(self.stage, Stage::Accepting | Stage::Folding(_)) {
            return Course::Stay;
        }
        self.deeds = deeds;
        self.accept(desk)
    }

    /// Saves the deed, if the copy is the one that it hands over.
    fn accept(&mut self, desk: &mut Desk<'_>) -> Course {
        let Some(signed) = self.deeds.last() else { return Course::Stay };
        let head = self.replica.as_ref().map(|replica| replica.head);
        let fits = match self.stage {
            Stage::Voted => head == Some(signed.deed.head) || Mutant::BufferingUnwired.is_on(),
            // The store compares the heads: the copy is on disk and not in memory.
            Stage::Orphan => true,
            Stage::Following => Mutant::ActivateUnvoted.is_on(),
            Stage::Vetting
            | Stage::Admitting
            | Stage::Finding { .. }
            | Stage::Fetching(_)
            | Stage::Listing
            | Stage::Saving
            | Stage::Restoring
            | Stage::Replaying { .. }
            | Stage::SavingTurns
            | Stage::Judging
            | Stage::Accepting
            | Stage::Folding(_) => false,
        };
        if !fits {
            return Course::Stay;
        }
        let deeds = self.deeds.clone();
        self.stage = Stage::Accepting;
        desk.save(Saving::Accept(self.attempt), Write::Accept { deeds });
        Course::Stay
    }

    /// The deed is saved: this node owns the daemon. The chain goes through the deed, then the
    /// daemon is live.
    pub(crate) fn accepted(
        &mut self,
        desk: &mut Desk<'_>,
        result: &Result<(), WriteError>,
    ) -> Course {
        if !matches!(self.stage, Stage::Accepting) || result.is_err() {
            return Course::Stay;
        }
        let (Some(replica), Some(signed)) = (&self.replica, self.deeds.last()) else {
            return Course::Stay;
        };
        match replica.steps_into(signed.deed.epoch, desk.title) {
            Ok(steps) => {
                desk.push(Output::Replay { copy: self.attempt, steps: steps.clone() });
                self.stage = Stage::Folding(steps);
                Course::Stay
            }
            Err(_) => Course::Stay,
        }
    }

    fn folded(
        &mut self,
        desk: &Desk<'_>,
        steps: &[ReplayStep],
        result: Result<Vec<Turned>, TurnFailure>,
    ) -> Course {
        let settings = &desk.station.settings;
        let Some(replica) = &mut self.replica else { return Course::Stay };
        match result.ok().map(|turned| replica.replayed(steps, turned, settings)) {
            Some(Ok(())) => Course::GoLive,
            Some(Err(_)) | None => Course::Stay,
        }
    }

    /// Whether its deed is being saved.
    pub(crate) const fn is_accepting(&self) -> bool {
        matches!(self.stage, Stage::Accepting)
    }

    /// Puts earlier deeds in front of those that are to be saved; the next try names them all.
    pub(crate) fn lead_back(&mut self, title: &[SignedDeed]) {
        if let Some(first) = self.deeds.first().map(|signed| signed.deed.epoch) {
            let earlier = title.iter().filter(|signed| signed.deed.epoch < first).cloned();
            let later = std::mem::take(&mut self.deeds);
            self.deeds = earlier.chain(later).collect();
        }
    }

    /// Whether the copy was only found on disk: its owner is then built from the record.
    pub(crate) const fn is_on_disk_only(&self) -> bool {
        self.replica.is_none()
    }

    /// The deeds by which it goes live.
    pub(crate) fn deeds(&self) -> &[SignedDeed] {
        &self.deeds
    }

    /// The source says that the attempt is over, or does not know it.
    pub(crate) fn ended(&self, from: NodeId) -> Course {
        let word_of_source = from == self.source || Mutant::AnyoneEnds.is_on();
        if word_of_source && self.deeds.is_empty() && !matches!(self.stage, Stage::Accepting) {
            return Course::Leave;
        }
        Course::Stay
    }

    /// Says again what the other side may have missed.
    fn nudge(&mut self, desk: &mut Desk<'_>) -> Course {
        match self.stage {
            Stage::Voted => {
                let state = self.state;
                self.say_replayed(desk, state);
            }
            Stage::Following => {
                self.say_restored(desk);
                return self.arrive(desk);
            }
            Stage::Vetting => return self.vet(desk),
            Stage::Orphan => desk.ask(self.source, Some(self.attempt)),
            Stage::Admitting
            | Stage::Finding { .. }
            | Stage::Fetching(_)
            | Stage::Listing
            | Stage::Saving
            | Stage::Restoring
            | Stage::Replaying { .. }
            | Stage::SavingTurns
            | Stage::Judging
            | Stage::Accepting
            | Stage::Folding(_) => {}
        }
        Course::Stay
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, desk: &mut Desk<'_>) -> Course {
        let silent = desk.now.since(self.heard) >= desk.settings().silence_max;
        if silent && !self.is_bound() {
            return self.fail(desk, MigrationFailureReason::TimedOut);
        }
        if self.resend_at > desk.now {
            return Course::Stay;
        }
        self.resend_at = desk.now + desk.settings().resend_after;
        if matches!(self.stage, Stage::Orphan)
            && let Some(signed) = desk.title.deed(self.epoch)
        {
            self.source = signed.deed.owner();
        }
        match &self.stage {
            Stage::Fetching(fetching) => {
                let asked: Vec<u32> = fetching.asked.iter().copied().collect();
                if !asked.is_empty() {
                    self.want(desk, &asked);
                }
                Course::Stay
            }
            // A copy with a vote and no news asks (rule 9): the source first, then anybody.
            Stage::Voted | Stage::Orphan if Mutant::NeverAsks.is_on() => Course::Stay,
            Stage::Voted | Stage::Orphan => {
                desk.ask(self.source, Some(self.attempt));
                if desk.now.since(self.heard) >= desk.settings().resend_max {
                    desk.ask_all(Some(self.attempt));
                }
                Course::Stay
            }
            Stage::Vetting => self.vet(desk),
            Stage::Accepting => {
                let deeds = self.deeds.clone();
                desk.save(Saving::Accept(self.attempt), Write::Accept { deeds });
                Course::Stay
            }
            Stage::Following => self.nudge(desk),
            // What takes long here is no silence: asking for nothing says so.
            Stage::Finding { .. }
            | Stage::Listing
            | Stage::Saving
            | Stage::Restoring
            | Stage::Replaying { .. }
            | Stage::SavingTurns => {
                self.want(desk, &[]);
                Course::Stay
            }
            Stage::Admitting | Stage::Judging | Stage::Folding(_) => Course::Stay,
        }
    }
}

/// The manifest that piece 0 carries, if it is sound and about this daemon.
pub(crate) fn read_manifest(
    desk: &Desk<'_>,
    bytes: &[u8],
    snapshot: &Digest,
) -> Result<Manifest, MigrationFailureReason> {
    let invalid = |what: &str| MigrationFailureReason::SnapshotInvalid(what.to_owned());
    let manifest: Manifest = decode(bytes).map_err(|_| invalid("its manifest does not decode"))?;
    if manifest.entity != desk.entity {
        return Err(invalid("it is of another daemon"));
    }
    if manifest.digest() != *snapshot {
        return Err(invalid("its manifest has another digest"));
    }
    if !manifest.is_sound() {
        return Err(invalid("its sizes are beyond the limits"));
    }
    Ok(manifest)
}

/// Rising piece numbers as runs.
fn ranges(pieces: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for piece in pieces {
        match runs.last_mut() {
            Some((first, count)) if first.saturating_add(*count) == *piece => *count += 1,
            Some(_) | None => runs.push((*piece, 1)),
        }
    }
    runs
}
