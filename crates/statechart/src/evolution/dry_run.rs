//! Decides what a dry run shows: everything that would become of an instance, without its becoming so.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::carry::{Carried, CarryError, Moment};
use super::gate::{Gate, Settings};
use super::plan::{Plan, Proposal};
use super::report::Report;
use super::witness::{Bounds, Explored};
use crate::checkpoint::{Checkpoint, Record};
use crate::engine::Limits;

/// All that would become of an instance.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// How it was judged.
    pub report: Report,
    /// What it would become; none: it does not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub becomes: Option<Becomes>,
    /// A plan with which it could go on, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Proposed>,
}

/// What an instance would become.
#[derive(Clone, Debug, Serialize)]
pub struct Becomes {
    /// Each session before and after.
    pub sessions: Vec<Change>,
    /// What the plan would do, in order.
    pub deeds: Vec<String>,
    /// Effects that would be given to the world.
    pub effects: Vec<String>,
    /// Events on which it would do something else than before.
    pub explored: Option<Explored>,
    /// The plan for the way back.
    pub inverse: Option<Plan>,
    /// What the way back would not restore.
    pub losses: Vec<String>,
}

/// A proposed plan.
#[derive(Clone, Debug, Serialize)]
pub struct Proposed {
    /// The plan.
    pub plan: Plan,
    /// What of it is guessed.
    pub guesses: Vec<String>,
    /// Hits for which there is no proposal.
    pub open: Vec<String>,
}

/// A session before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    pub session: String,
    /// Its chart.
    pub chart: Vec<String>,
    /// Before; none: it was not there.
    pub before: Option<View>,
    /// After; none: it is not there any more.
    pub after: Option<View>,
}

/// What people want to see of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct View {
    /// Its active states, outer ones before those in them.
    pub active: Vec<String>,
    /// Its timers: the slot, when it is due, and the event.
    pub timers: Vec<(String, String, String)>,
    /// Its data.
    pub data: BTreeMap<String, String>,
    /// The events that wait.
    pub queued: Vec<String>,
    /// What its histories remember.
    pub remembered: BTreeMap<String, Vec<String>>,
    /// Its children: the slot, and the session if it still runs.
    pub children: BTreeMap<String, Option<String>>,
}

impl From<Proposal> for Proposed {
    fn from(proposal: Proposal) -> Self {
        let open = proposal.open.iter().map(ToString::to_string).collect();
        Self { plan: proposal.plan, guesses: proposal.guesses, open }
    }
}

impl Gate {
    /// Shows what would become of an instance.
    ///
    /// # Errors
    ///
    /// [`CarryError::Plan`], [`CarryError::Checkpoint`]; that the gate stops it is a result.
    pub fn dry_run(
        &self,
        checkpoint: &Checkpoint,
        settings: &Settings,
        plan: Option<&Plan>,
        moment: Moment,
        bounds: Bounds,
    ) -> Result<DryRun, CarryError> {
        let limits = Limits::default();
        match self.carry(checkpoint, settings, plan, limits, moment) {
            Ok(carried) => {
                let becomes = self.becomes(checkpoint, settings, plan, moment, bounds, &carried);
                Ok(DryRun { report: carried.report, becomes: Some(becomes?), proposal: None })
            }
            Err(CarryError::Incompatible(stop)) => {
                let proposal = self.propose(checkpoint, settings).into();
                Ok(DryRun { report: *stop.report, becomes: None, proposal: Some(proposal) })
            }
            Err(error) => Err(error),
        }
    }

    fn becomes(
        &self,
        checkpoint: &Checkpoint,
        settings: &Settings,
        plan: Option<&Plan>,
        moment: Moment,
        bounds: Bounds,
        carried: &Carried,
    ) -> Result<Becomes, CarryError> {
        let after = carried.instance.capture()?;
        let explored = self.explore(checkpoint, plan, moment.now, bounds).ok();
        let inverse = self.inverse(plan, checkpoint, &after, settings).ok();
        let inverse = inverse.filter(|inverse| inverse.open.is_empty());
        Ok(Becomes {
            sessions: changes(&checkpoint.sessions, &after.sessions),
            deeds: carried.deeds.clone(),
            effects: carried.effects.iter().map(|effect| format!("{effect:?}")).collect(),
            explored,
            inverse: inverse.map(|inverse| inverse.plan),
            losses: carried.losses.clone(),
        })
    }
}

