//! Decides how the end of a demo reads.

use std::collections::BTreeMap;

use super::gaps::{Span, Spread, longest};
use super::ledger::Verdict;
use super::load::Lane;
use super::moves::{Seat, Story};
use crate::output::{self, bytes, count, say, time};

/// What was found out about one daemon.
pub(crate) struct Sheet {
    pub(crate) verdict: Verdict,
    /// Answers that a fresh event cannot have.
    pub(crate) wrong: u64,
    /// Values of the state that are not what they were.
    pub(crate) spoilt: u64,
    /// What is known about the chain, or what is wrong with it.
    pub(crate) chain: Result<String, String>,
    pub(crate) error: Option<String>,
}

impl Sheet {
    pub(crate) const fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.wrong == 0 && self.spoilt == 0 && self.chain.is_ok()
    }
}

/// Prints everything. True if nothing is wrong.
pub(crate) fn tell(lanes: &[impl AsRef<Lane>], sheets: &[Sheet], story: &Story) -> bool {
    ledger(lanes, sheets);
    moves(story);
    pauses(lanes, story);
    let is_clean = sheets.iter().all(Sheet::is_clean);
    say("");
    if is_clean {
        say("nothing lost, nothing doubled, every chain holds");
    } else {
        say("FAILED: see above what was lost, doubled or broken");
    }
    is_clean
}

fn ledger(lanes: &[impl AsRef<Lane>], sheets: &[Sheet]) {
    let head = [
        "DAEMON",
        "ACKNOWLEDGED",
        "APPLIED ONCE",
        "LOST",
        "DOUBLED",
        "MADE UP",
        "UNKNOWN",
        "REFUSED",
        "CHAIN",
    ];
    let row = |name: &str, verdict: &Verdict, chain: &str| {
        let numbers = [
            verdict.acknowledged,
            verdict.once,
            verdict.lost,
            verdict.doubled,
            verdict.ghosts,
            verdict.unknown,
            verdict.refused,
        ];
        let mut row = vec![name.to_owned()];
        row.extend(numbers.map(count));
        row.push(chain.to_owned());
        row
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (lane, sheet) in lanes.iter().zip(sheets) {
        let chain = match &sheet.chain {
            Ok(said) => said.clone(),
            Err(said) => format!("BROKEN: {said}"),
        };
        rows.push(row(&lane.as_ref().name, &sheet.verdict, &chain));
    }
    let all = sheets.iter().fold(Verdict::default(), |all, sheet| all.and(sheet.verdict));
    rows.push(row("all", &all, ""));
    say("");
    output::table(&head, &rows).iter().for_each(|line| say(line));
    for (lane, sheet) in lanes.iter().zip(sheets) {
        let name = &lane.as_ref().name;
        if sheet.wrong > 0 {
            say(&format!("{name}: {} answers that no fresh event can have", count(sheet.wrong)));
        }
        if sheet.spoilt > 0 {
            say(&format!("{name}: {} values of its state are spoilt", count(sheet.spoilt)));
        }
        if let Some(error) = &sheet.error {
            say(&format!("{name}: first error of a client: {error}"));
        }
    }
}

fn moves(story: &Story) {
    let done = story.moves.iter().filter(|it| it.moved);
    let asked = |part: Seat| {
        let count = story.moves.iter().filter(|it| it.asked == part).count();
        format!("{} {count}", part.word())
    };
    say("");
    say(&format!(
        "moves     {} done, {} failed, {} of them worth another try; asked for at {}",
        done.clone().count(),
        story.moves.iter().filter(|it| !it.moved).count(),
        story.tried_again,
        Seat::ALL.map(asked).join(", "),
    ));
    say(&format!(
        "moved     {} of state, {} events replayed on targets",
        bytes(done.clone().map(|it| it.bytes).sum()),
        count(done.map(|it| it.replayed).sum()),
    ));
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in &story.failures {
        *reasons.entry(reason).or_default() += 1;
    }
    for (reason, times) in reasons {
        say(&format!("failed    {times} × {reason}"));
    }
}

fn pauses(lanes: &[impl AsRef<Lane>], story: &Story) {
    let acknowledged: Vec<Vec<u64>> = lanes
        .iter()
        .map(|lane| {
            let mut times = lane.as_ref().notes().acknowledged.clone();
            times.sort_unstable();
            times
        })
        .collect();
    let gap = |lane: usize, span: Span| acknowledged.get(lane).and_then(|of| longest(of, span));
    let dead = story.killed.as_ref().map(|killed| killed.span);
    let quiet = |span: &Span| dead.is_none_or(|dead| !dead.meets(span));
    let moves = || story.moves.iter().filter(|it| it.moved && quiet(&it.span));
    let moved = Spread::of(moves().filter_map(|it| gap(it.lane, it.span)).collect());
    // The same spans, seen by the clients of daemons that stayed.
    let stayed = |lane: usize| moves().filter(move |it| it.lane != lane);
    let stayed = (0..lanes.len()).flat_map(|lane| stayed(lane).map(move |it| (lane, it.span)));
    let stayed = Spread::of(stayed.filter_map(|(lane, span)| gap(lane, span)).collect());
    let line = |what: &str, spread: Option<Spread>, of: &str| match spread {
        Some(Spread { count, p50, p99, max }) => say(&format!(
            "{what:<10}p50 {}, p99 {}, max {} ({count} {of})",
            time(p50),
            time(p99),
            time(max),
        )),
        None => say(&format!("{what:<10}no {of}")),
    };
    line("pause", moved, "moves: the longest time between two acknowledged events");
    line("no move", stayed, "spans: the same, for daemons that stayed meanwhile");
    if let Some(killed) = &story.killed {
        let longest = gap(killed.lane, killed.span).map_or_else(|| "?".to_owned(), time);
        say(&format!(
            "killed    {}, {} of a move in {}; back after {:.2} s; the move had ended by itself \
             after {:.2} s, with the daemon on {}; its clients waited {longest} at most",
            killed.node,
            killed.role.word(),
            killed.phase,
            killed.back_after.as_secs_f64(),
            killed.ended_after.as_secs_f64(),
            killed.ended_on,
        ));
    }
}
