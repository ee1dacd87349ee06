//! Decides which parts of two charts are not the same, and by which rule.

use serde::Serialize;

use super::pair::{Diff, Pair, Touch};
use super::parts::{self, Part, bare_actions, bare_invoke, bare_transition};
use super::reach::is_never;
use super::rule::Rule;
use crate::chart::{Chart, ROOT};
use crate::definition::{Action, Binding, Datum, State, StateKind, Transition};

/// All differences of a pair, those of its children left out.
pub(super) fn diffs(pair: &Pair) -> Vec<Diff> {
    let mut differ = Differ { pair, diffs: Vec::new() };
    differ.chart();
    let (old, new) = (pair.old.chart.definition(), pair.new.chart.definition());
    let olds = parts::states(&old.states);
    let news = parts::states(&new.states);
    for (index, state) in olds.iter().enumerate() {
        let place = u32::try_from(index + 1).unwrap_or(u32::MAX);
        match pair.twins[place as usize] {
            Some(twin) => differ.state((place, state), (twin, news[twin as usize - 1])),
            None => {
                let what = "the state is gone";
                differ.add(Rule::B8, Touch::Never, Some(place), None, &state.id, what);
            }
        }
    }
    for (index, state) in news.iter().enumerate() {
        let place = u32::try_from(index + 1).unwrap_or(u32::MAX);
        if pair.back[place as usize].is_none() {
            let what = "the state is new";
            differ.add(Rule::B8, Touch::Never, None, Some(place), &state.id, what);
        }
    }
    differ.diffs
}

struct Differ<'a> {
    pair: &'a Pair,
    diffs: Vec<Diff>,
}

type At = (Option<u32>, Option<u32>);

