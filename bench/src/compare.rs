//! Decides how this crate and the peer are measured in one run: alternately, so that both meet the
//! same machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::deliver::{self, DeliverTask, middle};
use crate::figures::{Row, Size};
use crate::machine;

/// Arguments of `compare`.
#[derive(Args)]
pub(crate) struct CompareTask {
    /// The program of `bench/peers`.
    #[arg(long)]
    peers: PathBuf,
    /// How often each side is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events in each part of a measurement of deliveries.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Moves of each size on each side; none leaves moves out.
    #[arg(long, default_value_t = 10)]
    moves: usize,
    /// Events a second during moves.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
}

/// Sizes of state that are moved.
const STATES: [u64; 3] = [1 << 10, 1 << 20, 16 << 20];

/// Runs the task. True when our ledgers are right.
pub(crate) fn run(task: &CompareTask) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    println!("== compare: deliveries, alternately {} times ==", task.rounds);
    machine::describe(folder.path(), "before")?;
    deliveries(task)?;
    machine::describe(folder.path(), "after")?;
    println!();
    let mut right = true;
    for state in STATES {
        if task.moves > 0 {
            right &= moves(task, state)?;
        }
    }
    Ok(right)
}

fn deliveries(task: &CompareTask) -> Result<()> {
    let kinds = ["deliver-silent", "deliver-answering"];
    let (mut ours, mut theirs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..task.rounds {
        let output = peer(&task.peers, &["deliver", &task.events.to_string()])?;
        for (kind, theirs) in kinds.iter().zip(&mut theirs) {
            theirs.extend(figures(&output, kind));
        }
        let own = std::env::current_exe()?;
        let output = peer(&own, &["deliver", "--plain", "--events", &task.events.to_string()])?;
        for (kind, ours) in kinds.iter().zip(&mut ours) {
            ours.extend(figures(&output, kind));
        }
    }
    println!(
        "nanoseconds an event         ours (median min max)            peer (median min max)   ratio"
    );
    for (index, kind) in kinds.iter().enumerate() {
        let (our, their) = (middle(&ours[index]), middle(&theirs[index]));
        println!(
            "  {kind:<20} {:>9.1} {:>9.1} {:>9.1}    {:>9.1} {:>9.1} {:>9.1}   {:>5.2}",
            our[0],
            our[1],
            our[2],
            their[0],
            their[1],
            their[2],
            our[0] / their[0]
        );
    }
    let parts = deliver::measure(&DeliverTask::of(task.events))?;
    println!("where ours goes (median):");
    for (name, nanos) in parts.0 {
        println!("  {name:<20} {:>9.1}", middle(&nanos)[0]);
    }
    Ok(())
}

/// The figures of a name, one from each line.
fn figures(output: &str, name: &str) -> Vec<f64> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("figure "));
    let named = lines.filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    named.collect()
}

fn moves(task: &CompareTask, state: u64) -> Result<bool> {
    let (bytes, count) = (state.to_string(), task.moves.to_string());
    let rate = task.rate.to_string();
    println!("== compare: moves of {} ==", Size(state));
    for wide in [false, true] {
        let mut words = vec!["moves", &bytes, &count, &rate];
        words.extend(wide.then_some("wide"));
        let output = peer(&task.peers, &words)?;
        tell_peer(&output, if wide { "large socket buffers" } else { "its SDK's defaults" });
    }
    let own = std::env::current_exe()?;
    let words = ["moves", "--state", &bytes, "--moves", &count, "--rate", &rate];
    let status = Command::new(own).args(words).status()?;
    Ok(status.success())
}

fn tell_peer(output: &str, name: &str) {
    let (mut times, mut gaps, mut calm, mut lost) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut failed = 0;
    for line in output.lines().filter_map(|line| line.strip_prefix("figure move ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
        let (Some(time), Some(gap), Some(still)) = (number(0), number(1), number(2)) else {
            continue;
        };
        if words.get(4) != Some(&"moved") {
            failed += 1;
            continue;
        }
        times.push(time);
        gaps.push(gap);
        calm.push(still);
        lost.push(number(3).unwrap_or(0));
    }
    let row = |values: Vec<u64>| values.into_iter().collect::<Row>();
    println!("peer, {name}: {} moved, {failed} failed or stalled", times.len());
    println!("  milliseconds (p50 p99 max)");
    println!("  duration of a move              {}", row(times).in_milliseconds());
    println!("  longest gap around a move       {}", row(gaps).in_milliseconds());
    println!("  longest gap, no move            {}", row(calm).in_milliseconds());
    let lost = row(lost);
    println!("  acknowledged events lost a move: p50 {}  max {}", lost.percentile(50), lost.most());
}

fn peer(program: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("could not run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", program.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
