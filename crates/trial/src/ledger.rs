//! Decides whether each event took effect exactly once: compares what clients were told with what
//! the daemons hold.
//!
//! An event is a number of one client. An acknowledged one must be found exactly once; a refused one
//! not at all; one whose end nobody knows at most once. There is no other way to pass.

use std::collections::{BTreeMap, BTreeSet};

/// What the client was told about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet, or that nobody knows.
    Unknown,
    /// It took effect, durably.
    Acknowledged,
    /// It took no effect.
    Refused,
}

/// What the comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events in all.
    pub sent: u64,
    /// Those that took effect, durably.
    pub acknowledged: u64,
    /// Those that took none.
    pub refused: u64,
    /// Those of which nobody knows.
    pub unknown: u64,
    /// Acknowledged and found exactly once.
    pub once: u64,
    /// Acknowledged and not found.
    pub lost: u64,
    /// Found more than once.
    pub doubled: u64,
    /// Found although refused, or never sent.
    pub ghosts: u64,
}

impl Verdict {
    /// Whether nothing was lost, doubled or made up.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.ghosts == 0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            acknowledged: self.acknowledged + other.acknowledged,
            refused: self.refused + other.refused,
            unknown: self.unknown + other.unknown,
            once: self.once + other.once,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            ghosts: self.ghosts + other.ghosts,
        }
    }
}

/// Compares what was told about the events 0, 1, 2, … with how often each was found.
#[must_use]
pub fn check(told: &[Outcome], found: &BTreeMap<u64, i64>) -> Verdict {
    let mut verdict = Verdict { sent: told.len() as u64, ..Verdict::default() };
    for (number, outcome) in (0..).zip(told) {
        let times = found.get(&number).copied().unwrap_or(0);
        match outcome {
            Outcome::Acknowledged => {
                verdict.acknowledged += 1;
                match times {
                    1 => verdict.once += 1,
                    2.. => verdict.doubled += 1,
                    ..=0 => verdict.lost += 1,
                }
            }
            Outcome::Refused => {
                verdict.refused += 1;
                verdict.ghosts += u64::from(times != 0);
            }
            Outcome::Unknown => {
                verdict.unknown += 1;
                verdict.doubled += u64::from(times > 1);
                verdict.ghosts += u64::from(times < 0);
            }
        }
    }
    verdict.ghosts += found.range(told.len() as u64..).count() as u64;
    verdict
}

/// What a `tally` counts of some texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Texts.
    pub lines: u64,
    /// Words.
    pub words: u64,
    /// Bytes.
    pub bytes: u64,
    /// Different words.
    pub distinct: u64,
}

impl Totals {
    /// Of texts of one line each. If each text has a word that no other has, equal totals mean that
    /// each was counted exactly once: a missing one lowers `distinct`, a second one raises `lines`.
    #[must_use]
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut totals = Self::default();
        let mut distinct = BTreeSet::new();
        for text in texts {
            totals.lines += 1;
            totals.bytes += text.len() as u64;
            for word in text.split_ascii_whitespace() {
                totals.words += 1;
                distinct.insert(&word.as_bytes()[..word.len().min(TALLY_WORD_BYTES_MAX)]);
            }
        }
        totals.distinct = distinct.len() as u64;
        totals
    }

    /// What `?totals` answers.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut next = |name: &str| {
            let is_it = words.next()? == name;
            words.next()?.parse().ok().filter(|_| is_it)
        };
        Some(Self {
            lines: next("lines")?,
            words: next("words")?,
            bytes: next("bytes")?,
            distinct: next("distinct")?,
        })
    }
}

/// Of a longer word a `tally` takes the beginning.
const TALLY_WORD_BYTES_MAX: usize = whimbrel_daemon::kinds::TALLY_WORD_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: [Outcome; 4] =
        [Outcome::Acknowledged, Outcome::Acknowledged, Outcome::Refused, Outcome::Unknown];

    fn found(times: [i64; 4]) -> BTreeMap<u64, i64> {
        (0..).zip(times).filter(|(_, times)| *times != 0).collect()
    }

    #[test]
    fn what_was_told_and_what_is_found_agree() {
        for unknown in [0, 1] {
            let verdict = check(&TOLD, &found([1, 1, 0, unknown]));
            assert!(verdict.is_clean(), "{verdict:?}");
            assert_eq!((verdict.acknowledged, verdict.once, verdict.unknown), (2, 2, 1));
        }
    }

    #[test]
    fn a_doctored_ledger_is_found_out() {
        let verdict = |times| check(&TOLD, &found(times));
        assert_eq!(verdict([1, 0, 0, 0]).lost, 1);
        assert_eq!(verdict([1, 2, 0, 0]).doubled, 1);
        assert_eq!(verdict([1, -1, 0, 0]).lost, 1);
        assert_eq!(verdict([1, 1, 1, 0]).ghosts, 1);
        assert_eq!(verdict([1, 1, 0, 2]).doubled, 1);
        // A lost event does not make up for a doubled one.
        let both = verdict([0, 2, 0, 0]);
        assert_eq!((both.lost, both.doubled), (1, 1));
        for times in [[1, 0, 0, 0], [1, 2, 0, 0], [1, 1, 1, 0], [1, 1, 0, 2], [0, 2, 0, 0]] {
            assert!(!verdict(times).is_clean(), "{times:?}");
        }
        let mut more = found([1, 1, 0, 0]);
        more.insert(9, 1);
        assert_eq!(check(&TOLD, &more).ghosts, 1);
        assert!(!check(&TOLD, &BTreeMap::new()).is_clean());
    }

    #[test]
    fn one_dirty_sheet_makes_the_whole_dirty() {
        let clean = check(&TOLD, &found([1, 1, 0, 0]));
        let dirty = check(&TOLD, &found([1, 0, 0, 0]));
        assert!(clean.and(clean).is_clean());
        assert!(!clean.and(dirty).is_clean() && !dirty.and(clean).is_clean());
    }

    #[test]
    fn totals_differ_when_a_text_is_missing_doubled_or_both() {
        let texts = ["e0-1 red fox", "e0-2 red fox", "e0-3 blue fox"];
        let good = Totals::of(texts.into_iter());
        assert_eq!(good, Totals { lines: 3, words: 9, bytes: 37, distinct: 6 });
        assert_eq!(Totals::parse("lines 3 words 9 bytes 37 distinct 6"), Some(good));
        assert_ne!(Totals::of(texts[1..].iter().copied()), good);
        assert_ne!(Totals::of([texts[0], texts[0], texts[1], texts[2]].into_iter()), good);
        assert_ne!(Totals::of([texts[1], texts[1], texts[2]].into_iter()), good);
        for line in ["", "lines 3", "lines x words 9 bytes 37 distinct 6", "3 9 37 6"] {
            assert_eq!(Totals::parse(line), None, "{line}");
        }
    }
}
