//! Decides what a definition means: a [`Chart`] that is known to be legal and can be run.
//!
//! States are numbered in document order, so the descendants of a state follow it without a gap and
//! order is a comparison of numbers. A number is good within one chart only: what lasts longer is
//! named by ids.
//!
//! # Invariants
//!
//! * H1 (legal): every target exists, every initial state lies within its parent, targets of one
//!   transition can be active together, ids are unique.
//!
//! # Limits
//!
//! * [`STATES_MAX`] states, [`NESTING_MAX`] levels, [`FAMILY_MAX`] levels of charts within charts.

mod actions;
mod build;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::definition::{Definition, OnFailure, Origin, StateKind, Supervise};
use crate::expression::{Expression, SyntaxError};

pub(crate) use actions::{Act, Body, Place, Sending, Source, Spawning, Step, Word};

/// States in one chart.
pub(crate) const STATES_MAX: usize = 65_536;

/// How deep states may nest.
pub(crate) const NESTING_MAX: usize = 48;

/// How deep charts may stand in charts.
pub(crate) const FAMILY_MAX: usize = 8;

/// The root of every chart.
pub(crate) const ROOT: u32 = 0;

/// A statechart that is legal and can be run.
#[derive(Debug)]
pub struct Chart {
    definition: Arc<Definition>,
    /// Of the definition; empty for a chart within another one.
    pub(crate) digest: Arc<str>,
    pub(crate) name: Arc<str>,
    /// The names that lead to it from the outermost chart.
    pub(crate) path: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) places: BTreeMap<Arc<str>, u32>,
    pub(crate) variables: Vec<Arc<str>>,
    /// Which of the variables are data: they exist before anything gave them a value.
    pub(crate) declared: Vec<bool>,
    pub(crate) script: Vec<Act>,
    pub(crate) children: BTreeMap<String, Arc<Self>>,
}

/// A state.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: Arc<str>,
    pub(crate) kind: StateKind,
    pub(crate) parent: u32,
    /// One past its last descendant.
    pub(crate) end: u32,
    /// Its states, without histories.
    pub(crate) children: Vec<u32>,
    pub(crate) histories: Vec<u32>,
    pub(crate) initial: Jump,
    pub(crate) data: Vec<(u32, Option<Source>)>,
    pub(crate) on_entry: Vec<Vec<Act>>,
    pub(crate) on_exit: Vec<Vec<Act>>,
    pub(crate) transitions: Range<u32>,
    /// Whether it, or a state around it, has a transition that waits for no event.
    pub(crate) is_restless: bool,
    pub(crate) invokes: Vec<Invocation>,
    pub(crate) done: Option<Body>,
}

/// Where a compound state begins, or a history without a record leads.
#[derive(Debug, Default)]
pub(crate) struct Jump {
    pub(crate) targets: Vec<u32>,
    pub(crate) actions: Vec<Act>,
}

/// Where a state can go.
#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) id: Arc<str>,
    pub(crate) source: u32,
    pub(crate) on: Vec<Descriptor>,
    pub(crate) when: Option<Expression>,
    pub(crate) targets: Vec<u32>,
    pub(crate) internal: bool,
    pub(crate) actions: Vec<Act>,
    pub(crate) origin: Option<Arc<Origin>>,
    /// The state within which it happens; none if that depends on what a history remembers.
    pub(crate) domain: Option<u32>,
}

/// What runs beside a state.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) slot: Arc<str>,
    pub(crate) id: Option<Arc<str>>,
    pub(crate) id_into: Option<Place>,
    pub(crate) by: Option<Word>,
    pub(crate) chart: Option<Word>,
    pub(crate) data: Body,
    pub(crate) forward: bool,
    pub(crate) finalize: Vec<Act>,
    pub(crate) supervision: Option<Supervision>,
    pub(crate) mailbox: Option<usize>,
}

/// What is done when a child fails.
#[derive(Clone, Debug)]
pub(crate) struct Supervision {
    pub(crate) on_failure: OnFailure,
    pub(crate) times: u32,
    pub(crate) within: Duration,
    pub(crate) back_off: Duration,
    pub(crate) back_off_max: Duration,
    pub(crate) with: Vec<Arc<str>>,
}

impl Supervision {
    /// What is written down about it.
    ///
    /// # Errors
    ///
    /// [`ChartError::Shape`] when it cannot be meant.
    pub(crate) fn of(said: &Supervise, at: &str) -> Result<Self, ChartError> {
        build::supervision(at, said)
    }

    /// How long a child waits that begins again for the `count`th time in the window.
    pub(crate) fn wait(&self, count: usize) -> Duration {
        let doublings = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
        self.back_off
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(self.back_off_max)
    }
}

/// A part of an event's name that a transition waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    Any,
    /// Names that are this, or go on with a dot.
    Prefix(Arc<str>),
}

impl Descriptor {
    pub(crate) fn of(text: &str) -> Self {
        let text = text.trim();
        if text == "*" {
            return Self::Any;
        }
        let text = text.strip_suffix(".*").or_else(|| text.strip_suffix('.')).unwrap_or(text);
        Self::Prefix(text.into())
    }

    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => name
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        }
    }
}

