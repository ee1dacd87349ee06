//! Decides whether a checkpoint can be gone on from, and does so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use whimbrel_wire::Time;

use super::{Checkpoint, CheckpointError, Record, is_read};
use crate::chart::{Chart, ROOT, Supervision};
use crate::definition::StateKind;
use crate::engine::{
    Above, Event, Instance, Kinship, Limits, NEVER, Phase, RESTARTS_MAX, Session, SessionId,
    Spawned, Timer,
};

/// How far the clock of the place where an instance goes on is ahead of the clock by which its
/// timers were set, in nanoseconds; negative: behind.
///
/// It says how two clocks differ, not how long the way was: a timer that came due on the way fires
/// at once, and no restore makes a deadline later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift(pub i64);

impl Shift {
    fn apply(self, time: Time) -> Time {
        if time == NEVER {
            return NEVER;
        }
        Time::from_nanos(time.as_nanos().saturating_add_signed(self.0))
    }
}

impl Checkpoint {
    /// The instance, gone on from under its own definition.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when the checkpoint was altered, or is not legal.
    pub fn restore(&self, limits: Limits, shift: Shift) -> Result<Instance, CheckpointError> {
        if !is_read(self.format) {
            return Err(CheckpointError::Format(self.format));
        }
        let chart = Arc::new(Chart::new((*self.definition).clone())?);
        self.restore_of(&chart, limits, shift)
    }

    /// The same, where the chart of its definition is at hand.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]; also when the chart is of another definition.
    pub fn restore_of(
        &self,
        chart: &Arc<Chart>,
        limits: Limits,
        shift: Shift,
    ) -> Result<Instance, CheckpointError> {
        self.verify_of(&chart.digest)?;
        self.revive(chart, limits, shift)
    }

    pub(crate) fn revive(
        &self,
        chart: &Arc<Chart>,
        limits: Limits,
        shift: Shift,
    ) -> Result<Instance, CheckpointError> {
        if self.sessions.len() > limits.sessions_max {
            return Err(CheckpointError::TooLarge("sessions"));
        }
        if let Some(above) = &self.above {
            is_kin(above, &self.sessions)?;
        }
        let above = self.above.as_deref();
        let mut sessions = BTreeMap::new();
        for record in &self.sessions {
            let chart = chart.descend(&record.chart).ok_or_else(|| CheckpointError::Unknown {
                session: record.id,
                what: "chart",
                id: record.chart.join("/"),
            })?;
            let above = above.filter(|_| record.id.is_first());
            let session = Reviver { record, chart, limits, shift, above }.session(&self.name)?;
            if sessions.insert(record.id, Some(Arc::new(session))).is_some() {
                return Err(illegal(record.id, "the session stands there twice"));
            }
        }
        family(&self.sessions, self.next_session)?;
        supervised(&mut sessions);
        let name = Arc::clone(&self.name);
        let mut revived = Instance::revived(name, sessions, self.next_session, self.cursor, limits);
        revived.above.clone_from(&self.above);
        Ok(revived)
    }
}

/// Whether what is said of a parent elsewhere can be.
fn is_kin(above: &Above, records: &[Record]) -> Result<(), CheckpointError> {
    let first = records.iter().find(|record| record.id.is_first());
    let waits = matches!(above.standing, Kinship::Newborn | Kinship::Waiting | Kinship::Failed);
    let sleeps = first.and_then(|first| first.sleeps_until) == Some(NEVER);
    if waits != sleeps || above.number > NUMBER_MAX {
        return Err(illegal(SessionId::FIRST, "it waits for its parent, or does not"));
    }
    Ok(())
}

/// Gives children what the charts of their parents say about them.
fn supervised(sessions: &mut BTreeMap<SessionId, Option<Arc<Session>>>) {
    let mut said = Vec::new();
    for session in sessions.values().flatten() {
        for ((state, place), child) in &session.invoked {
            let invocation = session.chart.node(*state).invokes.get(*place as usize);
            if let (Some(child), Some(invocation)) = (child.session, invocation) {
                said.push((child, invocation.mailbox, invocation.supervision.is_some()));
            }
        }
        for spawned in session.spawned.values() {
            if let Some(child) = spawned.session {
                let mailbox = spawned.mailbox.map(|mailbox| mailbox as usize);
                said.push((child, mailbox, spawned.supervise.is_some()));
            }
        }
    }
    for (child, mailbox, is_supervised) in said {
        if let Some(child) = sessions.get_mut(&child).and_then(Option::as_mut) {
            let state = Arc::make_mut(child).state_mut();
            state.mailbox = mailbox.unwrap_or(usize::MAX).min(state.room);
            state.is_supervised = is_supervised;
        }
    }
}

fn illegal(session: SessionId, what: impl Into<String>) -> CheckpointError {
    CheckpointError::Illegal { session, what: what.into() }
}

/// Numbers of sessions, timers and ids beyond this were never given out: no instance takes so many steps, and
/// whoever goes on counting from here does not come to the end of all numbers.
const NUMBER_MAX: u64 = 1 << 62;

