//! Decides what one node is in the model, and what one happening on it brings about.
//!
//! A node has a seat for each daemon, copies in memory, a disk, keys, and work that is under way.
//! Everything that its next step depends on is in here and nothing else is, so a step that was
//! taken once from one state never has to be taken again: [`crate::atlas`] remembers it.
//!
//! # Time
//!
//! The present of a node is always [`PRESENT`]. When a timer fires, all that the node remembers
//! moves into the past by as much, and what is longer ago than any wait counts as [`LONG_AGO`].
//! The daemon's own time stands still.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_protocol::{
    Capture, DeliverError, Event, Input, Moment, Output, Restored, SaveTicket, Seat, SendError,
    Settings, Standing, Station, TurnFailure, Turned,
};
use whimbrel_store::{Journal, Memory, Titles};
use whimbrel_wire::{
    AttemptId, CausalEvent, Digest, EntityId, Epoch, InputOrigin, Manifest, Message,
    MigrationFailureReason, MigrationMessage, NodeId, OriginHash, Position, Time, Write,
    WriteError, WriteRefusal, encode,
};

use crate::facts::{Fact, word};
use crate::story::{Command, Tempo};
use crate::tally::Tally;

/// The present of every node.
pub(crate) const PRESENT: Time = Time::from_nanos(1 << 40);

/// Longer than any wait of [`settings`].
const LONG_AGO: u64 = 3;

/// Inputs that one happening brings about on one node, beyond which it is said to spin.
const INPUTS_MAX: u32 = 500;

/// The waits of the model, in steps of one resend.
pub(crate) fn settings() -> Settings {
    let steps = Duration::from_nanos;
    Settings {
        resend_after: steps(1),
        resend_max: steps(1),
        silence_max: steps(3),
        freeze_max: steps(2),
        search_max: steps(3),
        ask_first: steps(1),
        not_ready_after: steps(1),
        snapshot_every: 0,
        rounds_max: 4,
        ..Settings::default()
    }
}

/// What all nodes know of the daemons and of each other; it never changes.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) stations: Vec<Arc<Station>>,
    pub(crate) daemons: Vec<Newborn>,
    pub(crate) tempo: Tempo,
    /// Whether there are clients.
    pub(crate) clients: bool,
    /// The node whose copies note what nobody told them.
    pub(crate) slips: Option<usize>,
}

/// One daemon of the model.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) entity: EntityId,
    pub(crate) origin: OriginHash,
    pub(crate) friend: Option<EntityId>,
}

impl Surroundings {
    pub(crate) fn place(&self, id: NodeId) -> Option<usize> {
        self.stations.iter().position(|station| station.node() == id)
    }

    pub(crate) fn daemon(&self, entity: &EntityId) -> Option<usize> {
        self.daemons.iter().position(|daemon| daemon.entity == *entity)
    }
}

/// One node.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) place: usize,
    /// Which of its lives this is, if it has clients: those of an earlier one never come back.
    life: u8,
    pub(crate) berths: Vec<Berth>,
    pub(crate) memory: Memory,
    chunks: BTreeMap<Digest, Bytes>,
    /// What the disk is asked for, in order.
    pub(crate) disk: VecDeque<(usize, Request)>,
    /// What else is under way, in order.
    pub(crate) work: VecDeque<(usize, Work)>,
}

/// What a node has of one daemon outside of its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Berth {
    pub(crate) seat: Seat,
    pub(crate) copies: BTreeMap<AttemptId, Tally>,
    /// Whether the daemon's key lies on the disk.
    pub(crate) key: bool,
    /// Copies whose key was opened and is in memory.
    arriving: BTreeSet<AttemptId>,
}

/// What a node asks of its disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "few live at a time; a box would say nothing")]
pub(crate) enum Request {
    Save { ticket: SaveTicket, write: Write, key: KeyChange },
    Read,
    Turns { copy: AttemptId, after: Position, count: usize, bytes: usize },
}

/// What a save does to the daemon's key, in the same breath.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyChange {
    Nothing,
    Put,
    Drop,
    /// The key that must be put is not at hand: then the save must not happen either.
    Missing,
}

