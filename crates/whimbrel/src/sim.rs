//! Decides how a plan is rehearsed from the command line, and how a rehearsal is shown and played again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use whimbrel_sim::rehearsal::{Overrides, Plan, Recording, Rehearsed, rehearse};

use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output::{say, say_bytes};

/// What can be said about a rehearsal.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SimWords {
    /// The plan, as TOML; there are ready ones in the folder `scenarios`.
    #[arg(long, value_name = "FILE", required = true)]
    scenario: Option<PathBuf>,
    /// How many nodes (2 to 26), instead of what the plan says.
    #[arg(long, value_name = "COUNT")]
    nodes: Option<u64>,
    /// How many daemons (1 to 10000), instead of what the plan says; groups keep their shares.
    #[arg(long, value_name = "COUNT")]
    daemons: Option<u64>,
    /// Another seed: other delays, other luck.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the report as JSON; times are microseconds.
    #[arg(long)]
    json: bool,
    /// Write down what happened, to be shown and played again.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(subcommand)]
    what: Option<SimWhat>,
}

#[derive(Debug, Subcommand)]
enum SimWhat {
    /// Play what was written down once more, and compare line by line.
    Replay {
        /// What --trace wrote.
        file: PathBuf,
    },
    /// Print what was written down: the nodes, then each daemon.
    Show {
        /// What --trace wrote.
        file: PathBuf,
        /// Only this daemon: D0, D1, …
        #[arg(long, value_name = "D0", value_parser = daemon)]
        daemon: Option<usize>,
    },
}

/// Does what was said.
pub(crate) fn run(words: SimWords) -> Result<ExitCode> {
    match words.what {
        Some(SimWhat::Replay { file }) => replay(&file),
        Some(SimWhat::Show { file, daemon }) => {
            say_bytes(read_recording(&file)?.timeline(daemon).as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        None => play(words),
    }
}

fn play(words: SimWords) -> Result<ExitCode> {
    let SimWords { scenario, nodes, daemons, seed, json, trace, what: _ } = words;
    let file = scenario.unwrap_or_default();
    let overrides = Overrides { nodes, daemons, seed };
    let plan = Plan::parse(&read(&file)?, overrides).map_err(|error| {
        let message = format!("{}, {error}", file.display());
        Advice::wrong(message, "docs/guide/rehearsing.md has the form of a plan")
    })?;
    let rehearsed = rehearse(&plan, trace.is_some());
    if let Some(path) = trace {
        std::fs::write(&path, Recording::write(&plan, &rehearsed)).map_err(|error| {
            let message = format!("could not write {}: {error}", path.display());
            Advice::failed(message, "name a file in a folder that can be written")
        })?;
    }
    if json {
        say(&serde_json::to_string_pretty(&rehearsed.report)?);
    } else {
        say_bytes(rehearsed.report.to_string().as_bytes());
    }
    Ok(exit_of(&rehearsed))
}

fn exit_of(rehearsed: &Rehearsed) -> ExitCode {
    if rehearsed.report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) }
}

fn replay(file: &Path) -> Result<ExitCode> {
    let recording = read_recording(file)?;
    let (count, again) = recording.replay().map_err(|difference| {
        let (program, here) = (recording.program(), env!("CARGO_PKG_VERSION"));
        let next = format!("it was written by version {program}, this is {here}; use that version");
        Advice::failed(format!("{}: {difference}", file.display()), next)
    })?;
    say(&format!("{count} lines and the digest {} are the same", again.report.digest));
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!("could not read {}: {error}", file.display());
        Advice::wrong(message, "name a text file; ready plans are in the folder scenarios")
    })
}

fn read_recording(file: &Path) -> Result<Recording> {
    Recording::parse(&read(file)?).map_err(|error| {
        let message = format!("{}: {error}", file.display());
        Advice::wrong(message, "name a file that whimbrel sim --trace wrote")
    })
}

fn daemon(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('D').and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{text:?} is no daemon of a rehearsal: D0, D1, …"))
}
