//! Drives the targets from a seed and says what was done.
//!
//! ```text
//! cargo run -p whimbrel-fuzz --example drive -- --count 20000
//! … --minutes 10                 one seed after the other until the time is over
//! … --target frames --seed 7     one target, another seed
//! … --corpus-to FOLDER           writes the corpus as files, a folder for each target
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use whimbrel_fuzz::{Counting, Drive, Fault, Ran, Target, read, targets};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Inputs between two looks at the time.
const ROUND: u64 = 2000;

/// What was asked for.
struct Wish {
    count: u64,
    seed: u64,
    time: Option<Duration>,
    target: Option<String>,
    corpus_to: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Some(wish) = wish(std::env::args().skip(1)) else {
        eprintln!("drive takes --count, --seed, --minutes, --target and --corpus-to");
        return ExitCode::from(2);
    };
    let chosen = |target: &&Target| wish.target.as_deref().is_none_or(|name| name == target.name);
    let chosen: Vec<&Target> = targets::ALL.iter().filter(chosen).collect();
    if chosen.is_empty() {
        eprintln!("there is no such target");
        return ExitCode::from(2);
    }
    if let Some(folder) = &wish.corpus_to {
        return written(&chosen, folder);
    }
    std::panic::set_hook(Box::new(|_| {}));
    let share = wish.time.map(|time| time / u32::try_from(chosen.len()).unwrap_or(1));
    let mut good = true;
    for target in chosen {
        let started = Instant::now();
        match drive(target, &wish, share) {
            Ok(ran) => {
                let (inputs, seconds) = (ran.inputs, started.elapsed().as_secs_f64());
                let most = ran.largest;
                println!(
                    "{:<10} {inputs:>9} inputs in {seconds:>6.1} s, at most {most} bytes at once",
                    target.name
                );
            }
            Err(fault) => {
                good = false;
                println!("FAILED: {fault}");
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Once, or seed after seed until the time is over.
fn drive(target: &Target, wish: &Wish, share: Option<Duration>) -> Result<Ran, Box<Fault>> {
    let Some(share) = share else {
        return Drive { seed: wish.seed, count: wish.count }.run(target);
    };
    let started = Instant::now();
    let mut all = Ran { inputs: 0, largest: 0 };
    for seed in wish.seed.. {
        if share <= started.elapsed() {
            break;
        }
        let ran = Drive { seed, count: ROUND }.run(target)?;
        all.inputs += ran.inputs;
        all.largest = all.largest.max(ran.largest);
    }
    Ok(all)
}

fn written(chosen: &[&Target], folder: &Path) -> ExitCode {
    for target in chosen {
        let folder = folder.join(target.name);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            for (index, input) in read(target.corpus).iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{index}")), input)?;
            }
            Ok(())
        };
        if let Err(error) = write() {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn wish(mut words: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish { count: 20_000, seed: 1, time: None, target: None, corpus_to: None };
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--count" => wish.count = value.parse().ok()?,
            "--seed" => wish.seed = value.parse().ok()?,
            "--minutes" => {
                let minutes: f64 = value.parse().ok()?;
                wish.time = Some(Duration::try_from_secs_f64(minutes * 60.0).ok()?);
            }
            "--target" => wish.target = Some(value),
            "--corpus-to" => wish.corpus_to = Some(value.into()),
            _ => return None,
        }
    }
    Some(wish)
}
