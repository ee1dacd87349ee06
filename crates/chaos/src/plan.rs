//! Decides which faults there are, and from the seed in which order they come.
//!
//! Two courses run side by side: disturbances of the network, and blows to processes and disks. At
//! any time at most one of each is in force. What a fault is and how long it lasts is drawn when
//! the trial begins; when it comes depends on how long the ones before it took.

use std::time::Duration;

use whimbrel_trial::Dice;
use whimbrel_trial::steps::STEPS;

/// What is done to the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Datagrams from and to a node get lost by chance.
    Loss { node: usize, percent: u32 },
    /// Nothing gets from one node to another; the other way is open.
    OneWay { from: usize, to: usize },
    /// Nothing gets from one node to another, either way.
    Apart { one: usize, other: usize },
    /// Nothing gets out of a node.
    Mute { node: usize },
    /// Nothing gets into a node.
    Deaf { node: usize },
    /// All that a node sends and gets has to share a slow line.
    Slow { node: usize, kbit: u32 },
    /// Datagrams from and to a node are late and overtake each other, where a relay is.
    Late { node: usize, delay_ms: u32, jitter_ms: u32 },
}

/// What is done to a process or its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGKILL at a random moment, and a start after a while.
    Kill { whom: Whom, down: Duration },
    /// SIGTERM at a random moment: it stops what lives on it and ends in order; and a start after a while.
    End { whom: Whom, down: Duration },
    /// SIGSTOP at a random moment, and SIGCONT after a while.
    Stop { whom: Whom, pause: Duration },
    /// It dies when it comes to a step of a move.
    KillAt { node: usize, step: &'static str, down: Duration },
    /// It stops when it comes to a step of a move.
    StopAt { node: usize, step: &'static str, pause: Duration },
    /// Its disk has no room for a while.
    DiskFull { pause: Duration },
    /// SIGKILL, and a start with a clock that shows another time.
    Clock { node: usize, ahead: Duration },
}

/// Who is hit: what a node is to one of the moves under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Source,
    Target,
    Orchestrator,
}

/// One disturbance.
#[derive(Clone, Debug)]
pub(crate) struct Spell {
    pub(crate) rest: Duration,
    pub(crate) what: Disturbance,
    pub(crate) lasts: Duration,
}

/// One blow.
#[derive(Clone, Debug)]
pub(crate) struct Stroke {
    pub(crate) rest: Duration,
    pub(crate) what: Blow,
}

impl Disturbance {
    /// The kind, for the summary.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Loss { .. } => "random loss",
            Self::OneWay { .. } => "cut one way",
            Self::Apart { .. } => "cut both ways",
            Self::Mute { .. } => "nothing out",
            Self::Deaf { .. } => "nothing in",
            Self::Slow { .. } => "slow line",
            Self::Late { .. } => "late, reordered",
        }
    }

    /// How much of what `from` sends to `to` is lost: 0 to 1.
    pub(crate) fn loss(&self, from: usize, to: usize) -> f64 {
        let all = |lost: bool| if lost { 1.0 } else { 0.0 };
        match *self {
            Self::Loss { node, percent } if from == node || to == node => {
                f64::from(percent) / 100.0
            }
            Self::OneWay { from: one, to: other } => all(from == one && to == other),
            Self::Apart { one, other } => all([(one, other), (other, one)].contains(&(from, to))),
            Self::Mute { node } => all(from == node),
            Self::Deaf { node } => all(to == node),
            Self::Loss { .. } | Self::Slow { .. } | Self::Late { .. } => 0.0,
        }
    }

    /// The nodes that it is about.
    pub(crate) fn nodes(&self) -> Vec<usize> {
        match *self {
            Self::OneWay { from, to } => vec![from, to],
            Self::Apart { one, other } => vec![one, other],
            Self::Loss { node, .. }
            | Self::Mute { node }
            | Self::Deaf { node }
            | Self::Slow { node, .. }
            | Self::Late { node, .. } => vec![node],
        }
    }
}

impl Whom {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Orchestrator => "orchestrator",
        }
    }
}

impl Blow {
    /// The kind, for the summary.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "killed at random",
            Self::End { .. } => "ended in order",
            Self::Stop { .. } => "stopped at random",
            Self::KillAt { .. } => "killed at a step",
            Self::StopAt { .. } => "stopped at a step",
            Self::DiskFull { .. } => "disk full",
            Self::Clock { .. } => "killed, other clock",
        }
    }
}

/// Disturbances without end.
pub(crate) struct Spells {
    dice: Dice,
    nodes: usize,
    deck: Vec<u32>,
}

