//! Decides how the sessions of an instance stand to each other: who is started, told, ended, and
//! begins again.
//!
//! A child fails when it hears an event of an error (`error.…`) and no transition of it waits for
//! that. If its invocation says what then ([`Supervision`]), that is done; else nothing is.
//!
//! ```text
//!            fails, restart          it is time
//!   running ────────────────▶ asleep ──────────▶ running, from the beginning, with what it was given
//!      │ fails, stop: ends, stopped.invoke.ID to its parent
//!      │ fails, escalate, or has begun again too often: ends, error.child.ID to its parent
//! ```
//!
//! What began again has its old number and id, so who sends to it finds it, and what waited for it
//! still does. `error.child.ID` is an error: a parent that is supervised and does not wait for it
//! fails in its turn.
//!
//! # Limits
//!
//! * [`RESTARTS_MAX`]: how often a child may begin again within its window, whatever a chart says.

use std::sync::Arc;
use std::time::Duration;

use whimbrel_wire::Time;

use super::act::assign;
use super::effect::Effect;
use super::event::{Event, EventKind};
use super::instance::Instance;
use super::session::{Invoked, Parent, Phase, Session, SessionId};
use super::travel::leave_all;
use crate::chart::{Invocation, Supervision};
use crate::definition::OnFailure;
use crate::expression::Fault;
use crate::value::Value;

/// How often a child may begin again within its window.
pub(crate) const RESTARTS_MAX: u32 = 1_000;

/// For how long a child is put off whose beginning does not end.
const PUT_OFF: Duration = Duration::from_secs(60);

impl Instance {
    /// Lets those begin again whose time has come.
    pub(super) fn rouse(&mut self, now: Time) {
        for id in self.asleep(now) {
            if let Some(session) = self.session_mut(id) {
                session.sleep_until(None);
            }
        }
    }

    /// Lets those that would begin at `now` begin later.
    pub(super) fn put_off(&mut self, now: Time) {
        for id in self.asleep(now) {
            if let Some(session) = self.session_mut(id) {
                session.sleep_until(Some(now + PUT_OFF));
            }
        }
    }

    fn asleep(&self, now: Time) -> Vec<SessionId> {
        let sessions = self.sessions.iter();
        let due = sessions.filter(|(_, session)| {
            let until = session.as_ref().and_then(|session| session.sleeps_until);
            until.is_some_and(|until| until <= now)
        });
        due.map(|(id, _)| *id).collect()
    }

    /// A session failed: what its parent says to that is done.
    pub(super) fn failed(&mut self, id: SessionId, why: &Event, now: Time) -> Vec<Effect> {
        let Some((parent, key, supervision)) = self.supervision(id) else { return Vec::new() };
        let mut effects = Vec::new();
        let mut all = vec![id];
        all.extend(self.linked(&parent, key, &supervision));
        let policy = match supervision.on_failure {
            OnFailure::Restart if !self.may_restart(id, &supervision, now) => OnFailure::Escalate,
            OnFailure::Escalate | OnFailure::Stop | OnFailure::Restart => supervision.on_failure,
        };
        for child in all {
            let Some(invoke_id) = self.invoke_id(child) else { continue };
            let own = child == id;
            let reason =
                if own { why.clone() } else { Event::error("error.linked", &parent.invoke_id) };
            match policy {
                OnFailure::Restart => {
                    effects.append(&mut self.begin_again(child, &supervision, now));
                }
                OnFailure::Stop => {
                    effects.append(&mut self.lay_off(child, now));
                    self.report(parent.session, format!("stopped.invoke.{invoke_id}"), &reason);
                }
                OnFailure::Escalate => {
                    effects.append(&mut self.lay_off(child, now));
                    if own {
                        self.report(parent.session, format!("error.child.{invoke_id}"), &reason);
                    }
                }
            }
        }
        effects
    }

    fn supervision(&self, id: SessionId) -> Option<(Parent, (u32, u32), Supervision)> {
        let parent = self.session(id)?.parent.clone()?;
        let above = self.session(parent.session)?;
        let mut children = above.invoked.iter();
        let (key, _) = children.find(|(_, child)| child.session == Some(id))?;
        let invocation = above.chart.node(key.0).invokes.get(key.1 as usize)?;
        Some((parent, *key, invocation.supervision.clone()?))
    }

    /// The running children with which one stands and falls.
    fn linked(&self, parent: &Parent, of: (u32, u32), supervision: &Supervision) -> Vec<SessionId> {
        let above = self.session(parent.session).into_iter();
        let children = above.flat_map(|above| &above.invoked).filter(|(key, _)| **key != of);
        let linked = children.filter(|(_, child)| supervision.with.contains(&child.id));
        linked.filter_map(|(_, child)| child.session).collect()
    }

    fn invoke_id(&self, id: SessionId) -> Option<Arc<str>> {
        Some(Arc::clone(&self.session(id)?.parent.as_ref()?.invoke_id))
    }

    fn may_restart(&self, id: SessionId, supervision: &Supervision, now: Time) -> bool {
        let Some(session) = self.session(id) else { return false };
        let recent = session.restarts.iter().filter(|at| now < **at + supervision.within).count();
        recent < supervision.times as usize
    }

