//! Decides what can be measured from the command line.
//!
//! No figure fails a run: the machine may be busy, and says so beside every result. What fails a
//! run is a ledger that does not add up: an event lost or done twice, or two owners at once.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

mod compare;
mod deliver;
mod figures;
mod fill;
mod ledger;
mod load;
mod machine;
mod moves;
mod node;
mod owners;
mod parties;
mod pause;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures moves and deliveries on this machine.
#[derive(Parser)]
#[command(name = "whimbrel-bench")]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Moves a daemon back and forth between two processes under load, and checks the ledger.
    Moves(moves::MovesTask),
    /// Measures the delivery of events to a local daemon that keeps nothing.
    Deliver(deliver::DeliverTask),
    /// Runs the same measurements here and on the peer, alternately.
    Compare(compare::CompareTask),
    /// A node of `moves`: told what to do on its standard input.
    #[command(hide = true)]
    Node(node::NodeTask),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WHIMBREL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Line::parse().task {
        Task::Moves(task) => moves::run(&task),
        Task::Deliver(task) => deliver::run(&task),
        Task::Compare(task) => compare::run(&task),
        Task::Node(task) => node::run(&task).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("failed: {error:#}");
            ExitCode::from(2)
        }
    }
}
