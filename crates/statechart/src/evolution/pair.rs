//! Decides in what two charts differ, worked out once for all instances.
//!
//! What differs is written down with what an instance must be able to reach for it to matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::differ;
use super::parts::{self, HOST, bare_transition};
use super::reach::Reach;
use super::rule::Rule;
use crate::chart::{Chart, ROOT};
use crate::definition::{Datum, Invoke, Send, State, Text, Transition};

/// Two charts of one name, the old one and the new one, with those that they invoke.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) path: Vec<String>,
    pub(super) old: Side,
    pub(super) new: Side,
    /// The new state of the id of each old one.
    pub(super) twins: Vec<Option<u32>>,
    /// The old state of the id of each new one.
    pub(super) back: Vec<Option<u32>>,
    pub(super) diffs: Vec<Diff>,
    /// Whether common states stand in the same order.
    pub(super) in_order: bool,
    /// Timers that entering a state sets in the new chart alone.
    pub(super) arms: Vec<(u32, String)>,
    /// Invocations that a state has in the new chart alone.
    pub(super) starts: Vec<(u32, String)>,
    /// Transitions of the new chart without event that the old one has not, or not with that meaning.
    pub(super) eventless: Vec<u32>,
    /// The names that mean something else in the new chart, though they are written alike.
    pub(super) shifted: BTreeSet<String>,
    /// What data there is in the new chart and not in the old one, under another name or none.
    pub(super) added: Vec<Datum>,
    /// New names of old data, by the old name.
    pub(super) renamed: BTreeMap<String, String>,
    /// Final states of the chart itself.
    pub(super) ends: (Vec<u32>, Vec<u32>),
    pub(super) children: BTreeMap<String, Self>,
    /// Children of one of the two charts alone.
    pub(super) lone: BTreeSet<String>,
    /// Whether an instance that is born differs.
    pub(super) born_differs: bool,
}

/// One of the two charts.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) chart: Arc<Chart>,
    pub(super) reach: Reach,
    /// Where each timer is declared.
    pub(super) sites: BTreeMap<String, Site>,
    /// Where each invocation stands.
    pub(super) invokes: BTreeMap<String, Invocation>,
    /// Which charts a state invokes; none: any.
    pub(super) calls: Vec<(u32, Option<String>)>,
    /// Which charts an action of a state spawns; none: any.
    pub(super) spawns: Vec<(u32, Option<String>)>,
    /// The data that the chart declares, by name.
    pub(super) data: BTreeMap<String, Datum>,
    /// Functions of the host and kinds of children, with the state that needs them.
    pub(super) needs: Vec<(u32, String)>,
}

/// Where a timer is declared.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) state: u32,
    /// Whether entering the state sets it.
    pub(super) on_entry: bool,
    pub(super) send: Send,
}

/// Where an invocation stands.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) state: u32,
    pub(super) place: u32,
    pub(super) invoke: Invoke,
}

/// A difference, and when it matters.
#[derive(Clone, Debug)]
pub(super) struct Diff {
    pub(super) rule: Rule,
    pub(super) touch: Touch,
    pub(super) old_state: Option<u32>,
    pub(super) new_state: Option<u32>,
    pub(super) element: String,
    pub(super) what: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
    /// The events on which it matters, as transitions name them, for events that wait.
    pub(super) on: Vec<String>,
}

/// What must be reached for a difference to matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// The state is active or can be.
    Possible,
    /// The state can be entered.
    Entered,
    /// The history can be led to.
    Remembered,
    /// An instance begins.
    Born,
    /// It never does.
    Never,
}

impl Side {
    fn of(chart: &Arc<Chart>) -> Self {
        let definition = chart.definition();
        let mut side = Self {
            chart: Arc::clone(chart),
            reach: Reach::of(chart),
            sites: BTreeMap::new(),
            invokes: BTreeMap::new(),
            calls: Vec::new(),
            spawns: Vec::new(),
            data: BTreeMap::new(),
            needs: Vec::new(),
        };
        side.actions(ROOT, false, &definition.script);
        side.data(ROOT, &definition.data);
        side.moves(ROOT, &definition.transitions);
        for (index, state) in parts::states(&definition.states).into_iter().enumerate() {
            let place = u32::try_from(index + 1).unwrap_or(u32::MAX);
            side.state(place, state);
        }
        side
    }

