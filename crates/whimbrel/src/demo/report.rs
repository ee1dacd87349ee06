//! Decides how the end of a demo reads.

use std::collections::BTreeMap;
use std::time::Duration;

use whimbrel_trial::Feed;
use whimbrel_trial::ledger::Verdict;

use super::gaps::{Span, Spread, longest};
use super::moves::{Killed, Role, Story};
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

/// What the machine does by itself, in microseconds: no event is faster.
pub(crate) struct Machine {
    pub(crate) sync: Option<Spread>,
    pub(crate) round_trip: Option<u64>,
}

/// Prints everything. True if nothing is wrong.
pub(crate) fn tell(
    feeds: &[impl AsRef<Feed>],
    sheets: &[Sheet],
    story: &Story,
    machine: &Machine,
) -> bool {
    ledger(feeds, sheets);
    moves(story);
    pauses(feeds, story);
    let round_trip = machine.round_trip.map_or_else(|| "?".to_owned(), time);
    let sync = machine.sync.map_or_else(|| "?".to_owned(), |it| time(it.p50));
    say(&format!("machine   fdatasync of 4 KiB p50 {sync}, round trip to a node {round_trip}"));
    let is_clean = sheets.iter().all(Sheet::is_clean);
    say("");
    if is_clean {
        say("nothing lost, nothing doubled, every chain holds");
    } else {
        say("FAILED: see above what was lost, doubled or broken");
    }
    is_clean
}

fn ledger(feeds: &[impl AsRef<Feed>], sheets: &[Sheet]) {
    let head = [
        "DAEMON",
        "ACKNOWLEDGED",
        "APPLIED ONCE",
        "LOST",
        "DOUBLED",
        "MADE UP",
        "UNKNOWN",
        "REFUSED",
        "CHAIN HOLDS",
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
    for (feed, sheet) in feeds.iter().zip(sheets) {
        let chain = match &sheet.chain {
            Ok(said) => said.clone(),
            Err(said) => format!("BROKEN: {said}"),
        };
        rows.push(row(&feed.as_ref().name, &sheet.verdict, &chain));
    }
    let all = sheets.iter().fold(Verdict::default(), |all, sheet| all.and(sheet.verdict));
    rows.push(row("all", &all, ""));
    say("");
    output::table(&head, &rows).iter().for_each(|line| say(line));
    for (feed, sheet) in feeds.iter().zip(sheets) {
        let name = &feed.as_ref().name;
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
    let asked = |role: Role| {
        let count = story.moves.iter().filter(|it| it.asked == role).count();
        format!("{} {count}", role.word())
    };
    say("");
    say(&format!(
        "moves     {} done, {} failed, {} of them worth another try; asked for at {}",
        done.clone().count(),
        story.moves.iter().filter(|it| !it.moved).count(),
        story.tried_again,
        Role::ALL.map(asked).join(", "),
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

fn pauses(feeds: &[impl AsRef<Feed>], story: &Story) {
    let acknowledged: Vec<Vec<u64>> = feeds
        .iter()
        .map(|feed| {
            let mut times = feed.as_ref().notes().acknowledged.clone();
            times.sort_unstable();
            times
        })
        .collect();
    // What the clients of a dead node waited is told by itself.
    let dead = story.killed.as_ref().map(|killed| killed.span);
    let gap = |feed: usize, span: Span| longest(acknowledged.get(feed)?, span, dead);
    let moves = || story.moves.iter().filter(|it| it.moved);
    let moved = Spread::of(moves().filter_map(|it| gap(it.feed, it.span)).collect());
    // The same spans, seen by the clients of daemons that stayed.
    let stayed = |feed: usize| moves().filter(move |it| it.feed != feed);
    let stayed = (0..feeds.len()).flat_map(|feed| stayed(feed).map(move |it| (feed, it.span)));
    let stayed = Spread::of(stayed.filter_map(|(feed, span)| gap(feed, span)).collect());
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
        let waited = acknowledged.iter().filter_map(|of| longest(of, killed.span, None)).max();
        let waited = waited.map_or_else(|| "?".to_owned(), time);
        let Killed { node, role, phase, back_after, ended_after, ended_on, .. } = killed;
        let seconds = |time: &Duration| format!("{:.2} s", time.as_secs_f64());
        say(&format!(
            "killed    {node}, {} of a move in {phase}; back after {}",
            role.word(),
            seconds(back_after),
        ));
        say(&format!(
            "          that move had ended by itself after {}, with the daemon on {ended_on}",
            seconds(ended_after),
        ));
        say(&format!("          no client waited longer than {waited} meanwhile"));
    }
}
