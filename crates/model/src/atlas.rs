//! Decides what the states of the whole are and where each step leads.
//!
//! Nodes, messages, and truths are numbered as they are met. A state of the whole is then a short
//! row of numbers, and a step is looked up: the machines run once for each pair of a node's state
//! and a happening, however many states of the whole it is part of.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use whimbrel_protocol::{Input, Seat, Standing, Station, Ticket};
use whimbrel_wire::{AttemptId, CatchUp, Deed, Epoch, Head, Identity, NodeKey, StoreId, Time};

use crate::facts::{Broken, Fact, Truth};
use crate::node::{
    Dispatch, Fate, Happening, Newborn, Node, Outcome, PRESENT, Request, Surroundings, settings,
};
use crate::story::{Command, Limits, Story, When};
use crate::tally::{Tally, nothing};

/// The copies with which the daemons are born.
const BIRTH: AttemptId = AttemptId::new(0xb0 << 96);

/// Steps within which the daemons are born, or the model is wrong.
const BIRTH_STEPS_MAX: usize = 200;

/// A quick hash for short keys; nothing depends on its order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word);
    }
}

/// One round of a strong mixing function.
pub(crate) const fn mix(word: u64) -> u64 {
    let mut word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

type Memo<V> = HashMap<u64, V, BuildHasherDefault<Quick>>;

/// Things by number, each once.
pub(crate) struct Numbered<T> {
    numbers: HashMap<Arc<T>, u32>,
    things: Vec<Arc<T>>,
}

impl<T: Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Self { numbers: HashMap::new(), things: Vec::new() }
    }

    /// The number of this thing. True if it is new.
    fn number(&mut self, thing: T) -> (u32, bool) {
        if let Some(number) = self.numbers.get(&thing) {
            return (*number, false);
        }
        let number = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
        let thing = Arc::new(thing);
        self.things.push(thing.clone());
        self.numbers.insert(thing, number);
        (number, true)
    }

    pub(crate) fn get(&self, number: u32) -> &Arc<T> {
        &self.things[number as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }
}

/// What is asked of a node's state again and again.
#[derive(Clone, Copy, Debug)]
struct Sight {
    /// Which daemons run here, one bit each.
    lives: u8,
    /// Which daemons' timers are set, one bit each.
    timers: u8,
    /// Which of them are due already.
    due: u8,
    requests: u8,
    /// Whether the first request is a save.
    saves: bool,
    works: bool,
    /// Whether copies on the disk wait for a deed.
    waiting: bool,
}

/// Where a step of one node leads.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) node: u32,
    pub(crate) sent: Box<[u32]>,
    pub(crate) facts: Box<[Fact]>,
}

/// One state of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) nodes: Vec<u32>,
    pub(crate) truth: u32,
    /// What went wrong so far.
    pub(crate) spent: Limits,
    /// Which commands were given, one bit each.
    pub(crate) told: u16,
    /// Messages on their way, by rising number, each once.
    pub(crate) dispatches: Vec<u32>,
}

/// One step of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A message comes; it may stay on its way.
    Hear {
        dispatch: u32,
        stays: bool,
    },
    Disk {
        node: usize,
        fate: Fate,
    },
    Work {
        node: usize,
    },
    Crash {
        node: usize,
        done: usize,
    },
    LoseCopies {
        node: usize,
    },
    Wake {
        node: usize,
        daemon: usize,
    },
    /// Time passes on the node, longer than any wait, and nobody is woken yet.
    Oversleep {
        node: usize,
    },
    Tell {
        number: usize,
    },
}

/// All that is known of a story so far.
pub(crate) struct Atlas {
    pub(crate) story: Story,
    pub(crate) world: Surroundings,
    pub(crate) nodes: Numbered<Node>,
    pub(crate) dispatches: Numbered<Dispatch>,
    pub(crate) truths: Numbered<Truth>,
    sights: Vec<Sight>,
    steps: Memo<u32>,
    pub(crate) effects: Vec<Effect>,
    turns_of_truth: Memo<u32>,
    broken: Memo<Broken>,
    /// Messages lost because too many were on their way.
    pub(crate) overflows: u64,
}

