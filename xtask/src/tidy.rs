//! Decides what a file of the repository may contain.
//!
//! Reads text only, so that it also judges code that does not compile. Each rule is a function
//! from the content of one file to its findings, in the module that is named after what it looks
//! at; this module brings rules and files together.

mod invariants;
mod links;
mod ratchet;
mod rust;
mod settings;
mod source;
mod strings;

use std::collections::BTreeSet;

use anyhow::Result;

use crate::finding::Finding;
use crate::tree::Tree;
use ratchet::Ratchet;
use source::Source;

/// Every place that breaks a rule.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let files = tree.files()?;
    let sources = sources(tree, &files)?;
    let mut findings = Vec::new();
    for path in &files {
        let Some(text) = tree.text(path)? else { continue };
        findings.extend(strings::findings(path, &text));
        if path.ends_with(".md") {
            findings.extend(links::findings(path, &text, &files));
        }
    }
    for source in &sources {
        findings.extend(rust::findings(source));
    }
    findings.extend(invariants::findings(&sources));
    findings.extend(read_ratchet(tree)?.findings(&ratchet::long_functions(&sources)));
    findings.extend(settings::findings(tree, &files)?);
    Ok(findings)
}

/// Lowers the listed sizes of long functions to what they are; never raises or adds one.
pub(crate) fn lower_ratchet(tree: &Tree) -> Result<()> {
    let sources = sources(tree, &tree.files()?)?;
    let ratchet = read_ratchet(tree)?;
    let lowered = ratchet.lowered(&ratchet::long_functions(&sources));
    if lowered != ratchet {
        tree.write(ratchet::PATH, &lowered.to_string())?;
    }
    Ok(())
}

fn sources(tree: &Tree, files: &BTreeSet<String>) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        if let Some(text) = tree.text(path)? {
            sources.push(Source::read(path, &text));
        }
    }
    Ok(sources)
}

fn read_ratchet(tree: &Tree) -> Result<Ratchet> {
    match tree.root().join(ratchet::PATH).is_file() {
        true => Ratchet::parse(&tree.text(ratchet::PATH)?.unwrap_or_default()),
        false => Ok(Ratchet::default()),
    }
}
