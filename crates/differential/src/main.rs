//! The program: many random programs against the engine as it is, and the figures.
#![allow(clippy::print_stdout, reason = "the figures are what the program is for")]

mod guests;
mod moves;
mod speed;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use whimbrel_differential::{Fault, Sum, attack, compare, machines};

/// How many seeds are one piece of work.
const PIECE: u64 = 100;

/// Holds isolates against the engine as it is.
#[derive(Parser)]
#[command(name = "whimbrel-differential")]
struct Line {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Programs that are made at random, moved at random.
    Programs {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many have to be compared.
        #[arg(long, default_value_t = 2_000)]
        count: u64,
        /// How many threads do it.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Keeps how far this build came, beside its executable, and goes on from there.
        #[arg(long)]
        resume: bool,
        /// Damages states on their way: there have to be differences.
        #[arg(long, conflicts_with = "resume")]
        damaged: bool,
    },
    /// States and modules that somebody changed.
    Hostile {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1_000)]
        count: u64,
    },
    /// Writes states for another machine.
    Write {
        /// Where to.
        folder: PathBuf,
        /// How many seeds.
        #[arg(long, default_value_t = 300)]
        count: u64,
    },
    /// Goes on from the states that another machine wrote.
    GoOn {
        /// Where they are.
        folder: PathBuf,
    },
    /// How fast programs run, against the engine as it is.
    Speed {
        /// Only programs whose name contains this.
        #[arg(long)]
        only: Option<String>,
        /// How often each is run.
        #[arg(long, default_value_t = 30)]
        rounds: u32,
        /// Where they are built.
        #[arg(long, default_value_os_t = std::env::temp_dir().join("whimbrel-guests"))]
        folder: PathBuf,
    },
    /// How soon programs stop, also in loops without a store.
    Stops {
        /// How often each is stopped.
        #[arg(long, default_value_t = 300)]
        count: usize,
    },
    /// What writing down and restoring a state costs.
    States {
        /// How much memory it has.
        #[arg(long, default_value_t = 1)]
        mib: u32,
        /// How often.
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
    /// How long a program stands still that is copied in rounds, and stopped and copied.
    Rounds {
        /// How much memory it has.
        #[arg(long, default_value_t = 64)]
        mib: u32,
        /// How much of it is written each second, in per cent.
        #[arg(long, default_value_t = 10)]
        percent: u32,
        /// How often.
        #[arg(long, default_value_t = 10)]
        count: usize,
    },
}

fn main() -> Result<()> {
    match Line::parse().what {
        What::Programs { from, count, threads, resume, damaged } => {
            let progress = if resume { Some(progress()?) } else { None };
            let fault = damaged.then_some(Fault::LostLocal);
            programs((from, count), threads, progress.as_deref(), fault)
        }
        What::Hostile { from, count } => hostile(from, count),
        What::Write { folder, count } => {
            let written = machines::write(&folder, 0..count)?;
            println!("{written} states written by compiled code of {}", std::env::consts::ARCH);
            Ok(())
        }
        What::GoOn { folder } => go_on(&folder),
        What::Speed { only, rounds, folder } => speed::run(&folder, only.as_deref(), rounds),
        What::Stops { count } => moves::stops(count),
        What::States { mib, count } => moves::states(mib, count),
        What::Rounds { mib, percent, count } => moves::rounds(mib, percent, count),
    }
}

/// Where the progress of this build is kept: another build begins anew.
fn progress() -> Result<PathBuf> {
    let own = std::env::current_exe().context("could not find the executable")?;
    let digest = blake3::hash(&fs::read(&own).context("could not read the executable")?);
    Ok(own.with_file_name(format!("differential-{}.progress", &digest.to_hex()[..16])))
}

