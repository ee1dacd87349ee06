//! Decides which words may stand in no file at all, because they tie the repository to one machine.
//!
//! The words are put together here from halves, so that this file passes its own rule.

use crate::finding::Finding;

/// Places that may name what is outside the repository.
const EXEMPT: [&str; 1] = [".ci/run"];

/// Every line that names such a word.
pub(super) fn findings(path: &str, text: &str) -> Vec<Finding> {
    if EXEMPT.contains(&path) {
        return Vec::new();
    }
    let words = forbidden();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(word.as_str())) {
            findings.push(Finding::at_line(path, number + 1, format!("names '{word}'")));
        }
    }
    findings
}

fn forbidden() -> [String; 5] {
    [
        ["../sha", "red"].concat(),
        ["/wo", "rk/"].concat(),
        ["crates", ".io/api"].concat(),
        ["index.", "crates.io"].concat(),
        ["static.", "crates.io"].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_outside_and_a_host_of_an_index_are_found() {
        for word in forbidden() {
            let text = format!("fine\nsee {word} there");
            let found = findings("README.md", &text);
            assert_eq!(found, vec![Finding::at_line("README.md", 2, format!("names '{word}'"))]);
            assert_eq!(findings(".ci/run", &text), vec![]);
        }
    }

    #[test]
    fn ordinary_places_are_left_alone() {
        let text = "registry+https://github.com/rust-lang/crates.io-index\nhttps://crates.io/crates/x\n../shape ./work";
        assert_eq!(findings("Cargo.lock", text), vec![]);
    }
}
