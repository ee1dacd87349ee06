//! Decides how the command speaks: what was asked for on the standard output, everything else on
//! the standard error, and one live line only where somebody is watching.

#![allow(clippy::print_stdout, reason = "this is the one place that speaks")]
#![allow(clippy::print_stderr, reason = "this is the one place that speaks")]

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What was asked for: one line.
pub(crate) fn say(line: &str) {
    // A reader that has gone away is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// What was asked for, byte by byte, and a line feed if it has none.
pub(crate) fn say_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes);
    if !bytes.ends_with(b"\n") {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// What went wrong.
pub(crate) fn complain(line: &str) {
    eprintln!("{line}");
}

/// One line at the bottom of the terminal that says how it goes. On anything else: a line once in
/// a while.
pub(crate) struct LiveLine {
    is_terminal: bool,
    shown: bool,
    plain_every: Duration,
    last: Instant,
}

impl LiveLine {
    /// `plain_every` is how often a line is printed where there is no terminal.
    pub(crate) fn new(plain_every: Duration) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_terminal, shown: false, plain_every, last: Instant::now() }
    }

    /// Shows this instead of what was shown before.
    pub(crate) fn show(&mut self, line: &str) {
        if self.is_terminal {
            // Without wrapping: a line that is too long for the terminal is cut at its edge.
            eprint!("\x1b[?7l\r\x1b[2K{line}\x1b[?7h");
            let _ = std::io::stderr().flush();
            self.shown = true;
            return;
        }
        if self.last.elapsed() >= self.plain_every {
            eprintln!("{line}");
            self.last = Instant::now();
        }
    }

    /// Says a line that stays, above the live one.
    pub(crate) fn note(&mut self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// Takes it away.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[2K");
            let _ = std::io::stderr().flush();
            self.shown = false;
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Lines of words in columns.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let padded = |line: &&Vec<String>| {
        let cells = line.iter().zip(&widths);
        let text: String = cells.map(|(cell, &width)| format!("{cell:<width$}  ")).collect();
        text.trim_end().to_owned()
    };
    lines.iter().map(padded).collect()
}

/// `4.2 MiB`.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut number = count as f64;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{number:.1} {}", UNITS[unit]) }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 ms`.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(4 << 20), "4.0 MiB");
        assert_eq!(count(1), "1");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123_456), "123,456");
        assert_eq!(time(999), "999 µs");
        assert_eq!(time(1_500), "1.5 ms");
        assert_eq!(time(2_000_000), "2.00 s");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["ä".to_owned(), "long word".to_owned()], vec!["abc".to_owned()]];
        assert_eq!(table(&["a", "b"], &rows), ["a    b", "ä    long word", "abc"]);
    }
}
