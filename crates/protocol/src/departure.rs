//! Decides how a daemon leaves this node: the source of a move.
//!
//! The other half is `arrival`. The daemon goes on serving until the last step. Nothing here
//! trusts a time-out with ownership: before the hand-over is saved the attempt may end at any
//! moment and the daemon goes on here; after it, only the acknowledgement of that very deed ends
//! the departure.
//!
//! # States
//!
//! ```text
//!  Beginning ─saved─▶ Preparing ─▶ Choosing ─▶ Listing ─▶ Sealing ─▶ Transferring ─RestoreComplete─┐
//!      (freeze-and-copy: Freezing first)                                                       ▼
//!  Committing ◀─vote at (f, head, state)─ Voting ◀─ Digesting ◀─settled─ Freezing ◀─lag small─ Following
//!      │ saved                                                                   (rounds) ⟲
//!      ▼
//!  (departed: `seat` keeps the deed and sends it until it is acknowledged)
//! ```
//!
//! Every state before Committing → ended, when the target fails, the orchestrator cancels, or the
//! other side is silent for too long.
//!
//! # Invariants
//!
//! * D1 (no early vote): the hand-over is saved only while the daemon is frozen in this attempt
//!   and the vote names exactly the frozen head and state (rule 1).
//! * D2 (only durable shipped): turns are read from the journal, or were kept when the store had
//!   confirmed their save (rule 8).
//! * D3 (asked for): the hand-over is saved only after the orchestrator asked for the cut-over; one
//!   that ended the move earlier told the truth.
//! * D4 (no way back): an attempt whose hand-over is being saved ends only by the end of that save.
//!
//! # Limits
//!
//! * `silence_max` (of the target, and of the orchestrator until it asked for the cut-over),
//!   `freeze_max`, `rounds_max` (`pace`): beyond them the attempt ends with a typed reason.
//! * `pieces_in_flight_max`: pieces sent for one request.

mod pace;
mod recent;

use bytes::Bytes;
use whimbrel_mutants::Mutant;
use whimbrel_wire::limits::RANGES_PER_MESSAGE_MAX;
use whimbrel_wire::{
    AttemptId, CatchUp, ChunkRef, Deed, Digest, Epoch, EvolutionWord, Frozen, Head, Manifest,
    MigrationEnvelope, MigrationFailureReason, MigrationMessage, MigrationPhase, NodeId, Offer,
    Position, Progress, PublicKey, Role, SignedDeed, StoreId, Time, Turn, Write, encode,
};

use crate::desk::{Desk, Saving};
use crate::port::{Event, Moment, Output, Unprepared};
use crate::rarely::Spot;
use crate::tenure::{Life, Owner};
use pace::Pace;
use recent::Recent;

/// One attempt to leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Departure {
    pub(crate) attempt: AttemptId,
    pub(crate) target: NodeId,
    pub(crate) orchestrator: NodeId,
    catch_up: CatchUp,
    transport_identity: bool,
    /// What the daemon is to be told before anything is shipped.
    terms: Terms,
    stage: Stage,
    parcel: Option<Parcel>,
    /// Where the copy of the target stands, as it says.
    vote: Option<Vote>,
    /// Whether that was the final vote.
    elected: bool,
    cutover_wanted: bool,
    /// When the orchestrator was last heard.
    wanted: Time,
    frozen_since: Option<Time>,
    heard: Time,
    resend_at: Time,
    pace: Pace,
    reading: bool,
    /// A round was sent and the target has not answered it.
    unanswered: bool,
    recent: Recent,
    pieces_sent: u32,
    bytes_sent: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Beginning,
    Preparing,
    Choosing,
    Listing,
    Sealing,
    Transferring,
    Following,
    Freezing,
    Digesting,
    Voting(Frozen),
    /// The deed that is being saved; none after a restart, when the record has it.
    Committing(Option<Box<SignedDeed>>),
}

/// What was agreed for an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Terms {
    None,
    ToTell(Bytes),
    /// The daemon is told, or was.
    Told,
}

/// A snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parcel {
    manifest: Manifest,
    snapshot: Digest,
    /// Lists, luggage, chunks: piece `n` is `pieces[n - 1]`.
    pieces: Vec<ChunkRef>,
    envelope: Option<Bytes>,
    frozen: Option<Frozen>,
}

impl Parcel {
    /// How many bytes all its pieces hold.
    fn bytes(&self) -> u64 {
        let named = self.manifest.state.lists.iter().chain(&self.manifest.luggage);
        self.manifest.state.bytes + named.map(|chunk| u64::from(chunk.bytes)).sum::<u64>()
    }
}