    fn state(&mut self, place: u32, state: &State) {
        self.data(place, &state.data);
        state.on_entry.iter().for_each(|block| self.actions(place, true, block));
        state.on_exit.iter().for_each(|block| self.actions(place, false, block));
        self.actions(place, false, &state.initial_actions);
        self.moves(place, &state.transitions);
        self.need(place, &parts::names(&state.done));
        for (nth, invoke) in state.invoke.iter().enumerate() {
            self.actions(place, false, &invoke.finalize);
            self.need(place, &parts::names(invoke));
            match &invoke.by {
                Some(Text::Fixed(by)) if !is_ours(by) => self.needs.push((place, by.clone())),
                Some(Text::Fixed(_) | Text::Expression { .. }) | None => {}
            }
            let chart = match &invoke.chart {
                Some(Text::Fixed(chart)) => Some(chart.clone()),
                Some(Text::Expression { .. }) => None,
                None => Some(String::new()),
            };
            self.calls.push((place, chart));
            let nth = u32::try_from(nth).unwrap_or(u32::MAX);
            let invocation = Invocation { state: place, place: nth, invoke: invoke.clone() };
            self.invokes.insert(invoke.slot.clone(), invocation);
        }
    }

    fn moves(&mut self, place: u32, transitions: &[Transition]) {
        for transition in transitions {
            self.actions(place, false, &transition.actions);
            let when: Vec<_> = transition.when.iter().cloned().collect();
            let when: Vec<_> = when.into_iter().map(crate::definition::Given::Expression).collect();
            self.need(place, &parts::names(&when));
        }
    }

    fn actions(&mut self, state: u32, on_entry: bool, actions: &[crate::definition::Action]) {
        for send in parts::sends(actions) {
            let site = Site { state, on_entry, send: send.clone() };
            self.sites.insert(send.slot.clone(), site);
        }
        let spawned = parts::spawned(actions);
        self.spawns.extend(spawned.into_iter().map(|chart| (state, chart)));
        self.need(state, &parts::names(actions));
    }

    fn need(&mut self, state: u32, names: &BTreeSet<String>) {
        let hosts = names.iter().filter_map(|name| name.strip_prefix(HOST));
        self.needs.extend(hosts.map(|name| (state, name.to_owned())));
    }

    fn data(&mut self, state: u32, data: &[Datum]) {
        self.need(state, &parts::names(data));
        self.data.extend(data.iter().map(|datum| (datum.id.clone(), datum.clone())));
    }
}

fn is_ours(by: &str) -> bool {
    matches!(by.trim_end_matches('/'), "scxml" | "http://www.w3.org/TR/scxml")
}

impl Pair {
    pub(super) fn of(old: &Arc<Chart>, new: &Arc<Chart>, path: Vec<String>) -> Self {
        let (old, new) = (Side::of(old), Side::of(new));
        let find = |from: &Chart, to: &Chart| -> Vec<Option<u32>> {
            let twin = |state: usize| match state {
                0 => Some(ROOT),
                _ => to.places.get(&from.nodes[state].id).copied(),
            };
            (0..from.nodes.len()).map(twin).collect()
        };
        let twins = find(&old.chart, &new.chart);
        let back = find(&new.chart, &old.chart);
        let common: Vec<u32> = twins.iter().copied().flatten().collect();
        let mut pair = Self {
            in_order: common.is_sorted(),
            twins,
            back,
            diffs: Vec::new(),
            arms: Vec::new(),
            starts: Vec::new(),
            eventless: Vec::new(),
            shifted: shifted(&old.chart, &new.chart),
            added: Vec::new(),
            renamed: BTreeMap::new(),
            ends: (ends(&old.chart), ends(&new.chart)),
            children: BTreeMap::new(),
            lone: BTreeSet::new(),
            born_differs: false,
            path,
            old,
            new,
        };
        pair.kinship();
        pair.match_data();
        pair.match_live();
        pair.match_eventless();
        pair.diffs = differ::diffs(&pair);
        pair.born_differs = pair.is_born_different();
        pair
    }

