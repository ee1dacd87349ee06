//! Decides how the time line of a hand-over is put together from what the processes noted: when each
//! step was taken on which side, from the freeze to the first answer that the client gets from the
//! new owner.
//!
//! A step is looked for from one that is known: backwards from the new life, forwards to the answer.
//! One that a move did not have, as a save of a daemon that keeps nothing, is passed over.

use std::path::Path;

use anyhow::{Context, Result};

use crate::figures::Row;
use crate::load::Ack;

/// Something that a process noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    at: u64,
    how: String,
    what: String,
}

/// Who takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Target,
    Client,
}

/// A step: its side, how and what, and what it is called.
type Step = (Side, &'static str, &'static str, &'static str);

/// From the last answer of the source to the new life. Of equal ones the last counts.
const BEFORE: [Step; 18] = [
    (Side::Source, "said", "freezing", "source freezes"),
    (Side::Source, "told", "frozen", "source is settled"),
    (Side::Source, "said", "tail", "source sends the tail"),
    (Side::Target, "heard", "tail", "target's link has the tail"),
    (Side::Target, "met", "tail", "target's cell has the tail"),
    (Side::Target, "asked", "copy-turns", "target asks to save the tail"),
    (Side::Target, "saved", "copy-turns", "the tail is saved"),
    (Side::Target, "said", "vote", "target votes"),
    (Side::Source, "heard", "vote", "source's link has the vote"),
    (Side::Source, "met", "vote", "source's cell has the vote"),
    (Side::Source, "asked", "hand-over", "source asks to save the deed"),
    (Side::Source, "saved", "hand-over", "the deed is saved at the source"),
    (Side::Source, "said", "deed", "source sends the deed"),
    (Side::Target, "heard", "deed", "target's link has the deed"),
    (Side::Target, "met", "deed", "target's cell has the deed"),
    (Side::Target, "asked", "accept", "target asks to save the deed"),
    (Side::Target, "saved", "accept", "the deed is saved at the target"),
    (Side::Target, "told", "live", LIVE),
];

/// What `BEFORE` ends with.
const LIVE: &str = "target is live";

/// What comes before the freeze, and what a client is told at the end.
const LAST_ANSWER: Step = (Side::Source, "said", "answer", "source answers for the last time");
const TOLD: &str = "client is told";

/// From the new life to the first answer. Of equal ones the first counts.
const AFTER: [Step; 5] = [
    (Side::Target, "asked", "turns", "target asks to save turns"),
    (Side::Target, "saved", "turns", "turns are saved"),
    (Side::Target, "said", "answer", "target answers"),
    (Side::Client, "heard", "answer", "client's link has the answer"),
    (Side::Client, "met", "answer", "client's cell has the answer"),
];

/// One hand-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeLine {
    /// What happened when, in order.
    steps: Vec<(&'static str, u64)>,
    /// How long the client had no answer.
    gap: u64,
}

/// What a process wrote, in the order of time.
pub(crate) fn read(file: &Path) -> Result<Vec<Note>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("could not read {}", file.display()))?;
    let mut notes = text.lines().map(note).collect::<Option<Vec<Note>>>().context("not a note")?;
    notes.sort_by_key(|note| note.at);
    Ok(notes)
}

fn note(line: &str) -> Option<Note> {
    let mut words = line.split(' ');
    let at = words.next()?.parse().ok()?;
    Some(Note { at, how: words.next()?.to_owned(), what: words.next()?.to_owned() })
}

/// The notes of one move by side.
pub(crate) struct Sides<'a> {
    pub(crate) source: &'a [Note],
    pub(crate) target: &'a [Note],
    pub(crate) client: &'a [Note],
}

impl<'a> Sides<'a> {
    const fn of(&self, side: Side) -> &'a [Note] {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
            Side::Client => self.client,
        }
    }

    fn last(&self, (side, how, what, _): Step, until: u64) -> Option<u64> {
        let notes = self.of(side);
        let notes = &notes[..notes.partition_point(|note| note.at <= until)];
        notes.iter().rev().find(|note| note.how == how && note.what == what).map(|note| note.at)
    }

    fn first(&self, (side, how, what, _): Step, from: u64) -> Option<u64> {
        let notes = self.of(side);
        let notes = &notes[notes.partition_point(|note| note.at < from)..];
        notes.iter().find(|note| note.how == how && note.what == what).map(|note| note.at)
    }
}

