//! Decides how a plan is written, whether it is one, and which hits of rules it answers.
//!
//! A plan says what becomes of what has no place in the new definition, and consents to what has a
//! safe way. It names nothing that is in neither definition, and it never answers a refusal.
//!
//! ```json
//! { "format": 1, "consents": ["D4"],
//!   "charts": { "": {
//!     "states": { "paying": ["checkout"] },
//!     "timers": { "late": { "due": "keep-deadline" } },
//!     "events": { "paid": { "becomes": { "name": "payment.done" } } },
//!     "data": { "total": { "expression": "price * count" } } } } }
//! ```

mod invert;
mod propose;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use propose::Proposal;

use super::gate::Gate;
use super::pair::Pair;
use super::report::Finding;
use super::rule::{Rule, Verdict};
use crate::chart::Chart;
use crate::definition::{Given, StateKind};
use crate::expression::{Expression, Names, SyntaxError};

/// The format of a plan; another one is not read.
pub const PLAN_FORMAT: u32 = 1;

/// What becomes of instances of one definition under another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The format: [`PLAN_FORMAT`].
    pub format: u32,
    /// The digest of the old definition. Left out: it is not looked at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The digest of the new definition. Left out: it is not looked at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Whether a chart of another id may take the instance over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Rules whose safe way is agreed to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub consents: BTreeSet<Rule>,
    /// What becomes of sessions, by the names that lead to their chart with `/` between them; the
    /// outermost chart has the empty name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charts: BTreeMap<String, ChartPlan>,
}

/// What becomes of sessions of one chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChartPlan {
    /// What is active instead of an old state: one state, several that can be active together (a
    /// split), or none (what stands for the states in it will do). Several old states may become
    /// one (a merge). A state with states in it is entered where it begins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, Vec<String>>,
    /// Where a region that is new is entered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<String, RegionPolicy>,
    /// What a history remembers, by the old history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub histories: BTreeMap<String, HistoryPolicy>,
    /// What becomes of pending timers, by their old slot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timers: BTreeMap<String, TimerPolicy>,
    /// Timers of active states that are new, by their slot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arm: BTreeMap<String, Arming>,
    /// What becomes of events that wait, by their name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, EventPolicy>,
    /// What becomes of running children, by their old slot, and of new invocations, by theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, ChildPolicy>,
    /// Values of variables of the new chart. Expressions see the old session.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Given>,
    /// Variables of the old chart whose values are left behind.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forget: BTreeSet<String>,
    /// Whether exit actions run of states that are left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_exit: bool,
    /// Whether entry actions run of states that are entered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_entry: bool,
    /// When a transition without event is taken that holds on arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Settling>,
}

/// Where a new region is entered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionPolicy {
    /// Where it begins.
    #[default]
    Begin,
    /// At these states of it.
    At(Vec<String>),
}

/// What becomes of what a history remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryPolicy {
    /// It forgets.
    #[default]
    Forget,
    /// It keeps what still can be remembered, states by the plan.
    Keep,
}

/// What becomes of a pending timer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerPolicy {
    /// When it is due.
    pub due: Due,
    /// The slot of the new chart that it takes. Left out: the same one, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The delay of the new chart, where that is reckoned there: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Another name for its event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// When a timer is due that goes on under another definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Due {
    /// When it was due before.
    #[default]
    KeepDeadline,
    /// As much later as the instance stood still.
    KeepRemaining,
    /// After the new delay from now.
    Restart,
    /// What remains, stretched as the new delay is to the old one.
    Rescale,
    /// At once.
    Fire,
    /// Never.
    Cancel,
}

/// Whether a new timer of an active state is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arming {
    /// It is not.
    #[default]
    Skip,
    /// With its whole delay from now.
    Full,
    /// With this delay from now: `30s`.
    In(String),
}

/// What becomes of an event that waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventPolicy {
    /// It stays, and is heard by nobody.
    #[default]
    Keep,
    /// It is taken out, and told.
    Drop,
    /// It becomes another one.
    Becomes {
        /// Of this name.
        name: String,
        /// With this data; an expression sees the old session with `_event`. Left out: its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Given>,
    },
}

