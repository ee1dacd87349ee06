//! A log of lines, and what becomes of it when somebody was at it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use whimbrel_trust::chain::{Entry, Outcome, Standing, read};

fn entry(what: &str) -> Entry {
    let what = what.to_owned();
    Entry { at_us: 7, who: "ops".into(), what, result: Outcome::Done, ..Entry::default() }
}

/// A file of so many entries after `standing`, line by line.
fn file(mut standing: Standing, count: usize) -> (Vec<Vec<u8>>, Standing) {
    let (head, begun) = standing.head();
    standing = begun;
    let mut lines = vec![head];
    for number in 0..count {
        let (line, after) = standing.line(&mut entry(&format!("deed {number}")));
        lines.push(line);
        standing = after;
    }
    (lines, standing)
}

#[test]
fn a_log_is_read_as_it_was_written_and_goes_on_in_another_file() {
    let (lines, standing) = file(Standing::START, 5);
    let whole = read(&lines.concat());
    assert_eq!((whole.standing, whole.broken, whole.is_torn), (standing, None, false));
    assert_eq!(whole.entries.len(), 5);
    assert_eq!(whole.entries[4].number, 5);
    let (more, end) = file(standing, 2);
    let second = read(&more.concat());
    assert_eq!((second.standing, second.head.after), (end, 5));
    assert_eq!(second.entries[0].number, 6);
}

#[test]
fn a_chained_log_shows_each_change_each_gap_and_each_addition() {
    let (lines, _) = file(Standing::START, 6);
    for at in 0..lines.len() {
        for byte in 0..lines[at].len() - 1 {
            let mut other = lines.clone();
            other[at][byte] ^= 1;
            assert!(read(&other.concat()).broken.is_some(), "line {at}, byte {byte}");
        }
        if at + 1 < lines.len() {
            let mut left_out = lines.clone();
            left_out.remove(at);
            assert!(read(&left_out.concat()).broken.is_some(), "without line {at}");
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            assert!(read(&swapped.concat()).broken.is_some(), "line {at} later");
        }
        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        assert!(read(&twice.concat()).broken.is_some(), "line {at} twice");
    }
    // An entry that is put in with a digest of its own does not lead to the next one.
    let (forged, _) = file(Standing::START, 3);
    let mut added = lines;
    let standing = read(&forged.concat()).standing;
    added.insert(4, standing.line(&mut entry("forged")).0);
    assert_eq!(read(&added.concat()).broken.unwrap().line, 6);
}

#[test]
fn a_line_that_a_crash_cut_off_is_torn_and_not_broken() {
    let (lines, _) = file(Standing::START, 3);
    let bytes = lines.concat();
    let whole: usize = lines[..3].iter().map(Vec::len).sum();
    for end in whole + 1..bytes.len() {
        let cut = read(&bytes[..end]);
        assert_eq!((cut.is_torn, cut.broken, cut.bytes), (true, None, whole));
        assert_eq!(cut.entries.len(), 2);
    }
}

#[test]
fn hostile_lines_are_broken_and_nothing_else() {
    for bytes in [&b"\n"[..], b"{}\n", &[b'0'; 64], &[b'f'; 9_000], "\u{fffd}\n".as_bytes()] {
        let read = read(bytes);
        assert!(read.entries.is_empty() && (read.is_torn || read.broken.is_some()));
    }
}
