//! Decides how what a step changed in a session is taken back.
//!
//! A step that does not end must leave nothing behind, and nearly every step ends. So nothing is
//! copied beforehand: within an attempt each change of a [`Session`] writes down how to undo it,
//! and what wants to change a session in another way than those named here has all of it copied
//! first ([`Session::state_mut`]).
//!
//! # Invariants
//!
//! * U1 (taken back): after an attempt that failed the instance is what it was, to the byte.

use std::collections::BTreeSet;
use std::sync::Arc;

use whimbrel_wire::Time;

use super::event::Event;
use super::session::{Invoked, Phase, Session, Spawned, State, Timer};
use crate::expression::Fault;
use crate::value::Value;

/// Changes for which there is room at once: a step of a small chart makes no more.
const LOG_CAPACITY: usize = 16;

/// What a change was before, or how to undo it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Phase(Phase),
    Entered(u32),
    Left(u32),
    Remembered(u32, Option<Vec<u32>>),
    Datum(u32, Option<Value>),
    Visited(u32),
    Raised,
    TookInternal(Arc<Event>),
    Posted,
    TookExternal(Arc<Event>),
    Heard(Option<Arc<Event>>),
    ToInvoke(u32),
    InvokesNot(u32),
    Invoked(Box<((u32, u32), Option<Invoked>)>),
    Spawned(Box<(Arc<str>, Option<Spawned>)>),
    Timer(u64, Option<Arc<Timer>>),
    Sleeps(Option<Time>),
    NextTimer(u64),
    NextId(u64),
    Whole(Box<State>),
}

impl Session {
    /// From now on each change is written down.
    pub(super) fn begin_attempt(&mut self) {
        if self.log.is_none() {
            self.log = Some(Vec::with_capacity(LOG_CAPACITY));
        }
    }

    /// What was changed stays.
    pub(super) fn keep_changes(&mut self) {
        self.log = None;
    }

    /// Takes all changes back.
    pub(super) fn take_back(&mut self) {
        let changes = self.log.take().unwrap_or_default();
        changes.into_iter().rev().for_each(|change| self.undo(change));
    }

    fn undo(&mut self, change: Change) {
        let state = &mut self.state;
        match change {
            Change::Phase(phase) => state.phase = phase,
            Change::Entered(entered) => remove(&mut state.configuration, entered),
            Change::Left(left) => insert(&mut state.configuration, left),
            Change::Remembered(history, Some(states)) => {
                state.history.insert(history, states);
            }
            Change::Remembered(history, None) => {
                state.history.remove(&history);
            }
            Change::Datum(variable, value) => state.data[variable as usize] = value,
            Change::Visited(visited) => {
                state.visited.remove(&visited);
            }
            Change::Raised => {
                state.internal.pop_back();
            }
            Change::TookInternal(event) => state.internal.push_front(event),
            Change::Posted => {
                state.external.pop_back();
            }
            Change::TookExternal(event) => state.external.push_front(event),
            Change::Heard(event) => state.event = event,
            Change::ToInvoke(invoker) => {
                state.to_invoke.remove(&invoker);
            }
            Change::InvokesNot(invoker) => {
                state.to_invoke.insert(invoker);
            }
            Change::Invoked(before) => match *before {
                (key, Some(invoked)) => {
                    state.invoked.insert(key, invoked);
                }
                (key, None) => {
                    state.invoked.remove(&key);
                }
            },
            Change::Spawned(before) => match *before {
                (id, Some(spawned)) => {
                    state.spawned.insert(id, spawned);
                }
                (id, None) => {
                    state.spawned.remove(&id);
                }
            },
            Change::Timer(number, Some(timer)) => {
                state.timers.insert(number, timer);
            }
            Change::Timer(number, None) => {
                state.timers.remove(&number);
            }
            Change::Sleeps(until) => state.sleeps_until = until,
            Change::NextTimer(number) => state.next_timer = number,
            Change::NextId(number) => state.next_id = number,
            Change::Whole(before) => *state = *before,
        }
    }

    fn note(&mut self, change: impl FnOnce(&State) -> Change) {
        if let Some(log) = &mut self.log {
            log.push(change(&self.state));
        }
    }

