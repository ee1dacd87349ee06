//! Decides how one session is rewritten by name for the new chart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use whimbrel_wire::Time;

use super::{Moment, Stop};
use crate::chart::{Chart, ROOT};
use crate::checkpoint::Record;
use crate::definition::{Given, Send, StateKind, Text};
use crate::engine::{Event, Instance, Phase, Session, Timer, duration};
use crate::evolution::judge::together;
use crate::evolution::pair::Pair;
use crate::evolution::plan::{
    ChartPlan, ChildPolicy, Due, EventPolicy, HistoryPolicy, RegionPolicy, TimerPolicy,
};
use crate::expression::Expression;
use crate::value::Value;

/// The rewriting of one session.
pub(super) struct Carrier<'a> {
    pair: &'a Pair,
    plan: Option<&'a ChartPlan>,
    record: &'a Record,
    moment: Moment,
    /// Active states of the old chart.
    old: Vec<u32>,
    /// Active states of the new chart.
    new: Vec<u32>,
    deeds: Vec<String>,
    losses: Vec<String>,
}

/// What was done to a session.
pub(super) struct Done {
    pub(super) deeds: Vec<String>,
    pub(super) losses: Vec<String>,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(
        pair: &'a Pair,
        plan: Option<&'a ChartPlan>,
        record: &'a Record,
        moment: Moment,
    ) -> Self {
        let places = &pair.old.chart.places;
        let mut old: Vec<u32> =
            record.configuration.iter().filter_map(|id| places.get(id).copied()).collect();
        old.sort_unstable();
        Self {
            pair,
            plan,
            record,
            moment,
            old,
            new: Vec::new(),
            deeds: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// Works out which states are active in the new chart.
    pub(super) fn place(&mut self) {
        if self.record.phase == Phase::Fresh {
            return;
        }
        let (old, new) = (&self.pair.old.chart, &self.pair.new.chart);
        let mut targets: Vec<u32> = Vec::new();
        let mut told = BTreeMap::new();
        for state in &self.old {
            let said = self.plan.and_then(|plan| plan.states.get(&**old.id(*state)));
            match said {
                Some(to) => {
                    let to: Vec<u32> =
                        to.iter().filter_map(|to| new.places.get(&**to).copied()).collect();
                    for target in &to {
                        told.entry(*target).or_insert_with(Vec::new).push(*state);
                    }
                    targets.extend(to);
                }
                // States that hold others are active because of them.
                None if old.is_atomic(*state) => {
                    targets.extend(self.pair.twins[*state as usize]);
                }
                None => {}
            }
        }
        for merged in told.values().filter(|from| from.len() > 1) {
            let names: Vec<&str> = merged.iter().map(|state| &**old.id(*state)).collect();
            self.losses.push(format!("{}: {} became one", self.record.id, names.join(" and ")));
        }
        self.new = self.closed(&targets);
    }

    /// Targets with what is around them, what begins in them, and regions that have nothing.
    fn closed(&self, targets: &[u32]) -> Vec<u32> {
        let chart = &self.pair.new.chart;
        let mut active: Vec<u32> = Vec::new();
        for target in targets {
            active.extend(chart.outwards(*target).filter(|state| *state != ROOT));
        }
        let mut open = active.clone();
        open.push(ROOT);
        while let Some(state) = open.pop() {
            let node = chart.node(state);
            let missing: Vec<u32> = match node.kind {
                StateKind::Parallel => node
                    .children
                    .iter()
                    .filter(|region| !active.contains(region))
                    .flat_map(|region| self.region(*region))
                    .collect(),
                StateKind::State if !node.children.is_empty() => {
                    let filled = node.children.iter().any(|child| active.contains(child));
                    // The chart itself begins nowhere: an instance that is nowhere is refused.
                    if filled || state == ROOT { Vec::new() } else { beginning(chart, state) }
                }
                StateKind::State
                | StateKind::Final
                | StateKind::History
                | StateKind::DeepHistory => Vec::new(),
            };
            for state in missing {
                for around in chart.outwards(state).filter(|state| *state != ROOT) {
                    if !active.contains(&around) {
                        active.push(around);
                        open.push(around);
                    }
                }
            }
        }
        active.sort_unstable();
        active.dedup();
        active
    }

    /// Where a region is entered.
    fn region(&self, region: u32) -> Vec<u32> {
        let chart = &self.pair.new.chart;
        match self.plan.and_then(|plan| plan.regions.get(&**chart.id(region))) {
            Some(RegionPolicy::At(states)) => {
                states.iter().filter_map(|state| chart.places.get(&**state).copied()).collect()
            }
            Some(RegionPolicy::Begin) | None => vec![region],
        }
    }

    /// The old states that are left and the new ones that are entered.
    pub(super) fn difference(&self) -> (Vec<u32>, Vec<u32>) {
        let stays = |state: &u32| {
            self.pair.twins[*state as usize].is_some_and(|twin| self.new.contains(&twin))
        };
        let was = |state: &u32| {
            self.pair.back[*state as usize].is_some_and(|back| self.old.contains(&back))
        };
        let left = self.old.iter().copied().filter(|state| !stays(state)).collect();
        let entered = self.new.iter().copied().filter(|state| !was(state)).collect();
        (left, entered)
    }

    /// The session by the names of the new chart.
    pub(super) fn carry(
        mut self,
        mut record: Record,
        old: Option<&Instance>,
    ) -> Result<(Done, Record), Stop> {
        let (left, entered) = self.difference();
        for state in &left {
            let id = self.pair.old.chart.id(*state);
            self.deeds.push(format!("{}: {id} is left", record.id));
        }
        for state in &entered {
            let id = self.pair.new.chart.id(*state);
            self.deeds.push(format!("{}: {id} is entered", record.id));
        }
        let chart = &self.pair.new.chart;
        record.configuration = self.new.iter().map(|state| Arc::clone(chart.id(*state))).collect();
        record.history = self.history(&record);
        record.visited.retain(|id| chart.places.contains_key(id));
        record.to_invoke.retain(|id| record.configuration.contains(id));
        self.timers(&mut record)?;
        let session = old.and_then(|old| old.session(record.id));
        self.events(&mut record, session)?;
        self.invoked(&mut record);
        self.data(&mut record);
        Ok((Done { deeds: self.deeds, losses: self.losses }, record))
    }

    fn history(&mut self, record: &Record) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
        let mut kept = BTreeMap::new();
        for (id, states) in &record.history {
            let policy = self.plan.and_then(|plan| plan.histories.get(&**id));
            match self.recalled(id, states) {
                Some(states) if policy != Some(&HistoryPolicy::Forget) => {
                    kept.insert(Arc::clone(id), states);
                }
                Some(_) | None => {
                    self.deeds.push(format!("{}: {id} forgets", record.id));
                    self.losses.push(format!("{}: what {id} remembered", record.id));
                }
            }
        }
        kept
    }

    /// What a history can remember in the new chart; none: nothing.
    fn recalled(&self, id: &Arc<str>, states: &[Arc<str>]) -> Option<Vec<Arc<str>>> {
        let chart = &self.pair.new.chart;
        let history = chart.places.get(id).copied().filter(|place| chart.is_history(*place))?;
        let around = chart.node(history).parent;
        let deep = chart.node(history).kind == StateKind::DeepHistory;
        let mut kept = Vec::new();
        for state in states {
            let said = self.plan.and_then(|plan| plan.states.get(&**state));
            let said = said.and_then(|to| to.first()).map_or(&**state, String::as_str);
            let place = chart.places.get(said).copied()?;
            let level =
                if deep { chart.is_atomic(place) } else { chart.node(place).parent == around };
            if !chart.is_within(place, around) || chart.is_history(place) || !level {
                return None;
            }
            kept.push(place);
        }
        let apart = |(nth, one): (usize, &u32)| {
            kept[nth + 1..].iter().any(|other| !together(chart, *one, *other))
        };
        if kept.iter().enumerate().any(apart) {
            return None;
        }
        Some(kept.into_iter().map(|state| Arc::clone(chart.id(state))).collect())
    }

    fn timers(&mut self, record: &mut Record) -> Result<(), Stop> {
        let Some(plan) = self.plan else { return Ok(()) };
        let mut kept = BTreeMap::new();
        for (number, timer) in std::mem::take(&mut record.timers) {
            let Some(policy) = plan.timers.get(&*timer.slot) else {
                kept.insert(number, timer);
                continue;
            };
            let (slot, was) = (Arc::clone(&timer.slot), timer.due);
            match self.timer(policy, timer)? {
                Some(timer) => {
                    self.deeds.push(format!(
                        "{}: the timer {slot} was due at {was}, and is at {}",
                        record.id, timer.due
                    ));
                    kept.insert(number, timer);
                }
                None => {
                    self.deeds.push(format!("{}: the timer {slot} was cancelled", record.id));
                    self.losses.push(format!("{}: the timer {slot}, due at {was}", record.id));
                }
            }
        }
        record.timers = kept;
        Ok(())
    }

    fn timer(&self, policy: &TimerPolicy, mut timer: Timer) -> Result<Option<Timer>, Stop> {
        let slot = policy.slot.as_deref().unwrap_or(&timer.slot);
        let site = self.pair.new.sites.get(slot).map(|site| &site.send);
        let delay = delay_of(policy, site);
        let Moment { frozen_at, now, shift } = self.moment;
        // Deadlines are shifted to the new clock when the instance is brought back.
        let here = Time::from_nanos(now.as_nanos().saturating_add_signed(shift.0.saturating_neg()));
        let stood_still =
            Duration::from_nanos(here.as_nanos().saturating_sub(frozen_at.as_nanos()));
        let remaining = timer.due.as_nanos().saturating_sub(frozen_at.as_nanos());
        let wanted = || {
            let what =
                format!("the new delay of {} is not known: the plan has to say it", timer.slot);
            delay.ok_or(Stop::Value(what))
        };
        timer.due = match policy.due {
            Due::KeepDeadline => timer.due,
            Due::KeepRemaining => timer.due + stood_still,
            Due::Restart => here + wanted()?,
            Due::Rescale => {
                let new = wanted()?.as_nanos();
                let old = u128::from(timer.delay_nanos.max(1));
                let stretched = u128::from(remaining).saturating_mul(new) / old;
                let stretched = u64::try_from(stretched).unwrap_or(u64::MAX);
                Time::from_nanos(frozen_at.as_nanos().saturating_add(stretched))
            }
            Due::Fire => here.min(timer.due),
            Due::Cancel => return Ok(None),
        };
        if matches!(policy.due, Due::Restart | Due::Rescale) {
            let nanos = wanted()?.as_nanos();
            timer.delay_nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        }
        if let Some(slot) = &policy.slot {
            timer.slot = slot.as_str().into();
            timer.id = site.and_then(|site| site.id.as_deref().map(Into::into)).or(timer.id);
        }
        if let Some(event) = &policy.event {
            timer.event.name = event.as_str().into();
        }
        Ok(Some(timer))
    }

    fn events(&mut self, record: &mut Record, session: Option<&Session>) -> Result<(), Stop> {
        let Some(plan) = self.plan else { return Ok(()) };
        for queue in [&mut record.internal, &mut record.external] {
            let mut kept = Vec::with_capacity(queue.len());
            for event in std::mem::take(queue) {
                match plan.events.get(&*event.name) {
                    None | Some(EventPolicy::Keep) => kept.push(event),
                    Some(EventPolicy::Drop) => {
                        let data = &event.data;
                        self.deeds.push(format!("{}: {} was dropped", record.id, event.name));
                        self.losses.push(format!("{}: {} with {data}", record.id, event.name));
                    }
                    Some(EventPolicy::Becomes { name, data }) => {
                        self.deeds.push(format!("{}: {} became {name}", record.id, event.name));
                        kept.push(renamed(event, name, data.as_ref(), session)?);
                    }
                }
            }
            *queue = kept;
        }
        Ok(())
    }

    fn invoked(&mut self, record: &mut Record) {
        let mut kept = BTreeMap::new();
        for (slot, mut invoked) in std::mem::take(&mut record.invoked) {
            let policy = self.plan.and_then(|plan| plan.children.get(&*slot));
            let slot = match policy {
                Some(ChildPolicy::Stop) => continue,
                Some(ChildPolicy::To(to)) => to.as_str().into(),
                Some(ChildPolicy::Keep | ChildPolicy::Restart | ChildPolicy::Start) | None => slot,
            };
            let known = self.pair.new.invokes.get(&*slot);
            let stands = known.is_some_and(|known| self.new.contains(&known.state));
            if stands {
                kept.insert(slot, invoked);
            } else if invoked.session.take().is_some() {
                // It has no place: bringing it back refuses it.
                kept.insert(slot, invoked);
            }
        }
        record.invoked = kept;
    }

    fn data(&mut self, record: &mut Record) {
        let mut kept = BTreeMap::new();
        for (name, value) in std::mem::take(&mut record.data) {
            let known = |name: &str| self.pair.new.chart.variable_at(name).is_some();
            match self.pair.renamed.get(&*name) {
                Some(new) => drop(kept.insert(new.as_str().into(), value)),
                None if known(&name) => drop(kept.insert(name, value)),
                None => {
                    if self.pair.old.data.contains_key(&*name) {
                        self.losses.push(format!("{}: {name} = {value}", record.id));
                    }
                }
            }
        }
        record.data = kept;
    }
}

fn renamed(
    mut event: Event,
    name: &str,
    data: Option<&Given>,
    session: Option<&Session>,
) -> Result<Event, Stop> {
    if let Some(given) = data {
        event.data = match (given, session) {
            (Given::Literal(value), _) => value.clone(),
            (Given::Expression(text), Some(session)) => {
                let mut session = session.clone();
                session.state_mut().event = Some(Arc::new(event.clone()));
                reckon(text, &session)
                    .map_err(|what| Stop::Value(format!("{}: {what}", event.name)))?
            }
            (Given::Expression(_), None) => Value::Null,
        };
    }
    event.name = name.into();
    Ok(event)
}

/// The value of an expression of a plan in a session of the old chart.
pub(super) fn reckon(text: &str, session: &Session) -> Result<Value, String> {
    let parsed = Expression::parse(text, &*session.chart).map_err(|error| error.to_string())?;
    parsed.evaluate(session).map_err(|fault| fault.0)
}

fn delay_of(policy: &TimerPolicy, site: Option<&Send>) -> Option<Duration> {
    let written = site.and_then(|site| match &site.delay {
        Some(Text::Fixed(text)) => Some(text.as_str()),
        Some(Text::Expression { .. }) | None => None,
    });
    policy.delay.as_deref().or(written).and_then(|text| duration(text).ok())
}

/// Where a compound state begins.
fn beginning(chart: &Chart, state: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = chart.node(state).initial.targets.clone();
    let mut steps = 0;
    while let Some(target) = open.pop() {
        steps += 1;
        if steps > chart.nodes.len() {
            break;
        }
        if chart.is_history(target) {
            open.extend(&chart.node(target).initial.targets);
        } else {
            found.push(target);
        }
    }
    found
}