/// What the target said of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Vote {
    head: Head,
    store: StoreId,
    key: PublicKey,
}

/// What a move asks for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) attempt: AttemptId,
    pub(crate) target: NodeId,
    pub(crate) orchestrator: NodeId,
    pub(crate) transport_identity: bool,
    pub(crate) catch_up: CatchUp,
    pub(crate) terms: Option<Bytes>,
}

impl Request {
    /// What a message asks for, if it asks for a move.
    pub(crate) fn of(from: NodeId, envelope: &MigrationEnvelope) -> Option<Self> {
        let terms = if let MigrationMessage::TakeSnapshotOnTerms { terms, .. } = &envelope.message {
            Some(terms.clone())
        } else {
            None
        };
        let (MigrationMessage::TakeSnapshot { target_node, transport_identity, catch_up, .. }
        | MigrationMessage::TakeSnapshotOnTerms {
            target_node,
            transport_identity,
            catch_up,
            ..
        }) = &envelope.message
        else {
            return None;
        };
        Some(Self {
            attempt: envelope.attempt,
            target: *target_node,
            orchestrator: from,
            transport_identity: *transport_identity,
            catch_up: *catch_up,
            terms,
        })
    }
}

impl Departure {
    fn new(request: &Request, now: Time) -> Self {
        Self {
            attempt: request.attempt,
            target: request.target,
            orchestrator: request.orchestrator,
            catch_up: request.catch_up,
            transport_identity: request.transport_identity,
            terms: request.terms.clone().map_or(Terms::None, Terms::ToTell),
            stage: Stage::Beginning,
            parcel: None,
            vote: None,
            elected: false,
            cutover_wanted: false,
            wanted: now,
            frozen_since: None,
            heard: now,
            resend_at: now,
            pace: Pace::default(),
            reading: false,
            unanswered: false,
            recent: Recent::default(),
            pieces_sent: 0,
            bytes_sent: 0,
        }
    }

    /// The same attempt after a restart, past its commit point: all that is left is to answer a
    /// target that lost its copy.
    pub(crate) fn committed(
        attempt: AttemptId,
        target: NodeId,
        manifest: Manifest,
        frozen: Frozen,
        now: Time,
    ) -> Self {
        let request = Request {
            attempt,
            target,
            orchestrator: target,
            transport_identity: false,
            catch_up: CatchUp::Replay,
            terms: None,
        };
        let snapshot = manifest.digest();
        let parcel =
            Parcel { manifest, snapshot, pieces: Vec::new(), envelope: None, frozen: Some(frozen) };
        let parcel = Some(parcel);
        Self { stage: Stage::Committing(None), parcel, ..Self::new(&request, now) }
    }

    /// Keeps a turn at hand whose save was confirmed.
    pub(crate) fn keep(&mut self, desk: &Desk<'_>, turn: Turn) {
        if self.catch_up == CatchUp::Replay {
            self.recent.keep(turn, desk.settings());
        }
    }

    /// The target says where its copy stands.
    fn hear_vote(&mut self, now: Time, vote: Vote) {
        self.heard = now;
        self.unanswered = false;
        self.recent.forget(vote.head.position);
        let before = self.vote.map_or(vote.head.position, |vote| vote.head.position);
        self.pace.replayed(now, vote.head.position.get().saturating_sub(before.get()));
        self.vote = Some(vote);
    }

    /// Whether a turn may start after `made`, as far as this attempt goes.
    pub(crate) fn admits(&self, made: Position) -> bool {
        (!self.is_frozen() || Mutant::ServesFrozen.is_on()) && self.pace.admits(made)
    }

    /// Whether the daemon takes no turns because of this attempt.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// The deed that is being saved.
    pub(crate) fn deed(&self) -> Option<&SignedDeed> {
        match &self.stage {
            Stage::Committing(deed) => deed.as_deref(),
            Stage::Beginning
            | Stage::Preparing
            | Stage::Choosing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Transferring
            | Stage::Following
            | Stage::Freezing
            | Stage::Digesting
            | Stage::Voting(_) => None,
        }
    }

    /// Whether it is too late to give up.
    pub(crate) const fn is_committing(&self) -> bool {
        matches!(self.stage, Stage::Committing(_))
    }

