//! Decides the order of a judgement: is it whole, is it of the old definition, what of it is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::judge::Judge;
use super::live::Live;
use super::pair::Pair;
use super::plan::Plan;
use super::report::{Finding, Named, Report};
use super::rule::{Profile, Rule};
use crate::chart::{Chart, ChartError};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::definition::{Definition, OnFailure, Supervise};
use crate::engine::SessionId;

/// States of a chart times its states and transitions: 128 MiB of sets at most for each chart.
pub const GATE_BITS_MAX: usize = 1 << 30;

/// A gate between two definitions: what they differ in is worked out once, for all instances.
#[derive(Debug)]
pub struct Gate {
    pub(super) pair: Pair,
    pub(super) old: Named,
    pub(super) new: Named,
}

/// How a judgement is to be made.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What passes.
    pub profile: Profile,
    /// What the source offers and what the target offers. None: they are the same.
    pub palettes: Option<(Palette, Palette)>,
}

/// Functions and kinds of children that a host offers, by name, with what names their code.
pub type Palette = BTreeMap<String, String>;

/// Why there is no gate.
///
/// Fault: whoever wrote the definitions. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GateError {
    /// The old definition is no chart.
    #[error("the old definition is not legal: {0}")]
    Old(ChartError),
    /// The new definition is no chart.
    #[error("the new definition is not legal: {0}")]
    New(ChartError),
    /// The charts are too large to be compared.
    #[error("the chart {0} is too large for the gate")]
    TooLarge(String),
}

impl Gate {
    /// The gate between two definitions.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn new(old: Definition, new: Definition) -> Result<Self, GateError> {
        let old = Chart::new(old).map_err(GateError::Old)?;
        let new = Chart::new(new).map_err(GateError::New)?;
        Self::between(&Arc::new(old), &Arc::new(new))
    }

    /// The gate between two charts, the outermost ones.
    ///
    /// # Errors
    ///
    /// [`GateError::TooLarge`].
    pub fn between(old: &Arc<Chart>, new: &Arc<Chart>) -> Result<Self, GateError> {
        bounded(old)?;
        bounded(new)?;
        Ok(Self { old: Named::of(old), new: Named::of(new), pair: Pair::of(old, new, Vec::new()) })
    }

    /// About how much memory it takes, in bytes: the sets of what leads where, which grow as the square
    /// of a chart.
    #[must_use]
    pub fn weight(&self) -> usize {
        weight(&self.pair)
    }

    /// The old chart.
    #[must_use]
    pub const fn old_chart(&self) -> &Arc<Chart> {
        &self.pair.old.chart
    }

    /// The new chart.
    #[must_use]
    pub const fn new_chart(&self) -> &Arc<Chart> {
        &self.pair.new.chart
    }

    /// Judges one instance.
    #[must_use]
    pub fn judge(&self, checkpoint: &Checkpoint, settings: &Settings) -> Report {
        self.judge_with(checkpoint, settings, None)
    }

    /// Judges one instance for which there is a plan.
    #[must_use]
    pub fn judge_with(
        &self,
        checkpoint: &Checkpoint,
        settings: &Settings,
        plan: Option<&Plan>,
    ) -> Report {
        let mut findings = Vec::new();
        if let Err(refusal) = self.whole(checkpoint) {
            findings.push(*refusal);
        } else if self.old.digest != self.new.digest {
            self.definitions(&mut findings);
            let again = self.may_restart(checkpoint);
            for record in &checkpoint.sessions {
                self.session(record, again.contains(&record.id), settings, &mut findings);
            }
        }
        if let Some(plan) = plan {
            plan.answer(&mut findings);
        }
        self.report(settings, findings)
    }

    /// Judges any instance of the old definition that there can be: nothing is known of what is
    /// alive, so everything is.
    #[must_use]
    pub fn judge_any(&self, settings: &Settings) -> Report {
        let mut findings = Vec::new();
        if self.old.digest != self.new.digest {
            self.definitions(&mut findings);
            self.any(&self.pair, settings, &mut findings);
        }
        self.report(settings, findings)
    }

    fn any(&self, pair: &Pair, settings: &Settings, findings: &mut Vec<Finding>) {
        let live = Live::any(pair);
        Judge::new(pair, &live, settings, findings).judge();
        for child in pair.children.values() {
            self.any(child, settings, findings);
        }
        for lost in pair.lone.iter().filter(|name| pair.old.chart.children.contains_key(*name)) {
            findings.push(Finding {
                chart: pair.path.clone(),
                ..Finding::of(Rule::F6, lost, "the chart is gone")
            });
        }
    }

    pub(super) fn report(&self, settings: &Settings, findings: Vec<Finding>) -> Report {
        Report {
            verdict: super::Verdict::Identical,
            unplanned: super::Verdict::Identical,
            profile: settings.profile,
            passes: false,
            old: self.old.clone(),
            new: self.new.clone(),
            findings,
            left_out: 0,
        }
        .close()
    }

    /// Whether a checkpoint is whole and of the old definition.
    pub(super) fn whole(&self, checkpoint: &Checkpoint) -> Result<(), Box<Finding>> {
        let chart = &self.pair.old.chart;
        if !Arc::ptr_eq(&checkpoint.definition, &chart.shared_definition()) {
            let digest = checkpoint.definition.digest();
            if digest != *chart.digest {
                let what = "the checkpoint is of another definition than the old one";
                let finding = Finding::of(Rule::A2, &checkpoint.definition.id, what);
                return Err(Box::new(Finding { old: Some(digest), ..finding }));
            }
        }
        checkpoint.verify_of(&chart.digest).map_err(|error| {
            let rule = match error {
                CheckpointError::Format(_) => Rule::A4,
                CheckpointError::OtherDefinition { .. } => Rule::A2,
                CheckpointError::Malformed(_)
                | CheckpointError::Altered
                | CheckpointError::Definition(_)
                | CheckpointError::Unknown { .. }
                | CheckpointError::Illegal { .. }
                | CheckpointError::TooLarge(_) => Rule::A1,
            };
            Box::new(Finding::of(rule, &checkpoint.name, &error.to_string()))
        })
    }

    /// What is true of the definitions, whatever is alive.
    fn definitions(&self, findings: &mut Vec<Finding>) {
        let (old, new) = (&self.old, &self.new);
        if old.id != new.id {
            let finding = Finding::of(Rule::A3a, &new.id, "the chart has another id");
            findings.push(Finding {
                old: Some(old.id.clone()),
                new: Some(new.id.clone()),
                answer: Some("the new definition adopts the instance".to_owned()),
                ..finding
            });
        }
        retired(&self.pair, findings);
    }

    /// The sessions that may begin again: those whose parents supervise any child by that, since
    /// what is linked to one begins again with it.
    fn may_restart(&self, checkpoint: &Checkpoint) -> BTreeSet<SessionId> {
        let says = |said: &Option<Supervise>| {
            said.as_ref().is_some_and(|said| said.on_failure == OnFailure::Restart)
        };
        let mut found = BTreeSet::new();
        if checkpoint.above.as_ref().is_some_and(|above| above.supervised) {
            found.insert(SessionId::FIRST);
        }
        for record in &checkpoint.sessions {
            let Some(pair) = self.pair.descend(&record.chart) else { continue };
            let invoked = record.invoked.keys().any(|slot| {
                [&pair.old, &pair.new].into_iter().any(|side| {
                    side.invokes.get(&**slot).is_some_and(|known| says(&known.invoke.supervise))
                })
            });
            if invoked || record.spawned.values().any(|spawned| says(&spawned.supervise)) {
                found.extend(record.invoked.values().filter_map(|invoked| invoked.session));
                found.extend(record.spawned.values().filter_map(|spawned| spawned.session));
            }
        }
        found
    }

    fn session(
        &self,
        record: &crate::checkpoint::Record,
        may_restart: bool,
        settings: &Settings,
        findings: &mut Vec<Finding>,
    ) {
        let at = |finding: Finding| Finding {
            session: Some(record.id),
            chart: record.chart.clone(),
            ..finding
        };
        let Some(pair) = self.pair.descend(&record.chart) else {
            let name = record.chart.join("/");
            let known = self.pair.old.chart.descend(&record.chart).is_some();
            findings.push(at(if known {
                Finding::of(Rule::F6, &name, "the chart of a running child does not exist")
            } else {
                Finding::of(Rule::A6, &name, "the old definition has no such chart")
            }));
            return;
        };
        match Live::of(record, pair) {
            Ok(live) => {
                let live = Live { may_restart, ..live };
                Judge::new(pair, &live, settings, findings).judge();
            }
            Err(what) => findings.push(at(Finding::of(Rule::A6, &record.chart.join("/"), &what))),
        }
    }
}

