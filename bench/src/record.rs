//! Decides which figures are kept of a run of moves, and what makes the run wrong.
//!
//! A record is what `--json` writes. Records of runs under the same terms add up to one, which is
//! how a run that was cut short goes on another time. All times are nanoseconds.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::{Row, Size, milliseconds};
use crate::ledger::Ledger;
use crate::machine::Machine;

/// Turns between two automatic snapshots of a daemon with default settings.
const SNAPSHOT_EVERY_DEFAULT: u64 = 16_384;

/// One move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MoveRecord {
    /// What went wrong, if anything.
    pub(crate) failure: Option<String>,
    pub(crate) duration: u64,
    /// The longest time between two acknowledgements around the move.
    pub(crate) gap: u64,
    /// The same in an equally long time before it.
    pub(crate) calm_gap: u64,
    /// Bytes of state that were written anew since the move before.
    pub(crate) fresh_bytes: u64,
    /// Bytes of the snapshot that were sent, as the source last said.
    pub(crate) snapshot_bytes: u64,
    /// Bytes that the source sent to the target: snapshot, turns, words.
    pub(crate) carried_bytes: u64,
    pub(crate) source_peak_bytes: u64,
    pub(crate) target_peak_bytes: u64,
    /// One sync, the median of some round trips, and the load, before the move.
    pub(crate) sync: u64,
    pub(crate) round_trip: u64,
    pub(crate) load: f64,
}

/// All that is kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) state_bytes: u64,
    pub(crate) loss_percent: f64,
    pub(crate) loss_everywhere: bool,
    pub(crate) durable: bool,
    pub(crate) rate: u64,
    /// Turns between two automatic snapshots; none if the daemon had its default.
    pub(crate) snapshot_every: Option<u64>,
    /// Whether all of the state was to be fresh before each move.
    pub(crate) renewed: bool,
    pub(crate) asked: usize,
    pub(crate) moves: Vec<MoveRecord>,
    pub(crate) ledger: Ledger,
    /// Times during which a node ran the daemon: as the nodes told and as looks found.
    pub(crate) reigns_told: usize,
    pub(crate) reigns_seen: usize,
    /// Moments with two owners.
    pub(crate) two_owners_told: usize,
    pub(crate) two_owners_seen: usize,
    /// Snapshots that stood between moves, which nobody asked for, and those during moves: a move
    /// asks for one when the last one is far behind.
    pub(crate) snapshots_between: usize,
    pub(crate) snapshots_during: usize,
    pub(crate) datagrams_passed: u64,
    pub(crate) datagrams_dropped: u64,
    /// The most memory that each node held between moves, fresh state being written.
    pub(crate) peak_bytes_between: [u64; 2],
    pub(crate) machine: Vec<Machine>,
}

impl Record {
    pub(crate) fn done(&self) -> usize {
        self.moves.iter().filter(|moved| moved.failure.is_none()).count()
    }

    pub(crate) fn good(&self) -> impl Iterator<Item = &MoveRecord> {
        self.moves.iter().filter(|moved| moved.failure.is_none())
    }

    /// A figure of each move that ended on the target.
    pub(crate) fn row(&self, of: impl Fn(&MoveRecord) -> u64) -> Row {
        self.good().map(of).collect()
    }

    /// Moves that carried less than the state although all of it was fresh.
    fn short(&self) -> usize {
        let short = |moved: &&MoveRecord| {
            moved.carried_bytes < self.state_bytes || moved.fresh_bytes < self.state_bytes
        };
        if self.renewed { self.good().filter(short).count() } else { 0 }
    }

    /// What breaks a promise, or the proof of one.
    pub(crate) fn faults(&self) -> Vec<String> {
        let Self { ledger, two_owners_told, two_owners_seen, .. } = self;
        let reigns = self.reigns_told.min(self.reigns_seen);
        let faults = [
            (!ledger.is_right(), "the ledger does not add up".to_owned()),
            (
                two_owners_told + two_owners_seen > 0,
                format!("two owners: {two_owners_told} told, {two_owners_seen} seen"),
            ),
            (
                reigns < self.done(),
                format!("{reigns} reigns seen in {} moves: owners were overlooked", self.done()),
            ),
            (self.short() > 0, format!("{} moves carried less than the fresh state", self.short())),
        ];
        faults.into_iter().filter(|(is_so, _)| *is_so).map(|(_, fault)| fault).collect()
    }

