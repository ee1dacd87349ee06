//! Decides how the owner of a daemon takes events in, makes them durable and answers them.
//!
//! Events wait in one queue. One turn runs at a time; turns that were made are saved in groups,
//! and only then answered, posted and shipped. Opening (`opening`), snapshots (`snapshots`) and the
//! short way of an owner at rest (`at_rest`) stand beside this file.
//!
//! # States
//!
//! ```text
//!  Asking ──members answered / late──▶ Opening ──caught up──▶ Live ◀──▶ (frozen by a departure)
//!                                        │ ▲                   │
//!                        cannot run here │ │ save failed, panic│
//!                                        ▼ └───────────────────┘
//!                                      Parked
//! ```
//!
//! * Live → Opening when a save failed or its outcome is unknown, or the daemon panicked: the
//!   host in memory has turns that the disk does not, so it is built anew from the disk.
//! * Opening → Parked when the factory is missing or the replay diverges: the daemon is owned and
//!   not runnable, and says so.
//!
//! # Invariants
//!
//! * O1 (acked after durable): an answer leaves only when its turn is saved.
//! * O2 (durable before shipped): `durable` never passes what the store has confirmed.
//!
//! # Limits
//!
//! * `held_max` events wait; beyond it *busy*. Those of daemons have as much room again.
//! * `outbox_max` outputs are owed; beyond it only events of daemons are taken, and beyond
//!   [`OUTBOX_SPARE`] times as many none: daemons that make more of what they hear, in a circle, stop.
//! * `unsaved_max` turns are unsaved; beyond it no turn starts and the queue fills.

mod at_rest;
mod evolution;
mod opening;
mod snapshots;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    Answer, AttemptId, CausalEvent, CausalLink, ClientId, DeliveryMessage, EntityId, Epoch,
    InputOrigin, Manifest, NodeId, OriginHash, Position, Refusal, Sender, Sequence, Stamp, Time,
    TimerId, Turn, Write, WriteError,
};

use crate::departure::Departure;
use crate::desk::{Desk, Saving};
use crate::inbox::{self, Verdict};
use crate::port::{DeliverError, Moment, Output, Ticket, TurnFailure, Turned, Warning};
use crate::rarely::Spot;
use crate::replica::Replica;

pub use at_rest::{Append, AtRest, Unsaved};
pub(crate) use opening::Opening;
use snapshots::Snapshots;

/// How many times `outbox_max` may be owed because of what daemons say.
const OUTBOX_SPARE: usize = 16;

/// The owner's side of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) epoch: Epoch,
    pub(crate) copy: AttemptId,
    pub(crate) life: Life,
    pub(crate) replica: Replica,
    pub(crate) durable: Position,
    pub(crate) snapshots: Snapshots,
    pub(crate) departure: Option<Departure>,
    clock: Clock,
    queue: VecDeque<Waiting>,
    turning: Option<Turning>,
    unsaved: VecDeque<Turn>,
    saving: bool,
    settling: VecDeque<Settling>,
    poisoned: Option<Waiting>,
    timer_waits: bool,
    stopping: Vec<Ticket>,
    deleting: Deleting,
    adoption: Adoption,
}

/// How far it is known what the daemon is to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Adoption {
    /// Nothing, or it was told.
    #[default]
    None,
    /// The gate is asked; no turn starts before it answers.
    Asked,
    /// The daemon broke over it: it goes on as it is for as long as this node runs.
    Broken,
}

/// How far a deletion has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Deleting {
    /// Who wants it.
    tickets: Vec<Ticket>,
    /// Whether it is being saved.
    saving: bool,
}

/// Whether the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// It is being built from the disk.
    Opening(Opening),
    /// It runs.
    Live,
    /// It is owned and cannot run.
    Parked { reason: String },
    /// It was stopped; a start brings it back.
    Stopped,
}

/// An event at the gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    pub(crate) arrived: Arrived,
    pub(crate) route: Route,
    poisoned: bool,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arrived {
    Event {
        sender: Sender,
        number: u64,
        answered: u64,
        event: CausalEvent,
    },
    Session(ClientId),
    Timer(TimerId),
    /// What the host says about the daemon's definition.
    Evolution(Bytes),
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    Caller(Ticket),
    Node { reply_to: NodeId, epoch: Epoch },
    Nobody,
}

