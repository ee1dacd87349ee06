//! Decides how long a function may be: [`CODE_LINES_MAX`], or what the list says, which only shrinks.
//!
//! The list holds functions that are long for a reason (most are one flat `match`). A person adds a
//! line; `cargo xtask fix` lowers and removes lines.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};

use super::source::Source;
use crate::finding::Finding;

/// Where the list is.
pub(super) const PATH: &str = "xtask/tidy-ratchet.txt";

/// Longer functions must be listed.
const CODE_LINES_MAX: usize = 70;

const HEADER: &str = "\
# Functions past 70 lines of code, as path::function = lines.
# A number may only shrink; 'cargo xtask fix' lowers it. A new line needs a reason in its commit.
";

/// The long functions of the tree: where each stands, and its size.
pub(super) type LongFunctions = BTreeMap<String, (usize, usize)>;

/// The listed sizes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ratchet {
    listed: BTreeMap<String, usize>,
}

/// Every function past the limit: `path::function` with its line and its size.
///
/// Two of one name in one file (behind different `cfg`) count as the longer one.
pub(super) fn long_functions(sources: &[Source]) -> LongFunctions {
    let mut long = LongFunctions::new();
    for source in sources {
        for function in source.functions.iter().filter(|found| found.code_lines > CODE_LINES_MAX) {
            let found = (function.line, function.code_lines);
            let entry = long.entry(format!("{}::{}", source.path, function.name)).or_insert(found);
            if entry.1 < found.1 {
                *entry = found;
            }
        }
    }
    long
}

impl Ratchet {
    /// Reads the list.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut listed = BTreeMap::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, size) = line.split_once(" = ").with_context(|| format!("{PATH}: {line}"))?;
            let size = size.trim().parse().with_context(|| format!("{PATH}: {line}"))?;
            if listed.insert(name.to_owned(), size).is_some() {
                bail!("{PATH}: {name} is listed twice");
            }
        }
        Ok(Self { listed })
    }

    /// Functions that grew, and lines of the list that say more than is so.
    pub(super) fn findings(&self, long: &LongFunctions) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, (line, size)) in long {
            let path = name.split("::").next().unwrap_or(name);
            let message = match self.listed.get(name) {
                None => format!("{name} has {size} lines of code; at most {CODE_LINES_MAX}"),
                Some(listed) if size > listed => {
                    format!("{name} grew from {listed} to {size} lines")
                }
                Some(_) => continue,
            };
            findings.push(Finding::at_line(path, *line, message));
        }
        for (name, listed) in &self.listed {
            let size = long.get(name).map_or(0, |(_, size)| *size);
            if size < *listed {
                let message = format!("{name} is shorter than {listed}; run 'cargo xtask fix'");
                findings.push(Finding::of_file(PATH, message));
            }
        }
        findings
    }

    /// The list with every size lowered to what it is, without what is short or gone.
    pub(super) fn lowered(&self, long: &LongFunctions) -> Self {
        let lower = |(name, listed): (&String, &usize)| {
            long.get(name).map(|(_, size)| (name.clone(), *size.min(listed)))
        };
        Self { listed: self.listed.iter().filter_map(lower).collect() }
    }
}

impl fmt::Display for Ratchet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HEADER)?;
        for (name, size) in &self.listed {
            writeln!(formatter, "{name} = {size}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(lines: usize) -> LongFunctions {
        let body = "    x();\n".repeat(lines - 2);
        long_functions(&[Source::read("a.rs", &format!("//! A.\nfn go() {{\n{body}}}\n"))])
    }

    fn list(size: usize) -> Ratchet {
        Ratchet::parse(&format!("# why\n\na.rs::go = {size}\n")).unwrap()
    }

    #[test]
    fn a_function_past_seventy_lines_is_found_unless_listed() {
        assert_eq!(Ratchet::default().findings(&long(70)), vec![]);
        let found = Ratchet::default().findings(&long(71));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("a.rs:2: a.rs::go has 71 lines"), "{found:?}");
        assert_eq!(list(71).findings(&long(71)), vec![]);
    }

    #[test]
    fn a_listed_function_may_not_grow() {
        assert!(list(80).findings(&long(81))[0].to_string().contains("grew from 80 to 81"));
    }

    #[test]
    fn a_list_that_says_more_than_is_so_is_found_and_lowered() {
        assert_eq!(list(80).findings(&long(75)).len(), 1);
        assert_eq!(list(80).lowered(&long(75)), list(75));
        assert_eq!(list(80).findings(&long(60)).len(), 1);
        assert_eq!(list(80).lowered(&long(60)), Ratchet::default());
    }

    #[test]
    fn lowering_never_raises_or_adds() {
        assert_eq!(list(80).lowered(&long(90)), list(80));
        assert_eq!(Ratchet::default().lowered(&long(90)), Ratchet::default());
    }

    #[test]
    fn the_list_reads_what_it_writes_and_refuses_the_rest() {
        assert_eq!(Ratchet::parse(&list(80).to_string()).unwrap(), list(80));
        assert!(Ratchet::parse("a.rs::go 80").is_err());
        assert!(Ratchet::parse("a.rs::go = many").is_err());
        assert!(Ratchet::parse("a = 80\na = 81").is_err());
    }
}
