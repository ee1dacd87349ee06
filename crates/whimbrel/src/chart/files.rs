//! Decides how definitions, checkpoints and plans are read from files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use whimbrel_statechart::evolution::Plan;
use whimbrel_statechart::scxml::{Ours, Surroundings, import};
use whimbrel_statechart::{Chart, Checkpoint, Definition, Source};

use crate::failure::Advice;
use crate::output;

/// A definition: SCXML if the file begins like XML, else the JSON form.
pub(super) fn definition(path: &Path) -> Result<Definition> {
    let text = read(path)?;
    if !is_xml(&text) {
        return serde_json::from_str(&text).map_err(|error| wrong(path, &error));
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let load = |name: &str| {
        // Only what lies beside the document.
        let name = name.strip_prefix("file:").unwrap_or(name);
        let plain = Path::new(name).components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
        });
        plain.then(|| std::fs::read_to_string(folder.join(name)).ok()).flatten()
    };
    let library = BTreeMap::new();
    let around = Surroundings { language: &Ours, load: &load, library: &library };
    import(&text, &around).map_err(|error| wrong(path, &error))
}

fn is_xml(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

/// The chart of a definition. What is wrong with it is told with line and column.
pub(super) fn chart(path: &Path, definition: Definition) -> Result<Chart> {
    Chart::new(definition).map_err(|error| {
        let at = source(path).ok().and_then(|source| source.position_of(&error));
        let at = at.map(|at| format!(":{at}")).unwrap_or_default();
        let what = format!("{}{at}: {error}", path.display());
        Advice::wrong(what, "see docs/guide/statecharts.md for what a definition may say")
    })
}

/// Where the parts of a definition stand in its file.
pub(super) fn source(path: &Path) -> Result<Source> {
    let text = read(path)?;
    Ok(if is_xml(&text) { Source::of_scxml(&text) } else { Source::of_json(&text) })
}

/// A checkpoint.
pub(super) fn checkpoint(path: &Path) -> Result<Checkpoint> {
    Checkpoint::from_json(&read(path)?).map_err(|error| wrong(path, &error))
}

/// A plan.
pub(super) fn plan(path: &Path) -> Result<Plan> {
    Plan::from_json(&read(path)?).map_err(|error| wrong(path, &error))
}

/// Writes a file, or says the text where none is named.
pub(super) fn put(path: Option<&Path>, text: &str) -> Result<()> {
    match path {
        Some(path) => write(path, text)?,
        None => output::say(text),
    }
    Ok(())
}

/// Writes a file.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, format!("{text}\n")).map_err(|error| wrong(path, &error))
}

pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| wrong(path, &error))
}

/// A file that is not what it should be.
pub(super) fn wrong(path: &Path, error: &dyn std::error::Error) -> anyhow::Error {
    let what = format!("{}: {error}", path.display());
    Advice::wrong(what, "see docs/gate.md for what each file holds")
}
