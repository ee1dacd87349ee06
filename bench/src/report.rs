//! Decides what is printed of a run beyond its record: where in each move the time went.

use crate::figures::nanos;
use crate::figures::{Row, Size, milliseconds};
use crate::load::Ack;
use crate::moves::{AFTERMATH, Moved};
use crate::parties::Story;
use crate::pause::{self, Steps};
use crate::stage::name;

/// Latencies of events, and the parts of the hand-over.
pub(crate) fn print_parts(moves: &[&Moved], acks: &[Ack], story: &Story) {
    let row = |name: &str, row: &Row| println!("  {name:<32}{}", row.in_milliseconds());
    let latencies = |window: &dyn Fn(&Moved) -> (u64, u64)| -> Row {
        let windows = moves.iter().map(|moved| window(moved));
        let within = windows.flat_map(|(from, to)| pause::latencies(acks, from, to));
        within.map(|ack| ack.latency).collect()
    };
    println!("milliseconds                            p50       p99       max");
    row("latency of events, moving", &latencies(&Moved::during));
    row("latency of events, no move", &latencies(&Moved::before));
    let steps: Vec<Steps> = moves
        .iter()
        .filter_map(|moved| {
            let (from, to) = moved.during();
            pause::steps(story, acks, from, to)
        })
        .collect();
    let part = |name: &str, of: &dyn Fn(&Steps) -> (u64, u64)| {
        let parts = steps.iter().map(of).map(|(from, to)| to.saturating_sub(from));
        row(name, &parts.collect());
    };
    println!("  around the hand-over, {} moves with all steps told:", steps.len());
    part("  frozen to handed over", &|steps| (steps.frozen, steps.handed_over));
    part("  handed over to live", &|steps| (steps.handed_over, steps.live));
    part("  live to next answer", &|steps| (steps.live, steps.silent_to));
    part("  gap at the hand-over", &|steps| (steps.silent_from, steps.silent_to));
    part("  frozen to last answer before", &|steps| (steps.frozen, steps.silent_from));
}

/// Where in each move its longest gap was, after which word of the nodes.
pub(crate) fn print_each(moves: &[&Moved], acks: &[Ack], story: &Story) {
    let since = |moved: &Moved, at: u64| milliseconds(at.saturating_sub(moved.from));
    for moved in moves {
        let gap = pause::longest(acks, moved.from, moved.to + nanos(AFTERMATH));
        let told = story.told.iter().filter(|told| (moved.from..gap.from).contains(&told.at));
        let last = told.max_by_key(|told| told.at);
        let last = last.map_or_else(String::new, |told| {
            let word: String = told.words.chars().take(24).collect();
            format!("after {word} at {} of {}", since(moved, told.at), name(told.party))
        });
        println!(
            "  took {:>9}  gap {:>8} from {:>9}  {last};  held before {} {} after {} {}",
            milliseconds(moved.length()),
            milliseconds(gap.length()),
            since(moved, gap.from),
            Size(moved.held[0].0),
            Size(moved.held[1].0),
            Size(moved.held[0].1),
            Size(moved.held[1].1)
        );
    }
}
