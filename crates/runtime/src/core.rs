//! Decides how the parts of a node find each other: cells by daemon, posts, moves, events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::broadcast;
use whimbrel_daemon::{Body, Requirements};
use whimbrel_members::{DetectorSettings, Roster, WORD_MARK};
use whimbrel_protocol::{Event, Input, Standing, Station, Ticket};
use whimbrel_wire::{
    EntityId, Kind, Message, MigrationFailureReason, MigrationMessage, NodeId, NodeKey, OriginHash,
    PublicKey, decode_frame, encode_frame,
};

use crate::alarms::Alarms;
use crate::bulk::Bulk;
use crate::cell::{Cell, Work};
use crate::chores::Chores;
use crate::claims::Claims;
use crate::clock::Clock;
use crate::config::{DaemonHostConfig, Durability};
use crate::crew::Crew;
use crate::handler::MigrationSubprotocolHandler;
use crate::hops::{self, Hops, How};
use crate::identity::{EnvelopeUnsealFn, unsealer};
use crate::kinds::Kinds;
use crate::link::{Answer, Inbound, Lane, LinkFault, Links, Members, Pause};
use crate::migration::Moves;
use crate::neighbours::Neighbours;
use crate::permits::Telling;
use crate::roster::Membership;
use crate::routes::Routes;
use crate::stealing::Stealing;
use crate::stores::Stores;
use crate::trace::Trace;
use crate::trust::Trust;
use crate::workers::Workers;

/// Events that a slow listener may fall behind before it misses some.
const EVENTS_KEPT: usize = 4_096;

/// Something that happened to a daemon, for people.
#[derive(Clone, Debug)]
pub struct RuntimeEvent {
    /// When, by the clock on the wall.
    pub at: SystemTime,
    /// To which daemon.
    pub entity: EntityId,
    /// What.
    pub event: Event,
}

/// What all parts of a node share.
pub(crate) struct Core {
    pub(crate) station: Arc<Station>,
    pub(crate) key: NodeKey,
    pub(crate) stores: Stores,
    pub(crate) members: Members,
    /// The links, from the opening of the node to its end.
    links: RwLock<Option<Links>>,
    closed: AtomicBool,
    pub(crate) tokio: OnceLock<tokio::runtime::Handle>,
    pub(crate) kinds: Kinds,
    pub(crate) tags: BTreeSet<String>,
    /// Where steps are written down, if that was asked for.
    pub(crate) trace: Option<Trace>,
    /// Where the moments of moves are noted, likewise.
    hops: Option<Hops>,
    pub(crate) claims: Claims,
    pub(crate) trust: Trust,
    pub(crate) telling: Telling,
    hosts: bool,
    leaving: AtomicBool,
    /// From the opening of the node on.
    pub(crate) membership: OnceLock<Membership>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) bulk: Bulk,
    /// Where turns are made that take long.
    pub(crate) heavy: Crew,
    pub(crate) stealing: Stealing,
    pub(crate) chores: Arc<Chores>,
    pub(crate) moves: Moves,
    pub(crate) neighbours: Neighbours,
    pub(crate) routes: Routes,
    /// Opens envelopes that are sealed to this node.
    pub(crate) unseal: EnvelopeUnsealFn,
    handler: RwLock<MigrationSubprotocolHandler>,
    pub(crate) clock: Clock,
    pub(crate) ready: AtomicBool,
    pub(crate) unready_on_purpose: AtomicBool,
    /// Daemons of which the store knows something: they are opened when the runtime starts.
    pub(crate) recorded: Mutex<BTreeSet<EntityId>>,
    cells: RwLock<Cells>,
    events: broadcast::Sender<RuntimeEvent>,
    tickets: AtomicU64,
}

/// The cells of a node.
#[derive(Default)]
struct Cells {
    by_entity: HashMap<EntityId, Arc<Cell>>,
    /// The same cells. Only those of forged identities share an index.
    by_origin: BTreeMap<OriginHash, Vec<Arc<Cell>>>,
}

