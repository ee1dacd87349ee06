//! Decides in which order the moves of a step are asked for, how many at once, and how often again.

use std::collections::{BTreeMap, VecDeque};

use whimbrel_wire::AttemptId;

use super::plan::Manner;

/// Moves that belong together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Of which step.
    pub(super) step: usize,
    pub(super) manner: Manner,
    pub(super) wants: VecDeque<Want>,
    pub(super) under_way: BTreeMap<AttemptId, Asked>,
    /// The node that the daemons leave; one that is elsewhere is left alone.
    pub(super) leaving: Option<usize>,
    /// Nothing is tried again.
    pub(super) closed: bool,
    /// When the last of its moves ended.
    pub(super) ended: Option<u64>,
    pub(super) moved: u64,
    pub(super) not_moved: u64,
}

/// A move that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) daemon: usize,
    /// None is where there is least.
    pub(super) to: Option<usize>,
    pub(super) tries: u32,
    /// Not before this moment.
    pub(super) not_before: u64,
}

/// A move that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) want: Want,
    /// At which node, in which of its lives.
    pub(super) node: usize,
    pub(super) life: u64,
    pub(super) target: usize,
}

impl Batch {
    pub(super) const fn new(step: usize, manner: Manner, leaving: Option<usize>) -> Self {
        Self {
            step,
            manner,
            wants: VecDeque::new(),
            under_way: BTreeMap::new(),
            leaving,
            closed: false,
            ended: None,
            moved: 0,
            not_moved: 0,
        }
    }

    pub(super) fn want(&mut self, daemon: usize, to: Option<usize>) {
        let tries = self.manner.tries;
        self.wants.push_back(Want { daemon, to, tries, not_before: 0 });
    }

    /// The next move that may be asked for.
    pub(super) fn next(&mut self, now: u64) -> Option<Want> {
        if self.under_way.len() >= self.manner.at_once {
            return None;
        }
        let due = self.wants.iter().position(|want| want.not_before <= now)?;
        self.wants.remove(due)
    }

    /// It did not come about; it is wanted again later, or not any more.
    pub(super) fn again(&mut self, want: Want, later: u64) {
        let tries = want.tries.saturating_sub(1);
        if tries == 0 || self.closed {
            self.not_moved += 1;
        } else {
            self.wants.push_back(Want { tries, not_before: later, ..want });
        }
    }

    /// What is not under way is given up.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.not_moved += self.wants.len() as u64;
        self.wants.clear();
    }

    pub(super) fn is_over(&self) -> bool {
        self.wants.is_empty() && self.under_way.is_empty()
    }
}
