//! Decides, for one daemon on one node, which machine an input belongs to.
//!
//! A seat owns the title as this node knows it, what this node is to the daemon (its tenure), the
//! copies that arrive, the moves that this node asked for, and the couriers of local senders. It
//! passes what one machine brings about on to the others; the machines do not know each other.
//! Messages are sorted in `seat::messages`.
//!
//! # States
//!
//! ```text
//!            birth / deed saved                hand-over saved              acknowledged
//!  Stranger ───────────────────▶ Owner ───────────────────────▶ Departed ────────────────▶ Stranger
//!     ▲                            │ delete                        │ reclaimed ─▶ Reading
//!     │ nothing found              ▼
//!  Reading ─────────────▶ …     Deleted
//! ```
//!
//! # Invariants
//!
//! * P1 (one owner): a seat is Owner only while the newest deed of its title names its node and its
//!   store.
//! * P2 (tombstones stay): a title never shrinks; a seat that was left keeps it (rule 2).
//! * P3 (ack names its deed): only an acknowledgement of the last deed drops the state (rule 3).

mod birth;
mod frame;
mod hand_over;
mod messages;
mod parties;
mod places;
mod reclaim;
mod record;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    AttemptId, CatchUp, CausalEvent, ClientId, Deed, DeliveryMessage, Digest, EntityId, Epoch,
    Frozen, Head, Holding, Ledger, Manifest, MigrationFailureReason, MigrationMessage,
    MigrationPhase, NodeId, OriginHash, Position, Progress, Refusal, Role, SeatRecord, Sender,
    SignedDeed, Time, TimerId, TitleMessage, Write, WriteError, WriteRefusal,
};

use crate::arrival::{Arrival, Course};
use crate::courier::{Courier, Origin};
use crate::departure::Departure;
pub use crate::desk::Station;
use crate::desk::{Desk, Saves, Saving};
use crate::orchestration::{Next, Orchestration};
use crate::port::{DeliverError, Event, Input, Output, Restored, SpawnError, Ticket, Warning};
use crate::replica::Replica;
use crate::tenure::{Arrived, AtRest, Life, Owner, Route, Waiting};
use crate::title::{Title, TitleError};

pub use places::Place;
use reclaim::Reclaiming;
pub use status::{SeatStatus, Standing};

/// The source of a copy whose title is not known: no node has this id, so nobody speaks for it.
const NOBODY: NodeId = NodeId::new(0);

/// All that one node knows and decides about one daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    station: Arc<Station>,
    entity: EntityId,
    origin: OriginHash,
    title: Title,
    /// The title with the deeds, verified, that make this node the owner once they are saved.
    prospect: Option<Title>,
    tenure: Tenure,
    arrivals: BTreeMap<AttemptId, Arrival>,
    orchestrations: BTreeMap<AttemptId, Orchestration>,
    couriers: BTreeMap<Origin, Courier>,
    saves: Saves,
    /// The second birth that was answered with the first.
    twin: Option<Digest>,
    /// Copies that are still to be thrown away, and when that is tried again.
    litter: BTreeMap<AttemptId, Time>,
}

/// What this node is to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tenure {
    /// The record was not read yet; it is asked for again at this moment.
    Reading(Time),
    Stranger,
    /// The birth is being saved.
    Bearing(Box<Bearing>),
    Owner(Box<Owner>),
    Departed(Box<Departed>),
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bearing {
    ticket: Ticket,
    birth: SignedDeed,
    manifest: Manifest,
    wall: Time,
    catch_up: CatchUp,
    next_timer: Option<(Time, TimerId)>,
}

/// The hand-over is saved and not yet acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Departed {
    deed: SignedDeed,
    departure: Departure,
    /// The copy on disk, which is sent again to an heir that lost its own.
    copy: AttemptId,
    resend_at: Time,
    dropping: bool,
    reading: bool,
    /// The heir has acknowledged the deed.
    obeyed: bool,
    /// An operator wants it back.
    reclaiming: Option<Reclaiming>,
}