/// What a core is made of.
pub(crate) struct Parts {
    pub(crate) station: Station,
    pub(crate) key: NodeKey,
    pub(crate) stores: Stores,
    pub(crate) members: Members,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) memory_bytes: u64,
    pub(crate) hosts: bool,
    pub(crate) recorded: BTreeSet<EntityId>,
    pub(crate) trace: Option<Trace>,
    pub(crate) hops: Option<Hops>,
    pub(crate) detector: DetectorSettings,
    pub(crate) seed: u64,
    pub(crate) trust: Trust,
    pub(crate) steals: bool,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { station, key, stores, members, tags, memory_bytes, hosts, .. } = parts;
        let Parts { recorded, trace, hops, detector, seed, trust, steals, .. } = parts;
        let clock = Clock::started();
        Self {
            neighbours: Neighbours::new(station.node(), seed, detector, clock.now()),
            station: Arc::new(station),
            unseal: unsealer(key.clone()),
            handler: RwLock::default(),
            key,
            stores,
            members,
            links: RwLock::default(),
            closed: AtomicBool::new(false),
            tokio: OnceLock::new(),
            kinds: Kinds::default(),
            tags,
            trace,
            hops,
            claims: Claims::new(memory_bytes),
            trust,
            telling: Telling::default(),
            hosts,
            leaving: AtomicBool::new(false),
            membership: OnceLock::new(),
            workers: Arc::default(),
            alarms: Arc::default(),
            bulk: Bulk::default(),
            heavy: Crew::default(),
            stealing: Stealing::new(steals),
            chores: Arc::default(),
            moves: Moves::default(),
            routes: Routes::default(),
            clock,
            ready: AtomicBool::new(false),
            unready_on_purpose: AtomicBool::new(false),
            recorded: Mutex::new(recorded),
            cells: RwLock::default(),
            events: broadcast::channel(EVENTS_KEPT).0,
            tickets: AtomicU64::new(1),
        }
    }

    /// What messages of moves go through.
    pub(crate) fn handler(&self) -> MigrationSubprotocolHandler {
        read(&self.handler).clone()
    }

    pub(crate) fn set_handler(&self, handler: MigrationSubprotocolHandler) {
        *self.handler.write().unwrap_or_else(PoisonError::into_inner) = handler;
    }

    pub(crate) fn node(&self) -> NodeId {
        self.station.node()
    }

    /// The links; none before the node is open and after it was closed.
    pub(crate) fn links(&self) -> Option<Links> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_links(&self, links: Option<Links>) -> Option<Links> {
        std::mem::replace(&mut *self.links.write().unwrap_or_else(PoisonError::into_inner), links)
    }

    /// Notes a moment, if somebody wants to know it.
    pub(crate) fn hop(&self, how: How, what: impl FnOnce() -> &'static str) {
        if let Some(hops) = &self.hops {
            hops.note(how, what());
        }
    }

    /// Nothing more is written down.
    pub(crate) fn end_trace(&self) {
        if let Some(trace) = &self.trace {
            trace.end();
        }
        if let Some(hops) = &self.hops {
            hops.end();
        }
    }

    /// Nothing is done any more: whoever waits for something is told by the end of its channel.
    pub(crate) fn abandon(&self) {
        self.closed.store(true, Ordering::Release);
        for cell in self.cells() {
            cell.abandon();
        }
        self.moves.abandon();
    }

    /// Whether this node takes daemons: not if it was told so, and not while it leaves.
    pub(crate) fn hosts(&self) -> bool {
        self.hosts && !self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::Release);
    }

    /// A fresh body for a daemon of `kind`, or why there can be none here.
    pub(crate) fn body(
        &self,
        entity: &EntityId,
        kind: &Kind,
    ) -> Result<Box<dyn Body>, MigrationFailureReason> {
        if !self.hosts {
            return Err(MigrationFailureReason::ComputeNotSupported);
        }
        self.kinds.build(entity, kind).ok_or(MigrationFailureReason::FactoryNotFound)
    }

    /// Whether this node carries every tag that is wanted.
    pub(crate) fn carries(&self, wanted: &Requirements) -> Result<(), String> {
        let missing: Vec<&str> = wanted.tags.difference(&self.tags).map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("this node lacks {}", missing.join(", ")))
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }

    pub(crate) fn tell(&self, entity: EntityId, event: Event) {
        if let Event::Warning(warning) = &event {
            tracing::warn!(%entity, ?warning, "dealt with");
            self.trust.saw_warning(entity, warning);
        }
        self.hop(How::Told, || hops::event(&event));
        self.moves.hear(&event);
        // Nobody listening is fine.
        drop(self.events.send(RuntimeEvent { at: SystemTime::now(), entity, event }));
    }

    /// The cell of a daemon that was mentioned here.
    pub(crate) fn known_cell(&self, entity: &EntityId) -> Option<Arc<Cell>> {
        read(&self.cells).by_entity.get(entity).cloned()
    }

    /// The cell of a daemon, made if need be.
    pub(crate) fn cell(&self, entity: EntityId) -> Arc<Cell> {
        if let Some(cell) = self.known_cell(&entity) {
            return cell;
        }
        let expected = self.kinds.expected(entity.origin_hash());
        self.cell_in(entity, expected.map(|known| known.config).unwrap_or_default())
    }

    /// The cell of a daemon, made to be hosted like this unless it is there.
    pub(crate) fn cell_in(&self, entity: EntityId, config: DaemonHostConfig) -> Arc<Cell> {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.by_entity.get(&entity) {
            return Arc::clone(cell);
        }
        let recorded = lock(&self.recorded).contains(&entity);
        let durability = if recorded { Durability::Durable } else { config.durability };
        let (station, store) = (self.station_for(&config), self.stores.of(durability));
        let cell = Arc::new(Cell::new(self, station, entity, store, !recorded));
        cells.by_entity.insert(entity, Arc::clone(&cell));
        cells.by_origin.entry(cell.origin()).or_default().push(Arc::clone(&cell));
        cell
    }

    /// The station as a daemon that is hosted like this sees it.
    fn station_for(&self, config: &DaemonHostConfig) -> Arc<Station> {
        if config.auto_snapshot_interval == self.station.settings.snapshot_every {
            return Arc::clone(&self.station);
        }
        let mut station = Station::clone(&self.station);
        station.settings.snapshot_every = config.auto_snapshot_interval;
        Arc::new(station)
    }

    /// Forgets a cell that knows nothing, so that it can be made anew with another store.
    pub(crate) fn forget_cell(&self, entity: &EntityId) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        let Some(cell) = cells.by_entity.remove(entity) else { return };
        if let Some(sharing) = cells.by_origin.get_mut(&cell.origin()) {
            sharing.retain(|other| other.entity() != *entity);
        }
    }

    /// How many daemons live here. Those that were stopped do not count.
    pub(crate) fn daemons_here(&self) -> usize {
        let lives = |cell: &Arc<Cell>| cell.look(|inner| lives_here(&inner.seat.status().standing));
        self.cells().iter().filter(|cell| lives(cell)).count()
    }

    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        let mut cells: Vec<Arc<Cell>> = read(&self.cells).by_entity.values().cloned().collect();
        cells.sort_by_key(|cell| cell.entity());
        cells
    }

    /// The daemons with this index.
    pub(crate) fn by_origin(&self, origin: OriginHash) -> Vec<Arc<Cell>> {
        read(&self.cells).by_origin.get(&origin).cloned().unwrap_or_default()
    }

    /// The daemon with this index; without one, how many there are.
    pub(crate) fn sole(&self, origin: OriginHash) -> Result<Arc<Cell>, usize> {
        match read(&self.cells).by_origin.get(&origin).map(Vec::as_slice) {
            Some([cell]) => Ok(Arc::clone(cell)),
            Some(cells) => Err(cells.len()),
            None => Err(0),
        }
    }

    /// Gives a cell something to do, on a worker.
    pub(crate) fn post(&self, cell: &Arc<Cell>, work: Work) {
        if !self.closed.load(Ordering::Acquire) && cell.push(work) {
            self.workers.schedule(Arc::clone(cell));
        }
    }

    /// Sends a message to another node. What does not get through is sent again by the machines.
    pub(crate) fn send(&self, to: NodeId, message: &Message) {
        let lane = lane(message);
        self.hop(How::Said, || hops::message(message));
        if let Message::Migration(_) = message {
            self.handler().outbound(to, message);
            self.trust.saw_refusal(to, message);
        }
        match (encode_frame(message), self.links()) {
            (Ok(frame), Some(links)) => {
                if let Err(error) = links.send(to, lane, frame) {
                    tracing::debug!(%to, %error, "not sent");
                }
            }
            (Err(error), _) => tracing::error!(%to, %error, "a message does not fit a frame"),
            (Ok(_), None) => {}
        }
    }

    pub(crate) fn broadcast(&self, message: &Message) {
        for node in self.members.nodes() {
            if node != self.node() {
                self.send(node, message);
            }
        }
    }
}