/// The turn that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Turning {
    waiting: Waiting,
    origin: InputOrigin,
    event: CausalEvent,
    time: Time,
}

/// What a turn was made of.
struct Making {
    origin: InputOrigin,
    route: Route,
    event: CausalEvent,
    time: Time,
}

/// A turn that was made and not yet answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Settling {
    position: Position,
    origin: InputOrigin,
    route: Route,
    answer: Answer,
    posts: Vec<(EntityId, u64, CausalEvent)>,
}

/// The daemon's own time: it continues from the last journaled moment with the time that passes
/// here, and never goes back (rule 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clock {
    daemon: Time,
    local: Time,
}

impl Clock {
    pub(crate) const fn starting(daemon: Time, local: Time) -> Self {
        Self { daemon, local }
    }

    fn read(&self, now: Time) -> Time {
        self.daemon + now.since(self.local)
    }

    /// When the daemon's time `at` comes, by the time of this node.
    fn local(&self, at: Time) -> Time {
        self.local + at.since(self.daemon)
    }
}

impl Waiting {
    pub(crate) const fn new(arrived: Arrived, route: Route) -> Self {
        Self { arrived, route, poisoned: false }
    }

    const fn is_of_evolution(&self) -> bool {
        matches!(self.arrived, Arrived::Evolution(_))
    }

    const fn is_of_daemon(&self) -> bool {
        matches!(self.arrived, Arrived::Event { sender: Sender::Daemon(_), .. })
    }
}

impl Owner {
    /// The owner of a daemon whose copy is in memory and caught up.
    pub(crate) fn live(
        epoch: Epoch,
        copy: AttemptId,
        base: Manifest,
        replica: Replica,
        now: Time,
    ) -> Self {
        let clock = Clock::starting(replica.time, now);
        let durable = replica.head.position;
        Self {
            epoch,
            copy,
            life: Life::Live,
            durable,
            snapshots: Snapshots::with_base(base),
            departure: None,
            clock,
            queue: VecDeque::new(),
            turning: None,
            unsaved: VecDeque::new(),
            saving: false,
            settling: VecDeque::new(),
            poisoned: None,
            timer_waits: false,
            stopping: Vec::new(),
            deleting: Deleting::default(),
            adoption: Adoption::None,
            replica,
        }
    }

