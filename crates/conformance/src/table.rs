//! Decides how a run is told: a line a part, and what failed by name.

use std::fmt::Write as _;

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// It is of a part that is left out, for a stated reason.
    Skipped(&'static str),
    /// It fails, and is known to, for a stated reason.
    Known(&'static str),
}

/// A part of a suite.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// How many tests it must have; none found is no pass.
    pub(crate) expected: Option<usize>,
    pub(crate) tests: Vec<(String, Outcome)>,
    /// How often an instance was moved in tests that passed.
    pub(crate) moves: u64,
    /// What a reader should know of it.
    pub(crate) note: String,
}

impl Part {
    pub(crate) fn new(name: impl Into<String>, expected: Option<usize>) -> Self {
        Self { name: name.into(), expected, ..Self::default() }
    }

    pub(crate) fn add(&mut self, test: impl Into<String>, outcome: Outcome) {
        self.tests.push((test.into(), outcome));
    }

    pub(crate) fn passed(&self) -> usize {
        self.tests.iter().filter(|(_, outcome)| *outcome == Outcome::Passed).count()
    }

    fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tests.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(why) => Some((name.as_str(), why.as_str())),
            Outcome::Passed | Outcome::Skipped(_) | Outcome::Known(_) => None,
        })
    }

    fn known(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tests.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Known(why) => Some((name.as_str(), *why)),
            Outcome::Passed | Outcome::Skipped(_) | Outcome::Failed(_) => None,
        })
    }

    /// Whether all that is to pass did, and nothing was missing.
    pub(crate) fn holds(&self) -> bool {
        let all = |expected| self.passed() + self.known().count() == expected;
        self.failed().next().is_none() && self.expected.is_none_or(all)
    }

    pub(crate) fn report(&self, verbose: bool) -> String {
        let skipped =
            self.tests.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Skipped(_))).count();
        let failed = self.failed().count();
        let mut text = format!("{:<44} {:>5} passed {failed:>4} failed", self.name, self.passed());
        if skipped > 0 {
            let _ = write!(text, " {skipped:>4} left out");
        }
        if let Some(expected) = self.expected {
            let _ = write!(text, "   of {expected} expected");
        }
        if self.moves > 0 {
            let _ = write!(text, "   {} moves", self.moves);
        }
        text.push('\n');
        if !self.note.is_empty() {
            let _ = writeln!(text, "    {}", self.note);
        }
        for (name, why) in self.known() {
            let _ = writeln!(text, "    FALLS SHORT {name}: {why}");
        }
        for (name, why) in self.failed() {
            let _ = writeln!(text, "    FAILED {name}: {why}");
        }
        if verbose {
            for (name, outcome) in &self.tests {
                let _ = writeln!(text, "    {name}: {outcome:?}");
            }
        }
        text
    }
}