/// Work that takes a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "few live at a time; a box would say nothing")]
pub(crate) enum Work {
    Report(Input),
    Restore {
        copy: AttemptId,
        manifest: Box<Manifest>,
        dropped: bool,
    },
    /// A turn that was begun, and whether the daemon was frozen then.
    Turn {
        turn: Box<Turning>,
        frozen: bool,
    },
}

/// A turn under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Turning {
    copy: AttemptId,
    epoch: Epoch,
    origin: InputOrigin,
    event: CausalEvent,
}

/// What becomes of one save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fate {
    Good,
    /// The disk is full.
    Failed,
    /// It happened and the report says that nobody knows.
    UnknownDone,
    /// It did not happen and the report says that nobody knows.
    UnknownLost,
}

/// Something that happens on one node.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A seat is told something from outside.
    Input { daemon: usize, input: Box<Input> },
    /// The disk does the first thing that it was asked for.
    Disk(Fate),
    /// The first work that is under way ends.
    Work,
    /// The node dies and starts again; the first requests to its disk were done.
    Crash { done: usize },
    /// The same, and copies that wait for a deed are gone from the disk.
    LoseCopies,
    /// The earliest timer of this daemon fires.
    Wake { daemon: usize },
    /// Time passes, longer than any wait: all timers are due, and none has fired yet.
    Oversleep,
    /// The story goes on.
    Tell { number: usize, command: Command },
}

/// What a happening brought about beside the node's new state.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: Vec<Dispatch>,
    pub(crate) facts: Vec<Fact>,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dispatch {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) message: Message,
}

/// One step of a node under way.
struct Doing<'a> {
    world: &'a Surroundings,
    node: &'a mut Node,
    outcome: Outcome,
    inputs: VecDeque<(usize, Input)>,
    left: u32,
}

impl Node {
    /// A node with an empty disk that has asked for its records.
    pub(crate) fn new(world: &Surroundings, place: usize) -> Self {
        let station = &world.stations[place];
        let seat = |daemon: &Newborn| Berth {
            seat: Seat::new(station.clone(), daemon.entity),
            copies: BTreeMap::new(),
            key: false,
            arriving: BTreeSet::new(),
        };
        let mut node = Self {
            place,
            life: 0,
            berths: world.daemons.iter().map(seat).collect(),
            memory: Memory::new(station.store(), None),
            chunks: BTreeMap::new(),
            disk: VecDeque::new(),
            work: VecDeque::new(),
        };
        node.start(world);
        node
    }

    /// Starts with what is on the disk.
    fn start(&mut self, world: &Surroundings) {
        self.disk.clear();
        self.work.clear();
        for (daemon, berth) in self.berths.iter_mut().enumerate() {
            berth.copies.clear();
            berth.arriving.clear();
            let station = world.stations[self.place].clone();
            berth.seat = Seat::new(station, world.daemons[daemon].entity);
            let mut out = Vec::new();
            berth.seat.open(PRESENT, &mut out);
            // Whatever else a seat may want to say at its start, it reads its record first.
            if !out.is_empty() {
                self.disk.push_back((daemon, Request::Read));
            }
        }
    }

    /// Keeps the chunk of a snapshot.
    pub(crate) fn keep(&mut self, manifest: &Manifest, chunk: Bytes) {
        self.chunks.extend(manifest.luggage.first().map(|name| (name.digest, chunk)));
    }

    /// What happens, with all that it brings about at once on this node.
    pub(crate) fn happen(&mut self, world: &Surroundings, happening: &Happening) -> Outcome {
        let mut step = Doing {
            world,
            node: self,
            outcome: Outcome::default(),
            inputs: VecDeque::new(),
            left: INPUTS_MAX,
        };
        let mut slept = 0;
        match happening {
            Happening::Input { daemon, input } => step.feed(PRESENT, *daemon, (**input).clone()),
            Happening::Disk(fate) => step.disk(*fate),
            Happening::Work => step.work(),
            Happening::Crash { done } => step.crash(*done),
            Happening::LoseCopies => step.lose_copies(),
            Happening::Wake { daemon } => slept = step.wake(*daemon),
            Happening::Oversleep => slept = LONG_AGO,
            Happening::Tell { number, command } => step.tell(*number, command),
        }
        let outcome = step.outcome;
        self.settle_into_frame(slept);
        outcome
    }

