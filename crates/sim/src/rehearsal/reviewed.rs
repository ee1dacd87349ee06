//! Decides whether the plans of a folder come out as they were reviewed: each twice, to the same byte.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Overrides, Plan, rehearse};

/// Where the reviewed reports lie, beside the plans.
const EXPECTED_FOLDER: &str = "expected";

/// Plays every plan of a folder, and writes the reports down if that is wanted.
///
/// # Errors
///
/// What differs, or cannot be read.
pub fn compare_all(folder: &Path, update: bool) -> Result<String, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder:?}: {error}\n"))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    paths.sort();
    let (mut report, mut bad) = (String::new(), false);
    for path in &paths {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let expected = folder.join(EXPECTED_FOLDER).join(format!("{name}.txt"));
        match compare(path, &expected, update) {
            // Writing to a string does not fail.
            Ok(what) => drop(writeln!(report, "{name}: {what}")),
            Err(what) => {
                bad = true;
                let _ = writeln!(report, "{name}: {what}");
            }
        }
    }
    if bad { Err(report) } else { Ok(report) }
}

fn compare(path: &Path, expected: &Path, update: bool) -> Result<&'static str, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let plan = Plan::parse(&text, Overrides::default()).map_err(|error| error.to_string())?;
    let (one, other) = (rehearse(&plan, true), rehearse(&plan, true));
    if one.trace != other.trace || one.report != other.report {
        return Err("the second run differs".to_owned());
    }
    if !one.report.is_good() {
        return Err(format!("it did not come out well\n{}", one.report));
    }
    let found = one.report.to_string();
    let known = std::fs::read_to_string(expected).unwrap_or_default();
    if found == known {
        return Ok("as expected");
    }
    if update {
        return match std::fs::write(expected, found) {
            Ok(()) => Ok("written"),
            Err(error) => Err(format!("could not write {}: {error}", expected.display())),
        };
    }
    let lines = known.lines().zip(found.lines()).enumerate();
    let first = lines.clone().find(|(_, (known, found))| known != found);
    Err(match first {
        Some((at, (known, found))) => {
            format!("line {} was {known:?} and is {found:?}; see --update", at + 1)
        }
        None => "the report has another length; see --update".to_owned(),
    })
}
