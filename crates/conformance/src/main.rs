//! Decides which suites of others can be run, and what counts as passed: what a suite itself says.
//!
//! No suite is part of this repository: each is read from a folder that the caller names. What is
//! not found there is said and fails the run; it never counts as passed.
#![allow(clippy::print_stdout, reason = "a report is for reading")]

mod scxml;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Runs suites that others wrote.
#[derive(Parser)]
#[command(name = "whimbrel-conformance")]
struct Line {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Statecharts: the W3C's documents for SCXML, and hand-written scripts.
    Scxml {
        /// The folder of the W3C's model-neutral documents, with `manifest.xml` and `txml/`.
        #[arg(long)]
        suite: Option<PathBuf>,
        /// The folder `test` of the npm package `scxml-test-framework`.
        #[arg(long)]
        scripts: Option<PathBuf>,
        /// Only tests whose name contains this.
        #[arg(long)]
        only: Option<String>,
        /// Say of each test how it went.
        #[arg(long)]
        verbose: bool,
    },
}

fn main() -> ExitCode {
    let ran: Result<bool> = match Line::parse().suite {
        Suite::Scxml { suite, scripts, only, verbose } => {
            scxml::run(suite.as_deref(), scripts.as_deref(), only.as_deref(), verbose)
        }
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("failed: {error:#}");
            ExitCode::from(2)
        }
    }
}
