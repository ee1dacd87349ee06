//! Decides what an instance can still reach: the part of a definition that matters to it.
//!
//! Conditions and events are not looked at, but for conditions that are written as `false`: what is
//! named here may be too much, and is never too little.

use super::bits::Bits;
use crate::chart::{Chart, ROOT, Transition};
use crate::definition::StateKind;
use crate::expression::Node;
use crate::value::Value;

/// What is entered when something is taken or entered.
#[derive(Clone, Debug, Default)]
struct Way {
    states: Bits,
    histories: Vec<u32>,
}

/// What leads where in a chart, worked out once.
#[derive(Debug)]
pub(super) struct Reach {
    below: Vec<Way>,
    /// None: it can never be taken.
    ways: Vec<Option<Way>>,
    first: Way,
}

/// What an instance can reach.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// States that are active or can become so, the root among them.
    pub(super) possible: Bits,
    /// States that can be entered from here on.
    pub(super) entered: Bits,
    /// Histories that can be led to.
    pub(super) histories: Bits,
}

impl Reach {
    pub(super) fn of(chart: &Chart) -> Self {
        let count = u32::try_from(chart.nodes.len()).unwrap_or(u32::MAX);
        let below = (0..count).map(|state| {
            let mut way = Way::new(chart);
            if state != ROOT {
                way.below(chart, state);
            }
            way
        });
        let below = below.collect();
        let ways = chart.transitions.iter().map(|transition| way_of(chart, transition)).collect();
        let mut first = Way::new(chart);
        first.all_within(chart, &chart.node(ROOT).initial.targets, ROOT);
        Self { below, ways, first }
    }

    /// Whether a transition can ever be taken.
    pub(super) fn is_alive(&self, transition: u32) -> bool {
        self.ways.get(transition as usize).is_some_and(Option::is_some)
    }

    /// What an instance reaches whose `active` states these are, and whose histories remember that.
    pub(super) fn slice(
        &self,
        chart: &Chart,
        active: impl Iterator<Item = u32>,
        remembered: &[(u32, Vec<u32>)],
    ) -> Slice {
        let mut slice = Slice::empty(chart);
        slice.possible.insert(ROOT);
        for state in active {
            slice.possible.insert(state);
        }
        self.close(chart, &mut slice, remembered);
        slice
    }

    /// What an instance reaches that is only born.
    pub(super) fn born(&self, chart: &Chart) -> Slice {
        let mut slice = Slice::empty(chart);
        slice.possible.insert(ROOT);
        slice.take(&self.first);
        self.close(chart, &mut slice, &[]);
        slice
    }

    fn close(&self, chart: &Chart, slice: &mut Slice, remembered: &[(u32, Vec<u32>)]) {
        let mut done = Bits::new(chart.nodes.len());
        loop {
            let open: Vec<u32> = slice.possible.iter().filter(|state| !done.has(*state)).collect();
            let mut grown = !open.is_empty();
            for state in open {
                done.insert(state);
                for index in chart.node(state).transitions.clone() {
                    if let Some(way) = &self.ways[index as usize] {
                        slice.take(way);
                    }
                }
            }
            let histories: Vec<u32> = slice.histories.iter().collect();
            for history in histories {
                grown |= self.recall(chart, slice, history, remembered);
            }
            if !grown {
                return;
            }
        }
    }

    /// Adds what a history can lead to: what it remembers, and whatever it may remember later.
    fn recall(
        &self,
        chart: &Chart,
        slice: &mut Slice,
        history: u32,
        remembered: &[(u32, Vec<u32>)],
    ) -> bool {
        let around = chart.node(history).parent;
        let deep = chart.node(history).kind == StateKind::DeepHistory;
        let mut way = Way::new(chart);
        let records = remembered.iter().filter(|(known, _)| *known == history);
        for state in records.flat_map(|(_, states)| states) {
            way.below(chart, *state);
            way.above(chart, *state, around);
        }
        for state in slice.possible.iter().filter(|state| chart.is_within(*state, around)) {
            if deep {
                way.states.insert(state);
            } else if chart.node(state).parent == around && !chart.is_history(state) {
                way.join(&self.below[state as usize]);
            }
        }
        slice.take(&way)
    }
}

impl Slice {
    pub(super) fn empty(chart: &Chart) -> Self {
        let count = chart.nodes.len();
        Self { possible: Bits::new(count), entered: Bits::new(count), histories: Bits::new(count) }
    }

    fn take(&mut self, way: &Way) -> bool {
        let mut new = self.possible.add(&way.states);
        new |= self.entered.add(&way.states);
        for history in &way.histories {
            new |= self.histories.insert(*history);
        }
        new
    }

    /// Adds what another one holds.
    pub(super) fn join(&mut self, other: &Self) {
        self.possible.add(&other.possible);
        self.entered.add(&other.entered);
        self.histories.add(&other.histories);
    }

    /// Whether an event of this name is waited for anywhere in the slice.
    pub(super) fn hears(&self, chart: &Chart, reach: &Reach, name: &str) -> bool {
        self.listeners(chart, reach, name).next().is_some()
    }

    /// The transitions of the slice that wait for an event of this name.
    pub(super) fn listeners<'a>(
        &'a self,
        chart: &'a Chart,
        reach: &'a Reach,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Transition> {
        let transitions = self.possible.iter().flat_map(|state| chart.transitions_of(state));
        transitions
            .filter(|(index, transition)| {
                reach.is_alive(*index) && transition.on.iter().any(|on| on.fits(name))
            })
            .map(|(_, transition)| transition)
    }
}

/// Whether a condition is written so that it can never hold.
pub(super) fn is_never(transition: &Transition) -> bool {
    let when = transition.when.as_ref();
    when.is_some_and(|when| *when.root() == Node::Literal(Value::Bool(false)))
}