    /// The snapshot whose chunks must stay.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.parcel.as_ref().map(|parcel| &parcel.manifest)
    }

    /// Where the source is frozen, once it is settled.
    const fn frozen(&self) -> Option<Frozen> {
        match self.stage {
            Stage::Voting(frozen) => Some(frozen),
            Stage::Beginning
            | Stage::Preparing
            | Stage::Choosing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Transferring
            | Stage::Following
            | Stage::Freezing
            | Stage::Digesting
            | Stage::Committing(_) => None,
        }
    }

    /// Whether the next step is the target's.
    const fn awaits_target(&self) -> bool {
        match self.stage {
            Stage::Transferring | Stage::Following | Stage::Voting(_) => true,
            Stage::Beginning
            | Stage::Preparing
            | Stage::Choosing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Freezing
            | Stage::Digesting
            | Stage::Committing(_) => false,
        }
    }

    /// What its state is called.
    pub(crate) const fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Beginning => "Beginning",
            Stage::Preparing => "Preparing",
            Stage::Choosing => "Choosing",
            Stage::Listing => "Listing",
            Stage::Sealing => "Sealing",
            Stage::Transferring => "Transferring",
            Stage::Following => "Following",
            Stage::Freezing => "Freezing",
            Stage::Digesting => "Digesting",
            Stage::Voting(_) => "Voting",
            Stage::Committing(_) => "Committing",
        }
    }

    const fn phase(&self) -> MigrationPhase {
        match self.stage {
            Stage::Beginning
            | Stage::Preparing
            | Stage::Choosing
            | Stage::Listing
            | Stage::Sealing => MigrationPhase::Snapshot,
            Stage::Transferring => MigrationPhase::Transfer,
            Stage::Following => MigrationPhase::Replay,
            Stage::Freezing | Stage::Digesting | Stage::Voting(_) => MigrationPhase::Cutover,
            Stage::Committing(_) => MigrationPhase::Complete,
        }
    }

    /// When the departure wants to be woken. Silence is noticed when something is sent again.
    pub(crate) fn wake_at(&self, freeze_end: Option<Time>) -> Time {
        freeze_end.map_or(self.resend_at, |end| end.min(self.resend_at))
    }

    /// Shows every moment that it remembers.
    pub(crate) fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        see(Moment::Since(&mut self.wanted));
        see(Moment::Since(&mut self.heard));
        see(Moment::Due(&mut self.resend_at));
        self.pace.moments(see);
        if let Some(since) = &mut self.frozen_since {
            see(Moment::Since(since));
        }
    }

    /// Forgets the figures that only people look at.
    pub(crate) const fn forget_figures(&mut self) {
        (self.pieces_sent, self.bytes_sent) = (0, 0);
    }

    /// Since when it has been frozen, if that may only last for `freeze_max`. A freeze that waits
    /// for the whole state to travel lasts as long as the other side is heard.
    pub(crate) const fn thaws_after(&self) -> Option<Time> {
        match self.catch_up {
            CatchUp::Replay => self.frozen_since,
            CatchUp::Deltas | CatchUp::FreezeAndCopy => None,
        }
    }

    fn send(&self, desk: &mut Desk<'_>, to: NodeId, epoch: Epoch, message: MigrationMessage) {
        let message = desk.envelope(self.attempt, epoch, Role::Source, message);
        desk.push(Output::Send { to, message });
    }

    /// Offers the snapshot, again if need be.
    fn offer(&mut self, desk: &mut Desk<'_>, epoch: Epoch) {
        let Some(parcel) = &self.parcel else { return };
        let offer = Offer {
            orchestrator: self.orchestrator,
            envelope: parcel.envelope.clone(),
            catch_up: self.catch_up,
            frozen: parcel.frozen,
        };
        let message = MigrationMessage::SnapshotReady {
            daemon_origin: desk.origin,
            snapshot_bytes: encode(&parcel.manifest).into(),
            seq_through: parcel.manifest.head.position.get(),
            chunk_index: 0,
            total_chunks: parcel.manifest.messages(),
            snapshot: parcel.snapshot,
            offer: Some(offer),
        };
        self.send(desk, self.target, epoch, message);
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    /// Sends the pieces that the target lacks.
    pub(crate) fn serve(
        &mut self,
        desk: &mut Desk<'_>,
        epoch: Epoch,
        snapshot: &Digest,
        ranges: &[(u32, u32)],
    ) {
        self.heard = desk.now;
        let Some(parcel) = &self.parcel else { return };
        if parcel.snapshot != *snapshot {
            return self.offer(desk, epoch);
        }
        let total_chunks = parcel.manifest.messages();
        let most = u32::try_from(2 * desk.settings().pieces_in_flight_max).unwrap_or(u32::MAX);
        let wanted = ranges.iter().take(RANGES_PER_MESSAGE_MAX).flat_map(|(first, count)| {
            (0..(*count).min(most)).filter_map(|step| first.checked_add(step))
        });
        let indices: Vec<u32> = wanted.take(2 * desk.settings().pieces_in_flight_max).collect();
        for index in indices {
            let place = (index as usize).checked_sub(1);
            let Some(chunk) = place.and_then(|place| parcel.pieces.get(place)) else { continue };
            let message = MigrationMessage::SnapshotReady {
                daemon_origin: desk.origin,
                snapshot_bytes: Bytes::new(),
                seq_through: parcel.manifest.head.position.get(),
                chunk_index: index,
                total_chunks,
                snapshot: parcel.snapshot,
                offer: None,
            };
            let message = desk.envelope(self.attempt, epoch, Role::Source, message);
            self.pieces_sent += 1;
            self.bytes_sent += u64::from(chunk.bytes);
            desk.push(Output::SendPiece { to: self.target, message, chunk: *chunk });
        }
    }
}

