//! Decides what an instance becomes under the new definition, and makes it.
//!
//! Pure: the checkpoint stays as it is, and whatever is refused leaves nothing behind. What is made
//! is brought back like any checkpoint, so it is legal under the new definition or it is refused (B6).

mod record;
mod revival;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;
use whimbrel_wire::Time;

use self::record::Carrier;
use self::revival::Revival;
use super::gate::{Gate, Settings};
use super::plan::{ChildPolicy, Plan, PlanError};
use super::report::{Finding, IncompatibleMigration, Report};
use super::rule::Rule;
use crate::checkpoint::{Checkpoint, CheckpointError, Record, Shift};
use crate::engine::{Effect, Instance, Limits, SessionId};

/// When and by which clock an instance goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// When it was frozen, by its old clock.
    pub frozen_at: Time,
    /// When it goes on, by its new clock.
    pub now: Time,
    /// How far the new clock is ahead of the old one.
    pub shift: Shift,
}

/// An instance that goes on under the new definition.
#[derive(Clone, Debug)]
#[must_use = "the instance is in it"]
pub struct Carried {
    /// The instance.
    pub instance: Instance,
    /// How it was judged.
    pub report: Report,
    /// What a plan did to it, in the order in which it was done.
    pub deeds: Vec<String>,
    /// What it wants of the world because of entry and exit actions that a plan ran.
    pub effects: Vec<Effect>,
    /// What a way back would not restore.
    pub losses: Vec<String>,
}

/// Why an instance does not go on.
///
/// Changed: nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CarryError {
    /// The gate stops it.
    #[error(transparent)]
    Incompatible(#[from] IncompatibleMigration),
    /// The plan is none.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The checkpoint cannot be gone on from, under whatever definition.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Gate {
    /// Takes an instance over: judges it, does what the plan says, and brings it back under the new
    /// definition. Done to a copy, so it is its own dry run.
    ///
    /// # Errors
    ///
    /// [`CarryError`]; nothing has changed then.
    pub fn carry(
        &self,
        checkpoint: &Checkpoint,
        settings: &Settings,
        plan: Option<&Plan>,
        limits: Limits,
        moment: Moment,
    ) -> Result<Carried, CarryError> {
        if let Some(plan) = plan
            && !plan.to.is_empty()
            && checkpoint.definition.digest() == plan.to
        {
            // The plan was done already: there is nothing left of it to do.
            return self.carried_already(checkpoint, settings, limits, moment);
        }
        plan.map_or(Ok(()), |plan| plan.check(self))?;
        let report = self.judge_with(checkpoint, settings, plan);
        if !report.passes {
            return Err(IncompatibleMigration { report: Box::new(report) }.into());
        }
        if report.old.digest == report.new.digest {
            let instance = checkpoint.restore_of(self.new_chart(), limits, moment.shift)?;
            return Ok(Carried::plain(instance, report));
        }
        self.made(checkpoint, report, settings, plan, limits, moment)
    }

    /// Takes over an instance that was judged, and judges it no more: what it becomes is part of a
    /// journal, and depends on nothing that a later build may decide otherwise.
    ///
    /// # Errors
    ///
    /// [`CarryError`]; nothing has changed then.
    pub fn carry_decided(
        &self,
        checkpoint: &Checkpoint,
        plan: Option<&Plan>,
        limits: Limits,
        moment: Moment,
    ) -> Result<Carried, CarryError> {
        let settings = Settings::default();
        let report = self.report(&settings, Vec::new());
        self.made(checkpoint, report, &settings, plan, limits, moment)
    }

    fn made(
        &self,
        checkpoint: &Checkpoint,
        report: Report,
        settings: &Settings,
        plan: Option<&Plan>,
        limits: Limits,
        moment: Moment,
    ) -> Result<Carried, CarryError> {
        let old = match plan {
            Some(_) => Some(checkpoint.restore_of(self.old_chart(), limits, Shift::default())?),
            None => None,
        };
        let mut work = Work {
            gate: self,
            plan,
            limits,
            moment,
            old,
            deeds: Vec::new(),
            losses: Vec::new(),
            effects: Vec::new(),
        };
        match work.make(checkpoint) {
            Ok(instance) => Ok(Carried {
                instance,
                report,
                deeds: work.deeds,
                effects: work.effects,
                losses: work.losses,
            }),
            Err(stop) => Err(self.stopped(stop, report, settings)),
        }
    }

    fn carried_already(
        &self,
        checkpoint: &Checkpoint,
        settings: &Settings,
        limits: Limits,
        moment: Moment,
    ) -> Result<Carried, CarryError> {
        let instance = checkpoint.restore_of(self.new_chart(), limits, moment.shift)?;
        let mut report = self.report(settings, Vec::new());
        report.old.clone_from(&report.new);
        Ok(Carried::plain(instance, report.close()))
    }

    /// The report of what could not be made.
    fn stopped(&self, stop: Stop, report: Report, settings: &Settings) -> CarryError {
        let (rule, error) = match stop {
            Stop::Illegal(error) => (Rule::B6, error.to_string()),
            Stop::Value(what) => (Rule::G7, what),
        };
        let mut findings = report.findings;
        findings.push(Finding::of(rule, &self.new.id, &error));
        let report = Box::new(self.report(settings, findings));
        IncompatibleMigration { report }.into()
    }
}

impl Carried {
    const fn plain(instance: Instance, report: Report) -> Self {
        Self { instance, report, deeds: Vec::new(), effects: Vec::new(), losses: Vec::new() }
    }
}