fn way_of(chart: &Chart, transition: &Transition) -> Option<Way> {
    if is_never(transition) {
        return None;
    }
    let mut way = Way::new(chart);
    if transition.targets.is_empty() {
        return Some(way);
    }
    for target in &transition.targets {
        way.below(chart, *target);
    }
    // A history stands in the state that holds all it can lead to, so its own place will do.
    let domain = crate::engine::domain(chart, transition, &transition.targets);
    for target in &transition.targets {
        way.above(chart, *target, domain);
    }
    Some(way)
}

impl Way {
    fn new(chart: &Chart) -> Self {
        Self { states: Bits::new(chart.nodes.len()), histories: Vec::new() }
    }

    fn join(&mut self, other: &Self) {
        self.states.add(&other.states);
        self.histories.extend(&other.histories);
    }

    fn below(&mut self, chart: &Chart, state: u32) {
        let node = chart.node(state);
        match node.kind {
            StateKind::History | StateKind::DeepHistory => {
                if !self.histories.contains(&state) {
                    self.histories.push(state);
                    self.all_within(chart, &node.initial.targets, node.parent);
                }
            }
            StateKind::State if !node.children.is_empty() => {
                self.states.insert(state);
                self.all_within(chart, &node.initial.targets, state);
            }
            StateKind::Parallel => {
                self.states.insert(state);
                self.regions(chart, state);
            }
            StateKind::State | StateKind::Final => {
                self.states.insert(state);
            }
        }
    }

    fn all_within(&mut self, chart: &Chart, targets: &[u32], top: u32) {
        targets.iter().for_each(|target| self.below(chart, *target));
        targets.iter().for_each(|target| self.above(chart, *target, top));
    }

    fn above(&mut self, chart: &Chart, state: u32, top: u32) {
        for around in chart.ancestors(state, top) {
            self.states.insert(around);
            if chart.node(around).kind == StateKind::Parallel {
                self.regions(chart, around);
            }
        }
    }

    fn regions(&mut self, chart: &Chart, parallel: u32) {
        for region in &chart.node(parallel).children {
            if !self.states.any_in(*region, chart.node(*region).end) {
                self.below(chart, *region);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whimbrel_wire::Time;

    use super::*;
    use crate::engine::{Event, Instance, Limits, SessionId};

    /// Compound and parallel states, histories of both kinds, transitions across all of them.
    const MAZE: &str = r#"{ "id": "maze", "states": [
        { "id": "gone", "transitions": [{ "on": ["a"], "to": ["p"] }] },
        { "id": "p", "kind": "parallel",
          "transitions": [{ "on": ["d"], "to": ["out"] }],
          "states": [
            { "id": "q", "initial": ["q1"], "states": [
              { "id": "shallow", "kind": "history", "transitions": [{ "to": ["q1"] }] },
              { "id": "q1", "transitions": [{ "on": ["a"], "to": ["q2"] }] },
              { "id": "q2", "initial": ["q21"], "states": [
                { "id": "q21", "transitions": [{ "on": ["b"], "to": ["q22"] }] }, { "id": "q22" } ] },
              { "id": "q3" } ] },
            { "id": "r", "states": [
              { "id": "deep", "kind": "deep-history", "transitions": [{ "to": ["r1"] }] },
              { "id": "r1", "transitions": [{ "on": ["c"], "to": ["r2"] }] },
              { "id": "r2", "kind": "parallel", "states": [{ "id": "x" }, { "id": "y" }] } ] } ] },
        { "id": "out", "transitions": [
            { "on": ["b"], "to": ["shallow"] }, { "on": ["c"], "to": ["deep"] },
            { "on": ["a"], "when": "false", "to": ["never"] } ] },
        { "id": "never" } ] }"#;

    #[test]
    fn a_sound_slice_holds_all_that_is_ever_entered_and_not_everything() {
        let chart = Arc::new(Chart::new(serde_json::from_str(MAZE).unwrap()).unwrap());
        let reach = Reach::of(&chart);
        let now = Time::from_nanos(1);
        let mut first = Instance::new(Arc::clone(&chart), "maze", Limits::default());
        first.settle(now).unwrap();
        first.step(Event::new("a", Value::Null), now).unwrap();
        let slice_of = |instance: &Instance| {
            let session = instance.session(SessionId::FIRST).unwrap();
            let history = session.history.iter();
            let remembered: Vec<_> = history.map(|(id, states)| (*id, states.clone())).collect();
            reach.slice(&chart, session.configuration.iter().copied(), &remembered)
        };
        let place = |id: &str| chart.places[id];
        let mut open = vec![(first.clone(), slice_of(&first), 0)];
        let mut seen = Bits::new(chart.nodes.len());
        while let Some((instance, slice, depth)) = open.pop() {
            let session = instance.session(SessionId::FIRST).unwrap();
            for state in &session.configuration {
                assert!(slice.possible.has(*state), "{} is not in its slice", chart.id(*state));
                seen.insert(*state);
            }
            for event in ["a", "b", "c", "d"].iter().filter(|_| depth < 6) {
                let mut next = instance.clone();
                next.step(Event::new(*event, Value::Null), now).unwrap();
                // What is reached later lies in the slice of before, and in its own.
                let own = slice_of(&next);
                let grown = !slice.clone().possible.add(&own.possible);
                assert!(grown, "a slice never grows");
                open.push((next, own, depth + 1));
            }
        }
        assert!(seen.has(place("q22")) && seen.has(place("y")) && seen.has(place("out")));
        let slice = slice_of(&first);
        for id in ["gone", "never", "q3"] {
            assert!(!slice.possible.has(place(id)), "{id} cannot be reached");
        }
    }
}
