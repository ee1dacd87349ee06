//! A network of detectors that exists in memory and has the time that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use whimbrel_members::{
    Detector, DetectorSettings, Input, Load, Offer, Output, Report, Seems, View,
};
use whimbrel_wire::{NodeId, NodeKey, Time};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Detectors and the packets between them.
pub(crate) struct Network {
    seed: u64,
    draws: u64,
    now: Time,
    nodes: Vec<Node>,
    /// Packets on their way, by when they arrive: from, to, bytes.
    flying: BTreeMap<(Time, u64), (usize, usize, Bytes)>,
    flown: u64,
    island: BTreeSet<usize>,
    broken: BTreeSet<(usize, usize)>,
    sent: BTreeMap<(usize, usize), u64>,
    /// The last packet of each node, for whoever passes it off as its own.
    last: BTreeMap<usize, Bytes>,
    impostor: Option<(usize, usize)>,
    pub(crate) loss_percent: u64,
    /// Whether packets arrive with a byte changed or cut short.
    pub(crate) scramble: bool,
    /// How often somebody began to seem down.
    pub(crate) downs: u64,
}

struct Node {
    key: NodeKey,
    detector: Option<Detector>,
    members: BTreeSet<usize>,
    run: u64,
    reports: u64,
    report_at: Time,
}

