//! Decides groups H, I and K: what may come out differently later, which code that needs, and
//! whether anything can still happen at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Judge;
use crate::chart::{Chart, ROOT};
use crate::checkpoint::Record;
use crate::definition::Given;
use crate::engine::{Phase, Session};
use crate::evolution::pair::{Pair, Side, Touch};
use crate::evolution::rule::Rule;

impl Judge<'_> {
    pub(super) fn future(&mut self) {
        let fresh = self.live.phase == Phase::Fresh;
        let born = fresh || self.live.may_restart;
        let pair = self.pair;
        for diff in &pair.diffs {
            let touched = diff.touch == Touch::Never
                || born && diff.touch == Touch::Born
                || diff.is_touched(&self.old, &self.new);
            let rule = if touched { diff.rule } else { Rule::B8 };
            let finding = self.hit(rule, &diff.element, &diff.what);
            finding.old.clone_from(&diff.old);
            finding.new.clone_from(&diff.new);
        }
        if !pair.stands_alike(&self.old) {
            self.hit(Rule::H4, &pair.new.chart.definition().id, "states stand in another order");
        }
        if !fresh && !self.live.is_any() {
            self.ways_out();
        }
        if self.live.phase == Phase::Resting {
            self.at_once();
        }
        self.ends();
    }

    /// Transitions without event that would be taken before anything happens.
    fn at_once(&mut self) {
        let pair = self.pair;
        let mut session = None;
        for index in &pair.eventless {
            let transition = &pair.new.chart.transitions[*index as usize];
            let back = pair.back[transition.source as usize];
            let active = back == Some(ROOT)
                || back.is_some_and(|back| self.live.active.binary_search(&back).is_ok());
            let mut holds = || match (&transition.when, self.live.record) {
                (None, _) | (_, None) => true,
                (Some(when), Some(record)) => {
                    let session = session.get_or_insert_with(|| likeness(record, pair));
                    when.holds(session).unwrap_or(false)
                }
            };
            if active && holds() {
                let what = "it waits for no event, and would be taken at once";
                let answer = "it is taken after the next event";
                self.hit(Rule::H5, &transition.id, what).answer = Some(answer.to_owned());
            }
        }
    }

    /// Whether the instance is stuck where it is, and was not.
    fn ways_out(&mut self) {
        let pair = self.pair;
        let moves = |side: &Side, state: u32| {
            let range = side.chart.node(state).transitions.clone();
            range.into_iter().any(|transition| side.reach.is_alive(transition))
        };
        let active = || self.live.active.iter().copied().chain([ROOT]);
        let before = active().any(|state| moves(&pair.old, state));
        let twins = active().filter_map(|state| pair.twins[state as usize]);
        let after = twins.into_iter().any(|state| moves(&pair.new, state));
        if before && !after {
            let leaf = self.live.active.last().copied().unwrap_or(ROOT);
            let what = "no transition leads out of any active state";
            let answer = "it stays there until another definition comes";
            self.hit(Rule::K1, self.old_id(leaf), what).answer = Some(answer.to_owned());
        }
    }

    /// Whether the end can be reached.
    fn ends(&mut self) {
        let pair = self.pair;
        let before = pair.ends.0.iter().any(|end| self.old.possible.has(*end));
        let after = pair.ends.1.iter().any(|end| self.new.possible.has(*end));
        if before && !after {
            let what = "its end can not be reached any more";
            let answer = "it runs until another definition comes";
            self.hit(Rule::K2, &name(&pair.new.chart), what).answer = Some(answer.to_owned());
        }
    }

    /// Functions and kinds of children that can be asked for.
    pub(super) fn code(&mut self) {
        let Some((source, target)) = &self.settings.palettes else { return };
        let pair = self.pair;
        for (state, need) in &pair.new.needs {
            let reached = self.new.possible.has(*state);
            match (source.get(need), target.get(need)) {
                (_, None) if reached => {
                    self.hit(Rule::I1a, need, "the target does not offer it");
                }
                (Some(old), Some(new)) if reached && old != new => {
                    let finding = self.hit(Rule::I1b, need, "the target offers another one");
                    finding.old = Some(old.clone());
                    finding.new = Some(new.clone());
                }
                (_, _) => {}
            }
        }
    }
}

/// A session of the new chart with what conditions can see of the old one.
fn likeness(record: &Record, pair: &Pair) -> Session {
    let chart = &pair.new.chart;
    let name = chart.name.clone();
    let parent = record.parent.clone();
    let mut session = Session::new(record.id, Arc::clone(chart), name, parent, BTreeMap::new());
    let state = session.state_mut();
    for (name, value) in &record.data {
        let name = pair.renamed.get(&**name).map_or(&**name, String::as_str);
        if let Some(place) = chart.variable_at(name) {
            state.data[place] = Some(value.clone());
        }
    }
    for datum in &pair.added {
        let place = chart.variable_at(&datum.id);
        if let (Some(place), Some(Given::Literal(value))) = (place, &datum.value) {
            state.data[place] = Some(value.clone());
        }
    }
    state.event = record.event.clone().map(Arc::new);
    let active = record.configuration.iter();
    state.configuration = active.filter_map(|id| chart.places.get(id).copied()).collect();
    state.configuration.sort_unstable();
    session
}

fn name(chart: &Chart) -> String {
    chart.definition().id.clone()
}
