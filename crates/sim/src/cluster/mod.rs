//! Decides how a whole cluster runs in one thread: one queue of happenings, one at a time.
//!
//! The doing of outputs is in `perform`; clients and moves are in `deeds`. Every input of a seat
//! goes through [`Cluster::feed`], and after each the checkers look.

mod actions;
mod node;
mod perform;
mod saying;

use std::collections::{BTreeMap, VecDeque};

use whimbrel_daemon as daemon;
use whimbrel_protocol::{Event, Input, Output, Seat, Settings, Standing, Ticket};
use whimbrel_wire::{AttemptId, EntityId, Epoch, Ledger, Manifest, Message, NodeId, Write};

use crate::checkers::{Checkers, EndDaemon, Observed, Seconds, Violation};
use crate::clients::{Asker, Client};
use crate::dice::Dice;
use crate::disk::{Fate, Faults};
use crate::medium::Medium;
use crate::network::Network;
use crate::scribe::{AUTHOR_DAEMONS, Pages};
use crate::trace::Trace;
pub(crate) use node::Node;

pub(crate) const MILLI: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Happenings at one moment beyond which the cluster is said to spin.
const AT_ONE_MOMENT_MAX: u64 = 20_000;

/// Inputs that one input brings about at once, beyond which a seat is said to spin: turns and
/// digests end within the step, so only a loop needs more.
const INPUTS_AT_ONCE_MAX: u32 = 2_000;

/// Inputs of all seats within one simulated second, beyond which the cluster is said to spin: a
/// message that is answered at once for ever lets time pass.
const INPUTS_A_SECOND_MAX: u64 = 20_000;

/// Warnings that are kept.
pub(super) const WARNINGS_MAX: usize = 1000;

/// How often in a row, half a second apart, a cluster at rest is found at rest.
const RESTED_MIN: u32 = 4;

/// A whole cluster.
pub(crate) struct Cluster {
    pub(crate) now: u64,
    count: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    pub(crate) nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    pub(crate) network: Network,
    pub(crate) dice: Dice,
    /// Thousandths of thousandths: how often a node crashes between two outputs.
    pub(crate) crash_rate: u64,
    /// Crash this node at this output, counted from when this was set.
    pub(crate) crash_at: Option<(usize, u64)>,
    /// What becomes of this save of any node, counted from when this was set.
    pub(crate) save_fate: Option<(u64, Fate)>,
    pub(crate) outputs: u64,
    pub(crate) saves: u64,
    pub(crate) daemons: Vec<Daemon>,
    pub(crate) clients: Vec<Client>,
    pub(crate) callers: u64,
    tickets: BTreeMap<Ticket, Asker>,
    next_ticket: u64,
    /// Whether keys are given to nodes beforehand.
    pub(crate) provisioned: bool,
    /// Whether clients may ask a daemon to panic.
    pub(crate) panics: bool,
    /// Every message that was sent, if they are kept.
    pub(crate) kept: Option<Vec<(usize, NodeId, Message)>>,
    /// Warnings that nodes gave, at most [`WARNINGS_MAX`].
    pub(crate) warnings: Vec<Event>,
    pub(crate) checkers: Checkers,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    pub(crate) tally: Tally,
    moment: (u64, u64),
    /// The simulated second, and how many inputs there were before it.
    second: (u64, u64),
}

/// One daemon of the cluster.
pub(crate) struct Daemon {
    pub(crate) entity: EntityId,
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Events that clients and callers sent.
    pub events: u64,
    /// Of these, acknowledged.
    pub acknowledged: u64,
    /// Moves that were asked for.
    pub moves: u64,
    /// Hand-overs.
    pub hand_overs: u64,
    /// Crashes, cuts, pauses, lies of disks.
    pub faults: u64,
    /// Inputs that seats took.
    pub steps: u64,
    /// Turns made during a move, before the freeze.
    pub served: u64,
}

/// Something that is to happen.
pub(crate) enum Happening {
    Deliver { to: usize, from: NodeId, message: Box<Message> },
    Report { node: usize, life: u64, entity: EntityId, input: Box<Input> },
    Disk { node: usize, life: u64 },
    Capture(Box<Capturing>),
    Restore(Box<Restoring>),
    Wake { node: usize, life: u64, entity: EntityId },
    Act(Action),
}