    /// Ends a child and lets it begin anew, with what it was given and what waits for it.
    fn begin_again(&mut self, id: SessionId, supervision: &Supervision, now: Time) -> Vec<Effect> {
        let Some(before) = self.sessions.get(&id).cloned().flatten() else { return Vec::new() };
        let effects = self.cancel(id, now);
        let (chart, name) = (Arc::clone(&before.chart), Arc::clone(&before.instance));
        let (parent, given) = (before.parent.clone(), before.given.clone());
        let mut session = Session::new(id, chart, name, parent, given);
        let state = session.state_mut();
        state.external.clone_from(&before.external);
        (state.room, state.mailbox) = (before.room, before.mailbox);
        state.is_supervised = before.is_supervised;
        let recent = before.restarts.iter().filter(|at| now < **at + supervision.within);
        state.restarts = recent.copied().chain([now]).collect();
        let wait = supervision.wait(state.restarts.len());
        state.sleeps_until = (!wait.is_zero()).then(|| now + wait);
        self.sessions.insert(id, Some(Arc::new(session)));
        effects
    }

    /// Ends a child; its parent knows it no more.
    fn lay_off(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        let parent = self.session(id).and_then(|session| session.parent.clone());
        let effects = self.cancel(id, now);
        if let Some(parent) = parent {
            self.forget_child(parent.session, id);
        }
        effects
    }

    fn forget_child(&mut self, parent: SessionId, id: SessionId) {
        let Some(session) = self.session_mut(parent) else { return };
        let mut children = session.invoked.iter();
        let child = children.find(|(_, child)| child.session == Some(id));
        if let Some((key, child)) = child.map(|(key, child)| (*key, child.clone())) {
            session.set_invoked(key, Invoked { session: None, ..child });
        }
    }

    /// Tells a parent what became of a child.
    fn report(&mut self, to: SessionId, name: String, why: &Event) {
        let Some(session) = self.session_mut(to) else { return };
        let mut event = Event::of(EventKind::Platform, name.into(), why.data.clone());
        event.send_id.clone_from(&why.send_id);
        session.tell(event);
        session.wake();
    }

    /// Puts an event into the mailbox of a session, or tells the sender that it is full.
    pub(super) fn post(&mut self, from: SessionId, to: SessionId, event: Arc<Event>) {
        let send_id = event.send_id.clone();
        let reached = self.session_mut(to);
        let reached = reached.filter(|session| session.external.len() < session.mailbox);
        match reached {
            Some(session) if session.phase == Phase::Finished => {}
            Some(session) => session.post(event),
            None => {
                if let Some(sender) = self.session_mut(from) {
                    let why = Value::text("its mailbox is full");
                    sender.fail("error.communication", why, send_id);
                    sender.wake();
                }
            }
        }
    }

    /// Ends a session that nobody wants any more; what it says on the way goes to nobody above it.
    pub(super) fn cancel(&mut self, id: SessionId, now: Time) -> Vec<Effect> {
        if let Some(session) = self.session_mut(id) {
            session.state_mut().parent = None;
        }
        let effects = self.with(id, now, |session, desk| {
            leave_all(session, desk);
            session.set_phase(Phase::Finished);
        });
        self.end_session(id);
        effects
    }

    /// A session has come to its end: whoever invoked it is told.
    pub(super) fn ended(
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
        self.end_session(id);
        let name = format!("done.invoke.{}", parent.invoke_id).into();
        let mut event = Event::of(EventKind::External, name, data);
        event.invoke_id = Some(Arc::clone(&parent.invoke_id));
        self.forget_child(parent.session, id);
        if let Some(session) = self.session_mut(parent.session) {
            // There is always room for the end: it comes once for each child.
            session.post(Arc::new(event));
        }
    }

    /// Starts what a session that has come to rest invokes.
    pub(super) fn start_children(&mut self, id: SessionId) {
        let Some(session) = self.session(id) else { return };
        if !session.is_about_to_rest() || session.to_invoke.is_empty() {
            return;
        }
        let chart = Arc::clone(&session.chart);
        let states = self.session_mut(id).map(|session| session.take_invokers());
        for state in states.into_iter().flatten() {
            let count = chart.node(state).invokes.len();
            (0_u32..).take(count).for_each(|place| self.start_one(id, (state, place)));
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
            session.set_invoked((state, place), invoked);
        }
        let name = Arc::clone(&self.name);
        let mut session = Session::new(child, chart, name, Some(parent), given);
        let state = session.state_mut();
        state.room = self.limits.mailbox_max;
        state.mailbox = invocation.mailbox.unwrap_or(usize::MAX).min(self.limits.mailbox_max);
        state.is_supervised = invocation.supervision.is_some();
        self.begin_session(child, session);
        Ok(())
    }

    /// Starts one invocation of an active state.
    pub(crate) fn start_one(&mut self, id: SessionId, (state, place): (u32, u32)) {
        let Some(chart) = self.session(id).map(|session| Arc::clone(&session.chart)) else {
            return;
        };
        let Some(invocation) = chart.node(state).invokes.get(place as usize) else { return };
        let started = self.start_child(id, state, place, invocation);
        if let (Err((name, fault)), Some(session)) = (started, self.session_mut(id)) {
            session.fail(name, Value::text(&*fault.0), None);
            session.wake();
        }
    }
}
