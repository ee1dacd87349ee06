//! Decides what a Rust file owes its reader: an opening, a size, comments that stay true, tests that
//! neither sleep nor sit out.

use std::collections::BTreeSet;

use super::source::{Comment, CommentKind, Source};
use crate::finding::Finding;

/// Beyond this a file holds more than one thing.
const CODE_LINES_MAX: usize = 1_000;

/// Stands in a comment on or above a line that sleeps in a test, with what bounds the wait.
const BOUNDED_WAIT: &str = "bounded wait:";

/// Words of history, not to be found in a comment that should read the same in a year.
const HISTORY: [&str; 2] = ["pre-fix", "no longer"];

/// Work that nobody owns.
const UNOWNED: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Every rule for one file.
pub(super) fn findings(source: &Source) -> Vec<Finding> {
    let rules = [opening, size, comment_words, sat_out_tests, sleeping_tests];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn opening(source: &Source) -> Vec<Finding> {
    let opens = source.opening().and_then(|line| line.strip_prefix("//!"));
    match opens.is_some_and(|text| !text.trim().is_empty()) {
        true => Vec::new(),
        false => vec![Finding::at_line(
            &source.path,
            1,
            "the file does not open with a '//!' comment that says what it decides",
        )],
    }
}

fn size(source: &Source) -> Vec<Finding> {
    match source.code_lines() {
        lines if lines > CODE_LINES_MAX => vec![Finding::of_file(
            &source.path,
            format!("{lines} lines of code; at most {CODE_LINES_MAX}"),
        )],
        _ => Vec::new(),
    }
}

fn comment_words(source: &Source) -> Vec<Finding> {
    let mut findings = BTreeSet::new();
    for (at, comment) in source.comments.iter().enumerate() {
        for word in UNOWNED.iter().filter(|word| has_word(&comment.text, word)) {
            let message = format!("'{word}' in a comment: write an issue instead");
            findings.insert(Finding::at_line(&source.path, comment.line, message));
        }
        // A phrase may be broken over two lines.
        let next = source.comments.get(at + 1).filter(|next| next.line == comment.line + 1);
        let own = comment.text.to_lowercase();
        let both = match next {
            Some(next) => format!("{} {}", own.trim_end(), next.text.trim().to_lowercase()),
            None => own.clone(),
        };
        let later = next.map(|next| next.text.to_lowercase()).unwrap_or_default();
        for phrase in HISTORY {
            if own.contains(phrase) || (both.contains(phrase) && !later.contains(phrase)) {
                let message = format!("'{phrase}' in a comment: say what is, not what was");
                findings.insert(Finding::at_line(&source.path, comment.line, message));
            }
        }
    }
    findings.into_iter().collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .any(|candidate| candidate == word)
}

/// A test that does not run, a test that passes when anything panics, an example that is not
/// compiled.
fn sat_out_tests(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        if token.text != "#" {
            continue;
        }
        let words = source.tokens[at + 1..].iter().map(|token| token.text.as_str());
        let mut words = words.skip_while(|word| *word == "!").skip_while(|word| *word == "[");
        let Some(first) = words.next() else { continue };
        let conditional =
            first == "cfg_attr" && words.take_while(|word| *word != "]").any(sits_out);
        if sits_out(first) || conditional {
            let message = "no test may be ignored, and none may expect just any panic";
            findings.push(Finding::at_line(&source.path, token.line, message));
        }
    }
    let documentation = |comment: &&Comment| comment.kind != CommentKind::Plain;
    for comment in source.comments.iter().filter(documentation) {
        let fence = comment.text.trim().strip_prefix("```");
        if fence.is_some_and(|words| has_word(words, "ignore")) {
            let message = "an example in the documentation must compile";
            findings.push(Finding::at_line(&source.path, comment.line, message));
        }
    }
    findings
}

fn sits_out(word: &str) -> bool {
    matches!(word, "ignore" | "should_panic")
}

