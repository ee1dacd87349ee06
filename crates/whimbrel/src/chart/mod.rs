//! Decides what can be said about statecharts from files, and what of a daemon can be drawn.

mod cases;
mod files;
mod fleet;
pub(crate) mod gate;
mod lint;
mod picture;
mod render;
mod simulate;
mod versions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use whimbrel_statechart::evolution::{Direction, PLAN_FORMAT, Plan, Profile, Rule};

use crate::failure::Advice;
use crate::output;
use crate::words::Place;

/// What can be done with a statechart alone.
#[derive(Debug, Subcommand)]
pub(crate) enum ChartWords {
    /// Read a statechart and say whether it is legal.
    Check {
        /// A definition: the JSON form, or SCXML.
        file: PathBuf,
    },
    /// Turn SCXML into the JSON form, with an id for everything.
    Import {
        /// An SCXML document whose expressions are those of the form.
        file: PathBuf,
        /// Where the definition goes; without it, the standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Turn a statechart into SCXML.
    Export {
        /// A definition: the JSON form, or SCXML.
        file: PathBuf,
        /// Where the document goes; without it, the standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say what in statecharts is legal and surely not meant, with the rule and the line. Exit code 1
    /// if there is something.
    Lint {
        /// Definitions: the JSON form, or SCXML.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Say it in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Draw a statechart, with what of an instance is alive.
    Render(render::RenderWords),
    /// Say what differs between two versions, and draw it. Exit code 1 if something does.
    Diff(render::DiffWords),
    /// Play tests of a statechart. Exit code 1 if one fails.
    Test(cases::TestWords),
    /// Run a statechart by hand: events come, time passes, and it is told what follows.
    Simulate(simulate::SimulateWords),
    /// Judge the versions of a definition, the oldest first, for any instance there can be.
    Versions(versions::VersionsWords),
}

/// How strict a judgement is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strictness {
    /// Only what nobody can tell apart passes.
    Strict,
    /// That, and what misreads nothing.
    #[default]
    Standard,
    /// That, and what has a safe way.
    Guided,
}

impl From<Strictness> for Profile {
    fn from(strictness: Strictness) -> Self {
        match strictness {
            Strictness::Strict => Self::Strict,
            Strictness::Standard => Self::Standard,
            Strictness::Guided => Self::Guided,
        }
    }
}

/// Which way instances go between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// From older versions to newer ones.
    Backward,
    /// From newer versions to older ones.
    Forward,
    /// Both.
    Full,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Backward => Self::Backward,
            Way::Forward => Self::Forward,
            Way::Full => Self::Full,
        }
    }
}

/// What whoever asks for a move agrees to, as the daemon is told it; none if that is nothing.
pub(crate) fn terms(plan: Option<&Path>, consents: &[String]) -> Result<Option<String>> {
    if plan.is_none() && consents.is_empty() {
        return Ok(None);
    }
    let none = Plan { format: PLAN_FORMAT, ..Plan::default() };
    let mut plan = plan.map_or(Ok(none), files::plan)?;
    plan.consents.append(&mut rules(consents)?);
    Ok(Some(serde_json::to_string(&plan)?))
}

/// Rules by their ids.
fn rules(ids: &[String]) -> Result<BTreeSet<Rule>> {
    let rule = |id: &String| {
        let unknown = || Advice::wrong(format!("there is no rule {id}"), "see docs/gate.md");
        Rule::of(id).ok_or_else(unknown)
    };
    ids.iter().map(rule).collect()
}

/// Does what was said.
pub(crate) async fn run(place: &Place, words: ChartWords) -> Result<ExitCode> {
    match words {
        ChartWords::Check { file } => {
            let definition = files::definition(&file)?;
            let id = definition.id.clone();
            let digest = files::chart(&file, definition)?.definition().digest();
            output::say(&format!("{id} is legal: {digest}"));
        }
        ChartWords::Import { file, output } => {
            let definition = files::definition(&file)?.with_ids();
            files::chart(&file, definition.clone())?;
            let text = serde_json::to_string_pretty(&definition)?;
            files::put(output.as_deref(), &text)?;
        }
        ChartWords::Export { file, output } => {
            let definition = files::definition(&file)?;
            files::chart(&file, definition.clone())?;
            let text = whimbrel_statechart::scxml::export(&definition)
                .map_err(|error| files::wrong(&file, &error))?;
            files::put(output.as_deref(), text.trim_end())?;
        }
        ChartWords::Lint { files, json } => return lint::run(&files, json),
        ChartWords::Render(words) => return render::render(place, &words).await,
        ChartWords::Diff(words) => return render::diff(&words),
        ChartWords::Test(words) => return cases::run(&words),
        ChartWords::Simulate(words) => return simulate::run(&words),
        ChartWords::Versions(words) => return versions::run(words),
    }
    Ok(ExitCode::SUCCESS)
}
