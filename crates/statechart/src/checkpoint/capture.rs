//! Decides what of an instance is written down: all of it, by name.

use std::sync::Arc;

use super::{Checkpoint, CheckpointError, Record, format_of};
use crate::chart::Chart;
use crate::engine::{Event, Instance, Session, SessionId, Timer};

impl Instance {
    /// Writes the instance down as it is, between any two microsteps.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if it cannot be written: that is our mistake.
    pub fn capture(&self) -> Result<Checkpoint, CheckpointError> {
        let chart = self.chart().ok_or(CheckpointError::TooLarge("no session"))?;
        let sessions = self.records();
        let mut checkpoint = Checkpoint {
            format: format_of(&sessions, self.above()),
            definition: chart.shared_definition(),
            name: Arc::clone(&self.name),
            next_session: self.next_session,
            cursor: self.cursor,
            sessions,
            above: self.above.clone(),
            digest: String::new(),
        };
        checkpoint.digest = checkpoint.digest_of_rest(&chart.digest)?;
        Ok(checkpoint)
    }

    /// Its sessions as a checkpoint has them, the first one first.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.sessions.values().flatten().map(|session| Record::of(session)).collect()
    }
}

impl Record {
    /// A session as a checkpoint has it.
    pub(crate) fn of(session: &Session) -> Self {
        let chart = &session.chart;
        let values = chart.variables.iter().zip(&session.data);
        let invoked = session.invoked.iter().filter_map(|((state, place), invoked)| {
            let invocation = chart.node(*state).invokes.get(*place as usize)?;
            Some((Arc::clone(&invocation.slot), invoked.clone()))
        });
        let history = session.history.iter();
        let timers = session.timers.iter();
        Self {
            id: session.id,
            chart: chart.path.clone(),
            phase: session.phase,
            configuration: names(chart, session.configuration.iter()),
            history: history
                .map(|(history, states)| {
                    (Arc::clone(chart.id(*history)), names(chart, states.iter()))
                })
                .collect(),
            data: values
                .filter_map(|(name, value)| Some((Arc::clone(name), value.clone()?)))
                .collect(),
            visited: names(chart, session.visited.iter()),
            internal: session.internal.iter().map(|event| Event::clone(event)).collect(),
            external: session.external.iter().map(|event| Event::clone(event)).collect(),
            event: session.event.as_deref().cloned(),
            to_invoke: names(chart, session.to_invoke.iter()),
            invoked: invoked.collect(),
            spawned: session.spawned.clone(),
            timers: timers.map(|(number, timer)| (*number, Timer::clone(timer))).collect(),
            parent: session.parent.clone(),
            given: session.given.clone(),
            next_id: session.next_id,
            next_timer: session.next_timer,
            sleeps_until: session.sleeps_until,
            restarts: session.restarts.clone(),
        }
    }
}

fn names<'a>(chart: &Chart, states: impl Iterator<Item = &'a u32>) -> Vec<Arc<str>> {
    states.map(|state| Arc::clone(chart.id(*state))).collect()
}

impl SessionId {
    /// Whether it is the instance's own.
    pub(super) fn is_first(self) -> bool {
        self == Self::FIRST
    }
}
