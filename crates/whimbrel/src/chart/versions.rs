//! Decides how all versions of a definition are judged at once.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use whimbrel_statechart::evolution::{Settings, Versions};

use super::{Strictness, Way, files};
use crate::failure::UNSUCCESSFUL;
use crate::output;

/// Which versions are judged.
#[derive(Args, Debug)]
pub(crate) struct VersionsWords {
    /// Definitions, the oldest first.
    #[arg(required = true, num_args = 2..)]
    files: Vec<PathBuf>,
    /// Which way instances go.
    #[arg(long, value_enum, default_value = "backward")]
    direction: Way,
    /// Each with all later ones, not with the next alone.
    #[arg(long)]
    transitive: bool,
    /// What passes.
    #[arg(long, value_enum, default_value_t)]
    profile: Strictness,
    /// Say it in JSON.
    #[arg(long)]
    json: bool,
}

/// Judges them; ends with 0 if all pass, else with 1.
pub(super) fn run(words: VersionsWords) -> Result<ExitCode> {
    let mut charts = Vec::new();
    for path in &words.files {
        charts.push(Arc::new(files::chart(path, files::definition(path)?)?));
    }
    let settings = Settings { profile: words.profile.into(), ..Settings::default() };
    let versions = Versions::new(charts);
    let steps = versions.judge(words.direction.into(), words.transitive, &settings);
    let steps = steps.map_err(|error| files::wrong(&words.files[0], &error))?;
    let name = |place: usize| words.files[place].display().to_string();
    if words.json {
        let steps = steps.iter().map(
            |step| json!({ "from": name(step.from), "to": name(step.to), "report": step.report }),
        );
        output::say(&format!("{:#}", json!(steps.collect::<Vec<_>>())));
    } else {
        for step in &steps {
            let (from, to) = (name(step.from), name(step.to));
            output::say(format!("{from} to {to}: {}", step.report).trim_end());
        }
    }
    let passes = steps.iter().all(|step| step.report.passes);
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}
