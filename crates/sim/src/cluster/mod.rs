//! Decides how a whole cluster runs in one thread: one queue of happenings, one at a time.
//!
//! The doing of outputs is in `perform`; clients and moves are in `deeds`. Every input of a seat
//! goes through [`Cluster::feed`], and after each the checkers look.

mod actions;
mod at_once;
mod channels;
mod chores;
mod node;
mod perform;
mod queue;
mod saying;

use std::collections::{BTreeMap, VecDeque};

use whimbrel_daemon as daemon;
use whimbrel_protocol::{Event, Input, Output, Seat, Settings, Standing, Ticket};
use whimbrel_wire::{
    AttemptId, ChannelWord, EntityId, Epoch, Hearing, Ledger, Manifest, Message, NodeId,
    SubscriptionBinding, SubscriptionState, Write,
};

use crate::checkers::{Checkers, EndDaemon, Observed, Seconds, Violation};
use crate::clients::{Asker, Client};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::disk::{Fate, Faults};
use crate::entities::Entities;
use crate::kinds::chart_version;
use crate::medium::Medium;
use crate::network::Network;
use crate::rehearsal::Onlooker;
use crate::scribe::{AUTHOR_DAEMONS, Style};
use crate::trace::Trace;
use node::Berth;
pub(crate) use node::Node;
use queue::Queue;

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

/// The first moment of the daemons' own time: any but zero.
const WALL: u64 = 1_700_000_000_000_000_000;

/// Warnings that are kept.
pub(super) const WARNINGS_MAX: usize = 1000;

/// How often in a row, half a second apart, a cluster at rest is found at rest.
const RESTED_MIN: u32 = 4;

/// A whole cluster.
pub(crate) struct Cluster {
    pub(crate) now: u64,
    queue: Queue,
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
    /// This capture of any node cannot be written, counted from when this was set.
    pub(crate) capture_fails: Option<u64>,
    pub(crate) outputs: u64,
    pub(crate) saves: u64,
    pub(crate) captures: u64,
    pub(crate) daemons: Vec<Daemon>,
    styles: Entities<Style>,
    pub(crate) clients: Vec<Client>,
    pub(crate) callers: u64,
    tickets: BTreeMap<Ticket, Asker>,
    next_ticket: u64,
    /// Whether keys are given to nodes beforehand.
    pub(crate) provisioned: bool,
    /// Whether clients may ask a daemon to panic.
    pub(crate) panics: bool,
    /// Whether clients may ask a daemon to tell another one.
    pub(crate) sends: bool,
    /// Snapshots that were taken away.
    pub(crate) exports: Vec<daemon::StateSnapshot>,
    /// How many bytes a client adds to a state at most; zero if it never does.
    pub(crate) fill_max: u32,
    /// Whether clients ask for nothing but that their event is written down.
    pub(crate) plain: bool,
    /// How long a commit takes, in nanoseconds.
    pub(crate) commit: (u64, u64),
    /// What a rehearsal sees, if this is one.
    pub(crate) onlooker: Option<Box<Onlooker>>,
    /// The present of the world, at a birth.
    pub(crate) wall: u64,
    /// Whether a node that starts again has another time.
    pub(crate) clocks_jump: bool,
    /// How long a node that starts says that it is not ready, at most.
    pub(crate) boot_max: u64,
    /// How often disks fail when they are not full.
    usual_faults: Faults,
    /// Every message that was sent, if they are kept.
    pub(crate) kept: Option<Vec<(usize, NodeId, Message)>>,
    /// Warnings that nodes gave, at most [`WARNINGS_MAX`].
    pub(crate) warnings: Vec<Event>,
    pub(crate) checkers: Checkers,
    pub(crate) trace: Trace,
    pub(crate) violation: Option<Violation>,
    /// What the machines meet, if that is counted.
    pub(crate) coverage: Option<Coverage>,
    pub(crate) tally: Tally,
    moment: (u64, u64),
    /// Room for what follows from one input, kept from step to step.
    spare: (Inputs, Vec<Output>),
    /// The simulated second, and how many inputs there were before it.
    second: (u64, u64),
}

/// Inputs that follow at once.
type Inputs = VecDeque<(EntityId, Box<Input>)>;

