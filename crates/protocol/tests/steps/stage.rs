//! Two or three seats of one daemon, and a driver that does what they ask one item at a time.
//!
//! A test says by a rule what becomes of each item: it is done, held back, lost or done twice. So
//! every interleaving can be driven by hand and what the seats ask for compared as values. After
//! each step the invariants that can be seen from outside are checked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_protocol::{
    Append, Capture, DeliverError, Event, Input, MoveError, MoveOptions, Output, ReclaimError,
    ReplayStep, Restored, SaveTicket, Seat, SendError, Settings, SpawnError, Standing, Station,
    Ticket, TurnFailure, Turned, Unprepared, Warning,
};
use whimbrel_store::{Chunks, Journal, Memory, MemoryChunks, Titles};
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, ChunkList, ChunkRef, ClientId, Deed, EntityId, Epoch,
    Head, Holding, Identity, Kind, Ledger, Luggage, Manifest, Message, MigrationEnvelope,
    MigrationFailureReason, MigrationMessage, NodeId, NodeKey, Position, Role, SeatRecord,
    SignedDeed, StateRef, StateVersion, StoreId, Time, Turn, Write, WriteError, decode, encode,
};

use crate::counter::Counter;

/// The nodes of a stage.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;

/// The attempt of the first move of a test.
pub(crate) const MOVE: AttemptId = AttemptId::new(0xa1);

/// More items than any step brings about: beyond it something goes round in circles.
const ITEMS_MAX: usize = 20_000;

/// Something that waits to be done.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message { from: usize, to: usize, message: Message },
    Save { node: usize, ticket: SaveTicket, write: Write },
    Read { node: usize },
    Turns { node: usize, copy: AttemptId, after: Position, count: usize, bytes: usize },
    Report { node: usize, input: Input },
}

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Do,
    Hold,
    Lose,
    Twice,
}

/// What becomes of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    Failed,
    UnknownDone,
    UnknownLost,
}

/// How a delivery went the short way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// It had to go the long way.
    No,
    Answered,
    Failed,
    NotSaved,
}

/// What a seat asked for.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) node: usize,
    pub(crate) output: Output,
}

/// One node.
pub(crate) struct Node {
    pub(crate) seat: Seat,
    pub(crate) key: NodeKey,
    pub(crate) store: StoreId,
    pub(crate) memory: Memory,
    chunks: Arc<MemoryChunks>,
    pub(crate) copies: BTreeMap<AttemptId, Counter>,
    station: Arc<Station>,
    title_length: usize,
    /// How this node judges offers, and what else can go wrong on it.
    pub(crate) admits: Result<(), MigrationFailureReason>,
    pub(crate) restores: Result<(), MigrationFailureReason>,
    pub(crate) seals: Result<(), String>,
    pub(crate) lists: Result<(), String>,
    pub(crate) saves_chunks: Result<(), String>,
    pub(crate) drift: u64,
    /// Whether the daemon may leave from here, and whether its state may go on here.
    pub(crate) prepares: Result<(), Unprepared>,
    pub(crate) judges: Result<(), MigrationFailureReason>,
}

impl Fate {
    /// What is said of a save that the store ended like this.
    fn end(self, done: Result<(), WriteError>) -> Result<(), WriteError> {
        match self {
            Self::Good => done,
            Self::Failed => Err(WriteError::Failed("the disk is full".to_owned())),
            Self::UnknownDone | Self::UnknownLost => {
                Err(WriteError::Unknown("the answer was lost".to_owned()))
            }
        }
    }
}

type Rule = Box<dyn FnMut(&mut Item) -> Course>;
type Fates = Box<dyn FnMut(usize, &Write) -> Fate>;

/// All of it.
pub(crate) struct Stage {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Time,
    pub(crate) seen: Vec<Seen>,
    identity: Identity,
    queue: VecDeque<Item>,
    held: VecDeque<Item>,
    rule: Rule,
    fates: Fates,
    tickets: u64,
    /// On the short way turns are said to be saved and are not.
    pub(crate) loses_appends: bool,
}

