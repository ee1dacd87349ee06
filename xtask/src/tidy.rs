//! Decides what a file of the repository may contain.
//!
//! Reads text only, so that it also judges code that does not compile. Each rule is a function
//! from the content of one file to its findings, in the module that is named after what it looks
//! at; this module brings rules and files together.

mod invariants;
mod links;
mod proofs;
mod ratchet;
mod rust;
mod settings;
mod source;
mod strings;

use std::collections::BTreeSet;

use anyhow::Result;

use crate::finding::Finding;
use crate::tree::Tree;
use proofs::Proofs;
use ratchet::Ratchet;
use source::Source;

/// Every place that breaks a rule.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let files = tree.files()?;
    let sources = sources(tree, &files)?;
    let proofs = Proofs::of(&sources);
    let mut findings = Vec::new();
    for path in &files {
        let Some(text) = tree.text(path)? else { continue };
        findings.extend(strings::findings(path, &text));
        if path.ends_with(".md") {
            findings.extend(links::findings(path, &text, &files));
            findings.extend(proofs.findings(path, &text));
        }
    }
    for source in &sources {
        findings.extend(rust::findings(source));
    }
    findings.extend(invariants::findings(&sources));
    if files.contains(Proofs::guide()) {
        let guide = tree.text(Proofs::guide())?;
        findings.extend(proofs.reasons(&sources, guide.as_deref()));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::scratch::Scratch;

    #[test]
    fn every_rule_is_asked_about_every_file() {
        let long = format!("//! Decides.\nfn go() {{\n{}}}\n", "    x();\n".repeat(80));
        let outside = ["see /wo", "rk/place"].concat();
        let scratch = Scratch::new(&[
            ("bad/opening.rs", "fn a() {}"),
            ("bad/claim.rs", "//! Decides.\n//!\n//! # Invariants\n//!\n//! * D1 (one owner): so."),
            ("bad/long.rs", &long),
            ("bad/link.md", "[a](gone.md)"),
            ("bad/proof.md", "| case | test |\n|---|---|\n| a | `gone` |"),
            ("bad/outside.txt", &outside),
            ("clippy.toml", "allow-unwrap-in-tests = true"),
            ("bad/clippy.toml", "disallowed-types = []"),
            ("good/a.rs", "//! Decides.\nfn a() {}"),
            ("good/a.md", "[a](a.rs)"),
            ("good/clippy.toml", "allow-unwrap-in-tests = true\ndisallowed-types = []"),
        ]);
        let mut findings = check(&scratch.tree).unwrap();
        findings.sort();
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let wanted = [
            "bad/claim.rs:5: invariant D1",
            "bad/clippy.toml: must repeat",
            "bad/link.md:1: the link",
            "bad/long.rs:2: bad/long.rs::go has 82 lines",
            "bad/opening.rs:1: the file does not open",
            "bad/outside.txt:1: names",
            "bad/proof.md:3: no test is called gone",
        ];
        assert_eq!(said.len(), wanted.len(), "{said:#?}");
        for (said, wanted) in said.iter().zip(wanted) {
            assert!(said.starts_with(wanted), "{said}");
        }
    }

    #[test]
    fn fix_lowers_the_list_on_disk_and_check_is_content_then() {
        let long = format!("//! Decides.\nfn go() {{\n{}}}\n", "    x();\n".repeat(80));
        let list = "a.rs::go = 90\na.rs::gone = 80\n";
        let scratch = Scratch::new(&[("a.rs", &long), ("clippy.toml", ""), (ratchet::PATH, list)]);
        assert_eq!(check(&scratch.tree).unwrap().len(), 2);
        lower_ratchet(&scratch.tree).unwrap();
        assert_eq!(check(&scratch.tree).unwrap(), vec![]);
        assert!(scratch.tree.text(ratchet::PATH).unwrap().unwrap().ends_with("a.rs::go = 82\n"));
    }
}