impl Owner {
    /// Begins to leave. The attempt is saved first: it never restarts (rule 6).
    pub(crate) fn depart(&mut self, desk: &mut Desk<'_>, request: &Request) {
        self.departure = Some(Departure::new(request, desk.now));
        let (entity, epoch) = (desk.entity, self.epoch);
        let attempt = request.attempt;
        if Mutant::AttemptUnsaved.is_on() {
            return self.begun(desk);
        }
        desk.save(Saving::Attempt(attempt), Write::BeginAttempt { entity, epoch, attempt });
    }

    /// The attempt is saved: what would end it is found out before anything else is done.
    pub(crate) fn begun(&mut self, desk: &mut Desk<'_>) {
        let copy = self.copy;
        let Some(departure) = &mut self.departure else { return };
        if !matches!(departure.stage, Stage::Beginning) {
            return;
        }
        departure.stage = Stage::Preparing;
        let (attempt, target) = (departure.attempt, departure.target);
        desk.push(Output::Prepare { attempt, copy, target });
    }

    /// The daemon is ready to leave, or cannot.
    pub(crate) fn prepared(&mut self, desk: &mut Desk<'_>, result: Result<(), Unprepared>) {
        let preparing = |departure: &Departure| matches!(departure.stage, Stage::Preparing);
        if !self.departure.as_ref().is_some_and(preparing) {
            return;
        }
        match result {
            Ok(()) => self.agree(desk),
            Err(Unprepared::Refused(reason)) => self.give_up(desk, reason),
            Err(Unprepared::Broke(failure)) => {
                self.give_up(desk, MigrationFailureReason::StateFailed(failure.to_string()));
                self.broke(desk, &failure);
            }
        }
    }

    /// Tells the daemon the terms, if there are any.
    fn agree(&mut self, desk: &mut Desk<'_>) {
        let Some(departure) = &mut self.departure else { return };
        match std::mem::replace(&mut departure.terms, Terms::Told) {
            Terms::ToTell(terms) => {
                let attempt = departure.attempt;
                self.tell_terms(desk, &EvolutionWord::Agreed { attempt, terms });
            }
            Terms::None => {
                departure.terms = Terms::None;
                self.choose(desk);
            }
            Terms::Told => {}
        }
    }

    /// Whether the attempt waits for the daemon to take the terms.
    pub(crate) fn agreeing(&self) -> bool {
        self.departure.as_ref().is_some_and(|departure| {
            matches!((&departure.stage, &departure.terms), (Stage::Preparing, Terms::Told))
        })
    }

    /// Chooses what is shipped first, in the way of the kind.
    pub(crate) fn choose(&mut self, desk: &mut Desk<'_>) {
        let near = self.base_is_near(desk);
        let Some(departure) = &mut self.departure else { return };
        if self.replica.catch_up != CatchUp::Replay && departure.catch_up == CatchUp::Replay {
            departure.catch_up = self.replica.catch_up;
        }
        match departure.catch_up {
            CatchUp::FreezeAndCopy => self.freeze(desk),
            // Terms are in no snapshot yet, and the target looks at them before the freeze.
            CatchUp::Replay if near && departure.terms == Terms::None => self.list(desk, None),
            CatchUp::Replay | CatchUp::Deltas => {
                departure.stage = Stage::Choosing;
                self.want_snapshot(desk, None);
            }
        }
        self.report(desk);
    }

    /// Whether the last durable snapshot leaves little enough to replay.
    fn base_is_near(&self, desk: &Desk<'_>) -> bool {
        let turns = self.durable.get().saturating_sub(self.base().head.position.get());
        let near = desk.settings().round_turns_max as u64 * 16;
        turns <= near
            && !desk.rarely(Spot::BaseIsFar)
            && self.snapshots.journal_bytes() <= 16 * desk.settings().round_bytes_max as u64
    }

