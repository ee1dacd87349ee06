//! Decides how one daemon's seat is run: one step at a time, under one lock, in the order in which
//! things came.
//!
//! # Invariants
//!
//! * K1 (one step at a time): a seat is only ever touched under its cell's lock.
//! * K2 (never forgotten): work that was pushed is run, by whoever finds the cell not scheduled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use whimbrel_daemon::Host;
use whimbrel_protocol::{
    Append, DeliverError, Input, Output, ReclaimError, Seat, SendError, SpawnError, Standing,
    Station, Ticket, TurnFailure,
};
use whimbrel_store::Hold;
use whimbrel_wire::{
    Answer, AttemptId, CausalEvent, ClientId, EntityId, Manifest, OriginHash, SeatRecord, Time,
};

use crate::core::{Core, lock};
use crate::heavy::{self, Away, Heavy};
use crate::hops::{self, How};
use crate::identity::Secrets;
use crate::perform;
use crate::stores::{Store, Writer};
use crate::trace::Trace;
use crate::trust::Said;

#[cfg(test)]
mod tests;

/// Works done in one go before other cells get their turn.
const GO_MAX: usize = 512;

/// No alarm is set.
const NO_ALARM: u64 = u64::MAX;

/// One daemon on this node: its seat, its hosts and what waits for them.
pub(crate) struct Cell {
    entity: EntityId,
    origin: OriginHash,
    pub(crate) store: Store,
    inner: Mutex<Inner>,
    line: Mutex<Line>,
    alarm: AtomicU64,
}

/// What is under the lock.
pub(crate) struct Inner {
    pub(crate) seat: Seat,
    pub(crate) hosts: BTreeMap<AttemptId, Host>,
    /// Hosts that make a turn on another thread, and what waits for them.
    pub(crate) away: BTreeMap<AttemptId, Away>,
    pub(crate) heavy: Heavy,
    /// Keys that came with copies, and tokens.
    pub(crate) arriving: BTreeMap<AttemptId, Secrets>,
    /// Chunks that no manifest on disk names yet.
    pub(crate) holds: BTreeMap<AttemptId, Hold>,
    /// The same, for a snapshot of the live copy that is being written.
    pub(crate) captured: Option<Hold>,
    /// Copies whose state is being named beforehand.
    pub(crate) warming: BTreeMap<AttemptId, Arc<AtomicBool>>,
    pub(crate) replies: BTreeMap<Ticket, Reply>,
    /// Told of each word about a channel, once somebody waits for one.
    pub(crate) channels_changed: Option<Arc<Notify>>,
    /// The end of a question whose asker holds the lock.
    pub(crate) finished: Option<(Ticket, Result<Answer, DeliverError>)>,
    pub(crate) pending: VecDeque<Input>,
    out: Vec<Output>,
}

/// Something to do.
pub(crate) enum Work {
    Input(Input),
    /// A host was built: it is taken in with the report.
    Install {
        copy: AttemptId,
        host: Box<Host>,
        input: Input,
    },
    /// A host is back from where turns are made that take long.
    Back {
        copy: AttemptId,
        host: Box<Host>,
        input: Input,
        took: Duration,
    },
    /// A client sends an event.
    Send {
        client: ClientId,
        payload: Bytes,
        reply: oneshot::Sender<Result<Answer, SendError>>,
    },
    /// A caller asks something.
    Ask {
        ask: Box<dyn FnOnce(Ticket) -> Input + Send>,
        reply: Reply,
    },
}

/// Who waits for an answer.
pub(crate) enum Reply {
    Delivered(oneshot::Sender<Result<Answer, DeliverError>>),
    Blocked(std::sync::mpsc::SyncSender<Result<Answer, DeliverError>>),
    Sent(oneshot::Sender<Result<Answer, SendError>>),
    Spawned(oneshot::Sender<Result<(), SpawnError>>),
    Snapshot(oneshot::Sender<Result<Box<Manifest>, DeliverError>>),
    Stopped(oneshot::Sender<Result<(), DeliverError>>),
    Reclaimed(oneshot::Sender<Result<(), ReclaimError>>),
}

#[derive(Default)]
struct Line {
    work: VecDeque<Work>,
    scheduled: bool,
    closed: bool,
}

/// How a delivery went the short way.
enum AtOnce {
    /// It has to go the long way.
    No,
    Answered {
        answer: Answer,
        /// Whether the seat may want to be woken earlier than before.
        stirred: bool,
    },
    /// What becomes of the event is said under this ticket.
    Failed(Ticket),
}

/// How a delivery went at once.
pub(crate) enum Delivery<T> {
    Done(Result<Answer, DeliverError>),
    Waiting(T),
}

