//! Decides how a plan is played: what is due, every [`BEAT`], and what follows from what was seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whimbrel_protocol::{Input, MoveOptions, Settings};

use super::batch::{Asked, Batch, Want};
use super::onlooker::{Ended, Onlooker};
use super::plan::{Manner, Plan, Step, What};
use super::report::{Expectation, Moves, Rehearsed, Report, Spread, StepReport};
use crate::checkers::{Seconds, Violation};
use crate::clients::AUTHOR_HOSTS;
use crate::cluster::{Action, Cluster, MILLI, SECOND};
use crate::dice::Dice;
use crate::medium::Medium;
use crate::run::{SETTLE_SECONDS_MAX, quiet};
use crate::scribe::{Act, Line};

/// How often the director looks, in nanoseconds.
const BEAT: u64 = 5 * MILLI;
/// How long it waits before it asks for a move again.
const RETRY: u64 = 500 * MILLI;
/// How often clients of a node that died are replaced.
const CLIENTS_EVERY: u64 = 100 * MILLI;
/// How many events of a client may be under way.
const WINDOW: usize = 64;
/// How much one event adds to a state, at most.
const FILL_BYTES: u64 = 256 * 1024;
/// How long a round of such events takes.
const FILL_ROUND: u64 = 40 * MILLI;

pub(super) struct Director<'a> {
    plan: &'a Plan,
    cluster: Cluster,
    dice: Dice,
    start: u64,
    /// Steps by their time.
    order: VecDeque<usize>,
    batches: Vec<Batch>,
    rollings: Vec<Rolling>,
    follows: Vec<Follow>,
    /// What ends by itself, by its time.
    undos: Vec<(u64, Undo)>,
    /// Nodes that are to be left.
    draining: BTreeSet<usize>,
    /// Clients, and how often in a second each sends.
    clients: Vec<(usize, usize, u64)>,
    clients_at: u64,
    moves: Moves,
    unserved: usize,
    owned: BTreeMap<String, usize>,
}

/// Nodes that restart one after the other.
struct Rolling {
    nodes: VecDeque<usize>,
    down: u64,
    batch: usize,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Next,
    Draining(usize),
    /// Which node, and which of its lives ended.
    Down(usize, u64),
    Over,
}

/// Daemons that are moved about.
struct Follow {
    daemons: Vec<usize>,
    along: Vec<usize>,
    every: u64,
    left: u64,
    at: u64,
    turn: usize,
    batch: usize,
}

#[derive(Clone, Copy)]
enum Undo {
    Slow(usize),
    Flaky,
    /// The batch ends, and its node dies.
    Reclaimed(usize, usize),
}

impl<'a> Director<'a> {
    /// The cluster with its daemons, their states, and clients that begin to send.
    pub(super) fn begin(plan: &'a Plan, keep: bool) -> Self {
        let settings = Settings::default();
        let mut cluster = Cluster::new(plan.seed, plan.nodes, &settings, Medium::Memory, false);
        cluster.plain = true;
        cluster.commit = plan.commit;
        cluster.network.delay_min = plan.network.delay.0;
        cluster.network.delay_max = plan.network.delay.1;
        cluster.onlooker = Some(Box::default());
        let mut births = Vec::new();
        for group in &plan.groups {
            let places = group.on.iter().copied().cycle().take(group.count);
            births.extend(places.map(|node| (node, group.style, group.state)));
        }
        cluster.spawn_all(&births);
        let mut order: Vec<usize> = (0..plan.steps.len()).collect();
        order.sort_by_key(|step| plan.steps[*step].at);
        let mut director = Self {
            plan,
            cluster,
            dice: Dice::new(plan.seed ^ 0x51A6_E5E7),
            start: 0,
            order: order.into(),
            batches: Vec::new(),
            rollings: Vec::new(),
            follows: Vec::new(),
            undos: Vec::new(),
            draining: BTreeSet::new(),
            clients: Vec::new(),
            clients_at: 0,
            moves: Moves::default(),
            unserved: 0,
            owned: BTreeMap::new(),
        };
        director.fill(&births.iter().map(|(node, ..)| *node).collect::<Vec<usize>>());
        director.open(keep);
        director
    }