/// What the story of a run does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    ClientSends(usize),
    Deliver { node: usize, daemon: usize },
    Move { node: usize, daemon: usize, target: usize, cancel_after: Option<u64> },
    Cancel { node: usize, entity: EntityId, attempt: AttemptId },
    Crash { node: usize, rest: u64 },
    Restart { node: usize },
    Pause { node: usize, rest: u64 },
    Cut { from: usize, to: usize, rest: u64 },
    Heal { from: usize, to: usize },
}

/// A snapshot that is being written.
pub(crate) struct Capturing {
    node: usize,
    life: u64,
    entity: EntityId,
    copy: AttemptId,
    frozen: daemon::Capture,
    ledger: Ledger,
}

/// A daemon that is being built.
pub(crate) struct Restoring {
    node: usize,
    life: u64,
    entity: EntityId,
    copy: AttemptId,
    manifest: Box<Manifest>,
    envelope: Option<bytes::Bytes>,
    drops: u64,
}

impl Cluster {
    pub(crate) fn new(
        seed: u64,
        nodes: usize,
        settings: &Settings,
        medium: Medium,
        keep_trace: bool,
    ) -> Self {
        let mut dice = Dice::new(seed);
        let nodes: Vec<Node> =
            (0..nodes).map(|index| Node::new(index, &mut dice, settings.clone(), medium)).collect();
        let by_id = nodes.iter().enumerate().map(|(index, node)| (node.id, index)).collect();
        Self {
            now: 0,
            count: 0,
            queue: BTreeMap::new(),
            nodes,
            by_id,
            network: Network::calm(),
            dice,
            crash_rate: 0,
            crash_at: None,
            save_fate: None,
            outputs: 0,
            saves: 0,
            daemons: Vec::new(),
            clients: Vec::new(),
            callers: 0,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            provisioned: false,
            panics: true,
            kept: None,
            warnings: Vec::new(),
            checkers: Checkers::default(),
            trace: Trace::new(keep_trace),
            violation: None,
            tally: Tally::default(),
            moment: (0, 0),
            second: (0, 0),
        }
    }