    /// The session, for changes that are not among those below.
    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.note(|state| Change::Whole(Box::new(state.clone())));
        &mut self.state
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.note(|state| Change::Phase(state.phase));
        self.state.phase = phase;
    }

    pub(super) fn sleep_until(&mut self, until: Option<Time>) {
        let before = std::mem::replace(&mut self.state.sleeps_until, until);
        self.note(|_| Change::Sleeps(before));
    }

    pub(super) fn set_event(&mut self, event: Arc<Event>) {
        let before = self.state.event.replace(event);
        self.note(|_| Change::Heard(before));
    }

    pub(super) fn activate(&mut self, state: u32) {
        self.note(|_| Change::Entered(state));
        insert(&mut self.state.configuration, state);
    }

    pub(super) fn deactivate(&mut self, state: u32) {
        self.note(|_| Change::Left(state));
        remove(&mut self.state.configuration, state);
    }

    pub(super) fn remember(&mut self, history: u32, states: Vec<u32>) {
        let before = self.state.history.insert(history, states);
        self.note(|_| Change::Remembered(history, before));
    }

    pub(crate) fn set_datum(&mut self, variable: u32, value: Value) {
        let before = self.state.data[variable as usize].replace(value);
        self.note(|_| Change::Datum(variable, before));
    }

    /// Whether the state is visited for the first time.
    pub(super) fn visit(&mut self, state: u32) -> bool {
        let first = self.state.visited.insert(state);
        if first {
            self.note(|_| Change::Visited(state));
        }
        first
    }

    pub(super) fn take_internal(&mut self) -> Option<Arc<Event>> {
        let event = self.state.internal.pop_front()?;
        self.note(|_| Change::TookInternal(Arc::clone(&event)));
        Some(event)
    }

    pub(super) fn take_external(&mut self) -> Option<Arc<Event>> {
        let event = self.state.external.pop_front()?;
        self.note(|_| Change::TookExternal(Arc::clone(&event)));
        Some(event)
    }

    pub(super) fn post(&mut self, event: Arc<Event>) {
        self.note(|_| Change::Posted);
        self.state.external.push_back(event);
    }

    /// Puts an event of the engine into the internal queue. It goes beyond the room that the chart's
    /// own events have, and beyond twice that room it is lost: a queue that long never empties.
    pub(super) fn tell(&mut self, event: Event) {
        if self.internal.len() < self.room.saturating_mul(2) {
            self.note(|_| Change::Raised);
            self.state.internal.push_back(Arc::new(event));
        }
    }

    /// Raises an event of the chart.
    pub(super) fn raise(&mut self, event: Event) -> Result<(), Fault> {
        if self.internal.len() >= self.room {
            return Err(Fault::new("too many events wait inside"));
        }
        self.note(|_| Change::Raised);
        self.state.internal.push_back(Arc::new(event));
        Ok(())
    }

    pub(crate) fn will_invoke(&mut self, state: u32) {
        if self.state.to_invoke.insert(state) {
            self.note(|_| Change::ToInvoke(state));
        }
    }

    pub(super) fn will_not_invoke(&mut self, state: u32) {
        if self.state.to_invoke.remove(&state) {
            self.note(|_| Change::InvokesNot(state));
        }
    }

    /// What is to invoke, which is up to the caller from now on.
    pub(super) fn take_invokers(&mut self) -> BTreeSet<u32> {
        let invokers = std::mem::take(&mut self.state.to_invoke);
        for state in &invokers {
            self.note(|_| Change::InvokesNot(*state));
        }
        invokers
    }

    pub(crate) fn set_invoked(&mut self, key: (u32, u32), invoked: Invoked) {
        let before = self.state.invoked.insert(key, invoked);
        self.note(|_| Change::Invoked(Box::new((key, before))));
    }

    pub(super) fn forget_invoked(&mut self, key: (u32, u32)) -> Option<Invoked> {
        let before = self.state.invoked.remove(&key)?;
        self.note(|_| Change::Invoked(Box::new((key, Some(before.clone())))));
        Some(before)
    }

    pub(super) fn set_spawned(&mut self, id: Arc<str>, spawned: Spawned) {
        let before = self.state.spawned.insert(Arc::clone(&id), spawned);
        self.note(|_| Change::Spawned(Box::new((id, before))));
    }

    pub(super) fn forget_spawned(&mut self, id: &str) -> Option<Spawned> {
        let (id, before) = self.state.spawned.remove_entry(id)?;
        self.note(|_| Change::Spawned(Box::new((id, Some(before.clone())))));
        Some(before)
    }

    pub(super) fn add_timer(&mut self, timer: Timer) {
        self.note(|state| Change::NextTimer(state.next_timer));
        self.state.next_timer += 1;
        let number = self.state.next_timer;
        self.note(|_| Change::Timer(number, None));
        self.state.timers.insert(number, Arc::new(timer));
    }

    pub(super) fn set_timer(&mut self, number: u64, timer: Timer) {
        let before = self.state.timers.insert(number, Arc::new(timer));
        self.note(|_| Change::Timer(number, before));
    }

    pub(super) fn take_timer(&mut self, number: u64) -> Option<Arc<Timer>> {
        let timer = self.state.timers.remove(&number)?;
        self.note(|_| Change::Timer(number, Some(Arc::clone(&timer))));
        Some(timer)
    }

    /// Forgets the timers of which `is_over` is true.
    pub(super) fn forget_timers(&mut self, is_over: impl Fn(&Timer) -> bool) {
        let timers = self.state.timers.iter();
        let over = timers.filter(|(_, timer)| is_over(timer)).map(|(number, _)| *number);
        for number in over.collect::<Vec<_>>() {
            self.take_timer(number);
        }
    }

    pub(super) fn make_id(&mut self) -> u64 {
        self.note(|state| Change::NextId(state.next_id));
        self.state.next_id += 1;
        self.state.next_id
    }
}

fn insert(configuration: &mut Vec<u32>, state: u32) {
    if let Err(place) = configuration.binary_search(&state) {
        configuration.insert(place, state);
    }
}

fn remove(configuration: &mut Vec<u32>, state: u32) {
    if let Ok(place) = configuration.binary_search(&state) {
        configuration.remove(place);
    }
}
