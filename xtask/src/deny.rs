//! Decides whether what this workspace is built from may be used: licences, sources, banned crates, advisories.
//!
//! The rules are in `deny.toml` and cargo-deny applies them. Where it is not installed the licences are
//! checked here, by the same list, and the rest is said loudly not to have run; likewise the advisories where
//! their database cannot be fetched. What did not run is no failure, and no proof.

use std::collections::{BTreeMap, BTreeSet};
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
    let (allowed, exceptions) = allowed(&fs::read_to_string(tree.root().join("deny.toml"))?)?;
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
        lines.iter().filter(|line| !line_is_allowed(line, &allowed, &exceptions)).collect();
    if !refused.is_empty() {
        bail!("licences that deny.toml does not allow: {refused:?}");
    }
    println!("licences of {} crates are allowed by deny.toml", lines.len());
    Ok(())
}

/// Whether the licence of a crate, `name version|licence`, is allowed for all or for it.
fn line_is_allowed(
    line: &str,
    allowed: &BTreeSet<String>,
    exceptions: &BTreeMap<String, BTreeSet<String>>,
) -> bool {
    let (package, licence) = line.rsplit_once('|').unwrap_or_default();
    let licence = licence.trim_end_matches(" (*)");
    let own = package.split(' ').next().and_then(|name| exceptions.get(name));
    is_allowed(licence, allowed)
        || own.is_some_and(|own| is_allowed(licence.trim_end_matches('+'), own))
}

type Names = BTreeSet<String>;

/// What is allowed for all, and what besides for single crates.
fn allowed(text: &str) -> Result<(Names, BTreeMap<String, Names>)> {
    let table: Table = text.parse().context("could not parse deny.toml")?;
    let licences = table.get("licenses").context("deny.toml has no licenses")?;
    let names = |it: Option<&Value>| -> Option<Names> {
        let list = it.and_then(Value::as_array)?;
        Some(list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
    };
    let all = names(licences.get("allow")).context("deny.toml has no licenses.allow")?;
    let exceptions = licences.get("exceptions").and_then(Value::as_array);
    let exception =
        |it: &Value| Some((it.get("crate")?.as_str()?.to_owned(), names(it.get("allow"))?));
    Ok((all, exceptions.into_iter().flatten().filter_map(exception).collect()))
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
        let text = "[licenses]\nallow = [\"MIT\", \"ISC\"]\n\
                    exceptions = [{ allow = [\"MPL-2.0\"], crate = \"foca\" }]\n";
        let (all, exceptions) = allowed(text).unwrap();
        assert_eq!((all.len(), exceptions.len()), (2, 1));
        let is_good = |line: &str| line_is_allowed(line, &all, &exceptions);
        assert!(is_good("a v1|MIT") && is_good("foca v2|MPL-2.0") && is_good("foca v2|MPL-2.0+"));
        assert!(!is_good("a v1|MPL-2.0") && !is_good("foca v2|GPL-3.0"));
        assert!(allowed("[licenses]\n").is_err());
    }
}