/// Why a definition is no chart.
///
/// Fault: whoever wrote the definition. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChartError {
    /// The form is of another format.
    #[error("the format {0} is not read here")]
    Format(u32),
    /// There is no state.
    #[error("the chart {0} has no state")]
    Empty(String),
    /// There are more than 65,536 states, or they nest deeper than 48 levels, or charts nest deeper than
    /// 8.
    #[error("the chart {0} is too large")]
    TooLarge(String),
    /// Two things have one id.
    #[error("the id {0} stands there twice")]
    Twice(String),
    /// A target does not exist.
    #[error("{from} leads to {to}, which does not exist")]
    Nowhere {
        /// What leads there.
        from: String,
        /// Where.
        to: String,
    },
    /// A state begins outside of itself.
    #[error("{state} begins at {at}, which is not in it")]
    BeginsOutside {
        /// Which state.
        state: String,
        /// Where it begins.
        at: String,
    },
    /// Targets of one transition cannot be active together.
    #[error("{one} and {other}, where {from} leads, cannot be active together")]
    Apart {
        /// What leads there.
        from: String,
        /// One target.
        one: String,
        /// Another.
        other: String,
    },
    /// A state has what its kind cannot have.
    #[error("{state}: {what}")]
    Shape {
        /// Which state.
        state: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A text is no expression.
    #[error("{at}: {error}")]
    Expression {
        /// Where it stands.
        at: String,
        /// What is wrong.
        error: SyntaxError,
    },
    /// A text is no place of a variable.
    #[error("{at}: {text} is no place that can be given a value")]
    Place {
        /// Where it stands.
        at: String,
        /// The text.
        text: String,
    },
    /// A chart that is invoked is not there.
    #[error("{at} invokes {chart}, which is not there")]
    NoChild {
        /// Where.
        at: String,
        /// Which.
        chart: String,
    },
}

impl Chart {
    /// The chart of `definition`.
    ///
    /// # Errors
    ///
    /// [`ChartError`] when it is not legal.
    pub fn new(definition: Definition) -> Result<Self, ChartError> {
        build::build(definition.with_ids(), Vec::new())
    }

    /// What it was made of, with every id.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    pub(crate) fn shared_definition(&self) -> Arc<Definition> {
        Arc::clone(&self.definition)
    }

    /// The chart that it invokes under this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Arc<Self>> {
        self.children.get(name)
    }

    /// The chart to which a path of names leads.
    pub(crate) fn descend(self: &Arc<Self>, path: &[String]) -> Option<Arc<Self>> {
        path.iter().try_fold(Arc::clone(self), |chart, name| chart.children.get(name).cloned())
    }

    /// The action that is the `send` of a slot on entry into a state.
    pub(crate) fn sending(&self, slot: &str) -> Option<&Act> {
        let blocks = self.nodes.iter().flat_map(|node| &node.on_entry);
        let mut open: Vec<&Act> = blocks.flatten().collect();
        while let Some(act) = open.pop() {
            match act {
                Act::Send(sending) if *sending.slot == *slot => return Some(act),
                Act::If(branches) => open.extend(branches.iter().flat_map(|(_, acts)| acts)),
                Act::ForEach { acts, .. } => open.extend(acts),
                Act::At(_, inner) => open.push(inner),
                Act::Send(_)
                | Act::Raise(_)
                | Act::Assign { .. }
                | Act::Log { .. }
                | Act::Cancel(_)
                | Act::Spawn(_)
                | Act::Stop(_)
                | Act::Fail(_) => {}
            }
        }
        None
    }

    /// Where a variable stands among the variables, and its value among those of a session.
    pub(crate) fn variable_at(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|known| **known == *name)
    }

    pub(crate) fn node(&self, state: u32) -> &Node {
        &self.nodes[state as usize]
    }

    pub(crate) fn id(&self, state: u32) -> &Arc<str> {
        &self.node(state).id
    }

    /// Whether `state` lies within `of`, and is not `of` itself.
    pub(crate) fn is_within(&self, state: u32, of: u32) -> bool {
        of < state && state < self.node(of).end
    }

    pub(crate) fn is_atomic(&self, state: u32) -> bool {
        let node = self.node(state);
        match node.kind {
            StateKind::Final => true,
            StateKind::State => node.children.is_empty(),
            StateKind::Parallel | StateKind::History | StateKind::DeepHistory => false,
        }
    }

    pub(crate) fn is_compound(&self, state: u32) -> bool {
        let node = self.node(state);
        node.kind == StateKind::State && !node.children.is_empty()
    }

    pub(crate) fn is_history(&self, state: u32) -> bool {
        self.node(state).kind.is_history()
    }

    /// The states around `state`, from the inside, without the root, up to but without `top`.
    pub(crate) fn ancestors(&self, state: u32, top: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = state;
        std::iter::from_fn(move || {
            if next == ROOT {
                return None;
            }
            next = self.node(next).parent;
            (next != top && next != ROOT).then_some(next)
        })
    }

    /// The state `state`, the states around it from the inside, and the root.
    pub(crate) fn outwards(&self, state: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = Some(state);
        std::iter::from_fn(move || {
            let here = next?;
            next = (here != ROOT).then(|| self.node(here).parent);
            Some(here)
        })
    }

    /// The least state, compound or root, that all of `states` lie within.
    pub(crate) fn common(&self, states: impl Iterator<Item = u32> + Clone, first: u32) -> u32 {
        let mut state = first;
        loop {
            state = self.node(state).parent;
            let holds = state == ROOT || self.is_compound(state);
            if holds && states.clone().all(|inner| self.is_within(inner, state)) {
                return state;
            }
            if state == ROOT {
                return ROOT;
            }
        }
    }

    pub(crate) fn transitions_of(&self, state: u32) -> impl Iterator<Item = (u32, &Transition)> {
        let range = self.node(state).transitions.clone();
        range.map(|index| (index, &self.transitions[index as usize]))
    }
}

#[cfg(test)]
mod tests;
