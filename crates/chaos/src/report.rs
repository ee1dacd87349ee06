//! Decides how the end of a trial reads, and whether it was a good one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::board::{Notes, Outcome};
use crate::client::SheetLine;
use crate::settle::Sheets;
use crate::trial::Stage;

/// Prints everything. True if nothing is wrong and something was shown.
pub(crate) fn tell(
    stage: &Stage,
    sheets: &Sheets,
    seed: u64,
    span: Duration,
    has_spaces: bool,
) -> bool {
    let notes = stage.board.notes();
    println!();
    faults(&notes);
    traps(&notes);
    moves(&notes);
    let all = ledger(&sheets.lines);
    sheets.chains.iter().for_each(|chain| println!("chain     {chain}"));
    sheets.traces.iter().for_each(|trace| println!("trace     {trace}"));
    if let Some(after) = sheets.settled_after {
        println!("settled   {:.2} s after the last fault", after.as_secs_f64());
    }
    let mut wrong = notes.violations.clone();
    wrong.extend(ledger_is_dirty(&sheets.lines));
    wrong.extend(nothing_shown(&notes, &all));
    println!(
        "summary   seed {seed}, {:.1} minutes {}, {} moves asked, {} done, {} of them with \
         faults, {} faults, \
         lost {}, doubled {}, made up {}, hung {}",
        span.as_secs_f64() / 60.0,
        if has_spaces { "in namespaces" } else { "on the loopback" },
        notes.moves.len(),
        notes.done(),
        notes.disturbed(),
        notes.faults.len(),
        all.lost,
        all.doubled,
        all.made_up,
        notes.hung,
    );
    println!("not here  steps of the clock on the wall, a lost disk, a machine that loses power");
    if wrong.is_empty() {
        println!("nothing lost, nothing doubled, one owner each, every chain holds, nothing hung");
    } else {
        wrong.iter().for_each(|why| println!("FAILED: {why}"));
    }
    wrong.is_empty()
}

fn faults(notes: &Notes) {
    let mut kinds: BTreeMap<&str, (u32, Duration)> = BTreeMap::new();
    for fault in &notes.faults {
        let (count, time) = kinds.entry(fault.kind).or_default();
        *count += 1;
        *time += fault.to.map_or(Duration::ZERO, |to| to.saturating_sub(fault.from));
    }
    for (kind, (count, time)) in kinds {
        println!("fault     {count:>5} × {kind}, {:.0} s in all", time.as_secs_f64());
    }
    println!("dropped   {} packets on purpose", notes.dropped);
}

fn traps(notes: &Notes) {
    let (mut set, mut sprung) = (0, 0);
    for trapped in notes.traps.values() {
        set += trapped.set;
        sprung += trapped.sprung;
    }
    println!("steps     {set} traps were set at steps of a move, {sprung} were reached");
    let never = notes.traps.iter().filter(|(_, trapped)| trapped.sprung == 0);
    let never: Vec<String> = never.map(|((step, what), _)| format!("{what} {step}")).collect();
    if !never.is_empty() {
        println!("          never reached: {}", never.join(", "));
    }
}

fn moves(notes: &Notes) {
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for it in &notes.moves {
        let reason = match &it.outcome {
            Outcome::Moved => "ended on the target",
            Outcome::Failed(why) => why,
            Outcome::AskedGone => "the node that was asked went away",
            Outcome::Endless => "did not end",
        };
        *reasons.entry(reason).or_default() += 1;
    }
    for (reason, count) in reasons {
        println!("move      {count:>5} × {reason}");
    }
    let mut times: Vec<Duration> = notes.moves.iter().map(|it| it.to - it.from).collect();
    times.sort_unstable();
    if let (Some(middle), Some(last)) = (times.get(times.len() / 2), times.last()) {
        println!(
            "          p50 {:.2} s, longest {:.2} s",
            middle.as_secs_f64(),
            last.as_secs_f64()
        );
    }
}

fn ledger(lines: &[SheetLine]) -> SheetLine {
    println!(
        "{:<22}{:>12}{:>12}{:>6}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "LEDGER", "ACKNOWLEDGED", "ONCE", "LOST", "DOUBLED", "MADE UP", "UNKNOWN", "REFUSED", "GAP"
    );
    let print = |name: &str, it: &SheetLine| {
        println!(
            "{name:<22}{:>12}{:>12}{:>6}{:>9}{:>9}{:>9}{:>9}{:>7.1} s",
            it.acknowledged,
            it.once,
            it.lost,
            it.doubled,
            it.made_up,
            it.unknown,
            it.refused,
            Duration::from_micros(it.gap_us).as_secs_f64(),
        );
    };
    let mut all = SheetLine::default();
    for line in lines {
        print(&line.name, line);
        if let Some(error) = &line.error {
            println!("  first error: {error}");
        }
        all.acknowledged += line.acknowledged;
        all.once += line.once;
        all.lost += line.lost;
        all.doubled += line.doubled;
        all.made_up += line.made_up;
        all.unknown += line.unknown;
        all.refused += line.refused;
        all.gap_us = all.gap_us.max(line.gap_us);
    }
    print("all", &all);
    all
}

fn ledger_is_dirty(lines: &[SheetLine]) -> Vec<String> {
    let mut wrong = Vec::new();
    for it in lines {
        for (what, count) in [
            ("lost", it.lost),
            ("doubled", it.doubled),
            ("made up", it.made_up),
            ("answers that no fresh event can have", it.wrong),
            ("values of its state that are spoilt", it.spoilt),
        ] {
            if count > 0 {
                wrong.push(format!("{}: {count} {what}", it.name));
            }
        }
        if it.acknowledged == 0 {
            wrong.push(format!("{}: nothing was acknowledged, so nothing was shown", it.name));
        }
    }
    wrong
}

/// A trial in which nothing happened proves nothing.
fn nothing_shown(notes: &Notes, all: &SheetLine) -> Vec<String> {
    let mut wrong = Vec::new();
    if all.acknowledged == 0 {
        wrong.push("no ledger was checked".to_owned());
    }
    if notes.disturbed() == 0 {
        wrong.push("no move that was done met a fault".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dirty_or_an_empty_ledger_is_wrong() {
        let clean = SheetLine { acknowledged: 5, once: 5, ..SheetLine::default() };
        assert!(ledger_is_dirty(std::slice::from_ref(&clean)).is_empty());
        for dirty in [
            SheetLine { lost: 1, ..clean.clone() },
            SheetLine { doubled: 1, ..clean.clone() },
            SheetLine { made_up: 1, ..clean.clone() },
            SheetLine { wrong: 1, ..clean.clone() },
            SheetLine { spoilt: 1, ..clean.clone() },
            SheetLine::default(),
        ] {
            assert_eq!(ledger_is_dirty(&[clean.clone(), dirty]).len(), 1);
        }
    }

    #[test]
    fn a_trial_without_moves_under_faults_shows_nothing() {
        assert_eq!(nothing_shown(&Notes::default(), &SheetLine::default()).len(), 2);
    }
}
