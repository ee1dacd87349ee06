//! Decides what in a chart is legal and surely not meant: findings, each of a rule.
//!
//! A finding changes nothing and stops nothing. Conditions are not reasoned about, so what is found
//! is so whatever data and events there will be; what is not found may still be wrong.
//!
//! | rule | is hit when |
//! |---|---|
//! | `S1` | a state is never entered |
//! | `S2` | a transition is never taken: it waits for the end of what has none, or its condition is `false` |
//! | `S3` | a transition is never taken: one before it in the same state takes all its events |
//! | `S4` | transitions without event and condition lead in a circle: the step never ends |
//! | `S5` | data is never read |
//! | `S6` | a timer outlives the state that sets it, and nothing cancels it |
//! | `S7` | an event that the chart sends to itself is heard by nobody |
//! | `S8` | what is cancelled is never set |
//! | `S9` | a state that is not final has no way out, and nothing to do |

mod rules;
mod site;

use std::fmt;

use serde::Serialize;

use crate::chart::Chart;

/// What is asked of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum LintRule {
    /// A state is never entered.
    S1,
    /// A transition is never taken.
    S2,
    /// A transition is shadowed.
    S3,
    /// A step never ends.
    S4,
    /// Data is never read.
    S5,
    /// A timer outlives its state.
    S6,
    /// Nobody hears an event.
    S7,
    /// What is cancelled is never set.
    S8,
    /// A state has no way out.
    S9,
}

impl fmt::Display for LintRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Something that is surely not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// The rule that was hit.
    pub rule: LintRule,
    /// What hit it: a state, a transition, a variable, a timer.
    pub element: String,
    /// Where it is, as a pointer into the JSON form.
    pub pointer: String,
    /// What about it.
    pub what: String,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.rule, self.element, self.what)
    }
}

/// What in `chart`, and in the charts that it invokes, is surely not meant; in the order of the
/// definition.
#[must_use]
pub fn lint(chart: &Chart) -> Vec<Lint> {
    let mut found = Vec::new();
    family(chart, "", &mut found);
    found
}

fn family(chart: &Chart, pointer: &str, found: &mut Vec<Lint>) {
    rules::judge(chart, pointer, found);
    for (name, child) in &chart.children {
        let name = name.replace('~', "~0").replace('/', "~1");
        family(child, &format!("{pointer}/children/{name}"), found);
    }
}

#[cfg(test)]
mod tests;
