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

use super::act::{Desk, deliver, perform};
use super::effect::Effect;
use super::event::Event;
use super::kin::{Above, NEVER};
use super::select::select;
use super::session::{Phase, Session, SessionId, Timer};
use super::spawn::Nursery;
use super::travel::{begin, leave_all, microstep};
use crate::chart::{Chart, ROOT};
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
    pub(super) limits: Limits,
    /// A parent that is another daemon.
    pub(crate) above: Option<Arc<Above>>,
    /// What is to be undone if the attempt that is under way fails.
    attempt: Option<Attempt>,
}

/// What an attempt changed beside its sessions, each of which knows for itself.
#[derive(Clone, Debug)]
struct Attempt {
    next_session: u64,
    cursor: SessionId,
    above: Option<Arc<Above>>,
    ended: Vec<(SessionId, Arc<Session>)>,
    started: Vec<SessionId>,
}

impl Instance {
    /// An instance of `chart` in which nothing has happened. `name` is what the ids of its sessions
    /// begin with, and should be unique among those that can send to each other.
    #[must_use]
    pub fn new(chart: Arc<Chart>, name: impl Into<Arc<str>>, limits: Limits) -> Self {
        let name = name.into();
        let first = SessionId::FIRST;
        let mut session = Session::new(first, chart, Arc::clone(&name), None, BTreeMap::new());
        let state = session.state_mut();
        (state.room, state.mailbox) = (limits.mailbox_max, limits.mailbox_max);
        let sessions = BTreeMap::from([(first, Some(Arc::new(session)))]);
        let (above, attempt) = (None, None);
        Self { name, sessions, next_session: 2, cursor: first, limits, above, attempt }
    }

    /// The instance that a checkpoint describes.
    pub(crate) const fn revived(
        name: Arc<str>,
        sessions: BTreeMap<SessionId, Option<Arc<Session>>>,
        next_session: u64,
        cursor: SessionId,
        limits: Limits,
    ) -> Self {
        Self { name, sessions, next_session, cursor, limits, above: None, attempt: None }
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
                session.post(Arc::new(event));
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
        while let Some(next) = self.next_busy() {
            stepped.microsteps += 1;
            if stepped.microsteps > self.limits.microsteps_max {
                return Err(Overrun(self.limits.microsteps_max));
            }
            stepped.effects.append(&mut self.advance_one(next, now));
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
        if self.attempt.is_some() {
            // Within another attempt: rare, and simply copied.
            let before = self.clone();
            return change(self).inspect_err(|_| *self = before);
        }
        let (next_session, cursor) = (self.next_session, self.cursor);
        let (ended, started) = (Vec::new(), Vec::new());
        let above = self.above.clone();
        self.attempt = Some(Attempt { next_session, cursor, above, ended, started });
        let changed = change(self);
        let attempt = self.attempt.take();
        match (&changed, attempt) {
            (Err(_), Some(attempt)) => self.take_back(attempt),
            (_, _) => self.keep_changes(),
        }
        changed
    }

    fn keep_changes(&mut self) {
        for session in self.sessions.values_mut().flatten() {
            if session.log.is_some() {
                Arc::make_mut(session).keep_changes();
            }
        }
    }

    fn take_back(&mut self, attempt: Attempt) {
        self.next_session = attempt.next_session;
        self.cursor = attempt.cursor;
        self.above = attempt.above;
        // A session may have ended and begun again more than once: what it was at first counts.
        let ended = attempt.ended.into_iter().rev();
        self.sessions.extend(ended.map(|(id, session)| (id, Some(session))));
        attempt.started.iter().for_each(|id| drop(self.sessions.remove(id)));
        for session in self.sessions.values_mut().flatten() {
            if session.log.is_some() {
                Arc::make_mut(session).take_back();
            }
        }
    }

    pub(super) fn begin_session(&mut self, id: SessionId, session: Session) {
        self.sessions.insert(id, Some(Arc::new(session)));
        if let Some(attempt) = &mut self.attempt {
            attempt.started.push(id);
        }
    }

    pub(super) fn end_session(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id).flatten()
            && let Some(attempt) = &mut self.attempt
        {
            attempt.ended.push((id, session));
        }
    }

    /// Tells the chart that an event which it sent to the outside reached nobody.
    pub fn undelivered(&mut self, session: SessionId, event: &Event, why: &str) {
        if let Some(session) = self.session_mut(session) {
            session.fail("error.communication", Value::text(why), event.send_id.clone());
            session.wake();
        }
    }