    /// Shows every moment that it remembers.
    pub(crate) fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        see(Moment::Clock(&mut self.clock.local));
        match &mut self.life {
            Life::Opening(
                Opening::Asking { until: moment } | Opening::Reading { retry: moment },
            ) => see(Moment::Due(moment)),
            Life::Opening(_) | Life::Live | Life::Parked { .. } | Life::Stopped => {}
        }
        if let Some(departure) = &mut self.departure {
            departure.moments(see);
        }
    }

    /// What its life is called.
    pub(crate) const fn life_name(&self) -> &'static str {
        match &self.life {
            Life::Opening(opening) => opening.name(),
            Life::Live => "Live",
            Life::Parked { .. } => "Parked",
            Life::Stopped => "Stopped",
        }
    }

    /// Whether no turn is in the making and none is unsaved: what a freeze waits for (rule 8).
    pub(crate) fn is_settled(&self) -> bool {
        let settled = self.turning.is_none() && self.unsaved.is_empty() && !self.saving;
        settled || Mutant::FreezeUnsettled.is_on()
    }

    /// Takes an event at the gate: it waits, or is refused at once.
    pub(crate) fn offer(&mut self, desk: &mut Desk<'_>, arrived: Arrived, route: Route) {
        let waiting = Waiting::new(arrived, route);
        match &self.life {
            Life::Parked { reason } => {
                let reason = reason.clone();
                return refuse(
                    desk,
                    &waiting,
                    Refusal::NotRunnable,
                    DeliverError::NotRunnable(reason),
                );
            }
            Life::Stopped => {
                return refuse(desk, &waiting, Refusal::NotRunnable, DeliverError::Stopped);
            }
            Life::Live | Life::Opening(_) => {}
        }
        let spare = if waiting.is_of_daemon() { 2 } else { 1 };
        let held_max = desk.settings().held_max.saturating_mul(spare);
        let closing = !self.stopping.is_empty() || !self.deleting.tickets.is_empty();
        let event = matches!(waiting.arrived, Arrived::Event { .. });
        if self.queue.len() >= held_max || closing || event && desk.rarely(Spot::Busy) {
            return refuse(desk, &waiting, Refusal::Busy, DeliverError::Busy);
        }
        self.queue.push_back(waiting);
        self.pump(desk);
    }

    /// Starts the next turn, if one may start.
    pub(crate) fn pump(&mut self, desk: &mut Desk<'_>) {
        while self.may_turn(desk) {
            if self.snapshots.is_due(&self.replica, desk.settings()) {
                self.capture(desk);
            }
            let next = self.poisoned.take().or_else(|| self.next(desk));
            let Some(waiting) = next else { break };
            self.start(desk, waiting);
        }
        self.finish_stop(desk);
        self.save_deletion(desk);
    }

    #[inline]
    fn may_turn(&self, desk: &Desk<'_>) -> bool {
        let made = self.replica.head.position;
        matches!(self.life, Life::Live)
            && self.adoption != Adoption::Asked
            && self.turning.is_none()
            && self.departure.as_ref().is_none_or(|departure| departure.admits(made))
            && self.unsaved.len() < desk.settings().unsaved_max
            && self.settling.len() < desk.settings().unsaved_max
    }

    /// What waits and may be taken. While the outbox is full that is only what other daemons say:
    /// two daemons that wait for each other's acknowledgement would otherwise wait for ever.
    fn next(&mut self, desk: &Desk<'_>) -> Option<Waiting> {
        let place = self.place_of_next(desk)?;
        self.queue.remove(place)
    }

    /// Where it is in the queue.
    fn place_of_next(&self, desk: &Desk<'_>) -> Option<usize> {
        if self.queue.is_empty() {
            return None;
        }
        let owed = self.replica.owed();
        let outbox_max = desk.settings().outbox_max;
        // What the daemon is comes before what it does.
        let told = self.queue.front().is_some_and(Waiting::is_of_evolution);
        if owed < outbox_max || told {
            return Some(0);
        }
        let spare = owed < outbox_max.saturating_mul(OUTBOX_SPARE);
        self.queue.iter().position(|waiting| spare && waiting.is_of_daemon())
    }

    fn start(&mut self, desk: &mut Desk<'_>, waiting: Waiting) {
        let time = self.time_of_turn(desk.now);
        let Some((origin, event)) = self.judge(desk, &waiting, time) else { return };
        let (copy, epoch) = (self.copy, self.epoch);
        self.turning = Some(Turning { waiting, origin, event: event.clone(), time });
        desk.push(Output::Turn { copy, epoch, time, origin, event });
    }

    /// The daemon's time in a turn that begins at `now`.
    fn time_of_turn(&self, now: Time) -> Time {
        self.clock.read(now).max(self.replica.time)
    }

    /// Whether what arrived makes a turn; otherwise it is answered here.
    fn judge(
        &mut self,
        desk: &mut Desk<'_>,
        waiting: &Waiting,
        time: Time,
    ) -> Option<(InputOrigin, CausalEvent)> {
        match &waiting.arrived {
            Arrived::Timer(id) => {
                self.timer_waits = false;
                let due =
                    self.replica.next_timer.is_some_and(|(at, next)| next == *id && at <= time);
                due.then(|| (InputOrigin::Timer(*id), nothing(desk.origin)))
            }
            Arrived::Session(client) => {
                if !inbox::has_room(&self.replica.ledger, desk.settings(), time) {
                    refuse(desk, waiting, Refusal::Busy, DeliverError::Busy);
                    return None;
                }
                Some((InputOrigin::SessionOpened(*client), nothing(desk.origin)))
            }
            Arrived::Evolution(word) => {
                let event = CausalEvent { payload: word.clone(), ..nothing(desk.origin) };
                Some((InputOrigin::Evolution, event))
            }
            Arrived::Event { sender, number, answered, event } => {
                let (sender, number, answered) = (*sender, *number, *answered);
                if sender != Sender::Host {
                    let digest = event.digest();
                    let ledger = &self.replica.ledger;
                    let verdict = inbox::judge(ledger, desk.settings(), &sender, number, &digest);
                    if verdict != Verdict::Next {
                        self.answer_verdict(desk, waiting, sender, number, verdict);
                        return None;
                    }
                }
                let origin = if waiting.poisoned {
                    InputOrigin::Poisoned { sender, number, answered }
                } else {
                    InputOrigin::Event { sender, number, answered }
                };
                Some((origin, event.clone()))
            }
        }
    }

    fn answer_verdict(
        &self,
        desk: &mut Desk<'_>,
        waiting: &Waiting,
        sender: Sender,
        number: u64,
        verdict: Verdict,
    ) {
        let refusal = match verdict {
            Verdict::Next => return,
            Verdict::Repeat(answer) => {
                // The first answer comes once the turn is durable; a repeat gets no earlier one.
                let unsettled = self.settling.iter().any(|settling| settling.is_of(sender, number));
                if !unsettled || Mutant::RepeatAnsweredEarly.is_on() {
                    let answer = answer.unwrap_or_default();
                    reply(desk, waiting.route, sender, number, answer);
                }
                return;
            }
            Verdict::Gap { expected } => Refusal::Expected(expected),
            Verdict::Forked => Refusal::Forked,
            Verdict::UnknownSession => Refusal::UnknownSession,
            Verdict::Full => Refusal::Busy,
        };
        refuse(desk, waiting, refusal, DeliverError::Busy);
    }

    /// The turn has ended.
    pub(crate) fn turned(&mut self, desk: &mut Desk<'_>, result: Result<Turned, TurnFailure>) {
        let Some(turning) = self.turning.take() else { return };
        match result {
            Ok(turned) => {
                let Turning { waiting, origin, event, time } = turning;
                let told = waiting.is_of_evolution().then(|| turned.answer.failure.clone());
                let making = Making { origin, route: waiting.route, event, time };
                let (turn, settling) = self.enter(desk, making, turned);
                self.settling.push_back(settling);
                self.unsaved.push_back(turn);
                if let Some(declined) = told {
                    self.told(desk, declined);
                }
            }
            Err(failure) => return self.spoilt(desk, turning.waiting, &failure),
        }
        if Mutant::AckedUnsaved.is_on() {
            self.release(desk);
        }
        self.flush(desk);
        self.pump(desk);
    }

    /// The turn that runs is given up, and was not saved: its event waits again, before all others. A timer is
    /// still due.
    fn take_up_again(&mut self) {
        let Some(Turning { waiting, .. }) = self.turning.take() else { return };
        if !matches!(waiting.arrived, Arrived::Timer(_)) && !Mutant::TurnForgotten.is_on() {
            self.queue.push_front(waiting);
        }
    }

    /// The daemon cannot be used as it is. Turns made before are good and are saved first; then all
    /// is built anew, and the event that broke it counts as taken. A timer cannot be passed over
    /// like that, so it stops the daemon.
    fn spoilt(&mut self, desk: &mut Desk<'_>, waiting: Waiting, failure: &TurnFailure) {
        desk.warn(Warning::Panicked { message: failure.to_string() });
        self.flush(desk);
        if waiting.is_of_evolution() {
            return self.broke_over_it(desk, failure);
        }
        if !matches!(waiting.arrived, Arrived::Event { .. }) {
            return self.park(desk, failure.to_string());
        }
        let poisoned = matches!(failure, TurnFailure::Panicked(_));
        self.poisoned = Some(Waiting { poisoned, ..waiting });
        self.rebuild(desk);
    }

    /// The daemon broke outside a turn: no event is to blame, and it is built anew.
    pub(crate) fn broke(&mut self, desk: &mut Desk<'_>, failure: &TurnFailure) {
        desk.warn(Warning::Panicked { message: failure.to_string() });
        // A turn that runs finds no daemon, says so, and leads to the same.
        if self.turning.is_none() {
            self.flush(desk);
            self.rebuild(desk);
        }
    }

    /// Builds the daemon anew once what was made is saved.
    fn rebuild(&mut self, desk: &mut Desk<'_>) {
        if self.is_settled() {
            self.reopen(desk);
        } else {
            self.life = Life::Opening(Opening::Settling);
        }
    }

    /// Enters a turn that was made: what is to be saved, and what is to be said once it is.
    #[inline]
    fn enter(&mut self, desk: &Desk<'_>, making: Making, mut turned: Turned) -> (Turn, Settling) {
        let Making { origin, route, event, time } = making;
        let stamp = Stamp { time, epoch: self.epoch, origin, head: turned.head };
        let turn = Turn { event, stamp };
        let answer = inbox::answer_of(&origin, &mut turned);
        let sent: Vec<EntityId> = turned.sent.iter().map(|(to, _)| *to).collect();
        self.clock = Clock::starting(time, desk.now);
        self.replica.enter(&turn, turned, &desk.station.settings);
        let posts = if sent.is_empty() { Vec::new() } else { self.newest_posts(&sent) };
        self.snapshots.grew(&turn);
        let position = turn.position();
        (turn, Settling { position, origin, route, answer, posts })
    }

    /// The outputs that the last turn put into the outbox, with their numbers.
    fn newest_posts(&self, sent: &[EntityId]) -> Vec<(EntityId, u64, CausalEvent)> {
        let mut posts = Vec::with_capacity(sent.len());
        for (index, to) in sent.iter().enumerate() {
            let later = sent[index + 1..].iter().filter(|other| *other == to).count();
            let Some(outgoing) = self.replica.ledger.outgoing.get(to) else { continue };
            let place = outgoing.waiting.len().checked_sub(1 + later);
            if let Some(event) = place.and_then(|place| outgoing.waiting.get(place)) {
                posts.push((*to, outgoing.next - 1 - later as u64, event.clone()));
            }
        }
        posts
    }

    /// Saves what was made, if no save is on its way.
    fn flush(&mut self, desk: &mut Desk<'_>) {
        if self.saving || self.unsaved.is_empty() {
            return;
        }
        let count = self.unsaved.len().min(desk.settings().append_turns_max);
        let turns: Vec<Turn> = self.unsaved.iter().take(count).cloned().collect();
        self.saving = true;
        let (entity, epoch, after) = (desk.entity, self.epoch, self.durable);
        desk.save(Saving::Turns { count }, Write::Append { entity, epoch, after, turns });
    }

    /// A save of turns has ended.
    pub(crate) fn saved(
        &mut self,
        desk: &mut Desk<'_>,
        count: usize,
        result: Result<(), WriteError>,
    ) {
        self.saving = false;
        match result {
            Ok(()) => {
                for turn in self.unsaved.drain(..count.min(self.unsaved.len())) {
                    self.durable = turn.position();
                    if let Some(departure) = &mut self.departure {
                        departure.keep(desk, turn);
                    }
                }
                self.snapshots.settle_by_snapshot(&self.replica);
                self.publish(desk);
                self.capture_if_wanted(desk);
                self.release(desk);
                self.flush(desk);
                if matches!(self.life, Life::Opening(Opening::Settling)) && self.is_settled() {
                    self.reopen(desk);
                }
            }
            Err(error) => self.save_failed(desk, &error),
        }
        self.pump(desk);
    }

    /// Answers what is durable, and posts its outputs.
    pub(crate) fn release(&mut self, desk: &mut Desk<'_>) {
        let durable =
            if Mutant::AckedUnsaved.is_on() { self.replica.head.position } else { self.durable };
        let settled = self.snapshots.settled(durable, &self.replica);
        while self.settling.front().is_some_and(|settling| settling.position <= settled) {
            let Some(settling) = self.settling.pop_front() else { break };
            self.settle(desk, settling);
        }
    }

    fn settle(&self, desk: &mut Desk<'_>, settling: Settling) {
        let Settling { position, origin, route, answer, posts } = settling;
        match origin {
            InputOrigin::Event { sender, number, .. }
            | InputOrigin::Poisoned { sender, number, .. } => {
                reply(desk, route, sender, number, answer);
            }
            InputOrigin::SessionOpened(client) => {
                if let Route::Node { reply_to, .. } = route {
                    let granted = DeliveryMessage::SessionOpened { client, session: position };
                    desk.delivery(reply_to, granted);
                }
            }
            InputOrigin::Timer(_) | InputOrigin::Evolution => {}
        }
        for (to, number, event) in posts {
            desk.push(Output::Post { to, number, event });
        }
    }

    /// The store did not save: what is in memory is ahead of the disk and is given up.
    fn save_failed(&mut self, desk: &mut Desk<'_>, error: &WriteError) {
        desk.warn(Warning::Store { error: error.to_string() });
        let certain = !matches!(error, WriteError::Unknown(_)) || Mutant::UnknownIsLost.is_on();
        for settling in std::mem::take(&mut self.settling) {
            if let Route::Caller(ticket) = settling.route {
                // What is durable and waits for its snapshot will be made anew.
                let error = if certain && self.durable < settling.position {
                    DeliverError::Store(error.to_string())
                } else {
                    DeliverError::OutcomeUnknown
                };
                desk.push(Output::Delivered { ticket, result: Err(error) });
            }
        }
        self.reopen(desk);
    }

    /// Turns that were made and not answered may or may not stand: whoever waits here is told so.
    pub(crate) fn forsake(&mut self, desk: &mut Desk<'_>) {
        for settling in std::mem::take(&mut self.settling) {
            if let Route::Caller(ticket) = settling.route {
                let result = Err(DeliverError::OutcomeUnknown);
                desk.push(Output::Delivered { ticket, result });
            }
        }
    }

    /// Another daemon acknowledged outputs.
    pub(crate) fn posted(&mut self, desk: &mut Desk<'_>, to: &EntityId, number: u64) {
        self.replica.acknowledged(to, number);
        self.pump(desk);
    }

    /// Everything that is not acknowledged goes out again: after a start and after a move.
    pub(crate) fn post_all(&self, desk: &mut Desk<'_>) {
        for (to, outgoing) in &self.replica.ledger.outgoing {
            let first = inbox::first_waiting(outgoing);
            for (number, event) in (first..).zip(&outgoing.waiting) {
                desk.push(Output::Post { to: *to, number, event: event.clone() });
            }
        }
    }

    /// Time has passed: a timer may be due. Only a live, unfrozen owner fires timers (rule 14).
    pub(crate) fn tick(&mut self, desk: &mut Desk<'_>) {
        if let Some(at) = self.timer_at()
            && at <= desk.now
            && let Some((_, id)) = self.replica.next_timer
        {
            let waiting = Waiting::new(Arrived::Timer(id), Route::Nobody);
            // A timer of which the daemon has one at a time needs no room at the gate.
            self.timer_waits = true;
            self.queue.push_back(waiting);
            self.pump(desk);
        }
    }

    /// When the next timer is due, by the time of this node.
    pub(crate) fn timer_at(&self) -> Option<Time> {
        let frozen = self.departure.as_ref().is_some_and(Departure::is_frozen);
        if self.timer_waits || frozen || !matches!(self.life, Life::Live) {
            return None;
        }
        let again = self.epoch > Epoch::FIRST && Mutant::TimerRestarted.is_on();
        let whole =
            |at: Time| if again { at.since(self.snapshots.base().time) } else { Duration::ZERO };
        self.replica.next_timer.map(|(at, _)| self.clock.local(at) + whole(at))
    }

    /// Stops taking events; the daemon stays on disk.
    pub(crate) fn stop(&mut self, desk: &mut Desk<'_>, ticket: Ticket) {
        self.stopping.push(ticket);
        self.pump(desk);
    }

    /// Whether everything that was taken is done with. What waits while the daemon does not run, or behind a
    /// full outbox, is not taken: the receiver may be stopped as well, and would be waited for for ever.
    fn is_at_rest(&self, desk: &Desk<'_>) -> bool {
        let running = matches!(self.life, Life::Live) && self.place_of_next(desk).is_some();
        !running && self.is_settled() && self.settling.is_empty()
    }

    fn finish_stop(&mut self, desk: &mut Desk<'_>) {
        if self.stopping.is_empty() || !self.is_at_rest(desk) {
            return;
        }
        for waiting in self.take_held() {
            refuse(desk, &waiting, Refusal::Busy, DeliverError::Stopped);
        }
        for ticket in std::mem::take(&mut self.stopping) {
            desk.push(Output::Stopped { ticket, result: Ok(()) });
        }
        desk.push(Output::DropCopy { copy: self.copy });
        self.life = Life::Stopped;
    }

    /// Deletes the daemon, once everything that was taken is done with.
    pub(crate) fn delete(&mut self, desk: &mut Desk<'_>, ticket: Ticket) {
        self.deleting.tickets.push(ticket);
        self.pump(desk);
    }

    fn save_deletion(&mut self, desk: &mut Desk<'_>) {
        if self.deleting.tickets.is_empty() || self.deleting.saving || !self.is_at_rest(desk) {
            return;
        }
        self.deleting.saving = true;
        let (entity, epoch) = (desk.entity, self.epoch);
        desk.save(Saving::Delete, Write::Delete { entity, epoch });
    }

    /// The deletion is saved, or not: whoever wanted it is told. True if the daemon is gone.
    pub(crate) fn deleted(&mut self, desk: &mut Desk<'_>, result: &Result<(), WriteError>) -> bool {
        let Deleting { tickets, .. } = std::mem::take(&mut self.deleting);
        for ticket in tickets {
            let result = result.clone().map_err(|error| DeliverError::Store(error.to_string()));
            desk.push(Output::Stopped { ticket, result });
        }
        if result.is_ok() {
            for waiting in self.take_held() {
                refuse(desk, &waiting, Refusal::Deleted, DeliverError::Deleted);
            }
            desk.push(Output::DropCopy { copy: self.copy });
        }
        result.is_ok()
    }

    /// What waits at the gate, for whoever owns the daemon next; a turn that runs is not saved and counts to it.
    pub(crate) fn take_held(&mut self) -> Vec<Waiting> {
        self.take_up_again();
        self.timer_waits = false;
        self.poisoned.take().into_iter().chain(self.queue.drain(..)).collect()
    }

    /// How many events wait at the gate.
    pub(crate) fn held(&self) -> usize {
        self.queue.len()
    }
}