fn go_on(folder: &Path) -> Result<()> {
    let gone = machines::go_on(folder)?;
    for (tier, count) in &gone.tiers {
        println!("{tier} on {}: went on from {count} states", std::env::consts::ARCH);
    }
    println!("{} nested too deep, {} differences", gone.deep, gone.differences.len());
    for difference in gone.differences.iter().take(20) {
        println!("    {difference}");
    }
    if gone.differences.is_empty() { Ok(()) } else { bail!("there are differences") }
}

fn hostile(from: u64, count: u64) -> Result<()> {
    let half = from + count / 2;
    let other = std::thread::spawn(move || attack(from..half));
    let mut attacks = attack(half..from + count);
    attacks.add(other.join().map_err(|_| anyhow::anyhow!("a thread failed"))?);
    println!(
        "{} states changed, {} could be read, {} were taken, {} ended on both tiers; {} modules \
         changed, {} were taken; {} differences",
        attacks.states,
        attacks.read,
        attacks.taken,
        attacks.compared,
        attacks.modules,
        attacks.modules_taken,
        attacks.differences.len()
    );
    for (seed, how) in attacks.differences.iter().take(20) {
        println!("    seed {seed}: {how}");
    }
    if attacks.differences.is_empty() { Ok(()) } else { bail!("there are differences") }
}

/// What was reached before: the next seed, and the counts.
fn before(progress: Option<&Path>, from: u64) -> Result<(u64, Sum)> {
    let mut sum = Sum::default();
    let Some(text) = progress.and_then(|path| fs::read_to_string(path).ok()) else {
        return Ok((from, sum));
    };
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    let numbers = numbers.context("could not read the progress")?;
    let [next, compared, moved, moves, suspended, left_out] = numbers.as_slice() else {
        bail!("the progress is none");
    };
    (sum.compared, sum.moved, sum.moves) = (*compared, *moved, *moves);
    (sum.suspended, sum.left_out) = (*suspended, *left_out);
    println!("goes on at seed {next} with {compared} compared");
    Ok((*next, sum))
}

fn programs(
    (from, count): (u64, u64),
    threads: usize,
    progress: Option<&Path>,
    fault: Option<Fault>,
) -> Result<()> {
    let (from, sum) = before(progress, from)?;
    let next = AtomicU64::new(from);
    let sum = Mutex::new((from, sum));
    let reached = |sum: &Sum| sum.compared >= count || !sum.differences.is_empty();
    // Every thread takes a piece; a round of pieces is kept as soon as it is whole.
    let round = PIECE * threads as u64;
    loop {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let first = next.fetch_add(PIECE, Ordering::Relaxed);
                    let piece = compare(first..first + PIECE, fault);
                    if let Ok(mut sum) = sum.lock() {
                        sum.1.add(piece);
                    }
                });
            }
        });
        let mut sum = sum.lock().map_err(|_| anyhow::anyhow!("a thread failed"))?;
        sum.0 += round;
        let (next, so_far) = &*sum;
        if let Some(path) = progress.filter(|_| so_far.differences.is_empty()) {
            let Sum { compared, moved, moves, suspended, left_out, .. } = so_far;
            let text = format!("{next} {compared} {moved} {moves} {suspended} {left_out}\n");
            fs::write(path, text).context("could not keep the progress")?;
        }
        if reached(so_far) {
            break;
        }
    }
    let (next, sum) = sum.into_inner().map_err(|_| anyhow::anyhow!("a thread failed"))?;
    println!(
        "seeds up to {next}: {} programs compared, {} of them moved, {} moves, {} host calls made \
         again, {} left out, {} differences",
        sum.compared,
        sum.moved,
        sum.moves,
        sum.suspended,
        sum.left_out,
        sum.differences.len()
    );
    for (reason, count) in &sum.reasons {
        println!("    left out {count:>6}: {reason}");
    }
    for (seed, how) in sum.differences.iter().take(20) {
        println!("    seed {seed}: {how}");
    }
    match (fault, sum.differences.is_empty()) {
        (None, true) | (Some(_), false) => Ok(()),
        (None, false) => bail!("there are differences"),
        (Some(_), true) => bail!("nobody noticed that the states were damaged"),
    }
}
