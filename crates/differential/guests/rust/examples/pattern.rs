//! An engine for regular expressions that others wrote: automata, built and run.

use regex::Regex;

/// How often the patterns are found in a text of this many lines.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let line = |at: i32| format!("2026-11-{:02} node-{at} moved d{} to n{}; ", at % 30, at * 7, at % 5);
    let text: String = (0..n).map(line).collect();
    let mut found = 0;
    for pattern in [r"\d{4}-\d\d-(\d\d)", r"node-(\d+) moved", r"(d\d+) to (n[0-3])", r"[a-e]+\d+;"] {
        let Ok(pattern) = Regex::new(pattern) else { return -1 };
        found += pattern.captures_iter(&text).map(|it| it[0].len() as i64).sum::<i64>();
    }
    found
}
