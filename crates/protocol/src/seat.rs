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
//!     ▲                            │ delete
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

mod messages;

use std::collections::BTreeMap;
use std::sync::Arc;

use whimbrel_wire::{
    AttemptId, CatchUp, DeliveryMessage, EntityId, Epoch, Frozen, Head, Holding, Ledger, Manifest,
    MigrationFailureReason, MigrationMessage, MigrationPhase, NodeId, OriginHash, Position,
    Progress, Refusal, Role, SeatRecord, Sender, SignedDeed, Time, TitleMessage, Write, WriteError,
    WriteRefusal,
};

use crate::arrival::{Arrival, Course};
use crate::courier::{Courier, Origin};
use crate::departure::Departure;
pub use crate::desk::Station;
use crate::desk::{Desk, Saves, Saving};
use crate::orchestration::{Next, Orchestration};
use crate::port::{DeliverError, Event, Input, Output, Restored, SpawnError, Ticket, Warning};
use crate::replica::Replica;
use crate::tenure::{Arrived, Life, Owner, Route, Waiting};
use crate::title::{Title, TitleError};

/// The source of a copy whose title is not known: no node has this id, so nobody speaks for it.
const NOBODY: NodeId = NodeId::new(0);

/// All that one node knows and decides about one daemon.
#[derive(Clone, Debug)]
pub struct Seat {
    station: Arc<Station>,
    entity: EntityId,
    origin: OriginHash,
    title: Title,
    tenure: Tenure,
    arrivals: BTreeMap<AttemptId, Arrival>,
    orchestrations: BTreeMap<AttemptId, Orchestration>,
    couriers: BTreeMap<Origin, Courier>,
    saves: Saves,
    /// Copies that are still to be thrown away, and when that is tried again.
    litter: BTreeMap<AttemptId, Time>,
}

/// What this node is to the daemon.
#[derive(Clone, Debug)]
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

#[derive(Clone, Debug)]
struct Bearing {
    ticket: Ticket,
    birth: SignedDeed,
    manifest: Manifest,
    wall: Time,
    catch_up: CatchUp,
}

/// The hand-over is saved and not yet acknowledged.
#[derive(Clone, Debug)]
struct Departed {
    deed: SignedDeed,
    departure: Departure,
    /// The copy on disk, which is sent again to an heir that lost its own.
    copy: AttemptId,
    resend_at: Time,
    dropping: bool,
    reading: bool,
}

/// What a seat is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatStatus {
    /// What this node is to the daemon.
    pub standing: Standing,
    /// The owner, as far as this node knows.
    pub owner: Option<NodeId>,
    /// The epoch, as far as this node knows.
    pub epoch: Option<Epoch>,
    /// Where the daemon stands, if it lives here.
    pub head: Option<Head>,
    /// Events that wait at the gate.
    pub held: usize,
}

