//! Decides whether the versions of a definition fit each other, whatever runs: for those who publish
//! one.

use std::sync::Arc;

use super::gate::{Gate, GateError, Settings};
use super::report::Report;
use crate::chart::Chart;

/// Which way instances go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From an older version to a newer one.
    Backward,
    /// From a newer version back to an older one.
    Forward,
    /// Both.
    Full,
}

/// Versions of a definition, the oldest first.
#[derive(Debug)]
pub struct Versions(Vec<Arc<Chart>>);

/// One way between two versions.
#[derive(Clone, Debug)]
pub struct Step {
    /// The place of the version that instances come from.
    pub from: usize,
    /// The place of the version that they go to.
    pub to: usize,
    /// The judgement of any instance.
    pub report: Report,
}

impl Versions {
    /// The versions `charts`, the oldest first.
    #[must_use]
    pub const fn new(charts: Vec<Arc<Chart>>) -> Self {
        Self(charts)
    }

    /// Judges each version beside the next one, or, if it is `transitive`, beside all later ones.
    ///
    /// # Errors
    ///
    /// [`GateError::TooLarge`].
    pub fn judge(
        &self,
        direction: Direction,
        transitive: bool,
        settings: &Settings,
    ) -> Result<Vec<Step>, GateError> {
        let mut steps = Vec::new();
        for (from, old) in self.0.iter().enumerate() {
            let later = self.0.iter().enumerate().skip(from + 1);
            let reach = if transitive { usize::MAX } else { 1 };
            for (to, new) in later.take(reach) {
                if direction != Direction::Forward {
                    let report = Gate::between(old, new)?.judge_any(settings);
                    steps.push(Step { from, to, report });
                }
                if direction != Direction::Backward {
                    let report = Gate::between(new, old)?.judge_any(settings);
                    steps.push(Step { from: to, to: from, report });
                }
            }
        }
        Ok(steps)
    }
}