    /// A new base snapshot stands; the departure may have waited for it.
    pub(crate) fn snapshot_stands(&mut self, desk: &mut Desk<'_>) {
        let Some(departure) = &self.departure else { return };
        match departure.stage {
            Stage::Choosing => self.list(desk, None),
            // It may be a snapshot that was begun before the freeze.
            Stage::Freezing
                if departure.catch_up != CatchUp::Replay
                    && self.is_settled()
                    && self.base().head != self.replica.head =>
            {
                self.want_snapshot(desk, None);
            }
            Stage::Freezing if departure.catch_up != CatchUp::Replay && self.is_settled() => {
                self.digest(desk);
            }
            Stage::Beginning
            | Stage::Preparing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Transferring
            | Stage::Following
            | Stage::Freezing
            | Stage::Digesting
            | Stage::Voting(_)
            | Stage::Committing(_) => {}
        }
    }

    /// There is no new base snapshot. A departure that waits for one ends: nobody else would tell.
    pub(crate) fn snapshot_failed_to_leave(&mut self, desk: &mut Desk<'_>, error: &str) {
        let waits = self.departure.as_ref().is_some_and(|departure| match departure.stage {
            Stage::Choosing => true,
            Stage::Freezing => departure.catch_up != CatchUp::Replay,
            Stage::Beginning
            | Stage::Preparing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Transferring
            | Stage::Following
            | Stage::Digesting
            | Stage::Voting(_)
            | Stage::Committing(_) => false,
        });
        if waits {
            self.give_up(desk, MigrationFailureReason::StoreFailed(error.to_owned()));
        }
    }

    /// The base snapshot is the one to ship: finds out what it consists of.
    fn list(&mut self, desk: &mut Desk<'_>, frozen: Option<Frozen>) {
        let manifest = self.base().clone();
        let snapshot = self.base_digest();
        let Some(departure) = &mut self.departure else { return };
        let lists = manifest.state.lists.clone();
        let pieces = [manifest.state.lists.clone(), manifest.luggage.clone()].concat();
        departure.parcel = Some(Parcel { manifest, snapshot, pieces, envelope: None, frozen });
        departure.stage = Stage::Listing;
        desk.push(Output::ReadPieces { attempt: departure.attempt, lists });
    }

    /// The lists of the snapshot were read.
    pub(crate) fn pieces_read(
        &mut self,
        desk: &mut Desk<'_>,
        result: Result<Vec<ChunkRef>, String>,
    ) {
        let epoch = self.epoch;
        let Some(departure) = &mut self.departure else { return };
        if !matches!(departure.stage, Stage::Listing) {
            return;
        }
        let pieces = match result {
            Ok(pieces) => pieces,
            Err(error) => {
                return self.give_up(desk, MigrationFailureReason::StateFailed(error));
            }
        };
        let Some(parcel) = &mut departure.parcel else { return };
        parcel.pieces.extend(pieces);
        if departure.transport_identity {
            departure.stage = Stage::Sealing;
            let (attempt, to, snapshot) = (departure.attempt, departure.target, parcel.snapshot);
            desk.push(Output::Seal { attempt, epoch, to, snapshot });
        } else {
            self.ship(desk);
        }
    }

    /// The daemon's key is sealed to the target.
    pub(crate) fn sealed(&mut self, desk: &mut Desk<'_>, result: Result<Bytes, String>) {
        let Some(departure) = &mut self.departure else { return };
        if !matches!(departure.stage, Stage::Sealing) {
            return;
        }
        match result {
            Ok(envelope) => {
                if let Some(parcel) = &mut departure.parcel {
                    parcel.envelope = Some(envelope);
                }
                self.ship(desk);
            }
            Err(error) => {
                self.give_up(desk, MigrationFailureReason::IdentityTransportFailed(error))
            }
        }
    }

    fn ship(&mut self, desk: &mut Desk<'_>) {
        let epoch = self.epoch;
        let Some(departure) = &mut self.departure else { return };
        let frozen = departure.parcel.as_ref().and_then(|parcel| parcel.frozen);
        departure.stage = frozen.map_or(Stage::Transferring, Stage::Voting);
        departure.heard = desk.now;
        departure.offer(desk, epoch);
        self.report(desk);
    }

    /// The target has built its copy.
    pub(crate) fn restore_complete(
        &mut self,
        desk: &mut Desk<'_>,
        snapshot: &Digest,
        head: Head,
        store: StoreId,
        key: PublicKey,
    ) {
        let Some(departure) = &mut self.departure else { return };
        let current = departure.parcel.as_ref().is_some_and(|parcel| parcel.snapshot == *snapshot);
        if !current {
            return;
        }
        departure.hear_vote(desk.now, Vote { head, store, key });
        if matches!(departure.stage, Stage::Transferring) {
            departure.stage = Stage::Following;
            self.report(desk);
        }
        self.follow(desk);
        self.pump(desk);
    }