    /// What keeps a run from being what was asked for.
    pub(crate) fn shortfalls(&self) -> Vec<String> {
        let failed = self.moves.len() - self.done();
        let turns = self.snapshot_every.unwrap_or(SNAPSHOT_EVERY_DEFAULT);
        let due = self.ledger.acknowledged > 2 * turns;
        let snapshots = self.snapshots_between + self.snapshots_during;
        let automatic = self.snapshot_every.is_some() && self.snapshots_between == 0;
        let lossless = self.loss_percent > 0.0 && self.datagrams_dropped == 0;
        let shortfalls = [
            (failed > 0, format!("{failed} moves failed")),
            (
                self.moves.len() < self.asked,
                format!("{} moves were not begun", self.asked - self.moves.len().min(self.asked)),
            ),
            (due && snapshots == 0, "no snapshot stood".to_owned()),
            (due && automatic, "no automatic snapshot stood".to_owned()),
            (lossless, "no datagram was lost".to_owned()),
        ];
        shortfalls.into_iter().filter(|(is_so, _)| *is_so).map(|(_, words)| words).collect()
    }

    /// This run and another one under the same terms.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.asked += other.asked;
        self.moves.extend(other.moves);
        self.ledger.add(other.ledger);
        self.reigns_told += other.reigns_told;
        self.reigns_seen += other.reigns_seen;
        self.two_owners_told += other.two_owners_told;
        self.two_owners_seen += other.two_owners_seen;
        self.snapshots_between += other.snapshots_between;
        self.snapshots_during += other.snapshots_during;
        self.datagrams_passed += other.datagrams_passed;
        self.datagrams_dropped += other.datagrams_dropped;
        for (peak, other) in self.peak_bytes_between.iter_mut().zip(other.peak_bytes_between) {
            *peak = other.max(*peak);
        }
        self.machine.extend(other.machine);
        self
    }

    /// In lines.
    pub(crate) fn print(&self) {
        let done = self.done();
        println!("moves: {done} ended on the target, {} failed", self.moves.len() - done);
        let bytes = |name: &str, row: Row| println!("  {name:<32}{}", row.in_bytes());
        println!("bytes a move (p50 / p99 / max):");
        bytes("fresh state", self.row(|moved| moved.fresh_bytes));
        bytes("of the snapshot", self.row(|moved| moved.snapshot_bytes));
        bytes("from source to target", self.row(|moved| moved.carried_bytes));
        println!("milliseconds                            p50       p99       max");
        let row = |name: &str, row: Row| println!("  {name:<32}{}", row.in_milliseconds());
        row("duration of a move", self.row(|moved| moved.duration));
        row("pause: longest gap around a move", self.row(|moved| moved.gap));
        row("longest gap, no move", self.row(|moved| moved.calm_gap));
        row("fdatasync in the run", self.row(|moved| moved.sync));
        row("raw round trip in the run", self.row(|moved| moved.round_trip));
        println!("  load in the run {:.1} to {:.1}", self.load(f64::min), self.load(f64::max));
        self.print_memory();
        println!(
            "snapshots that stood: {} between moves, all of them automatic, {} during moves",
            self.snapshots_between, self.snapshots_during
        );
        if self.loss_percent > 0.0 {
            let (passed, dropped) = (self.datagrams_passed, self.datagrams_dropped);
            println!("relays: passed {passed}  dropped {dropped}");
        }
        self.ledger.print();
        println!(
            "owners: {} reigns told, {} seen; two at once: {} told, {} seen",
            self.reigns_told, self.reigns_seen, self.two_owners_told, self.two_owners_seen
        );
    }

    fn print_memory(&self) {
        let state = |peak: u64| format!("{} = state + {}", Size(peak), Size(self.beyond(peak)));
        println!("peak memory during moves: source {}", state(self.source_peak()));
        println!("                          target {}", state(self.target_peak()));
        let [first, second] = self.peak_bytes_between;
        println!("peak memory between moves {}", state(first.max(second)));
    }

    pub(crate) const fn beyond(&self, peak: u64) -> u64 {
        peak.saturating_sub(self.state_bytes)
    }

    pub(crate) fn source_peak(&self) -> u64 {
        self.moves.iter().map(|moved| moved.source_peak_bytes).max().unwrap_or(0)
    }

    pub(crate) fn target_peak(&self) -> u64 {
        self.moves.iter().map(|moved| moved.target_peak_bytes).max().unwrap_or(0)
    }

    fn load(&self, of: fn(f64, f64) -> f64) -> f64 {
        self.moves.iter().map(|moved| moved.load).reduce(of).unwrap_or(0.0)
    }

    /// The terms and the figures in one line of a table.
    pub(crate) fn line(&self, asked: usize) -> String {
        let pair = |of: &dyn Fn(&MoveRecord) -> u64| {
            let row = self.row(of);
            let [half, most] = [row.percentile(50), row.percentile(99)].map(milliseconds);
            format!("{half:>9} {most:>9}")
        };
        let half = |of: &dyn Fn(&MoveRecord) -> u64| milliseconds(self.row(of).percentile(50));
        let carried = self.row(|moved| moved.carried_bytes);
        let cells: [(String, usize); COLUMNS] = [
            (Size(self.state_bytes).to_string(), 9),
            (format!("{} %", self.loss_percent), 4),
            (if self.durable { "durable" } else { "volatile" }.to_owned(), 8),
            (
                self.snapshot_every.map_or_else(|| "default".to_owned(), |turns| turns.to_string()),
                7,
            ),
            (format!("{}/{asked}", self.done()), 9),
            (self.ledger.acknowledged.to_string(), 9),
            (self.ledger.applied.to_string(), 9),
            (self.ledger.refused().to_string(), 7),
            (self.ledger.lost.to_string(), 4),
            (self.ledger.doubled.to_string(), 7),
            ((self.two_owners_told + self.two_owners_seen).to_string(), 10),
            (Size(carried.least()).to_string(), 10),
            (Size(carried.percentile(50)).to_string(), 10),
            (pair(&|moved| moved.duration), 19),
            (pair(&|moved| moved.gap), 19),
            (pair(&|moved| moved.calm_gap), 19),
            (half(&|moved| moved.sync), 7),
            (half(&|moved| moved.round_trip), 7),
            (format!("{:.1}", self.load(f64::max)), 5),
            (Size(self.beyond(self.source_peak())).to_string(), 10),
            (Size(self.beyond(self.target_peak())).to_string(), 10),
            (format!("{}+{}", self.snapshots_between, self.snapshots_during), 9),
        ];
        aligned(&cells)
    }
}

