//! Decides whether a link in a Markdown file leads somewhere in the repository.
//!
//! Links with a scheme are left to the reader: the gate needs no network.

use std::collections::BTreeSet;

use crate::finding::Finding;

/// Every relative link to a file or folder that the repository does not have.
pub(super) fn findings(path: &str, text: &str, files: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if start.starts_with("```") || start.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            if !leads_somewhere(path, &target, files) {
                let message = format!("the link '{target}' leads nowhere");
                findings.push(Finding::at_line(path, number + 1, message));
            }
        }
    }
    findings
}

/// What the links of a line point at: `[text](target)` and `[name]: target`.
fn targets(line: &str) -> Vec<String> {
    // What stands between backquotes is an example.
    let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let mut targets: Vec<&str> = Vec::new();
    for after in line.split("](").skip(1) {
        let end = after.find(')').unwrap_or(after.len());
        targets.push(&after[..end]);
    }
    if line.starts_with('[')
        && let Some((_, after)) = line.split_once("]: ")
    {
        targets.push(after);
    }
    // A title may follow the address.
    let addresses = targets.iter().filter_map(|target| target.split_whitespace().next());
    addresses.map(|address| address.trim_matches(['<', '>']).to_owned()).collect()
}

fn leads_somewhere(path: &str, target: &str, files: &BTreeSet<String>) -> bool {
    let address = target.split(['#', '?']).next().unwrap_or_default();
    if address.is_empty() || address.contains("://") || address.starts_with("mailto:") {
        return true;
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in address.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                if names.pop().is_none() {
                    return false;
                }
            }
            name => names.push(name),
        }
    }
    let wanted = names.join("/");
    if wanted.is_empty() || files.contains(&wanted) {
        return true;
    }
    let inside = format!("{wanted}/");
    files.range(inside.clone()..).next().is_some_and(|file| file.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        let files = ["README.md", "docs/guide.md", "docs/decisions/one.md"];
        let files = files.iter().map(|path| (*path).to_owned()).collect();
        findings("docs/guide.md", text, &files).len()
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        assert_eq!(found("see [this](missing.md) and [that](../docs/gone.md#part)"), 2);
        assert_eq!(found("[name]: missing.md"), 1);
        assert_eq!(found("[out](../../elsewhere.md)"), 1);
        assert_eq!(found("![picture](mesh.svg \"a title\")"), 1);
    }

    #[test]
    fn a_link_that_leads_somewhere_is_left_alone() {
        assert_eq!(found("[a](../README.md) [b](decisions) [c](decisions/) [d](./guide.md#x)"), 0);
        assert_eq!(found("[a](https://example.org/x.md) [b](#part) [c](mailto:a@example.org)"), 0);
        assert_eq!(found("`[a](missing.md)`\n```\n[a](missing.md)\n```"), 0);
    }
}