    pub(crate) fn plan(&mut self, after: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), happening);
    }

    /// Goes on until `until`, or to the first broken promise.
    pub(crate) fn run_until(&mut self, until: u64) {
        while self.violation.is_none() {
            let Some((&(at, _), _)) = self.queue.first_key_value() else { break };
            if at > until {
                break;
            }
            let Some(((at, _), happening)) = self.queue.pop_first() else { break };
            self.now = self.now.max(at);
            self.moment = if self.moment.0 == self.now {
                (self.now, self.moment.1 + 1)
            } else {
                (self.now, 0)
            };
            if self.moment.1 > AT_ONE_MOMENT_MAX {
                let what = format!("the cluster spins without time passing: {}", happening.name());
                self.broken(("it-ends", what));
                break;
            }
            self.happen(happening);
            self.crash_stopped();
        }
        self.now = self.now.max(until);
    }

    /// A node whose disk has come to the call at which it was to stop is dead from there on.
    fn crash_stopped(&mut self) {
        while let Some(node) = self.nodes.iter().position(|node| node.disk.files.has_stopped()) {
            let rest = self.dice.between(MILLI, SECOND);
            self.crash(node, Some(rest));
        }
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(node) = happening.node()
            && self.nodes[node].up
            && self.nodes[node].paused_until > self.now
        {
            let rest = self.nodes[node].paused_until - self.now;
            return self.plan(rest, happening);
        }
        match happening {
            Happening::Deliver { to, from, message } => {
                let entity = message.entity();
                if self.nodes[to].up {
                    self.feed(to, entity, Input::Message { from, message: *message });
                }
            }
            Happening::Report { node, life, entity, input } => {
                if self.lives(node, life) {
                    self.feed(node, entity, *input);
                }
            }
            Happening::Disk { node, life } => {
                if self.lives(node, life) {
                    self.disk_done(node);
                }
            }
            Happening::Capture(capturing) => self.captured(*capturing),
            Happening::Restore(restoring) => self.restored(*restoring),
            Happening::Wake { node, life, entity } => {
                if self.lives(node, life) {
                    self.nodes[node].wakes.remove(&entity);
                    self.feed(node, entity, Input::Woke);
                }
            }
            Happening::Act(action) => self.act(action),
        }
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].up && self.nodes[node].life == life
    }

    /// Gives a seat an input, does what it wants, and what follows at once.
    pub(crate) fn feed(&mut self, node: usize, entity: EntityId, input: Input) {
        let mut inputs = VecDeque::from([(entity, input)]);
        let mut left = INPUTS_AT_ONCE_MAX;
        while let Some((entity, input)) = inputs.pop_front() {
            if !self.nodes[node].up || self.violation.is_some() {
                return;
            }
            if left == 0 {
                let what = format!("a seat of node {node} spins within one step: {input:?}");
                return self.broken(("it-ends", what));
            }
            left -= 1;
            self.count_step();
            let mut out = Vec::new();
            self.open_seat(node, entity, &mut out);
            self.say_input(node, entity, &input);
            let now = self.nodes[node].local(self.now);
            if let Some(seat) = self.nodes[node].seats.get_mut(&entity) {
                seat.handle(now, input, &mut out);
            }
            self.look(entity);
            self.perform_all(node, entity, out, &mut inputs);
            if self.nodes[node].up {
                self.set_alarm(node, entity);
            }
        }
    }

    fn count_step(&mut self) {
        let second = self.now / SECOND;
        if self.second.0 != second {
            self.second = (second, self.tally.steps);
        }
        self.tally.steps += 1;
        if self.tally.steps - self.second.1 > INPUTS_A_SECOND_MAX {
            let what = format!("the cluster takes {INPUTS_A_SECOND_MAX} inputs in a second");
            self.broken(("it-ends", what));
        }
    }

    fn open_seat(&mut self, node: usize, entity: EntityId, out: &mut Vec<Output>) {
        let now = self.now;
        let node = &mut self.nodes[node];
        let (local, station) = (node.local(now), node.station.clone());
        node.seats.entry(entity).or_insert_with(|| {
            let mut seat = Seat::new(station, entity);
            seat.open(local, out);
            seat
        });
    }

    fn perform_all(
        &mut self,
        node: usize,
        entity: EntityId,
        out: Vec<Output>,
        inputs: &mut VecDeque<(EntityId, Input)>,
    ) {
        for output in out {
            if self.crash_rate > 0 && self.dice.below(1_000_000) < self.crash_rate {
                let rest = self.dice.between(MILLI, 2 * SECOND);
                return self.act(Action::Crash { node, rest });
            }
            if let Some((who, left)) = self.crash_at
                && who == node
            {
                if left == 0 {
                    self.crash_at = None;
                    return self.act(Action::Crash { node, rest: 300 * MILLI });
                }
                self.crash_at = Some((who, left - 1));
            }
            self.outputs += 1;
            self.perform(node, entity, output, inputs);
            if self.violation.is_some() || !self.nodes[node].up {
                return;
            }
        }
    }

    fn set_alarm(&mut self, node: usize, entity: EntityId) {
        let place = &mut self.nodes[node];
        let wanted = place.seats.get(&entity).and_then(Seat::wake_at);
        let wanted = wanted.map(|at| place.global(at).max(self.now));
        let Some(at) = wanted else { return };
        if place.wakes.get(&entity).is_some_and(|set| *set <= at) {
            return;
        }
        place.wakes.insert(entity, at);
        let life = place.life;
        self.plan(at - self.now, Happening::Wake { node, life, entity });
    }

    /// Shows the checkers who runs a daemon.
    fn look(&mut self, entity: EntityId) {
        let lives = self.lives_of(entity);
        self.see(&Observed::Stepped { entity, lives });
    }

    fn lives_of(&self, entity: EntityId) -> Vec<(usize, Epoch)> {
        let up = self.nodes.iter().enumerate().filter(|(_, node)| node.up);
        let live = up.filter_map(|(index, node)| {
            let (_, epoch) = node.seats.get(&entity)?.live_copy()?;
            Some((index, epoch))
        });
        live.collect()
    }

    pub(crate) fn see(&mut self, observed: &Observed<'_>) {
        if let Err(broken) = self.checkers.see(observed) {
            self.broken(broken);
        }
    }

    pub(crate) fn broken(&mut self, (promise, what): (&'static str, String)) {
        if self.violation.is_none() {
            self.trace.say(self.now, "-", '!', format_args!("BROKEN {promise}: {what}"));
            self.violation = Some(Violation { promise, what, seconds: Seconds(self.now) });
        }
    }

    /// The place of a daemon in the list, for people.
    pub(crate) fn name_of(&self, entity: EntityId) -> usize {
        self.daemons.iter().position(|daemon| daemon.entity == entity).unwrap_or(usize::MAX)
    }

    /// Whether everything has come to rest.
    pub(crate) fn is_settled(&self) -> bool {
        let still =
            |happening: &Happening| matches!(happening, Happening::Wake { .. } | Happening::Act(_));
        self.queue.values().all(still)
            && self.daemons.iter().all(|daemon| self.is_daemon_settled(daemon.entity))
            && self.clients.iter().all(|client| !self.is_alive(client) || client.left == 0)
    }

    pub(crate) fn is_alive(&self, client: &Client) -> bool {
        self.lives(client.node, client.life)
    }

    fn is_daemon_settled(&self, entity: EntityId) -> bool {
        let mut owners = 0;
        for seat in self.nodes.iter().filter_map(|node| node.seats.get(&entity)) {
            match seat.status().standing {
                Standing::Live => owners += 1,
                Standing::Stranger | Standing::Deleted => {}
                Standing::Reading
                | Standing::Bearing
                | Standing::Opening
                | Standing::Frozen
                | Standing::Parked(_)
                | Standing::Stopped
                | Standing::Departed
                | _ => return false,
            }
            let owes = seat.ledger().is_some_and(|ledger| {
                ledger.outgoing.values().any(|outgoing| !outgoing.waiting.is_empty())
            });
            // A stranger that holds nothing and waits for nothing wants no alarm.
            let waits = seat.live_copy().is_none() && seat.wake_at().is_some();
            if owes || waits || seat.migration_phase().is_some() {
                return false;
            }
        }
        owners == 1
            && self.timers_of(entity) == 0
            && self.waiting_of(entity) == 0
            && self.nodes.iter().all(|node| node.up && node.paused_until <= self.now)
    }

    /// Whether the others have come to rest although this node is gone.
    pub(crate) fn settled_without(&self, gone: usize) -> bool {
        let standings = self.nodes.iter().enumerate().filter(|(index, _)| *index != gone);
        let standings = standings.flat_map(|(_, node)| node.seats.values());
        let mut owners = 0;
        for seat in standings {
            let rests = seat.live_copy().is_some() || seat.is_idle();
            owners += usize::from(seat.status().standing == Standing::Live);
            if !rests {
                return false;
            }
        }
        owners == self.daemons.len()
    }

    /// Whether a daemon runs on a node.
    pub(crate) fn owner_is(&self, daemon: usize, node: usize) -> bool {
        let entity = self.daemons[daemon].entity;
        self.lives_of(entity).iter().any(|(at, _)| *at == node)
    }

    fn waiting_of(&self, entity: EntityId) -> usize {
        let mine = self.clients.iter().filter(|client| client.entity == entity);
        mine.filter(|client| self.is_alive(client)).map(|client| client.under_way.len()).sum()
    }

    fn timers_of(&self, entity: EntityId) -> usize {
        let live = self.nodes.iter().find_map(|node| {
            let (copy, _) = node.seats.get(&entity)?.live_copy()?;
            node.hosts.get(&(entity, copy))?.next_timer()
        });
        usize::from(live.is_some())
    }

    /// How every daemon ended up.
    pub(crate) fn endings(&mut self) -> Vec<EndDaemon> {
        let daemons: Vec<EntityId> = self.daemons.iter().map(|daemon| daemon.entity).collect();
        daemons.into_iter().map(|entity| self.ending(entity)).collect()
    }

    fn ending(&mut self, entity: EntityId) -> EndDaemon {
        let settled = self.is_daemon_settled(entity);
        let waiting_clients = self.waiting_of(entity);
        let (mut lives, mut pages) = (Vec::new(), None);
        let (mut standings, mut phases, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.keys.contains_key(&entity) {
                keys.push(index);
            }
            let Some(seat) = node.seats.get(&entity) else { continue };
            let status = seat.status();
            let waits = seat.wake_at().is_some();
            let owes = seat.ledger().map_or(0, |ledger| {
                ledger.outgoing.values().map(|outgoing| outgoing.waiting.len()).sum::<usize>()
            });
            let standing = &status.standing;
            standings.push(format!("{}:{standing:?} waits {waits} owes {owes}", node.name));
            phases.extend(seat.migration_phase().map(|phase| format!("{}:{phase:?}", node.name)));
            let Some((copy, epoch)) = seat.live_copy() else { continue };
            lives.extend(status.head.map(|head| (index, epoch, head)));
            if let Some(host) = node.hosts.get_mut(&(entity, copy)) {
                pages = pages_of(host);
            }
        }
        EndDaemon { entity, lives, pages, standings, phases, keys, settled, waiting_clients }
    }

    /// Lets everything come to rest within `bound`, and looks one last time.
    pub(crate) fn settle(&mut self, bound: u64) {
        let end = self.now + bound;
        let mut rested = 0;
        // What is on its way arrives late and must change nothing.
        while self.violation.is_none() && self.now < end && rested < RESTED_MIN {
            self.run_until(self.now + 500 * MILLI);
            rested = if self.is_settled() { rested + 1 } else { 0 };
        }
        if self.violation.is_some() {
            return;
        }
        let endings = self.endings();
        let authors = self
            .daemons
            .iter()
            .zip(AUTHOR_DAEMONS..)
            .map(|(daemon, author)| (daemon.entity, author))
            .collect();
        if let Err(broken) = self.checkers.end(&endings, &authors) {
            self.broken(broken);
        }
        self.tally.served = self.checkers.served();
    }

    /// The newest epoch that a write puts on a disk.
    fn note_epoch(&mut self, node: usize, write: &Write) {
        let deed = match write {
            Write::Birth { deed, .. } | Write::HandOver { deed } => Some(deed),
            Write::Accept { deeds } | Write::Learn { deeds } => deeds.last(),
            Write::Append { .. }
            | Write::Publish { .. }
            | Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::SaveCopy { .. }
            | Write::AppendCopy { .. }
            | Write::DropCopy { .. }
            | Write::DropState { .. }
            | Write::Delete { .. } => None,
        };
        if let Some(deed) = deed {
            let known = self.nodes[node].on_disk.entry(deed.deed.entity).or_insert(Epoch::FIRST);
            *known = (*known).max(deed.deed.epoch);
        }
    }

    /// Makes all disks lie so often.
    pub(crate) fn set_disk_faults(&mut self, faults: Faults) {
        for node in &mut self.nodes {
            node.disk.faults = faults;
        }
    }
}

