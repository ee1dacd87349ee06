//! Decides how a child is begun and ended by an action.
//!
//! A child that was spawned is tied to no state. It lives until it comes to its end, is stopped, or
//! the session that spawned it ends; what its parent says about its failure is written down with it.

use std::sync::Arc;

use super::act::{Desk, assign};
use super::effect::Effect;
use super::kin::{Abroad, KinWord};
use super::session::{Parent, Session, SessionId, Spawned};
use crate::chart::Spawning;
use crate::expression::Fault;
use crate::value::Value;

/// How sessions begin that are spawned in a microstep.
pub(super) struct Nursery {
    /// The number of the next one.
    pub(super) next: u64,
    /// How many more there may be.
    pub(super) room: usize,
    /// How many events may wait in one.
    pub(super) mailbox_max: usize,
    pub(super) born: Vec<(SessionId, Session)>,
}

/// A running child.
#[derive(Clone, Debug)]
pub(super) struct Kid {
    pub(super) id: Arc<str>,
    /// None: it is a daemon of its own.
    pub(super) session: Option<SessionId>,
}

impl Session {
    /// The children that run.
    pub(super) fn kids(&self) -> impl Iterator<Item = Kid> + '_ {
        let invoked = self.invoked.values().filter_map(|invoked| {
            Some(Kid { id: Arc::clone(&invoked.id), session: Some(invoked.session?) })
        });
        let spawned = self.spawned.iter();
        invoked.chain(
            spawned.map(|(id, spawned)| Kid { id: Arc::clone(id), session: spawned.session }),
        )
    }

    /// The running child of this id.
    pub(super) fn kid(&self, id: &str) -> Option<Kid> {
        self.kids().find(|kid| *kid.id == *id)
    }
}

pub(super) fn spawn(
    session: &mut Session,
    desk: &mut Desk<'_>,
    spawning: &Spawning,
) -> Result<(), Fault> {
    let id: Arc<str> = match &spawning.id {
        Some(id) => id.evaluate(session)?,
        None => format!("spawn.{}", session.make_id()).into(),
    };
    let named = id.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
    if id.is_empty() || !named {
        return Err(Fault::new("what is spawned has a name"));
    }
    if session.kid(&id).is_some() {
        return Err(Fault::new(format!("there is a child {id}")));
    }
    if let Some(place) = &spawning.id_into {
        assign(session, place, Value::Text(Arc::clone(&id)))?;
    }
    let name = spawning.chart.evaluate(session)?;
    let chart = session.chart.child(&name).cloned();
    let chart = chart.ok_or_else(|| Fault::new(format!("there is no chart {name}")))?;
    let given = spawning.data.named(session)?;
    let on = spawning.on.as_ref().map(|on| on.evaluate(session)).transpose()?;
    let (supervise, mailbox) = (spawning.supervise.clone(), spawning.mailbox);
    if session.spawned.len() >= session.room {
        return Err(Fault::new("too many children run"));
    }
    if let Some(on) = on {
        let abroad = Abroad {
            number: session.make_id(),
            token: "".into(),
            chart: name.to_string(),
            given,
            on,
            address: None,
            mail: Vec::new(),
            restarts: Vec::new(),
        };
        desk.effects.push(Effect::Bear { session: session.id, child: Arc::clone(&id) });
        let spawned = Spawned { session: None, supervise, mailbox, abroad: Some(abroad) };
        session.set_spawned(id, spawned);
        return Ok(());
    }
    let nursery = &mut desk.nursery;
    if nursery.room == 0 {
        return Err(Fault::new("the instance has too many sessions"));
    }
    let child = SessionId(nursery.next);
    nursery.next += 1;
    nursery.room -= 1;
    let parent = Parent { session: session.id, invoke_id: Arc::clone(&id) };
    let mut born = Session::new(child, chart, Arc::clone(&session.instance), Some(parent), given);
    let state = born.state_mut();
    state.room = nursery.mailbox_max;
    state.mailbox = mailbox.map_or(usize::MAX, |most| most as usize).min(nursery.mailbox_max);
    state.is_supervised = supervise.is_some();
    nursery.born.push((child, born));
    session.set_spawned(id, Spawned { session: Some(child), supervise, mailbox, abroad: None });
    Ok(())
}

/// Ends a child that was spawned; one that is not there has ended.
pub(super) fn stop(session: &mut Session, desk: &mut Desk<'_>, id: &str) {
    let Some(spawned) = session.forget_spawned(id) else { return };
    if let Some(child) = spawned.session {
        desk.cancelled.push(child);
    }
    let letter = spawned.abroad.and_then(|abroad| abroad.letter(session.id, KinWord::Stop));
    desk.effects.extend(letter);
}

/// Ends all of them.
pub(super) fn stop_all(session: &mut Session, desk: &mut Desk<'_>) {
    while let Some(id) = session.spawned.keys().next().cloned() {
        stop(session, desk, &id);
    }
}