/// Whether parents and children name each other, and no other.
fn family(records: &[Record], next_session: u64) -> Result<(), CheckpointError> {
    if next_session > NUMBER_MAX {
        return Err(CheckpointError::TooLarge("sessions"));
    }
    let by_id: BTreeMap<SessionId, &Record> =
        records.iter().map(|record| (record.id, record)).collect();
    if !by_id.contains_key(&SessionId::FIRST) {
        return Err(illegal(SessionId::FIRST, "the session is missing"));
    }
    let mut children = BTreeSet::new();
    for record in records {
        if record.id.get() >= next_session {
            return Err(illegal(record.id, "the session is of the future"));
        }
        if record.id.is_first() != record.parent.is_none() {
            return Err(illegal(record.id, "a session has a parent, but for the first"));
        }
        let invoked = record.invoked.values().map(|invoked| (&invoked.id, invoked.session));
        let spawned = record.spawned.iter().map(|(id, spawned)| (id, spawned.session));
        for (id, child) in invoked.chain(spawned) {
            let Some(child) = child else { continue };
            let known = by_id.get(&child).and_then(|child| child.parent.as_ref());
            let fits =
                known.is_some_and(|parent| parent.session == record.id && parent.invoke_id == *id);
            if !fits || !children.insert(child) {
                return Err(illegal(record.id, "a child is of somebody else"));
            }
        }
    }
    let lost =
        records.iter().find(|record| record.parent.is_some() && !children.contains(&record.id));
    lost.map_or(Ok(()), |lost| Err(illegal(lost.id, "nobody invoked the session")))
}

struct Reviver<'a> {
    record: &'a Record,
    chart: Arc<Chart>,
    limits: Limits,
    shift: Shift,
    /// A parent that is another daemon.
    above: Option<&'a Above>,
}

