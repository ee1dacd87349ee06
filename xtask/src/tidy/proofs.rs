//! Decides whether a table that claims tests names tests that exist, and whether every reason for
//! which a move can fail has its row and a test that knows it.
//!
//! A table claims tests if its header has a cell that says `test`. Each name between backquotes in
//! that column must be a function that is marked as a test somewhere in the repository.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::Finding;

use super::source::{Source, Token};

/// Where the reasons are listed.
const REASONS: &str = "crates/wire/src/failure.rs";

/// The enum that lists them.
const REASON: &str = "MigrationFailureReason";

/// Where each has its row.
const GUIDE: &str = "docs/guide/failure-reasons.md";

/// The column with the names of tests.
const COLUMN: &str = "test";

/// A row of a table that claims tests.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    /// What stands between backquotes in its first cell.
    about: Vec<String>,
    tests: Vec<String>,
}

/// The tests of the repository by name, and the words in the body of each.
pub(super) struct Proofs(BTreeMap<String, BTreeSet<String>>);

impl Proofs {
    pub(super) fn of(sources: &[Source]) -> Self {
        let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in sources {
            for (at, pair) in source.tokens.windows(2).enumerate() {
                if pair[0].text == "fn" && is_marked(&source.tokens[..at]) {
                    let words = tests.entry(pair[1].text.clone()).or_default();
                    words.extend(body(&source.tokens[at..]));
                }
            }
        }
        Self(tests)
    }

    /// Every name that is no test, and every row that names none.
    pub(super) fn findings(&self, path: &str, text: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for row in rows(text) {
            if row.tests.is_empty() {
                findings.push(Finding::at_line(path, row.line, "the row names no test"));
            }
            for name in row.tests.iter().filter(|name| !self.0.contains_key(*name)) {
                findings.push(Finding::at_line(
                    path,
                    row.line,
                    format!("no test is called {name}"),
                ));
            }
        }
        findings
    }

    /// Every reason without a row, and every row whose tests do not know its reason.
    pub(super) fn reasons(&self, sources: &[Source], guide: Option<&str>) -> Vec<Finding> {
        let listed = sources.iter().find(|source| source.path == REASONS).map(variants);
        let (Some(listed), Some(guide)) = (listed, guide) else { return Vec::new() };
        let rows = rows(guide);
        let mut findings = Vec::new();
        for reason in listed {
            let Some(row) = rows.iter().find(|row| row.about.contains(&reason)) else {
                findings.push(Finding::of_file(GUIDE, format!("no row with a test for {reason}")));
                continue;
            };
            let knows = |name: &String| self.0.get(name).is_some_and(|body| body.contains(&reason));
            if !row.tests.iter().any(knows) {
                let message = format!("no test of this row speaks of {reason}");
                findings.push(Finding::at_line(GUIDE, row.line, message));
            }
        }
        findings
    }

    /// The page with the rows of the reasons.
    pub(super) const fn guide() -> &'static str {
        GUIDE
    }
}

/// Whether what stands before `fn` ends in an attribute that makes it a test.
fn is_marked(before: &[Token]) -> bool {
    let word = |token: &&Token| matches!(token.text.as_str(), "pub" | "async" | "const");
    let mut at = before.len() - before.iter().rev().take_while(word).count();
    while at > 0 && before[at - 1].text == "]" {
        let mut depth = 0_usize;
        let mut marked = false;
        while at > 0 {
            at -= 1;
            match before[at].text.as_str() {
                "]" => depth += 1,
                "[" => depth -= 1,
                // The first word of an attribute, or the last of its path, names it.
                "test" => marked = true,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        if marked {
            return true;
        }
        at = at.saturating_sub(1);
    }
    false
}

/// The words of the function that begins here.
fn body(tokens: &[Token]) -> BTreeSet<String> {
    let mut depth = 0_usize;
    let mut words = BTreeSet::new();
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            word => drop(words.insert(word.to_owned())),
        }
    }
    words
}

/// The variants of the enum of reasons.
fn variants(source: &Source) -> Vec<String> {
    let named = |pair: &[Token]| pair[0].text == "enum" && pair[1].text == REASON;
    let Some(start) = source.tokens.windows(2).position(named) else { return Vec::new() };
    let mut variants = Vec::new();
    let mut depth = 0_usize;
    for token in &source.tokens[start + 2..] {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            word if depth == 1 && word.starts_with(char::is_uppercase) => {
                variants.push(word.to_owned());
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    variants
}

/// The rows of all tables that claim tests.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut column = None;
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else {
            column = None;
            continue;
        };
        match column {
            None => column = Some(cells.iter().position(|cell| *cell == COLUMN)),
            Some(Some(column)) if !is_rule(&cells) => rows.push(Row {
                line: index + 1,
                about: cells.first().map(|cell| quoted(cell)).unwrap_or_default(),
                tests: cells.get(column).map(|cell| quoted(cell)).unwrap_or_default(),
            }),
            Some(_) => {}
        }
    }
    rows
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn is_rule(cells: &[&str]) -> bool {
    cells.iter().all(|cell| cell.chars().all(|sign| matches!(sign, '-' | ':')))
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "//! Decides.\n#[test]\nfn here() { let _ = Reason::Late; }\n\
        #[tokio::test(flavor = \"x\")]\nasync fn there() {}\nfn no_test() {}\n\
        #[expect(dead_code)]\nfn also_none(test: u8) {}";

    fn said(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_may_name_only_what_is_marked_as_a_test() {
        let proofs = Proofs::of(&[Source::read("a.rs", CODE)]);
        let table = |cell: &str| format!("| case | test |\n|---|---|\n| x | {cell} |\n");
        assert_eq!(proofs.findings("a.md", &table("`here`, `there`")), vec![]);
        for cell in ["`no_test`", "`also_none`", "`gone`"] {
            let findings = said(&proofs.findings("a.md", &table(cell)));
            assert_eq!(findings, [format!("a.md:3: no test is called {}", cell.trim_matches('`'))]);
        }
        let none = said(&proofs.findings("a.md", &table("by hand")));
        assert_eq!(none, ["a.md:3: the row names no test"]);
        // Other tables claim nothing.
        assert_eq!(proofs.findings("a.md", "| case | how |\n|---|---|\n| x | `gone` |\n"), vec![]);
    }

    #[test]
    fn a_reason_without_a_row_or_without_a_test_that_knows_it_is_found() {
        let listed = "//! Decides.\npub enum MigrationFailureReason {\n    #[error(\"x\")]\n    Late,\n    \
            Lost(String),\n    Tried { attempts: u8 },\n    Last,\n}\nimpl Other { fn f() -> Self { Self } }";
        let sources = [Source::read("a.rs", CODE), Source::read(REASONS, listed)];
        assert_eq!(variants(&sources[1]), ["Late", "Lost", "Tried", "Last"]);
        let proofs = Proofs::of(&sources);
        let guide = "| reason | test |\n|---|---|\n| `Late` | `here` |\n| `Lost` | `here` |\n\
            | `Tried` | `there` |\n";
        let wanted = [
            format!("{GUIDE}:4: no test of this row speaks of Lost"),
            format!("{GUIDE}:5: no test of this row speaks of Tried"),
            format!("{GUIDE}: no row with a test for Last"),
        ];
        assert_eq!(said(&proofs.reasons(&sources, Some(guide))), wanted);
    }
}
