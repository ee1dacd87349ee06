//! Decides which plan is proposed for an instance, and what of it is a guess.
//!
//! By id, then by the names that things had (`was`), then by likeness. A guess is marked as one:
//! somebody has to read it.

use super::{
    Arming, ChartPlan, ChildPolicy, Due, EventPolicy, HistoryPolicy, PLAN_FORMAT, Plan,
    RegionPolicy, Settling, TimerPolicy,
};
use crate::checkpoint::Checkpoint;
use crate::definition::{Given, State, StateKind, Text};
use crate::evolution::gate::{Gate, Settings};
use crate::evolution::pair::Pair;
use crate::evolution::parts;
use crate::evolution::report::Finding;
use crate::evolution::rule::Rule;
use crate::schema::Type;
use crate::value::Value;

/// A plan that somebody should read.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The plan.
    pub plan: Plan,
    /// What of it is guessed, and why.
    pub guesses: Vec<String>,
    /// Hits for which nothing can be proposed.
    pub open: Vec<Finding>,
}

impl Gate {
    /// Proposes a plan with which this instance could go on.
    #[must_use]
    pub fn propose(&self, checkpoint: &Checkpoint, settings: &Settings) -> Proposal {
        let report = self.judge(checkpoint, settings);
        let plan = Plan {
            format: PLAN_FORMAT,
            from: self.old.digest.clone(),
            to: self.new.digest.clone(),
            ..Plan::default()
        };
        let mut author = Author { gate: self, plan, guesses: Vec::new(), open: Vec::new() };
        let asks = |finding: &&Finding| finding.verdict > settings.profile.passes();
        report.findings.iter().filter(asks).for_each(|finding| author.answer(finding));
        Proposal { plan: author.plan, guesses: author.guesses, open: author.open }
    }
}

struct Author<'a> {
    gate: &'a Gate,
    plan: Plan,
    guesses: Vec<String>,
    open: Vec<Finding>,
}

impl Author<'_> {
    fn chart(&mut self, finding: &Finding) -> &mut ChartPlan {
        self.plan.charts.entry(super::key(&finding.chart)).or_default()
    }

    fn guess(&mut self, finding: &Finding, what: &str) {
        self.guesses.push(format!("{} {}: {what}", finding.rule, finding.element));
    }

    fn answer(&mut self, finding: &Finding) {
        let name = finding.element.clone();
        let pair = self.gate.pair.descend(&finding.chart);
        let Some(pair) = pair else {
            self.open.push(finding.clone());
            return;
        };
        match finding.rule {
            Rule::A3a => {
                self.plan.adopt = true;
                self.guess(finding, "that it is the same chart under another id");
            }
            Rule::B1 | Rule::B2 | Rule::B3 | Rule::B5 | Rule::B7b => self.state(finding, pair),
            Rule::B4 => {
                self.chart(finding).regions.insert(name, RegionPolicy::Begin);
            }
            Rule::C1 | Rule::C4 => {
                self.chart(finding).histories.insert(name, HistoryPolicy::Forget);
            }
            Rule::C2 => {
                self.chart(finding).histories.insert(name, HistoryPolicy::Keep);
            }
            Rule::D2 | Rule::D5 => {
                self.chart(finding).timers.entry(name).or_default();
            }
            Rule::D3 => self.timer(finding, pair),
            Rule::D4 => {
                self.chart(finding).arm.insert(name, Arming::Skip);
            }
            Rule::E2 => {
                self.chart(finding).events.insert(name, EventPolicy::Drop);
                self.guess(finding, "that nobody needs the event");
            }
            Rule::F2 => {
                self.chart(finding).children.insert(name, ChildPolicy::Stop);
                self.guess(finding, "that the child is not needed");
            }
            Rule::F3 | Rule::F4 => {
                self.chart(finding).children.insert(name, ChildPolicy::Keep);
            }
            Rule::G1 | Rule::G2b => self.value(finding, pair),
            Rule::G3 => {
                self.chart(finding).forget.insert(name);
            }
            Rule::H5 => self.chart(finding).settle = Some(Settling::Hold),
            Rule::B7a | Rule::K1 | Rule::K2 => {
                self.plan.consents.insert(finding.rule);
            }
            Rule::A1 | Rule::A2 | Rule::A3b | Rule::A4 | Rule::A5 | Rule::A6 | Rule::B6 => {
                self.open.push(finding.clone());
            }
            Rule::B8 | Rule::C3 | Rule::E4 | Rule::F6 | Rule::F8 | Rule::G2a | Rule::G4a => {
                self.open.push(finding.clone());
            }
            Rule::G4b | Rule::G5 | Rule::G7 | Rule::H1 | Rule::H2 | Rule::H3 | Rule::H4 => {
                self.open.push(finding.clone());
            }
            Rule::H6 | Rule::H7 | Rule::H8 | Rule::I1a | Rule::I1b => {
                self.open.push(finding.clone());
            }
        }
    }

    fn state(&mut self, finding: &Finding, pair: &Pair) {
        let name = finding.element.clone();
        let (old, new) = (&pair.old.chart, &pair.new.chart);
        let Some(place) = old.places.get(&*name).copied() else {
            self.open.push(finding.clone());
            return;
        };
        if let Some(twin) = pair.twins[place as usize] {
            let to = if old.is_atomic(place) { vec![new.id(twin).to_string()] } else { Vec::new() };
            if old.is_atomic(place) && !new.is_atomic(twin) {
                self.guess(finding, "that it is entered where it begins");
            }
            self.chart(finding).states.insert(name, to);
            return;
        }
        if let Some(known) = alias(pair, &name) {
            let to = if old.is_atomic(place) { vec![known] } else { Vec::new() };
            self.chart(finding).states.insert(name, to);
            return;
        }
        if !old.is_atomic(place) {
            self.chart(finding).states.insert(name, Vec::new());
            return;
        }
        if let Some(like) = most_alike(pair, place) {
            self.guess(finding, &format!("that {like} is the state most alike"));
            self.chart(finding).states.insert(name, vec![like]);
            return;
        }
        // Whatever is around it and still there begins anew; a parallel one has its other regions.
        let around = old.ancestors(place, crate::chart::ROOT).find_map(|around| {
            let twin = pair.twins[around as usize]?;
            Some((new.id(twin).to_string(), new.node(twin).kind == StateKind::Parallel))
        });
        match around {
            Some((_, true)) => {
                self.guess(finding, "that the region is not needed");
                self.chart(finding).states.insert(name, Vec::new());
            }
            Some((around, false)) => {
                self.guess(finding, &format!("that {around} begins anew"));
                self.chart(finding).states.insert(name, vec![around]);
            }
            None => self.open.push(finding.clone()),
        }
    }

    fn timer(&mut self, finding: &Finding, pair: &Pair) {
        let name = finding.element.clone();
        let was = pair.old.sites.get(&name).map(|site| &site.send);
        let fresh = pair.new.sites.iter().filter(|(slot, _)| !pair.old.sites.contains_key(*slot));
        let alike = fresh.filter(|(_, site)| was.is_some_and(|was| was.event == site.send.event));
        let alike: Vec<&String> = alike.map(|(slot, _)| slot).collect();
        if let [slot] = alike.as_slice() {
            let policy = TimerPolicy { slot: Some((*slot).clone()), ..TimerPolicy::default() };
            self.guess(finding, &format!("that {slot} is the same timer"));
            self.chart(finding).timers.insert(name, policy);
        } else {
            let policy = TimerPolicy { due: Due::Cancel, ..TimerPolicy::default() };
            self.guess(finding, "that the timer is not needed");
            self.chart(finding).timers.insert(name, policy);
        }
    }

    fn value(&mut self, finding: &Finding, pair: &Pair) {
        let name = &finding.element;
        let Some(datum) = pair.new.data.get(name) else {
            self.open.push(finding.clone());
            return;
        };
        let given = datum.value.clone().or_else(|| least(&datum.kind).map(Given::Literal));
        match given {
            Some(Given::Literal(value)) => {
                self.guess(finding, &format!("that {value} will do"));
                self.chart(finding).data.insert(name.clone(), Given::Literal(value));
            }
            Some(Given::Expression(_)) | None => self.open.push(finding.clone()),
        }
    }
}