    /// The pair to which a path of names leads; none if the new chart has no such child.
    pub(super) fn descend(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |pair, name| pair.children.get(name))
    }

    fn kinship(&mut self) {
        let (old, new) = (Arc::clone(&self.old.chart), Arc::clone(&self.new.chart));
        for (name, child) in &old.children {
            match new.children.get(name) {
                Some(other) => {
                    let path = self.path.iter().chain([name]).cloned().collect();
                    self.children.insert(name.clone(), Self::of(child, other, path));
                }
                None => drop(self.lone.insert(name.clone())),
            }
        }
        let gained = new.children.keys().filter(|name| !old.children.contains_key(*name));
        self.lone.extend(gained.cloned());
    }

    fn match_data(&mut self) {
        for (name, datum) in &self.new.data {
            if self.old.data.contains_key(name) {
                continue;
            }
            let was = datum
                .was
                .iter()
                .find(|was| self.old.data.contains_key(*was) && !self.new.data.contains_key(*was));
            match was {
                Some(was) => drop(self.renamed.insert(was.clone(), name.clone())),
                None => self.added.push(datum.clone()),
            }
        }
    }

    fn match_live(&mut self) {
        let delayed = |site: &Site| site.on_entry && site.send.delay.is_some();
        for (slot, site) in &self.new.sites {
            if delayed(site) && !self.old.sites.get(slot).is_some_and(delayed) {
                self.arms.push((site.state, slot.clone()));
            }
        }
        for (slot, invocation) in &self.new.invokes {
            let known = self.old.invokes.get(slot);
            let known = known.and_then(|known| self.twins[known.state as usize]);
            if known != Some(invocation.state) {
                self.starts.push((invocation.state, slot.clone()));
            }
        }
    }

    fn match_eventless(&mut self) {
        let (old, new) = (&self.old.chart, &self.new.chart);
        let olds = parts::states(&old.definition().states);
        let news = parts::states(&new.definition().states);
        let sources = new.transitions.iter().filter(|one| one.on.is_empty());
        let sources: BTreeSet<u32> = sources.map(|one| one.source).collect();
        let mut found = Vec::new();
        for state in sources {
            let Some(back) = self.back[state as usize] else { continue };
            let known: Vec<Transition> =
                transitions(old, &olds, back).iter().map(bare_transition).collect();
            let range = new.node(state).transitions.clone();
            for (index, one) in range.zip(transitions(new, &news, state)) {
                let same = known.contains(&bare_transition(one))
                    && parts::names(one).is_disjoint(&self.shifted);
                if one.on.is_empty() && self.new.reach.is_alive(index) && !same {
                    found.push(index);
                }
            }
        }
        self.eventless = found;
    }

    fn is_born_different(&self) -> bool {
        let old = self.old.reach.born(&self.old.chart);
        let new = self.new.reach.born(&self.new.chart);
        let touched = |diff: &Diff| diff.touch == Touch::Born || diff.is_touched(&old, &new);
        self.diffs.iter().any(|diff| diff.rule.differs_later() && touched(diff))
            || !self.stands_alike(&old)
            || self.starts_other(&old, &new).next().is_some()
    }

    /// Whether the states of a slice stand in the same order in both charts.
    pub(super) fn stands_alike(&self, old: &super::reach::Slice) -> bool {
        self.in_order || {
            let common = old.possible.iter().filter_map(|state| self.twins[state as usize]);
            common.is_sorted()
        }
    }

    /// The children that may be started in these slices and are not the same in both charts.
    pub(super) fn starts_other<'a>(
        &'a self,
        old: &'a super::reach::Slice,
        new: &'a super::reach::Slice,
    ) -> impl Iterator<Item = &'a str> {
        let calls = self.old.calls.iter().map(move |(state, name)| (old.entered.has(*state), name));
        let more = self.new.calls.iter().map(move |(state, name)| (new.entered.has(*state), name));
        let spawns =
            self.old.spawns.iter().map(move |(state, name)| (old.possible.has(*state), name));
        let others =
            self.new.spawns.iter().map(move |(state, name)| (new.possible.has(*state), name));
        let all = calls.chain(more).chain(spawns).chain(others);
        let names = all.filter(|(reached, _)| *reached).map(|(_, name)| name);
        let named: BTreeSet<&Option<String>> = names.collect();
        let any = named.contains(&None);
        let differs = |name: &str| {
            self.lone.contains(name)
                || self.children.get(name).is_some_and(|child| child.born_differs)
        };
        let all = self.children.keys().chain(&self.lone);
        all.map(String::as_str)
            .filter(move |name| (any || named.contains(&Some((*name).to_owned()))) && differs(name))
    }
}

impl Diff {
    /// Whether it matters in what can be reached.
    pub(super) fn is_touched(&self, old: &super::reach::Slice, new: &super::reach::Slice) -> bool {
        let sides = [(self.old_state, old), (self.new_state, new)];
        sides.iter().any(|(state, slice)| {
            state.is_some_and(|state| match self.touch {
                Touch::Possible => slice.possible.has(state),
                Touch::Entered => slice.entered.has(state),
                Touch::Remembered => slice.histories.has(state),
                Touch::Born | Touch::Never => false,
            })
        })
    }
}

/// The names that one of two charts does not know, or knows otherwise: as data, or left behind by a
/// loop.
fn shifted(old: &Chart, new: &Chart) -> BTreeSet<String> {
    let standing = |chart: &Chart| -> BTreeMap<Arc<str>, bool> {
        chart.variables.iter().cloned().zip(chart.declared.iter().copied()).collect()
    };
    let (before, after) = (standing(old), standing(new));
    let names = before.keys().chain(after.keys());
    let mut shifted: BTreeSet<String> = names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| name.to_string())
        .collect();
    if old.name != new.name {
        shifted.insert("_name".to_owned());
    }
    shifted
}

/// What is written at a state, of which `states` are all in document order.
fn transitions<'a>(chart: &'a Chart, states: &[&'a State], state: u32) -> &'a [Transition] {
    match state {
        ROOT => &chart.definition().transitions,
        state => &states[state as usize - 1].transitions,
    }
}

fn ends(chart: &Chart) -> Vec<u32> {
    let root = chart.node(ROOT);
    let is_end = |state: &u32| chart.node(*state).kind == crate::definition::StateKind::Final;
    root.children.iter().copied().filter(is_end).collect()
}