/// What ends the work: the result is not legal, or a value cannot be reckoned.
enum Stop {
    Illegal(CheckpointError),
    Value(String),
}

impl From<CheckpointError> for Stop {
    fn from(error: CheckpointError) -> Self {
        Self::Illegal(error)
    }
}

/// The making of one instance.
struct Work<'a> {
    gate: &'a Gate,
    plan: Option<&'a Plan>,
    limits: Limits,
    moment: Moment,
    /// The instance under its old definition; only where a plan needs it.
    old: Option<Instance>,
    deeds: Vec<String>,
    losses: Vec<String>,
    effects: Vec<Effect>,
}

impl Work<'_> {
    fn make(&mut self, checkpoint: &Checkpoint) -> Result<Instance, Stop> {
        let stopped = self.stopped(&checkpoint.sessions);
        let mut sessions = Vec::new();
        let mut entered = BTreeMap::new();
        for record in &checkpoint.sessions {
            if stopped.contains(&record.id) {
                continue;
            }
            let plan = self.plan.and_then(|plan| plan.of(&record.chart));
            let Some(pair) = self.gate.pair.descend(&record.chart) else {
                let (session, id) = (record.id, record.chart.join("/"));
                return Err(CheckpointError::Unknown { session, what: "chart", id }.into());
            };
            let mut carrier = Carrier::new(pair, plan, record, self.moment);
            carrier.place();
            let (left, states) = carrier.difference();
            let exit = plan.is_some_and(|plan| plan.run_exit);
            let record = if exit { self.run_exit(record, pair, &left) } else { record.clone() };
            let (carried, session) = carrier.carry(record, self.old.as_ref())?;
            self.deeds.extend(carried.deeds);
            self.losses.extend(carried.losses);
            entered.insert(session.id, states);
            sessions.push(session);
        }
        self.restart(&mut sessions);
        let bare = Checkpoint {
            definition: self.gate.new_chart().shared_definition(),
            sessions,
            digest: String::new(),
            ..checkpoint.clone()
        };
        let instance = bare.revive(self.gate.new_chart(), self.limits, self.moment.shift)?;
        let mut revival = Revival {
            gate: self.gate,
            plan: self.plan,
            old: self.old.as_ref(),
            now: self.moment.now,
            instance,
            deeds: Vec::new(),
            effects: Vec::new(),
        };
        revival.finish(&checkpoint.sessions, &entered)?;
        self.deeds.append(&mut revival.deeds);
        self.effects.append(&mut revival.effects);
        Ok(revival.instance)
    }

    /// Runs the exit actions of states that are left, under the old definition.
    fn run_exit(&mut self, record: &Record, pair: &super::pair::Pair, left: &[u32]) -> Record {
        let Some(old) = &mut self.old else { return record.clone() };
        let chart = Arc::clone(&pair.old.chart);
        let blocks = |state: &u32| chart.node(*state).on_exit.iter();
        let mut effects = old.perform_at(record.id, self.moment.now, |session, desk| {
            left.iter().rev().flat_map(blocks).for_each(|block| {
                crate::engine::perform(session, desk, block);
            });
        });
        self.effects.append(&mut effects);
        let ids = left.iter().rev().map(|state| chart.id(*state).to_string());
        self.deeds.extend(ids.map(|id| format!("{}: exit actions of {id} ran", record.id)));
        old.session(record.id).map_or_else(|| record.clone(), Record::of)
    }

    /// Sessions that a plan stops, with all that they invoked.
    fn stopped(&mut self, records: &[Record]) -> BTreeSet<SessionId> {
        let mut stopped = BTreeSet::new();
        for (session, slot, policy) in self.policies(records) {
            if policy == ChildPolicy::Stop {
                stopped.insert(session);
                self.deeds.push(format!("{session}: the child of {slot} was stopped"));
                self.losses.push(format!("{session}: the child of {slot} is gone"));
            }
        }
        // A child has a greater number than its parent.
        for record in records {
            if record.parent.as_ref().is_some_and(|parent| stopped.contains(&parent.session)) {
                stopped.insert(record.id);
            }
        }
        stopped
    }

    /// Running children for which a plan says something.
    fn policies(&self, records: &[Record]) -> Vec<(SessionId, Arc<str>, ChildPolicy)> {
        let mut found = Vec::new();
        for record in records {
            let Some(plan) = self.plan.and_then(|plan| plan.of(&record.chart)) else { continue };
            for (slot, invoked) in &record.invoked {
                if let (Some(policy), Some(child)) = (plan.children.get(&**slot), invoked.session) {
                    found.push((child, Arc::clone(slot), policy.clone()));
                }
            }
        }
        found
    }

    /// Children that begin again, with what they were given.
    fn restart(&mut self, sessions: &mut Vec<Record>) {
        let policies = self.policies(sessions);
        for (child, slot, policy) in policies {
            if policy != ChildPolicy::Restart {
                continue;
            }
            let family = descendants(sessions, child);
            sessions.retain(|record| !family.contains(&record.id));
            if let Some(record) = sessions.iter_mut().find(|record| record.id == child) {
                *record = record.born_again();
            }
            self.deeds.push(format!("{child}: the child of {slot} begins again"));
            self.losses.push(format!("{child}: what the child of {slot} had done is gone"));
        }
    }
}

/// All that a session invoked, and what that invoked, without itself.
fn descendants(records: &[Record], of: SessionId) -> BTreeSet<SessionId> {
    let mut family = BTreeSet::from([of]);
    for record in records {
        if record.parent.as_ref().is_some_and(|parent| family.contains(&parent.session)) {
            family.insert(record.id);
        }
    }
    family.remove(&of);
    family
}