    /// Gives daemons the states that they are to have and were not born with.
    fn fill(&mut self, born: &[usize]) {
        let states = self.plan.groups.iter().flat_map(|group| {
            let state = if group.style.is_scribe() { 0 } else { group.state };
            std::iter::repeat_n(state, group.count)
        });
        let mut left: Vec<(usize, u64)> =
            states.enumerate().filter(|(_, left)| *left > 0).collect();
        let mut number = 0;
        while !left.is_empty() {
            for (daemon, left) in &mut left {
                let bytes = (*left).min(FILL_BYTES);
                *left -= bytes;
                number += 1;
                let act = Act::Fill(u32::try_from(bytes).unwrap_or(u32::MAX));
                let line = Line { author: AUTHOR_HOSTS + *daemon as u64, number, act };
                self.cluster.deliver_line(born[*daemon], *daemon, line);
            }
            left.retain(|(_, left)| *left > 0);
            self.cluster.run_until(self.cluster.now + FILL_ROUND);
        }
    }

    /// From here on time counts.
    fn open(&mut self, keep: bool) {
        self.start = self.cluster.now;
        self.cluster.trace.begin(self.start, keep);
        self.cluster.network.loss = self.plan.network.loss;
        self.cluster.network.twice = self.plan.network.twice;
        self.cluster.network.rate = self.plan.network.rate;
        self.onlooker().begin();
        let rates =
            self.plan.groups.iter().flat_map(|group| std::iter::repeat_n(group.rate, group.count));
        for (daemon, rate) in rates.enumerate().filter(|(_, rate)| *rate > 0) {
            let node = self.dice.index(self.plan.nodes);
            self.add_client(node, daemon, rate);
        }
    }

    /// A client of a daemon that sends so often in a second.
    fn add_client(&mut self, node: usize, daemon: usize, rate: u64) {
        // Between two events lies between half of this and twice as much.
        let rest = SECOND * 4 / 5 / rate;
        let client = self.cluster.add_client(node, daemon, u64::MAX / 2, WINDOW, rest);
        self.clients.push((client, daemon, rate));
    }

    fn onlooker(&mut self) -> &mut Onlooker {
        self.cluster.onlooker.get_or_insert_default()
    }

    /// Simulated nanoseconds since the beginning.
    pub(super) const fn elapsed(&self) -> u64 {
        self.cluster.now.saturating_sub(self.start)
    }

    /// Plays the plan to its end, and lets everything come to rest.
    pub(super) fn play(&mut self) {
        let end = self.start + self.plan.length;
        while self.cluster.now < end && self.cluster.violation.is_none() {
            self.beat();
            let next = (self.cluster.now + BEAT).min(end);
            self.cluster.run_until(next);
        }
        self.see_ends();
        self.close();
        if self.cluster.violation.is_none() {
            quiet(&mut self.cluster);
            self.cluster.settle(SETTLE_SECONDS_MAX * SECOND);
        }
    }

    /// The plan is over: what is open is counted, nobody sends any more.
    fn close(&mut self) {
        self.moves.unfinished = self.batches.iter().map(|batch| batch.under_way.len() as u64).sum();
        for batch in &mut self.batches {
            batch.close();
        }
        for (client, ..) in &self.clients {
            self.cluster.clients[*client].left = 0;
        }
        self.owned = self.cluster.nodes.iter().map(|node| (node.name.clone(), 0)).collect();
        for daemon in 0..self.plan.daemons() {
            match self.owner_of(daemon) {
                Some(owner) => {
                    let name = self.cluster.nodes[owner].name.clone();
                    *self.owned.entry(name).or_default() += 1;
                }
                None => self.unserved += 1,
            }
        }
    }