impl Network {
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let node = |index: usize| Node {
            key: NodeKey::from_seed(&[index as u8 + 1; 32]),
            detector: None,
            members: (0..count).filter(|&other| other != index).collect(),
            run: 0,
            reports: 0,
            report_at: Time::ZERO,
        };
        let mut network = Self {
            seed,
            draws: 0,
            now: Time::ZERO,
            nodes: (0..count).map(node).collect(),
            flying: BTreeMap::new(),
            flown: 0,
            island: BTreeSet::new(),
            broken: BTreeSet::new(),
            sent: BTreeMap::new(),
            last: BTreeMap::new(),
            impostor: None,
            loss_percent: 0,
            scramble: false,
            downs: 0,
        };
        (0..count).for_each(|index| network.start(index));
        network
    }

    /// A number below `sides`, from the seed.
    pub(crate) fn dice(&mut self, sides: u64) -> u64 {
        self.draws += 1;
        let mut mixed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.draws);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    fn id(&self, index: usize) -> NodeId {
        self.nodes[index].key.node_id()
    }

    fn index(&self, id: NodeId) -> usize {
        (0..self.nodes.len()).find(|&index| self.id(index) == id).expect("a node of the network")
    }

    pub(crate) fn start(&mut self, index: usize) {
        let seed = self.dice(u64::MAX);
        let node = &mut self.nodes[index];
        node.run += 1;
        let run = node.run * 1_000_000;
        let id = node.key.node_id();
        node.detector = Some(Detector::new(id, run, seed, DetectorSettings::default(), self.now));
        node.report_at = self.now;
        self.list(index);
    }

    fn list(&mut self, index: usize) {
        let members = self.nodes[index].members.iter().map(|&other| self.id(other)).collect();
        self.handle(index, Input::Members(members));
    }

    pub(crate) fn crash(&mut self, index: usize) {
        self.nodes[index].detector = None;
    }

    pub(crate) fn stop(&mut self, index: usize) {
        self.handle(index, Input::Stop);
        self.crash(index);
    }

    pub(crate) fn cut(&mut self, island: &[usize]) {
        self.island = island.iter().copied().collect();
    }

    pub(crate) fn break_path(&mut self, one: usize, other: usize) {
        self.broken.extend([(one, other), (other, one)]);
    }

    pub(crate) fn heal(&mut self) {
        self.island.clear();
        self.broken.clear();
    }

    pub(crate) fn strike_off(&mut self, at: usize, whom: usize) {
        self.nodes[at].members.remove(&whom);
        self.list(at);
    }

    pub(crate) fn strike_off_everywhere(&mut self, whom: usize) {
        for at in (0..self.nodes.len()).filter(|&at| at != whom) {
            self.strike_off(at, whom);
        }
    }

    pub(crate) fn impersonate(&mut self, impostor: usize, whom: usize) {
        self.impostor = Some((impostor, whom));
    }

    /// Something that a seed chooses.
    pub(crate) fn happening(&mut self) {
        let count = self.nodes.len() as u64;
        let (one, other) = (self.dice(count) as usize, self.dice(count) as usize);
        match self.dice(7) {
            0 => self.crash(one),
            1 => self.stop(one),
            2 | 3 => self.start(one),
            4 => self.cut(&[one, other]),
            5 => self.break_path(one, other),
            _ => self.heal(),
        }
    }

    pub(crate) fn packets(&self, from: usize, to: usize) -> u64 {
        self.sent.get(&(from, to)).copied().unwrap_or(0)
    }

    pub(crate) fn view(&self, at: usize, of: usize) -> Option<View> {
        self.nodes[at].detector.as_ref()?.view(self.id(of))
    }

    /// Everybody who runs sees everybody as they are.
    #[track_caller]
    pub(crate) fn expect_truth(&self, when: &str) {
        self.expect_truth_among(&(0..self.nodes.len()).collect(), when);
    }

    #[track_caller]
    pub(crate) fn expect_truth_among(&self, nodes: &BTreeSet<usize>, when: &str) {
        for &at in nodes.iter().filter(|&&at| self.nodes[at].detector.is_some()) {
            for &of in nodes.iter().filter(|&&of| of != at) {
                let runs = self.nodes[of].detector.is_some();
                let expected = if runs { Seems::Alive } else { Seems::Down };
                let seems = self.view(at, of).expect("a member").seems;
                assert_eq!(seems, expected, "seed {}, {when}: {at} of {of}", self.seed);
            }
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next().filter(|&at| at <= end) {
            self.now = at.max(self.now);
            self.arrive();
            self.wake();
        }
        self.now = end;
    }

    fn next(&self) -> Option<Time> {
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let running = self.nodes.iter().filter(|node| node.detector.is_some());
        let due = running.map(|node| {
            let wake = node.detector.as_ref().and_then(Detector::wake_at);
            wake.map_or(node.report_at, |at| at.min(node.report_at))
        });
        arrival.into_iter().chain(due).min()
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            let (from, to, packet) = entry.remove();
            let is_cut = self.island.contains(&from) != self.island.contains(&to);
            if is_cut || self.broken.contains(&(from, to)) {
                continue;
            }
            let packet = if self.scramble { self.scrambled(&packet) } else { packet };
            let from = self.id(from);
            self.handle(to, Input::Heard { from, packet });
        }
    }

    fn scrambled(&mut self, packet: &Bytes) -> Bytes {
        let mut bytes = packet.to_vec();
        let place = self.dice(bytes.len() as u64) as usize;
        match self.dice(3) {
            0 => bytes.truncate(place),
            1 => bytes[place] = self.dice(256) as u8,
            _ => bytes.extend_from_slice(&packet[place..]),
        }
        bytes.into()
    }

    fn wake(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].detector.is_none() {
                continue;
            }
            if self.nodes[index].report_at <= self.now {
                self.report(index);
            }
            let detector = self.nodes[index].detector.as_ref();
            let due = detector.and_then(Detector::wake_at).is_some_and(|at| at <= self.now);
            if due {
                self.handle(index, Input::Woke);
            }
        }
    }

    fn report(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.reports += 1;
        node.report_at = self.now + 2 * SECOND;
        let report = Report {
            key: node.key.public(),
            run: node.run,
            count: node.reports,
            offer: Offer::default(),
            load: Load { daemons: index as u64, ..Load::default() },
        };
        let signed = Box::new(report.sign(&node.key));
        self.handle(index, Input::Report(signed));
        if let Some((impostor, whom)) = self.impostor
            && impostor == index
            && let Some(packet) = self.last.get(&whom).cloned()
        {
            for to in 0..self.nodes.len() {
                self.fly(impostor, to, packet.clone());
            }
        }
    }

    fn handle(&mut self, index: usize, input: Input) {
        let Some(detector) = self.nodes[index].detector.as_mut() else { return };
        let mut outputs = Vec::new();
        detector.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Send { to, packet } => {
                    let to = self.index(to);
                    self.last.insert(index, packet.clone());
                    *self.sent.entry((index, to)).or_insert(0) += 1;
                    self.fly(index, to, packet);
                }
                Output::Seems { seems: Seems::Down, .. } => self.downs += 1,
                Output::Seems { .. } => {}
            }
        }
    }

    fn fly(&mut self, from: usize, to: usize, packet: Bytes) {
        if self.dice(100) < self.loss_percent {
            return;
        }
        self.flown += 1;
        let delay = Duration::from_micros(200 + self.dice(5_000));
        self.flying.insert((self.now + delay, self.flown), (from, to, packet));
    }
}