    /// The target has replayed and saved up to a head.
    pub(crate) fn replay_complete(
        &mut self,
        desk: &mut Desk<'_>,
        head: Head,
        state: Option<Digest>,
        store: StoreId,
        key: PublicKey,
    ) {
        let Some(departure) = &mut self.departure else { return };
        departure.hear_vote(desk.now, Vote { head, store, key });
        if let Some(frozen) = departure.frozen() {
            let final_vote = head == frozen.head && state == Some(frozen.state);
            if final_vote || Mutant::EarlyVote.is_on() || Mutant::BufferingUnwired.is_on() {
                departure.elected = true;
                return self.commit_if_wanted(desk, frozen, Vote { head, store, key });
            }
        }
        self.follow(desk);
        // What was replayed may let more turns start.
        self.pump(desk);
    }

    /// Sends what the target lacks, or freezes when that is little enough and wanted.
    pub(crate) fn follow(&mut self, desk: &mut Desk<'_>) {
        let durable = self.durable;
        let Some(departure) = &mut self.departure else { return };
        let Some(vote) = departure.vote else { return };
        let lag = durable.get().saturating_sub(vote.head.position.get());
        let deltas = departure.catch_up != CatchUp::Replay;
        // A freeze in the middle of a round would last for the rest of it.
        let between = !departure.reading && !departure.unanswered;
        match departure.stage {
            Stage::Following
                if departure.cutover_wanted
                    && between
                    && (deltas || lag <= desk.settings().cutover_lag_max) =>
            {
                self.freeze(desk);
            }
            Stage::Following if deltas || lag == 0 => {}
            Stage::Following | Stage::Voting(_) => self.read_on(desk, vote.head.position),
            Stage::Beginning
            | Stage::Preparing
            | Stage::Choosing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Transferring
            | Stage::Freezing
            | Stage::Digesting
            | Stage::Committing(_) => {}
        }
    }

    /// Sends the turns after `after`, which are read from the journal unless they are at hand.
    fn read_on(&mut self, desk: &mut Desk<'_>, after: Position) {
        let (copy, made) = (self.copy, self.replica.head.position);
        let Some(departure) = &mut self.departure else { return };
        if departure.reading || departure.unanswered {
            return;
        }
        let lag = self.durable.get().saturating_sub(after.get());
        if departure.cutover_wanted && !departure.pace.begin(desk.now, lag, made, desk.settings()) {
            return self.give_up(desk, MigrationFailureReason::CouldNotCatchUp);
        }
        let none_lacking = (self.durable <= after).then(Vec::new);
        if let Some(turns) = none_lacking.or_else(|| departure.recent.after(after)) {
            return self.ship_round(desk, turns);
        }
        departure.reading = true;
        let (count, bytes) = (desk.settings().round_turns_max, desk.settings().round_bytes_max);
        desk.push(Output::ReadTurns { copy, after, count, bytes });
    }

    /// Turns were read for the target.
    pub(crate) fn ship_turns(&mut self, desk: &mut Desk<'_>, result: Result<Vec<Turn>, String>) {
        let Some(departure) = &mut self.departure else { return };
        if !std::mem::take(&mut departure.reading) {
            return;
        }
        match result {
            Ok(turns) => self.ship_round(desk, turns),
            Err(error) => self.give_up(desk, MigrationFailureReason::StoreFailed(error)),
        }
    }

    fn ship_round(&mut self, desk: &mut Desk<'_>, turns: Vec<Turn>) {
        let (epoch, durable) = (self.epoch, self.durable);
        let Some(departure) = &mut self.departure else { return };
        let frozen = departure.frozen();
        let turns: Vec<Turn> = turns
            .into_iter()
            .filter(|turn| turn.position() <= durable)
            .filter(|_| !Mutant::BufferingUnwired.is_on())
            .collect();
        if turns.is_empty() && frozen.is_none() {
            return;
        }
        let (events, stamps) = turns.into_iter().map(|turn| (turn.event, turn.stamp)).unzip();
        let daemon_origin = desk.origin;
        let message = MigrationMessage::BufferedEvents { daemon_origin, events, stamps, frozen };
        departure.unanswered = true;
        departure.send(desk, departure.target, epoch, message);
        departure.resend_at = desk.now + desk.settings().resend_after;
    }

