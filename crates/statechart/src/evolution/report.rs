//! Decides how a judgement is told: to people as text, to programs as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rule::{Profile, Rule, Verdict};
use crate::engine::SessionId;

/// A hit of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// What it asks for.
    pub verdict: Verdict,
    /// In which session; none: in the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// In which chart: the names that lead to it; none: in the outermost one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chart: Vec<String>,
    /// Which state, transition, timer, invocation, variable or event.
    pub element: String,
    /// What is so.
    pub what: String,
    /// How it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// What is done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Whether the answer was agreed to, by plan or profile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

/// Which definition, by name and content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
}

/// How a judgement came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The verdict, answers of a plan counted.
    pub verdict: Verdict,
    /// What it would be without them.
    pub unplanned: Verdict,
    /// By which profile it was judged.
    pub profile: Profile,
    /// Whether the instance may go on.
    pub passes: bool,
    /// The old definition.
    pub old: Named,
    /// The new one.
    pub new: Named,
    /// All hits, the worst first.
    pub findings: Vec<Finding>,
    /// How many hits were left out because there was no room for them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_none(count: &usize) -> bool {
    *count == 0
}

/// An instance that does not go on: its definition would misread it, or nobody agreed to what
/// would become of it.
///
/// Fault: whoever chose the new definition. Changed: nothing; the instance is as it was. Again: with
/// another definition, a plan, or somebody's consent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} to {}: {}{}", .report.old, .report.new, .report.verdict, first(.report))]
pub struct IncompatibleMigration {
    /// Why, in all.
    pub report: Box<Report>,
}

fn first(report: &Report) -> String {
    let worst = report.findings.iter().find(|finding| !finding.settled);
    worst.map_or_else(String::new, |worst| {
        format!(" ({}: {}: {})", worst.rule, worst.element, worst.what)
    })
}

impl Report {
    /// Whether a rule was hit.
    #[must_use]
    pub fn hits(&self, rule: Rule) -> bool {
        self.findings.iter().any(|finding| finding.rule == rule)
    }

    /// Whether something may come out differently later.
    #[must_use]
    pub fn differs_later(&self) -> bool {
        self.findings.iter().any(|finding| finding.rule.differs_later() || finding.settled)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// As JSON of at most so many bytes: the least hits are left out until it fits.
    #[must_use]
    pub fn to_json_within(&self, bytes_max: usize) -> String {
        let mut report = self.clone();
        loop {
            let text = serde_json::to_string(&report).unwrap_or_default();
            if text.len() <= bytes_max || report.findings.is_empty() {
                return text;
            }
            let kept = report.findings.len() / 2;
            report.left_out += report.findings.len() - kept;
            report.findings.truncate(kept);
        }
    }

    /// Sorts, and draws the sum.
    pub(super) fn close(mut self) -> Self {
        self.findings.sort_by(|one, other| {
            let key = |finding: &Finding| (finding.settled, std::cmp::Reverse(finding.verdict));
            key(one).cmp(&key(other)).then(one.rule.cmp(&other.rule))
        });
        let worst = |settled: bool| {
            let findings = self.findings.iter();
            let level = |finding: &Finding| {
                if settled && finding.settled { Verdict::Compatible } else { finding.verdict }
            };
            findings.map(level).max()
        };
        let same = self.old.digest == self.new.digest;
        let least = if same { Verdict::Identical } else { Verdict::Equivalent };
        self.unplanned = worst(false).unwrap_or(least).max(least);
        self.verdict = worst(true).unwrap_or(least).max(least);
        self.passes = self.verdict <= self.profile.passes();
        self
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if !self.version.is_empty() {
            write!(f, " {}", self.version)?;
        }
        let digits: String = self.digest.chars().take(8).collect();
        write!(f, " [{digits}]")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4}{:<14}", self.rule.id(), self.verdict.word())?;
        if let Some(session) = self.session {
            write!(f, "{session} ")?;
        }
        for name in &self.chart {
            write!(f, "{name}/")?;
        }
        write!(f, "{}: {}", self.element, self.what)?;
        if let Some(old) = &self.old {
            write!(f, "\n      - {old}")?;
        }
        if let Some(new) = &self.new {
            write!(f, "\n      + {new}")?;
        }
        if let Some(answer) = &self.answer {
            let word = if self.settled { "answer" } else { "safe way" };
            write!(f, "\n      {word}: {answer}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passes = if self.passes { "passes" } else { "stops" };
        writeln!(f, "{} → {}: {}, {passes}", self.old, self.new, self.verdict)?;
        if self.unplanned != self.verdict {
            writeln!(f, "  without the plan: {}", self.unplanned)?;
        }
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "  and {} more", self.left_out)?;
        }
        Ok(())
    }
}