impl Cell {
    /// The cell of `entity`. One that the store knows nothing of needs no reading.
    pub(crate) fn new(
        core: &Core,
        station: Arc<Station>,
        entity: EntityId,
        store: Store,
        fresh: bool,
    ) -> Self {
        if let Some(trace) = &core.trace {
            trace.seat(entity, station.settings.snapshot_every);
        }
        let mut seat = Seat::new(station, entity);
        let mut out = Vec::new();
        if fresh {
            let record = Ok(SeatRecord::default());
            handle(core, entity, &mut seat, Input::Read(record), &mut out);
        }
        let inner = Inner {
            seat,
            hosts: BTreeMap::new(),
            away: BTreeMap::new(),
            heavy: Heavy::default(),
            arriving: BTreeMap::new(),
            holds: BTreeMap::new(),
            captured: None,
            warming: BTreeMap::new(),
            replies: BTreeMap::new(),
            channels_changed: None,
            finished: None,
            pending: VecDeque::new(),
            out,
        };
        Self {
            entity,
            origin: entity.origin_hash(),
            store,
            inner: Mutex::new(inner),
            line: Mutex::default(),
            alarm: AtomicU64::new(NO_ALARM),
        }
    }

    pub(crate) const fn entity(&self) -> EntityId {
        self.entity
    }

    pub(crate) const fn origin(&self) -> OriginHash {
        self.origin
    }

    /// Adds work. True if the cell must be scheduled for it.
    pub(crate) fn push(&self, work: Work) -> bool {
        let mut line = lock(&self.line);
        if line.closed {
            return false;
        }
        line.work.push_back(work);
        !std::mem::replace(&mut line.scheduled, true)
    }

    /// Takes no more work and forgets whoever waits: that ends their channels.
    pub(crate) fn abandon(&self) {
        let mut line = lock(&self.line);
        line.closed = true;
        let undone = std::mem::take(&mut line.work);
        drop(line);
        drop(undone);
        let mut inner = lock(&self.inner);
        let replies = std::mem::take(&mut inner.replies);
        inner.wake_listeners();
        drop(inner);
        drop(replies);
    }

    /// Does what waits. Called by workers, for a cell that was scheduled.
    pub(crate) fn run(self: &Arc<Self>, core: &Arc<Core>) {
        let mut inner = lock(&self.inner);
        for _ in 0..GO_MAX {
            let next = {
                let mut line = lock(&self.line);
                let next = line.work.pop_front();
                line.scheduled = next.is_some();
                next
            };
            match next {
                Some(work) => inner.work(core, self, work),
                None => {
                    self.set_alarm(core, &inner);
                    return;
                }
            }
        }
        self.set_alarm(core, &inner);
        drop(inner);
        core.workers.schedule(Arc::clone(self));
    }

    /// Looks at the seat.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&lock(&self.inner))
    }

    /// Changes what is under the lock and is no business of the seat.
    pub(crate) fn adjust<T>(&self, adjust: impl FnOnce(&mut Inner) -> T) -> T {
        adjust(&mut lock(&self.inner))
    }

    /// Starts reading the record from the store, unless that was done.
    pub(crate) fn open(self: &Arc<Self>, core: &Arc<Core>) {
        let mut inner = lock(&self.inner);
        if inner.seat.status().standing != Standing::Reading {
            return;
        }
        let mut out = std::mem::take(&mut inner.out);
        let (now, before) = (core.clock.now(), out.len());
        inner.seat.open(now, &mut out);
        if let Some(trace) = &core.trace {
            trace.opened(self.entity, now, &out[before..]);
        }
        inner.out = out;
        inner.perform(core, self);
        self.set_alarm(core, &inner);
    }

    /// Delivers an event on the caller's thread. A volatile daemon answers at once; otherwise
    /// `wait` makes what is told later.
    pub(crate) fn deliver<T>(
        self: &Arc<Self>,
        core: &Arc<Core>,
        event: &CausalEvent,
        wait: impl FnOnce() -> (Reply, T),
    ) -> Delivery<T> {
        let mut inner = lock(&self.inner);
        let ticket = match inner.deliver_at_once(core, self, event) {
            AtOnce::Answered { answer, stirred } => {
                if stirred {
                    self.set_alarm(core, &inner);
                }
                return Delivery::Done(Ok(answer));
            }
            AtOnce::Failed(ticket) => ticket,
            AtOnce::No => {
                let ticket = core.ticket();
                let event = event.clone();
                inner.step(core, self, Input::Deliver { ticket, event });
                ticket
            }
        };
        if let Some((finished, result)) = inner.finished.take()
            && finished == ticket
        {
            self.set_alarm(core, &inner);
            return Delivery::Done(result);
        }
        let (reply, waiting) = wait();
        inner.replies.insert(ticket, reply);
        self.set_alarm(core, &inner);
        Delivery::Waiting(waiting)
    }

    /// The alarm rang: the next one may be set.
    pub(crate) fn rang(&self) {
        self.alarm.store(NO_ALARM, Ordering::Release);
    }

    /// Sets the alarm to when the seat wants to be woken, if none rings before.
    fn set_alarm(&self, core: &Core, inner: &Inner) {
        let Some(at) = inner.seat.wake_at() else { return };
        if at.as_nanos() < self.alarm.load(Ordering::Acquire) {
            self.alarm.store(at.as_nanos(), Ordering::Release);
            core.alarms.set(at.max(Time::ZERO), self.entity);
        }
    }
}

