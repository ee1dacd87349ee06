//! Decides what a run looks like as text: the same seed gives the same bytes.
//!
//! ```text
//! TIME NODE MARK WHAT
//!
//! MARK  <   an input reaches a seat        >  a seat wants something done
//!       *   an event that people see       =  a write is on the disk
//!       ~   the network                    !  a fault
//!       #   clients and moves
//! ```
//!
//! Nodes are `A`, `B`, …; daemons `D0`, `D1`, …; times are seconds since the start.

use std::fmt;

/// The text of a run, or only its digest.
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    text: Option<String>,
    line: String,
    pub(crate) lines: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        let text = keep.then(String::new);
        Self { hasher: blake3::Hasher::new(), text, line: String::new(), lines: 0 }
    }

    pub(crate) fn say(&mut self, nanos: u64, node: &str, mark: char, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        let (seconds, micros) = (nanos / 1_000_000_000, nanos / 1_000 % 1_000_000);
        // Writing to a string does not fail.
        let _ = writeln!(self.line, "{seconds:>3}.{micros:06} {node} {mark} {what}");
        self.hasher.update(self.line.as_bytes());
        self.lines += 1;
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
    }

    pub(crate) fn digest(&self) -> String {
        self.hasher.finalize().to_hex()[..16].to_owned()
    }

    /// Goes on keeping text after it was taken.
    pub(crate) fn keep_on(&mut self) {
        self.text.get_or_insert_default();
    }

    pub(crate) fn take_text(&mut self) -> String {
        self.text.take().unwrap_or_default()
    }
}
