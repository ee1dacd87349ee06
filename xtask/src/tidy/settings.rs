//! Decides whether settings that must stand in two places agree.
//!
//! A `clippy.toml` in a crate replaces the one in the root, so it has to repeat what the root says.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use toml::Table;

use crate::finding::Finding;
use crate::tree::Tree;

const ROOT: &str = "clippy.toml";

/// Every setting of the root that a crate's own file drops or changes.
pub(super) fn findings(tree: &Tree, files: &BTreeSet<String>) -> Result<Vec<Finding>> {
    let read = |path: &str| -> Result<Table> {
        let text = tree.text(path)?.unwrap_or_default();
        text.parse().with_context(|| format!("could not parse {path}"))
    };
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| path.ends_with("/clippy.toml")) {
        findings.extend(differences(path, &read(path)?, &read(ROOT)?));
    }
    Ok(findings)
}

fn differences(path: &str, own: &Table, root: &Table) -> Vec<Finding> {
    let dropped = root.iter().filter(|(key, value)| own.get(*key) != Some(value));
    dropped
        .map(|(key, value)| {
            Finding::of_file(path, format!("must repeat {key} = {value} of the root"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_root_that_a_crate_drops_is_found() {
        let root: Table = "a = true\nb = true".parse().unwrap();
        let own: Table = "a = true\nb = false\nc = 1".parse().unwrap();
        let said = Finding::of_file("x/clippy.toml", "must repeat b = true of the root");
        assert_eq!(differences("x/clippy.toml", &own, &root), vec![said]);
        assert_eq!(differences("x/clippy.toml", &root, &root), vec![]);
    }
}
