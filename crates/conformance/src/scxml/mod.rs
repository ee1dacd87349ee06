//! Decides which statechart suites are run, and in which ways.

mod drive;
mod ecmascript;
mod macros;
mod scripts;
mod w3c;

use std::path::Path;

use anyhow::{Result, bail};

use crate::table::Part;
use drive::Moves;

impl Moves {
    fn name(self, part: &str) -> String {
        match self {
            Self::Never => part.to_owned(),
            Self::Macrosteps => format!("{part}, moved at rest"),
            Self::Microsteps => format!("{part}, moved everywhere"),
        }
    }
}

/// Runs what is there. True if all passed and all was there.
pub(crate) fn run(
    suite: Option<&Path>,
    scripts: Option<&Path>,
    only: Option<&str>,
    verbose: bool,
) -> Result<bool> {
    let mut parts: Vec<Part> = Vec::new();
    for moves in [Moves::Never, Moves::Macrosteps, Moves::Microsteps] {
        if let Some(suite) = suite {
            parts.extend(w3c::run(suite, only, moves)?);
        }
        if let Some(scripts) = scripts {
            parts.extend(scripts::run(scripts, only, moves)?);
        }
    }
    if parts.is_empty() {
        bail!("name a suite: --suite PATH, --scripts PATH, or both");
    }
    let mut holds = true;
    for part in &parts {
        print!("{}", part.report(verbose));
        holds &= part.holds();
    }
    for (missing, what) in [
        (suite.is_none(), "the W3C's documents were NOT RUN: no --suite"),
        (scripts.is_none(), "the hand-written scripts were NOT RUN: no --scripts"),
    ] {
        if missing {
            println!("{what}");
        }
    }
    Ok(holds)
}
