//! Decides how the W3C's documents are run: each says itself whether it passed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use roxmltree::Document;
use whimbrel_statechart::scxml::{Ours, Surroundings, import_with_places};
use whimbrel_statechart::{Definition, Effect};

use super::drive::{Driver, Moves};
use super::macros::translated;
use crate::table::{Outcome, Part};

/// Automated documents of mandatory assertions in the manifest.
const MANDATORY: usize = 161;

/// Optional documents by why they are left out.
const HTTP: &str = "needs the basic HTTP event processor";
const ECMASCRIPT: &str = "is about ECMAScript itself";
const XPATH: &str = "is about XPath, and not in the suite";
const MANUAL: &str = "is judged by a person";

struct Test {
    id: String,
    file: String,
    section: String,
    mandatory: bool,
    manual: bool,
}

pub(super) fn run(suite: &Path, only: Option<&str>, moves: Moves) -> Result<Vec<Part>> {
    let tests = manifest(&suite.join("manifest.xml"))?;
    let expected = only.is_none().then_some(MANDATORY);
    let mut mandatory = Part::new(moves.name("W3C SCXML, mandatory"), expected);
    let mut optional = Part::new(moves.name("W3C SCXML, optional"), None);
    for test in tests {
        let name = format!("{} ({})", test.file, test.section);
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let part = if test.mandatory { &mut mandatory } else { &mut optional };
        let outcome = match left_out(&test) {
            Some(why) => Outcome::Skipped(why),
            None => match outcome(&suite.join("txml"), &test, moves) {
                Ok(moved) => {
                    part.moves += moved;
                    Outcome::Passed
                }
                Err(error) => Outcome::Failed(format!("{error:#}")),
            },
        };
        part.add(name, outcome);
    }
    Ok(vec![mandatory, optional])
}

fn left_out(test: &Test) -> Option<&'static str> {
    if test.manual {
        return Some(MANUAL);
    }
    if test.mandatory {
        return None;
    }
    [("C.2", ECMASCRIPT), ("C.3", XPATH), ("D.2", HTTP)]
        .into_iter()
        .find(|(section, _)| test.section.starts_with(section) || is_http(section, test))
        .map(|(_, why)| why)
}

/// One document of another section needs the same processor.
fn is_http(section: &str, test: &Test) -> bool {
    section == "D.2" && test.id == "201"
}

fn manifest(path: &Path) -> Result<Vec<Test>> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let document = Document::parse(&text)?;
    let mut tests = Vec::new();
    for assertion in document.descendants().filter(|node| node.has_tag_name("assert")) {
        let section = assertion.attribute("specnum").unwrap_or_default().to_owned();
        for test in assertion.children().filter(|node| node.has_tag_name("test")) {
            for start in test.children().filter(|node| node.has_tag_name("start")) {
                let uri = start.attribute("uri").unwrap_or_default();
                tests.push(Test {
                    id: test.attribute("id").unwrap_or_default().to_owned(),
                    file: uri.rsplit('/').next().unwrap_or(uri).to_owned(),
                    section: section.clone(),
                    mandatory: test.attribute("conformance") == Some("mandatory"),
                    manual: test.attribute("manual") == Some("true"),
                });
            }
        }
    }
    Ok(tests)
}

/// How often it was moved, if it passed.
fn outcome(folder: &Path, test: &Test, moves: Moves) -> Result<u64> {
    let mut driver = Driver::start(read(folder, test)?, moves)?;
    driver.finish()?;
    let outcome = driver.said.iter().rev().find_map(|effect| {
        let Effect::Log { label: Some(label), value, .. } = effect else { return None };
        if &**label == "Outcome" { value.as_text().map(str::to_owned) } else { None }
    });
    match outcome.as_deref() {
        Some("pass") => Ok(driver.moved),
        Some(other) => bail!("it says {other}"),
        None => {
            let leaves: Vec<&str> = driver.instance().leaves().collect();
            bail!("it stays in {}", leaves.join(" "))
        }
    }
}

fn read(folder: &Path, test: &Test) -> Result<Definition> {
    let load = |name: &str| {
        let name = name.strip_prefix("file:").unwrap_or(name);
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let file = folder.join(name.replace(".scxml", ".txml"));
        let text = fs::read_to_string(file).ok()?;
        if name.ends_with(".scxml") { translated(&text).ok() } else { Some(text) }
    };
    let mut library = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!("test{}sub", test.id)) {
            let name = format!("file:{}", name.replace(".txml", ".scxml"));
            let text = load(&name).ok_or_else(|| anyhow!("{name} is not there"))?;
            library.insert(name, text);
        }
    }
    let path = folder.join(test.file.replace(".xml", ".txml"));
    let path = path.with_extension("txml");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let around = Surroundings { language: &Ours, load: &load, library: &library };
    Ok(import_with_places(&translated(&text)?, &around)?)
}