/// What becomes of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChildPolicy {
    /// A running one goes on. A new one is not started.
    #[default]
    Keep,
    /// It ends, its exit actions are not run, and nobody is told.
    Stop,
    /// It begins again with what it was given.
    Restart,
    /// A new one is started.
    Start,
    /// It goes on as the child of another invocation.
    To(String),
}

/// When a transition without event is taken that holds on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settling {
    /// At once.
    OnArrival,
    /// After the next event.
    Hold,
}

/// Why a plan is none.
///
/// Fault: whoever wrote it. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is no plan.
    #[error("not a plan: {0}")]
    Malformed(String),
    /// It is of another format.
    #[error("the format {0} is not read here")]
    Format(u32),
    /// It is between other definitions.
    #[error("the plan is {what} {digest}, and that is another definition")]
    Elsewhere {
        /// From or to.
        what: &'static str,
        /// Which definition.
        digest: String,
    },
    /// It names what is not there.
    #[error("{chart}: there is no {what} {name}")]
    Unknown {
        /// In which chart.
        chart: String,
        /// What it would be.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It says two things of one.
    #[error("{chart}: {name} is said twice: {what}")]
    Ambiguous {
        /// In which chart.
        chart: String,
        /// Which.
        name: String,
        /// What is said.
        what: &'static str,
    },
    /// It consents to what nobody can consent to.
    #[error("{0} asks for more than consent")]
    Consent(Rule),
    /// A text is no expression or span of time.
    #[error("{name}: {what}")]
    Text {
        /// Of which element.
        name: String,
        /// What is wrong.
        what: String,
    },
}

impl Names for Chart {
    fn variable(&self, name: &str) -> Option<u32> {
        u32::try_from(self.variable_at(name)?).ok()
    }
}

impl Plan {
    /// From JSON.
    ///
    /// # Errors
    ///
    /// [`PlanError::Malformed`], [`PlanError::Format`].
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self =
            serde_json::from_str(text).map_err(|error| PlanError::Malformed(error.to_string()))?;
        if plan.format == PLAN_FORMAT { Ok(plan) } else { Err(PlanError::Format(plan.format)) }
    }

    /// As JSON, for people.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether it is a plan between the definitions of `gate`.
    ///
    /// # Errors
    ///
    /// [`PlanError`].
    pub fn check(&self, gate: &Gate) -> Result<(), PlanError> {
        if self.format != PLAN_FORMAT {
            return Err(PlanError::Format(self.format));
        }
        for (what, said, is) in [("from", &self.from, &gate.old), ("to", &self.to, &gate.new)] {
            if !said.is_empty() && *said != is.digest {
                return Err(PlanError::Elsewhere { what, digest: said.clone() });
            }
        }
        self.consents_only()?;
        for (name, chart) in &self.charts {
            let pair = gate.pair.descend(&path(name));
            let pair = pair.ok_or_else(|| PlanError::Unknown {
                chart: name.clone(),
                what: "chart",
                name: name.clone(),
            })?;
            Checker { name, plan: chart, pair }.check()?;
        }
        Ok(())
    }

    /// Whether it can be a plan for instances of a definition, whatever the new one is: `gate` is
    /// that between the definition and itself.
    ///
    /// # Errors
    ///
    /// [`PlanError`].
    pub fn check_old(&self, gate: &Gate) -> Result<(), PlanError> {
        if !self.from.is_empty() && self.from != gate.old.digest {
            let digest = self.from.clone();
            return Err(PlanError::Elsewhere { what: "from", digest });
        }
        self.consents_only()?;
        for (name, plan) in &self.charts {
            // A chart that only the new definition has is looked for when that is known.
            if let Some(pair) = gate.pair.descend(&path(name)) {
                Checker { name, plan, pair }.check_old()?;
            }
        }
        Ok(())
    }

    fn consents_only(&self) -> Result<(), PlanError> {
        let more = self.consents.iter().find(|rule| rule.verdict() != Verdict::NeedsConsent);
        more.map_or(Ok(()), |rule| Err(PlanError::Consent(*rule)))
    }

    /// What it says of a chart.
    pub(super) fn of(&self, chart: &[String]) -> Option<&ChartPlan> {
        self.charts.get(&key(chart))
    }

    /// Marks the hits that it answers.
    pub(super) fn answer(&self, findings: &mut [Finding]) {
        let none = ChartPlan::default();
        for finding in findings {
            let answer = self.of(&finding.chart).unwrap_or(&none).answers(finding);
            let adopted = finding.rule == Rule::A3a && self.adopt;
            let agreed = self.consents.contains(&finding.rule) || adopted;
            if let Some(answer) = answer {
                finding.answer = Some(answer);
                finding.settled = true;
            } else if agreed {
                finding.settled = true;
            }
        }
    }
}