impl State {
    /// The state as a row of numbers.
    pub(crate) fn pack(&self, row: &mut Vec<u32>) {
        row.clear();
        row.extend_from_slice(&self.nodes);
        let Limits { wakes, oversleeps, repeats, crashes, disk_faults, copies_lost } = self.spent;
        let spent = [wakes, oversleeps, repeats, crashes, disk_faults, copies_lost];
        let packed = spent.iter().fold(0, |packed, spent| packed << 4 | u32::from(*spent & 15));
        row.extend([self.truth, packed, u32::from(self.told)]);
        row.extend_from_slice(&self.dispatches);
    }

    /// The state of that row.
    pub(crate) fn unpack(nodes: usize, row: &[u32]) -> Self {
        let spent = |place: u32| u8::try_from(row[nodes + 1] >> (4 * place) & 15).unwrap_or(0);
        Self {
            nodes: row[..nodes].to_vec(),
            truth: row[nodes],
            spent: Limits {
                wakes: spent(5),
                oversleeps: spent(4),
                repeats: spent(3),
                crashes: spent(2),
                disk_faults: spent(1),
                copies_lost: spent(0),
            },
            told: u16::try_from(row[nodes + 2]).unwrap_or(u16::MAX),
            dispatches: row[nodes + 3..].to_vec(),
        }
    }
}

impl Atlas {
    pub(crate) fn new(story: Story) -> Self {
        let identities: Vec<Identity> = (0..story.births.len())
            .map(|daemon| Identity::from_seed(&[9 + daemon as u8; 32]))
            .collect();
        let stations = (0..story.nodes).map(|node| {
            let key = NodeKey::from_seed(&[1 + node as u8; 32]);
            Arc::new(Station::new(key, StoreId::new(1 + node as u128), settings()))
        });
        let daemons = identities.iter().enumerate().map(|(daemon, identity)| Newborn {
            entity: identity.entity_id(),
            origin: identity.origin_hash(),
            friend: identities.get(daemon + 1).map(Identity::entity_id),
        });
        let world = Surroundings {
            stations: stations.collect(),
            daemons: daemons.collect(),
            tempo: story.tempo,
            clients: story
                .commands
                .iter()
                .any(|(command, _)| matches!(command, Command::Send { .. })),
            slips: story.slips,
        };
        Self {
            story,
            world,
            nodes: Numbered::new(),
            dispatches: Numbered::new(),
            truths: Numbered::new(),
            sights: Vec::new(),
            steps: Memo::default(),
            effects: Vec::new(),
            turns_of_truth: Memo::default(),
            broken: Memo::default(),
            overflows: 0,
        }
    }

    /// The state in which all daemons were born and everyone knows of it.
    pub(crate) fn first(&mut self) -> Result<State, Broken> {
        let count = self.story.nodes;
        let nodes: Vec<u32> =
            (0..count).map(|place| self.meet(Node::new(&self.world, place))).collect();
        let (truth, _) = self.truths.number(Truth::of(self.story.births.len()));
        let mut state =
            State { nodes, truth, spent: Limits::default(), told: 0, dispatches: Vec::new() };
        self.rest(&mut state)?;
        for daemon in 0..self.story.births.len() {
            let place = self.story.births[daemon];
            let mut node = (**self.nodes.get(state.nodes[place])).clone();
            let outcome = self.bear(&mut node, daemon);
            state.nodes[place] = self.meet(node);
            for dispatch in outcome.sent {
                state.dispatches.push(self.dispatches.number(dispatch).0);
            }
            self.rest(&mut state)?;
        }
        Ok(state)
    }

    /// Does what is under way until there is nothing.
    fn rest(&mut self, state: &mut State) -> Result<(), Broken> {
        for _ in 0..BIRTH_STEPS_MAX {
            let Some(step) = self.urgent(state) else { return Ok(()) };
            *state = self.after(state, step)?;
        }
        Err(Broken { promise: "it-ends", what: "the births do not end".to_owned() })
    }

    /// What is under way and needs no timer: work, disks, then messages.
    pub(crate) fn urgent(&self, state: &State) -> Option<Step> {
        let sights = || state.nodes.iter().map(|number| self.sights[*number as usize]).enumerate();
        let work = sights().find(|(_, sight)| sight.works).map(|(node, _)| Step::Work { node });
        let disk = sights().find(|(_, sight)| sight.requests > 0);
        let disk = disk.map(|(node, _)| Step::Disk { node, fate: Fate::Good });
        let dispatch = state.dispatches.first();
        work.or(disk)
            .or_else(|| dispatch.map(|dispatch| Step::Hear { dispatch: *dispatch, stays: false }))
    }