    fn owner_of(&self, daemon: usize) -> Option<usize> {
        self.cluster.owner_of(self.cluster.daemons[daemon].entity)
    }

    fn beat(&mut self) {
        self.see_ends();
        self.forget_untold();
        self.undo();
        while let Some(step) = self.order.front().copied() {
            if self.plan.steps[step].at > self.elapsed() {
                break;
            }
            self.order.pop_front();
            self.begin_step(step);
        }
        self.go_on_following();
        (0..self.rollings.len()).for_each(|rolling| self.go_on_rolling(rolling));
        (0..self.batches.len()).for_each(|batch| self.ask(batch));
        if self.cluster.now >= self.clients_at {
            self.clients_at = self.cluster.now + CLIENTS_EVERY;
            self.replace_clients();
        }
    }

    fn see_ends(&mut self) {
        for ended in std::mem::take(&mut self.onlooker().ended) {
            self.see_end(ended);
        }
    }

    fn see_end(&mut self, ended: Ended) {
        let Ended { attempt, at, failed } = ended;
        let later = at + RETRY;
        for batch in &mut self.batches {
            let Some(asked) = batch.under_way.remove(&attempt) else { continue };
            batch.ended = Some(at);
            match failed {
                None => {
                    self.moves.done += 1;
                    batch.moved += 1;
                }
                Some(reason) => {
                    *self.moves.failed.entry(reason).or_default() += 1;
                    batch.again(asked.want, later);
                }
            }
            return;
        }
    }

    /// Whoever was asked for a move and died will not tell how it ended.
    fn forget_untold(&mut self) {
        let (nodes, now) = (&self.cluster.nodes, self.cluster.now);
        for batch in &mut self.batches {
            let died =
                |asked: &Asked| !nodes[asked.node].up || nodes[asked.node].life != asked.life;
            let gone = batch.under_way.iter().filter(|(_, asked)| died(asked));
            let gone: Vec<_> = gone.map(|(attempt, _)| *attempt).collect();
            for attempt in gone {
                let Some(asked) = batch.under_way.remove(&attempt) else { continue };
                self.moves.untold += 1;
                batch.ended = Some(now);
                batch.again(asked.want, now + RETRY);
            }
        }
    }

    fn undo(&mut self) {
        let now = self.cluster.now;
        let (due, later) =
            std::mem::take(&mut self.undos).into_iter().partition(|(at, _)| *at <= now);
        self.undos = later;
        let due: Vec<(u64, Undo)> = due;
        for (_, undo) in due {
            match undo {
                Undo::Slow(node) => self.cluster.nodes[node].slow = 1,
                Undo::Flaky => {
                    self.cluster.network.loss = self.plan.network.loss;
                    self.cluster.network.twice = self.plan.network.twice;
                    self.cluster.network.straggle = 0;
                }
                Undo::Reclaimed(batch, node) => {
                    self.batches[batch].close();
                    self.cluster.crash(node, None);
                }
            }
        }
    }

    fn batch(&mut self, step: usize, manner: Manner, leaving: Option<usize>) -> usize {
        self.batches.push(Batch::new(step, manner, leaving));
        self.batches.len() - 1
    }

    /// The daemons that live on a node.
    fn living_on(&self, node: usize) -> Vec<usize> {
        (0..self.plan.daemons()).filter(|daemon| self.owner_of(*daemon) == Some(node)).collect()
    }

