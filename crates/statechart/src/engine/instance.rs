//! Decides what a tree of running charts does next: which of them steps, who hears whom, who is
//! started and ended.
//!
//! # States
//!
//! ```text
//!           first states entered            nothing more to do
//!   Fresh ───────────────────────▶ Stepping ──────────────────▶ Resting
//!                                   │    ▲         event          │
//!                  final state of   │    └────────────────────────┘
//!                  the chart        ▼
//!                                Finished
//! ```
//!
//! # Invariants
//!
//! * N1 (whole steps): [`Instance::step`] happens completely or not at all.
//! * N2 (no clock): a timer is due by the time that the caller names, and by no other.
//!
//! # Limits
//!
//! * [`Limits`]: beyond them a step is taken back, an event is refused, a child is not started.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use whimbrel_wire::Time;

use super::act::{Desk, assign, deliver, perform};
use super::effect::Effect;
use super::event::{Event, EventKind};
use super::select::select;
use super::session::{Invoked, Parent, Phase, Session, SessionId};
use super::travel::{begin, leave_all, microstep};
use crate::chart::{Chart, Invocation, ROOT};
use crate::expression::Fault;
use crate::value::Value;

/// What an instance may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Microsteps in one step. Beyond it the step is taken back: the chart runs in a circle.
    pub microsteps_max: u32,
    /// Events that wait for one session. Beyond it a sender inside gets `error.communication`, one
    /// outside [`Busy`]. Also events that it raised and has not heard, and its timers: beyond it
    /// `error.execution`.
    pub mailbox_max: usize,
    /// Sessions in one instance. Beyond it an invocation is an error.
    pub sessions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { microsteps_max: 10_000, mailbox_max: 16_384, sessions_max: 1_024 }
    }
}

/// A chart that ran in a circle: the step was taken back.
///
/// Fault: the chart. Changed: nothing. Again: no, the same happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the step does not end: more than {0} microsteps")]
pub struct Overrun(pub u32);

/// Too many events wait.
///
/// Fault: nobody. Changed: nothing. Again: later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many events wait for the instance")]
pub struct Busy;

/// What a step gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stepped {
    /// What the instance wants of the world, in order.
    pub effects: Vec<Effect>,
    /// How many microsteps it took.
    pub microsteps: u32,
}

/// A running statechart with the charts that it invoked.
#[derive(Clone, Debug)]
pub struct Instance {
    pub(crate) name: Arc<str>,
    /// None while it is taken out to step. A copy of the instance shares them until one of the two
    /// changes one.
    pub(crate) sessions: BTreeMap<SessionId, Option<Arc<Session>>>,
    pub(crate) next_session: u64,
    /// Which session stepped last.
    pub(crate) cursor: SessionId,
    limits: Limits,
}

impl Instance {
    /// An instance of `chart` in which nothing has happened. `name` is what the ids of its sessions
    /// begin with, and should be unique among those that can send to each other.
    #[must_use]
    pub fn new(chart: Arc<Chart>, name: impl Into<Arc<str>>, limits: Limits) -> Self {
        let name = name.into();
        let first = SessionId::FIRST;
        let mut session = Session::new(first, chart, Arc::clone(&name), None, BTreeMap::new());
        session.room = limits.mailbox_max;
        let sessions = BTreeMap::from([(first, Some(Arc::new(session)))]);
        Self { name, sessions, next_session: 2, cursor: first, limits }
    }

    /// The instance that a checkpoint describes.
    pub(crate) const fn revived(
        name: Arc<str>,
        sessions: BTreeMap<SessionId, Option<Arc<Session>>>,
        next_session: u64,
        cursor: SessionId,
        limits: Limits,
    ) -> Self {
        Self { name, sessions, next_session, cursor, limits }
    }

    /// Takes an event for the instance's own chart; [`advance`](Self::advance) does the rest.
    ///
    /// # Errors
    ///
    /// [`Busy`] when too many wait.
    pub fn deliver(&mut self, event: Event) -> Result<(), Busy> {
        let mailbox_max = self.limits.mailbox_max;
        match self.session_mut(SessionId::FIRST) {
            // It has come to its end and hears nothing.
            Some(session) if session.phase == Phase::Finished => Ok(()),
            Some(session) if session.external.len() < mailbox_max => {
                session.external.push_back(event);
                Ok(())
            }
            Some(_) | None => Err(Busy),
        }
    }

