//! Decides how a statechart is drawn: as SVG, with what is active, or beside another version.
//!
//! [`model`] says what there is to see, [`layout`] where it goes, [`svg`] what it looks like. Each
//! state that holds others is laid out on its own, from the inside, by `dagre` (layered drawing:
//! Sugiyama 1981, ranks by network simplex as in Gansner 1993, places by Brandes and Köpf 2002); the
//! library's own nesting knows no arrows to a state that holds others.

mod layout;
mod model;
mod svg;

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_statechart::Definition;

pub(crate) use model::{Difference, Element, differences};

/// What of an instance is alive in one chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alive {
    /// The active states.
    pub(crate) states: BTreeSet<String>,
    /// What is said of its timers and queues.
    pub(crate) notes: Vec<String>,
}

/// What of an instance is alive, by the path of names that leads to a chart.
pub(crate) type Lives = BTreeMap<Vec<String>, Alive>;

/// A definition with the charts that it invokes, and what of an instance is alive.
pub(crate) fn of_one(definition: &Definition, lives: &Lives) -> String {
    let panels = model::family(definition, &Vec::new(), lives, &BTreeMap::new());
    svg::page(&[panels])
}

/// Two versions side by side.
pub(crate) fn of_two(old: &Definition, new: &Definition, lives: &Lives) -> String {
    let none = Lives::new();
    let (gone, come) = model::shades(old, new);
    let left = model::family(old, &Vec::new(), lives, &gone);
    let right = model::family(new, &Vec::new(), &none, &come);
    svg::page(&[left, right])
}