    /// Puts the node into the frame in which nodes are compared.
    fn settle_into_frame(&mut self, slept: u64) {
        let present = PRESENT.as_nanos();
        for (daemon, berth) in self.berths.iter_mut().enumerate() {
            berth.seat.moments(&mut |moment| match moment {
                Moment::Due(at) => {
                    let due = at.as_nanos().saturating_sub(slept).max(present);
                    *at = Time::from_nanos(due);
                }
                Moment::Since(at) => {
                    let since = at.as_nanos().saturating_sub(slept).max(present - LONG_AGO);
                    *at = Time::from_nanos(since);
                }
                Moment::Clock(at) => *at = PRESENT,
            });
            berth.seat.forget_figures();
            let mut pending = Vec::new();
            for (of, request) in &mut self.disk {
                if let Request::Save { ticket, .. } = request
                    && *of == daemon
                {
                    pending.push(*ticket);
                    *ticket = SaveTicket(pending.len() as u64 - 1);
                }
            }
            berth.seat.renumber_saves(&pending);
        }
    }

    /// When the earliest timer of this daemon fires.
    pub(crate) fn wake_at(&self, daemon: usize) -> Option<Time> {
        self.berths[daemon].seat.wake_at()
    }

    /// Whether copies on the disk wait for a deed.
    pub(crate) fn has_waiting_copies(&mut self, world: &Surroundings) -> bool {
        let memory = &mut self.memory;
        let waits = |daemon: &Newborn| {
            memory.record(&daemon.entity).is_ok_and(|record| !record.waiting.is_empty())
        };
        world.daemons.iter().any(waits)
    }
}