fn changes(before: &[Record], after: &[Record]) -> Vec<Change> {
    let mut ids: Vec<_> = before.iter().chain(after).map(|record| record.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let find = |records: &[Record], id| records.iter().find(|record| record.id == id).cloned();
    ids.into_iter()
        .map(|id| {
            let (before, after) = (find(before, id), find(after, id));
            let chart = before.as_ref().or(after.as_ref()).map(|record| record.chart.clone());
            Change {
                session: id.to_string(),
                chart: chart.unwrap_or_default(),
                before: before.as_ref().map(View::of),
                after: after.as_ref().map(View::of),
            }
        })
        .collect()
}

impl View {
    fn of(record: &Record) -> Self {
        let texts = |ids: &[std::sync::Arc<str>]| ids.iter().map(ToString::to_string).collect();
        let timers = record.timers.values();
        let queued = record.internal.iter().chain(&record.external);
        let history = record.history.iter();
        let invoked = record.invoked.iter();
        Self {
            active: texts(&record.configuration),
            timers: timers
                .map(|timer| {
                    let event = timer.event.name.to_string();
                    (timer.slot.to_string(), timer.due.to_string(), event)
                })
                .collect(),
            data: record
                .data
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            queued: queued.map(|event| event.name.to_string()).collect(),
            remembered: history.map(|(id, states)| (id.to_string(), texts(states))).collect(),
            children: invoked
                .map(|(slot, child)| (slot.to_string(), child.session.map(|id| id.to_string())))
                .chain(record.spawned.iter().map(|(id, child)| {
                    let elsewhere = child.abroad.as_ref().map(|abroad| match &abroad.address {
                        Some(address) => address.to_string(),
                        None => format!("to be born on {}", abroad.on),
                    });
                    let here = child.session.map(|id| id.to_string());
                    (id.to_string(), here.or(elsewhere))
                }))
                .collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("in {}", self.active.join(" / "))];
        lines.extend(
            self.timers.iter().map(|(slot, due, event)| format!("timer {slot}: {event} at {due}")),
        );
        lines.extend(self.data.iter().map(|(name, value)| format!("{name} = {value}")));
        lines.extend(self.queued.iter().map(|event| format!("waiting: {event}")));
        lines.extend(
            self.remembered
                .iter()
                .map(|(id, states)| format!("{id} remembers {}", states.join(" "))),
        );
        lines.extend(self.children.iter().map(|(slot, child)| match child {
            Some(child) => format!("child {slot}: {child}"),
            None => format!("child {slot}: ended"),
        }));
        lines
    }
}

impl DryRun {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.report)?;
        if let Some(becomes) = &self.becomes {
            write!(f, "{becomes}")?;
        }
        if let Some(proposal) = &self.proposal {
            writeln!(f, "proposed plan:\n{}", proposal.plan.to_json())?;
            for guess in &proposal.guesses {
                writeln!(f, "  guessed: {guess}")?;
            }
            for open in &proposal.open {
                writeln!(f, "  no proposal: {open}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Becomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.sessions {
            let lines = |view: &Option<View>| view.as_ref().map(View::lines).unwrap_or_default();
            let (before, after) = (lines(&change.before), lines(&change.after));
            writeln!(f, "session {} {}", change.session, change.chart.join("/"))?;
            for line in &before {
                let sign = if after.contains(line) { ' ' } else { '-' };
                writeln!(f, "  {sign} {line}")?;
            }
            for line in after.iter().filter(|line| !before.contains(line)) {
                writeln!(f, "  + {line}")?;
            }
        }
        for deed in &self.deeds {
            writeln!(f, "done: {deed}")?;
        }
        for effect in &self.effects {
            writeln!(f, "effect: {effect}")?;
        }
        match &self.explored {
            Some(Explored { witness: Some(witness), .. }) => {
                writeln!(f, "first difference: {witness}")?
            }
            Some(explored) => {
                let word = if explored.complete { "all" } else { "as far as was looked" };
                writeln!(f, "no difference found ({word}, {} pairs)", explored.pairs)?;
            }
            None => {}
        }
        for loss in &self.losses {
            writeln!(f, "a way back would not restore: {loss}")?;
        }
        if let Some(inverse) = &self.inverse {
            writeln!(f, "plan for the way back:\n{}", inverse.to_json())?;
        }
        Ok(())
    }
}