    /// Does all there is to do at `now`: timers that are due, events that wait. Entering the first
    /// states is part of the first step.
    ///
    /// # Errors
    ///
    /// [`Overrun`] when that does not end; nothing has changed then.
    pub fn settle(&mut self, now: Time) -> Result<Stepped, Overrun> {
        self.attempt(|instance| instance.settle_within(now))
    }

    /// The same within an [`attempt`](Self::attempt), which takes it back.
    pub(crate) fn settle_within(&mut self, now: Time) -> Result<Stepped, Overrun> {
        let mut stepped = Stepped::default();
        stepped.effects.append(&mut self.fire(now));
        while self.is_busy() {
            stepped.microsteps += 1;
            if stepped.microsteps > self.limits.microsteps_max {
                return Err(Overrun(self.limits.microsteps_max));
            }
            stepped.effects.append(&mut self.advance(now));
        }
        Ok(stepped)
    }

    /// Takes an event and does all that follows from it.
    ///
    /// # Errors
    ///
    /// [`StepError`]; nothing has changed then.
    pub fn step(&mut self, event: Event, now: Time) -> Result<Stepped, StepError> {
        self.attempt(|instance| {
            instance.deliver(event)?;
            Ok(instance.settle_within(now)?)
        })
    }

    /// Does `change`, completely or not at all. An error of a step within it has to be passed on.
    ///
    /// # Errors
    ///
    /// Those of `change`; nothing has changed then.
    pub fn attempt<T, E>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.clone();
        change(self).inspect_err(|_| *self = before)
    }

    /// Tells the chart that an event which it sent to the outside reached nobody.
    pub fn undelivered(&mut self, session: SessionId, event: &Event, why: &str) {
        if let Some(session) = self.session_mut(session) {
            session.fail("error.communication", why, event.send_id.clone());
            session.wake();
        }
    }

    /// Forgets the timers that are due at `now`; their events are lost.
    pub fn forget_due(&mut self, now: Time) {
        let is_due = |session: &Session| session.timers.values().any(|timer| timer.due <= now);
        for session in self.sessions.values_mut().flatten() {
            if is_due(session) {
                Arc::make_mut(session).timers.retain(|_, timer| now < timer.due);
            }
        }
    }

    /// Whether there is something to do without an event or a timer.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.sessions.values().flatten().any(|session| session.is_busy())
    }

    /// Whether its own chart has come to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.session(SessionId::FIRST).is_none_or(|session| session.phase == Phase::Finished)
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        let sessions = self.sessions.values().flatten();
        sessions.flat_map(|session| session.timers.values().map(|timer| timer.due)).min()
    }

    /// The ids of the active states of its own chart that have no active state in them, in document
    /// order.
    pub fn leaves(&self) -> impl Iterator<Item = &str> {
        let session = self.session(SessionId::FIRST).into_iter();
        session.flat_map(|session| session.leaves().map(|leaf| &**session.chart.id(leaf)))
    }

    /// Whether the state of this id is active in its own chart.
    #[must_use]
    pub fn is_in(&self, state: &str) -> bool {
        use crate::expression::Scope as _;
        self.session(SessionId::FIRST).is_some_and(|session| session.is_in(state))
    }

    /// The value of a variable of its own chart.
    #[must_use]
    pub fn datum(&self, name: &str) -> Option<&Value> {
        let session = self.session(SessionId::FIRST)?;
        let place = session.chart.variables.iter().position(|known| **known == *name)?;
        session.data.get(place)?.as_ref()
    }

    /// The variables of its own chart that have a value.
    #[must_use]
    pub fn data(&self) -> BTreeMap<&str, &Value> {
        let Some(session) = self.session(SessionId::FIRST) else { return BTreeMap::new() };
        let values = session.chart.variables.iter().zip(&session.data);
        values.filter_map(|(name, value)| Some((&**name, value.as_ref()?))).collect()
    }

    /// The chart that it runs.
    #[must_use]
    pub fn chart(&self) -> Option<&Arc<Chart>> {
        self.session(SessionId::FIRST).map(|session| &session.chart)
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)?.as_deref()
    }

    pub(crate) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)?.as_mut().map(Arc::make_mut)
    }

    /// Brings the events of all timers that are due where they go, in the order in which they are
    /// due.
    pub fn fire(&mut self, now: Time) -> Vec<Effect> {
        let mut due: Vec<(Time, SessionId, u64)> = Vec::new();
        for (id, session) in &self.sessions {
            let timers = session.iter().flat_map(|session| &session.timers);
            let over = timers.filter(|(_, timer)| timer.due <= now);
            due.extend(over.map(|(number, timer)| (timer.due, *id, *number)));
        }
        due.sort_unstable();
        let mut effects = Vec::new();
        for (_, id, number) in due {
            effects.append(&mut self.with(id, now, |session, desk| {
                if let Some(timer) = session.timers.remove(&number) {
                    deliver(session, desk, timer.to, timer.event);
                    // What the engine raised is to be processed.
                    session.wake();
                }
            }));
        }
        effects
    }

    /// Takes one microstep of one session, if there is one to take.
    pub fn advance(&mut self, now: Time) -> Vec<Effect> {
        let Some(id) = self.next_busy() else { return Vec::new() };
        self.cursor = id;
        self.with(id, now, advance)
    }

    /// Who is next: whoever is in the middle of a macrostep, else the next one round that has
    /// something to do.
    fn next_busy(&self) -> Option<SessionId> {
        let stepping = |session: &Session| matches!(session.phase, Phase::Stepping);
        if self.session(self.cursor).is_some_and(stepping) {
            return Some(self.cursor);
        }
        let after = self.sessions.range(SessionId(self.cursor.0 + 1)..);
        let mut round = after.chain(self.sessions.range(..=self.cursor));
        round
            .find(|(_, session)| session.as_deref().is_some_and(Session::is_busy))
            .map(|(id, _)| *id)
    }

    /// Does something in a session as a step would.
    pub(crate) fn perform_at(
        &mut self,
        id: SessionId,
        now: Time,
        change: impl FnOnce(&mut Session, &mut Desk<'_>),
    ) -> Vec<Effect> {
        let effects = self.with(id, now, change);
        self.wake(id);
        effects
    }

    /// Lets a session look again for what it can do by itself.
    pub(crate) fn wake(&mut self, id: SessionId) {
        if let Some(session) = self.session_mut(id)
            && session.phase == Phase::Resting
        {
            session.phase = Phase::Stepping;
        }
    }

    /// Does the `send` of a slot, with another delay if one is given; whether it set a timer.
    pub(crate) fn set_timer(
        &mut self,
        id: SessionId,
        slot: &str,
        delay: Option<std::time::Duration>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(chart) = self.session(id).map(|session| Arc::clone(&session.chart)) else {
            return false;
        };
        let Some(act) = chart.sending(slot) else { return false };
        let phase = self.session(id).map(|session| session.phase);
        let last = self.session(id).map(|session| session.next_timer);
        let act = std::slice::from_ref(act);
        effects.append(&mut self.with(id, now, |session, desk| perform(session, desk, act)));
        let Some(session) = self.session_mut(id) else { return false };
        session.phase = phase.unwrap_or(session.phase);
        let number = session.next_timer;
        if Some(number) == last {
            session.wake();
            return false;
        }
        if let (Some(delay), Some(timer)) = (delay, session.timers.get_mut(&number)) {
            timer.due = now + delay;
            timer.delay_nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        }
        true
    }

    /// Starts one invocation of an active state.
    pub(crate) fn start_one(&mut self, id: SessionId, (state, place): (u32, u32)) {
        let Some(chart) = self.session(id).map(|session| Arc::clone(&session.chart)) else {
            return;
        };
        let Some(invocation) = chart.node(state).invokes.get(place as usize) else { return };
        let started = self.start_child(id, state, place, invocation);
        if let (Err((name, fault)), Some(session)) = (started, self.session_mut(id)) {
            session.fail(name, &fault.0, None);
            session.wake();
        }
    }

    /// Takes a session out, lets `change` work on it, and does what that leaves to others.
    fn with(
        &mut self,
        id: SessionId,
        now: Time,
        change: impl FnOnce(&mut Session, &mut Desk<'_>),
    ) -> Vec<Effect> {
        let Some(mut session) = self.sessions.get_mut(&id).and_then(Option::take) else {
            return Vec::new();
        };
        let (name, sessions) = (Arc::clone(&self.name), &self.sessions);
        let directory = |wanted: &str| {
            let number = wanted.strip_prefix(&*name)?.strip_prefix(".s")?;
            let wanted = SessionId(number.parse().ok()?);
            let there = sessions.get(&wanted)?.as_ref()?;
            (there.phase != Phase::Finished).then_some(wanted)
        };
        let mut desk = Desk {
            now,
            directory: &directory,
            posts: Vec::new(),
            effects: Vec::new(),
            cancelled: Vec::new(),
            finished: false,
            items: 0,
        };
        let own = Arc::make_mut(&mut session);
        change(own, &mut desk);
        let mut done = None;
        if desk.finished {
            done = Some(finish(own, &mut desk));
        }
        let Desk { posts, mut effects, cancelled, .. } = desk;
        let parent = session.parent.clone();
        self.sessions.insert(id, Some(session));
        for (to, event) in posts {
            self.post(id, to, event);
        }
        for child in cancelled {
            effects.append(&mut self.cancel(child, now));
        }
        if let Some(data) = done {
            self.ended(id, parent, data, &mut effects);
        }
        self.start_children(id);
        effects
    }

    /// Puts an event into the mailbox of a session, or tells the sender that it is full.
    fn post(&mut self, from: SessionId, to: SessionId, event: Event) {
        let mailbox_max = self.limits.mailbox_max;
        let send_id = event.send_id.clone();
        let reached = self.session_mut(to).filter(|session| session.external.len() < mailbox_max);
        match reached {
            Some(session) if session.phase == Phase::Finished => {}
            Some(session) => session.external.push_back(event),
            None => {
                if let Some(sender) = self.session_mut(from) {
                    sender.fail("error.communication", "its mailbox is full", send_id);
                    sender.wake();
                }
            }
        }
    }

    /// Ends a session that nobody wants any more; what it says on the way goes to nobody above it.
    fn cancel(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        if let Some(session) = self.session_mut(id) {
            session.parent = None;
        }
        let effects = self.with(id, now, |session, desk| {
            leave_all(session, desk);
            session.phase = Phase::Finished;
        });
        self.sessions.remove(&id);
        effects
    }

    /// A session has come to its end: whoever invoked it is told.
    fn ended(
        &mut self,
        id: SessionId,
        parent: Option<Parent>,
        data: Value,
        effects: &mut Vec<Effect>,
    ) {
        let Some(parent) = parent else {
            if id == SessionId::FIRST {
                effects.push(Effect::Done { data });
            }
            return;
        };
        self.sessions.remove(&id);
        let name = format!("done.invoke.{}", parent.invoke_id).into();
        let mut event = Event::of(EventKind::External, name, data);
        event.invoke_id = Some(Arc::clone(&parent.invoke_id));
        if let Some(session) = self.session_mut(parent.session) {
            let child = session.invoked.values_mut().find(|child| child.session == Some(id));
            if let Some(child) = child {
                child.session = None;
            }
            // There is always room for the end: it comes once for each child.
            session.external.push_back(event);
        }
    }

    /// Starts what a session that has come to rest invokes.
    fn start_children(&mut self, id: SessionId) {
        let Some(session) = self.session(id) else { return };
        if !session.is_about_to_rest() || session.to_invoke.is_empty() {
            return;
        }
        let chart = Arc::clone(&session.chart);
        let states = self.session_mut(id).map(|session| std::mem::take(&mut session.to_invoke));
        for state in states.into_iter().flatten() {
            for (place, invocation) in chart.node(state).invokes.iter().enumerate() {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                let started = self.start_child(id, state, place, invocation);
                if let (Err((name, fault)), Some(session)) = (started, self.session_mut(id)) {
                    session.fail(name, &fault.0, None);
                    session.wake();
                }
            }
        }
    }

    fn start_child(
        &mut self,
        id: SessionId,
        state: u32,
        place: u32,
        invocation: &Invocation,
    ) -> Result<(), (&'static str, Fault)> {
        let execution = |fault| ("error.execution", fault);
        let full = self.sessions.len() >= self.limits.sessions_max;
        let Some(session) = self.session_mut(id) else { return Ok(()) };
        let made = format!("{}.{}", session.chart.id(state), session.next_id + 1);
        let invoke_id = match &invocation.id {
            Some(invoke_id) => Arc::clone(invoke_id),
            None => {
                session.make_id();
                made.into()
            }
        };
        if let Some(place) = &invocation.id_into {
            assign(session, place, Value::Text(Arc::clone(&invoke_id))).map_err(execution)?;
        }
        let by = invocation.by.as_ref().map(|by| by.evaluate(session)).transpose();
        let by = by.map_err(execution)?;
        if !matches!(by.as_deref(), None | Some("scxml")) {
            let by = by.as_deref().map(|by| by.trim_end_matches('/').to_owned());
            if by.as_deref() != Some("http://www.w3.org/TR/scxml") {
                return Err(execution(Fault::new("what is invoked is no statechart")));
            }
        }
        let chart = invocation.chart.as_ref().map(|chart| chart.evaluate(session)).transpose();
        let chart = chart.map_err(execution)?.unwrap_or_default();
        let given = invocation.data.named(session).map_err(execution)?;
        let communication = |what: String| ("error.communication", Fault::new(what));
        let chart = session.chart.child(&chart).cloned();
        let chart = chart.ok_or_else(|| communication("there is no such chart".to_owned()))?;
        if full {
            return Err(communication("the instance has too many sessions".to_owned()));
        }
        let child = SessionId(self.next_session);
        self.next_session += 1;
        let parent = Parent { session: id, invoke_id: Arc::clone(&invoke_id) };
        if let Some(session) = self.session_mut(id) {
            let invoked = Invoked { id: invoke_id, session: Some(child) };
            session.invoked.insert((state, place), invoked);
        }
        let name = Arc::clone(&self.name);
        let mut session = Session::new(child, chart, name, Some(parent), given);
        session.room = self.limits.mailbox_max;
        self.sessions.insert(child, Some(Arc::new(session)));
        Ok(())
    }
}

/// Why a step did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StepError {
    /// It does not end.
    #[error(transparent)]
    Overrun(#[from] Overrun),
    /// Too many events wait.
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl Session {
    /// There may be something to do again.
    fn wake(&mut self) {
        if self.phase == Phase::Resting && !self.internal.is_empty() {
            self.phase = Phase::Stepping;
        }
    }

    /// Whether this macrostep has nothing more to do but to start children.
    const fn is_about_to_rest(&self) -> bool {
        matches!(self.phase, Phase::Resting)
    }
}

/// One microstep, or the discovery that there is none to take.
fn advance(session: &mut Session, desk: &mut Desk<'_>) {
    match session.phase {
        Phase::Fresh => {
            session.phase = Phase::Stepping;
            session.bind_at_start();
            let chart = Arc::clone(&session.chart);
            perform(session, desk, &chart.script);
            begin(session, desk);
        }
        Phase::Stepping => stepping(session, desk),
        Phase::Resting => {
            let Some(event) = session.external.pop_front() else { return };
            session.phase = Phase::Stepping;
            hear(session, desk, event);
        }
        Phase::Finished => {}
    }
}

/// What enables itself goes first, then what was raised inside.
fn stepping(session: &mut Session, desk: &mut Desk<'_>) {
    let enabled = select(session, None);
    if !enabled.is_empty() {
        return microstep(session, desk, &enabled);
    }
    let Some(event) = session.internal.pop_front() else {
        session.phase = Phase::Resting;
        return;
    };
    session.event = Some(event.clone());
    let enabled = select(session, Some(&event));
    if !enabled.is_empty() {
        microstep(session, desk, &enabled);
    }
}

/// An event from outside: children are heard and told first.
fn hear(session: &mut Session, desk: &mut Desk<'_>, event: Event) {
    session.event = Some(event.clone());
    let chart = Arc::clone(&session.chart);
    let invoked: Vec<_> =
        session.invoked.iter().map(|(key, child)| (*key, child.clone())).collect();
    for ((state, place), child) in invoked {
        let Some(invocation) = chart.node(state).invokes.get(place as usize) else { continue };
        if event.invoke_id.as_ref() == Some(&child.id) {
            perform(session, desk, &invocation.finalize);
        }
        if let Some(child) = child.session.filter(|_| invocation.forward) {
            desk.posts.push((child, event.clone()));
        }
    }
    let enabled = select(session, Some(&event));
    if !enabled.is_empty() {
        microstep(session, desk, &enabled);
    }
}

/// The session ends: everything is left, and what its final state says is reckoned.
fn finish(session: &mut Session, desk: &mut Desk<'_>) -> Value {
    let last = session.configuration.clone();
    leave_all(session, desk);
    let chart = Arc::clone(&session.chart);
    let end = last.iter().find(|state| {
        chart.node(**state).parent == ROOT
            && chart.node(**state).kind == crate::definition::StateKind::Final
    });
    let done = end.and_then(|end| chart.node(*end).done.as_ref());
    let data = done.map_or(Value::Null, |done| done.evaluate(session));
    session.configuration = last;
    session.timers.clear();
    session.internal.clear();
    session.external.clear();
    session.phase = Phase::Finished;
    data
}
