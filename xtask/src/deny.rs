//! Decides whether what this workspace is built from may be used: licences, sources, banned crates, advisories.
//!
//! The rules are in `deny.toml` and cargo-deny applies them. Where it is not installed the licences are
//! checked here, by the same list, and the rest is said loudly not to have run; likewise the advisories where
//! their database cannot be fetched. What did not run is no failure, and no proof.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::tools;
use crate::tree::Tree;

/// What cargo-deny says when it has no database of advisories.
const NO_DATABASE: &str = "failed to fetch advisory database";

pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("deny takes no arguments");
    }
    if !tools::has_subcommand(tree, "deny") {
        licences(tree)?;
        not_run(
            "bans, sources, advisories",
            "cargo-deny is not installed: cargo install cargo-deny --locked",
        );
        return Ok(());
    }
    tools::run_cargo(tree, &["deny", "--locked", "check", "licenses", "bans", "sources"])?;
    let mut advisories = tools::cargo(tree);
    advisories.args(["deny", "--locked", "check", "advisories"]);
    let output = advisories.output().context("could not start cargo deny")?;
    let said = String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    match output.status.success() {
        true => Ok(()),
        false if said.contains(NO_DATABASE) => {
            not_run("advisories", "their database could not be fetched");
            Ok(())
        }
        false => bail!("advisories: see above"),
    }
}

fn not_run(what: &str, why: &str) {
    println!("!!! NOT RUN: {what}: {why}");
}

/// Whether the licence of each crate that is built is among those of `deny.toml`.
fn licences(tree: &Tree) -> Result<()> {
    let allowed = allowed(&fs::read_to_string(tree.root().join("deny.toml"))?)?;
    let mut list = tools::cargo(tree);
    list.args(
        "tree --locked --workspace --prefix none -e normal,build,dev --format {p}|{l}".split(' '),
    );
    let output = list.output().context("could not start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: BTreeSet<&str> = text.lines().filter(|line| line.contains('|')).collect();
    let refused: Vec<&&str> =
        lines.iter().filter(|line| !line_is_allowed(line, &allowed)).collect();
    if !refused.is_empty() {
        bail!("licences that deny.toml does not allow: {refused:?}");
    }
    println!("licences of {} crates are allowed by deny.toml", lines.len());
    Ok(())
}

fn line_is_allowed(line: &str, allowed: &BTreeSet<String>) -> bool {
    let licence = line.rsplit_once('|').map_or("", |(_, licence)| licence.trim_end_matches(" (*)"));
    is_allowed(licence, allowed)
}

fn allowed(text: &str) -> Result<BTreeSet<String>> {
    let table: Table = text.parse().context("could not parse deny.toml")?;
    let list = table.get("licenses").and_then(|it| it.get("allow")).and_then(Value::as_array);
    let list = list.context("deny.toml has no licenses.allow")?;
    Ok(list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

/// Whether an SPDX expression can be met with what is allowed. An older form has `/` for `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allowed);
    met && rest.is_empty()
}

fn any(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all(rest, allowed);
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        met |= all(rest, allowed);
    }
    met
}

fn all(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(rest, allowed);
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((word, after)) = rest.split_first() else { return false };
    *rest = after;
    if *word == "(" {
        let met = any(rest, allowed);
        let closed = rest.first() == Some(&")");
        *rest = rest.get(1..).unwrap_or_default();
        return met && closed;
    }
    let mut name = (*word).to_owned();
    if let ["WITH", exception, after @ ..] = *rest {
        name = format!("{name} WITH {exception}");
        *rest = after;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_by_what_is_allowed_and_by_nothing_else() {
        let names = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
        let allowed = names.map(ToOwned::to_owned).into();
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "MIT AND ISC",
            "(MIT OR GPL-3.0) AND ISC",
            "GPL-3.0 OR Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "MIT ISC", "MIT AND", "OR MIT"]
        {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_list_is_that_of_cargo_deny() {
        let text = "[licenses]\nallow = [\"MIT\", \"ISC\"]\n";
        assert_eq!(allowed(text).unwrap().len(), 2);
        assert!(allowed("[licenses]\n").is_err());
    }
}
