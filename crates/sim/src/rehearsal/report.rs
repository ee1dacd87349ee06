//! Decides how a rehearsal is summed up, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::checkers::Violation;

/// A rehearsal that was played.
#[derive(Debug)]
pub struct Rehearsed {
    /// The sums.
    pub report: Report,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What people see of it, line by line, if it was kept.
    pub trace: String,
}

/// What became of a plan. All times are simulated, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the plan is called.
    pub title: String,
    /// How many nodes.
    pub nodes: usize,
    /// How many daemons.
    pub daemons: usize,
    /// From which seed.
    pub seed: u64,
    /// How long the plan went, without what came after it.
    pub seconds: u64,
    /// Its steps.
    pub steps: Vec<StepReport>,
    /// All moves.
    pub moves: Moves,
    /// How long daemons were frozen: from the freeze until somebody serves again.
    pub pauses: Spread,
    /// How long clients waited for the acknowledgement of an event.
    pub answers: Spread,
    /// Events that clients sent.
    pub events_sent: u64,
    /// Bytes of all messages of moves, snapshots included.
    pub move_bytes: u64,
    /// Daemons that no node ran when the plan was over.
    pub unserved: usize,
    /// How many daemons each node ran when the plan was over.
    pub owned: BTreeMap<String, usize>,
    /// Faults: lost, doubled and late messages, crashes, pauses, disks, clocks.
    pub faults: u64,
    /// Those of them that hit a daemon that was moved, or an event on its way.
    pub hits: u64,
    /// What the plan expected, and whether it came true.
    pub expectations: Vec<Expectation>,
    /// The promise that was broken, if one was.
    pub violation: Option<String>,
    /// Names the whole run: the same plan and seed give the same digest.
    pub digest: String,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// What it does.
    pub name: String,
    /// When it began.
    pub began_us: u64,
    /// When the last of its moves ended; none if it has none or did not come to an end.
    pub ended_us: Option<u64>,
    /// Daemons that it moved.
    pub moved: u64,
    /// Daemons that it was to move and did not.
    pub not_moved: u64,
}

/// All moves of a rehearsal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moves {
    /// Asked for.
    pub asked: u64,
    /// Ended on the target.
    pub done: u64,
    /// Ended where they began, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Asked for at a node that died before it told how they ended.
    pub untold: u64,
    /// Still under way when the plan was over.
    pub unfinished: u64,
}

impl Moves {
    /// Ended where they began.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Some times: half of them, all but a hundredth, and all are at most so long. In microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Of how many.
    pub count: usize,
    /// A half (nearest rank).
    pub p50_us: u64,
    /// All but a hundredth (nearest rank).
    pub p99_us: u64,
    /// All.
    pub max_us: u64,
}

impl Spread {
    /// Of these nanoseconds.
    pub(super) fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let rank = |percent: usize| {
            let place = (nanos.len() * percent).div_ceil(100).saturating_sub(1);
            nanos.get(place).map_or(0, |nanos| nanos / 1_000)
        };
        Self { count: nanos.len(), p50_us: rank(50), p99_us: rank(99), max_us: rank(100) }
    }
}

/// Something that a plan expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// What.
    pub what: String,
    /// What came out.
    pub found: String,
    /// Whether it came true.
    pub met: bool,
}

impl Report {
    /// Whether no promise was broken and all that the plan expected came true.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violation.is_none() && self.expectations.iter().all(|expected| expected.met)
    }
}

/// Milliseconds, or seconds from ten on.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(us) = *self;
        if us < 10_000_000 {
            return f.pad(&format!("{}.{:03} ms", us / 1_000, us % 1_000));
        }
        f.pad(&format!("{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "{} nodes, {} daemons, {} s, seed {}\n",
            self.nodes, self.daemons, self.seconds, self.seed
        )?;
        self.write_steps(f)?;
        self.write_moves(f)?;
        for (name, spread) in [("pauses", &self.pauses), ("answers", &self.answers)] {
            let [half, most, all] = [spread.p50_us, spread.p99_us, spread.max_us].map(Time);
            writeln!(f, "{name:<9} p50 {half}, p99 {most}, max {all} of {}", spread.count)?;
        }
        writeln!(f, "events    {} acknowledged of {} sent", self.answers.count, self.events_sent)?;
        writeln!(f, "bytes     {} in messages of moves", self.move_bytes)?;
        let owned: Vec<String> =
            self.owned.iter().map(|(node, count)| format!("{node} {count}")).collect();
        let unserved = self.unserved;
        writeln!(
            f,
            "daemons   {}; run by no node when the plan was over: {unserved}",
            owned.join(", ")
        )?;
        writeln!(f, "faults    {}, {} of them hits", self.faults, self.hits)?;
        for Expectation { what, found, met } in &self.expectations {
            let verdict = if *met { "met" } else { "NOT MET" };
            writeln!(f, "expected  {what}: {found}: {verdict}")?;
        }
        match &self.violation {
            Some(violation) => writeln!(f, "promises  BROKEN {violation}")?,
            None => writeln!(f, "promises  all kept")?,
        }
        writeln!(f, "digest    {}", self.digest)
    }
}

impl Report {
    fn write_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return Ok(());
        }
        let width = self.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<width$} {:>12} {:>12} {:>6} {:>9}",
            "step", "began", "took", "moved", "not moved"
        )?;
        for step in &self.steps {
            let took = match step.ended_us {
                Some(ended) => Time(ended - step.began_us).to_string(),
                None => "-".to_owned(),
            };
            let (name, began) = (&step.name, Time(step.began_us));
            let (moved, not) = (step.moved, step.not_moved);
            writeln!(f, "{name:<width$} {began:>12} {took:>12} {moved:>6} {not:>9}")?;
        }
        writeln!(f)
    }

    fn write_moves(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moves { asked, done, failed, untold, unfinished } = &self.moves;
        let count = self.moves.failed();
        write!(f, "moves     asked {asked}, done {done}, failed {count}")?;
        if *untold > 0 {
            write!(f, ", untold {untold}")?;
        }
        if *unfinished > 0 {
            write!(f, ", unfinished {unfinished}")?;
        }
        writeln!(f)?;
        for (reason, count) in failed {
            writeln!(f, "          {count} x {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest_ranks() {
        let spread = Spread::of((1..=200).map(|ms| ms * 1_000_000).collect());
        assert_eq!((spread.p50_us, spread.p99_us, spread.max_us), (100_000, 198_000, 200_000));
        assert_eq!(Spread::of(vec![]), Spread::default());
        let one = Spread::of(vec![7_000]);
        assert_eq!((one.count, one.p50_us, one.p99_us, one.max_us), (1, 7, 7, 7));
    }
}
