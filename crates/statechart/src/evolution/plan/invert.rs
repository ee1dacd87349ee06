//! Decides how an instance would go back, and what that would not restore.

use std::collections::BTreeMap;

use super::{ChartPlan, Plan, Proposal, TimerPolicy};
use crate::checkpoint::Checkpoint;
use crate::definition::Given;
use crate::evolution::gate::{Gate, GateError, Settings};

impl Gate {
    /// The gate the other way round.
    ///
    /// # Errors
    ///
    /// [`GateError::TooLarge`].
    pub fn reversed(&self) -> Result<Self, GateError> {
        Self::between(self.new_chart(), self.old_chart())
    }

    /// The plan by which the instance that became `after` by `plan` would go back to where it was in
    /// `before`. What it cannot restore is in the losses of the way there.
    ///
    /// # Errors
    ///
    /// [`GateError`].
    pub fn inverse(
        &self,
        plan: Option<&Plan>,
        before: &Checkpoint,
        after: &Checkpoint,
        settings: &Settings,
    ) -> Result<Proposal, GateError> {
        let back = self.reversed()?;
        let mut proposal = back.propose(after, settings);
        for record in &before.sessions {
            let name = super::key(&record.chart);
            let said = plan.and_then(|plan| plan.charts.get(&name));
            let pair = self.pair.descend(&record.chart);
            let chart = proposal.plan.charts.entry(name).or_default();
            if let Some(said) = said {
                turn(said, chart, record);
            }
            let Some(pair) = pair else { continue };
            // What was left behind or transformed comes back as it was.
            for (name, value) in &record.data {
                let gone = !pair.new.data.contains_key(&**name)
                    && !pair.renamed.contains_key(&**name)
                    && pair.old.data.contains_key(&**name);
                let changed = said.is_some_and(|said| said.data.contains_key(&**name));
                if gone || changed {
                    chart.data.insert(name.to_string(), Given::Literal(value.clone()));
                }
            }
        }
        proposal.plan.charts.retain(|_, chart| *chart != ChartPlan::default());
        proposal.guesses.retain(|guess| {
            let answered = |chart: &ChartPlan| {
                chart.data.keys().any(|name| guess.contains(&format!(" {name}: that")))
            };
            !proposal.plan.charts.values().any(answered)
        });
        Ok(proposal)
    }
}

/// What a plan says, the other way round.
fn turn(said: &ChartPlan, back: &mut ChartPlan, record: &crate::checkpoint::Record) {
    let was_active = |state: &str| record.configuration.iter().any(|active| **active == *state);
    let mut from: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (old, news) in &said.states {
        for new in news.iter().filter(|_| was_active(old)) {
            from.entry(new).or_default().push(old.clone());
        }
    }
    for (new, olds) in from {
        back.states.insert(new.clone(), olds);
    }
    for (slot, policy) in &said.timers {
        if let Some(new) = &policy.slot {
            let policy = TimerPolicy { slot: Some(slot.clone()), ..TimerPolicy::default() };
            back.timers.insert(new.clone(), policy);
        }
    }
}
