//! Runs the gate against random definitions for as long as it is asked to: `-- --seeds FROM..TO`.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]
#![allow(clippy::expect_used, reason = "what is made here can be written")]

#[path = "../tests/soundness/dice.rs"]
mod dice;
#[path = "../tests/soundness/edit.rs"]
mod edit;
#[path = "../tests/soundness/make.rs"]
mod make;
#[path = "../tests/soundness/mod.rs"]
mod soundness;

use std::process::ExitCode;

/// Seeds between two lines that say how it goes.
const STRIDE: u64 = 50_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let range = match words.as_slice() {
        [flag, range] if flag == "--seeds" => range.split_once(".."),
        _ => None,
    };
    let range = range.and_then(|(from, to)| Some(from.parse().ok()?..to.parse::<u64>().ok()?));
    let Some(range) = range else {
        println!("soundness takes --seeds FROM..TO");
        return ExitCode::from(2);
    };
    let mut tally = soundness::Tally::default();
    let mut from: u64 = range.start;
    while from < range.end {
        let to = range.end.min(from.saturating_add(STRIDE));
        tally.add(soundness::run(from..to));
        println!("seeds up to {to}: {} pairs, {} unsound", tally.cases, tally.unsound.len());
        from = to;
    }
    println!("{tally}");
    let falsely = tally.refused_falsely.len() as u64 * 100;
    let good = tally.unsound.is_empty() && falsely <= 2 * tally.refusals().max(1);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
