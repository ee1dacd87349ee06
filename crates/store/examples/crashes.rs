//! Takes the power from a store at each call of its disk, and says where it was tried.
//!
//! `cargo run -p whimbrel-store --example crashes -- [--seeds N] [--stride N] [--mutant NAME]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]

use std::process::ExitCode;
use std::time::Instant;

use whimbrel_mutants::{Mutant, choose};
use whimbrel_store::crashes::{Plan, Tally};

fn main() -> ExitCode {
    let Some((plan, mutant)) = read(std::env::args().skip(1)) else {
        eprintln!("crashes takes --seeds N, --stride N and --mutant NAME");
        return ExitCode::from(2);
    };
    if !choose(mutant) {
        eprintln!("this build has no bugs; build it with the feature mutants");
        return ExitCode::from(2);
    }
    let expected = mutant.is_some();
    let started = Instant::now();
    let mut tally = Tally::default();
    let outcome = plan.run(&mut tally);
    println!("{tally}in {:.1} s", started.elapsed().as_secs_f64());
    match (&outcome, expected) {
        (Ok(()), false) => println!("no promise was broken"),
        (Ok(()), true) => println!("not found by the store's crash test"),
        (Err(found), true) => println!("found by {found}"),
        (Err(found), false) => println!("FAILED: {found}"),
    }
    if outcome.is_err() == expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The plan, and the bug that it should find.
fn read(mut words: impl Iterator<Item = String>) -> Option<(Plan, Option<Mutant>)> {
    let mut plan = Plan { seeds: 4, stride: 1 };
    let mut mutant = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => plan.seeds = words.next()?.parse().ok()?,
            "--stride" => plan.stride = words.next()?.parse().ok()?,
            "--mutant" => mutant = Some(Mutant::named(&words.next()?)?),
            _ => return None,
        }
    }
    Some((plan, mutant))
}