    /// The orchestrator wants the daemon handed over.
    pub(crate) fn cutover(&mut self, desk: &mut Desk<'_>) {
        if desk.rarely(Spot::CutOverRefused) {
            return;
        }
        let Some(departure) = &mut self.departure else { return };
        departure.cutover_wanted = true;
        match (departure.frozen(), departure.vote) {
            (Some(frozen), Some(vote)) if departure.elected => {
                self.commit_if_wanted(desk, frozen, vote);
            }
            _ => self.follow(desk),
        }
    }

    /// The orchestrator still wants the move.
    pub(crate) const fn still_wanted(&mut self, now: Time) {
        if let Some(departure) = &mut self.departure {
            departure.wanted = now;
        }
    }

    /// Commits once the cut-over was asked for: before that the orchestrator may end the move and
    /// say so.
    fn commit_if_wanted(&mut self, desk: &mut Desk<'_>, frozen: Frozen, vote: Vote) {
        let wanted = self.departure.as_ref().is_some_and(|departure| departure.cutover_wanted);
        if wanted || Mutant::CommitUnasked.is_on() {
            self.commit(desk, frozen, vote);
        }
    }

    /// Takes no new turn; what was taken becomes durable first (rule 8).
    fn freeze(&mut self, desk: &mut Desk<'_>) {
        let Some(departure) = &mut self.departure else { return };
        departure.stage = Stage::Freezing;
        departure.frozen_since = Some(desk.now);
        self.report(desk);
        self.settle_freeze(desk);
    }

    /// The freeze may be complete.
    pub(crate) fn settle_freeze(&mut self, desk: &mut Desk<'_>) {
        if !self.is_settled() || !matches!(self.life, Life::Live) {
            return;
        }
        let head = self.replica.head;
        let Some(departure) = &self.departure else { return };
        if !matches!(departure.stage, Stage::Freezing) {
            return;
        }
        desk.event(Event::Frozen { attempt: departure.attempt, head });
        // Without replay the target starts from a snapshot taken here, saved before the deed.
        if departure.catch_up != CatchUp::Replay && self.base().head != head {
            return self.want_snapshot(desk, None);
        }
        self.digest(desk);
    }

    fn digest(&mut self, desk: &mut Desk<'_>) {
        let copy = self.copy;
        let Some(departure) = &mut self.departure else { return };
        departure.stage = Stage::Digesting;
        desk.push(Output::Digest { copy });
    }

    /// The digest of the frozen state is known.
    pub(crate) fn digested(&mut self, desk: &mut Desk<'_>, state: Digest) {
        let frozen = Frozen { head: self.replica.head, state };
        let Some(departure) = &mut self.departure else { return };
        if !matches!(departure.stage, Stage::Digesting) {
            return;
        }
        if state == Digest::ZERO {
            let what = "the frozen state could not be named".to_owned();
            return self.give_up(desk, MigrationFailureReason::StateFailed(what));
        }
        if departure.catch_up == CatchUp::Replay {
            departure.stage = Stage::Voting(frozen);
            self.follow(desk);
        } else {
            self.list(desk, Some(frozen));
        }
    }

    /// The commit point: saves the deed. Only a definite refusal thaws (rule 7).
    fn commit(&mut self, desk: &mut Desk<'_>, frozen: Frozen, vote: Vote) {
        let Some(departure) = &mut self.departure else { return };
        let Some(parcel) = &departure.parcel else { return };
        let previous = desk.title.last().map_or(Digest::ZERO, SignedDeed::digest);
        let deed = Deed {
            entity: desk.entity,
            epoch: self.epoch.next(),
            from: desk.station.public(),
            to: vote.key,
            store: vote.store,
            attempt: departure.attempt,
            head: frozen.head,
            snapshot: parcel.snapshot,
            previous,
        };
        let deed = desk.station.sign(deed);
        departure.stage = Stage::Committing(Some(Box::new(deed.clone())));
        if Mutant::SentUnsaved.is_on() {
            let (daemon_origin, deed) = (desk.origin, deed.clone());
            let message = MigrationMessage::ActivateTarget { daemon_origin, deed };
            departure.send(desk, departure.target, self.epoch, message);
        }
        desk.save(Saving::HandOver, Write::HandOver { deed });
    }

    /// Gives the attempt up, if it is not too late; the daemon goes on here.
    pub(crate) fn give_up(&mut self, desk: &mut Desk<'_>, reason: MigrationFailureReason) {
        let committing = self.departure.as_ref().is_some_and(Departure::is_committing);
        if !committing || Mutant::CancelledInCommit.is_on() {
            self.abandon(desk, reason);
        }
    }

