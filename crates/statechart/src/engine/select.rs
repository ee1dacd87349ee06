//! Decides which transitions an event, or nothing, enables: the optimal transition set.
//!
//! The algorithm is that of SCXML (W3C Recommendation 2015, appendix D): each atomic state looks
//! for the first transition that fits, from the inside; of two that would leave the same state the
//! one of the inner state goes first, else the one that comes first in the document.

use super::event::Event;
use super::session::Session;
use super::travel::{domain, effective_targets};
use crate::chart::{Chart, Transition};

/// The transitions that are enabled by `event`, or by nothing, in the order of execution.
///
/// Conditions see `_event`, so the event must be the session's own by then.
pub(crate) fn select(session: &mut Session, event: Option<&Event>) -> Vec<u32> {
    let chart = std::sync::Arc::clone(&session.chart);
    let mut enabled: Vec<u32> = Vec::new();
    let mut at = 0;
    while let Some(state) = session.configuration.get(at).copied() {
        at += 1;
        if !chart.is_atomic(state) {
            continue;
        }
        let mut outwards = chart.outwards(state);
        let found = outwards.find_map(|state| first_that_fits(session, &chart, state, event));
        if let Some(found) = found
            && !enabled.contains(&found)
        {
            enabled.push(found);
        }
    }
    if enabled.len() > 1 { without_conflicts(session, &chart, enabled) } else { enabled }
}

fn first_that_fits(
    session: &mut Session,
    chart: &Chart,
    state: u32,
    event: Option<&Event>,
) -> Option<u32> {
    chart
        .transitions_of(state)
        .find(|(_, transition)| fits(session, transition, event))
        .map(|(index, _)| index)
}

fn fits(session: &mut Session, transition: &Transition, event: Option<&Event>) -> bool {
    let named = match event {
        None => transition.on.is_empty(),
        Some(event) => transition.on.iter().any(|descriptor| descriptor.fits(&event.name)),
    };
    if !named {
        return false;
    }
    let Some(when) = &transition.when else { return true };
    // A condition that has no truth value does not hold, and is told.
    when.holds(session).unwrap_or_else(|fault| {
        session.fault(&fault);
        false
    })
}

fn without_conflicts(session: &Session, chart: &Chart, enabled: Vec<u32>) -> Vec<u32> {
    let leaves = |transition: u32| exits(session, chart, transition);
    let mut kept: Vec<(u32, Vec<u32>)> = Vec::new();
    'next: for one in enabled {
        let exits = leaves(one);
        let mut beaten = Vec::new();
        for (place, (other, others)) in kept.iter().enumerate() {
            if exits.iter().all(|state| others.binary_search(state).is_err()) {
                continue;
            }
            let source = |index: u32| chart.transitions[index as usize].source;
            if !chart.is_within(source(one), source(*other)) {
                continue 'next;
            }
            beaten.push(place);
        }
        beaten.into_iter().rev().for_each(|place| drop(kept.remove(place)));
        kept.push((one, exits));
    }
    kept.into_iter().map(|(transition, _)| transition).collect()
}

/// The active states that a transition leaves, in document order.
pub(crate) fn exits(session: &Session, chart: &Chart, transition: u32) -> Vec<u32> {
    let transition = &chart.transitions[transition as usize];
    if transition.targets.is_empty() {
        return Vec::new();
    }
    let targets = effective_targets(session, chart, &transition.targets);
    let domain = domain(chart, transition, &targets);
    let active = session.configuration.iter().copied();
    active.filter(|state| chart.is_within(*state, domain)).collect()
}