impl Node {
    fn new(seed: u8, settings: Settings, entity: EntityId) -> Self {
        let key = NodeKey::from_seed(&[seed; 32]);
        let store = StoreId::new(u128::from(seed));
        let chunks = Arc::new(MemoryChunks::new());
        let shared: Arc<dyn Chunks> = chunks.clone();
        let station = Arc::new(Station::new(key.clone(), store, settings));
        Self {
            seat: Seat::new(station.clone(), entity),
            key,
            store,
            memory: Memory::new(store, Some(shared)),
            chunks,
            copies: BTreeMap::new(),
            station,
            title_length: 0,
            admits: Ok(()),
            restores: Ok(()),
            seals: Ok(()),
            lists: Ok(()),
            saves_chunks: Ok(()),
            drift: 0,
            prepares: Ok(()),
            judges: Ok(()),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.node_id()
    }

    fn put(&self, bytes: Vec<u8>) -> ChunkRef {
        let chunk = ChunkRef::of(&bytes);
        self.chunks.put(&[(chunk, bytes.into())]).unwrap();
        chunk
    }

    pub(crate) fn get(&self, chunk: &ChunkRef) -> Bytes {
        self.chunks.get(&chunk.digest).unwrap().unwrap()
    }

    fn sum(&self, chunk: &ChunkRef) -> u64 {
        decode(&self.get(chunk)).unwrap()
    }

    fn luggage(&self, chunk: &ChunkRef) -> Luggage {
        decode(&self.get(chunk)).unwrap()
    }

    /// Three chunks in a list: the sum, and two that say nothing.
    fn manifest(&self, entity: EntityId, copy: &Counter, capture: &Capture) -> Manifest {
        let pieces = vec![
            self.put(encode(&copy.sum)),
            self.put(b"the first ballast".to_vec()),
            self.put(b"the second ballast".to_vec()),
        ];
        let bytes = pieces.iter().map(|chunk| u64::from(chunk.bytes)).sum();
        let list = self.put(encode(&ChunkList(pieces)));
        let luggage = Luggage { ledger: capture.ledger.clone(), ..Luggage::default() };
        Manifest {
            entity,
            kind: Kind::new("counter").unwrap(),
            version: StateVersion::new(1),
            epoch: capture.epoch,
            head: capture.head,
            last: copy.last,
            time: Time::ZERO,
            state: StateRef { bytes, chunks: 3, lists: vec![list] },
            luggage: vec![self.put(encode(&luggage))],
        }
    }

    fn pieces(&self, lists: &[ChunkRef]) -> Vec<ChunkRef> {
        let lists = lists.iter().map(|list| decode::<ChunkList>(&self.get(list)).unwrap().0);
        lists.flatten().collect()
    }
}

impl Stage {
    /// Nodes that have read their empty records, with what differs from the default settings.
    pub(crate) fn with(count: usize, settings: Settings) -> Self {
        let identity = Identity::from_seed(&[9; 32]);
        let entity = identity.entity_id();
        let node = |index| Node::new(index as u8 + 1, settings.clone(), entity);
        let mut stage = Self {
            nodes: (0..count).map(node).collect(),
            now: Time::from_nanos(1_000_000_000),
            seen: Vec::new(),
            identity,
            queue: VecDeque::new(),
            held: VecDeque::new(),
            rule: Box::new(|_| Course::Do),
            fates: Box::new(|_, _| Fate::Good),
            tickets: 0,
            loses_appends: false,
        };
        for node in 0..count {
            stage.open(node);
        }
        stage.run();
        stage
    }

    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, Settings::default())
    }

    /// A stage whose daemon was born on `A`.
    pub(crate) fn born(count: usize) -> Self {
        let mut stage = Self::new(count);
        stage.spawn(A);
        stage
    }

    pub(crate) fn entity(&self) -> EntityId {
        self.identity.entity_id()
    }

    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id()
    }

    fn open(&mut self, node: usize) {
        let mut out = Vec::new();
        self.nodes[node].seat.open(self.now, &mut out);
        self.perform_all(node, out);
    }

    /// The node dies and starts again: what is on its disk is all that it has.
    pub(crate) fn restart(&mut self, node: usize) {
        let of_node = |item: &Item| match item {
            Item::Message { .. } => false,
            Item::Save { node: of, .. }
            | Item::Read { node: of }
            | Item::Turns { node: of, .. }
            | Item::Report { node: of, .. } => *of == node,
        };
        self.queue.retain(|item| !of_node(item));
        self.held.retain(|item| !of_node(item));
        let entity = self.entity();
        let place = &mut self.nodes[node];
        place.copies.clear();
        place.title_length = 0;
        place.seat = Seat::new(place.station.clone(), entity);
        self.open(node);
        self.run();
    }

    pub(crate) fn rule(&mut self, rule: impl FnMut(&mut Item) -> Course + 'static) {
        self.rule = Box::new(rule);
    }

    /// Holds back what `which` names.
    pub(crate) fn hold(&mut self, which: impl Fn(&Item) -> bool + 'static) {
        self.rule(move |item| if which(item) { Course::Hold } else { Course::Do });
    }

    /// Loses what `which` names.
    pub(crate) fn lose(&mut self, which: impl Fn(&Item) -> bool + 'static) {
        self.rule(move |item| if which(item) { Course::Lose } else { Course::Do });
    }

    /// Does what was held back, and whatever follows.
    pub(crate) fn release(&mut self) {
        self.rule(|_| Course::Do);
        self.queue.append(&mut self.held);
        self.run();
    }

    /// What was held back, for a test that wants it in another order.
    pub(crate) fn take_held(&mut self) -> Vec<Item> {
        self.held.drain(..).collect()
    }

    pub(crate) fn fates(&mut self, fates: impl FnMut(usize, &Write) -> Fate + 'static) {
        self.fates = Box::new(fates);
    }

    /// Does one item, past any rule, and all that follows.
    pub(crate) fn put(&mut self, item: Item) {
        self.act(item);
        self.run();
    }

    /// Does everything that waits and is not held back.
    pub(crate) fn run(&mut self) {
        for _ in 0..ITEMS_MAX {
            let Some(mut item) = self.queue.pop_front() else { return };
            match (self.rule)(&mut item) {
                Course::Do => self.act(item),
                Course::Hold => self.held.push_back(item),
                Course::Lose => {}
                Course::Twice => {
                    self.act(item.clone());
                    self.act(item);
                }
            }
        }
        panic!("it goes round in circles");
    }

    /// Lets time pass, waking seats when they want to be woken.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.nodes.iter().filter_map(|node| node.seat.wake_at()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now + Duration::from_millis(1));
            for node in 0..self.nodes.len() {
                if self.nodes[node].seat.wake_at().is_some_and(|at| at <= self.now) {
                    self.feed(node, Input::Woke);
                }
            }
        }
        self.now = self.now.max(end);
    }

    /// Gives a seat an input and does all that follows.
    pub(crate) fn feed(&mut self, node: usize, input: Input) {
        self.step(node, input);
        self.run();
    }

    fn step(&mut self, node: usize, input: Input) {
        let mut out = Vec::new();
        self.nodes[node].seat.handle(self.now, input, &mut out);
        self.check();
        self.perform_all(node, out);
    }

    fn perform_all(&mut self, node: usize, out: Vec<Output>) {
        for output in out {
            self.seen.push(Seen { node, output: output.clone() });
            self.perform(node, output);
        }
    }

    fn act(&mut self, item: Item) {
        match item {
            Item::Message { from, to, message } => {
                let from = self.id(from);
                self.step(to, Input::Message { from, message });
            }
            Item::Report { node, input } => self.step(node, input),
            Item::Read { node } => {
                let entity = self.entity();
                let record = self.nodes[node].memory.record(&entity);
                self.report(node, Input::Read(record.map_err(|error| error.to_string())));
            }
            Item::Turns { node, copy, after, count, bytes } => {
                let entity = self.entity();
                let turns = self.nodes[node].memory.turns(&entity, copy, after, count, bytes);
                let result = turns.map_err(|error| error.to_string());
                self.report(node, Input::TurnsRead { copy, after, result });
            }
            Item::Save { node, ticket, write } => {
                let result = self.save(node, &write);
                self.report(node, Input::Saved { ticket, result });
            }
        }
    }

    fn save(&mut self, node: usize, write: &Write) -> Result<(), WriteError> {
        let fate = (self.fates)(node, write);
        let done = match fate {
            Fate::Failed | Fate::UnknownLost => Ok(()),
            Fate::Good | Fate::UnknownDone => {
                self.nodes[node].memory.commit(std::slice::from_ref(write)).remove(0)
            }
        };
        fate.end(done)
    }

    fn report(&mut self, node: usize, input: Input) {
        self.queue.push_back(Item::Report { node, input });
    }

    fn say(&mut self, from: usize, to: NodeId, message: Message) {
        let Some(to) = (0..self.nodes.len()).find(|node| self.id(*node) == to) else { return };
        self.queue.push_back(Item::Message { from, to, message });
    }

    fn perform(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.say(node, to, message),
            Output::Broadcast { message } => {
                for to in (0..self.nodes.len()).filter(|to| *to != node) {
                    self.say(node, self.id(to), message.clone());
                }
            }
            Output::SendPiece { to, mut message, chunk } => {
                if let Message::Migration(envelope) = &mut message
                    && let MigrationMessage::SnapshotReady { snapshot_bytes, .. } =
                        &mut envelope.message
                {
                    *snapshot_bytes = self.nodes[node].get(&chunk);
                }
                self.say(node, to, message);
            }
            Output::Read => self.queue.push_back(Item::Read { node }),
            Output::Save { ticket, write } => {
                self.queue.push_back(Item::Save { node, ticket, write });
            }
            Output::ReadTurns { copy, after, count, bytes } => {
                self.queue.push_back(Item::Turns { node, copy, after, count, bytes });
            }
            Output::DropCopy { copy } => {
                self.nodes[node].copies.remove(&copy);
            }
            // Other daemons, callers and people: a test looks at what was seen.
            Output::WipeKey
            | Output::Post { .. }
            | Output::Recall { .. }
            | Output::Posted { .. }
            | Output::Spawned { .. }
            | Output::Delivered { .. }
            | Output::Sent { .. }
            | Output::SnapshotTaken { .. }
            | Output::Stopped { .. }
            | Output::Reclaimed { .. }
            | Output::Event(_) => {}
            output => {
                let input = self.work(node, output);
                self.report(node, input);
            }
        }
    }

    /// Does what takes a while, and says how it ended.
    fn work(&mut self, node: usize, output: Output) -> Input {
        let entity = self.entity();
        match output {
            Output::Turn { copy, epoch, origin, event, .. } => {
                let counter = self.nodes[node].copies.get_mut(&copy);
                let result = counter
                    .ok_or(TurnFailure::NoCopy)
                    .and_then(|counter| counter.turn(epoch, &origin, &event));
                Input::Turned { copy, result }
            }
            Output::Replay { copy, steps } => {
                let result = self.replay(node, copy, &steps);
                Input::Replayed { copy, result }
            }
            Output::Restore { copy, manifest, .. } => {
                let result = self.restore(node, copy, &manifest);
                Input::Restored { copy, result }
            }
            Output::Capture(capture) => {
                let place = &self.nodes[node];
                let copy = capture.copy;
                let counter = &place.copies[&copy];
                assert_eq!(counter.head, capture.head, "a snapshot between two turns");
                let result = Ok(place.manifest(entity, counter, &capture));
                Input::Captured { copy, result }
            }
            Output::Digest { copy } => {
                let state = self.nodes[node].copies[&copy].digest();
                Input::Digested { copy, state }
            }
            Output::Judge { copy } => {
                let place = &self.nodes[node];
                let state = place.copies[&copy].digest();
                Input::Judged { copy, state, verdict: place.judges.clone().map(|()| None) }
            }
            Output::Prepare { attempt, .. } => {
                Input::Prepared { attempt, result: self.nodes[node].prepares.clone() }
            }
            Output::ReadPieces { attempt, lists } => {
                let place = &self.nodes[node];
                let result = place.lists.clone().map(|()| place.pieces(&lists));
                Input::PiecesRead { attempt, result }
            }
            Output::FindMissing { attempt, chunks } => {
                let missing = self.nodes[node].chunks.missing(&chunks).unwrap();
                let result = Ok(missing.into_iter().map(|index| index as u32).collect());
                Input::MissingFound { attempt, result }
            }
            Output::SaveChunk { attempt, chunk, bytes } => {
                let place = &self.nodes[node];
                // The digest was checked before: a store that believes it is asked for enough.
                let put = place.chunks.put(&[(chunk, bytes)]).map_err(|error| error.to_string());
                let result = place.saves_chunks.clone().and(put);
                Input::ChunkSaved { attempt, chunk, result }
            }
            Output::Seal { attempt, .. } => {
                let sealed = self.nodes[node].seals.clone();
                let result = sealed.map(|()| Bytes::from_static(b"sealed"));
                Input::Sealed { attempt, result }
            }
            Output::Admit { attempt, .. } => {
                let result = self.nodes[node].admits.clone();
                Input::Admitted { attempt, result }
            }
            _ => panic!("no work: {output:?}"),
        }
    }

    fn replay(
        &mut self,
        node: usize,
        copy: AttemptId,
        steps: &[ReplayStep],
    ) -> Result<Vec<Turned>, TurnFailure> {
        let place = &mut self.nodes[node];
        let counter = place.copies.get_mut(&copy).ok_or(TurnFailure::NoCopy)?;
        let mut turned = Vec::new();
        for step in steps {
            match step {
                ReplayStep::Deed { deed, .. } => counter.head = counter.head.through_deed(deed),
                ReplayStep::Turn(Turn { event, stamp }) => {
                    turned.push(counter.turn(stamp.epoch, &stamp.origin, event)?);
                }
            }
        }
        Ok(turned)
    }

    fn restore(
        &mut self,
        node: usize,
        copy: AttemptId,
        manifest: &Manifest,
    ) -> Result<Restored, MigrationFailureReason> {
        let origin = self.identity.origin_hash();
        let place = &mut self.nodes[node];
        place.restores.clone()?;
        let pieces = place.pieces(&manifest.state.lists);
        let sum = place.sum(&pieces[0]);
        let luggage = place.luggage(&manifest.luggage[0]);
        let (head, last, drift) = (manifest.head, manifest.last, place.drift);
        place.copies.insert(copy, Counter { origin, head, last, sum, drift });
        let (ledger, next_timer) = (luggage.ledger, None);
        Ok(Restored { ledger, next_timer, catch_up: CatchUp::Replay, evolves: false })
    }

    /// What must be true of every seat after every step, as far as it shows outside.
    fn check(&mut self) {
        for node in 0..self.nodes.len() {
            self.one_owner(node);
            self.verified_title(node);
            self.tombstones_stay(node);
        }
    }

    /// A seat owns only by the newest deed of its title, for its node and its store.
    fn one_owner(&self, node: usize) {
        let place = &self.nodes[node];
        let owns = match place.seat.status().standing {
            Standing::Opening
            | Standing::Live
            | Standing::Frozen
            | Standing::Parked(_)
            | Standing::Stopped => true,
            Standing::Reading
            | Standing::Stranger
            | Standing::Bearing
            | Standing::Departed
            | Standing::Deleted
            | _ => false,
        };
        let mine = place.seat.title().last().is_some_and(|signed| {
            signed.deed.to == place.key.public() && signed.deed.store == place.store
        });
        assert!(!owns || mine, "node {node} owns without a deed: {:?}", place.seat.status());
    }

    /// The first deed is the birth, each other one follows the one before it.
    fn verified_title(&self, node: usize) {
        let place = &self.nodes[node];
        let deeds = place.seat.title().deeds();
        if deeds.len() == place.title_length {
            return;
        }
        if let Some(first) = deeds.first() {
            assert_eq!(first.verify_birth(&self.entity()), Ok(()));
        }
        for pair in deeds.windows(2) {
            assert_eq!(pair[1].verify_after(&pair[0]), Ok(()));
        }
    }

    /// A title never shrinks.
    fn tombstones_stay(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        let length = place.seat.title().deeds().len();
        assert!(place.title_length <= length, "the title of node {node} shrank");
        place.title_length = length;
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// What a birth on `node` is made of.
    pub(crate) fn birth(&self, node: usize) -> (SignedDeed, Manifest, Counter) {
        let place = &self.nodes[node];
        let attempt = AttemptId::new(1);
        let birth = Deed::birth(&self.identity, place.key.public(), place.store, attempt);
        let head = Head::newborn(&self.entity(), &birth.digest());
        let origin = self.identity.origin_hash();
        let counter = Counter { origin, head, last: None, sum: 0, drift: 0 };
        let ledger = Ledger::default();
        let capture = Capture { copy: attempt, epoch: Epoch::FIRST, head, ledger };
        let manifest = place.manifest(self.entity(), &counter, &capture);
        (birth, manifest, counter)
    }

    pub(crate) fn spawn(&mut self, node: usize) {
        let ticket = self.ticket();
        let (birth, manifest, counter) = self.birth(node);
        self.nodes[node].copies.insert(birth.deed.attempt, counter);
        let (birth, manifest) = (Box::new(birth), Box::new(manifest));
        let (wall, catch_up) = (Time::ZERO, CatchUp::Replay);
        self.feed(node, Input::Spawn { ticket, birth, manifest, wall, catch_up, next_timer: None });
    }

    /// Somebody at `node` has the daemon brought back from its birth; how that ended is in [`Stage::spawned`].
    pub(crate) fn revive(&mut self, node: usize) -> Ticket {
        let ticket = self.ticket();
        let last = self.nodes[node].seat.title().last().cloned().unwrap();
        let (_, manifest, _) = self.birth(node);
        let manifest = Manifest { epoch: last.deed.epoch, ..manifest };
        let here = (self.nodes[node].key.public(), self.nodes[node].store);
        let attempt = AttemptId::new(0xbac);
        let birth = Deed::revival(&self.identity, &last, here, attempt, &manifest);
        let (birth, manifest) = (Box::new(birth), Box::new(manifest));
        let (wall, catch_up) = (Time::ZERO, CatchUp::Replay);
        self.feed(node, Input::Spawn { ticket, birth, manifest, wall, catch_up, next_timer: None });
        ticket
    }

    pub(crate) fn spawned(&self, ticket: Ticket) -> Vec<Result<(), SpawnError>> {
        let ends = self.seen.iter().filter_map(|seen| match &seen.output {
            Output::Spawned { ticket: of, result } if *of == ticket => Some(result.clone()),
            _ => None,
        });
        ends.collect()
    }

    /// A caller on `node` delivers `payload`; the answer is in [`Stage::delivered`].
    pub(crate) fn deliver(&mut self, node: usize, payload: &'static str) -> Ticket {
        let ticket = self.ticket();
        let payload = Bytes::from_static(payload.as_bytes());
        let event = CausalEvent::unchained(self.identity.origin_hash(), 1, payload);
        self.feed(node, Input::Deliver { ticket, event });
        ticket
    }

    /// The same, the short way if the seat lets it go.
    pub(crate) fn deliver_short(&mut self, node: usize, payload: &'static str) -> Short {
        let bytes = Bytes::from_static(payload.as_bytes());
        let event = CausalEvent::unchained(self.identity.origin_hash(), 1, bytes);
        let Self { nodes, fates, now, tickets, loses_appends, seen, .. } = self;
        let Node { seat, copies, memory, .. } = &mut nodes[node];
        let mut out = Vec::new();
        let Some(rest) = seat.at_rest(*now, &event, &mut out) else {
            self.deliver(node, payload);
            return Short::No;
        };
        *tickets += 1;
        let ticket = Ticket(*tickets);
        let counter = copies.get_mut(&rest.copy()).unwrap();
        let (way, delivered) = match counter.turn(rest.epoch(), &rest.origin(), &event) {
            Err(failure) => {
                rest.failed(ticket, &failure);
                (Short::Failed, None)
            }
            Ok(turned) => {
                let (unsaved, append) = rest.made(turned);
                let fate = fates(node, &append.clone().into());
                let Append { entity, epoch, after, turn } = append;
                let done = matches!(fate, Fate::Good | Fate::UnknownDone) && !*loses_appends;
                let saved = if done { memory.append(&entity, epoch, after, turn) } else { Ok(()) };
                match fate.end(saved) {
                    Ok(()) => (Short::Answered, Some(Ok(unsaved.saved()))),
                    Err(error) => {
                        unsaved.not_saved(ticket, error);
                        (Short::NotSaved, None)
                    }
                }
            }
        };
        let output = delivered.map(|result| Output::Delivered { ticket, result });
        seen.extend(output.map(|output| Seen { node, output }));
        self.check();
        self.perform_all(node, out);
        self.run();
        way
    }

    /// A client on `node` sends `payload` to wherever the daemon lives.
    pub(crate) fn send(&mut self, node: usize, payload: &'static str) -> Ticket {
        let ticket = self.ticket();
        let payload = Bytes::from_static(payload.as_bytes());
        self.feed(node, Input::Send { ticket, client: ClientId::new(5), payload });
        ticket
    }

    pub(crate) fn start_move(&mut self, asker: usize, to: usize, options: MoveOptions) {
        let (attempt, target) = (MOVE, self.id(to));
        self.feed(asker, Input::Move { attempt, source: None, target, options });
    }

    /// A message of a move, as `from` would say it. No rule stands in its way.
    pub(crate) fn migration(
        &mut self,
        from: usize,
        to: usize,
        role: Role,
        message: MigrationMessage,
    ) {
        let (entity, attempt, epoch) = (self.entity(), MOVE, Epoch::FIRST);
        let envelope = MigrationEnvelope { entity, attempt, epoch, role, message };
        let message = Message::Migration(envelope);
        self.put(Item::Message { from, to, message });
    }

    pub(crate) fn standing(&self, node: usize) -> Standing {
        self.nodes[node].seat.status().standing
    }

    pub(crate) fn record(&mut self, node: usize) -> SeatRecord {
        let entity = self.entity();
        self.nodes[node].memory.record(&entity).unwrap()
    }

    /// The turns on the disk of `node`, of whichever copy it holds or held for the daemon.
    pub(crate) fn journal(&mut self, node: usize) -> Vec<Turn> {
        let entity = self.entity();
        let (Holding::Owned(copy) | Holding::HandedOver(copy)) = self.record(node).holding else {
            return Vec::new();
        };
        let after = copy.manifest.head.position;
        let memory = &mut self.nodes[node].memory;
        memory.turns(&entity, copy.attempt, after, usize::MAX, usize::MAX).unwrap()
    }

    /// The payloads that the daemon has taken in from senders, as the journal has them.
    pub(crate) fn taken(&mut self, node: usize) -> Vec<String> {
        let turns = self.journal(node).into_iter().map(|turn| turn.event.payload);
        let said = turns.filter(|payload| !payload.is_empty());
        said.map(|payload| String::from_utf8(payload.to_vec()).unwrap()).collect()
    }

    fn outputs(&self, of: usize) -> impl Iterator<Item = &Output> {
        self.seen.iter().filter(move |seen| seen.node == of).map(|seen| &seen.output)
    }

    pub(crate) fn events(&self, node: usize) -> Vec<Event> {
        let events = self.outputs(node).filter_map(|output| match output {
            Output::Event(event) => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    pub(crate) fn warnings(&self, node: usize) -> Vec<Warning> {
        let warnings = self.events(node).into_iter().filter_map(|event| match event {
            Event::Warning(warning) => Some(warning),
            _ => None,
        });
        warnings.collect()
    }

    /// How the moves that `node` asked for have ended.
    pub(crate) fn ends(&self, node: usize) -> Vec<Result<NodeId, MigrationFailureReason>> {
        let ends = self.events(node).into_iter().filter_map(|event| match event {
            Event::MoveEnded { result, .. } => {
                Some(result.map(|deed| deed.deed.owner()).map_err(|MoveError { reason }| reason))
            }
            _ => None,
        });
        ends.collect()
    }

    /// What `node` said in moves, in order.
    pub(crate) fn said(&self, node: usize) -> Vec<MigrationMessage> {
        let said = self.outputs(node).filter_map(|output| match output {
            Output::Send { message: Message::Migration(envelope), .. } => {
                Some(envelope.message.clone())
            }
            _ => None,
        });
        said.collect()
    }

    /// What `node` asked its store for, in order.
    pub(crate) fn asked(&self, node: usize) -> Vec<Write> {
        let writes = self.outputs(node).filter_map(|output| match output {
            Output::Save { write, .. } => Some(write.clone()),
            _ => None,
        });
        writes.collect()
    }

    pub(crate) fn hand_overs(&self, node: usize) -> Vec<SignedDeed> {
        let deeds = self.asked(node).into_iter().filter_map(|write| match write {
            Write::HandOver { deed } => Some(deed),
            _ => None,
        });
        deeds.collect()
    }

    /// The answer to a delivery: the sum that the daemon then said.
    pub(crate) fn delivered(&self, ticket: Ticket) -> Vec<Result<String, DeliverError>> {
        let answers = self.seen.iter().filter_map(|seen| match seen {
            Seen { output: Output::Delivered { ticket: of, result }, .. } if *of == ticket => {
                Some(result.clone().map(|answer| sum(&answer)))
            }
            _ => None,
        });
        answers.collect()
    }

    /// The answer to a client.
    pub(crate) fn answered(&self, ticket: Ticket) -> Vec<Result<String, SendError>> {
        let answers = self.seen.iter().filter_map(|seen| match seen {
            Seen { output: Output::Sent { ticket: of, result }, .. } if *of == ticket => {
                Some(result.clone().map(|answer| sum(&answer)))
            }
            _ => None,
        });
        answers.collect()
    }

    /// How the taking back that was asked for has ended.
    pub(crate) fn reclaimed(&self, ticket: Ticket) -> Vec<Result<(), ReclaimError>> {
        let ends = self.seen.iter().filter_map(|seen| match &seen.output {
            Output::Reclaimed { ticket: of, result } if *of == ticket => Some(result.clone()),
            _ => None,
        });
        ends.collect()
    }

    /// An operator on `node` wants the daemon back.
    pub(crate) fn reclaim(&mut self, node: usize) -> Ticket {
        let ticket = self.ticket();
        self.feed(node, Input::Reclaim { ticket, attempt: AttemptId::new(0x7ec) });
        ticket
    }

    /// The node gets a new disk and starts again.
    pub(crate) fn wipe(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        place.store = StoreId::new(0x5707);
        place.chunks = Arc::new(MemoryChunks::new());
        let shared: Arc<dyn Chunks> = place.chunks.clone();
        place.memory = Memory::new(place.store, Some(shared));
        let settings = place.station.settings.clone();
        place.station = Arc::new(Station::new(place.key.clone(), place.store, settings));
        self.restart(node);
    }

    /// Forgets what was seen so far.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }
}

fn sum(answer: &Answer) -> String {
    let said = answer.outputs.iter().map(|output| output.payload.to_vec());
    said.map(|payload| String::from_utf8(payload).unwrap()).collect()
}

impl Item {
    /// The message of a move that it carries.
    pub(crate) const fn migration(&self) -> Option<&MigrationMessage> {
        match self {
            Self::Message { message: Message::Migration(envelope), .. } => Some(&envelope.message),
            Self::Message { .. }
            | Self::Save { .. }
            | Self::Read { .. }
            | Self::Turns { .. }
            | Self::Report { .. } => None,
        }
    }

    pub(crate) const fn write(&self) -> Option<&Write> {
        match self {
            Self::Save { write, .. } => Some(write),
            Self::Message { .. } | Self::Read { .. } | Self::Turns { .. } | Self::Report { .. } => {
                None
            }
        }
    }
}