impl Spells {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self { dice: Dice::new(seed ^ 0x5be11), nodes, deck: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> Spell {
        let dice = &mut self.dice;
        if self.deck.is_empty() {
            self.deck = shuffled(dice, (0..7).collect());
        }
        let node = dice.below(self.nodes);
        let other = (node + 1 + dice.below(self.nodes - 1)) % self.nodes;
        let number = |dice: &mut Dice, low: u64, high: u64| dice.between(low, high) as u32;
        let (what, seconds) = match self.deck.pop() {
            Some(0) => (Disturbance::Loss { node, percent: number(dice, 2, 35) }, (3, 8)),
            Some(1) => (Disturbance::OneWay { from: node, to: other }, (1, 7)),
            Some(2) => (Disturbance::Apart { one: node, other }, (1, 7)),
            Some(3) => (Disturbance::Mute { node }, (1, 5)),
            Some(4) => (Disturbance::Deaf { node }, (1, 5)),
            Some(5) => (Disturbance::Slow { node, kbit: number(dice, 2_000, 30_000) }, (3, 8)),
            _ => {
                let (delay_ms, jitter_ms) = (number(dice, 0, 80), number(dice, 1, 60));
                (Disturbance::Late { node, delay_ms, jitter_ms }, (3, 8))
            }
        };
        let rest = Duration::from_millis(dice.between(300, 2_000));
        let lasts = Duration::from_millis(dice.between(seconds.0 * 1_000, seconds.1 * 1_000));
        Spell { rest, what, lasts }
    }
}

/// Blows without end.
pub(crate) struct Strokes {
    dice: Dice,
    nodes: usize,
    has_spaces: bool,
    deck: Vec<Blow>,
}

impl Strokes {
    /// Full disks and other clocks need what only root can make.
    pub(crate) fn new(seed: u64, nodes: usize, has_spaces: bool) -> Self {
        Self { dice: Dice::new(seed ^ 0xb10), nodes, has_spaces, deck: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> Stroke {
        if self.deck.is_empty() {
            self.deck = self.fresh();
        }
        let rest = Duration::from_millis(self.dice.between(300, 2_500));
        // A fresh deck has cards.
        let what = self.deck.pop().unwrap_or(Blow::Kill { whom: Whom::Source, down: rest });
        Stroke { rest, what }
    }

    /// Every step once for each way to hit it, and what comes at any moment between them.
    fn fresh(&mut self) -> Vec<Blow> {
        let (dice, nodes) = (&mut self.dice, self.nodes);
        let millis = |dice: &mut Dice, low, high| Duration::from_millis(dice.between(low, high));
        let mut names: Vec<&'static str> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        let mut deck = Vec::new();
        for step in names {
            let down = millis(dice, 0, 2_500);
            deck.push(Blow::KillAt { node: dice.below(nodes), step, down });
            let pause = millis(dice, 200, 6_000);
            deck.push(Blow::StopAt { node: dice.below(nodes), step, pause });
        }
        for at in 0..30 {
            let whom = [Whom::Source, Whom::Target, Whom::Orchestrator][at % 3];
            deck.push(Blow::Kill { whom, down: millis(dice, 0, 4_000) });
            deck.push(Blow::Stop { whom, pause: millis(dice, 200, 14_000) });
        }
        for at in 0..12 {
            let whom = [Whom::Source, Whom::Target, Whom::Orchestrator][at % 3];
            deck.push(Blow::End { whom, down: millis(dice, 0, 4_000) });
        }
        if self.has_spaces {
            for _ in 0..8 {
                deck.push(Blow::DiskFull { pause: millis(dice, 500, 6_000) });
                let ahead = Duration::from_secs(dice.between(1, 30_000_000));
                deck.push(Blow::Clock { node: dice.below(nodes), ahead });
            }
        }
        shuffled(dice, deck)
    }
}

fn shuffled<T>(dice: &mut Dice, mut deck: Vec<T>) -> Vec<T> {
    for at in (1..deck.len()).rev() {
        deck.swap(at, dice.below(at + 1));
    }
    deck
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_one_plan() {
        let plan = |seed| {
            let (mut spells, mut strokes) = (Spells::new(seed, 4), Strokes::new(seed, 4, true));
            (0..300)
                .map(|_| format!("{:?} {:?}", spells.next(), strokes.next()))
                .collect::<Vec<_>>()
        };
        assert_eq!(plan(3), plan(3));
        assert_ne!(plan(3), plan(4));
    }

    #[test]
    fn a_plan_has_every_kind_and_every_step_of_a_move() {
        let (mut spells, mut strokes) = (Spells::new(1, 4), Strokes::new(1, 4, true));
        let kinds: BTreeSet<_> = (0..14).map(|_| spells.next().what.kind()).collect();
        assert_eq!(kinds.len(), 7);
        let blows: Vec<_> = (0..200).map(|_| strokes.next().what).collect();
        let kinds: BTreeSet<_> = blows.iter().map(Blow::kind).collect();
        assert_eq!(kinds.len(), 7);
        for step in STEPS {
            let kill =
                |blow: &&Blow| matches!(blow, Blow::KillAt { step: at, .. } if *at == step.name);
            let stop =
                |blow: &&Blow| matches!(blow, Blow::StopAt { step: at, .. } if *at == step.name);
            assert!(blows.iter().any(|blow| kill(&blow)), "{}", step.name);
            assert!(blows.iter().any(|blow| stop(&blow)), "{}", step.name);
        }
    }

    #[test]
    fn a_cut_is_where_it_is_said_to_be() {
        let one_way = Disturbance::OneWay { from: 1, to: 2 };
        assert!(one_way.loss(1, 2) >= 1.0 && one_way.loss(2, 1) <= 0.0);
        let apart = Disturbance::Apart { one: 1, other: 2 };
        assert!(apart.loss(1, 2) >= 1.0 && apart.loss(2, 1) >= 1.0 && apart.loss(0, 1) <= 0.0);
        let deaf = Disturbance::Deaf { node: 1 };
        assert!(deaf.loss(0, 1) >= 1.0 && deaf.loss(1, 0) <= 0.0);
    }
}