impl Doing<'_> {
    /// Gives a seat an input, does what it wants, and what follows at once.
    fn feed(&mut self, now: Time, daemon: usize, input: Input) {
        self.inputs.push_back((daemon, input));
        self.drain(now);
    }

    fn drain(&mut self, now: Time) {
        loop {
            while let Some((daemon, input)) = self.inputs.pop_front() {
                if self.left == 0 {
                    return self
                        .broken("it-ends", format!("a seat spins within a step: {input:?}"));
                }
                self.left -= 1;
                let mut out = Vec::new();
                self.node.berths[daemon].seat.handle(now, input, &mut out);
                out.into_iter().for_each(|output| self.perform(daemon, output));
            }
            if self.world.tempo.work_at_once && self.end_work() {
                continue;
            }
            if self.world.tempo.disk_at_once && self.end_request(Fate::Good) {
                continue;
            }
            return;
        }
    }

    fn broken(&mut self, promise: &'static str, what: String) {
        self.inputs.clear();
        self.outcome.facts.push(Fact::Broken { promise, what });
    }

    fn perform(&mut self, daemon: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.send(daemon, to, message),
            Output::Broadcast { message } => self.broadcast(daemon, &message),
            Output::SendPiece { to, mut message, chunk } => {
                let Some(bytes) = self.node.chunks.get(&chunk.digest).cloned() else { return };
                if let Message::Migration(envelope) = &mut message
                    && let MigrationMessage::SnapshotReady { snapshot_bytes, .. } =
                        &mut envelope.message
                {
                    *snapshot_bytes = bytes;
                }
                self.send(daemon, to, message);
            }
            Output::Read => self.node.disk.push_back((daemon, Request::Read)),
            Output::Save { ticket, write } => {
                self.tombstones_stay(daemon, &write);
                let key = self.key_change(daemon, &write);
                self.node.disk.push_back((daemon, Request::Save { ticket, write, key }));
            }
            Output::ReadTurns { copy, after, count, bytes } => {
                let request = Request::Turns { copy, after, count, bytes };
                self.node.disk.push_back((daemon, request));
            }
            Output::Turn { copy, epoch, origin, event, .. } => {
                self.begin_turn(daemon, Turning { copy, epoch, origin, event });
            }
            other @ (Output::Digest { .. } | Output::Judge { .. } | Output::Prepare { .. }) => {
                self.answer(daemon, &other);
            }
            other @ (Output::Replay { .. }
            | Output::Restore { .. }
            | Output::Capture(_)
            | Output::ReadPieces { .. }
            | Output::FindMissing { .. }
            | Output::SaveChunk { .. }
            | Output::Seal { .. }
            | Output::Admit { .. }) => self.begin(daemon, other),
            Output::DropCopy { copy } => self.drop_copy(daemon, copy),
            // The daemon may be on its way back: then the key that lies here is the new one.
            Output::WipeKey if self.node.berths[daemon].arriving.is_empty() => {
                self.node.berths[daemon].key = false;
            }
            Output::WipeKey => {}
            Output::Post { to, number, event } => self.post(daemon, to, number, event),
            Output::Recall { to } => {
                let from = self.world.daemons[daemon].entity;
                let to = self.world.daemon(&to);
                self.inputs.extend(to.map(|to| (to, Input::Recall { from })));
            }
            Output::Posted { from, number } => {
                let to = self.world.daemons[daemon].entity;
                let from = self.world.daemon(&from);
                self.inputs.extend(from.map(|from| (from, Input::Posted { to, number })));
            }
            Output::Delivered { ticket, result } => self.delivered(daemon, ticket.0, &result),
            Output::Sent { ticket, result } => self.sent(daemon, ticket.0, &result),
            Output::Spawned { result: Err(error), .. } => {
                self.broken("it-ends", format!("the birth failed: {error}"));
            }
            Output::Spawned { .. }
            | Output::SnapshotTaken { .. }
            | Output::Stopped { .. }
            | Output::Reclaimed { .. } => {}
            Output::Event(event) => self.said(daemon, event),
        }
    }

    /// Answers at once. Nobody minds a move here.
    #[allow(clippy::wildcard_enum_match_arm, reason = "sorted out by the caller")]
    fn answer(&mut self, daemon: usize, output: &Output) {
        let mut named = |copy| self.copy(daemon, copy).map_or(Digest::ZERO, |copy| copy.digest());
        let input = match output {
            Output::Digest { copy } => Input::Digested { copy: *copy, state: named(*copy) },
            Output::Judge { copy } => {
                Input::Judged { copy: *copy, state: named(*copy), verdict: Ok(None) }
            }
            Output::Prepare { attempt, .. } => {
                Input::Prepared { attempt: *attempt, result: Ok(()) }
            }
            _ => return,
        };
        self.inputs.push_back((daemon, input));
    }

    /// Begins work that takes a while.
    #[allow(clippy::wildcard_enum_match_arm, reason = "sorted out by the caller")]
    fn begin(&mut self, daemon: usize, output: Output) {
        match output {
            Output::Replay { copy, steps } => {
                let made = self.copy(daemon, copy).map(|tally| tally.replay(&steps));
                let result = made.ok_or(TurnFailure::NoCopy);
                self.report(daemon, Input::Replayed { copy, result });
            }
            Output::Restore { copy, manifest, .. } => {
                let work = Work::Restore { copy, manifest, dropped: false };
                self.node.work.push_back((daemon, work));
            }
            Output::Capture(capture) => self.capture(daemon, &capture),
            Output::ReadPieces { attempt, .. } => {
                let result = Ok(Vec::new());
                self.report(daemon, Input::PiecesRead { attempt, result });
            }
            Output::FindMissing { attempt, chunks } => {
                let chunks = chunks.iter().zip(0..);
                let missing =
                    chunks.filter(|(chunk, _)| !self.node.chunks.contains_key(&chunk.digest));
                let result = Ok(missing.map(|(_, index)| index).collect());
                self.report(daemon, Input::MissingFound { attempt, result });
            }
            Output::SaveChunk { attempt, chunk, bytes } => {
                self.node.chunks.insert(chunk.digest, bytes);
                self.report(daemon, Input::ChunkSaved { attempt, chunk, result: Ok(()) });
            }
            Output::Seal { attempt, to, snapshot, .. } => {
                let held = self.node.berths[daemon].key;
                let entity = self.world.daemons[daemon].entity;
                let envelope = Bytes::from(encode(&(entity, attempt, to, snapshot)));
                let result =
                    if held { Ok(envelope) } else { Err("the key is not here".to_owned()) };
                self.report(daemon, Input::Sealed { attempt, result });
            }
            Output::Admit { attempt, manifest, envelope, .. } => {
                let result = self.admit(daemon, attempt, &manifest, envelope.as_ref());
                self.report(daemon, Input::Admitted { attempt, result });
            }
            _ => {}
        }
    }

    fn broadcast(&mut self, daemon: usize, message: &Message) {
        let own = self.node.place;
        let stations = self.world.stations.iter().enumerate();
        let others = stations.filter(|(place, _)| *place != own).map(|(_, other)| other.node());
        for to in others.collect::<Vec<NodeId>>() {
            self.send(daemon, to, message.clone());
        }
    }

    fn report(&mut self, daemon: usize, input: Input) {
        self.node.work.push_back((daemon, Work::Report(input)));
    }

    fn send(&mut self, daemon: usize, to: NodeId, message: Message) {
        let Some(to) = self.world.place(to) else { return };
        let from = self.node.place;
        let Some(message) = plain(message) else { return };
        if to == from {
            let from = self.world.stations[from].node();
            return self.inputs.push_back((daemon, Input::Message { from, message }));
        }
        self.outcome.sent.push(Dispatch { from, to, message });
    }

    fn copy(&mut self, daemon: usize, copy: AttemptId) -> Option<&mut Tally> {
        self.node.berths[daemon].copies.get_mut(&copy)
    }

    fn begin_turn(&mut self, daemon: usize, turn: Turning) {
        let frozen = self.node.berths[daemon].seat.status().standing == Standing::Frozen;
        let turn = Box::new(turn);
        if self.world.tempo.work_at_once {
            let turned = self.turn(daemon, &turn, frozen);
            return self.inputs.push_back((daemon, turned));
        }
        self.node.work.push_back((daemon, Work::Turn { turn, frozen }));
    }

    /// The turn is made.
    fn turn(&mut self, daemon: usize, turn: &Turning, frozen: bool) -> Input {
        let copy = turn.copy;
        Input::Turned { copy, result: self.made(daemon, turn, frozen) }
    }

    fn made(&mut self, daemon: usize, turn: &Turning, frozen: bool) -> Result<Turned, TurnFailure> {
        let Turning { copy, epoch, origin, event } = turn;
        let (copy, epoch) = (*copy, *epoch);
        let entity = self.world.daemons[daemon].entity;
        let known = self.node.memory.record(&entity).ok();
        let known = known.and_then(|record| record.deeds.last().map(|deed| deed.deed.epoch));
        let tally = self.copy(daemon, copy).ok_or(TurnFailure::NoCopy)?;
        let turned = tally.turn(epoch, origin, event);
        let twice = tally.has_doubles();
        if known > Some(epoch) {
            self.broken("one-owner", format!("a turn in {epoch}, and the disk says {known:?}"));
        }
        if frozen {
            self.broken("still-serving", "a turn was made while frozen".to_owned());
        }
        if twice {
            self.broken("nothing-twice", "an event was noted twice".to_owned());
        }
        Ok(turned)
    }

    fn capture(&mut self, daemon: usize, capture: &Capture) {
        let (copy, entity) = (capture.copy, self.world.daemons[daemon].entity);
        let made = self.copy(daemon, copy).map(|tally| tally.snapshot(entity, capture));
        let result = made.ok_or_else(|| "there is no such copy".to_owned());
        let result = result.map(|(manifest, chunk)| {
            self.node.keep(&manifest, chunk);
            manifest
        });
        self.report(daemon, Input::Captured { copy, result });
    }

    fn admit(
        &mut self,
        daemon: usize,
        attempt: AttemptId,
        manifest: &Manifest,
        envelope: Option<&Bytes>,
    ) -> Result<(), MigrationFailureReason> {
        let here = self.world.stations[self.node.place].node();
        let entity = self.world.daemons[daemon].entity;
        let expected = Bytes::from(encode(&(entity, attempt, here, manifest.digest())));
        let held = self.node.berths[daemon].key;
        if envelope.map_or(held, |envelope| *envelope == expected) {
            self.node.berths[daemon].arriving.insert(attempt);
            return Ok(());
        }
        let what = "the envelope does not open".to_owned();
        Err(MigrationFailureReason::IdentityTransportFailed(what))
    }

    fn drop_copy(&mut self, daemon: usize, copy: AttemptId) {
        let berth = &mut self.node.berths[daemon];
        berth.copies.remove(&copy);
        berth.arriving.remove(&copy);
        for (of, work) in &mut self.node.work {
            if let Work::Restore { copy: restored, dropped, .. } = work
                && (*of, *restored) == (daemon, copy)
            {
                *dropped = true;
            }
        }
    }

    fn post(&mut self, daemon: usize, to: EntityId, number: u64, event: CausalEvent) {
        let fact = Fact::Left { daemon, event: event.clone() };
        self.outcome.facts.push(fact);
        let from = self.world.daemons[daemon].entity;
        let to = self.world.daemon(&to);
        self.inputs.extend(to.map(|to| (to, Input::Post { from, number, event })));
    }

    fn work(&mut self) {
        self.end_work();
        self.drain(PRESENT);
    }

    /// The first work ends. False if there is none.
    fn end_work(&mut self) -> bool {
        let Some((daemon, work)) = self.node.work.pop_front() else { return false };
        let input = match work {
            Work::Report(input) => input,
            Work::Turn { turn, frozen } => self.turn(daemon, &turn, frozen),
            Work::Restore { copy, manifest, dropped } => {
                let built = self.rebuild(daemon, &manifest);
                let result = built.map(|(tally, restored)| {
                    let berth = &mut self.node.berths[daemon];
                    // What was dropped in the meantime does not come back.
                    if !dropped {
                        berth.copies.insert(copy, tally);
                    }
                    restored
                });
                Input::Restored { copy, result }
            }
        };
        self.inputs.push_back((daemon, input));
        true
    }

    fn rebuild(
        &self,
        daemon: usize,
        manifest: &Manifest,
    ) -> Result<(Tally, Restored), MigrationFailureReason> {
        let missing = || MigrationFailureReason::SnapshotInvalid("a chunk is missing".to_owned());
        let name = manifest.luggage.first().ok_or_else(missing)?;
        let chunk = self.node.chunks.get(&name.digest).ok_or_else(missing)?;
        let Newborn { origin, friend, .. } = self.world.daemons[daemon];
        let slip = self.world.slips == Some(self.node.place);
        Tally::restore(manifest, chunk, origin, friend, slip).ok_or_else(missing)
    }

    fn disk(&mut self, fate: Fate) {
        self.end_request(fate);
        self.drain(PRESENT);
    }

    /// The disk does the first request and reports it. False if there is none.
    fn end_request(&mut self, fate: Fate) -> bool {
        let Some((daemon, request)) = self.node.disk.pop_front() else { return false };
        let entity = self.world.daemons[daemon].entity;
        let input = match request {
            Request::Save { ticket, write, key } => {
                let result = self.save(daemon, &write, key, fate);
                Input::Saved { ticket, result }
            }
            Request::Read => {
                let record = self.node.memory.record(&entity);
                Input::Read(record.map_err(|error| error.to_string()))
            }
            Request::Turns { copy, after, count, bytes } => {
                let turns = self.node.memory.turns(&entity, copy, after, count, bytes);
                let result = turns.map_err(|error| error.to_string());
                Input::TurnsRead { copy, after, result }
            }
        };
        self.inputs.push_back((daemon, input));
        true
    }

    /// What a save does to the key: as a node of the runtime decides it.
    fn key_change(&self, daemon: usize, write: &Write) -> KeyChange {
        let berth = &self.node.berths[daemon];
        match write {
            Write::SaveCopy { attempt, .. } if berth.arriving.contains(attempt) => KeyChange::Put,
            Write::SaveCopy { .. } => KeyChange::Missing,
            Write::DropCopy { .. } if berth.seat.key_goes_with_copy() => KeyChange::Drop,
            Write::DropCopy { .. }
            | Write::Birth { .. }
            | Write::Append { .. }
            | Write::Publish { .. }
            | Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::HandOver { .. }
            | Write::Reclaim { .. }
            | Write::AppendCopy { .. }
            | Write::Accept { .. }
            | Write::Learn { .. }
            | Write::DropState { .. }
            | Write::Delete { .. } => KeyChange::Nothing,
        }
    }

    fn save(
        &mut self,
        daemon: usize,
        write: &Write,
        key: KeyChange,
        fate: Fate,
    ) -> Result<(), WriteError> {
        let unknown = || Err(WriteError::Unknown("the disk did not answer".to_owned()));
        match fate {
            Fate::Failed => Err(WriteError::Failed("the disk is full".to_owned())),
            Fate::UnknownLost => unknown(),
            Fate::Good | Fate::UnknownDone => {
                let berth = &mut self.node.berths[daemon];
                match key {
                    KeyChange::Nothing => {}
                    KeyChange::Put => berth.key = true,
                    KeyChange::Drop => berth.key = false,
                    KeyChange::Missing => {
                        return Err(WriteError::Failed("the key is not here".to_owned()));
                    }
                }
                let result = self.node.memory.commit(std::slice::from_ref(write)).pop();
                let result = result.unwrap_or(Ok(()));
                match &result {
                    Ok(()) => self.committed(daemon, write),
                    Err(error) => self.refused(write, error),
                }
                if fate == Fate::Good { result } else { unknown() }
            }
        }
    }

    fn committed(&mut self, daemon: usize, write: &Write) {
        let node = self.node.place;
        let fact = match write {
            Write::Append { turns, .. } => {
                let turns = turns.clone();
                Some(Fact::Appended { daemon, turns })
            }
            Write::HandOver { deed } => Some(Fact::HandedOver { daemon, deed: deed.clone() }),
            Write::Accept { deeds } => {
                deeds.last().map(|deed| Fact::Accepted { daemon, node, deed: deed.clone() })
            }
            Write::DropCopy { .. }
            | Write::Birth { .. }
            | Write::Reclaim { .. }
            | Write::Publish { .. }
            | Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::SaveCopy { .. }
            | Write::AppendCopy { .. }
            | Write::Learn { .. }
            | Write::DropState { .. }
            | Write::Delete { .. } => None,
        };
        self.outcome.facts.extend(fact);
    }

    /// The rules of the store are a second guard: what they refuse here, the machine must not ask for
    /// in the first place.
    fn refused(&mut self, write: &Write, error: &WriteError) {
        if let (Write::HandOver { deed }, WriteError::Refused(WriteRefusal::Position { last })) =
            (write, error)
        {
            let at = deed.deed.head.position;
            let what = format!("only the store refused a deed at {at}, the journal is at {last}");
            self.broken("nothing-lost", what);
        }
    }

    /// The same for a copy of an epoch of which the seat knows that it has ended (rule 2).
    fn tombstones_stay(&mut self, daemon: usize, write: &Write) {
        let known = self.node.berths[daemon].seat.title().epoch();
        if let Write::SaveCopy { epoch, .. } = write
            && known > Some(*epoch)
        {
            let what = format!("only the store can refuse a copy of {epoch}, {known:?} is known");
            self.broken("one-owner", what);
        }
    }

    /// The first requests were done and nobody was told.
    fn crash(&mut self, done: usize) {
        for (daemon, request) in self.node.disk.drain(..).take(done).collect::<Vec<_>>() {
            if let Request::Save { write, key, .. } = request {
                let _ = self.save(daemon, &write, key, Fate::Good);
            }
        }
        self.outcome.facts.push(Fact::Died { node: self.node.place });
        self.node.life += u8::from(self.world.clients);
        self.node.start(self.world);
        self.drain(PRESENT);
    }

    fn lose_copies(&mut self) {
        for daemon in 0..self.world.daemons.len() {
            let entity = self.world.daemons[daemon].entity;
            let record = self.node.memory.record(&entity).unwrap_or_default();
            for copy in record.waiting {
                let attempt = copy.attempt;
                let _ = self.node.memory.commit(&[Write::DropCopy { entity, attempt }]);
            }
        }
        self.crash(0);
    }

    /// The earliest timer fires. Says how long it slept.
    fn wake(&mut self, daemon: usize) -> u64 {
        let Some(at) = self.node.wake_at(daemon) else { return 0 };
        let now = at.max(PRESENT);
        let slept = now.as_nanos() - PRESENT.as_nanos();
        for berth in &mut self.node.berths {
            berth.seat.moments(&mut |moment| {
                if let Moment::Clock(at) = moment {
                    *at = now;
                }
            });
        }
        self.feed(now, daemon, Input::Woke);
        slept
    }

    fn tell(&mut self, number: usize, command: &Command) {
        let daemon = 0;
        let input = command.input(self.world, number, self.node.life);
        if let Command::Move { attempt, .. } = command {
            let (node, attempt) = (self.node.place, *attempt);
            self.outcome.facts.push(Fact::Asked { daemon, node, attempt });
        }
        if command.is_event() {
            self.outcome.facts.push(Fact::Offered {
                daemon,
                node: self.node.place,
                payload: word(number),
            });
        }
        self.feed(PRESENT, daemon, input);
    }

    fn delivered(
        &mut self,
        daemon: usize,
        number: u64,
        result: &Result<whimbrel_wire::Answer, DeliverError>,
    ) {
        let reply = match result {
            Ok(answer) => {
                self.left(daemon, answer);
                Some(true)
            }
            Err(DeliverError::OutcomeUnknown) => None,
            Err(_) => Some(false),
        };
        self.outcome.facts.push(Fact::Told { daemon, number, taken: reply });
    }

    fn sent(
        &mut self,
        daemon: usize,
        number: u64,
        result: &Result<whimbrel_wire::Answer, SendError>,
    ) {
        let reply = match result {
            Ok(answer) => {
                self.left(daemon, answer);
                Some(true)
            }
            Err(SendError::SessionLost | SendError::ReceiverRegressed) => None,
            Err(_) => Some(false),
        };
        self.outcome.facts.push(Fact::Told { daemon, number, taken: reply });
    }

    fn left(&mut self, daemon: usize, answer: &whimbrel_wire::Answer) {
        let left = answer.outputs.iter().map(|event| Fact::Left { daemon, event: event.clone() });
        self.outcome.facts.extend(left);
    }

    fn said(&mut self, daemon: usize, event: Event) {
        match event {
            Event::Live { epoch, head } => {
                // The keys that came with copies are on the disk, or of no use.
                self.node.berths[daemon].arriving.clear();
                let node = self.node.place;
                let berth = &self.node.berths[daemon];
                let live = berth.seat.live_copy().and_then(|(copy, _)| berth.copies.get(&copy));
                // A turn may have begun in the same step; then the notes are not those of the head.
                let notes = live.filter(|copy| copy.head == head).map(|copy| copy.notes.clone());
                let sound = live.is_none_or(|copy| copy.head != head || !copy.has_slipped());
                let has_key = berth.key;
                self.outcome.facts.push(Fact::Live {
                    daemon,
                    node,
                    epoch,
                    head,
                    notes,
                    has_key,
                    sound,
                });
            }
            Event::MoveEnded { attempt, result } => {
                let by = result.ok().map(|deed| (deed.deed.attempt, deed.digest()));
                self.outcome.facts.push(Fact::Ended { daemon, attempt, by });
            }
            // Only what a promise is about is a fact.
            Event::Phase { .. }
            | Event::Progressed { .. }
            | Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::HandedOver { .. }
            | Event::Dropped { .. }
            | Event::Warning(_)
            | _ => {}
        }
    }
}

/// The message without figures that only people look at; none if it is nothing but figures.
fn plain(message: Message) -> Option<Message> {
    let progress =
        |message: &MigrationMessage| matches!(message, MigrationMessage::Progressed { .. });
    match message {
        Message::Migration(envelope) if progress(&envelope.message) => None,
        Message::Migration(_) | Message::Delivery { .. } | Message::Title { .. } => Some(message),
    }
}
