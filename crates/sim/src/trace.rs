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

//!
//! The digest is folded from short notes, with the state of the dice in each, so that it costs next
//! to nothing; the text is made only if it is kept.

use std::fmt;

/// The text of a run, or only its digest.
pub(crate) struct Trace {
    lanes: [u64; 2],
    text: Option<String>,
    line: String,
    /// Only what people see is kept.
    brief: bool,
    /// The moment that reads as zero.
    origin: u64,
}

/// What one step of the digest multiplies by: odd, with half of its bits set.
const MIX: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93];

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        let text = keep.then(String::new);
        Self { lanes: MIX, text, line: String::new(), brief: false, origin: 0 }
    }

    /// Keeps what people see from here on, if anything; this moment reads as zero.
    pub(crate) fn begin(&mut self, origin: u64, keep: bool) {
        (self.text, self.brief, self.origin) = (keep.then(String::new), true, origin);
    }

    /// Whether all lines are wanted.
    pub(crate) const fn is_kept(&self) -> bool {
        self.text.is_some() && !self.brief
    }

    /// Whether lines that people see are wanted.
    pub(crate) const fn is_shown(&self) -> bool {
        self.text.is_some()
    }

    fn fold(&mut self, number: u64) {
        for (lane, mix) in self.lanes.iter_mut().zip(MIX) {
            *lane = (lane.rotate_left(23) ^ number).wrapping_mul(mix);
        }
    }

    /// Folds into the digest that something with this name happened.
    pub(crate) fn note(&mut self, numbers: [u64; 3], name: &str) {
        for number in numbers {
            self.fold(number);
        }
        for part in name.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            self.fold(u64::from_le_bytes(bytes));
        }
    }

    /// Adds a line to the text, if it is kept.
    pub(crate) fn write(&mut self, nanos: u64, node: &str, mark: char, what: fmt::Arguments<'_>) {
        let Some(text) = &mut self.text else { return };
        write_line(text, nanos.saturating_sub(self.origin), node, mark, what);
    }

    /// A line that is rare: it is part of the digest as it is.
    pub(crate) fn say(&mut self, nanos: u64, node: &str, mark: char, what: fmt::Arguments<'_>) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        write_line(&mut line, nanos.saturating_sub(self.origin), node, mark, what);
        self.note([0; 3], &line);
        if let Some(text) = &mut self.text {
            text.push_str(&line);
        }
        self.line = line;
    }

    pub(crate) fn digest(&self) -> String {
        format!("{:016x}", self.lanes[0] ^ self.lanes[1].rotate_left(32))
    }

    /// Goes on keeping text after it was taken.
    pub(crate) fn keep_on(&mut self) {
        self.text.get_or_insert_default();
    }

    pub(crate) fn take_text(&mut self) -> String {
        self.text.take().unwrap_or_default()
    }
}

fn write_line(text: &mut String, nanos: u64, node: &str, mark: char, what: fmt::Arguments<'_>) {
    use fmt::Write as _;
    let (seconds, micros) = (nanos / 1_000_000_000, nanos / 1_000 % 1_000_000);
    // Writing to a string does not fail.
    let _ = writeln!(text, "{seconds:>3}.{micros:06} {node} {mark} {what}");
}