/// The way in from the links. It keeps no node alive that people have dropped.
pub(crate) struct Inlet(pub(crate) Weak<Core>);

impl Inbound for Inlet {
    fn frame(&self, from: NodeId, _lane: Lane, frame: Bytes) -> Option<Pause> {
        let core = self.0.upgrade()?;
        if frame.first() == Some(&WORD_MARK) {
            core.neighbours.hear(&core, from, &frame);
            return None;
        }
        match decode_frame(&frame) {
            Ok(message) => {
                core.hop(How::Heard, || hops::message(&message));
                if let Message::Migration(envelope) = &message {
                    core.handler().inbound(from, envelope);
                    core.moves.listen(from, envelope);
                }
                core.routes.hear(&message);
                let cell = core.cell(message.entity());
                core.post(&cell, Work::Input(Input::Message { from, message }));
            }
            Err(error) => {
                tracing::warn!(%from, %error, "a frame was refused");
                core.trust.saw_frame(from, &error);
            }
        }
        None
    }

    fn datagram(&self, from: NodeId, datagram: Bytes) {
        if let Some(core) = self.0.upgrade() {
            core.neighbours.hear(&core, from, &datagram);
        }
    }

    fn is_open_to_guests(&self) -> bool {
        let core = self.0.upgrade();
        core.is_some_and(|core| {
            core.membership().is_some_and(|membership| membership.look(Roster::may_invite))
        })
    }

