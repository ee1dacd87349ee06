//! Decides how a rehearsal becomes a file: its plan, what was said beside it, what people saw, and the
//! digest. The plan is enough to play it again; the lines are there to be read and compared.
//!
//! ```text
//! whimbrel rehearsal 1
//! program 0.1.0
//! nodes 5                 only what was said beside the plan
//! plan 23                 so many lines follow
//! …
//! trace
//!   2.000300 A * D0 frozen for a12345678 at p17
//! …
//! digest 0123456789abcdef
//! ```

use std::fmt::Write as _;

use super::error::PlanError;
use super::plan::{Overrides, Plan};
use super::rehearse;
use super::report::Rehearsed;

const FIRST_LINE: &str = "whimbrel rehearsal 1";

/// A rehearsal as a file.
#[derive(Clone, Debug)]
pub struct Recording {
    plan: Plan,
    program: String,
    lines: Vec<String>,
    digest: String,
}

/// A file that is no recording.
///
/// Fault: caller. Changed: nothing. Again: with a file that `--trace` wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It does not begin like one.
    #[error("it does not begin with `{FIRST_LINE}`")]
    NotOne,
    /// A line that has no place in one.
    #[error("line {line} should be `{wanted}`")]
    Line {
        /// Which, counted from one.
        line: usize,
        /// What should be there.
        wanted: &'static str,
    },
    /// The plan in it cannot be played.
    #[error("the plan in it, {0}")]
    Plan(#[from] PlanError),
}

/// A run that differs from its recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// Something else happened.
    #[error("line {line} of the trace was {recorded:?} and is {found:?}")]
    Line {
        /// Which, counted from one.
        line: usize,
        /// What the recording says.
        recorded: String,
        /// What happened.
        found: String,
    },
    /// All that people see is the same, something beneath it is not.
    #[error("the lines are the same, the digest was {recorded} and is {found}")]
    Digest {
        /// What the recording says.
        recorded: String,
        /// What came out.
        found: String,
    },
}

impl Recording {
    /// Writes down a rehearsal of a plan that was kept.
    #[must_use]
    pub fn write(plan: &Plan, rehearsed: &Rehearsed) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut text = format!("{FIRST_LINE}\nprogram {version}\n");
        let Overrides { nodes, daemons, seed } = plan.overrides;
        for (name, number) in [("nodes", nodes), ("daemons", daemons), ("seed", seed)] {
            if let Some(number) = number {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{name} {number}");
            }
        }
        let _ = writeln!(text, "plan {}", plan.text.lines().count());
        plan.text.lines().for_each(|line| {
            text.push_str(line);
            text.push('\n');
        });
        text.push_str("trace\n");
        text.push_str(&rehearsed.trace);
        let _ = writeln!(text, "digest {}", rehearsed.report.digest);
        text
    }

    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        if lines.next().map(|(_, line)| line) != Some(FIRST_LINE) {
            return Err(RecordingError::NotOne);
        }
        let mut overrides = Overrides::default();
        let mut program = String::new();
        let end = text.lines().count() + 1;
        let count = loop {
            let wanted = |line| RecordingError::Line { line, wanted: "plan COUNT" };
            let (at, line) = lines.next().ok_or_else(|| wanted(end))?;
            let (name, value) = line.split_once(' ').ok_or_else(|| wanted(at))?;
            let number = value.parse::<u64>().map_err(|_| wanted(at));
            match name {
                "program" => value.clone_into(&mut program),
                "nodes" => overrides.nodes = Some(number?),
                "daemons" => overrides.daemons = Some(number?),
                "seed" => overrides.seed = Some(number?),
                "plan" => break number?,
                _ => return Err(wanted(at)),
            }
        };
        let mut plan = String::new();
        for _ in 0..count {
            let cut = RecordingError::Line { line: end, wanted: "a line of the plan" };
            let (_, line) = lines.next().ok_or(cut)?;
            plan.push_str(line);
            plan.push('\n');
        }
        let (at, line) = lines.next().unwrap_or((end, ""));
        if line != "trace" {
            return Err(RecordingError::Line { line: at, wanted: "trace" });
        }
        let mut rest: Vec<String> = lines.map(|(_, line)| line.to_owned()).collect();
        let last = rest.pop().unwrap_or_default();
        let digest = last.strip_prefix("digest ");
        let digest = digest.ok_or(RecordingError::Line { line: end - 1, wanted: "digest …" })?;
        let plan = Plan::parse(&plan, overrides)?;
        Ok(Self { plan, program, lines: rest, digest: digest.to_owned() })
    }

    /// By which version of this program it was written.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Plays its plan again; says how many lines were the same.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn replay(&self) -> Result<(usize, Rehearsed), Difference> {
        let again = rehearse(&self.plan, true);
        let mut found = again.trace.lines();
        for (at, recorded) in self.lines.iter().enumerate() {
            let found = found.next().unwrap_or_default();
            if found != recorded {
                let (recorded, found) = (recorded.clone(), found.to_owned());
                return Err(Difference::Line { line: at + 1, recorded, found });
            }
        }
        if let Some(more) = found.next() {
            let (line, found) = (self.lines.len() + 1, more.to_owned());
            return Err(Difference::Line { line, recorded: String::new(), found });
        }
        if again.report.digest != self.digest {
            let (recorded, found) = (self.digest.clone(), again.report.digest);
            return Err(Difference::Digest { recorded, found });
        }
        Ok((self.lines.len(), again))
    }

    /// What happened to nodes, and then to each daemon, in order; or to one daemon alone.
    #[must_use]
    pub fn timeline(&self, daemon: Option<usize>) -> String {
        let mut text = String::from("nodes\n");
        let mut daemons = std::collections::BTreeMap::<usize, Vec<&str>>::new();
        for line in &self.lines {
            match daemon_of(line) {
                Some(index) => daemons.entry(index).or_default().push(line),
                None => {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
        for (index, lines) in daemons {
            if daemon.is_some_and(|wanted| wanted != index) {
                continue;
            }
            let _ = writeln!(text, "\nD{index}");
            for line in lines {
                let _ = writeln!(text, "{}", line.replacen(&format!(" D{index} "), " ", 1));
            }
        }
        text
    }
}

/// Whose line it is: the fourth word says it.
fn daemon_of(line: &str) -> Option<usize> {
    line.split_whitespace().nth(3)?.strip_prefix('D')?.parse().ok()
}