    fn begin_step(&mut self, index: usize) {
        let Step { name, what, .. } = &self.plan.steps[index];
        let now = self.cluster.now;
        self.cluster.trace.say(now, "-", '#', format_args!("{name}"));
        match what {
            What::Drain { node, to, manner, deadline } => {
                let (node, to, deadline) = (*node, *to, *deadline);
                let batch = self.batch(index, *manner, Some(node));
                self.draining.insert(node);
                for daemon in self.living_on(node) {
                    self.batches[batch].want(daemon, to);
                }
                if let Some(deadline) = deadline {
                    self.undos.push((now + deadline, Undo::Reclaimed(batch, node)));
                }
            }
            What::Move { daemons, to, manner } => {
                let batch = self.batch(index, *manner, None);
                for daemon in daemons {
                    self.batches[batch].want(*daemon, Some(*to));
                }
            }
            What::Spread { node, manner } => {
                let batch = self.batch(index, *manner, Some(*node));
                let here = self.living_on(*node);
                let share = self.plan.daemons().div_ceil(self.plan.nodes);
                for daemon in here.into_iter().skip(share) {
                    self.batches[batch].want(daemon, None);
                }
            }
            What::Follow { daemons, along, every, times } => {
                let manner = Manner {
                    at_once: usize::MAX,
                    tries: 1,
                    freeze_and_copy: false,
                    asked_at: None,
                };
                let batch = self.batch(index, manner, None);
                self.follows.push(Follow {
                    daemons: daemons.clone(),
                    along: along.clone(),
                    every: *every,
                    left: *times,
                    at: now,
                    turn: 0,
                    batch,
                });
            }
            What::RollingRestart { nodes, down, manner } => {
                let batch = self.batch(index, *manner, None);
                let (nodes, down) = (nodes.iter().copied().collect(), *down);
                self.rollings.push(Rolling { nodes, down, batch, stage: Stage::Next });
            }
            What::Restart { node, down } => self.cluster.shut_down(*node, *down),
            What::Cancel { daemons } => self.cancel(daemons),
            What::Crash { .. }
            | What::Partition { .. }
            | What::Slow { .. }
            | What::Pause { .. }
            | What::Flaky { .. }
            | What::FullDisk { .. }
            | What::ClockJump { .. } => self.disturb(what),
        }
    }

    fn disturb(&mut self, what: &What) {
        let now = self.cluster.now;
        match what {
            What::Crash { node, down } => self.cluster.crash(*node, *down),
            What::Partition { nodes, one_way, rest } => {
                let inside: BTreeSet<usize> = nodes.iter().copied().collect();
                for from in nodes {
                    for to in (0..self.plan.nodes).filter(|to| !inside.contains(to)) {
                        let (from, rest) = (*from, *rest);
                        self.cluster.act(Action::Cut { from, to, rest });
                        if !one_way {
                            self.cluster.act(Action::Cut { from: to, to: from, rest });
                        }
                    }
                }
            }
            What::Slow { node, factor, rest } => {
                self.cluster.nodes[*node].slow = *factor;
                self.undos.push((now + rest, Undo::Slow(*node)));
            }
            What::Pause { node, rest } => {
                self.cluster.act(Action::Pause { node: *node, rest: *rest });
            }
            What::Flaky { loss, twice, late, rest } => {
                let network = &mut self.cluster.network;
                (network.loss, network.twice, network.straggle) = (*loss, *twice, *late);
                self.undos.push((now + rest, Undo::Flaky));
            }
            What::FullDisk { node, rest } => {
                self.cluster.act(Action::Full { node: *node, rest: *rest });
            }
            What::ClockJump { node, by } => {
                self.cluster.act(Action::Jump { node: *node, by: *by });
            }
            What::Drain { .. }
            | What::Move { .. }
            | What::Spread { .. }
            | What::Follow { .. }
            | What::RollingRestart { .. }
            | What::Restart { .. }
            | What::Cancel { .. } => {}
        }
    }