impl Settling {
    fn is_of(&self, of: Sender, which: u64) -> bool {
        match self.origin {
            InputOrigin::Event { sender, number, .. }
            | InputOrigin::Poisoned { sender, number, .. } => sender == of && number == which,
            InputOrigin::Timer(_) | InputOrigin::SessionOpened(_) | InputOrigin::Evolution => false,
        }
    }
}

/// The event of a turn that has none.
fn nothing(origin: OriginHash) -> CausalEvent {
    let link = CausalLink {
        origin,
        sequence: Sequence::FIRST,
        epoch: Epoch::FIRST,
        parent: whimbrel_wire::Digest::ZERO,
    };
    CausalEvent { link, payload: Bytes::new() }
}

/// Tells the sender that its event is in the daemon's state for ever.
fn reply(desk: &mut Desk<'_>, route: Route, sender: Sender, number: u64, answer: Answer) {
    match route {
        Route::Caller(ticket) => desk.push(Output::Delivered { ticket, result: Ok(answer) }),
        Route::Node { reply_to, epoch } => {
            let behind = desk.title.epoch().is_some_and(|present| epoch < present);
            let deed = if behind { desk.title.last().cloned().map(Box::new) } else { None };
            desk.delivery(reply_to, DeliveryMessage::Delivered { sender, number, answer, deed });
        }
        Route::Nobody => {}
    }
}

/// Tells the sender that its event was not taken.
pub(crate) fn refuse(
    desk: &mut Desk<'_>,
    waiting: &Waiting,
    refusal: Refusal,
    error: DeliverError,
) {
    match (waiting.route, &waiting.arrived) {
        (Route::Caller(ticket), _) => desk.push(Output::Delivered { ticket, result: Err(error) }),
        (Route::Node { reply_to, .. }, Arrived::Event { sender, number, .. }) => {
            let (sender, number) = (*sender, *number);
            desk.delivery(reply_to, DeliveryMessage::Refused { sender, number, refusal });
        }
        (Route::Node { reply_to, .. }, Arrived::Session(client)) => {
            desk.delivery(reply_to, DeliveryMessage::SessionRefused { client: *client, refusal });
        }
        (Route::Node { .. }, Arrived::Timer(_) | Arrived::Evolution(_)) | (Route::Nobody, _) => {}
    }
}
