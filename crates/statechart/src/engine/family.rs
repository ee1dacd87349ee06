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
use super::kin::KinWord;
use super::session::{Invoked, Parent, Phase, Session, SessionId};
use super::spawn::Kid;
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
        let Some(parent) = self.session(id).map(|session| session.parent.clone()) else {
            return Vec::new();
        };
        let Some(parent) = parent else { return self.hold(why) };
        let above = self.session(parent.session);
        let kid = above.and_then(|above| above.kids().find(|kid| kid.session == Some(id)));
        match kid {
            Some(kid) => self.child_is_to_be(parent.session, &kid, why, now),
            None => Vec::new(),
        }
    }

    /// The same of a child that is a daemon of its own, and waits for what its parent says.
    pub(super) fn child_failed(
        &mut self,
        parent: SessionId,
        id: &Arc<str>,
        why: &Event,
        now: Time,
    ) -> Vec<Effect> {
        let kid = Kid { id: Arc::clone(id), session: None };
        self.child_is_to_be(parent, &kid, why, now)
    }

    fn child_is_to_be(
        &mut self,
        parent: SessionId,
        failed: &Kid,
        why: &Event,
        now: Time,
    ) -> Vec<Effect> {
        let Some(supervision) = self.supervision(parent, failed) else { return Vec::new() };
        let mut effects = Vec::new();
        let policy = match supervision.on_failure {
            OnFailure::Restart if !self.may_restart(parent, failed, &supervision, now) => {
                OnFailure::Escalate
            }
            OnFailure::Escalate | OnFailure::Stop | OnFailure::Restart => supervision.on_failure,
        };
        let linked = self.linked(parent, failed, &supervision);
        for (nth, kid) in std::iter::once(failed.clone()).chain(linked).enumerate() {
            let (own, id) = (nth == 0, &kid.id);
            let reason = if own { why.clone() } else { Event::error("error.linked", &failed.id) };
            match policy {
                OnFailure::Restart => {
                    effects.append(&mut self.restart(parent, &kid, &supervision, now));
                }
                OnFailure::Stop => {
                    effects.append(&mut self.lay_off(parent, &kid, now));
                    self.report(parent, format!("stopped.invoke.{id}"), &reason);
                }
                OnFailure::Escalate => {
                    effects.append(&mut self.lay_off(parent, &kid, now));
                    if own {
                        self.report(parent, format!("error.child.{id}"), &reason);
                    }
                }
            }
        }
        effects
    }

    fn supervision(&self, parent: SessionId, kid: &Kid) -> Option<Supervision> {
        let above = self.session(parent)?;
        if let Some(spawned) = above.spawned.get(&kid.id)
            && spawned.session == kid.session
        {
            // It was looked at when it was spawned, or when the checkpoint was read.
            return Supervision::of(spawned.supervise.as_ref()?, &kid.id).ok();
        }
        let mut children = above.invoked.iter();
        let (key, _) = children.find(|(_, child)| child.session == kid.session)?;
        above.chart.node(key.0).invokes.get(key.1 as usize)?.supervision.clone()
    }

    /// The running children with which one stands and falls.
    fn linked(&self, parent: SessionId, of: &Kid, supervision: &Supervision) -> Vec<Kid> {
        let kids = self.session(parent).into_iter().flat_map(Session::kids);
        let others = kids.filter(|kid| kid.id != of.id || kid.session != of.session);
        others.filter(|kid| supervision.with.contains(&kid.id)).collect()
    }

    fn restarts(&self, parent: SessionId, kid: &Kid) -> &[Time] {
        let restarts = match kid.session {
            Some(id) => self.session(id).map(|session| &session.restarts),
            None => self.abroad(parent, &kid.id).map(|abroad| &abroad.restarts),
        };
        restarts.map_or(&[], Vec::as_slice)
    }

    fn may_restart(
        &self,
        parent: SessionId,
        kid: &Kid,
        supervision: &Supervision,
        now: Time,
    ) -> bool {
        let restarts = self.restarts(parent, kid).iter();
        restarts.filter(|at| now < **at + supervision.within).count() < supervision.times as usize
    }

    /// Lets a child begin anew, wherever it runs.
    fn restart(
        &mut self,
        parent: SessionId,
        kid: &Kid,
        supervision: &Supervision,
        now: Time,
    ) -> Vec<Effect> {
        let before = self.restarts(parent, kid).iter().copied();
        let recent = before.filter(|at| now < *at + supervision.within);
        let restarts: Vec<Time> = recent.chain([now]).collect();
        let wait = supervision.wait(restarts.len());
        if let Some(id) = kid.session {
            return self.begin_again(id, restarts, wait, now);
        }
        let Some(session) = self.session_mut(parent) else { return Vec::new() };
        let Some(mut spawned) = session.spawned.get(&kid.id).cloned() else { return Vec::new() };
        let Some(abroad) = &mut spawned.abroad else { return Vec::new() };
        abroad.restarts = restarts;
        let after_nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let letter = abroad.letter(parent, KinWord::Again { after_nanos });
        session.set_spawned(Arc::clone(&kid.id), spawned);
        letter.into_iter().collect()
    }

    /// Ends a session and lets it begin anew, with what it was given and what waits for it.
    pub(super) fn begin_again(
        &mut self,
        id: SessionId,
        restarts: Vec<Time>,
        wait: Duration,
        now: Time,
    ) -> Vec<Effect> {
        let Some(before) = self.sessions.get(&id).cloned().flatten() else { return Vec::new() };
        let effects = self.cancel(id, now);
        let (chart, name) = (Arc::clone(&before.chart), Arc::clone(&before.instance));
        let (parent, given) = (before.parent.clone(), before.given.clone());
        let mut session = Session::new(id, chart, name, parent, given);
        let state = session.state_mut();
        state.external.clone_from(&before.external);
        (state.room, state.mailbox) = (before.room, before.mailbox);
        state.is_supervised = before.is_supervised;
        state.restarts = restarts;
        state.sleeps_until = (!wait.is_zero()).then(|| now + wait);
        self.sessions.insert(id, Some(Arc::new(session)));
        effects
    }

    /// Ends a child; its parent knows it no more.
    fn lay_off(&mut self, parent: SessionId, kid: &Kid, now: Time) -> Vec<Effect> {
        if let Some(id) = kid.session {
            let effects = self.cancel(id, now);
            self.forget_child(parent, id);
            return effects;
        }
        let session = self.session_mut(parent);
        let spawned = session.and_then(|session| session.forget_spawned(&kid.id));
        let abroad = spawned.and_then(|spawned| spawned.abroad);
        abroad.and_then(|abroad| abroad.letter(parent, KinWord::Stop)).into_iter().collect()
    }

    fn forget_child(&mut self, parent: SessionId, id: SessionId) {
        let Some(session) = self.session_mut(parent) else { return };
        let mut children = session.invoked.iter();
        let child = children.find(|(_, child)| child.session == Some(id));
        if let Some((key, child)) = child.map(|(key, child)| (*key, child.clone())) {
            session.set_invoked(key, Invoked { session: None, ..child });
            return;
        }
        let mut spawned = session.spawned.iter();
        let spawned = spawned.find(|(_, spawned)| spawned.session == Some(id));
        if let Some(id) = spawned.map(|(name, _)| Arc::clone(name)) {
            session.forget_spawned(&id);
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
                effects.extend(self.to_parent(KinWord::Done { data: data.clone() }));
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