    /// The daemons whose timers are set, with their nodes.
    pub(crate) fn timers(&self, state: &State) -> Vec<(usize, usize)> {
        let mut timers = Vec::new();
        for (node, number) in state.nodes.iter().enumerate() {
            let set = self.sights[*number as usize].timers;
            let daemons = 0..self.world.daemons.len();
            timers.extend(
                daemons.filter(|daemon| set & 1 << daemon != 0).map(|daemon| (node, daemon)),
            );
        }
        timers
    }

    fn bear(&self, node: &mut Node, daemon: usize) -> Outcome {
        let identity = Identity::from_seed(&[9 + daemon as u8; 32]);
        let station = &self.world.stations[node.place];
        let birth = Deed::birth(&identity, station.public(), station.store(), BIRTH);
        let head = Head::newborn(&identity.entity_id(), &birth.digest());
        let Newborn { entity, origin, friend } = self.world.daemons[daemon];
        let tally = Tally::born(origin, head, friend);
        let (manifest, chunk) = tally.snapshot(entity, &nothing(Epoch::FIRST, head, BIRTH));
        node.keep(&manifest, chunk);
        let berth = &mut node.berths[daemon];
        berth.copies.insert(BIRTH, tally);
        berth.key = true;
        let (birth, manifest, wall) = (Box::new(birth), Box::new(manifest), Time::ZERO);
        let (ticket, catch_up) = (Ticket(u64::MAX), CatchUp::Replay);
        let input = Input::Spawn { ticket, birth, manifest, wall, catch_up, next_timer: None };
        node.happen(&self.world, &Happening::Input { daemon, input: Box::new(input) })
    }

    /// The number of a node's state.
    fn meet(&mut self, mut node: Node) -> u32 {
        let sight = self.look(&mut node);
        let (number, new) = self.nodes.number(node);
        if new {
            self.sights.push(sight);
        }
        number
    }

    fn look(&self, node: &mut Node) -> Sight {
        let bits = |is: &dyn Fn(&Seat) -> bool| {
            let seats = node.berths.iter().enumerate();
            seats.fold(0, |bits, (daemon, berth)| bits | u8::from(is(&berth.seat)) << daemon)
        };
        let lives = bits(&|seat| seat.live_copy().is_some());
        let timers = bits(&|seat| seat.wake_at().is_some());
        let due = bits(&|seat| seat.wake_at().is_some_and(|at| at <= PRESENT));
        let saves = matches!(node.disk.front(), Some((_, Request::Save { .. })));
        Sight {
            lives,
            timers,
            due,
            requests: u8::try_from(node.disk.len()).unwrap_or(u8::MAX),
            saves,
            works: !node.work.is_empty(),
            waiting: node.has_waiting_copies(&self.world),
        }
    }

    /// Whether more than one node runs a daemon.
    pub(crate) fn one_owner(&self, state: &State) -> Result<(), Broken> {
        let lives = state.nodes.iter().map(|number| self.sights[*number as usize].lives);
        let mut seen = 0;
        for lives in lives {
            if seen & lives != 0 {
                let what = "a daemon runs on several nodes".to_owned();
                return Err(Broken { promise: "one-owner", what });
            }
            seen |= lives;
        }
        Ok(())
    }

    /// All steps that may be taken from here.
    pub(crate) fn choices(&self, state: &State, choices: &mut Vec<Step>) {
        choices.clear();
        let (spent, limits) = (&state.spent, &self.story.limits);
        for dispatch in state.dispatches.iter().copied() {
            choices.push(Step::Hear { dispatch, stays: false });
            if spent.repeats < limits.repeats {
                choices.push(Step::Hear { dispatch, stays: true });
            }
        }
        for (node, number) in state.nodes.iter().enumerate() {
            self.choices_of(node, self.sights[*number as usize], spent, choices);
        }
        for (number, (command, when)) in self.story.commands.iter().enumerate() {
            if state.told & 1 << number == 0 && self.may_tell(state, command, *when) {
                choices.push(Step::Tell { number });
            }
        }
    }

