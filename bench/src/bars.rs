//! Decides which runs of moves show what is promised of moves, and how they go on another time when
//! the minutes do not suffice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::figures::Size;
use crate::moves::{self, MovesTask, Spoil};
use crate::record::{Record, heads, write_json};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a run needs at least, beyond its moves: processes, first state, account.
const RUN_TIME_MIN: Duration = Duration::from_secs(10);

/// Arguments of `bars`.
#[derive(Args)]
pub(crate) struct BarsTask {
    /// Begin no move after so many minutes.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Where the figures are kept: what is there already is not measured again.
    #[arg(long, default_value = "bars.json")]
    json: PathBuf,
    /// Only rows whose name has this in it, like "16MiB" or "volatile".
    #[arg(long)]
    only: Vec<String>,
    /// Divide the counts by this; a row has two moves at least.
    #[arg(long, default_value_t = 1)]
    one_in: usize,
    /// Only print what is kept.
    #[arg(long)]
    show: bool,
    /// Where data folders are made.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// As of `moves`.
    #[arg(long)]
    spoil: Option<Spoil>,
}

/// A row of the table: so many moves under these terms.
#[derive(Clone, Copy, Debug)]
struct Bar {
    state: (u64, &'static str),
    loss: f64,
    volatile: bool,
    /// Turns between two automatic snapshots, where they are to be many.
    snapshot_every: Option<u64>,
    moves: usize,
}

const fn durable(state: (u64, &'static str), loss: f64, moves: usize) -> Bar {
    Bar { state, loss, volatile: false, snapshot_every: None, moves }
}

const fn volatile(state: (u64, &'static str), moves: usize) -> Bar {
    Bar { state, loss: 0.0, volatile: true, snapshot_every: None, moves }
}

/// A move takes its own snapshot when the last one is far behind, and moves that follow each other
/// closely leave the automatic ones no time; with so few turns between two they come all the same.
const fn snapshots(state: (u64, &'static str), moves: usize) -> Bar {
    Bar { state, loss: 0.0, volatile: false, snapshot_every: Some(1_024), moves }
}

const TINY: (u64, &str) = (KIB, "1KiB");
const SMALL: (u64, &str) = (MIB, "1MiB");
const MIDDLE: (u64, &str) = (16 * MIB, "16MiB");
const LARGE: (u64, &str) = (256 * MIB, "256MiB");
const HUGE: (u64, &str) = (GIB, "1GiB");

/// All rows, those first that say most in a minute. The 200 moves of 16 MiB hold the ten of which
/// each must succeed: no row may have a failed move.
const BARS: [Bar; 20] = [
    durable(TINY, 0.0, 1_000),
    durable(SMALL, 0.0, 1_000),
    durable(MIDDLE, 0.0, 200),
    volatile(TINY, 200),
    snapshots(TINY, 200),
    durable(LARGE, 0.0, 50),
    durable(HUGE, 0.0, 2),
    durable(TINY, 1.0, 1_000),
    durable(TINY, 5.0, 1_000),
    durable(SMALL, 1.0, 1_000),
    durable(SMALL, 5.0, 1_000),
    durable(MIDDLE, 1.0, 200),
    durable(MIDDLE, 5.0, 200),
    snapshots(SMALL, 200),
    snapshots(MIDDLE, 50),
    volatile(SMALL, 200),
    volatile(MIDDLE, 50),
    volatile(LARGE, 10),
    durable(LARGE, 1.0, 50),
    durable(LARGE, 5.0, 50),
];

/// What is kept between runs: records by the name of their row.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    rows: BTreeMap<String, Record>,
}

impl Bar {
    fn divided(self, task: &BarsTask) -> Self {
        Self { moves: (self.moves / task.one_in.max(1)).max(2), ..self }
    }

    fn name(&self) -> String {
        let durability = if self.volatile { "volatile" } else { "durable" };
        let every = self.snapshot_every.map_or_else(String::new, |turns| format!(" every {turns}"));
        format!("{} {durability} {}%{every}", self.state.1, self.loss)
    }

    fn task(&self, task: &BarsTask, moves: usize, rest: Duration) -> MovesTask {
        MovesTask {
            state: Size(self.state.0),
            moves,
            rate: 5_000,
            loss: self.loss,
            loss_everywhere: true,
            seed: 1,
            volatile: self.volatile,
            snapshot_every: self.snapshot_every,
            renew: true,
            churn: None,
            seconds_max: rest.as_secs(),
            move_seconds_max: 120,
            folder: task.folder.clone(),
            hops: false,
            each: false,
            json: None,
            spoil: task.spoil,
        }
    }
}

impl Kept {
    fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let bytes = std::fs::read(file)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{} holds no figures of bars", file.display()))
    }

    fn moves(&self, name: &str) -> usize {
        self.rows.get(name).map_or(0, |record| record.moves.len())
    }

    /// Adds a run to its row. What was not begun is asked for another time.
    fn add(&mut self, name: String, mut record: Record) {
        record.asked = record.moves.len();
        let sum = match self.rows.remove(&name) {
            Some(before) => before.and(record),
            None => record,
        };
        self.rows.insert(name, sum);
    }
}

/// Runs what is not yet kept. True when all rows are as asked for and no promise was broken.
pub(crate) fn run(task: &BarsTask) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs_f64(task.minutes * 60.0);
    let wanted =
        |bar: &Bar| task.only.is_empty() || task.only.iter().any(|part| bar.name().contains(part));
    let bars: Vec<Bar> = BARS.into_iter().filter(wanted).map(|bar| bar.divided(task)).collect();
    let mut kept = Kept::read(&task.json)?;
    for bar in bars.iter().filter(|_| !task.show) {
        let rest = deadline.saturating_duration_since(Instant::now());
        let missing = bar.moves.saturating_sub(kept.moves(&bar.name()));
        if missing == 0 || rest < RUN_TIME_MIN {
            continue;
        }
        let record = moves::measure(&bar.task(task, missing, rest))?;
        record.print();
        kept.add(bar.name(), record);
        write_json(&task.json, &kept)?;
        println!();
    }
    Ok(show(&bars, &kept))
}

/// Prints the table, and what is wrong in it.
fn show(bars: &[Bar], kept: &Kept) -> bool {
    println!("{}", heads());
    let mut faults = Vec::new();
    for bar in bars {
        let name = bar.name();
        let Some(record) = kept.rows.get(&name) else {
            faults.push(format!("{name}: nothing measured"));
            continue;
        };
        println!("{}", record.line(bar.moves));
        let missing = bar.moves.saturating_sub(record.moves.len());
        let missing = (missing > 0).then(|| format!("{missing} moves are still to be made"));
        let words = record.faults().into_iter().chain(record.shortfalls()).chain(missing);
        faults.extend(words.map(|fault| format!("{name}: {fault}")));
    }
    for fault in &faults {
        println!("WRONG: {fault}");
    }
    faults.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = BARS.iter().map(Bar::name).collect();
        assert_eq!(names.len(), BARS.len());
    }
}