/// A value of a type.
fn least(kind: &Type) -> Option<Value> {
    Some(match kind {
        Type::Any | Type::Optional(_) => Value::Null,
        Type::Bool => Value::Bool(false),
        Type::Int | Type::Float => Value::Int(0),
        Type::Text => Value::text(""),
        Type::OneOf(texts) => Value::text(texts.first()?.as_str()),
        Type::List(_) => Value::list(Vec::new()).ok()?,
        Type::Map(fields) => {
            let fields =
                fields.iter().map(|(name, kind)| Some((name.as_str().into(), least(kind)?)));
            Value::map(fields.collect::<Option<_>>()?).ok()?
        }
        Type::Table(_) => Value::map(std::collections::BTreeMap::new()).ok()?,
    })
}

/// The state that says that it was called so.
fn alias(pair: &Pair, name: &str) -> Option<String> {
    let states = parts::states(&pair.new.chart.definition().states);
    let mut known = states.into_iter().filter(|state| state.was.iter().any(|was| was == name));
    known.next().map(|state| state.id.clone())
}

/// The new state, unknown to the old chart, that is most like an old one; none if several are.
fn most_alike(pair: &Pair, place: u32) -> Option<String> {
    let olds = parts::states(&pair.old.chart.definition().states);
    let news = parts::states(&pair.new.chart.definition().states);
    let old = olds.get(place as usize - 1)?;
    let parent = |chart: &crate::chart::Chart, place: u32| {
        let parent = chart.node(place).parent;
        if parent == crate::chart::ROOT { String::new() } else { chart.id(parent).to_string() }
    };
    let around = parent(&pair.old.chart, place);
    let mut scores: Vec<(usize, &str)> = Vec::new();
    for (index, state) in news.iter().enumerate() {
        let new_place = u32::try_from(index + 1).ok()?;
        if pair.back[index + 1].is_some() || !pair.new.chart.is_atomic(new_place) {
            continue;
        }
        let near = usize::from(parent(&pair.new.chart, new_place) == around);
        let score = 2 * alike(old, state) + near;
        if score > 1 {
            scores.push((score, &state.id));
        }
    }
    scores.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    match scores.as_slice() {
        [only] => Some(only.1.to_owned()),
        [best, next, ..] if best.0 > next.0 => Some(best.1.to_owned()),
        _ => None,
    }
}

/// How many things two states have in common.
fn alike(old: &State, new: &State) -> usize {
    let shared = old
        .transitions
        .iter()
        .filter(|one| new.transitions.iter().any(|other| one.on == other.on && one.to == other.to));
    let entry = usize::from(!old.on_entry.is_empty() && old.on_entry == new.on_entry);
    let invokes = old.invoke.iter().filter(|one| {
        let same = |text: &Option<Text>| new.invoke.iter().any(|other| other.chart == *text);
        same(&one.chart)
    });
    let kind = usize::from(old.kind == StateKind::Final && new.kind == StateKind::Final);
    shared.count() + entry + invokes.count() + kind
}
