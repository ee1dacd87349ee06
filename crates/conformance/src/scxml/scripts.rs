//! Decides how hand-written scripts are run: each names the states that are to be active after
//! each of its events.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use whimbrel_statechart::scxml::{Surroundings, import_with_places};
use whimbrel_statechart::{Event, Value};

use super::drive::{Driver, Moves};
use super::ecmascript::EcmaScript;
use crate::table::{Outcome, Part};

/// Scripts that people wrote by hand in the package.
const HAND_WRITTEN: usize = 127;

/// Scripts that are known to fail, and why.
const SHORTFALLS: [(&str, &str); 1] = [(
    "error/error.json",
    "an error says its line and column, but the script asks by `typeof`, which is not translated",
)];

/// The folder of those that were made from the W3C's documents, which are run by themselves.
const FROM_W3C: &str = "w3c-ecma";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Script {
    #[serde(flatten)]
    story: Story,
    /// What an older reading of the Recommendation gives. Where a script has both, the suite takes
    /// either for right, and so does this run; it says which were passed by the older one.
    legacy_semantics: Option<Story>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Story {
    initial_configuration: Vec<String>,
    events: Vec<Expectation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expectation {
    #[serde(default)]
    after: u64,
    event: Named,
    next_configuration: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    data: Option<Value>,
}

pub(super) fn run(folder: &Path, only: Option<&str>, moves: Moves) -> Result<Vec<Part>> {
    let expected = only.is_none().then_some(HAND_WRITTEN);
    let mut part = Part::new(moves.name("hand-written scripts"), expected);
    let mut legacy = Vec::new();
    for path in scripts(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let (name, outcome) = match outcome(&path, moves, &mut part.moves) {
            Ok(Reading::First) => (name, Outcome::Passed),
            Ok(Reading::Legacy) => {
                legacy.push(name.clone());
                (name, Outcome::Passed)
            }
            Err(error) => {
                let known = SHORTFALLS.iter().find(|(known, _)| *known == name);
                let failed = || Outcome::Failed(format!("{error:#}"));
                (name, known.map_or_else(failed, |(_, why)| Outcome::Known(why)))
            }
        };
        part.add(name, outcome);
    }
    if !legacy.is_empty() {
        part.note = format!("by their \"legacySemantics\": {}", legacy.join(", "));
    }
    Ok(vec![part])
}

fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for group in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let group = group?.path();
        if !group.is_dir() || group.file_name().is_some_and(|name| name == FROM_W3C) {
            continue;
        }
        for file in fs::read_dir(&group)? {
            let file = file?.path();
            if file.extension().is_some_and(|end| end == "json") {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// By which of its expectations a script was passed.
enum Reading {
    First,
    Legacy,
}

fn outcome(path: &Path, moves: Moves, moved: &mut u64) -> Result<Reading> {
    let script: Script = serde_json::from_str(&fs::read_to_string(path)?)?;
    let error = match tell(path, &script.story, moves) {
        Ok(count) => {
            *moved += count;
            return Ok(Reading::First);
        }
        Err(error) => error,
    };
    match &script.legacy_semantics {
        Some(story) => {
            *moved += tell(path, story, moves).map_err(|_| error)?;
            Ok(Reading::Legacy)
        }
        None => Err(error),
    }
}

fn tell(path: &Path, story: &Story, moves: Moves) -> Result<u64> {
    let text = fs::read_to_string(path.with_extension("scxml"))?;
    let folder = path.parent().unwrap_or(path);
    let load = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let language = EcmaScript::default();
    let around = Surroundings { language: &language, load: &load, library: &BTreeMap::new() };
    let mut driver = Driver::start(import_with_places(&text, &around)?, moves)?;
    expect(&driver, &story.initial_configuration, "at the beginning")?;
    for (place, step) in story.events.iter().enumerate() {
        driver.wait(Duration::from_millis(step.after))?;
        let data = step.event.data.clone().unwrap_or(Value::Null);
        driver.hear(Event::new(step.event.name.as_str(), data))?;
        let what = format!("after event {} ({})", place + 1, step.event.name);
        expect(&driver, &step.next_configuration, &what)?;
    }
    Ok(driver.moved)
}

fn expect(driver: &Driver, expected: &[String], when: &str) -> Result<()> {
    let found: BTreeSet<&str> = driver.instance().leaves().collect();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    if found != expected {
        bail!("{when}: {found:?} instead of {expected:?}");
    }
    Ok(())
}
