//! Decides which chore runs: `check`, `fix`, `sim`, `model`, `mutants`, `chaos`, `soak` and others.
//!
//! What a chore does is in the module of its name. The rules that `check` enforces on the tree are
//! in [`arrows`] (who may depend on whom) and [`tidy`] (what a file may contain).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to a terminal")]

mod arrows;
mod chaos;
mod check;
mod conformance;
mod deny;
mod finding;
mod fix;
mod fuzz;
mod machines;
mod miri;
mod model;
mod mutants;
mod sim;
mod skew;
mod soak;
mod tidy;
mod tools;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::tree::Tree;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((chore, rest)) = arguments.split_first() else {
        print!("{}", usage());
        bail!("name a chore");
    };
    match chore.as_str() {
        "check" => check::run(&Tree::open()?, rest),
        "fix" => fix::run(&Tree::open()?, rest),
        "fuzz" => fuzz::run(&Tree::open()?, rest),
        "sim" => sim::run(&Tree::open()?, rest),
        "machines" => machines::run(&Tree::open()?, rest),
        "model" => model::run(&Tree::open()?, rest),
        "miri" => miri::run(&Tree::open()?, rest),
        "mutants" => mutants::run(&Tree::open()?, rest),
        "chaos" => chaos::run(&Tree::open()?, rest),
        "deny" => deny::run(&Tree::open()?, rest),
        "conformance" => conformance::run(&Tree::open()?, rest),
        "skew" => skew::run(&Tree::open()?, rest),
        "soak" => soak::run(&Tree::open()?, rest),
        "help" | "--help" | "-h" => {
            print!("{}", usage());
            Ok(())
        }
        _ => bail!("there is no chore '{chore}'; 'cargo xtask help' lists them"),
    }
}

fn usage() -> String {
    format!(
        "cargo xtask check [--from STEP | --only STEP]   the gate; reads only\n\
         cargo xtask fix                                 formatting and mechanical fixes; writes\n\
         cargo xtask fuzz [--minutes N] [--target NAME]  hostile bytes for every decoder\n\
         cargo xtask sim FLAGS                           the simulator, flags passed on\n\
         cargo xtask model FLAGS                         the model of all interleavings, flags passed on\n\
         cargo xtask mutants [--resume] [--all] [NAME..] each deliberate bug must be found\n\
         cargo xtask chaos --minutes N [--seed S]        faults on real processes; best as root\n\
         cargo xtask skew [--commit C] [--minutes N]     the same with an earlier build on every second node\n\
         cargo xtask miri [--resume]                     wire and part of protocol in Miri\n\
         cargo xtask conformance scxml --suite PATH      suites of others, from where they lie\n\
         cargo xtask conformance wasm [--plan NAME]      the WebAssembly testsuite, with and without moves\n\
         cargo xtask machines [--count N]                states of isolates, gone on from on aarch64 as well\n\
         cargo xtask deny                                licences, sources, banned crates, advisories\n\
         cargo xtask soak [--resume]                     the long steps, for a night\n\
         \n\
         steps of check: {}\n\
         steps of soak:  {}\n\
         {} = release makes the simulator an optimised build, night a slower one to make and faster to run\n",
        check::names().join(", "),
        soak::names().join(", "),
        sim::PROFILE_VARIABLE,
    )
}
