//! Decides which transitions an event, or nothing, enables: the optimal transition set.
//!
//! The algorithm is that of SCXML (W3C Recommendation 2015, appendix D): each atomic state looks
//! for the first transition that fits, from the inside; of two that would leave the same state the
//! one of the inner state goes first, else the one that comes first in the document.

use std::ops::Range;

use smallvec::SmallVec;

use super::event::Event;
use super::session::Session;
use super::travel::exits;
use crate::chart::{Chart, Transition};

/// Transitions that are taken at one time.
pub(super) type Transitions = SmallVec<[u32; 8]>;

/// The transitions that are enabled by `event`, or by nothing, in the order of execution.
///
/// Conditions see `_event`, so the event must be the session's own by then.
///
/// `chart` is the session's own: whoever takes a step holds it already.
pub(crate) fn select(session: &mut Session, chart: &Chart, event: Option<&Event>) -> Transitions {
    let mut enabled = Transitions::new();
    let mut at = 0;
    while let Some(state) = session.configuration.get(at).copied() {
        at += 1;
        if !chart.is_atomic(state) || event.is_none() && !chart.node(state).is_restless {
            continue;
        }
        let mut outwards = chart.outwards(state);
        let found = outwards.find_map(|state| first_that_fits(session, chart, state, event));
        if let Some(found) = found
            && !enabled.contains(&found)
        {
            enabled.push(found);
        }
    }
    if enabled.len() > 1 { without_conflicts(session, chart, enabled) } else { enabled }
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
        session.fault_at(&fault, transition.origin.as_deref());
        false
    })
}

fn without_conflicts(session: &Session, chart: &Chart, enabled: Transitions) -> Transitions {
    let mut kept: SmallVec<[(u32, Range<usize>); 8]> = SmallVec::new();
    'next: for one in enabled {
        let exits = exits(session, chart, one);
        let mut beaten: SmallVec<[usize; 8]> = SmallVec::new();
        for (place, (other, others)) in kept.iter().enumerate() {
            if exits.start.max(others.start) >= exits.end.min(others.end) {
                continue;
            }
            let source = |index: u32| chart.transitions[index as usize].source;
            if !chart.is_within(source(one), source(*other)) {
                continue 'next;
            }
            beaten.push(place);
        }
        for place in beaten.into_iter().rev() {
            kept.remove(place);
        }
        kept.push((one, exits));
    }
    kept.into_iter().map(|(transition, _)| transition).collect()
}
