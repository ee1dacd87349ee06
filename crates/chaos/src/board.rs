//! Decides what is noted while the trial goes on: moves, faults, what must not happen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use whimbrel_trial::steps::Part;

/// Which nodes take part in a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) source: usize,
    pub(crate) target: usize,
    pub(crate) asked: usize,
}

impl Route {
    const fn has(&self, node: usize) -> bool {
        self.source == node || self.target == node || self.asked == node
    }
}

/// How a move ended, seen by who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// On the target.
    Moved,
    /// The daemon stayed, for this reason.
    Failed(String),
    /// The node that was asked went away.
    AskedGone,
    /// Nothing was heard in time.
    Endless,
}

/// A move that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) route: Route,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) outcome: Outcome,
}

/// A fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: &'static str,
    pub(crate) nodes: Vec<usize>,
    pub(crate) from: Duration,
    /// None while it is in force.
    pub(crate) to: Option<Duration>,
}

impl Fault {
    /// Whether it was in force at a node of the move while the move was under way.
    fn hits(&self, it: &Move) -> bool {
        let until = self.to.unwrap_or(Duration::MAX);
        self.from <= it.to && it.from <= until && self.nodes.iter().any(|&node| it.route.has(node))
    }
}

/// How often a trap was set at a step, and how often the node came there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trapped {
    pub(crate) set: u32,
    pub(crate) sprung: u32,
}

/// Everything that is noted.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) under_way: BTreeMap<usize, Route>,
    pub(crate) moves: Vec<Move>,
    pub(crate) faults: Vec<Fault>,
    /// By step and by what the node does there.
    pub(crate) traps: BTreeMap<(&'static str, &'static str), Trapped>,
    /// Where a trap is set, and who walks into it.
    pub(crate) lure: Option<(usize, Part)>,
    /// Packets and datagrams that were lost on purpose.
    pub(crate) dropped: u64,
    /// What must not happen.
    pub(crate) violations: Vec<String>,
    /// Processes that did not go on.
    pub(crate) hung: u32,
}

impl Notes {
    /// Moves that ended on the target.
    pub(crate) fn done(&self) -> usize {
        self.moves.iter().filter(|it| it.outcome == Outcome::Moved).count()
    }

    /// Moves that ended on the target and met a fault at one of their nodes.
    pub(crate) fn disturbed(&self) -> usize {
        let met = |it: &&Move| self.faults.iter().any(|fault| fault.hits(it));
        self.moves.iter().filter(|it| it.outcome == Outcome::Moved).filter(met).count()
    }
}

/// The notes, shared by all that goes on, and the log.
pub(crate) struct Board {
    begun: Instant,
    notes: Mutex<Notes>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), notes: Mutex::default() }
    }

    /// Since the trial began.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line of the log.
    pub(crate) fn say(&self, text: &str) {
        println!("{:>9.2} s  {text}", self.now().as_secs_f64());
    }

    /// Something that must not happen.
    pub(crate) fn violation(&self, text: String) {
        self.say(&format!("VIOLATION: {text}"));
        self.notes().violations.push(text);
    }

    /// A process that does not go on.
    pub(crate) fn hung(&self, text: String) {
        self.notes().hung += 1;
        self.violation(format!("hung: {text}"));
    }

    /// A fault begins; its place.
    pub(crate) fn begin(&self, kind: &'static str, nodes: Vec<usize>) -> usize {
        let from = self.now();
        let mut notes = self.notes();
        notes.faults.push(Fault { kind, nodes, from, to: None });
        notes.faults.len() - 1
    }

    /// It is over.
    pub(crate) fn end(&self, fault: usize) {
        let now = self.now();
        if let Some(fault) = self.notes().faults.get_mut(fault) {
            fault.to = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_met_a_fault_only_if_both_were_there_at_once_and_at_one_node() {
        let second = Duration::from_secs;
        let route = Route { source: 0, target: 1, asked: 1 };
        let moved = Move { route, from: second(5), to: second(6), outcome: Outcome::Moved };
        let fault = |node, from, to| Fault {
            kind: "any",
            nodes: vec![node],
            from: second(from),
            to: Some(second(to)),
        };
        assert!(fault(1, 1, 5).hits(&moved) && fault(0, 6, 9).hits(&moved));
        assert!(!fault(2, 1, 9).hits(&moved) && !fault(0, 7, 9).hits(&moved));
        let for_ever = Fault { to: None, ..fault(0, 1, 1) };
        assert!(for_ever.hits(&moved));
    }
}