impl Happening {
    /// What it is, for people.
    fn name(&self) -> String {
        match self {
            Self::Deliver { to, message, .. } => format!("node {to} hears {message:?}"),
            Self::Report { node, input, .. } => format!("node {node} is told {input:?}"),
            Self::Wake { node, entity, .. } => format!("node {node} is woken for {entity}"),
            Self::Disk { node, .. } => format!("the disk of node {node}"),
            Self::Capture(capturing) => format!("node {} captures", capturing.node),
            Self::Restore(restoring) => format!("node {} restores", restoring.node),
            Self::Act(action) => format!("{action:?}"),
        }
    }

    /// The node that does nothing of it while it is paused.
    fn node(&self) -> Option<usize> {
        match self {
            Self::Deliver { to: node, .. }
            | Self::Report { node, .. }
            | Self::Disk { node, .. }
            | Self::Wake { node, .. } => Some(*node),
            Self::Capture(capturing) => Some(capturing.node),
            Self::Restore(restoring) => Some(restoring.node),
            Self::Act(_) => None,
        }
    }
}

/// What a scribe has written.
pub(crate) fn pages_of(host: &mut daemon::Host) -> Option<Pages> {
    let mut shelf = daemon::ChunkShelf::new();
    let parts = host.capture().ok()?.write(&mut shelf).ok()?;
    let whole = daemon::StateReader::new(&parts.state, &mut shelf).read_whole().ok()?;
    whimbrel_wire::decode(&whole).ok()
}
