//! Decides what is drawn: a chart, what of an instance is alive in it, or two versions of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value as Json;
use whimbrel_statechart::evolution::{Gate, Settings};
use whimbrel_statechart::{Chart, Checkpoint, Definition};

use super::picture::{self, Alive, Difference, Element, Lives};
use super::{files, fleet};
use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output;
use crate::words::Place;

/// What is drawn, and where to.
#[derive(Args, Debug)]
pub(crate) struct RenderWords {
    /// A definition: the JSON form, or SCXML. It may be left out with --checkpoint or --live.
    #[arg(required_unless_present_any = ["checkpoint", "live"])]
    file: Option<PathBuf>,
    /// Show what of an instance is alive.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "live"])]
    checkpoint: Option<PathBuf>,
    /// Show what of a daemon is alive, as the node has it.
    #[arg(long, value_name = "DAEMON", conflicts_with = "file")]
    live: Option<String>,
    /// Where the picture goes (SVG); without it, the standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What is compared.
#[derive(Args, Debug)]
pub(crate) struct DiffWords {
    /// The old version.
    old: PathBuf,
    /// The new version.
    new: PathBuf,
    /// Draw both, side by side and in colour (SVG).
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Show what of an instance of the old version is alive.
    #[arg(long, value_name = "FILE", requires = "svg")]
    checkpoint: Option<PathBuf>,
}

/// Draws.
pub(super) async fn render(place: &Place, words: &RenderWords) -> Result<ExitCode> {
    let (definition, lives) = match (&words.file, &words.checkpoint, &words.live) {
        (Some(file), _, _) => (known(file)?.definition().clone(), Lives::new()),
        (None, Some(file), _) => of_checkpoint(&files::checkpoint(file)?)?,
        (None, None, Some(daemon)) => of_checkpoint(&fleet::checkpoint(place, daemon).await?)?,
        (None, None, None) => return Err(Advice::wrong("nothing is to be drawn", "name a file")),
    };
    let drawn = picture::of_one(&definition, &lives);
    files::put(words.output.as_deref(), drawn.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Says what differs, and what the gate says to it; 1 if something differs.
pub(super) fn diff(words: &DiffWords) -> Result<ExitCode> {
    let (before, after) = (Arc::new(known(&words.old)?), Arc::new(known(&words.new)?));
    let (old, new) = (before.definition(), after.definition());
    let found = picture::differences(old, new);
    found.iter().for_each(|difference| output::say(&line(difference)));
    let gate = Gate::between(&before, &after).map_err(|error| files::wrong(&words.new, &error))?;
    let verdict = gate.judge_any(&Settings::default()).verdict;
    output::say(&format!("{} differences; for any instance: {verdict}", found.len()));
    if let Some(path) = &words.svg {
        let lives = match &words.checkpoint {
            Some(file) => of_checkpoint(&files::checkpoint(file)?)?.1,
            None => Lives::new(),
        };
        files::write(path, picture::of_two(old, new, &lives).trim_end())?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}

fn line(difference: &Difference) -> String {
    let chart: String = difference.chart.iter().map(|name| format!("{name}: ")).collect();
    let what = match &difference.element {
        Element::Chart => "the chart itself".to_owned(),
        Element::State(id) => format!("state {id}"),
        Element::Transition(id) => format!("transition {id}"),
        Element::Datum(id) => format!("data {id}"),
    };
    format!("{} {chart}{what}", difference.sign)
}

/// The chart of a file.
fn known(path: &Path) -> Result<Chart> {
    files::chart(path, files::definition(path)?)
}

/// What is alive, by the names of the checkpoint's own form.
fn of_checkpoint(checkpoint: &Checkpoint) -> Result<(Definition, Lives)> {
    let all: Json = serde_json::from_str(&checkpoint.to_json()?)?;
    let mut lives = Lives::new();
    for session in all["sessions"].as_array().context("a checkpoint has sessions")? {
        let texts = |name: &str| -> Vec<String> {
            let list = session[name].as_array().into_iter().flatten();
            list.filter_map(Json::as_str).map(str::to_owned).collect()
        };
        let alive: &mut Alive = lives.entry(texts("chart")).or_default();
        alive.states.extend(texts("configuration"));
        let timers = session["timers"].as_object().into_iter().flatten();
        alive.notes.extend(timers.map(|(_, timer)| {
            let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
            let (slot, event) = (text(&timer["slot"]), text(&timer["event"]["name"]));
            format!("timer {slot}: {event} at {}", timer["due"])
        }));
        for queue in ["internal", "external"] {
            let waiting = session[queue].as_array().map_or(0, Vec::len);
            if waiting > 0 {
                alive.notes.push(format!("{waiting} events wait in its {queue} queue"));
            }
        }
    }
    Ok(((*checkpoint.definition).clone(), lives))
}