    fn guest(&self, from: SocketAddr, key: PublicKey, request: Bytes) -> Answer {
        let core = self.0.upgrade();
        Box::pin(async move {
            let core = core?;
            // It waits for the disk.
            let answer = tokio::task::spawn_blocking(move || {
                core.membership().map(|membership| membership.guest(&core, from, key, &request))
            });
            answer.await.ok()?
        })
    }

    fn link_up(&self, peer: NodeId) {
        tracing::debug!(%peer, "link up");
        if let Some(core) = self.0.upgrade() {
            core.neighbours.link_up(&core, peer);
        }
    }

    fn link_down(&self, peer: NodeId) {
        tracing::debug!(%peer, "link down");
    }

    fn link_fault(&self, peer: NodeId, fault: LinkFault) {
        tracing::warn!(%peer, %fault, "link fault");
        if let Some(core) = self.0.upgrade() {
            core.trust.saw_fault(peer, &fault);
        }
    }

    fn stranger(&self, from: SocketAddr, why: &str) {
        if let Some(core) = self.0.upgrade() {
            core.trust.saw_stranger(from, why);
        }
    }
}

fn lives_here(standing: &Standing) -> bool {
    matches!(standing, Standing::Opening | Standing::Live | Standing::Frozen | Standing::Parked(_))
}

/// Votes and deeds must not wait behind events, nor these behind chunks.
const fn lane(message: &Message) -> Lane {
    match message {
        Message::Delivery { .. } => Lane::Events,
        Message::Title { .. } => Lane::Control,
        Message::Migration(envelope) => match &envelope.message {
            MigrationMessage::SnapshotReady { chunk_index: 1.., .. } => Lane::Bulk,
            MigrationMessage::SnapshotReady { .. }
            | MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::RestoreComplete { .. }
            | MigrationMessage::ReplayComplete { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::CleanupComplete { .. }
            | MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::BufferedEvents { .. }
            | MigrationMessage::ActivateTarget { .. }
            | MigrationMessage::ActivateAck { .. }
            | MigrationMessage::ChunksWanted { .. }
            | MigrationMessage::Progressed { .. }
            | MigrationMessage::Cancel { .. } => Lane::Control,
        },
    }
}

/// The guard of a mutex. A thread that panicked left data that the next step checks anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(guarded: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    guarded.read().unwrap_or_else(PoisonError::into_inner)
}
