//! Decides it-ends: from a state, a run in which nothing more goes wrong comes to rest, and then all
//! is as it was promised.
//!
//! In such a run every message that is on its way comes, disks do what they say, and timers fire
//! once nothing else is left to do. The commands that were not given are not given any more. A run
//! that leads to a state from which another run came to rest comes to rest as well.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::atlas::{Atlas, Quick, State, Step};
use crate::facts::Broken;
use crate::prints::print_of;
use crate::story::Limits;

/// Steps within which a run must come to rest.
const STEPS_MAX: u32 = 4_000;

/// Times that timers may have to fire.
const WAKES_MAX: u32 = 200;

/// How far it is to rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// In steps.
    pub steps: u32,
    /// In timers that fire.
    pub wakes: u32,
}

/// What is known of runs that come to rest.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    known: HashMap<u64, Way, BuildHasherDefault<Quick>>,
    pub(crate) longest: Way,
    pub(crate) checked: u64,
}

/// One run.
struct Run<'a> {
    atlas: &'a mut Atlas,
    state: State,
    way: Way,
    gone: Vec<Step>,
}

impl Rests {
    /// Whether the whole comes to rest from here. If not, what is broken and by which steps.
    pub(crate) fn check(
        &mut self,
        atlas: &mut Atlas,
        state: &State,
    ) -> Result<(), (Broken, Vec<Step>)> {
        self.checked += 1;
        let channel = std::mem::replace(&mut atlas.story.channel, usize::MAX);
        let state = State { spent: Limits::default(), told: u16::MAX, ..state.clone() };
        let mut run = Run { atlas, state, way: Way::default(), gone: Vec::new() };
        let outcome = self.follow(&mut run).map_err(|broken| (broken, run.gone));
        atlas.story.channel = channel;
        outcome
    }

    fn follow(&mut self, run: &mut Run<'_>) -> Result<(), Broken> {
        let mut path = Vec::new();
        let mut row = Vec::new();
        let left = loop {
            run.state.pack(&mut row);
            let print = print_of(0, &row);
            if let Some(left) = self.known.get(&print) {
                break *left;
            }
            path.push((print, run.way));
            if run.way.steps > STEPS_MAX || run.way.wakes > WAKES_MAX {
                let Way { steps, wakes } = run.way;
                let what = format!("no rest after {steps} steps and {wakes} timers");
                return Err(Broken { promise: "it-ends", what });
            }
            if !run.round()? {
                run.atlas.at_rest(&run.state)?;
                break Way::default();
            }
        };
        let end = run.way;
        for (print, at) in path {
            let steps = end.steps - at.steps + left.steps;
            let wakes = end.wakes - at.wakes + left.wakes;
            self.longest.steps = self.longest.steps.max(steps);
            self.longest.wakes = self.longest.wakes.max(wakes);
            self.known.insert(print, Way { steps, wakes });
        }
        Ok(())
    }
}

impl Run<'_> {
    /// All that is on its way comes; if there is nothing, all timers fire. False at rest.
    fn round(&mut self) -> Result<bool, Broken> {
        let mut done = self.settle()?;
        for dispatch in self.state.dispatches.clone() {
            if self.state.dispatches.contains(&dispatch) {
                self.step(Step::Hear { dispatch, stays: false })?;
                self.settle()?;
                done = true;
            }
        }
        if done {
            return Ok(true);
        }
        for (node, daemon) in self.atlas.timers(&self.state) {
            if self.atlas.timers(&self.state).contains(&(node, daemon)) {
                self.step(Step::Wake { node, daemon })?;
                self.settle()?;
                self.way.wakes += 1;
                done = true;
            }
        }
        Ok(done)
    }

    /// Disks and other work end.
    fn settle(&mut self) -> Result<bool, Broken> {
        let mut done = false;
        while let Some(step) = self.atlas.urgent(&self.state)
            && !matches!(step, Step::Hear { .. })
        {
            self.step(step)?;
            done = true;
        }
        Ok(done)
    }

    fn step(&mut self, step: Step) -> Result<(), Broken> {
        self.gone.push(step);
        self.way.steps += 1;
        let next = self.atlas.after(&self.state, step)?;
        self.state = State { spent: Limits::default(), told: u16::MAX, ..next };
        Ok(())
    }
}
