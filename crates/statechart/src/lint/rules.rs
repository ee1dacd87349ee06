//! Decides which rules a chart hits.

use std::collections::BTreeSet;

use super::site::{Sent, Sites, sites};
use super::{Lint, LintRule};
use crate::chart::{Chart, Descriptor, ROOT, Transition};
use crate::definition::{StateKind, Text};

pub(super) fn judge(chart: &Chart, pointer: &str, found: &mut Vec<Lint>) {
    let sites = sites(chart, chart.definition(), pointer);
    let entered = entered(chart);
    let mut judge = Judge { chart, sites: &sites, entered, found: Vec::new() };
    judge.states();
    judge.transitions();
    judge.circles();
    judge.data();
    judge.timers();
    judge.events();
    judge.cancels();
    found.append(&mut judge.found);
}

struct Judge<'a> {
    chart: &'a Chart,
    sites: &'a Sites<'a>,
    /// The states that can be entered.
    entered: BTreeSet<u32>,
    found: Vec<Lint>,
}

impl Judge<'_> {
    fn hit(&mut self, rule: LintRule, element: &str, pointer: &str, what: impl Into<String>) {
        let (element, pointer) = (element.to_owned(), pointer.to_owned());
        self.found.push(Lint { rule, element, pointer, what: what.into() });
    }

    fn states(&mut self) {
        for state in 1..self.chart.nodes.len() {
            let number = u32::try_from(state).unwrap_or(u32::MAX);
            let node = &self.chart.nodes[state];
            let above = node.parent == ROOT || self.entered.contains(&node.parent);
            let (id, pointer) = (node.id.to_string(), self.sites.states[state].clone());
            if !self.chart.is_history(number) && !self.entered.contains(&number) {
                // What is in it is not told one by one.
                if above {
                    self.hit(LintRule::S1, &id, &pointer, "nothing leads there");
                }
                continue;
            }
            if self.has_no_way_out(number) {
                let what =
                    "it is not final, and neither it nor what is around it waits for anything";
                self.hit(LintRule::S9, &id, &pointer, what);
            }
        }
    }

    fn has_no_way_out(&self, state: u32) -> bool {
        let node = self.chart.node(state);
        // Beside another region it may well wait for nothing.
        let alone = self.chart.outwards(state).all(|around| {
            let around = self.chart.node(around);
            around.transitions.is_empty()
                && around.kind != StateKind::Parallel
                && around.invokes.is_empty()
        });
        node.kind == StateKind::State && node.children.is_empty() && alone
    }

    fn transitions(&mut self) {
        for (place, transition) in self.chart.transitions.iter().enumerate() {
            let source = transition.source;
            if source != ROOT && !self.entered.contains(&source) {
                continue;
            }
            let pointer = self.sites.transitions[place].clone();
            if let Some(what) = self.never(transition) {
                self.hit(LintRule::S2, &transition.id, &pointer, what);
            } else if let Some(by) = self.shadow(place, transition) {
                let what = format!("{by} stands before it and takes all that it waits for");
                self.hit(LintRule::S3, &transition.id, &pointer, what);
            }
        }
    }

    fn never(&self, transition: &Transition) -> Option<String> {
        if transition.when.as_ref().is_some_and(|when| when.source().trim() == "false") {
            return Some("its condition is false".to_owned());
        }
        let ends = |descriptor: &Descriptor| match descriptor {
            Descriptor::Any => None,
            Descriptor::Prefix(name) => self.has_no_end(name),
        };
        let reasons: Vec<_> = transition.on.iter().map(ends).collect();
        let all = !reasons.is_empty() && reasons.iter().all(Option::is_some);
        if all { reasons.into_iter().flatten().next() } else { None }
    }

    /// Why the event of an end never comes, if it is one and does not.
    fn has_no_end(&self, name: &str) -> Option<String> {
        if let Some(state) = name.strip_prefix("done.state.") {
            let Some(state) = self.chart.places.get(state) else {
                return Some(format!("there is no state {state}"));
            };
            let ends = self.can_end(*state);
            return (!ends).then(|| format!("{} has no end", self.chart.id(*state)));
        }
        let invoked = name.strip_prefix("done.invoke.")?;
        let known = self.sites.invoked.iter().any(|id| id.is_none_or(|id| id == invoked));
        (!known).then(|| format!("nothing is invoked as {invoked}"))
    }

    fn can_end(&self, state: u32) -> bool {
        let node = self.chart.node(state);
        let is_final = |child: &u32| self.chart.node(*child).kind == StateKind::Final;
        match node.kind {
            StateKind::State => node.children.iter().any(is_final),
            StateKind::Parallel => node.children.iter().all(|child| self.can_end(*child)),
            StateKind::Final => true,
            StateKind::History | StateKind::DeepHistory => false,
        }
    }

    fn shadow(&self, place: usize, transition: &Transition) -> Option<String> {
        let first = self.chart.node(transition.source).transitions.start as usize;
        let before = self.chart.transitions[first..place].iter();
        let covers = |other: &&Transition| {
            let always = match (&other.when, &transition.when) {
                (None, _) => true,
                (Some(one), Some(two)) => one.source() == two.source(),
                (Some(_), None) => false,
            };
            let takes = |wanted: &Descriptor| {
                other.on.iter().any(|taken| match (taken, wanted) {
                    (Descriptor::Any, _) => true,
                    (Descriptor::Prefix(_), Descriptor::Any) => false,
                    (Descriptor::Prefix(_), Descriptor::Prefix(name)) => taken.fits(name),
                })
            };
            // What waits for nothing goes before whatever waits.
            let sooner = other.on.is_empty() && other.when.is_none();
            let all =
                other.on.is_empty() == transition.on.is_empty() && transition.on.iter().all(takes);
            always && (all || sooner)
        };
        before.rev().find(covers).map(|other| other.id.to_string())
    }

    /// Circles of transitions that nothing holds up.
    fn circles(&mut self) {
        let leaves = self.entered.iter().filter(|state| self.chart.is_atomic(**state));
        let first: BTreeSet<u32> = leaves.filter_map(|leaf| self.forced(*leaf)).collect();
        for place in first {
            let transition = |place: u32| &self.chart.transitions[place as usize];
            let mut seen = BTreeSet::new();
            let mut open = vec![place];
            let mut circle = false;
            while let Some(next) = open.pop() {
                let leaves = landed(self.chart, transition(next));
                for next in leaves.into_iter().filter_map(|leaf| self.forced(leaf)) {
                    circle |= next == place;
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            if circle {
                let (id, pointer) = (transition(place).id.to_string(), place as usize);
                let pointer = self.sites.transitions[pointer].clone();
                let what = "it waits for nothing, and what follows leads back to it";
                self.hit(LintRule::S4, &id, &pointer, what);
            }
        }
    }

    /// The transition that is surely taken at once where this is the innermost state.
    fn forced(&self, leaf: u32) -> Option<u32> {
        let own = self.chart.outwards(leaf).flat_map(|state| self.chart.transitions_of(state));
        let (place, first) = own.into_iter().find(|(_, transition)| transition.on.is_empty())?;
        let always = first.when.as_ref().is_none_or(|when| when.source().trim() == "true");
        always.then_some(place)
    }

    fn data(&mut self) {
        for (name, pointer) in &self.sites.data {
            let place = self.chart.variable_at(name);
            let read = place.and_then(|place| u32::try_from(place).ok());
            if !read.is_some_and(|place| self.sites.read.contains(&place)) {
                let (name, pointer) = ((*name).to_owned(), pointer.clone());
                self.hit(LintRule::S5, &name, &pointer, "nothing reads it");
            }
        }
    }

    fn timers(&mut self) {
        for sent in &self.sites.sends {
            let delayed = sent.send.delay.is_some();
            if !delayed || !sent.on_entry || sent.send.to.is_some() || self.is_cancelled(sent) {
                continue;
            }
            let Some(Text::Fixed(event)) = &sent.send.event else { continue };
            let left_otherwise = self.chart.transitions.iter().any(|transition| {
                let leaves = self.chart.is_within(sent.state, transition.source)
                    || transition.source == sent.state
                    || self.chart.is_within(transition.source, sent.state);
                let stays = transition.internal || transition.targets.is_empty();
                let inside = transition
                    .targets
                    .iter()
                    .all(|target| self.chart.is_within(*target, sent.state));
                let within = transition.source != sent.state && inside;
                let other = !transition.on.iter().any(|on| on.fits(event));
                leaves && !stays && !within && other
            });
            if left_otherwise {
                let what = format!(
                    "{} can be left before {event} comes, and nothing cancels it",
                    self.chart.id(sent.state)
                );
                let (slot, pointer) = (sent.send.slot.clone(), sent.pointer.clone());
                self.hit(LintRule::S6, &slot, &pointer, what);
            }
        }
    }

    fn is_cancelled(&self, sent: &Sent<'_>) -> bool {
        self.sites.cancelled.iter().any(|(id, _)| match id {
            Text::Fixed(id) => sent.send.id.as_deref() == Some(id),
            // It can be any of those with an id.
            Text::Expression { .. } => sent.send.id.is_some() || sent.send.id_into.is_some(),
        })
    }

    fn events(&mut self) {
        let heard = |event: &str| {
            self.chart
                .transitions
                .iter()
                .any(|transition| transition.on.iter().any(|descriptor| descriptor.fits(event)))
        };
        let raised = self.sites.raised.iter().map(|(event, _, pointer)| (*event, pointer));
        let sent =
            self.sites.sends.iter().filter_map(|sent| match (&sent.send.event, &sent.send.to) {
                (Some(Text::Fixed(event)), None) if sent.send.by.is_none() => {
                    Some((&**event, &sent.pointer))
                }
                (Some(Text::Fixed(event)), Some(Text::Fixed(to))) if to == "#_internal" => {
                    Some((&**event, &sent.pointer))
                }
                _ => None,
            });
        let forwards = self.forwards();
        let lost: Vec<(String, String)> = raised
            .chain(sent)
            .filter(|(event, _)| !heard(event) && !forwards)
            .map(|(event, pointer)| (event.to_owned(), pointer.clone()))
            .collect();
        for (event, pointer) in lost {
            self.hit(LintRule::S7, &event, &pointer, "no transition waits for it");
        }
    }

    /// Whether a child hears what the chart hears.
    fn forwards(&self) -> bool {
        let mut invokes = self.chart.nodes.iter().flat_map(|node| &node.invokes);
        invokes.any(|invocation| invocation.forward)
    }

    fn cancels(&mut self) {
        let any = self.sites.sends.iter().any(|sent| sent.send.id_into.is_some());
        let lost: Vec<(String, String)> = self
            .sites
            .cancelled
            .iter()
            .filter_map(|(id, pointer)| match id {
                Text::Fixed(id) => Some((id, pointer)),
                Text::Expression { .. } => None,
            })
            .filter(|(id, _)| {
                !any && !self
                    .sites
                    .sends
                    .iter()
                    .any(|sent| sent.send.id.as_ref() == Some(*id) && sent.send.delay.is_some())
            })
            .map(|(id, pointer)| (id.clone(), pointer.clone()))
            .collect();
        for (id, pointer) in lost {
            self.hit(LintRule::S8, &id, &pointer, "no timer has this id");
        }
    }
}

/// The innermost states to which a transition leads.
fn landed(chart: &Chart, transition: &Transition) -> Vec<u32> {
    if transition.targets.is_empty() {
        let source = transition.source;
        let inside = (source + 1..chart.node(source).end).filter(|state| chart.is_atomic(*state));
        return if chart.is_atomic(source) { vec![source] } else { inside.collect() };
    }
    let mut way = Way::default();
    transition.targets.iter().for_each(|target| way.enter(chart, *target));
    way.entered.into_iter().filter(|state| chart.is_atomic(*state)).collect()
}

/// The states that can be entered: from the beginning along all transitions of what was entered.
fn entered(chart: &Chart) -> BTreeSet<u32> {
    let mut way = Way::default();
    chart.node(ROOT).initial.targets.iter().for_each(|target| way.enter(chart, *target));
    loop {
        let before = way.entered.len();
        for transition in &chart.transitions {
            let never =
                transition.when.as_ref().is_some_and(|when| when.source().trim() == "false");
            let possible = transition.source == ROOT || way.entered.contains(&transition.source);
            if possible && !never {
                transition.targets.iter().for_each(|target| way.enter(chart, *target));
            }
        }
        if before == way.entered.len() {
            return way.entered;
        }
    }
}

/// What is entered, perhaps too much of it.
#[derive(Default)]
struct Way {
    entered: BTreeSet<u32>,
    /// What is entered by its own beginning.
    begun: BTreeSet<u32>,
}

impl Way {
    /// Adds what is entered with `state`, inside and around it.
    fn enter(&mut self, chart: &Chart, state: u32) {
        self.begin(chart, state);
        for around in chart.ancestors(state, ROOT) {
            self.entered.insert(around);
            if chart.node(around).kind == StateKind::Parallel {
                let regions = chart.node(around).children.iter();
                let beside =
                    regions.filter(|region| **region != state && !chart.is_within(state, **region));
                beside.for_each(|region| self.begin(chart, *region));
            }
        }
    }

    fn begin(&mut self, chart: &Chart, state: u32) {
        if !self.begun.insert(state) {
            return;
        }
        let node = chart.node(state);
        if !chart.is_history(state) {
            self.entered.insert(state);
        }
        let inner =
            if node.kind == StateKind::Parallel { &node.children } else { &node.initial.targets };
        inner.iter().for_each(|target| self.enter(chart, *target));
    }
}