impl Inner {
    /// Delivers an event the short way, if the seat and the store allow it.
    fn deliver_at_once(
        &mut self,
        core: &Arc<Core>,
        cell: &Arc<Cell>,
        event: &CausalEvent,
    ) -> AtOnce {
        let Writer::Direct(memory) = &cell.store.writer else { return AtOnce::No };
        // A trace tells of inputs, which the short way has not.
        if core.trace.is_some() || !self.away.is_empty() {
            return AtOnce::No;
        }
        if self.hosts.values().any(Host::is_heavy) {
            return AtOnce::No;
        }
        let Self { seat, hosts, out, .. } = self;
        let Some(rest) = seat.at_rest(core.clock.now(), event, out) else { return AtOnce::No };
        let turned = match hosts.get_mut(&rest.copy()) {
            Some(host) => {
                perform::host_turn(host, rest.epoch(), rest.time(), &rest.origin(), event)
            }
            None => Err(TurnFailure::NoCopy),
        };
        let mut stirred = false;
        let end = match turned {
            Ok(turned) => {
                stirred = turned.next_timer.is_some();
                let (unsaved, append) = rest.made(turned);
                let Append { entity, epoch, after, turn } = append;
                match lock(memory).append(&entity, epoch, after, turn) {
                    Ok(()) => Ok(unsaved.saved()),
                    Err(error) => {
                        let ticket = core.ticket();
                        unsaved.not_saved(ticket, error);
                        Err(ticket)
                    }
                }
            }
            Err(failure) => {
                let ticket = core.ticket();
                rest.failed(ticket, &failure);
                Err(ticket)
            }
        };
        // An owner at rest wants to be woken for its timer alone, and for what it asked for.
        if !self.out.is_empty() {
            stirred = true;
            self.perform(core, cell);
        }
        match end {
            Ok(answer) => AtOnce::Answered { answer, stirred },
            Err(ticket) => AtOnce::Failed(ticket),
        }
    }

    fn work(&mut self, core: &Arc<Core>, cell: &Arc<Cell>, work: Work) {
        match work {
            Work::Input(input) => self.step(core, cell, input),
            Work::Install { copy, host, input } => {
                self.hosts.insert(copy, *host);
                self.step(core, cell, input);
            }
            Work::Back { copy, host, input, took } => {
                heavy::back(core, cell, self, (copy, *host), took);
                // A move that waited for the host is heard of before the turn, which would be followed by the next.
                self.perform(core, cell);
                self.step(core, cell, input);
            }
            Work::Send { client, payload, reply } => {
                let ticket = core.ticket();
                self.replies.insert(ticket, Reply::Sent(reply));
                self.step(core, cell, Input::Send { ticket, client, payload });
            }
            Work::Ask { ask, reply } => {
                let ticket = core.ticket();
                self.replies.insert(ticket, reply);
                self.step(core, cell, ask(ticket));
            }
        }
    }

    /// Feeds the seat and does what it asks, and what follows from that at once.
    fn step(&mut self, core: &Arc<Core>, cell: &Arc<Cell>, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        let mut said = None;
        if let Input::Message { from, message } = &input {
            core.hop(How::Met, || hops::message(message));
            said = Said::of(*from, message);
        }
        handle(core, cell.entity, &mut self.seat, input, &mut out);
        if let Some(said) = said.filter(|_| out.is_empty())
            && !self.seat.takes_part(said.from, said.attempt)
        {
            core.trust.saw_stray(said, cell.entity);
        }
        self.out = out;
        self.perform(core, cell);
    }

    fn perform(&mut self, core: &Arc<Core>, cell: &Arc<Cell>) {
        loop {
            let mut out = std::mem::take(&mut self.out);
            for output in out.drain(..) {
                perform::output(core, cell, self, output);
            }
            let next = self.pending.pop_front();
            if let Some(input) = next {
                handle(core, cell.entity, &mut self.seat, input, &mut out);
                self.out = out;
            } else {
                self.out = out;
                return;
            }
        }
    }
}

/// Gives a seat an input; a trace, if there is one, is told what came of it.
fn handle(core: &Core, entity: EntityId, seat: &mut Seat, input: Input, out: &mut Vec<Output>) {
    let now = core.clock.now();
    let Some(trace) = &core.trace else { return seat.handle(now, input, out) };
    let (told, before) = (Trace::input(&input), out.len());
    seat.handle(now, input, out);
    trace.step(entity, now, told, &out[before..]);
}