/// The names that lead to a chart. As in a JSON pointer (RFC 6901) `~1` stands for `/` in a name and `~0`
/// for `~`; a name without letters is `~2`.
pub(super) fn path(key: &str) -> Vec<String> {
    let parts = key.split('/').filter(|part| !part.is_empty());
    parts.map(|part| part.replace("~2", "").replace("~1", "/").replace("~0", "~")).collect()
}

/// How a plan names the chart to which these names lead: what [`path`] reads.
pub(super) fn key(path: &[String]) -> String {
    let part = |name: &String| match name.as_str() {
        "" => "~2".to_owned(),
        name => name.replace('~', "~0").replace('/', "~1"),
    };
    path.iter().map(part).collect::<Vec<_>>().join("/")
}

impl ChartPlan {
    /// What it says to a hit; none: nothing.
    fn answers(&self, finding: &Finding) -> Option<String> {
        let name = &finding.element;
        match finding.rule {
            Rule::B1 | Rule::B2 | Rule::B3 | Rule::B5 | Rule::B7b => {
                self.states.get(name).map(|to| match to.as_slice() {
                    [] => "what was in it says where it goes".to_owned(),
                    to => format!("it becomes {}", to.join(" and ")),
                })
            }
            Rule::B4 => self.regions.get(name).map(|policy| match policy {
                RegionPolicy::Begin => "it is entered where it begins".to_owned(),
                RegionPolicy::At(states) => format!("it is entered at {}", states.join(" and ")),
            }),
            Rule::C1 | Rule::C2 | Rule::C4 => self.histories.get(name).map(word),
            Rule::D2 | Rule::D3 | Rule::D5 => self.timers.get(name).map(word),
            Rule::D4 => self.arm.get(name).map(word),
            Rule::E2 => self.events.get(name).map(word),
            Rule::F2 | Rule::F3 | Rule::F4 => self.children.get(name).map(word),
            Rule::G1 | Rule::G2b => {
                self.data.get(name).map(|given| format!("it becomes {}", word(given)))
            }
            Rule::G3 => self.forget.contains(name).then(|| "its value is left behind".to_owned()),
            Rule::H5 => self.settle.as_ref().map(word),
            Rule::A1 | Rule::A2 | Rule::A3a | Rule::A3b | Rule::A4 | Rule::A5 | Rule::A6 => None,
            Rule::B6 | Rule::B7a | Rule::B8 | Rule::C3 | Rule::E4 | Rule::F6 | Rule::F8 => None,
            Rule::G2a | Rule::G4a | Rule::G4b | Rule::G5 | Rule::G7 | Rule::H1 | Rule::H2 => None,
            Rule::H3 | Rule::H4 | Rule::H6 | Rule::H7 | Rule::H8 | Rule::I1a | Rule::I1b => None,
            Rule::K1 | Rule::K2 => None,
        }
    }
}

fn word(policy: &impl Serialize) -> String {
    serde_json::to_string(policy).unwrap_or_default().trim_matches('"').to_owned()
}

struct Checker<'a> {
    name: &'a str,
    plan: &'a ChartPlan,
    pair: &'a Pair,
}

