//! Decides what can be measured from the command line.
//!
//! No time fails a run: the machine may be busy, and says so beside every result. What fails a run
//! is a promise that was broken: an event lost or done twice, two owners at once; and a proof that
//! is none: a move that carried less than the fresh state it should have. `bars` demands besides
//! that all moves were made and ended on their target.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

mod bars;
mod client;
mod compare;
mod deliver;
mod figures;
mod fill;
mod gate;
mod hops;
mod ledger;
mod load;
mod machine;
mod moves;
mod node;
mod owners;
mod parties;
mod pause;
mod record;
mod report;
mod stage;

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
    /// Makes all the moves by which the promises of a move are shown, as far as the minutes go.
    Bars(bars::BarsTask),
    /// Measures the delivery of events to a local daemon that keeps nothing.
    Deliver(deliver::DeliverTask),
    /// Measures judgements of the evolution gate on a chart of fifty states.
    Gate(gate::GateTask),
    /// Runs the same measurements here and on the peer, alternately.
    Compare(compare::CompareTask),
    /// A node of `moves`: told what to do on its standard input.
    #[command(hide = true)]
    Node(node::NodeTask),
    /// The client of `moves`, likewise.
    #[command(hide = true)]
    Client(client::ClientTask),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WHIMBREL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Line::parse().task {
        Task::Moves(task) => moves::run(&task),
        Task::Bars(task) => bars::run(&task),
        Task::Deliver(task) => deliver::run(&task),
        Task::Gate(task) => gate::run(&task),
        Task::Compare(task) => compare::run(&task),
        Task::Node(task) => node::run(&task).map(|()| true),
        Task::Client(task) => client::run(&task).map(|()| true),
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
