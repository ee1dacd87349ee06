//! Faults on real processes: nodes and clients in networks of their own, daemons that move all the
//! time, and everything that can go wrong with a network, a process or a disk.
//!
//! This file decides what can be said to the program.
//!
//! * [`plan`]: which faults, in which order, from the seed; [`blows`] and [`weather`]: how they are
//!   done; [`net`]: the networks, or the loopback where there are none;
//! * [`nodes`], [`clients`], [`client`], [`relays`]: the processes; [`mover`]: who moves where;
//! * [`trial`]: the course of it all; [`settle`]: what must be so at the end; [`report`]: how it
//!   reads; [`stacks`]: what a process does that hangs.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a trial is for reading")]

mod blows;
mod board;
mod client;
mod clients;
mod mover;
mod net;
mod nodes;
mod plan;
mod relays;
mod report;
mod settle;
mod stacks;
mod system;
mod trial;
mod weather;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Disturbs real nodes while daemons move, and checks that nothing was lost or done twice.
#[derive(Parser)]
#[command(name = "whimbrel-chaos")]
struct Line {
    #[command(flatten)]
    trial: TrialWords,
    #[command(subcommand)]
    part: Option<Hidden>,
}

/// What the trial does.
#[derive(Args, Clone)]
pub(crate) struct TrialWords {
    /// How long faults go on.
    #[arg(long, default_value = "2")]
    minutes: f64,
    /// Where chance begins; printed, to be given again.
    #[arg(long)]
    seed: Option<u64>,
    /// The command, built with the feature `crash-points`.
    #[arg(long, value_name = "FILE", default_value = "target/debug/whimbrel")]
    whimbrel: PathBuf,
    /// The command as an earlier state of the source builds it: every second node runs that one.
    #[arg(long, value_name = "FILE")]
    earlier: Option<PathBuf>,
    /// Events per second of each client to each of its daemons.
    #[arg(long, default_value = "40")]
    rate: u32,
    /// Use the loopback even where networks can be made.
    #[arg(long)]
    loopback: bool,
    /// Let nodes write traces of their machines, and check the last two of each at the end.
    #[arg(long)]
    traces: bool,
    /// Spoil something before the checks, to see that they can fail.
    #[arg(long, hide = true, value_name = "HOW")]
    spoil: Option<Spoil>,
}

/// What a check must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoil {
    /// One acknowledged event of a `kv` is taken away.
    Lose,
    /// One acknowledged event of a `kv` is done again.
    Double,
    /// One acknowledged event of a `tally` is done again.
    DoubleTally,
    /// A node is stopped for ever.
    Hang,
    /// A node is killed behind the back of the trial.
    Die,
}

#[derive(Subcommand)]
enum Hidden {
    /// A client process: told what to do on its standard input.
    #[command(hide = true)]
    Client,
    /// The relays: told what to do on their standard input.
    #[command(hide = true)]
    Relays,
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let line = Line::parse();
    let ended = match line.part {
        None => runtime.block_on(Box::pin(trial::run(line.trial))),
        Some(Hidden::Client) => runtime.block_on(Box::pin(client::run())).map(|()| true),
        Some(Hidden::Relays) => relays::run().map(|()| true),
    };
    // A thread that waits for the standard input would hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