    fn cancel(&mut self, daemons: &[usize]) {
        let mut asked = Vec::new();
        for batch in &mut self.batches {
            let before = batch.wants.len();
            batch.wants.retain(|want| !daemons.contains(&want.daemon));
            batch.not_moved += (before - batch.wants.len()) as u64;
            for (attempt, asked_for) in &mut batch.under_way {
                if daemons.contains(&asked_for.want.daemon) {
                    asked_for.want.tries = 0;
                    asked.push((asked_for.node, asked_for.want.daemon, *attempt));
                }
            }
        }
        for (node, daemon, attempt) in asked {
            let entity = self.cluster.daemons[daemon].entity;
            self.cluster.feed(node, entity, Input::Cancel { attempt });
        }
    }

    fn go_on_following(&mut self) {
        let now = self.cluster.now;
        for follow in &mut self.follows {
            if follow.left == 0 || now < follow.at {
                continue;
            }
            follow.left -= 1;
            follow.at += follow.every;
            let to = follow.along[follow.turn % follow.along.len()];
            follow.turn += 1;
            for daemon in &follow.daemons {
                self.batches[follow.batch].want(*daemon, Some(to));
            }
        }
    }

    fn go_on_rolling(&mut self, index: usize) {
        let Rolling { batch, stage, down, .. } = self.rollings[index];
        let stage = match stage {
            Stage::Next => match self.rollings[index].nodes.pop_front() {
                Some(node) => {
                    self.draining.insert(node);
                    self.batches[batch].leaving = Some(node);
                    for daemon in self.living_on(node) {
                        self.batches[batch].want(daemon, None);
                    }
                    Stage::Draining(node)
                }
                None => Stage::Over,
            },
            Stage::Draining(node) if self.batches[batch].is_over() => {
                let life = self.cluster.nodes[node].life;
                self.cluster.shut_down(node, down);
                Stage::Down(node, life)
            }
            Stage::Down(node, life) => {
                let place = &self.cluster.nodes[node];
                if place.up && place.life != life {
                    self.draining.remove(&node);
                    self.batches[batch].ended = Some(self.cluster.now);
                    Stage::Next
                } else {
                    stage
                }
            }
            Stage::Draining(_) | Stage::Over => stage,
        };
        self.rollings[index].stage = stage;
    }

    /// Asks for the moves of a batch that are due.
    fn ask(&mut self, index: usize) {
        while let Some(want) = self.batches[index].next(self.cluster.now) {
            self.ask_for(index, want);
        }
    }

    fn ask_for(&mut self, index: usize, want: Want) {
        let Manner { asked_at, freeze_and_copy, .. } = self.batches[index].manner;
        let later = self.cluster.now + RETRY;
        let Some(owner) = self.owner_of(want.daemon) else {
            return self.batches[index].again(want, later);
        };
        if self.batches[index].leaving.is_some_and(|leaving| leaving != owner) {
            return;
        }
        let target = want.to.or_else(|| self.least_loaded(owner));
        let node = asked_at.unwrap_or(owner);
        let Some(target) = target.filter(|_| self.cluster.nodes[node].up) else {
            return self.batches[index].again(want, later);
        };
        if target == owner {
            return;
        }
        let options = MoveOptions { freeze_and_copy, ..MoveOptions::default() };
        let attempt = self.cluster.ask_move(node, want.daemon, target, options);
        let (now, life) = (self.cluster.now, self.cluster.nodes[node].life);
        let names = [node, target].map(|index| self.cluster.nodes[index].name.clone());
        let [name, to] = &names;
        let what = format_args!("D{} move {attempt} to {to} asked for", want.daemon);
        self.cluster.trace.say(now, name, '#', what);
        self.moves.asked += 1;
        self.batches[index].under_way.insert(attempt, Asked { want, node, life, target });
    }

    /// The node that has least and is not to be left.
    fn least_loaded(&mut self, but: usize) -> Option<usize> {
        let mut loads = vec![0_usize; self.plan.nodes];
        self.onlooker().places.values().for_each(|node| loads[*node] += 1);
        for asked in self.batches.iter().flat_map(|batch| batch.under_way.values()) {
            loads[asked.target] += 1;
        }
        let up = |node: &usize| self.cluster.nodes[*node].up && !self.draining.contains(node);
        (0..self.plan.nodes).filter(|node| *node != but).filter(up).min_by_key(|node| loads[*node])
    }