fn sleeping_tests(source: &Source) -> Vec<Finding> {
    let excused: BTreeSet<usize> = source
        .comments
        .iter()
        .filter(|comment| comment.text.trim_start().starts_with(BOUNDED_WAIT))
        .flat_map(|comment| [comment.line, comment.line + 1])
        .collect();
    let mut findings = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let sleeps = matches!(token.text.as_str(), "sleep" | "sleep_until")
            && source.tokens.get(at + 1).is_some_and(|next| next.text == "(");
        // A method, or the definition of a function, is not the clock's sleep.
        let before = at.checked_sub(1).map_or("", |before| source.tokens[before].text.as_str());
        if !sleeps || matches!(before, "." | "fn") {
            continue;
        }
        if (source.is_test_file() || token.in_tests) && !excused.contains(&token.line) {
            let message = format!(
                "a test must not sleep and hope; a poll says '// {BOUNDED_WAIT} <by what>'"
            );
            findings.push(Finding::at_line(&source.path, token.line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let found = findings(&Source::read(path, text));
        found.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn fires(path: &str, text: &str, place_and_reason: &str) {
        let found = found(path, text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(place_and_reason), "{found:?}");
    }

    #[track_caller]
    fn quiet(path: &str, text: &str) {
        assert_eq!(found(path, text), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_an_opening_is_found() {
        fires("a.rs", "use x;\n//! Late.", "a.rs:1: the file does not open");
        fires("a.rs", "", "does not open");
        fires("a.rs", "//!\nfn a() {}", "does not open");
        quiet("a.rs", "\n//! Decides.\nuse x;");
    }

    #[test]
    fn a_file_past_a_thousand_lines_of_code_is_found() {
        let of = |lines: usize| format!("//! Decides.\n{}", "use x;\n\n// why\n".repeat(lines));
        quiet("a.rs", &of(1_000));
        fires("a.rs", &of(1_001), "a.rs: 1001 lines of code");
    }

    #[test]
    fn words_of_history_are_found_in_comments_only() {
        fires("a.rs", "//! It is No Longer so.", "a.rs:1: 'no longer'");
        fires("a.rs", "//! Decides.\n// The pre-fix way.", "a.rs:2: 'pre-fix'");
        fires("a.rs", "//! Decides.\n// It is no\n// longer so.", "a.rs:2: 'no longer'");
        fires("a.rs", "//! Decides.\n// One.\n// It is no longer so.", "a.rs:3: 'no longer'");
        quiet("a.rs", "//! Decides.\nconst A: &str = \"no longer\"; // no\nfn longer() {}");
    }

    #[test]
    fn work_that_nobody_owns_is_found() {
        fires("a.rs", "//! Decides.\n// TODO: later", "a.rs:2: 'TODO'");
        fires("a.rs", "//! Decides.\n/* FIXME */", "'FIXME'");
        fires("a.rs", "//! Decides.\n/// XXX", "'XXX'");
        quiet("a.rs", "//! Decides.\n// TODOS and xxx\nconst A: &str = \"TODO\";");
    }

    #[test]
    fn a_test_that_sits_out_is_found() {
        fires("a.rs", "//! Decides.\n#[test]\n#[ignore]\nfn a() {}", "a.rs:3: no test");
        fires("a.rs", "//! Decides.\n#[ignore = \"slow\"]\nfn a() {}", "no test");
        fires("a.rs", "//! Decides.\n#[cfg_attr(windows, ignore)]\nfn a() {}", "no test");
        fires("a.rs", "//! Decides.\n#[should_panic(expected = \"x\")]\nfn a() {}", "no test");
        quiet("a.rs", "//! Decides.\n#[cfg_attr(x, inline)]\nfn ignore() { ignore(1) }");
    }

    #[test]
    fn an_example_that_is_not_compiled_is_found() {
        fires("a.rs", "//! Decides.\n//!\n//! ```ignore\n//! x\n//! ```", "a.rs:3: an example");
        quiet("a.rs", "//! Decides.\n//!\n//! ```text\n//! x\n//! ```\n// ```ignore");
    }

    #[test]
    fn a_test_that_sleeps_is_found_unless_it_says_what_bounds_it() {
        let sleep = "//! Decides.\nfn a() {\n    std::thread::sleep(x);\n}";
        fires("crates/wire/tests/a.rs", sleep, "a.rs:3: a test must not sleep");
        quiet("crates/wire/src/a.rs", sleep);
        let inner =
            "//! Decides.\nmod tests {\n    async fn a() { tokio::time::sleep(x).await }\n}";
        fires("crates/wire/src/a.rs", inner, "a.rs:3: a test must not sleep");
        let beside = "//! Decides.\nfn a() {\n    sleep(x); // bounded wait: ten turns\n}";
        quiet("crates/wire/tests/a.rs", beside);
        let above = "//! Decides.\nfn a() {\n    // bounded wait: ten turns\n    sleep(x);\n}";
        quiet("crates/wire/tests/a.rs", above);
        quiet("crates/wire/tests/a.rs", "//! Decides.\nfn sleep() { clock.sleep() }");
    }
}
