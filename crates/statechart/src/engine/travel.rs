//! Decides which states a set of transitions leaves and enters, and does it: one microstep.
//!
//! The algorithm is that of SCXML (W3C Recommendation 2015, appendix D).

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::act::{Desk, perform};
use super::event::{Event, EventKind};
use super::session::Session;
use super::spawn::stop_all;
use crate::chart::{Act, Chart, ROOT, Transition};
use crate::definition::{Binding, StateKind};
use crate::value::Value;

/// A set of states in document order. Few are entered or left at one time.
type States = SmallVec<[u32; 16]>;

/// Adds a state to a set.
fn add(states: &mut States, state: u32) {
    match states.last() {
        Some(last) if *last >= state => {
            if let Err(place) = states.binary_search(&state) {
                states.insert(place, state);
            }
        }
        Some(_) | None => states.push(state),
    }
}

/// Takes one microstep.
pub(crate) fn microstep(
    session: &mut Session,
    desk: &mut Desk<'_>,
    chart: &Chart,
    transitions: &[u32],
) {
    let mut leaving = States::new();
    for transition in transitions {
        let exits = exits(session, chart, *transition);
        session.configuration[exits].iter().for_each(|state| add(&mut leaving, *state));
    }
    remember(session, chart, &leaving);
    leave(session, desk, chart, &leaving);
    for transition in transitions {
        perform(session, desk, &chart.transitions[*transition as usize].actions);
    }
    let mut entry = Entry::default();
    for transition in transitions {
        let transition = &chart.transitions[*transition as usize];
        entry.transition(session, chart, transition);
    }
    enter(session, desk, chart, entry);
}

/// Enters the first states.
pub(crate) fn begin(session: &mut Session, desk: &mut Desk<'_>) {
    let chart = Arc::clone(&session.chart);
    let mut entry = Entry::default();
    let targets = &chart.node(ROOT).initial.targets;
    for target in targets {
        entry.below(session, &chart, *target);
    }
    for target in effective_targets(session, &chart, targets).iter() {
        entry.above(session, &chart, *target, ROOT);
    }
    enter(session, desk, &chart, entry);
}

/// Leaves everything: the session ends.
pub(crate) fn leave_all(session: &mut Session, desk: &mut Desk<'_>) {
    let chart = Arc::clone(&session.chart);
    let leaving = States::from_slice(&session.configuration);
    leave(session, desk, &chart, &leaving);
    stop_all(session, desk);
}

/// The targets, with histories replaced by what they stand for.
fn effective_targets<'a>(session: &Session, chart: &Chart, targets: &'a [u32]) -> Cow<'a, [u32]> {
    if !targets.iter().any(|target| chart.is_history(*target)) {
        return Cow::Borrowed(targets);
    }
    let mut effective: Vec<u32> = Vec::with_capacity(targets.len());
    for target in targets {
        if !chart.is_history(*target) {
            effective.push(*target);
        } else if let Some(recorded) = session.history.get(target) {
            effective.extend(recorded);
        } else {
            // A history leads to states in its parent: a chart has no circle of them.
            let initial = &chart.node(*target).initial.targets;
            let inner: Vec<u32> = initial.iter().copied().filter(|inner| inner != target).collect();
            effective.extend(effective_targets(session, chart, &inner).iter());
        }
    }
    Cow::Owned(effective)
}

/// The active states that a transition leaves, as places in the configuration: descendants of one
/// state stand there in a row.
pub(super) fn exits(session: &Session, chart: &Chart, transition: u32) -> Range<usize> {
    let transition = &chart.transitions[transition as usize];
    if transition.targets.is_empty() {
        return 0..0;
    }
    let domain = transition.domain.unwrap_or_else(|| {
        let targets = effective_targets(session, chart, &transition.targets);
        domain(chart, transition, &targets)
    });
    let active = &session.configuration;
    let end = chart.node(domain).end;
    let first = active.partition_point(|state| *state <= domain);
    first..first + active[first..].partition_point(|state| *state < end)
}

/// The state within which a transition happens.
pub(crate) fn domain(chart: &Chart, transition: &Transition, targets: &[u32]) -> u32 {
    let source = transition.source;
    if source == ROOT {
        return ROOT;
    }
    let inside = targets.iter().all(|target| chart.is_within(*target, source));
    if transition.internal && inside && chart.is_compound(source) {
        return source;
    }
    let all = targets.iter().copied().chain(std::iter::once(source));
    chart.common(all, source)
}

/// Writes down what histories of states that are left stand for.
fn remember(session: &mut Session, chart: &Chart, leaving: &[u32]) {
    for state in leaving {
        for history in &chart.node(*state).histories {
            let deep = chart.node(*history).kind == StateKind::DeepHistory;
            let active = session.configuration.iter().copied();
            let recorded: Vec<u32> = if deep {
                let leaves = active.filter(|leaf| chart.is_atomic(*leaf));
                leaves.filter(|leaf| chart.is_within(*leaf, *state)).collect()
            } else {
                active.filter(|child| chart.node(*child).parent == *state).collect()
            };
            session.remember(*history, recorded);
        }
    }
}

