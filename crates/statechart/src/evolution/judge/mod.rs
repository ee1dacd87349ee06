//! Decides which rules a live session hits. One file for each group of rules.

mod children;
mod data;
mod future;
mod queues;
mod states;
mod timers;

pub(super) use states::together;

use super::gate::Settings;
use super::live::Live;
use super::pair::Pair;
use super::reach::Slice;
use super::report::Finding;
use super::rule::Rule;
use crate::engine::Phase;

/// The judgement of one session.
pub(super) struct Judge<'a> {
    pair: &'a Pair,
    live: &'a Live<'a>,
    settings: &'a Settings,
    old: Slice,
    new: Slice,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        pair: &'a Pair,
        live: &'a Live<'a>,
        settings: &'a Settings,
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        let (old, new) = slices(pair, live);
        Self { pair, live, settings, old, new, findings }
    }

    pub(super) fn judge(&mut self) {
        self.states();
        self.histories();
        self.data();
        if self.live.phase == Phase::Finished {
            return;
        }
        self.timers();
        self.queues();
        self.children();
        self.future();
        self.code();
    }

    /// Adds a hit.
    fn hit(&mut self, rule: Rule, element: &str, what: &str) -> &mut Finding {
        self.findings.push(Finding {
            session: self.live.session,
            chart: self.pair.path.clone(),
            ..Finding::of(rule, element, what)
        });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    fn old_id(&self, state: u32) -> &'a str {
        self.pair.old.chart.id(state)
    }
}

/// What can be reached in both charts.
fn slices(pair: &Pair, live: &Live<'_>) -> (Slice, Slice) {
    let (mut old, mut new) = alive(pair, live);
    if live.may_restart {
        let (before, after) = (&pair.old, &pair.new);
        old.join(&before.reach.born(&before.chart));
        new.join(&after.reach.born(&after.chart));
    }
    (old, new)
}

fn alive(pair: &Pair, live: &Live<'_>) -> (Slice, Slice) {
    let (old, new) = (&pair.old, &pair.new);
    if live.phase == Phase::Finished {
        return (Slice::empty(&old.chart), Slice::empty(&new.chart));
    }
    if live.phase == Phase::Fresh {
        return (old.reach.born(&old.chart), new.reach.born(&new.chart));
    }
    let twin = |state: &u32| pair.twins.get(*state as usize).copied().flatten();
    let remembered: Vec<(u32, Vec<u32>)> = live
        .remembered
        .iter()
        .filter_map(|(history, states)| {
            let history = twin(history).filter(|history| new.chart.is_history(*history))?;
            let around = new.chart.node(history).parent;
            let states = states.iter().filter_map(twin);
            Some((history, states.filter(|one| new.chart.is_within(*one, around)).collect()))
        })
        .collect();
    let mut slice = old.reach.slice(&old.chart, live.active.iter().copied(), &live.remembered);
    let mut other = new.reach.slice(&new.chart, live.active.iter().filter_map(twin), &remembered);
    // What is still to be invoked is as good as entered.
    for state in &live.to_invoke {
        slice.entered.insert(*state);
        if let Some(twin) = twin(state) {
            other.entered.insert(twin);
        }
    }
    (slice, other)
}