impl Checker<'_> {
    fn check(&self) -> Result<(), PlanError> {
        self.check_old()?;
        let (old, new) = (&self.pair.old, &self.pair.new);
        let plan = self.plan;
        for to in plan.states.values().flatten() {
            let place = new.chart.places.get(&**to);
            let active = place.is_some_and(|place| !new.chart.is_history(*place));
            self.known("state of the new chart that can be active", to, active)?;
        }
        for (region, policy) in &plan.regions {
            let place = new.chart.places.get(&**region).copied();
            let parent = place.map(|place| new.chart.node(place).parent);
            let is_region =
                parent.is_some_and(|parent| new.chart.node(parent).kind == StateKind::Parallel);
            self.known("region of the new chart", region, is_region)?;
            let RegionPolicy::At(states) = policy else { continue };
            for state in states {
                let inside = new.chart.places.get(&**state).zip(place);
                let inside = inside.is_some_and(|(state, region)| {
                    *state == region || new.chart.is_within(*state, region)
                });
                self.known("state of the region", state, inside)?;
            }
        }
        self.timers()?;
        for slot in plan.children.keys() {
            let known = old.invokes.contains_key(slot) || new.invokes.contains_key(slot);
            self.known("invocation", slot, known)?;
        }
        for policy in plan.children.values() {
            let ChildPolicy::To(slot) = policy else { continue };
            self.known("invocation of the new chart", slot, new.invokes.contains_key(slot))?;
        }
        for name in plan.data.keys() {
            self.known("variable of the new chart", name, new.data.contains_key(name))?;
        }
        for (name, policy) in &plan.events {
            if let EventPolicy::Becomes { data: Some(given), .. } = policy {
                self.given(name, given)?;
            }
        }
        Ok(())
    }

    /// What it names of the old chart.
    fn check_old(&self) -> Result<(), PlanError> {
        let (old, plan) = (&self.pair.old, self.plan);
        for state in plan.states.keys() {
            let known = old.chart.places.contains_key(&**state);
            self.known("state of the old chart", state, known)?;
        }
        for history in plan.histories.keys() {
            let place = old.chart.places.get(&**history);
            let known = place.is_some_and(|place| old.chart.is_history(*place));
            self.known("history of the old chart", history, known)?;
        }
        for slot in plan.timers.keys() {
            self.known("timer of the old chart", slot, old.sites.contains_key(slot))?;
        }
        for name in &plan.forget {
            self.known("variable of the old chart", name, old.data.contains_key(name))?;
        }
        plan.data.iter().try_for_each(|(name, given)| self.given(name, given))
    }

    fn timers(&self) -> Result<(), PlanError> {
        let new = &self.pair.new;
        let mut taken = BTreeSet::new();
        for (slot, policy) in &self.plan.timers {
            if let Some(to) = &policy.slot {
                self.known("timer of the new chart", to, new.sites.contains_key(to))?;
                if !taken.insert(to) {
                    let (chart, name) = (self.name.to_owned(), to.clone());
                    let what = "two timers take its slot";
                    return Err(PlanError::Ambiguous { chart, name, what });
                }
            }
            policy.delay.iter().try_for_each(|delay| span(slot, delay))?;
        }
        for (slot, arming) in &self.plan.arm {
            self.known("timer of the new chart", slot, new.sites.contains_key(slot))?;
            if let Arming::In(delay) = arming {
                span(slot, delay)?;
            }
        }
        Ok(())
    }

    fn known(&self, what: &'static str, name: &str, known: bool) -> Result<(), PlanError> {
        if known {
            return Ok(());
        }
        Err(PlanError::Unknown { chart: self.name.to_owned(), what, name: name.to_owned() })
    }

    fn given(&self, name: &str, given: &Given) -> Result<(), PlanError> {
        let Given::Expression(text) = given else { return Ok(()) };
        let parsed = Expression::parse(text, &*self.pair.old.chart);
        let wrong =
            |error: SyntaxError| PlanError::Text { name: name.to_owned(), what: error.to_string() };
        parsed.map(drop).map_err(wrong)
    }
}

fn span(name: &str, text: &str) -> Result<(), PlanError> {
    let parsed = crate::engine::duration(text);
    parsed.map(drop).map_err(|fault| PlanError::Text { name: name.to_owned(), what: fault.0 })
}