    /// A client whose node died is followed by another on the same node, once that is up.
    fn replace_clients(&mut self) {
        for at in 0..self.clients.len() {
            let (client, daemon, rate) = self.clients[at];
            let (node, is_alive) = {
                let client = &self.cluster.clients[client];
                (client.node, self.cluster.is_alive(client))
            };
            if !is_alive && self.cluster.nodes[node].up {
                self.cluster.clients[client].left = 0;
                self.add_client(node, daemon, rate);
                if let Some(new) = self.clients.pop() {
                    self.clients[at] = new;
                }
            }
        }
    }

    /// The sums.
    pub(super) fn report(mut self, panicked: Option<Violation>) -> Rehearsed {
        let start = self.start;
        let violation = self.cluster.violation.take().map(|broken| {
            let Seconds(at) = broken.seconds;
            Violation { seconds: Seconds(at.saturating_sub(start)), ..broken }
        });
        let violation = violation.or(panicked);
        let steps = self.plan.steps.iter().enumerate().map(|(index, step)| self.step(index, step));
        let steps: Vec<StepReport> = steps.collect();
        let onlooker = std::mem::take(self.onlooker());
        let mut report = Report {
            title: self.plan.title.clone(),
            nodes: self.plan.nodes,
            daemons: self.plan.daemons(),
            seed: self.plan.seed,
            seconds: self.plan.length / SECOND,
            steps,
            moves: self.moves,
            pauses: Spread::of(onlooker.pauses),
            answers: Spread::of(onlooker.answers),
            events_sent: onlooker.events,
            move_bytes: onlooker.bytes,
            unserved: self.unserved,
            owned: self.owned,
            faults: self.cluster.tally.faults,
            hits: self.cluster.tally.hits,
            expectations: Vec::new(),
            violation: violation.as_ref().map(ToString::to_string),
            digest: self.cluster.trace.digest(),
        };
        report.expectations = expectations(self.plan, &report);
        Rehearsed { report, violation, trace: self.cluster.trace.take_text() }
    }

    fn step(&self, index: usize, step: &Step) -> StepReport {
        let batches = || self.batches.iter().filter(|batch| batch.step == index);
        let is_over = batches().all(Batch::is_over)
            && self.rollings.iter().all(|rolling| {
                self.batches[rolling.batch].step != index || matches!(rolling.stage, Stage::Over)
            });
        let ended = batches().filter_map(|batch| batch.ended).max().filter(|_| is_over);
        StepReport {
            name: step.name.clone(),
            began_us: step.at / 1_000,
            ended_us: ended.map(|at| (at.saturating_sub(self.start) / 1_000).max(step.at / 1_000)),
            moved: batches().map(|batch| batch.moved).sum(),
            not_moved: batches().map(|batch| batch.not_moved).sum(),
        }
    }
}

fn expectations(plan: &Plan, report: &Report) -> Vec<Expectation> {
    let mut all = Vec::new();
    if let Some(most) = plan.expect.pause_max {
        let (most, found) = (most / 1_000, report.pauses.max_us);
        let what = format!("no pause longer than {} ms", most / 1_000);
        let met = found <= most;
        all.push(Expectation {
            what,
            found: format!("{}.{:03} ms", found / 1_000, found % 1_000),
            met,
        });
    }
    let not_moved = report.steps.iter().map(|step| step.not_moved).sum::<u64>();
    let counts = [
        ("not moved", plan.expect.not_moved_max, not_moved),
        ("run by no node at the end", plan.expect.unserved_max, report.unserved as u64),
    ];
    for (name, most, found) in counts {
        if let Some(most) = most {
            let what = format!("at most {most} daemons {name}");
            all.push(Expectation { what, found: found.to_string(), met: found <= most });
        }
    }
    all
}