/// One daemon of the cluster.
pub(crate) struct Daemon {
    pub(crate) entity: EntityId,
    pub(crate) style: Style,
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
    /// Crashes, pauses, messages lost, doubled or late, lies of disks, jumps of clocks.
    pub faults: u64,
    /// Those of them that hit a live attempt or an event that was not acknowledged.
    pub hits: u64,
    /// Chunks that were collected.
    pub collected: u64,
    /// Inputs that seats took.
    pub steps: u64,
    /// Turns made during a move, before the freeze.
    pub served: u64,
    /// Deliveries that went the short way.
    pub at_once: u64,
}

/// Something that is to happen.
pub(crate) enum Happening {
    /// A message arrives.
    Arrive {
        to: usize,
        entity: EntityId,
        input: Box<Input>,
    },
    Report {
        node: usize,
        life: u64,
        entity: EntityId,
        input: Box<Input>,
    },
    Disk {
        node: usize,
        life: u64,
    },
    Capture(Box<Capturing>),
    Restore(Box<Restoring>),
    Wake {
        node: usize,
        life: u64,
        entity: EntityId,
    },
    Sweep(Box<Sweeping>),
    Act(Action),
}

/// What the story of a run does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    ClientSends(usize),
    Deliver {
        node: usize,
        daemon: usize,
    },
    Move {
        node: usize,
        daemon: usize,
        source: Option<usize>,
        target: usize,
        cancel_after: Option<u64>,
    },
    Cancel {
        node: usize,
        entity: EntityId,
        attempt: AttemptId,
    },
    Crash {
        node: usize,
        rest: u64,
    },
    Restart {
        node: usize,
    },
    Pause {
        node: usize,
        rest: u64,
    },
    Cut {
        from: usize,
        to: usize,
        rest: u64,
    },
    Heal {
        from: usize,
        to: usize,
    },
    Full {
        node: usize,
        rest: u64,
    },
    Room {
        node: usize,
    },
    Jump {
        node: usize,
        by: u64,
    },
    Shutdown {
        node: usize,
        rest: u64,
    },
    Close {
        node: usize,
        rest: u64,
    },
    Stop {
        daemon: usize,
    },
    Delete {
        daemon: usize,
    },
    Collect {
        node: usize,
    },
    Export {
        daemon: usize,
    },
    /// A host says a word about channels to a daemon that lives on its node.
    Word {
        daemon: usize,
        word: ChannelWord,
    },
    /// A daemon publishes.
    Publish {
        daemon: usize,
    },
    /// An operator wants a daemon back where it left, or at this node if it left nowhere.
    Reclaim {
        node: usize,
        daemon: usize,
    },
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