/// One hand-over within `from` and `to`, from the source's last answer before it to the first one that the
/// client gets after it.
pub(crate) fn line(sides: &Sides<'_>, acks: &[Ack], (from, to): (u64, u64)) -> Option<TimeLine> {
    let (mut steps, mut at) = (Vec::new(), to);
    for step in BEFORE.into_iter().rev() {
        if let Some(found) = sides.last(step, at).filter(|found| from <= *found) {
            steps.push((step.3, found));
            at = found;
        }
    }
    let live = steps.first().filter(|(name, _)| *name == LIVE)?.1;
    steps.push((LAST_ANSWER.3, sides.last(LAST_ANSWER, at)?));
    steps.reverse();
    at = live;
    for step in AFTER {
        if let Some(found) = sides.first(step, at) {
            steps.push((step.3, found));
            at = found;
        }
    }
    let before = acks.partition_point(|ack| ack.at < live).checked_sub(1)?;
    let told = acks.get(acks.partition_point(|ack| ack.at < at))?.at;
    steps.push((TOLD, told));
    Some(TimeLine { steps, gap: told.saturating_sub(acks.get(before)?.at) })
}

impl TimeLine {
    fn at(&self, name: &str) -> Option<u64> {
        self.steps.iter().find(|(step, _)| *step == name).map(|(_, at)| *at)
    }

    /// How long a step took after the one before it.
    fn took(&self, name: &str) -> Option<u64> {
        let place = self.steps.iter().position(|(step, _)| *step == name)?;
        let before = self.steps.get(place.checked_sub(1)?)?;
        Some(self.steps[place].1.saturating_sub(before.1))
    }

    fn since_freeze(&self) -> Option<u64> {
        Some(self.at(TOLD)?.saturating_sub(self.at(BEFORE[0].3)?))
    }
}

/// Prints how long each step took after the one before it.
pub(crate) fn print(lines: &[TimeLine]) {
    println!("hand-overs, {} with all notes; milliseconds", lines.len());
    println!("  after the step before                     p50       p99       max");
    let row = |name: &str, row: &Row| println!("  {name:<34}{}", row.in_milliseconds());
    let names = BEFORE.iter().chain(&AFTER).map(|step| step.3).chain([TOLD]);
    for name in names {
        let took: Row = lines.iter().filter_map(|line| line.took(name)).collect();
        // A step that no move had.
        if took.most() > 0 {
            row(name, &took);
        }
    }
    row(
        "from the freeze to the client",
        &lines.iter().filter_map(TimeLine::since_freeze).collect(),
    );
    row("gap at the client", &lines.iter().map(|line| line.gap).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(lines: &[&str]) -> Vec<Note> {
        lines.iter().map(|line| note(line).expect("a note")).collect()
    }

    #[test]
    fn a_line_is_followed_backwards_from_the_new_life_and_forwards_to_the_answer() {
        let source = notes(&[
            "5 said answer",
            "10 said freezing",
            "11 told frozen",
            "12 said tail",
            "20 met vote",
            "21 said deed",
            "22 said deed",
        ]);
        let target = notes(&[
            "14 met tail",
            "15 said vote",
            "24 met deed",
            "25 told live",
            "26 said answer",
        ]);
        let client = notes(&["7 heard answer", "28 heard answer", "29 heard answer"]);
        let sides = Sides { source: &source, target: &target, client: &client };
        let acks = [8, 30, 31].map(|at| Ack { at, latency: 0 });
        let line = line(&sides, &acks, (1, 40)).expect("a line");
        let times: Vec<u64> = line.steps.iter().map(|(_, at)| *at).collect();
        assert_eq!(times, [5, 10, 11, 12, 14, 15, 20, 22, 24, 25, 26, 28, 30]);
        assert_eq!(
            (line.gap, line.took("target votes"), line.since_freeze()),
            (22, Some(1), Some(20))
        );
        assert!(super::line(&sides, &acks, (26, 40)).is_none(), "no life began after that");
        assert_eq!(note("x said tail"), None);
    }
}
