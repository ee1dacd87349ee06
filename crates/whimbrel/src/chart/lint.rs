//! Decides how findings about a chart are said, each with its place in the file.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use whimbrel_statechart::lint::{Lint, lint};

use super::files;
use crate::failure::UNSUCCESSFUL;
use crate::output;

/// Looks through files; 1 if there is something to say.
pub(super) fn run(paths: &[std::path::PathBuf], as_json: bool) -> Result<ExitCode> {
    let mut all = Vec::new();
    for path in paths {
        let source = files::source(path)?;
        let chart = files::chart(path, files::definition(path)?)?;
        for found in lint(&chart) {
            let at = source.position(&found.pointer);
            all.push((path.as_path(), at, found));
        }
    }
    all.sort_by(|one, two| (one.0, one.1).cmp(&(two.0, two.1)));
    if as_json {
        let lines: Vec<_> = all
            .iter()
            .map(|(path, at, found)| {
                json!({
                    "file": path.display().to_string(), "line": at.map(|at| at.line),
                    "column": at.map(|at| at.column), "rule": found.rule, "element": found.element,
                    "pointer": found.pointer, "what": found.what,
                })
            })
            .collect();
        output::say(&format!("{:#}", json!(lines)));
    } else {
        all.iter().for_each(|(path, at, found)| tell(path, *at, found));
    }
    Ok(if all.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}

fn tell(path: &Path, at: Option<whimbrel_statechart::Position>, found: &Lint) {
    let at = at.map(|at| format!(":{at}")).unwrap_or_default();
    output::say(&format!("{}{at}: {found}", path.display()));
}