impl Seat {
    /// The seat of `entity` on the node of `station`. It knows nothing until the driver answers
    /// the [`Output::Read`] that [`Seat::open`] asks for.
    #[must_use]
    pub fn new(station: Arc<Station>, entity: EntityId) -> Self {
        Self {
            station,
            entity,
            origin: entity.origin_hash(),
            title: Title::unknown(entity),
            prospect: None,
            tenure: Tenure::Reading(Time::ZERO),
            arrivals: BTreeMap::new(),
            orchestrations: BTreeMap::new(),
            couriers: BTreeMap::new(),
            saves: Saves::default(),
            twin: None,
            litter: BTreeMap::new(),
        }
    }

    /// Asks for the record.
    pub fn open(&mut self, now: Time, out: &mut Vec<Output>) {
        self.tenure = Tenure::Reading(now + self.station.settings.resend_max);
        out.push(Output::Read);
    }

    /// Takes one step: does all that `input` brings about, and appends to `out` what is to be done.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Turned { result, .. } => self.with_owner(now, out, |owner, desk| {
                owner.turned(desk, result);
                owner.settle_freeze(desk);
            }),
            Input::Deliver { ticket, event } => self.deliver(now, ticket, event, out),
            Input::Saved { ticket, result } => self.saved(now, ticket, result, out),
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Send { ticket, client, payload } => {
                self.send(now, ticket, client, payload, out);
            }
            Input::Post { from, number, event } => {
                self.with_courier(now, out, Origin::Daemon(from), |courier, desk| {
                    courier.post(desk, number, event);
                });
            }
            Input::Recall { from } => drop(self.couriers.remove(&Origin::Daemon(from))),
            Input::Posted { to, number } => {
                self.with_owner(now, out, |owner, desk| owner.posted(desk, &to, number));
            }
            Input::Read(result) => self.read(now, result, out),
            Input::Replayed { copy, result } => {
                if self.owns_copy(copy) {
                    self.with_owner(now, out, |owner, desk| owner.replayed(desk, result));
                } else {
                    self.with_arrival(now, out, copy, |arrival, desk| {
                        arrival.replayed(desk, result)
                    });
                }
            }
            Input::Restored { copy, result } => self.restored(now, copy, result, out),
            Input::Captured { copy, result } if self.owns_copy(copy) => {
                self.with_owner(now, out, |owner, desk| owner.captured(desk, result));
            }
            Input::Digested { copy, state } if self.owns_copy(copy) => {
                self.with_owner(now, out, |owner, desk| owner.digested(desk, state));
            }
            Input::Judged { copy, state, verdict } => self.judged(now, copy, state, verdict, out),
            Input::Prepared { attempt, result } if self.is_departing(attempt) => {
                self.with_owner(now, out, |owner, desk| owner.prepared(desk, result));
            }
            Input::TurnsRead { copy, after, result } => {
                self.turns_read(now, copy, after, result, out);
            }
            Input::PiecesRead { attempt, result } => self.pieces_read(now, attempt, result, out),
            Input::MissingFound { attempt, result } => {
                self.with_arrival(now, out, attempt, |arrival, desk| {
                    arrival.missing_found(desk, result)
                });
            }
            Input::ChunkSaved { attempt, chunk, result } => {
                self.with_arrival(now, out, attempt, |arrival, desk| {
                    arrival.chunk_saved(desk, &chunk, result)
                });
            }
            Input::Sealed { attempt, result } if self.is_departing(attempt) => {
                self.with_owner(now, out, |owner, desk| owner.sealed(desk, result));
            }
            Input::Admitted { attempt, result } => {
                self.with_arrival(now, out, attempt, |arrival, desk| {
                    arrival.admitted(desk, result)
                });
            }
            Input::Spawn { ticket, birth, manifest, wall, catch_up, next_timer } => {
                let (birth, manifest) = (*birth, *manifest);
                let bearing = Bearing { ticket, birth, manifest, wall, catch_up, next_timer };
                self.spawn(now, bearing, out);
            }
            Input::Move { attempt, source, target, options } => {
                let orchestration = Orchestration::new(attempt, source, target, options, now);
                self.orchestrations.insert(attempt, orchestration);
                self.with_orchestration(now, out, attempt, Orchestration::start);
            }
            Input::Cancel { attempt } => {
                self.with_orchestration(now, out, attempt, Orchestration::cancel);
            }
            Input::Snapshot { ticket } => self.snapshot(now, ticket, out),
            Input::Stop { ticket } => self.stop(now, ticket, out),
            Input::Delete { ticket } => self.delete(now, ticket, out),
            Input::Reclaim { ticket, attempt } => self.reclaim(now, ticket, attempt, out),
            Input::Woke => self.woke(now, out),
            // Reports about copies and attempts that are over.
            Input::Captured { .. }
            | Input::Digested { .. }
            | Input::Prepared { .. }
            | Input::Sealed { .. } => {}
        }
    }

    /// The short way of [`Input::Deliver`], for a driver whose store answers at once: none if the
    /// event has to go the long way. Both ways come to the same; what is to be done beyond turn,
    /// save and answer is appended to `out`.
    pub fn at_rest<'s>(
        &'s mut self,
        now: Time,
        event: &'s CausalEvent,
        out: &'s mut Vec<Output>,
    ) -> Option<AtRest<'s>> {
        if event.payload.len() > whimbrel_wire::limits::PAYLOAD_BYTES_MAX {
            return None;
        }
        let Self { station, entity, origin, title, tenure, saves, .. } = self;
        let Tenure::Owner(owner) = tenure else { return None };
        let desk = Self::desk(station, *entity, *origin, title, saves, now, out);
        AtRest::before(owner, desk, event)
    }

    /// When this seat wants [`Input::Woke`] next.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        let tenure = match &self.tenure {
            Tenure::Reading(retry) => Some(*retry),
            Tenure::Owner(owner) => self.owner_wake(owner),
            Tenure::Departed(departed) => Some(departed.resend_at),
            Tenure::Stranger | Tenure::Bearing(_) | Tenure::Deleted => None,
        };
        let arrivals = self.arrivals.values().map(Arrival::wake_at);
        let orchestrations = self.orchestrations.values().map(Orchestration::wake_at);
        let couriers = self.couriers.values().filter_map(Courier::wake_at);
        let litter = self.litter.values().copied();
        let machines = arrivals.chain(orchestrations).chain(couriers);
        tenure.into_iter().chain(machines).chain(litter).min()
    }

    fn owner_wake(&self, owner: &Owner) -> Option<Time> {
        let settings = &self.station.settings;
        let departure = owner.departure.as_ref().filter(|departure| !departure.is_committing());
        let departure = departure.map(|departure| {
            let thaw = departure.thaws_after().map(|since| since + settings.freeze_max);
            departure.wake_at(thaw)
        });
        owner.opening_at().into_iter().chain(owner.timer_at()).chain(departure).min()
    }

    /// The title as this node knows it.
    #[must_use]
    pub const fn title(&self) -> &Title {
        &self.title
    }

    fn desk<'a>(
        station: &'a Station,
        entity: EntityId,
        origin: OriginHash,
        title: &'a mut Title,
        saves: &'a mut Saves,
        now: Time,
        out: &'a mut Vec<Output>,
    ) -> Desk<'a> {
        Desk { station, entity, origin, title, saves, now, out }
    }

    fn with_owner(
        &mut self,
        now: Time,
        out: &mut Vec<Output>,
        step: impl FnOnce(&mut Owner, &mut Desk<'_>),
    ) {
        let Self { station, entity, origin, title, tenure, saves, .. } = self;
        if let Tenure::Owner(owner) = tenure {
            step(owner, &mut Self::desk(station, *entity, *origin, title, saves, now, out));
        }
    }

    fn with_arrival(
        &mut self,
        now: Time,
        out: &mut Vec<Output>,
        attempt: AttemptId,
        step: impl FnOnce(&mut Arrival, &mut Desk<'_>) -> Course,
    ) {
        let Self { station, entity, origin, title, arrivals, saves, .. } = self;
        let Some(arrival) = arrivals.get_mut(&attempt) else { return };
        let course =
            step(arrival, &mut Self::desk(station, *entity, *origin, title, saves, now, out));
        match course {
            Course::Stay => {}
            Course::Leave => self.drop_arrival(now, attempt, out),
            Course::GoLive => self.arrive(now, attempt, out),
        }
    }

    fn with_orchestration(
        &mut self,
        now: Time,
        out: &mut Vec<Output>,
        asked: AttemptId,
        step: impl FnOnce(&mut Orchestration, &mut Desk<'_>) -> Next,
    ) {
        let Self { station, entity, origin, title, orchestrations, saves, .. } = self;
        let Some(orchestration) = orchestrations.get_mut(&asked) else { return };
        let mut desk = Self::desk(station, *entity, *origin, title, saves, now, out);
        if step(orchestration, &mut desk) == Next::Ended {
            orchestrations.remove(&asked);
        }
    }

    fn with_courier(
        &mut self,
        now: Time,
        out: &mut Vec<Output>,
        from: Origin,
        step: impl FnOnce(&mut Courier, &mut Desk<'_>),
    ) {
        let Self { station, entity, origin, title, couriers, saves, .. } = self;
        let courier = couriers.entry(from).or_insert_with(|| Courier::new(from, now));
        step(courier, &mut Self::desk(station, *entity, *origin, title, saves, now, out));
    }

    fn own_desk<'a>(&'a mut self, now: Time, out: &'a mut Vec<Output>) -> Desk<'a> {
        let Self { station, entity, origin, title, saves, .. } = self;
        Self::desk(station, *entity, *origin, title, saves, now, out)
    }

    fn owns_copy(&self, copy: AttemptId) -> bool {
        matches!(&self.tenure, Tenure::Owner(owner) if owner.copy == copy)
    }

    fn is_departing(&self, attempt: AttemptId) -> bool {
        matches!(&self.tenure, Tenure::Owner(owner)
            if owner.departure.as_ref().is_some_and(|departure| departure.attempt == attempt))
    }

    fn deliver(&mut self, now: Time, ticket: Ticket, event: CausalEvent, out: &mut Vec<Output>) {
        if event.payload.len() > whimbrel_wire::limits::PAYLOAD_BYTES_MAX {
            return out.push(Output::Delivered { ticket, result: Err(DeliverError::TooLarge) });
        }
        let arrived = Arrived::Event { sender: Sender::Host, number: 0, answered: 0, event };
        let error = match &self.tenure {
            Tenure::Owner(_) => {
                return self.with_owner(now, out, |owner, desk| {
                    owner.offer(desk, arrived, Route::Caller(ticket));
                });
            }
            Tenure::Reading(_) | Tenure::Bearing(_) => DeliverError::Busy,
            Tenure::Deleted => DeliverError::Deleted,
            Tenure::Stranger | Tenure::Departed(_) => {
                self.title.owner().map_or(DeliverError::NotHere, DeliverError::Moved)
            }
        };
        out.push(Output::Delivered { ticket, result: Err(error) });
    }

    fn send(
        &mut self,
        now: Time,
        ticket: Ticket,
        client: ClientId,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) {
        let event = CausalEvent::unchained(self.origin, 0, payload);
        self.with_courier(now, out, Origin::Client(client), |courier, desk| {
            courier.send(desk, ticket, event);
        });
    }

    fn judged(
        &mut self,
        now: Time,
        copy: AttemptId,
        state: Digest,
        verdict: Result<Option<Bytes>, MigrationFailureReason>,
        out: &mut Vec<Output>,
    ) {
        if self.owns_copy(copy) {
            return self.with_owner(now, out, |owner, desk| owner.judged(desk, verdict));
        }
        self.with_arrival(now, out, copy, |arrival, desk| arrival.judged(desk, state, verdict));
    }

    fn redirect(&mut self, now: Time, waiting: &Waiting, out: &mut Vec<Output>) {
        let deed = self.title.last().cloned().map(Box::new);
        let refusal = deed.map_or(Refusal::NotHere, Refusal::Moved);
        let error = self.title.owner().map_or(DeliverError::NotHere, DeliverError::Moved);
        crate::tenure::refuse(&mut self.own_desk(now, out), waiting, refusal, error);
    }

    fn saved(
        &mut self,
        now: Time,
        ticket: crate::port::SaveTicket,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let Some(saving) = self.saves.end(ticket) else { return };
        match saving {
            Saving::Birth => self.born(now, result, out),
            Saving::Revival => self.revival_kept(now, result, out),
            Saving::Turns { count } => self.with_owner(now, out, |owner, desk| {
                owner.saved(desk, count, result);
                owner.settle_freeze(desk);
                owner.follow(desk);
            }),
            Saving::Snapshot => self.with_owner(now, out, |owner, desk| {
                if owner.published(desk, result) {
                    owner.snapshot_stands(desk);
                }
            }),
            Saving::Housekeeping => {}
            Saving::Attempt(attempt) if self.is_departing(attempt) => {
                self.with_owner(now, out, |owner, desk| match result {
                    Ok(()) => owner.begun(desk),
                    Err(WriteError::Refused(_)) if Mutant::AttemptRestarts.is_on() => {
                        owner.begun(desk);
                    }
                    Err(WriteError::Refused(_)) => {
                        owner.give_up(desk, MigrationFailureReason::StaleAttempt);
                    }
                    Err(error) => {
                        let reason = MigrationFailureReason::StoreFailed(error.to_string());
                        owner.give_up(desk, reason);
                    }
                });
            }
            Saving::Attempt(_) => {}
            Saving::HandOver => self.hand_over_saved(now, result, out),
            Saving::Copy(attempt) => self
                .with_arrival(now, out, attempt, |arrival, desk| arrival.copy_saved(desk, result)),
            Saving::CopyTurns(attempt) => self
                .with_arrival(now, out, attempt, |arrival, desk| arrival.turns_saved(desk, result)),
            Saving::DropCopy(attempt) => self.copy_dropped(now, attempt, &result),
            Saving::Accept(attempt) => self.accepted(now, attempt, result, out),
            Saving::DropState => self.state_dropped(&result, out),
            Saving::Reclaim => self.reclaimed(now, result, out),
            Saving::Delete => self.deletion_saved(now, &result, out),
        }
    }

    fn restored(
        &mut self,
        now: Time,
        copy: AttemptId,
        result: Result<Restored, MigrationFailureReason>,
        out: &mut Vec<Output>,
    ) {
        if self.owns_copy(copy) {
            self.with_owner(now, out, |owner, desk| owner.restored(desk, result));
        } else {
            self.with_arrival(now, out, copy, |arrival, desk| arrival.restored(desk, result));
        }
    }

    fn turns_read(
        &mut self,
        now: Time,
        copy: AttemptId,
        after: Position,
        result: Result<Vec<whimbrel_wire::Turn>, String>,
        out: &mut Vec<Output>,
    ) {
        if let Tenure::Departed(departed) = &self.tenure
            && departed.copy == copy
        {
            return self.resend_turns(now, result, out);
        }
        self.with_owner(now, out, |owner, desk| match owner.life {
            Life::Opening(_) if after != owner.replica.head.position => {}
            Life::Opening(_) => owner.turns_read(desk, result),
            Life::Live | Life::Parked { .. } | Life::Stopped => owner.ship_turns(desk, result),
        });
    }

    fn pieces_read(
        &mut self,
        now: Time,
        attempt: AttemptId,
        result: Result<Vec<whimbrel_wire::ChunkRef>, String>,
        out: &mut Vec<Output>,
    ) {
        if self.is_departing(attempt) {
            self.with_owner(now, out, |owner, desk| owner.pieces_read(desk, result));
        } else if let (Tenure::Departed(departed), Ok(pieces)) = (&mut self.tenure, &result)
            && departed.departure.attempt == attempt
        {
            departed.departure.relist(pieces);
        } else {
            self.with_arrival(now, out, attempt, |arrival, desk| arrival.pieces_read(desk, result));
        }
    }

    fn woke(&mut self, now: Time, out: &mut Vec<Output>) {
        match &mut self.tenure {
            Tenure::Reading(retry) if *retry <= now => self.open(now, out),
            Tenure::Departed(departed) if departed.resend_at <= now => self.tick_departed(now, out),
            Tenure::Owner(_) => self.with_owner(now, out, |owner, desk| {
                owner.tick_opening(desk);
                owner.tick(desk);
                owner.tick_departure(desk);
            }),
            Tenure::Reading(_)
            | Tenure::Departed(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Deleted => {}
        }
        self.sweep(now, out);
        for attempt in self.arrivals.keys().copied().collect::<Vec<_>>() {
            self.with_arrival(now, out, attempt, Arrival::tick);
        }
        for asked in self.orchestrations.keys().copied().collect::<Vec<_>>() {
            self.with_orchestration(now, out, asked, Orchestration::tick);
        }
        for from in self.couriers.keys().copied().collect::<Vec<_>>() {
            self.with_courier(now, out, from, Courier::tick);
        }
    }

    /// The title has grown, or became known: whoever follows it is told.
    fn title_grew(&mut self, now: Time, out: &mut Vec<Output>) {
        for asked in self.orchestrations.keys().copied().collect::<Vec<_>>() {
            self.with_orchestration(now, out, asked, Orchestration::title_grew);
        }
        for from in self.couriers.keys().copied().collect::<Vec<_>>() {
            self.with_courier(now, out, from, Courier::title_grew);
        }
        for attempt in self.arrivals.keys().copied().collect::<Vec<_>>() {
            self.with_arrival(now, out, attempt, Arrival::vet);
        }
    }

    /// Adds deeds to the title, and does what follows. The error says what was missing.
    fn learn(
        &mut self,
        now: Time,
        from: NodeId,
        deeds: &[SignedDeed],
        out: &mut Vec<Output>,
    ) -> Result<(), TitleError> {
        let news = match self.title.learn(deeds) {
            Ok(learned) => learned.news,
            Err(error) => {
                self.disbelieve(now, from, &error, out);
                return Err(error);
            }
        };
        if !news.is_empty() {
            self.title_grew(now, out);
        }
        Ok(())
    }

    fn disbelieve(&mut self, now: Time, from: NodeId, error: &TitleError, out: &mut Vec<Output>) {
        match error {
            TitleError::Gap { .. } => self.own_desk(now, out).ask(from, None),
            TitleError::Deed(_) => self.own_desk(now, out).warn(Warning::BadDeed { from }),
            TitleError::Conflict { second } => {
                let birth = second.deed.epoch == Epoch::FIRST;
                let warning = Warning::Conflict { second: second.clone() };
                self.own_desk(now, out).warn(warning);
                if self.title.revives(Some(&**second)) {
                    self.stop_for_revival(now, out);
                }
                if birth {
                    let (rival, digest) = (second.deed.owner(), second.digest());
                    self.stop_for_twins(now, [from, rival], digest, out);
                }
            }
        }
    }

    /// The same key was born on two nodes: neither may go on (rule 15). Whoever knows the first
    /// birth, a tombstone too, shows it to the second, once.
    fn stop_for_twins(
        &mut self,
        now: Time,
        others: [NodeId; 2],
        second: Digest,
        out: &mut Vec<Output>,
    ) {
        self.with_owner(now, out, |owner, desk| {
            if !matches!(owner.life, Life::Parked { .. }) {
                owner.park(desk, "its identity was born on two nodes".to_owned());
            }
        });
        if self.twin.replace(second) == Some(second) {
            return;
        }
        let deeds = self.title.after(Epoch::new(0), 1).to_vec();
        for other in others {
            let (after, deeds) = (Epoch::new(0), deeds.clone());
            let message = TitleMessage::DeedAnswered { after, deeds, attempt: None };
            self.own_desk(now, out).title_message(other, message);
        }
    }
}