    fn choices_of(&self, node: usize, sight: Sight, spent: &Limits, choices: &mut Vec<Step>) {
        let limits = &self.story.limits;
        if sight.works {
            choices.push(Step::Work { node });
        }
        if sight.requests > 0 {
            choices.push(Step::Disk { node, fate: Fate::Good });
            if sight.saves && spent.disk_faults < limits.disk_faults {
                let fates = [Fate::Failed, Fate::UnknownDone, Fate::UnknownLost];
                choices.extend(fates.map(|fate| Step::Disk { node, fate }));
            }
        }
        for daemon in (0..self.world.daemons.len()).filter(|daemon| sight.timers & 1 << daemon != 0)
        {
            // One that is due may fire at any moment; time passes before one that is not.
            if sight.due & 1 << daemon != 0 || spent.wakes < limits.wakes {
                choices.push(Step::Wake { node, daemon });
            }
        }
        if sight.timers != 0 && spent.oversleeps < limits.oversleeps {
            choices.push(Step::Oversleep { node });
        }
        if spent.crashes < limits.crashes {
            choices
                .extend((0..=usize::from(sight.requests)).map(|done| Step::Crash { node, done }));
        }
        if sight.waiting && spent.copies_lost < limits.copies_lost {
            choices.push(Step::LoseCopies { node });
        }
    }

    fn may_tell(&self, state: &State, command: &Command, when: When) -> bool {
        let told = |number: usize| state.told & 1 << number != 0;
        let lives = |node: usize| self.sights[state.nodes[node] as usize].lives & 1 != 0;
        let allowed = match when {
            When::Anytime => true,
            When::After(number) => told(number),
            When::Lives { node, after } => told(after) && lives(node),
        };
        // A caller finds the daemon on its own node or is told so; nothing comes of that.
        let found = !matches!(command, Command::Deliver { .. }) || lives(command.node());
        allowed && found
    }

    /// The state after a step.
    pub(crate) fn after(&mut self, state: &State, step: Step) -> Result<State, Broken> {
        let mut next = state.clone();
        let spent = &mut next.spent;
        match step {
            Step::Hear { dispatch, stays: false } => {
                next.dispatches.retain(|other| *other != dispatch)
            }
            Step::Hear { stays: true, .. } => spent.repeats += 1,
            Step::Disk { fate: Fate::Good, .. } | Step::Work { .. } => {}
            Step::Disk { .. } => spent.disk_faults += 1,
            Step::Crash { .. } => spent.crashes += 1,
            Step::LoseCopies { .. } => spent.copies_lost += 1,
            Step::Wake { node, daemon } => {
                let due = self.sights[state.nodes[node] as usize].due & 1 << daemon != 0;
                spent.wakes += u8::from(!due);
            }
            Step::Oversleep { .. } => spent.oversleeps += 1,
            Step::Tell { number } => next.told |= 1 << number,
        }
        let place = self.place(step);
        let number = self.effect(state.nodes[place], step);
        let effect = &self.effects[number as usize];
        next.nodes[place] = effect.node;
        for dispatch in &effect.sent {
            if let Err(at) = next.dispatches.binary_search(dispatch) {
                next.dispatches.insert(at, *dispatch);
            }
        }
        let over = next.dispatches.len().saturating_sub(self.story.channel);
        if over > 0 {
            self.overflows += 1;
            next.dispatches.drain(..over);
        }
        if !self.effects[number as usize].facts.is_empty() {
            next.truth = self.truth_after(state.truth, number)?;
        }
        self.one_owner(&next)?;
        Ok(next)
    }

    /// On which node a step is taken.
    pub(crate) fn place(&self, step: Step) -> usize {
        match step {
            Step::Hear { dispatch, .. } => self.dispatches.get(dispatch).to,
            Step::Disk { node, .. }
            | Step::Work { node }
            | Step::Crash { node, .. }
            | Step::LoseCopies { node }
            | Step::Wake { node, .. }
            | Step::Oversleep { node } => node,
            Step::Tell { number } => self.story.commands[number].0.node(),
        }
    }

    fn truth_after(&mut self, truth: u32, effect: u32) -> Result<u32, Broken> {
        let key = u64::from(truth) << 32 | u64::from(effect);
        if let Some(next) = self.turns_of_truth.get(&key) {
            return Ok(*next);
        }
        if let Some(broken) = self.broken.get(&key) {
            return Err(broken.clone());
        }
        match self.truths.get(truth).after(&self.effects[effect as usize].facts) {
            Ok(next) => {
                let (next, _) = self.truths.number(next);
                self.turns_of_truth.insert(key, next);
                Ok(next)
            }
            Err(broken) => {
                self.broken.insert(key, broken.clone());
                Err(broken)
            }
        }
    }