/// What a node is to a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// The record is being read.
    Reading,
    /// It does not hold it.
    Stranger,
    /// It is being born here.
    Bearing,
    /// It owns it and is building it from the disk.
    Opening,
    /// It owns it and runs it.
    Live,
    /// It owns it, frozen for the last step of a move.
    Frozen,
    /// It owns it and cannot run it.
    Parked(String),
    /// It owns it and was told to stop it.
    Stopped,
    /// It handed it over and waits for the acknowledgement.
    Departed,
    /// It deleted it.
    Deleted,
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
            tenure: Tenure::Reading(Time::ZERO),
            arrivals: BTreeMap::new(),
            orchestrations: BTreeMap::new(),
            couriers: BTreeMap::new(),
            saves: Saves::default(),
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
                let event = whimbrel_wire::CausalEvent::unchained(self.origin, 0, payload);
                self.with_courier(now, out, Origin::Client(client), |courier, desk| {
                    courier.send(desk, ticket, event);
                });
            }
            Input::Post { from, number, event } => {
                self.with_courier(now, out, Origin::Daemon(from), |courier, desk| {
                    courier.post(desk, number, event);
                });
            }
            Input::Recall { from } => {
                self.couriers.remove(&Origin::Daemon(from));
            }
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
            Input::Digested { copy, state } => {
                if self.owns_copy(copy) {
                    self.with_owner(now, out, |owner, desk| owner.digested(desk, state));
                } else {
                    self.with_arrival(now, out, copy, |arrival, desk| {
                        arrival.digested(desk, state)
                    });
                }
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
            Input::Spawn { ticket, birth, manifest, wall, catch_up } => {
                let bearing =
                    Bearing { ticket, birth: *birth, manifest: *manifest, wall, catch_up };
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
            Input::Woke => self.woke(now, out),
            // Reports about copies and attempts that are over.
            Input::Captured { .. } | Input::Sealed { .. } => {}
        }
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

    /// What this seat is, for people.
    #[must_use]
    pub fn status(&self) -> SeatStatus {
        let (standing, head, held) = match &self.tenure {
            Tenure::Reading(_) => (Standing::Reading, None, 0),
            Tenure::Stranger => (Standing::Stranger, None, 0),
            Tenure::Bearing(_) => (Standing::Bearing, None, 0),
            Tenure::Departed(_) => (Standing::Departed, None, 0),
            Tenure::Deleted => (Standing::Deleted, None, 0),
            Tenure::Owner(owner) => {
                let frozen = owner.departure.as_ref().is_some_and(Departure::is_frozen);
                let standing = match &owner.life {
                    Life::Opening(_) => Standing::Opening,
                    Life::Live if frozen => Standing::Frozen,
                    Life::Live => Standing::Live,
                    Life::Parked { reason } => Standing::Parked(reason.clone()),
                    Life::Stopped => Standing::Stopped,
                };
                (standing, Some(owner.replica.head), owner.held())
            }
        };
        SeatStatus { standing, owner: self.title.owner(), epoch: self.title.epoch(), head, held }
    }

    /// The title as this node knows it.
    #[must_use]
    pub const fn title(&self) -> &Title {
        &self.title
    }

    /// The phase of the newest move of this daemon that this node orchestrates; none once its
    /// record is gone.
    #[must_use]
    pub fn migration_phase(&self) -> Option<MigrationPhase> {
        self.orchestrations.values().filter_map(|orchestration| orchestration.phase).max()
    }

    /// The figures of a move that this node orchestrates.
    #[must_use]
    pub fn migration_progress(&self, attempt: AttemptId) -> Option<Progress> {
        self.orchestrations.get(&attempt)?.progress
    }

    /// The dealings of the daemon, if it lives here.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        match &self.tenure {
            Tenure::Owner(owner) => Some(&owner.replica.ledger),
            Tenure::Reading(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Departed(_)
            | Tenure::Deleted => None,
        }
    }

    /// The copy from which the daemon runs here, if it runs here and takes events.
    #[must_use]
    pub fn live_copy(&self) -> Option<(AttemptId, Epoch)> {
        match &self.tenure {
            Tenure::Owner(owner) if matches!(owner.life, Life::Live) => {
                Some((owner.copy, owner.epoch))
            }
            Tenure::Owner(_)
            | Tenure::Reading(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Departed(_)
            | Tenure::Deleted => None,
        }
    }

    /// Snapshots whose chunks a collection of garbage must leave alone, beyond those on record.
    #[must_use]
    pub fn manifests_in_use(&self) -> Vec<Manifest> {
        let arriving = self.arrivals.values().filter_map(Arrival::manifest);
        let leaving = match &self.tenure {
            Tenure::Owner(owner) => owner.departure.as_ref().and_then(Departure::manifest),
            Tenure::Departed(departed) => departed.departure.manifest(),
            Tenure::Reading(_) | Tenure::Stranger | Tenure::Bearing(_) | Tenure::Deleted => None,
        };
        arriving.chain(leaving).cloned().collect()
    }

    /// How many copies wait here for a deed.
    #[must_use]
    pub fn waiting_copies(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether the seat could be forgotten by a driver that needs room: it would be the same after
    /// reading its record again.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.tenure, Tenure::Stranger | Tenure::Deleted)
            && self.arrivals.is_empty()
            && self.orchestrations.is_empty()
            && self.litter.is_empty()
            && self.couriers.values().all(Courier::is_idle)
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

    fn deliver(
        &mut self,
        now: Time,
        ticket: Ticket,
        event: whimbrel_wire::CausalEvent,
        out: &mut Vec<Output>,
    ) {
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

    fn spawn(&mut self, now: Time, bearing: Bearing, out: &mut Vec<Output>) {
        let fresh = matches!(self.tenure, Tenure::Stranger) && self.title.last().is_none();
        let mut title = Title::unknown(self.entity);
        let deed = &bearing.birth.deed;
        let ours = deed.to == self.station.public() && deed.store == self.station.store();
        let error = if !fresh {
            Some(SpawnError::Exists)
        } else if !ours || title.learn(std::slice::from_ref(&bearing.birth)).is_err() {
            Some(SpawnError::Deed)
        } else {
            None
        };
        if let Some(error) = error {
            return out.push(Output::Spawned { ticket: bearing.ticket, result: Err(error) });
        }
        let (deed, manifest) = (bearing.birth.clone(), bearing.manifest.clone());
        self.tenure = Tenure::Bearing(Box::new(bearing));
        self.own_desk(now, out).save(Saving::Birth, Write::Birth { deed, manifest });
    }

    fn born(&mut self, now: Time, result: Result<(), WriteError>, out: &mut Vec<Output>) {
        let Tenure::Bearing(bearing) = std::mem::replace(&mut self.tenure, Tenure::Stranger) else {
            return;
        };
        let ticket = bearing.ticket;
        if let Err(error) = result {
            // The birth may be on disk: the record says.
            self.open(now, out);
            return out.push(Output::Spawned { ticket, result: Err(SpawnError::Store(error)) });
        }
        let Bearing { birth, manifest, wall, catch_up, .. } = *bearing;
        let (copy, epoch) = (birth.deed.attempt, birth.deed.epoch);
        if self.title.learn(&[birth]).is_err() {
            return out.push(Output::Spawned { ticket, result: Err(SpawnError::Deed) });
        }
        let restored = Restored { ledger: Ledger::default(), next_timer: None, catch_up };
        let mut replica = Replica::restored(&manifest, restored);
        replica.time = replica.time.max(wall);
        let head = replica.head;
        self.tenure = Tenure::Owner(Box::new(Owner::live(epoch, copy, manifest, replica, now)));
        out.push(Output::Spawned { ticket, result: Ok(()) });
        out.push(Output::Event(Event::Live { epoch, head }));
        self.announce(now, out);
        self.title_grew(now, out);
    }

    /// Tells the members who owns the daemon.
    fn announce(&mut self, now: Time, out: &mut Vec<Output>) {
        let entity = self.entity;
        let Some(deed) = self.title.last().cloned() else { return };
        let after = Epoch::new(deed.deed.epoch.get() - 1);
        let message = TitleMessage::DeedAnswered { after, deeds: vec![deed], attempt: None };
        let message = whimbrel_wire::Message::Title { entity, message };
        self.own_desk(now, out).push(Output::Broadcast { message });
    }

    /// The record was read: at the start, or because memory could not be trusted.
    fn read(&mut self, now: Time, result: Result<SeatRecord, String>, out: &mut Vec<Output>) {
        let wanted = match &self.tenure {
            Tenure::Reading(_) => true,
            Tenure::Owner(owner) => owner.is_reading(),
            Tenure::Stranger | Tenure::Bearing(_) | Tenure::Departed(_) | Tenure::Deleted => false,
        };
        // An earlier question may be answered late, after it was asked again.
        let Some(record) = result.ok().filter(|_| wanted) else { return };
        match Title::from_saved(self.entity, record.deeds.clone()) {
            // What was verified stays known, even if it could not be saved (rule 2).
            Ok(title) if title.known() >= self.title.known() => self.title = title,
            Ok(_) => {}
            Err(error) => {
                let error = error.to_string();
                return out.push(Output::Event(Event::Warning(Warning::Store { error })));
            }
        }
        if matches!(self.tenure, Tenure::Owner(_)) {
            self.reread(now, record, out);
        } else {
            self.start(now, record, out);
        }
        self.title_grew(now, out);
    }

    fn start(&mut self, now: Time, record: SeatRecord, out: &mut Vec<Output>) {
        self.tenure = match record.holding {
            Holding::Nothing => Tenure::Stranger,
            Holding::Deleted => Tenure::Deleted,
            Holding::Owned(copy) => {
                let epoch = self.title.known();
                let owner = Owner::from_record(&self.own_desk(now, out), epoch, &copy, true);
                Tenure::Owner(Box::new(owner))
            }
            Holding::HandedOver(copy) => self.departed_again(now, copy.attempt, copy.manifest),
        };
        for copy in record.waiting {
            let source = self.title.deed(copy.epoch).map(|signed| signed.deed.owner());
            let arrival = Arrival::orphan(copy.attempt, copy.epoch, source.unwrap_or(NOBODY), now);
            self.arrivals.entry(copy.attempt).or_insert(arrival);
        }
        let attempts: Vec<AttemptId> = self.arrivals.keys().copied().collect();
        for attempt in attempts {
            self.with_arrival(now, out, attempt, Arrival::tick);
        }
        if matches!(self.tenure, Tenure::Owner(_)) {
            // From the first deed on, so that a twin shows itself too.
            let entity = self.entity;
            let message = TitleMessage::DeedAsked { after: Epoch::new(0), attempt: None };
            let message = whimbrel_wire::Message::Title { entity, message };
            self.own_desk(now, out).push(Output::Broadcast { message });
        }
    }

    fn departed_again(&self, now: Time, copy: AttemptId, manifest: Manifest) -> Tenure {
        let Some(deed) = self.title.last().cloned() else { return Tenure::Stranger };
        let frozen = Frozen { head: deed.deed.head, state: whimbrel_wire::Digest::ZERO };
        let (attempt, target) = (deed.deed.attempt, deed.deed.owner());
        let departure = Departure::committed(attempt, target, manifest, frozen, now);
        Tenure::Departed(Box::new(Departed {
            deed,
            departure,
            copy,
            resend_at: now,
            dropping: false,
            reading: false,
        }))
    }

    /// Obeys the record after a save of unknown outcome (rule 7).
    fn reread(&mut self, now: Time, record: SeatRecord, out: &mut Vec<Output>) {
        match record.holding {
            Holding::Owned(copy) => self.with_owner(now, out, |owner, desk| {
                if owner.departure.is_some() {
                    let what = "the store had to be opened again".to_owned();
                    owner.reread(desk, &copy);
                    owner.abandon(desk, MigrationFailureReason::StoreFailed(what));
                } else {
                    owner.reread(desk, &copy);
                }
            }),
            Holding::HandedOver(_) => {
                let deed = self.title.last().cloned();
                if let Some(deed) = deed {
                    self.depart(now, deed, out);
                }
            }
            Holding::Nothing => self.leave(now, out),
            Holding::Deleted => self.tenure = Tenure::Deleted,
        }
    }

    /// Someone else owns the daemon: what waits here is sent on by its senders.
    fn leave(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Tenure::Owner(owner) = &mut self.tenure {
            let held = owner.take_held();
            let copy = owner.copy;
            let receivers = owner.replica.ledger.outgoing.keys();
            out.extend(receivers.map(|to| Output::Recall { to: *to }));
            self.tenure = Tenure::Stranger;
            out.push(Output::DropCopy { copy });
            for waiting in held {
                self.redirect(now, &waiting, out);
            }
        }
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
                    Err(WriteError::Refused(_)) if cfg!(feature = "mutant-attempt-restarts") => {
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
            Saving::Delete => self.deletion_saved(now, &result, out),
        }
    }

    fn hand_over_saved(
        &mut self,
        now: Time,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let error = match result {
            Ok(()) => {
                let Tenure::Owner(owner) = &self.tenure else { return };
                let deed = owner.departure.as_ref().and_then(Departure::deed).cloned();
                let Some(deed) = deed else { return };
                if self.title.learn(std::slice::from_ref(&deed)).is_ok() {
                    self.depart(now, deed, out);
                    self.title_grew(now, out);
                }
                return;
            }
            Err(error) => error,
        };
        self.with_owner(now, out, |owner, desk| match error {
            WriteError::Unknown(_) if !cfg!(feature = "mutant-unknown-is-refused") => {
                owner.reopen(desk);
            }
            error @ (WriteError::Refused(_)
            | WriteError::Failed(_)
            | WriteError::Unknown(_)
            | _) => owner.abandon(desk, MigrationFailureReason::StoreFailed(error.to_string())),
        });
    }

    /// Past the commit point: the daemon is never stepped here again in that epoch.
    fn depart(&mut self, now: Time, deed: SignedDeed, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &mut self.tenure else { return };
        let held = owner.take_held();
        let (copy, manifest) = (owner.copy, owner.base().clone());
        let receivers: Vec<EntityId> = owner.replica.ledger.outgoing.keys().copied().collect();
        let frozen = Frozen { head: deed.deed.head, state: whimbrel_wire::Digest::ZERO };
        let departure = owner.departure.take().unwrap_or_else(|| {
            let (attempt, target) = (deed.deed.attempt, deed.deed.owner());
            Departure::committed(attempt, target, manifest, frozen, now)
        });
        let (orchestrator, target) = (departure.orchestrator, departure.target);
        self.tenure = Tenure::Departed(Box::new(Departed {
            deed: deed.clone(),
            departure,
            copy,
            resend_at: now,
            dropping: false,
            reading: false,
        }));
        self.send_deed(now, out);
        out.push(Output::Event(Event::HandedOver { deed: Box::new(deed.clone()) }));
        for waiting in held {
            self.forward(now, target, waiting, out);
        }
        let done = MigrationMessage::CleanupComplete { daemon_origin: self.origin, deed };
        self.migration(now, orchestrator, Role::Source, done, out);
        if cfg!(feature = "mutant-state-dropped-early") {
            let deed = self.title.last().map_or(whimbrel_wire::Digest::ZERO, SignedDeed::digest);
            self.acknowledged(now, target, deed, out);
        }
        out.push(Output::DropCopy { copy });
        out.extend(receivers.into_iter().map(|to| Output::Recall { to }));
    }

    /// Held events go to the new owner, who answers their senders.
    fn forward(&mut self, now: Time, target: NodeId, waiting: Waiting, out: &mut Vec<Output>) {
        let dropped = cfg!(feature = "mutant-held-events-acked");
        match (&waiting.arrived, waiting.route) {
            (
                Arrived::Event { sender, number, answered, event },
                Route::Node { reply_to, epoch },
            ) if !dropped => {
                let (sender, number, answered) = (*sender, *number, *answered);
                let event = event.clone();
                let message =
                    DeliveryMessage::Deliver { sender, number, answered, event, reply_to, epoch };
                self.own_desk(now, out).delivery(target, message);
            }
            _ => self.redirect(now, &waiting, out),
        }
    }

    fn migration(
        &mut self,
        now: Time,
        to: NodeId,
        role: Role,
        message: MigrationMessage,
        out: &mut Vec<Output>,
    ) {
        let Some(deed) = self.title.last() else { return };
        let (attempt, epoch) = (deed.deed.attempt, Epoch::new(deed.deed.epoch.get() - 1));
        let mut desk = self.own_desk(now, out);
        let message = desk.envelope(attempt, epoch, role, message);
        desk.push(Output::Send { to, message });
    }

    fn send_deed(&mut self, now: Time, out: &mut Vec<Output>) {
        let resend_at = now + self.station.settings.resend_after;
        let Tenure::Departed(departed) = &mut self.tenure else { return };
        departed.resend_at = resend_at;
        let (to, deed) = (departed.deed.deed.owner(), departed.deed.clone());
        let message = MigrationMessage::ActivateTarget { daemon_origin: self.origin, deed };
        self.migration(now, to, Role::Source, message, out);
    }

    fn state_dropped(&mut self, result: &Result<(), WriteError>, out: &mut Vec<Output>) {
        let Tenure::Departed(departed) = &mut self.tenure else { return };
        if result.is_err() {
            departed.dropping = false;
            return;
        }
        let epoch = Epoch::new(departed.deed.deed.epoch.get() - 1);
        self.tenure = Tenure::Stranger;
        out.push(Output::Event(Event::Dropped { epoch }));
    }

    /// The deed that makes this node the owner is saved, or not.
    fn accepted(
        &mut self,
        now: Time,
        attempt: AttemptId,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let Some(arrival) = self.arrivals.get_mut(&attempt) else { return };
        if !arrival.is_accepting() {
            return;
        }
        match result {
            Ok(()) => {}
            // It is tried again.
            Err(WriteError::Failed(_)) => return,
            // Earlier deeds were learnt and could not be saved.
            Err(WriteError::Refused(WriteRefusal::DeedGap)) => {
                return arrival.lead_back(self.title.deeds());
            }
            // The copy is gone from the disk: it must come again.
            Err(WriteError::Refused(WriteRefusal::NoCopy | WriteRefusal::Position { .. })) => {
                out.push(Output::DropCopy { copy: attempt });
                let (source, epoch) = (arrival.source, arrival.epoch);
                let heir = Arrival::heir(arrival.deeds().to_vec(), source, epoch, now);
                self.arrivals.extend(heir.map(|heir| (attempt, heir)));
                return self.with_arrival(now, out, attempt, Arrival::vet);
            }
            // The record decides (rule 7).
            Err(WriteError::Unknown(_) | WriteError::Refused(_) | _) => {
                self.arrivals.remove(&attempt);
                out.push(Output::DropCopy { copy: attempt });
                return self.open(now, out);
            }
        }
        let deeds = arrival.deeds().to_vec();
        let (source, orchestrator) = (arrival.source, arrival.orchestrator);
        let on_disk_only = arrival.is_on_disk_only();
        let _ = self.learn(now, source, &deeds, out);
        if let Some(last) = deeds.last() {
            self.acknowledge(now, source, last, out);
            if orchestrator != source {
                self.acknowledge(now, orchestrator, last, out);
            }
        }
        if on_disk_only {
            self.arrivals.remove(&attempt);
            self.open(now, out);
        } else {
            self.with_arrival(now, out, attempt, |arrival, desk| arrival.accepted(desk, &result));
        }
    }

    /// Tells the source that its deed is obeyed. Only what is saved is acknowledged (rule 4).
    fn acknowledge(&mut self, now: Time, to: NodeId, deed: &SignedDeed, out: &mut Vec<Output>) {
        let message = MigrationMessage::ActivateAck {
            daemon_origin: self.origin,
            replayed_seq: deed.deed.head.position.get(),
            deed: deed.digest(),
        };
        let (attempt, epoch) = (deed.deed.attempt, Epoch::new(deed.deed.epoch.get() - 1));
        let mut desk = self.own_desk(now, out);
        let message = desk.envelope(attempt, epoch, Role::Target, message);
        desk.push(Output::Send { to, message });
    }

    /// A copy went live: this node owns the daemon.
    fn arrive(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        let Some(mut arrival) = self.arrivals.remove(&attempt) else { return };
        let (Some(replica), Some(manifest)) = (arrival.replica.take(), arrival.manifest().cloned())
        else {
            return self.open(now, out);
        };
        let (epoch, head) = (self.title.known(), replica.head);
        self.tenure = Tenure::Owner(Box::new(Owner::live(epoch, attempt, manifest, replica, now)));
        out.push(Output::Event(Event::Live { epoch, head }));
        for waiting in arrival.held.drain(..) {
            self.with_owner(now, out, |owner, desk| {
                owner.offer(desk, waiting.arrived, waiting.route);
            });
        }
        self.with_owner(now, out, |owner, desk| owner.post_all(desk));
        let others: Vec<AttemptId> = self.arrivals.keys().copied().collect();
        for other in others {
            self.drop_arrival(now, other, out);
        }
        self.announce(now, out);
        self.title_grew(now, out);
    }

    fn drop_arrival(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        let Some(arrival) = self.arrivals.remove(&attempt) else { return };
        let entity = self.entity;
        for waiting in arrival.held {
            self.redirect(now, &waiting, out);
        }
        let mut desk = self.own_desk(now, out);
        desk.push(Output::DropCopy { copy: attempt });
        desk.save(Saving::DropCopy(attempt), Write::DropCopy { entity, attempt });
    }

    /// A copy that could not be thrown away: it is tried again, for it has a daemon's key.
    fn copy_dropped(&mut self, now: Time, attempt: AttemptId, result: &Result<(), WriteError>) {
        if result.is_err() {
            self.litter.insert(attempt, now + self.station.settings.resend_max);
        }
    }

    fn sweep(&mut self, now: Time, out: &mut Vec<Output>) {
        let due = self.litter.iter().filter(|(_, at)| **at <= now);
        let due: Vec<AttemptId> = due.map(|(attempt, _)| *attempt).collect();
        for attempt in due {
            self.litter.remove(&attempt);
            let entity = self.entity;
            let write = Write::DropCopy { entity, attempt };
            self.own_desk(now, out).save(Saving::DropCopy(attempt), write);
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

    fn deletion_saved(
        &mut self,
        now: Time,
        result: &Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let mut gone = false;
        self.with_owner(now, out, |owner, desk| gone = owner.deleted(desk, result));
        if gone {
            self.tenure = Tenure::Deleted;
            out.push(Output::WipeKey);
        } else if matches!(result, Err(WriteError::Unknown(_))) {
            self.with_owner(now, out, Owner::reopen);
        }
    }

    fn snapshot(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Output>) {
        match &self.tenure {
            Tenure::Owner(owner) if matches!(owner.life, Life::Live) => {
                self.with_owner(now, out, |owner, desk| owner.want_snapshot(desk, Some(ticket)));
            }
            Tenure::Owner(_) | Tenure::Reading(_) | Tenure::Bearing(_) => {
                out.push(Output::SnapshotTaken { ticket, result: Err(DeliverError::Busy) });
            }
            Tenure::Stranger | Tenure::Departed(_) | Tenure::Deleted => {
                out.push(Output::SnapshotTaken { ticket, result: Err(DeliverError::NotHere) });
            }
        }
    }

    fn stop(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &self.tenure else {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::NotHere) });
        };
        if owner.departure.as_ref().is_some_and(Departure::is_committing) {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::Migrating) });
        }
        self.with_owner(now, out, |owner, desk| {
            if owner.departure.is_some() {
                owner.give_up(desk, MigrationFailureReason::ShuttingDown);
            }
            owner.stop(desk, ticket);
        });
    }

    fn delete(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &self.tenure else {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::NotHere) });
        };
        if owner.departure.is_some() {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::Migrating) });
        }
        self.with_owner(now, out, |owner, desk| owner.delete(desk, ticket));
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

    fn tick_departed(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Tenure::Departed(departed) = &mut self.tenure {
            departed.reading = false;
        }
        self.send_deed(now, out);
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
                let second = second.clone();
                self.own_desk(now, out).warn(Warning::Conflict { second });
                if birth {
                    self.stop_for_twins(now, from, out);
                }
            }
        }
    }

    /// The same key was born on two nodes: neither may go on (rule 15).
    fn stop_for_twins(&mut self, now: Time, from: NodeId, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &self.tenure else { return };
        if matches!(owner.life, Life::Parked { .. }) {
            return;
        }
        self.with_owner(now, out, |owner, desk| {
            owner.park(desk, "its identity was born on two nodes".to_owned());
        });
        let deeds = self.title.after(Epoch::new(0), 1).to_vec();
        let message = TitleMessage::DeedAnswered { after: Epoch::new(0), deeds, attempt: None };
        self.own_desk(now, out).title_message(from, message);
    }
}
