//! Decides whether an invariant that a module claims is checked by something.
//!
//! An invariant is a line `* D1 (one owner): …` under `# Invariants` in the opening of a module.
//! Somewhere in the repository a function must have `one_owner` in its name: the one that checks it
//! after each step, or a test.

use std::collections::BTreeSet;

use super::source::{CommentKind, Source};
use crate::finding::Finding;

/// Every invariant without a name or without a checker.
pub(super) fn findings(sources: &[Source]) -> Vec<Finding> {
    let functions = function_names(sources);
    let mut findings = Vec::new();
    for source in sources {
        for (line, claim) in claims(source) {
            let message = match claim.name {
                None => format!("invariant {} has no name in brackets", claim.number),
                Some(name) => {
                    let wanted = name.to_lowercase().replace([' ', '-'], "_");
                    if functions.iter().any(|function| function.contains(&wanted)) {
                        continue;
                    }
                    format!("invariant {} has no function or test named '{wanted}'", claim.number)
                }
            };
            findings.push(Finding::at_line(&source.path, line, message));
        }
    }
    findings
}

fn function_names(sources: &[Source]) -> BTreeSet<&str> {
    let tokens = sources.iter().flat_map(|source| source.tokens.windows(2));
    tokens.filter(|pair| pair[0].text == "fn").map(|pair| pair[1].text.as_str()).collect()
}

struct Claim<'a> {
    number: &'a str,
    name: Option<&'a str>,
}

fn claims(source: &Source) -> Vec<(usize, Claim<'_>)> {
    let mut claims = Vec::new();
    let mut under_heading = false;
    for comment in source.comments.iter().filter(|comment| comment.kind == CommentKind::Module) {
        let text = comment.text.trim();
        if text.starts_with('#') {
            under_heading = text.trim_start_matches('#').trim() == "Invariants";
        } else if under_heading && let Some(claim) = claim(text) {
            claims.push((comment.line, claim));
        }
    }
    claims
}

fn claim(text: &str) -> Option<Claim<'_>> {
    let item = text.strip_prefix("* ").or_else(|| text.strip_prefix("- "))?;
    let (head, _) = item.split_once(": ").or_else(|| item.split_once(':')).unwrap_or((item, ""));
    match head.split_once('(') {
        Some((number, rest)) => Some(Claim { number: number.trim(), name: rest.strip_suffix(')') }),
        None => Some(Claim { number: head.trim(), name: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rest: &str) -> Vec<String> {
        let text = format!(
            "//! Decides.\n//!\n//! # Invariants\n//!\n//! * D1 (one owner): it is so,\n//!   always.\n{rest}"
        );
        let sources = [Source::read("a.rs", &text)];
        findings(&sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_invariant_without_a_checker_is_found() {
        let said = "a.rs:5: invariant D1 has no function or test named 'one_owner'".to_owned();
        assert_eq!(found("fn owner() {}"), vec![said.clone()]);
        assert_eq!(found("// fn one_owner() {}"), vec![said]);
    }

    #[test]
    fn a_checker_or_a_test_with_the_name_will_do() {
        assert!(found("fn one_owner() {}").is_empty());
        assert!(found("fn there_is_one_owner_per_epoch() {}").is_empty());
    }

    #[test]
    fn an_invariant_without_a_name_is_found() {
        let said = found("//! * D2: nothing is lost\nfn one_owner() {}");
        assert_eq!(said, vec!["a.rs:7: invariant D2 has no name in brackets".to_owned()]);
    }

    #[test]
    fn other_lists_are_not_invariants() {
        assert!(found("//! # Limits\n//!\n//! * size = 3\nfn one_owner() {}").is_empty());
    }
}