    /// Where a step leads a node: looked up, or done by the machines.
    pub(crate) fn effect(&mut self, node: u32, step: Step) -> u32 {
        let key = u64::from(node) << 32 | u64::from(code(step));
        if let Some(effect) = self.steps.get(&key) {
            return *effect;
        }
        let mut after = (**self.nodes.get(node)).clone();
        let happening = self.happening(step);
        let outcome = after.happen(&self.world, &happening);
        let sent =
            outcome.sent.into_iter().map(|dispatch| self.dispatches.number(dispatch).0).collect();
        let effect = Effect { node: self.meet(after), sent, facts: outcome.facts.into() };
        let number = u32::try_from(self.effects.len()).unwrap_or(u32::MAX);
        self.effects.push(effect);
        self.steps.insert(key, number);
        number
    }

    fn happening(&self, step: Step) -> Happening {
        match step {
            Step::Hear { dispatch, .. } => {
                let Dispatch { from, message, .. } = &**self.dispatches.get(dispatch);
                let from = self.world.stations[*from].node();
                let daemon = self.world.daemon(&message.entity()).unwrap_or(0);
                let input = Input::Message { from, message: message.clone() };
                Happening::Input { daemon, input: Box::new(input) }
            }
            Step::Disk { fate, .. } => Happening::Disk(fate),
            Step::Work { .. } => Happening::Work,
            Step::Crash { done, .. } => Happening::Crash { done },
            Step::LoseCopies { .. } => Happening::LoseCopies,
            Step::Wake { daemon, .. } => Happening::Wake { daemon },
            Step::Oversleep { .. } => Happening::Oversleep,
            Step::Tell { number } => {
                Happening::Tell { number, command: self.story.commands[number].0 }
            }
        }
    }

    /// Whether the whole, at rest, is as it was promised.
    pub(crate) fn at_rest(&self, state: &State) -> Result<(), Broken> {
        let truth = self.truths.get(state.truth);
        truth.at_rest()?;
        let ends = |what: String| Err(Broken { promise: "it-ends", what });
        for daemon in 0..self.world.daemons.len() {
            let mut owners = Vec::new();
            let mut keys = Vec::new();
            for (place, number) in state.nodes.iter().enumerate() {
                let berth = &self.nodes.get(*number).berths[daemon];
                let standing = berth.seat.status().standing;
                match standing {
                    Standing::Live => owners.push((place, berth)),
                    Standing::Stranger => {}
                    Standing::Reading
                    | Standing::Bearing
                    | Standing::Opening
                    | Standing::Frozen
                    | Standing::Parked(_)
                    | Standing::Stopped
                    | Standing::Departed
                    | Standing::Deleted
                    | _ => return ends(format!("node {place} rests as {standing:?}")),
                }
                keys.extend(berth.key.then_some(place));
                if berth.seat.waiting_copies() > 0 {
                    return ends(format!("a copy waits on node {place} for ever"));
                }
            }
            let [(owner, berth)] = owners[..] else {
                let places: Vec<usize> = owners.iter().map(|(place, _)| *place).collect();
                return ends(format!("the daemon runs on {places:?}"));
            };
            // A disk that lost a copy may have kept its key.
            let litter = self.story.limits.copies_lost > 0 && keys.contains(&owner);
            if keys != [owner] && !litter {
                let what = format!("the daemon lives on {owner}, its key on {keys:?}");
                return Err(Broken { promise: "one-owner", what });
            }
            let copy = berth.seat.live_copy().and_then(|(copy, _)| berth.copies.get(&copy));
            let notes = copy.map(|copy| copy.notes.clone());
            if notes != Some(truth.notes(daemon)) {
                let what = format!("the daemon rests with {notes:?}");
                return Err(Broken { promise: "nothing-lost", what });
            }
        }
        Ok(())
    }
}

/// A step as a number, unique among those of one node.
const fn code(step: Step) -> u32 {
    let (kind, what) = match step {
        Step::Hear { dispatch, .. } => (0, dispatch),
        Step::Disk { fate, .. } => (1, fate as u32),
        Step::Work { .. } => (2, 0),
        Step::Crash { done, .. } => (3, done as u32),
        Step::LoseCopies { .. } => (4, 0),
        Step::Wake { daemon, .. } => (5, daemon as u32),
        Step::Oversleep { .. } => (6, 0),
        Step::Tell { number } => (7, number as u32),
    };
    kind << 28 | what
}
