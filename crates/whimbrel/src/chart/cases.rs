//! Decides how charts are tested from files: `cases` says what a test is.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use whimbrel_statechart::cases::{Cases, Moves};

use super::files;
use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output;

/// What is tested, and by what.
#[derive(Args, Debug)]
pub(crate) struct TestWords {
    /// A definition: the JSON form, or SCXML.
    file: PathBuf,
    /// Files with tests.
    #[arg(required = true)]
    cases: Vec<PathBuf>,
    /// Write the instance down and go on from that after each input.
    #[arg(long = "move")]
    moves: bool,
}

/// Plays the tests; 1 if one failed.
pub(super) fn run(words: &TestWords) -> Result<ExitCode> {
    let chart = Arc::new(files::chart(&words.file, files::definition(&words.file)?)?);
    let moves = if words.moves { Moves::Always } else { Moves::AsWritten };
    let (mut passed, mut failed, mut moved) = (0_u32, 0_u32, 0_u32);
    for path in &words.cases {
        let text = files::read(path)?;
        let cases = Cases::parse(&text).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            Advice::wrong(what, "docs/guide/statecharts.md says what a line may be")
        })?;
        for case in cases.all() {
            let outcome = case.play(&chart, moves);
            moved += outcome.moves;
            match &outcome.failure {
                None => passed += 1,
                Some(failure) => {
                    failed += 1;
                    let (path, line) = (path.display(), failure.line);
                    output::say(&format!("{path}:{line}: {}: {}", outcome.name, failure.what));
                }
            }
        }
    }
    output::say(&format!("{passed} passed, {failed} failed, {moved} moves"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}