/// Names that were retired and are used again, in all charts.
fn retired(pair: &Pair, findings: &mut Vec<Finding>) {
    let charts = [&pair.old.chart, &pair.new.chart];
    let names = charts.iter().flat_map(|chart| &chart.definition().retired);
    for (name, kind) in names {
        let again = pair.new.data.get(name).filter(|datum| datum.kind != *kind);
        let known = findings.iter().any(|one| one.rule == Rule::G5 && one.element == *name);
        if let (Some(again), false) = (again, known) {
            let what = "a retired name is used again for another type";
            findings.push(Finding {
                chart: pair.path.clone(),
                old: Some(kind.to_string()),
                new: Some(again.kind.to_string()),
                ..Finding::of(Rule::G5, name, what)
            });
        }
    }
    pair.children.values().for_each(|child| retired(child, findings));
}

fn weight(pair: &Pair) -> usize {
    /// What a state or a transition takes beside its sets.
    const EACH: usize = 256;
    let side = |chart: &Chart| {
        let (states, transitions) = (chart.nodes.len(), chart.transitions.len());
        let sets = states.saturating_add(transitions);
        sets.saturating_mul(states.div_ceil(8).saturating_add(EACH))
    };
    let own = side(&pair.old.chart).saturating_add(side(&pair.new.chart));
    pair.children.values().map(weight).fold(own, usize::saturating_add)
}

fn bounded(chart: &Chart) -> Result<(), GateError> {
    let (states, transitions) = (chart.nodes.len(), chart.transitions.len());
    if states.saturating_mul(states.saturating_add(transitions)) > GATE_BITS_MAX {
        return Err(GateError::TooLarge(chart.definition().id.clone()));
    }
    chart.children.values().try_for_each(|child| bounded(child))
}

impl Named {
    fn of(chart: &Chart) -> Self {
        let definition = chart.definition();
        Self {
            id: definition.id.clone(),
            version: definition.version.clone(),
            digest: chart.digest.to_string(),
        }
    }
}

impl Finding {
    /// A hit of a rule that nobody answered.
    pub(super) fn of(rule: Rule, element: &str, what: &str) -> Self {
        Self {
            rule,
            verdict: rule.verdict(),
            session: None,
            chart: Vec::new(),
            element: element.to_owned(),
            what: what.to_owned(),
            old: None,
            new: None,
            answer: None,
            settled: false,
        }
    }
}