impl Differ<'_> {
    fn add(
        &mut self,
        rule: Rule,
        touch: Touch,
        old_state: Option<u32>,
        new_state: Option<u32>,
        element: &str,
        what: &str,
    ) -> &mut Diff {
        self.diffs.push(Diff {
            rule,
            touch,
            old_state,
            new_state,
            element: element.to_owned(),
            what: what.to_owned(),
            old: None,
            new: None,
            on: Vec::new(),
        });
        let last = self.diffs.len() - 1;
        &mut self.diffs[last]
    }

    /// Adds a difference of two parts, unless they are written alike and mean the same.
    fn part<P: PartialEq + Serialize + Part + ?Sized>(
        &mut self,
        (rule, touch): (Rule, Touch),
        at: At,
        element: &str,
        what: &str,
        (old, new): (&P, &P),
    ) -> bool {
        if old != new {
            let diff = self.add(rule, touch, at.0, at.1, element, what);
            diff.old = short(old);
            diff.new = short(new);
            return true;
        }
        self.shift(touch, at, element, new)
    }

    /// Adds a difference if the part names what means something else now.
    fn shift<P: Part + ?Sized>(&mut self, touch: Touch, at: At, element: &str, part: &P) -> bool {
        let shifted = &self.pair.shifted;
        if shifted.is_empty() {
            return false;
        }
        let named = parts::names(part);
        let Some(name) = named.intersection(shifted).next() else { return false };
        let what = format!("what it says of {name} means something else");
        self.add(Rule::H2, touch, at.0, at.1, element, &what);
        true
    }

    fn chart(&mut self) {
        let (old, new) = (self.pair.old.chart.definition(), self.pair.new.chart.definition());
        let at = (Some(ROOT), Some(ROOT));
        let id = &new.id;
        if (&old.version, &old.name, old.expressions) != (&new.version, &new.name, new.expressions)
        {
            let diff = self.add(Rule::A3b, Touch::Never, at.0, at.1, id, "it says so of itself");
            diff.old = short(&(&old.version, &old.name));
            diff.new = short(&(&new.version, &new.name));
        }
        if old.note != new.note || old.retired != new.retired {
            self.add(Rule::H7, Touch::Never, at.0, at.1, id, "notes differ");
        }
        if old.binding != new.binding {
            let what = "data gets its first value at another moment";
            self.add(Rule::H8, Touch::Born, at.0, at.1, id, what);
            for (place, node) in self.pair.new.chart.nodes.iter().enumerate().skip(1) {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                if !node.data.is_empty() {
                    let back = self.pair.back[place as usize];
                    self.add(Rule::H8, Touch::Entered, back, Some(place), &node.id, what);
                }
            }
        }
        let script = (bare_actions(&old.script), bare_actions(&new.script));
        let kind = (Rule::H8, Touch::Born);
        self.part(kind, at, id, "the script at the beginning differs", (&script.0, &script.1));
        let data = (bare_data(&old.data), bare_data(&new.data));
        self.part(kind, at, id, "first values differ", (&data.0, &data.1));
        if self.beginning(ROOT, ROOT) {
            self.add(Rule::H8, Touch::Born, at.0, at.1, id, "it begins elsewhere");
        }
        self.transitions((ROOT, &old.transitions), (ROOT, &new.transitions), id);
    }

    /// Whether a state begins elsewhere.
    fn beginning(&self, old: u32, new: u32) -> bool {
        let ids = |chart: &Chart, state: u32| -> Vec<String> {
            let targets = &chart.node(state).initial.targets;
            targets.iter().map(|target| chart.id(*target).to_string()).collect()
        };
        ids(&self.pair.old.chart, old) != ids(&self.pair.new.chart, new)
    }

    fn state(&mut self, (old_at, old): (u32, &State), (new_at, new): (u32, &State)) {
        let at = (Some(old_at), Some(new_at));
        let id = &new.id;
        let (old_chart, new_chart) = (&self.pair.old.chart, &self.pair.new.chart);
        let place = |chart: &Chart, state: u32| chart.node(state).parent;
        let (old_parent, new_parent) = (place(old_chart, old_at), place(new_chart, new_at));
        let is_history = old_chart.is_history(old_at);
        let reached = if is_history { Touch::Remembered } else { Touch::Possible };
        let entered = if is_history { Touch::Remembered } else { Touch::Entered };
        if old.kind != new.kind || is_leaf(old) != is_leaf(new) {
            let diff = self.add(Rule::H8, reached, at.0, at.1, id, "it is of another kind");
            diff.old = short(&old.kind);
            diff.new = short(&new.kind);
            if is_history {
                // Of a history that became a state, either can be what is reached.
                self.add(Rule::H8, Touch::Possible, at.0, at.1, id, "it is of another kind");
            }
        }
        let same_parent = match (old_parent, new_parent) {
            (ROOT, ROOT) => true,
            (ROOT, _) | (_, ROOT) => false,
            (old, new) => old_chart.id(old) == new_chart.id(new),
        };
        if !same_parent {
            self.add(Rule::H4, reached, at.0, at.1, id, "it stands in another state");
        }
        if old.kind == StateKind::Parallel || new.kind == StateKind::Parallel {
            let regions = |chart: &Chart, state: u32| -> Vec<String> {
                let children = chart.node(state).children.iter();
                children.map(|child| chart.id(*child).to_string()).collect()
            };
            let (old, new) = (regions(old_chart, old_at), regions(new_chart, new_at));
            if old != new {
                let diff =
                    self.add(Rule::H4, Touch::Possible, at.0, at.1, id, "its regions differ");
                diff.old = short(&old);
                diff.new = short(&new);
            }
        }
        if self.beginning(old_at, new_at) {
            let diff = self.add(Rule::H8, entered, at.0, at.1, id, "it begins elsewhere");
            diff.old = short(&old.initial);
            diff.new = short(&new.initial);
        }
        self.doings((old_at, old), (new_at, new), entered);
        if old.note != new.note || old.was != new.was {
            self.add(Rule::H7, Touch::Never, at.0, at.1, id, "notes differ");
        }
        if !is_history && !new_chart.is_history(new_at) {
            self.transitions((old_at, &old.transitions), (new_at, &new.transitions), id);
        }
    }

    /// What is done on the way in, inside and on the way out.
    fn doings(
        &mut self,
        (old_at, old): (u32, &State),
        (new_at, new): (u32, &State),
        entered: Touch,
    ) {
        let at = (Some(old_at), Some(new_at));
        let id = &new.id;
        let is_history = self.pair.old.chart.is_history(old_at);
        let later = |rule| (rule, entered);
        let actions = |state: &State| match state.transitions.first() {
            Some(only) if is_history => bare_actions(&only.actions),
            Some(_) | None => bare_actions(&state.initial_actions),
        };
        let pair = (actions(old), actions(new));
        self.part(
            later(Rule::H2),
            at,
            id,
            "what is done on the way in differs",
            (&pair.0, &pair.1),
        );
        let blocks = |blocks: &[Vec<Action>]| -> Vec<Vec<Action>> {
            blocks.iter().map(|block| bare_actions(block)).collect()
        };
        let pair = (blocks(&old.on_entry), blocks(&new.on_entry));
        self.part(later(Rule::H2), at, id, "what is done on entry differs", (&pair.0, &pair.1));
        let pair = (blocks(&old.on_exit), blocks(&new.on_exit));
        let exit = (Rule::H2, Touch::Possible);
        self.part(exit, at, id, "what is done on exit differs", (&pair.0, &pair.1));
        self.part(
            later(Rule::H2),
            at,
            id,
            "what it says at its end differs",
            (&old.done, &new.done),
        );
        let invokes = |state: &State| state.invoke.iter().map(bare_invoke).collect::<Vec<_>>();
        let pair = (invokes(old), invokes(new));
        self.part(later(Rule::H2), at, id, "what it invokes differs", (&pair.0, &pair.1));
        let late = self.pair.new.chart.definition().binding == Binding::Late;
        let touch = if late { Touch::Entered } else { Touch::Born };
        let pair = (bare_data(&old.data), bare_data(&new.data));
        self.part((Rule::H8, touch), at, id, "first values differ", (&pair.0, &pair.1));
    }

    fn transitions(
        &mut self,
        (old_at, old): (u32, &[Transition]),
        (new_at, new): (u32, &[Transition]),
        state: &str,
    ) {
        let at = (Some(old_at), Some(new_at));
        let bare = |all: &[Transition]| all.iter().map(bare_transition).collect::<Vec<_>>();
        let (bare_old, bare_new) = (bare(old), bare(new));
        let ids = |all: &[Transition]| all.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        if bare_old == bare_new {
            let notes =
                |all: &[Transition]| -> Vec<_> { all.iter().map(|one| one.note.clone()).collect() };
            if ids(old) != ids(new) || notes(old) != notes(new) {
                let what = "transitions have other names or notes";
                self.add(Rule::H7, Touch::Never, at.0, at.1, state, what);
            }
            for transition in new {
                if self.shift(Touch::Possible, at, &transition.id, transition) {
                    self.tell(&transition.on);
                }
            }
            return;
        }
        let before = self.diffs.len();
        for (one, bare) in old.iter().zip(&bare_old) {
            if new.iter().all(|other| other.id != one.id) {
                let diff = self.add(
                    Rule::H1,
                    Touch::Possible,
                    at.0,
                    at.1,
                    &one.id,
                    "the transition is gone",
                );
                diff.old = short(bare);
                diff.on.clone_from(&one.on);
            }
        }
        for (one, bare) in new.iter().zip(&bare_new) {
            let known = old.iter().position(|other| other.id == one.id);
            match known {
                None => {
                    let what = "the transition is new";
                    let diff = self.add(Rule::H1, Touch::Possible, at.0, at.1, &one.id, what);
                    diff.new = short(bare);
                    diff.on.clone_from(&one.on);
                }
                Some(known) => self.transition(at, (&bare_old[known], bare), &one.id),
            }
        }
        let common = |all: &[Transition], others: &[Transition]| -> Vec<String> {
            let known = |id: &String| others.iter().any(|other| other.id == *id);
            ids(all).into_iter().filter(known).collect()
        };
        let order = (common(old, new), common(new, old));
        if order.0 != order.1 || self.diffs.len() == before {
            let what = "transitions stand in another order";
            let diff = self.add(Rule::H1, Touch::Possible, at.0, at.1, state, what);
            diff.old = short(&order.0);
            diff.new = short(&order.1);
            diff.on = new.iter().flat_map(|one| one.on.clone()).collect();
        }
    }

    fn transition(&mut self, at: At, (old, new): (&Transition, &Transition), id: &str) {
        let reached = |rule| (rule, Touch::Possible);
        let on = [old.on.clone(), new.on.clone()].concat();
        if old.to != new.to {
            let diff = self.add(Rule::H1, Touch::Possible, at.0, at.1, id, "it leads elsewhere");
            diff.old = short(&old.to);
            diff.new = short(&new.to);
            diff.on.clone_from(&on);
        }
        if old.on != new.on {
            let diff =
                self.add(Rule::H3, Touch::Possible, at.0, at.1, id, "it waits for other events");
            diff.old = short(&old.on);
            diff.new = short(&new.on);
            diff.on.clone_from(&on);
        }
        if old.internal != new.internal {
            let what = "it is internal, or is not any more";
            self.add(Rule::H3, Touch::Possible, at.0, at.1, id, what).on.clone_from(&on);
        }
        let when = |one: &Transition| -> Vec<crate::definition::Given> {
            one.when.iter().cloned().map(crate::definition::Given::Expression).collect()
        };
        let pair = (when(old), when(new));
        if self.part(reached(Rule::H2), at, id, "its condition differs", (&pair.0, &pair.1)) {
            self.tell(&on);
        }
        let pair = (&old.actions, &new.actions);
        if self.part(reached(Rule::H2), at, id, "what it does differs", pair) {
            self.tell(&on);
        }
        self.never(at, id, &on);
    }

    /// Whether a condition of the new chart can never hold, and that of the old one could.
    fn never(&mut self, at: At, id: &str, on: &[String]) {
        let find = |chart: &Chart| chart.transitions.iter().position(|one| *one.id == *id);
        let (old, new) = (&self.pair.old.chart, &self.pair.new.chart);
        if let (Some(old_place), Some(new_place)) = (find(old), find(new))
            && is_never(&new.transitions[new_place])
            && !is_never(&old.transitions[old_place])
        {
            let what = "its condition can never hold";
            self.add(Rule::H6, Touch::Possible, at.0, at.1, id, what).on = on.to_vec();
        }
    }

    /// Says on which events the last difference matters.
    fn tell(&mut self, on: &[String]) {
        if let Some(last) = self.diffs.last_mut() {
            last.on = on.to_vec();
        }
    }
}

/// Data as far as its first values go.
fn bare_data(data: &[Datum]) -> Vec<Datum> {
    let bare = |datum: &Datum| Datum {
        id: datum.id.clone(),
        value: datum.value.clone(),
        ..Datum::default()
    };
    data.iter().map(bare).collect()
}

/// Whether a state has no states but histories in it.
fn is_leaf(state: &State) -> bool {
    state.states.iter().all(|child| child.kind.is_history())
}

/// A part as text, not too long for a report.
fn short<P: Serialize + ?Sized>(part: &P) -> Option<String> {
    const LETTERS_MAX: usize = 160;
    let text = serde_json::to_string(part).ok()?;
    if text.chars().count() <= LETTERS_MAX {
        return Some(text);
    }
    let cut: String = text.chars().take(LETTERS_MAX).collect();
    Some(format!("{cut}…"))
}