    /// Forgets the timers that are due at `now`; their events are lost.
    pub fn forget_due(&mut self, now: Time) {
        let is_due = |session: &Session| session.timers.values().any(|timer| timer.due <= now);
        let sessions = self.sessions.iter();
        let over = sessions.filter(|(_, session)| session.as_deref().is_some_and(is_due));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(session) = self.session_mut(id) {
                session.forget_timers(|timer| timer.due <= now);
            }
        }
        self.put_off(now);
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
        let due = |session: &Session| {
            let timers = session.timers.values().map(|timer| timer.due);
            let sleeps = session.sleeps_until.filter(|until| *until != NEVER);
            timers.chain(sleeps).min()
        };
        sessions.filter_map(|session| due(session)).min()
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
        let place = session.chart.variable_at(name)?;
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
        let session = self.sessions.get_mut(&id)?.as_mut().map(Arc::make_mut)?;
        if self.attempt.is_some() {
            session.begin_attempt();
        }
        Some(session)
    }

    /// Brings the events of all timers that are due where they go, in the order in which they are
    /// due.
    pub fn fire(&mut self, now: Time) -> Vec<Effect> {
        if self.next_due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.rouse(now);
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
                if let Some(timer) = session.take_timer(number) {
                    let Timer { to, event, .. } = Arc::unwrap_or_clone(timer);
                    deliver(session, desk, to, event);
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
        self.advance_one(id, now)
    }

    fn advance_one(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        self.cursor = id;
        self.with(id, now, advance)
    }

    /// Who is next: whoever is in the middle of a macrostep, else the next one round that has
    /// something to do.
    fn next_busy(&self) -> Option<SessionId> {
        if let (1, Some((id, only))) = (self.sessions.len(), self.sessions.first_key_value()) {
            return only.as_deref().is_some_and(Session::is_busy).then_some(*id);
        }
        let stepping =
            |session: &Session| matches!(session.phase, Phase::Stepping) && session.is_busy();
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
            session.set_phase(Phase::Stepping);
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
        session.set_phase(phase.unwrap_or(session.phase));
        let number = session.next_timer;
        if Some(number) == last {
            session.wake();
            return false;
        }
        if let (Some(delay), Some(timer)) = (delay, session.timers.get(&number)) {
            let mut timer = Timer::clone(timer);
            timer.due = now + delay;
            timer.delay_nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
            session.set_timer(number, timer);
        }
        true
    }

    /// Takes a session out, lets `change` work on it, and does what that leaves to others.
    pub(super) fn with(
        &mut self,
        id: SessionId,
        now: Time,
        change: impl FnOnce(&mut Session, &mut Desk<'_>),
    ) -> Vec<Effect> {
        let Some(mut session) = self.sessions.get_mut(&id).and_then(Option::take) else {
            return Vec::new();
        };
        let (name, sessions) = (&*self.name, &self.sessions);
        let directory = |wanted: &str| {
            let number = wanted.strip_prefix(name)?.strip_prefix(".s")?;
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
            nursery: Nursery {
                next: self.next_session,
                room: self.limits.sessions_max.saturating_sub(self.sessions.len()),
                mailbox_max: self.limits.mailbox_max,
                born: Vec::new(),
            },
            above: self.above.as_deref(),
            finished: false,
            failed: None,
            items: 0,
            origin: None,
        };
        let own = Arc::make_mut(&mut session);
        if self.attempt.is_some() {
            own.begin_attempt();
        }
        change(own, &mut desk);
        let mut done = None;
        if desk.finished {
            done = Some(finish(own, &mut desk));
        }
        let Desk { posts, mut effects, cancelled, failed, nursery, .. } = desk;
        let parent = session.parent.clone();
        self.next_session = nursery.next;
        for (child, born) in nursery.born {
            self.begin_session(child, born);
        }
        if let Some(place) = self.sessions.get_mut(&id) {
            *place = Some(session);
        }
        for (to, event) in posts {
            self.post(id, to, event);
        }
        for child in cancelled {
            effects.append(&mut self.cancel(child, now));
        }
        if let Some(data) = done {
            self.ended(id, parent, data, &mut effects);
        } else if let Some(why) = failed {
            effects.append(&mut self.failed(id, &why, now));
        }
        self.start_children(id);
        effects
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
    pub(super) fn wake(&mut self) {
        if self.phase == Phase::Resting && !self.internal.is_empty() {
            self.set_phase(Phase::Stepping);
        }
    }

    /// Whether this macrostep has nothing more to do but to start children.
    pub(super) fn is_about_to_rest(&self) -> bool {
        matches!(self.phase, Phase::Resting)
    }
}

/// One microstep, or the discovery that there is none to take.
fn advance(session: &mut Session, desk: &mut Desk<'_>) {
    let chart = Arc::clone(&session.chart);
    match session.phase {
        Phase::Fresh => {
            session.set_phase(Phase::Stepping);
            session.bind_at_start();
            perform(session, desk, &chart.script);
            begin(session, desk);
        }
        Phase::Stepping => stepping(session, desk, &chart),
        Phase::Resting => {
            let Some(event) = session.take_external() else { return };
            session.set_phase(Phase::Stepping);
            hear(session, desk, &chart, &event);
        }
        Phase::Finished => {}
    }
}

/// What enables itself goes first, then what was raised inside.
fn stepping(session: &mut Session, desk: &mut Desk<'_>, chart: &Chart) {
    let enabled = select(session, chart, None);
    if !enabled.is_empty() {
        return microstep(session, desk, chart, &enabled);
    }
    let Some(event) = session.take_internal() else {
        session.set_phase(Phase::Resting);
        return;
    };
    session.set_event(Arc::clone(&event));
    let enabled = select(session, chart, Some(&event));
    if !enabled.is_empty() {
        microstep(session, desk, chart, &enabled);
    } else if session.is_supervised && event.name.starts_with("error.") {
        desk.failed = Some(event);
    }
}

/// An event from outside: children are heard and told first.
fn hear(session: &mut Session, desk: &mut Desk<'_>, chart: &Chart, event: &Arc<Event>) {
    session.set_event(Arc::clone(event));
    let invoked: Vec<_> =
        session.invoked.iter().map(|(key, child)| (*key, child.clone())).collect();
    for ((state, place), child) in invoked {
        let Some(invocation) = chart.node(state).invokes.get(place as usize) else { continue };
        if event.invoke_id.as_ref() == Some(&child.id) {
            perform(session, desk, &invocation.finalize);
        }
        if let Some(child) = child.session.filter(|_| invocation.forward) {
            desk.posts.push((child, Arc::clone(event)));
        }
    }
    let enabled = select(session, chart, Some(event));
    if !enabled.is_empty() {
        microstep(session, desk, chart, &enabled);
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
    let state = session.state_mut();
    state.configuration = last;
    state.timers.clear();
    state.internal.clear();
    state.external.clear();
    session.set_phase(Phase::Finished);
    data
}
