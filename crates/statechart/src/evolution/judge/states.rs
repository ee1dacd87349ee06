//! Decides groups B and C: where the instance is, and what it remembers of where it was.

use super::Judge;
use crate::chart::{Chart, ROOT};
use crate::definition::StateKind;
use crate::engine::Phase;
use crate::evolution::rule::Rule;

impl Judge<'_> {
    pub(super) fn states(&mut self) {
        for state in self.live.active.clone() {
            self.state(state);
        }
        if self.live.phase == Phase::Finished {
            self.end();
        }
    }

    fn state(&mut self, state: u32) {
        let (old, new) = (&self.pair.old.chart, &self.pair.new.chart);
        let id = self.old_id(state);
        let parent = old.node(state).parent;
        let Some(twin) = self.pair.twins[state as usize] else {
            let of_parallel = parent != ROOT && old.node(parent).kind == StateKind::Parallel;
            let region_of = of_parallel.then(|| self.pair.twins[parent as usize]).flatten();
            let region = region_of.is_some_and(|twin| new.node(twin).kind == StateKind::Parallel);
            let (rule, what) = match (region, old.is_atomic(state)) {
                (true, _) => (Rule::B5, "the region is gone"),
                (false, true) => (Rule::B1, "the active state is gone"),
                (false, false) => (Rule::B2, "the active state around others is gone"),
            };
            self.hit(rule, id, what);
            return;
        };
        let kinds = (kind(old, state), kind(new, twin));
        let finals = (kinds.0 == Kind::Final, kinds.1 == Kind::Final);
        let leaf = |kind| matches!(kind, Kind::Leaf | Kind::Final);
        if finals.0 != finals.1 && leaf(kinds.0) && leaf(kinds.1) {
            if self.live.phase != Phase::Finished {
                let what = if finals.1 {
                    "the active state became final"
                } else {
                    "the active state is not final any more"
                };
                let answer = "it stays active, and is not announced as done";
                self.hit(Rule::B7a, id, what).answer = Some(answer.to_owned());
            }
        } else if kinds.0 != kinds.1 {
            let finding = self.hit(Rule::B3, id, "the active state is of another kind");
            finding.old = Some(kinds.0.word().to_owned());
            finding.new = Some(kinds.1.word().to_owned());
        }
        let around = (parent != ROOT).then(|| old.id(parent));
        let new_parent = new.node(twin).parent;
        let new_around = (new_parent != ROOT).then(|| new.id(new_parent));
        if around != new_around {
            let place =
                |id: Option<&std::sync::Arc<str>>| id.map_or("the chart", |id| id).to_owned();
            let finding = self.hit(Rule::B2, id, "the active state stands in another one");
            finding.old = Some(place(around));
            finding.new = Some(place(new_around));
        }
        if kinds == (Kind::Parallel, Kind::Parallel) {
            self.regions(twin);
        }
    }

    fn regions(&mut self, twin: u32) {
        let new = &self.pair.new.chart;
        for region in &new.node(twin).children {
            // A region that came from elsewhere is where it is; that it moved is told there.
            let known = self.pair.back[*region as usize];
            if !known.is_some_and(|known| self.live.active.contains(&known)) {
                self.hit(Rule::B4, new.id(*region), "the region is new");
            }
        }
    }

    /// An instance that has ended stands in a final state.
    fn end(&mut self) {
        let (old, new) = (&self.pair.old.chart, &self.pair.new.chart);
        for state in &self.live.active {
            let is_end = |chart: &Chart, state: u32| {
                chart.node(state).kind == StateKind::Final && chart.node(state).parent == ROOT
            };
            let twin = self.pair.twins[*state as usize];
            if is_end(old, *state) && twin.is_some_and(|twin| !is_end(new, twin)) {
                let id = old.id(*state);
                self.hit(Rule::B7b, id, "the instance has ended here, and it is no end any more");
            }
        }
    }

    pub(super) fn histories(&mut self) {
        for (history, states) in self.live.remembered.clone() {
            self.history(history, &states);
        }
    }

    fn history(&mut self, history: u32, states: &[u32]) {
        let id = self.old_id(history);
        let twin = self.pair.twins[history as usize];
        let needed = self.old.histories.has(history)
            || twin.is_some_and(|twin| self.new.histories.has(twin));
        let fault = self.history_fault(twin, states);
        let (rule, what) = match (fault, needed) {
            (None, true) => {
                let touched = |diff: &&crate::evolution::pair::Diff| {
                    diff.old_state == Some(history) && diff.rule.differs_later()
                };
                if self.pair.diffs.iter().any(|diff| touched(&diff)) {
                    let answer = "what it remembers is kept";
                    let what = "the history is of another kind or begins elsewhere";
                    self.hit(Rule::C2, id, what).answer = Some(answer.to_owned());
                }
                return;
            }
            (None, false) => return,
            (Some((rule, what)), true) => (rule, what),
            (Some((_, what)), false) => (Rule::C3, what),
        };
        self.hit(rule, id, &what).answer = Some("it forgets, and begins at its default".to_owned());
    }

    /// Why what a history remembers cannot be remembered in the new chart.
    fn history_fault(&self, twin: Option<u32>, states: &[u32]) -> Option<(Rule, String)> {
        let (old, new) = (&self.pair.old.chart, &self.pair.new.chart);
        let Some(twin) = twin.filter(|twin| new.is_history(*twin)) else {
            return Some((Rule::C1, "the history is gone".to_owned()));
        };
        let around = new.node(twin).parent;
        let deep = new.node(twin).kind == StateKind::DeepHistory;
        let mut there = Vec::new();
        for state in states {
            let id = old.id(*state);
            let Some(other) = self.pair.twins[*state as usize] else {
                return Some((Rule::C1, format!("it remembers {id}, which is gone")));
            };
            let fits = new.is_within(other, around) && !new.is_history(other);
            let level = if deep { new.is_atomic(other) } else { new.node(other).parent == around };
            if !fits || !level && !self.live.is_any() {
                return Some((Rule::C1, format!("it remembers {id}, which stands elsewhere")));
            }
            there.push(other);
        }
        let apart = |one: u32, other: u32| !together(new, one, other);
        let torn = there
            .iter()
            .enumerate()
            .any(|(place, one)| there[place + 1..].iter().any(|other| apart(*one, *other)));
        if torn && !self.live.is_any() {
            let what = "what it remembers cannot be active together".to_owned();
            return Some((Rule::C4, what));
        }
        None
    }
}

/// Whether two states can be active at one time.
pub(in crate::evolution) fn together(chart: &Chart, one: u32, other: u32) -> bool {
    let (first, second) = (one.min(other), one.max(other));
    let mut around = first;
    while chart.node(around).end <= second {
        around = chart.node(around).parent;
    }
    around == first || chart.node(around).kind == StateKind::Parallel
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Leaf,
    Final,
    Compound,
    Parallel,
    History,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Leaf => "a state without states",
            Self::Final => "a final state",
            Self::Compound => "a state with states",
            Self::Parallel => "a parallel state",
            Self::History => "a history",
        }
    }
}

fn kind(chart: &Chart, state: u32) -> Kind {
    match chart.node(state).kind {
        StateKind::Final => Kind::Final,
        StateKind::Parallel => Kind::Parallel,
        StateKind::History | StateKind::DeepHistory => Kind::History,
        StateKind::State if chart.node(state).children.is_empty() => Kind::Leaf,
        StateKind::State => Kind::Compound,
    }
}
