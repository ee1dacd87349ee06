//! What came of the assertions of a suite.

use std::collections::BTreeMap;

/// What came of the assertions of one proposal.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    /// By reason; never counted as passed.
    pub not_run: BTreeMap<String, u64>,
    pub invocations: u64,
    pub moved: u64,
    pub moves: u64,
    pub failures: Vec<String>,
}

impl Tally {
    pub fn pass(&mut self) {
        self.passed += 1;
    }

    pub fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    pub fn skip(&mut self, reason: impl Into<String>) {
        *self.not_run.entry(reason.into()).or_default() += 1;
    }

    pub fn skipped(&self) -> u64 {
        self.not_run.values().sum()
    }

    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.invocations += other.invocations;
        self.moved += other.moved;
        self.moves += other.moves;
        self.failures.extend(other.failures.iter().cloned());
        for (reason, count) in &other.not_run {
            *self.not_run.entry(reason.clone()).or_default() += count;
        }
    }

    pub fn moved_percent(&self) -> f64 {
        if self.invocations == 0 {
            return 0.0;
        }
        self.moved as f64 * 100.0 / self.invocations as f64
    }
}