    /// Ends the attempt, of which it is known that its hand-over is not saved.
    pub(crate) fn abandon(&mut self, desk: &mut Desk<'_>, reason: MigrationFailureReason) {
        let Some(departure) = self.departure.take() else { return };
        let (daemon_origin, epoch) = (desk.origin, self.epoch);
        let failed = MigrationMessage::MigrationFailed { daemon_origin, reason: reason.clone() };
        departure.send(desk, departure.target, epoch, failed.clone());
        departure.send(desk, departure.orchestrator, epoch, failed);
        let attempt = departure.attempt;
        desk.event(Event::Thawed { attempt, reason });
        if Mutant::HeldDropped.is_on() {
            drop(self.take_held());
        }
        self.pump(desk);
    }

    /// Tells the orchestrator how it goes.
    pub(crate) fn report(&self, desk: &mut Desk<'_>) {
        let Some(departure) = &self.departure else { return };
        let total = departure.parcel.as_ref();
        let replayed = departure.vote.map_or(0, |vote| vote.head.position.get());
        let base = self.base().head.position.get();
        let progress = Progress {
            phase: departure.phase(),
            bytes_sent: departure.bytes_sent,
            bytes_total: total.map_or(0, Parcel::bytes),
            chunks_sent: departure.pieces_sent,
            chunks_total: total.map_or(0, |parcel| parcel.manifest.messages()),
            events_replayed: replayed.saturating_sub(base),
            lag: departure.vote.map_or(0, |_| self.durable.get().saturating_sub(replayed)),
            position: self.durable,
        };
        let message = MigrationMessage::Progressed { daemon_origin: desk.origin, progress };
        departure.send(desk, departure.orchestrator, self.epoch, message);
    }

    /// Time has passed.
    pub(crate) fn tick_departure(&mut self, desk: &mut Desk<'_>) {
        let epoch = self.epoch;
        let Some(departure) = &mut self.departure else { return };
        if departure.is_committing() {
            return;
        }
        let settings = &desk.station.settings;
        // Only the target's own words count, and only once it was told something.
        let silent =
            departure.awaits_target() && desk.now.since(departure.heard) >= settings.silence_max;
        let frozen_long = departure
            .thaws_after()
            .is_some_and(|since| desk.now.since(since) >= settings.freeze_max);
        // Without an orchestrator nobody will ask for the cut-over.
        let forsaken =
            !departure.cutover_wanted && desk.now.since(departure.wanted) >= settings.silence_max;
        if silent || frozen_long || forsaken {
            return self.give_up(desk, MigrationFailureReason::TimedOut);
        }
        if departure.pace.stands(desk.now, settings) && !departure.is_frozen() {
            return self.give_up(desk, MigrationFailureReason::CouldNotCatchUp);
        }
        if departure.resend_at > desk.now {
            return;
        }
        departure.resend_at = desk.now + settings.resend_after;
        departure.reading = false;
        departure.unanswered = false;
        match departure.stage {
            Stage::Transferring => departure.offer(desk, epoch),
            Stage::Voting(_) if departure.catch_up != CatchUp::Replay => {
                departure.offer(desk, epoch)
            }
            Stage::Following | Stage::Voting(_) => self.follow(desk),
            Stage::Beginning
            | Stage::Preparing
            | Stage::Choosing
            | Stage::Listing
            | Stage::Sealing
            | Stage::Freezing
            | Stage::Digesting
            | Stage::Committing(_) => {}
        }
        self.report(desk);
    }
}

/// Whether `envelope` comes from a node that plays the role its message needs in this departure.
pub(crate) fn plays_role(
    departure: &Departure,
    from: NodeId,
    envelope: &MigrationEnvelope,
) -> bool {
    match envelope.role {
        Role::Target => from == departure.target,
        Role::Orchestrator => from == departure.orchestrator,
        Role::Source => false,
    }
}

impl Departure {
    /// Serves an heir that lost its copy. After a restart the pieces are not known: they are read
    /// first, and the heir asks again.
    pub(crate) fn serve_again(
        &mut self,
        desk: &mut Desk<'_>,
        epoch: Epoch,
        snapshot: &Digest,
        ranges: &[(u32, u32)],
    ) {
        let Some(parcel) = &mut self.parcel else { return };
        if parcel.pieces.is_empty() {
            let lists = parcel.manifest.state.lists.clone();
            desk.push(Output::ReadPieces { attempt: self.attempt, lists });
            return;
        }
        self.serve(desk, epoch, snapshot, ranges);
    }

    /// The pieces of the frozen copy were read again.
    pub(crate) fn relist(&mut self, pieces: &[ChunkRef]) {
        let Some(parcel) = &mut self.parcel else { return };
        if parcel.pieces.is_empty() {
            parcel.pieces = [&parcel.manifest.state.lists, &parcel.manifest.luggage[..]].concat();
            parcel.pieces.extend_from_slice(pieces);
        }
    }
}