/// A collection of chunks that goes on.
pub(crate) struct Sweeping {
    node: usize,
    life: u64,
    sweep: whimbrel_store::Sweep,
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
            queue: Queue::default(),
            nodes,
            by_id,
            network: Network::calm(),
            dice,
            crash_rate: 0,
            crash_at: None,
            save_fate: None,
            capture_fails: None,
            captures: 0,
            outputs: 0,
            saves: 0,
            daemons: Vec::new(),
            styles: Entities::default(),
            clients: Vec::new(),
            callers: 0,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            provisioned: false,
            panics: true,
            sends: true,
            exports: Vec::new(),
            fill_max: 0,
            plain: false,
            commit: (MILLI / 5, 4 * MILLI),
            onlooker: None,
            wall: WALL,
            clocks_jump: false,
            boot_max: 0,
            usual_faults: Faults::default(),
            kept: None,
            warnings: Vec::new(),
            checkers: Checkers::default(),
            trace: Trace::new(keep_trace),
            violation: None,
            coverage: None,
            tally: Tally::default(),
            moment: (0, 0),
            spare: (VecDeque::new(), Vec::new()),
            second: (0, 0),
        }
    }

    pub(crate) fn plan(&mut self, after: u64, happening: Happening) {
        self.queue.push(self.now + after, happening);
    }

    /// Goes on until `until`, or to the first broken promise.
    pub(crate) fn run_until(&mut self, until: u64) {
        while self.violation.is_none() {
            let Some((at, happening)) = self.queue.pop_until(until) else { break };
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
            if let Some(coverage) = &mut self.coverage {
                coverage.crash_while("at a call of the file system");
            }
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
            Happening::Arrive { to, entity, input } => {
                if self.nodes[to].up {
                    self.feed_boxed(to, entity, input);
                }
            }
            Happening::Report { node, life, entity, input } => {
                if self.lives(node, life) {
                    self.feed_boxed(node, entity, input);
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
                    self.wake(node, entity);
                }
            }
            Happening::Sweep(sweeping) => self.swept(*sweeping),
            Happening::Act(action) => self.act(action),
        }
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].up && self.nodes[node].life == life
    }

    /// Gives a seat an input, does what it wants, and what follows at once.
    pub(crate) fn feed(&mut self, node: usize, entity: EntityId, input: Input) {
        self.feed_boxed(node, entity, Box::new(input));
    }

    fn feed_boxed(&mut self, node: usize, entity: EntityId, input: Box<Input>) {
        let (mut inputs, out) = std::mem::take(&mut self.spare);
        inputs.push_back((entity, input));
        self.feed_all(node, inputs, out);
    }

    /// Gives seats inputs, does what they want, and what follows at once. `out` is room for it.
    fn feed_all(&mut self, node: usize, mut inputs: Inputs, mut out: Vec<Output>) {
        let mut left = INPUTS_AT_ONCE_MAX;
        while let Some((entity, input)) = inputs.pop_front() {
            if !self.nodes[node].up || self.violation.is_some() {
                break;
            }
            if left == 0 {
                let what = format!("a seat of node {node} spins within one step: {input:?}");
                self.broken(("it-ends", what));
                break;
            }
            left -= 1;
            self.step(node, entity, input, &mut out);
            self.perform_all(node, entity, &mut out, &mut inputs);
            // A seat that goes on at once says afterwards when it is to be woken.
            let goes_on = inputs.front().is_some_and(|(next, _)| *next == entity);
            if self.nodes[node].up && !goes_on {
                self.set_alarm(node, entity);
            }
        }
        inputs.clear();
        self.spare = (inputs, out);
    }

    fn step(&mut self, node: usize, entity: EntityId, input: Box<Input>, out: &mut Vec<Output>) {
        self.count_step();
        self.say_input(node, entity, &input);
        let Self { nodes, coverage, now, .. } = self;
        let place = &mut nodes[node];
        let (local, station) = (place.local(*now), &place.station);
        let berth = place.seats.entry(entity, || {
            let mut seat = Seat::new(station.clone(), entity);
            seat.open(local, out);
            Berth::new(seat)
        });
        if let Some(coverage) = coverage {
            coverage.step(berth.places(), &input);
        }
        berth.handle(local, *input, out);
        let live = berth.live_copy();
        if live != berth.shown_live {
            berth.shown_live = live;
            self.see_lives(entity);
        }
    }

    fn count_step(&mut self) {
        let second = self.now / SECOND;
        if self.second.0 != second {
            self.second = (second, self.tally.steps);
        }
        self.tally.steps += 1;
        let most = INPUTS_A_SECOND_MAX * (1 + self.daemons.len() as u64 / 4);
        if self.tally.steps - self.second.1 > most {
            let what = format!("the cluster takes {most} inputs in a second");
            self.broken(("it-ends", what));
        }
    }

    fn perform_all(
        &mut self,
        node: usize,
        entity: EntityId,
        out: &mut Vec<Output>,
        inputs: &mut Inputs,
    ) {
        for output in out.drain(..) {
            if let Some(rest) = self.death_before(node, Some(&output)) {
                return self.act(Action::Crash { node, rest });
            }
            self.perform(node, entity, output, inputs);
            if self.violation.is_some() || !self.nodes[node].up {
                return;
            }
        }
    }

    /// A moment has come that a seat had named; if it names a later one by now, that is waited for.
    fn wake(&mut self, node: usize, entity: EntityId) {
        let place = &mut self.nodes[node];
        let local = place.local(self.now);
        let Some(berth) = place.seats.get_mut(&entity) else { return };
        berth.wake = None;
        if berth.wake_at().is_some_and(|due| due <= local) {
            return self.feed(node, entity, Input::Woke);
        }
        self.set_alarm(node, entity);
    }

    /// How long the node stays down, if it is to die before its next act.
    fn death_before(&mut self, node: usize, output: Option<&Output>) -> Option<u64> {
        if self.crash_rate > 0 && self.dice.below(1_000_000) < self.crash_rate {
            if let (Some(coverage), Some(output)) = (&mut self.coverage, output) {
                coverage.crash_before(output);
            }
            return Some(self.dice.between(MILLI, 2 * SECOND));
        }
        if let Some((who, left)) = self.crash_at
            && who == node
        {
            if left == 0 {
                self.crash_at = None;
                return Some(300 * MILLI);
            }
            self.crash_at = Some((who, left - 1));
        }
        self.outputs += 1;
        None
    }

    fn set_alarm(&mut self, node: usize, entity: EntityId) {
        let place = &mut self.nodes[node];
        let Some(at) = place.seats.get(&entity).and_then(|berth| berth.wake_at()) else { return };
        let at = place.global(at).max(self.now);
        let Some(berth) = place.seats.get_mut(&entity) else { return };
        if berth.wake.is_some_and(|set| set <= at) {
            return;
        }
        berth.wake = Some(at);
        let life = place.life;
        self.plan(at - self.now, Happening::Wake { node, life, entity });
    }

    /// Shows the checkers who runs a daemon, when that has changed by a step of this node.
    fn look(&mut self, node: usize, entity: EntityId) {
        let Some(berth) = self.nodes[node].seats.get_mut(&entity) else { return };
        let live = berth.live_copy();
        if live != berth.shown_live {
            berth.shown_live = live;
            self.see_lives(entity);
        }
    }

    fn see_lives(&mut self, entity: EntityId) {
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
        let still = |happening: &Happening| {
            matches!(happening, Happening::Wake { .. } | Happening::Act(_) | Happening::Sweep(_))
        };
        self.queue.iter().all(still)
            && self.daemons.iter().all(|daemon| self.is_daemon_settled(daemon.entity))
            && self.clients.iter().all(|client| !self.is_alive(client) || client.left == 0)
    }

    pub(crate) fn is_alive(&self, client: &Client) -> bool {
        self.lives(client.node, client.life)
    }

    /// Whether nothing is left to be done for a daemon that was deleted.
    fn is_deletion_settled(&self, entity: EntityId) -> bool {
        let mut seats = self.nodes.iter().filter_map(|node| node.seats.get(&entity));
        seats.all(|seat| seat.is_idle()) && self.waiting_of(entity) == 0
    }

    fn is_daemon_settled(&self, entity: EntityId) -> bool {
        if self.checkers.journals.of(&entity).is_some_and(|journal| journal.deleted) {
            return self.is_deletion_settled(entity);
        }
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

    /// Whether a node has daemons that were stopped.
    pub(crate) fn has_stopped_daemons(&self, node: usize) -> bool {
        let mut seats = self.nodes[node].seats.values();
        seats.any(|seat| seat.status().standing == Standing::Stopped)
    }

    /// The node that runs a daemon.
    pub(crate) fn owner_of(&self, entity: EntityId) -> Option<usize> {
        self.lives_of(entity).first().map(|(at, _)| *at)
    }

    /// Whether something of a daemon is at stake: it is being moved, or an event to or from it is
    /// not acknowledged.
    pub(crate) fn is_exposed(&self, entity: EntityId) -> bool {
        let mut seats = self.nodes.iter().filter_map(|node| node.seats.get(&entity));
        self.waiting_of(entity) > 0
            || seats.any(|seat| {
                let standing = seat.status().standing;
                let owes = seat.ledger().is_some_and(|ledger| {
                    ledger.outgoing.values().any(|outgoing| !outgoing.waiting.is_empty())
                });
                owes || seat.is_moving() || matches!(standing, Standing::Bearing)
            })
    }

    /// A fault was injected; it counts as a hit if it can matter.
    pub(crate) fn count_fault(&mut self, hit: bool) {
        self.tally.faults += 1;
        self.tally.hits += u64::from(hit);
    }

    /// A fault of a whole node.
    pub(super) fn count_node_fault(&mut self) {
        let hit = self.daemons.iter().any(|daemon| self.is_exposed(daemon.entity));
        self.count_fault(hit);
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
            node.hosts.get(&entity, copy)?.next_timer()
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
        let (mut lives, mut shown, mut listens) = (Vec::new(), None, Vec::new());
        let mut under = None;
        let journal = self.checkers.journals.of(&entity);
        let deleted = journal.is_some_and(|journal| journal.deleted);
        let style = self.styles.get(&entity).copied();
        let (mut standings, mut phases, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let is_here = node.seats.get(&entity).is_some_and(|seat| seat.live_copy().is_some());
            if node.keys.contains_key(&entity) && (is_here || !node.has_old_keys) {
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
            if let Some(host) = node.hosts.get_mut(&entity, copy) {
                listens = listens_to(host);
                shown = style.and_then(|style| style.shown(host));
                let given = node.chart.filter(|_| style == Some(Style::Chart));
                under = given.and_then(|given| Some((chart_version(host)?, given.name())));
            }
        }
        EndDaemon {
            entity,
            lives,
            shown,
            under,
            listens,
            deleted,
            standings,
            phases,
            keys,
            settled,
            waiting_clients,
        }
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
        if let Some(what) = self.unanswered() {
            return self.broken(("it-ends", what));
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

    /// A caller whose node lives and who was never told what became of an event.
    fn unanswered(&self) -> Option<String> {
        self.tickets.values().find_map(|asker| match asker {
            Asker::Caller { node, life, entity, author, number } => {
                let place = &self.nodes[*node];
                let waits = place.up && place.life == *life;
                waits
                    .then(|| format!("nobody told {} of {author}:{number} to {entity}", place.name))
            }
            Asker::Spawner | Asker::Stopper(_) | Asker::Exporter(_) | Asker::Client(_) => None,
        })
    }

    /// The newest epoch that a write puts on a disk.
    fn note_epoch(&mut self, node: usize, write: &Write) {
        let deed = match write {
            Write::Birth { deed, .. } | Write::HandOver { deed } | Write::Reclaim { deed } => {
                Some(deed)
            }
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
            let known = self.nodes[node].on_disk.entry(deed.deed.entity, || Epoch::FIRST);
            *known = (*known).max(deed.deed.epoch);
        }
    }

    /// Makes all disks lie so often.
    pub(crate) fn set_disk_faults(&mut self, faults: Faults) {
        self.usual_faults = faults;
        for node in 0..self.nodes.len() {
            self.set_full(node, false);
        }
    }

    /// The disk of a node has no room, or has it again.
    pub(crate) fn set_full(&mut self, node: usize, full: bool) {
        let disk = &mut self.nodes[node].disk;
        disk.faults = self.usual_faults;
        if full {
            disk.faults.failed = 1000;
        }
        disk.files.set_full(full);
    }
}

/// To whom a daemon listens, in which way, and how that stands.
fn listens_to(host: &daemon::Host) -> Vec<(SubscriptionBinding, Hearing, SubscriptionState)> {
    let stands = |binding: SubscriptionBinding| {
        let hearing = host.hearing(&binding).unwrap_or_default();
        let state = host.subscription(&binding);
        (binding, hearing, state)
    };
    host.subscriptions().into_iter().map(stands).collect()
}

impl Happening {
    pub(crate) fn arrive(to: usize, from: NodeId, message: Message) -> Self {
        let entity = message.entity();
        Self::Arrive { to, entity, input: Box::new(Input::Message { from, message }) }
    }

    /// What it is, for people.
    fn name(&self) -> String {
        match self {
            Self::Arrive { to, input, .. } => format!("node {to} hears {input:?}"),
            Self::Report { node, input, .. } => format!("node {node} is told {input:?}"),
            Self::Wake { node, entity, .. } => format!("node {node} is woken for {entity}"),
            Self::Disk { node, .. } => format!("the disk of node {node}"),
            Self::Capture(capturing) => format!("node {} captures", capturing.node),
            Self::Restore(restoring) => format!("node {} restores", restoring.node),
            Self::Sweep(sweeping) => format!("node {} sweeps", sweeping.node),
            Self::Act(action) => format!("{action:?}"),
        }
    }

    /// The node that does nothing of it while it is paused.
    fn node(&self) -> Option<usize> {
        match self {
            Self::Arrive { to: node, .. }
            | Self::Report { node, .. }
            | Self::Disk { node, .. }
            | Self::Wake { node, .. } => Some(*node),
            Self::Capture(capturing) => Some(capturing.node),
            Self::Restore(restoring) => Some(restoring.node),
            Self::Sweep(sweeping) => Some(sweeping.node),
            Self::Act(_) => None,
        }
    }
}