/// How many cells a line of the table has.
const COLUMNS: usize = 22;

/// The heads of the columns of [`Record::line`].
pub(crate) fn heads() -> String {
    let heads: [(&str, usize); COLUMNS] = [
        ("state", 9),
        ("loss", 4),
        ("kind", 8),
        ("every", 7),
        ("moves", 9),
        ("acked", 9),
        ("applied", 9),
        ("refused", 7),
        ("lost", 4),
        ("doubled", 7),
        ("two owners", 10),
        ("least sent", 10),
        ("sent p50", 10),
        ("move ms  p50    p99", 19),
        ("gap ms   p50    p99", 19),
        ("no move  p50    p99", 19),
        ("sync ms", 7),
        ("trip ms", 7),
        ("load", 5),
        ("source +", 10),
        ("target +", 10),
        ("snapshots", 9),
    ];
    aligned(&heads.map(|(head, width)| (head.to_owned(), width)))
}

/// Cells of their widths, to the right.
fn aligned(cells: &[(String, usize)]) -> String {
    let cells: Vec<String> = cells.iter().map(|(cell, width)| format!("{cell:>width$}")).collect();
    cells.join("  ")
}

/// Writes `value` to `file`, all of it or nothing.
pub(crate) fn write_json(file: &Path, value: &impl Serialize) -> Result<()> {
    let beside = file.with_extension("part");
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(&beside, text).with_context(|| format!("could not write {}", file.display()))?;
    Ok(std::fs::rename(&beside, file)?)
}