fn leave(session: &mut Session, desk: &mut Desk<'_>, chart: &Chart, leaving: &[u32]) {
    for state in leaving {
        session.will_not_invoke(*state);
    }
    for state in leaving.iter().rev() {
        for block in &chart.node(*state).on_exit {
            perform(session, desk, block);
        }
        let over: Vec<(u32, u32)> =
            session.invoked.range((*state, 0)..=(*state, u32::MAX)).map(|(key, _)| *key).collect();
        for key in over {
            if let Some(child) = session.forget_invoked(key).and_then(|invoked| invoked.session) {
                desk.cancelled.push(child);
            }
        }
        session.deactivate(*state);
    }
}

/// What is entered, and why.
#[derive(Default)]
struct Entry<'a> {
    states: States,
    /// Compound states that are entered by their own beginning.
    by_default: States,
    /// What a history does that remembers nothing, by the state that holds it.
    by_history: Vec<(u32, &'a [Act])>,
}

impl<'a> Entry<'a> {
    fn transition(&mut self, session: &Session, chart: &'a Chart, transition: &Transition) {
        if transition.targets.is_empty() {
            return;
        }
        for target in &transition.targets {
            self.below(session, chart, *target);
        }
        let targets = effective_targets(session, chart, &transition.targets);
        let within = transition.domain.unwrap_or_else(|| domain(chart, transition, &targets));
        for target in targets.iter() {
            self.above(session, chart, *target, within);
        }
    }

    /// Adds a state and what is entered with it inside.
    fn below(&mut self, session: &Session, chart: &'a Chart, state: u32) {
        let node = chart.node(state);
        match node.kind {
            StateKind::History | StateKind::DeepHistory => {
                let inner: &[u32] = match session.history.get(&state) {
                    Some(recorded) => recorded,
                    None => {
                        let by_history = &mut self.by_history;
                        by_history.retain(|(state, _)| *state != node.parent);
                        by_history.push((node.parent, &node.initial.actions));
                        &node.initial.targets
                    }
                };
                self.all_within(session, chart, inner, node.parent);
            }
            StateKind::State if !node.children.is_empty() => {
                add(&mut self.states, state);
                add(&mut self.by_default, state);
                self.all_within(session, chart, &node.initial.targets, state);
            }
            StateKind::Parallel => {
                add(&mut self.states, state);
                self.regions(session, chart, state);
            }
            StateKind::State | StateKind::Final => {
                add(&mut self.states, state);
            }
        }
    }

    fn all_within(&mut self, session: &Session, chart: &'a Chart, targets: &[u32], top: u32) {
        for target in targets {
            self.below(session, chart, *target);
        }
        for target in targets {
            self.above(session, chart, *target, top);
        }
    }

    /// Adds the states around `state`, up to `top`, with the other regions of those that are
    /// parallel.
    fn above(&mut self, session: &Session, chart: &'a Chart, state: u32, top: u32) {
        for around in chart.ancestors(state, top) {
            add(&mut self.states, around);
            if chart.node(around).kind == StateKind::Parallel {
                self.regions(session, chart, around);
            }
        }
    }

    /// Adds the regions of a parallel state into which nothing else leads.
    fn regions(&mut self, session: &Session, chart: &'a Chart, parallel: u32) {
        for region in &chart.node(parallel).children {
            let next = self.states.partition_point(|state| *state < *region);
            let entered =
                self.states.get(next).is_some_and(|state| *state < chart.node(*region).end);
            if !entered {
                self.below(session, chart, *region);
            }
        }
    }
}

fn enter(session: &mut Session, desk: &mut Desk<'_>, chart: &Chart, entry: Entry<'_>) {
    for state in &entry.states {
        let node = chart.node(*state);
        // A history leads in from its parent, and some of the way may not have been left: what is
        // active is not entered again, and does not invoke again what runs beside it.
        if session.is_active(*state) {
            continue;
        }
        session.activate(*state);
        if !node.invokes.is_empty() {
            session.will_invoke(*state);
        }
        let late = !node.data.is_empty() && chart.definition().binding == Binding::Late;
        if late && session.visit(*state) {
            session.bind(chart, *state);
        }
        for block in &node.on_entry {
            perform(session, desk, block);
        }
        if !node.initial.actions.is_empty() && entry.by_default.binary_search(state).is_ok() {
            perform(session, desk, &node.initial.actions);
        }
        if let Some((_, acts)) = entry.by_history.iter().find(|(parent, _)| parent == state) {
            perform(session, desk, acts);
        }
        if node.kind == StateKind::Final {
            arrive(session, desk, chart, *state);
        }
    }
}

/// A final state was entered: its parent is done, and so may be the one around that.
fn arrive(session: &mut Session, desk: &mut Desk<'_>, chart: &Chart, state: u32) {
    let parent = chart.node(state).parent;
    if parent == ROOT {
        desk.finished = true;
        return;
    }
    let data = chart.node(state).done.as_ref().map(|done| done.evaluate(session));
    session.tell(done(chart, parent, data.unwrap_or(Value::Null)));
    let around = chart.node(parent).parent;
    if around != ROOT && chart.node(around).kind == StateKind::Parallel && session.is_done(around) {
        session.tell(done(chart, around, Value::Null));
    }
}

fn done(chart: &Chart, state: u32, data: Value) -> Event {
    Event::of(EventKind::Platform, format!("done.state.{}", chart.id(state)).into(), data)
}