impl Reviver<'_> {
    fn session(self, name: &Arc<str>) -> Result<Session, CheckpointError> {
        let record = self.record;
        let chart = Arc::clone(&self.chart);
        let given = record.given.clone();
        let parent = record.parent.clone();
        let mut session = Session::new(record.id, chart, Arc::clone(name), parent, given);
        let state = session.state_mut();
        (state.room, state.mailbox) = (self.limits.mailbox_max, self.limits.mailbox_max);
        state.is_supervised = self.above.is_some_and(|above| above.supervised);
        let holds = self.above.is_some_and(|above| above.standing == Kinship::Failed);
        if record.sleeps_until.is_some() && record.phase != Phase::Fresh && !holds {
            return Err(illegal(record.id, "what has begun waits to begin again"));
        }
        let sleeps_or_began = record.sleeps_until.is_some() || !record.restarts.is_empty();
        if sleeps_or_began && record.parent.is_none() && self.above.is_none() {
            return Err(illegal(record.id, "the first session does not begin again"));
        }
        if record.restarts.len() > RESTARTS_MAX as usize {
            return Err(CheckpointError::TooLarge("restarts"));
        }
        state.sleeps_until = record.sleeps_until.map(|until| self.shift.apply(until));
        state.restarts = record.restarts.iter().map(|at| self.shift.apply(*at)).collect();
        state.phase = record.phase;
        state.configuration = self.configuration()?;
        state.history = self.history()?;
        for (name, value) in &record.data {
            let place = self.chart.variable_at(name);
            let place = place.ok_or_else(|| self.unknown("variable", name))?;
            state.data[place] = Some(value.clone());
        }
        state.visited = self.states(&record.visited)?.into_iter().collect();
        state.internal = self.queue(&record.internal)?;
        state.external = self.queue(&record.external)?;
        state.event = record.event.clone().map(Arc::new);
        state.to_invoke = self.states(&record.to_invoke)?.into_iter().collect();
        let active = |active: &[u32], state: u32| active.binary_search(&state).is_ok();
        if !state.to_invoke.iter().all(|invoker| active(&state.configuration, *invoker)) {
            return Err(illegal(record.id, "a state that is not active is to invoke"));
        }
        for (slot, invoked) in &record.invoked {
            let key = self.invocation(slot)?;
            if !active(&state.configuration, key.0) {
                return Err(illegal(record.id, format!("{slot} runs beside no active state")));
            }
            state.invoked.insert(key, invoked.clone());
        }
        state.spawned = self.spawned()?;
        if record.next_timer > NUMBER_MAX || record.next_id > NUMBER_MAX {
            return Err(CheckpointError::TooLarge("timers and ids"));
        }
        if record.timers.len() > self.limits.mailbox_max {
            return Err(CheckpointError::TooLarge("timers"));
        }
        if record.timers.keys().next_back().is_some_and(|last| *last > record.next_timer) {
            return Err(illegal(record.id, "a timer is of the future"));
        }
        for (number, timer) in &record.timers {
            let due = self.shift.apply(timer.due);
            state.timers.insert(*number, Arc::new(Timer { due, ..timer.clone() }));
        }
        state.next_id = record.next_id;
        state.next_timer = record.next_timer;
        Ok(session)
    }

    fn spawned(&self) -> Result<BTreeMap<Arc<str>, Spawned>, CheckpointError> {
        let record = self.record;
        if record.spawned.len() > self.limits.mailbox_max {
            return Err(CheckpointError::TooLarge("children"));
        }
        let mut kept = record.spawned.clone();
        for (id, spawned) in &mut kept {
            let wrong = |what: &str| illegal(record.id, format!("{id}: {what}"));
            if spawned.session.is_some() == spawned.abroad.is_some() {
                return Err(wrong("a child is here or elsewhere"));
            }
            if let Some(supervise) = &spawned.supervise {
                Supervision::of(supervise, id).map_err(|error| wrong(&error.to_string()))?;
            }
            let Some(abroad) = &mut spawned.abroad else { continue };
            if abroad.number > record.next_id {
                return Err(wrong("the child is of the future"));
            }
            if abroad.mail.len() > self.limits.mailbox_max
                || abroad.restarts.len() > RESTARTS_MAX as usize
            {
                return Err(CheckpointError::TooLarge("events"));
            }
            abroad.restarts.iter_mut().for_each(|at| *at = self.shift.apply(*at));
        }
        Ok(kept)
    }

    fn unknown(&self, what: &'static str, id: &str) -> CheckpointError {
        CheckpointError::Unknown { session: self.record.id, what, id: id.to_owned() }
    }

    fn state(&self, id: &Arc<str>) -> Result<u32, CheckpointError> {
        self.chart.places.get(id).copied().ok_or_else(|| self.unknown("state", id))
    }

    fn states(&self, ids: &[Arc<str>]) -> Result<Vec<u32>, CheckpointError> {
        let mut states: Vec<u32> = ids.iter().map(|id| self.state(id)).collect::<Result<_, _>>()?;
        states.sort_unstable();
        states.dedup();
        Ok(states)
    }

    fn queue(&self, events: &[Event]) -> Result<VecDeque<Arc<Event>>, CheckpointError> {
        // More than the bound may stand there: the end of a child is always told, and so is what the
        // engine has to say.
        let most = self.limits.mailbox_max.saturating_mul(2) + self.limits.sessions_max;
        if events.len() > most {
            return Err(CheckpointError::TooLarge("events"));
        }
        Ok(events.iter().cloned().map(Arc::new).collect())
    }

    fn invocation(&self, slot: &str) -> Result<(u32, u32), CheckpointError> {
        for (state, node) in self.chart.nodes.iter().enumerate() {
            let place = node.invokes.iter().position(|invocation| *invocation.slot == *slot);
            if let (Some(place), Ok(state)) = (place, u32::try_from(state)) {
                return Ok((state, u32::try_from(place).unwrap_or(u32::MAX)));
            }
        }
        Err(self.unknown("invocation", slot))
    }

    /// The active states: one in each compound, all regions of each parallel, none without those
    /// around it.
    fn configuration(&self) -> Result<Vec<u32>, CheckpointError> {
        let record = self.record;
        let states = self.states(&record.configuration)?;
        if record.phase == Phase::Fresh {
            let fresh = states.is_empty();
            let what = "states are active before the first was entered";
            return if fresh { Ok(states) } else { Err(illegal(record.id, what)) };
        }
        let stopped = self.above.is_some_and(|above| above.standing == Kinship::Dismissed);
        if record.phase == Phase::Finished && stopped && states.is_empty() {
            // Its parent ended it: it came to no end of its own.
            return Ok(states);
        }
        self.legal(ROOT, &states)?;
        let around = |state: &&u32| {
            let parent = self.chart.node(**state).parent;
            self.chart.is_history(**state) || parent != ROOT && !states.contains(&parent)
        };
        match states.iter().find(around) {
            None => Ok(states),
            Some(odd) => {
                let id = self.chart.id(*odd);
                Err(illegal(record.id, format!("{id} is active outside of its parent")))
            }
        }
    }

    fn legal(&self, state: u32, active: &[u32]) -> Result<(), CheckpointError> {
        let node = self.chart.node(state);
        let inside: Vec<u32> =
            node.children.iter().copied().filter(|child| active.contains(child)).collect();
        let right = match node.kind {
            StateKind::Parallel => inside.len() == node.children.len(),
            StateKind::State if node.children.is_empty() => true,
            StateKind::State => inside.len() == 1,
            StateKind::Final | StateKind::History | StateKind::DeepHistory => true,
        };
        if !right {
            let count = inside.len();
            let what = format!("{count} of the states of {} are active", node.id);
            return Err(illegal(self.record.id, what));
        }
        inside.iter().try_for_each(|child| self.legal(*child, active))
    }

    fn history(&self) -> Result<BTreeMap<u32, Vec<u32>>, CheckpointError> {
        let mut history = BTreeMap::new();
        for (id, states) in &self.record.history {
            let place = self.state(id)?;
            let states = self.states(states)?;
            let parent = self.chart.node(place).parent;
            let inside = states.iter().all(|state| {
                self.chart.is_within(*state, parent) && !self.chart.is_history(*state)
            });
            if !self.chart.is_history(place) || !inside || states.is_empty() {
                return Err(illegal(self.record.id, format!("{id} remembers what it cannot")));
            }
            history.insert(place, states);
        }
        Ok(history)
    }
}
