//! Decides what a seed means: how many nodes, which daemons, which faults, which moves.
//!
//! A run has two phases. In the first, anything goes wrong and only safety is asked for. Then the
//! faults stop, and everything must come to rest within [`SETTLE_SECONDS_MAX`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use whimbrel_protocol::{Rarely, Settings};
use whimbrel_wire::{Hearing, Start};

use crate::chart::Version;
use crate::checkers::{Seconds, Violation};
use crate::cluster::{Action, Cluster, Happening, MILLI, SECOND, Tally};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::disk::Faults;
use crate::medium::Medium;
use crate::network::Network;
use crate::scribe::Style;

/// Simulated seconds after the last fault within which everything must have come to rest.
pub(crate) const SETTLE_SECONDS_MAX: u64 = 120;

/// Simulated seconds within which a daemon that is being stopped has stopped.
const STOP_SECONDS_MAX: u64 = 10;

/// How many of a thousand seeds run on SQLite over files that fail; the others have their engine
/// in memory, which is faster.
const SQLITE_OF_THOUSAND: u64 = 150;

/// In how many of a thousand seeds operators want daemons back.
const RECLAIMS_OF_THOUSAND: u64 = 150;

/// How long heirs are asked then: longer than any fault lasts and than any clock jumps.
const RECLAIM_SEARCH_MAX: Duration = Duration::from_secs(90);

/// The first moment that a daemon may be born at, and how far apart births may be by the clocks of
/// the world.
const WALL_MIN: u64 = 1_700_000_000 * SECOND;
const WALL_SPAN: u64 = 7_200 * SECOND;

/// What a run gave.
#[derive(Debug)]
pub struct Ran {
    /// The broken promise, if one was.
    pub violation: Option<Violation>,
    /// How much happened.
    pub tally: Tally,
    /// The digest of the trace: the same for the same seed.
    pub digest: String,
    /// The trace, if it was kept.
    pub trace: String,
}

/// Runs the cluster of one seed.
#[must_use]
pub fn run_seed(seed: u64, keep_trace: bool) -> Ran {
    run(seed, keep_trace, &mut None)
}

/// Runs the cluster of one seed and counts what its machines meet.
#[must_use]
pub fn run_seed_counted(seed: u64, coverage: &mut Coverage) -> Ran {
    let mut counted = Some(std::mem::take(coverage));
    let ran = run(seed, false, &mut counted);
    *coverage = counted.unwrap_or_default();
    ran
}

fn run(seed: u64, keep_trace: bool, coverage: &mut Option<Coverage>) -> Ran {
    let mut cluster = None;
    let run = AssertUnwindSafe(|| {
        let cluster = cluster.insert(begin(seed, keep_trace));
        cluster.coverage = coverage.take();
        play(cluster, seed);
    });
    let panicked = catch_unwind(run).err();
    let Some(mut cluster) = cluster else {
        return Ran {
            violation: Some(panic_violation(0)),
            tally: Tally::default(),
            digest: String::new(),
            trace: String::new(),
        };
    };
    *coverage = cluster.coverage.take();
    let violation =
        cluster.violation.take().or_else(|| panicked.map(|_| panic_violation(cluster.now)));
    Ran {
        violation,
        tally: cluster.tally,
        digest: cluster.trace.digest(),
        trace: cluster.trace.take_text(),
    }
}

const fn panic_violation(now: u64) -> Violation {
    Violation { promise: "no-panic", what: String::new(), seconds: Seconds(now) }
}

/// The bounds of a seat, small so that each is reached.
pub(crate) fn settings(dice: &mut Dice) -> Settings {
    Settings {
        silence_max: Duration::from_millis(dice.between(1500, 4000)),
        freeze_max: Duration::from_millis(dice.between(400, 2000)),
        held_max: 64,
        unsaved_max: usize::try_from(dice.between(1, 24)).unwrap_or(1),
        append_turns_max: usize::try_from(dice.between(1, 8)).unwrap_or(1),
        outbox_max: usize::try_from(dice.between(2, 20)).unwrap_or(2),
        answers_max: 32,
        snapshot_every: dice.between(0, 2) * dice.between(4, 30),
        cutover_lag_max: dice.between(0, 6),
        rounds_max: if dice.chance(100) { 3 } else { 200 },
        arrivals_max: usize::try_from(dice.between(1, 4)).unwrap_or(4),
        rarely: Rarely::of_thousand(if dice.chance(500) { 20 } else { 0 }),
        round_turns_max: usize::try_from(dice.between(2, 12)).unwrap_or(2),
        pieces_in_flight_max: usize::try_from(dice.between(2, 8)).unwrap_or(2),
        courier_window: usize::try_from(dice.between(1, 16)).unwrap_or(1),
        courier_queue_max: 64,
        ask_first: Duration::from_millis(dice.between(50, 400)),
        ..Settings::default()
    }
}

/// Whether operators of this seed want daemons back.
fn reclaims(seed: u64) -> bool {
    Dice::new(seed ^ 0x2EC1_A135).chance(RECLAIMS_OF_THOUSAND)
}

fn begin(seed: u64, keep_trace: bool) -> Cluster {
    let mut dice = Dice::new(seed ^ 0xC1A5_7E12);
    let settings = settings(&mut dice);
    let nodes = usize::try_from(dice.between(2, 7)).unwrap_or(3);
    let mut settings = settings;
    if reclaims(seed) {
        settings.search_max = RECLAIM_SEARCH_MAX;
    }
    let medium = if dice.chance(SQLITE_OF_THOUSAND) { Medium::Sqlite } else { Medium::Memory };
    Cluster::new(seed, nodes, &settings, medium, keep_trace)
}

fn play(cluster: &mut Cluster, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x5709_1A2B);
    let daemons = match dice.below(20) {
        0 => dice.between(8, 30),
        1..=5 => dice.between(3, 8),
        _ => dice.between(1, 3),
    };
    versions(cluster, seed);
    for _ in 0..daemons {
        let style = draw_style(&mut dice);
        let node = dice.index(cluster.nodes.len());
        cluster.wall = WALL_MIN + dice.below(WALL_SPAN);
        cluster.spawn(node, style);
    }
    if dice.chance(100) {
        cluster.fill_max = u32::try_from(dice.between(1_000, 120_000)).unwrap_or(1_000);
    }
    let length = dice.between(2, 6) * SECOND;
    clients(cluster, &mut dice, length);
    moves(cluster, &mut dice, length);
    faults(cluster, &mut dice, length);
    chores(cluster, &mut dice, length);
    channels(cluster, &mut dice, length);
    if reclaims(seed) {
        reclaim(cluster, &mut dice, length);
    }
    let end = cluster.now + length;
    cluster.run_until(end);
    quiet(cluster);
    // What was being stopped when the faults ended is stopped by then.
    let mut end = cluster.now + STOP_SECONDS_MAX * SECOND;
    if reclaims(seed) {
        // So long somebody may look for a daemon whose owner was never there.
        end += u64::try_from(RECLAIM_SEARCH_MAX.as_nanos()).unwrap_or(0);
    }
    cluster.run_until(end);
    quiet(cluster);
    cluster.settle(SETTLE_SECONDS_MAX * SECOND);
}

/// In half of the runs nodes are given versions of the statechart, not all of them the same.
fn versions(cluster: &mut Cluster, seed: u64) {
    let mut dice = Dice::new(seed ^ 0xC4A7_0002);
    if !dice.chance(500) {
        return;
    }
    for node in &mut cluster.nodes {
        node.chart = match dice.below(10) {
            0..=3 => Some(Version::First),
            4..=7 => Some(Version::More),
            8 => Some(Version::Other),
            _ => None,
        };
        node.charts = node.chart.map(Version::palette).unwrap_or_default();
    }
}

fn draw_style(dice: &mut Dice) -> Style {
    match dice.below(20) {
        0 => Style::Deltas,
        1 => Style::Freezes,
        2 => Style::DriftHidden,
        8 | 9 => Style::Choosy,
        3 | 4 => Style::Kv,
        5 => Style::Tally,
        6 => Style::Counting,
        7 => Style::Churning,
        10 | 11 => Style::Chart,
        _ => Style::Replays,
    }
}

fn clients(cluster: &mut Cluster, dice: &mut Dice, length: u64) {
    for _ in 0..dice.between(1, 4) + cluster.daemons.len() as u64 / 2 {
        let (node, daemon) = (dice.index(cluster.nodes.len()), dice.index(cluster.daemons.len()));
        let count = dice.between(5, 60);
        let window = usize::try_from(dice.between(1, 8)).unwrap_or(1);
        // Some send all at once.
        let rest = if dice.chance(100) { 1000 } else { (length / count).max(MILLI) };
        cluster.add_client(node, daemon, count, window, rest);
    }
    for _ in 0..dice.below(40) {
        let (node, daemon) = (dice.index(cluster.nodes.len()), dice.index(cluster.daemons.len()));
        cluster.plan(dice.below(length), Happening::Act(Action::Deliver { node, daemon }));
    }
}

/// Moves by whoever asks, some right after another of the same daemon, some there and back.
fn moves(cluster: &mut Cluster, dice: &mut Dice, length: u64) {
    let nodes = cluster.nodes.len();
    for _ in 0..dice.between(1, 8) + cluster.daemons.len() as u64 / 2 {
        let daemon = dice.index(cluster.daemons.len());
        let mut at = dice.below(length);
        let further = if dice.chance(250) { dice.between(1, 3) } else { 0 };
        for _ in 0..=further {
            let (node, target) = (dice.index(nodes), dice.index(nodes));
            let source = dice.chance(200).then(|| dice.index(nodes));
            let cancel_after = dice.chance(150).then(|| dice.below(300 * MILLI));
            let action = Action::Move { node, daemon, source, target, cancel_after };
            cluster.plan(at, Happening::Act(action));
            at += dice.below(200 * MILLI);
        }
    }
}

fn faults(cluster: &mut Cluster, dice: &mut Dice, length: u64) {
    let lossy = dice.chance(600);
    cluster.network = Network {
        delay_min: 100_000,
        delay_max: dice.between(1, 40) * MILLI,
        loss: if lossy { dice.below(150) } else { 0 },
        twice: if lossy { dice.below(150) } else { 0 },
        straggle: dice.below(60),
        tail: dice.chance(250),
        ..Network::calm()
    };
    if dice.chance(300) {
        let (failed, unknown) = (dice.below(20), dice.below(20));
        cluster.set_disk_faults(Faults { failed, unknown, stopped: dice.below(20) });
    }
    if dice.chance(500) {
        cluster.crash_rate = dice.below(1000) * dice.between(1, 10);
    }
    cluster.clocks_jump = dice.chance(300);
    if dice.chance(300) {
        cluster.boot_max = dice.between(100, 8000) * MILLI;
    }
    let nodes = cluster.nodes.len();
    if dice.chance(100) {
        let poor = dice.index(nodes);
        cluster.nodes[poor].lacks = Some(draw_style(dice));
    }
    if dice.chance(200) {
        let slow = dice.index(nodes);
        cluster.nodes[slow].slow = dice.between(5, 40);
    }
    for _ in 0..dice.below(4) {
        let (node, rest) = (dice.index(nodes), dice.between(MILLI, 2 * SECOND));
        cluster.plan(dice.below(length), Happening::Act(Action::Crash { node, rest }));
    }
    for _ in 0..dice.below(4) {
        let (node, rest) = (dice.index(nodes), dice.between(MILLI, 3 * SECOND));
        cluster.plan(dice.below(length), Happening::Act(Action::Pause { node, rest }));
    }
    for _ in 0..dice.below(6) {
        let (from, to) = (dice.index(nodes), dice.index(nodes));
        let (at, rest) = (dice.below(length), dice.between(MILLI, 3 * SECOND));
        cluster.plan(at, Happening::Act(Action::Cut { from, to, rest }));
        if dice.chance(700) {
            cluster.plan(at, Happening::Act(Action::Cut { from: to, to: from, rest }));
        }
    }
    if dice.chance(200) {
        let (node, rest) = (dice.index(nodes), dice.between(MILLI, 2 * SECOND));
        cluster.plan(dice.below(length), Happening::Act(Action::Full { node, rest }));
    }
    if dice.chance(200) {
        let (node, by) = (dice.index(nodes), dice.between(MILLI, 60 * SECOND));
        cluster.plan(dice.below(length), Happening::Act(Action::Jump { node, by }));
    }
}

/// What people do to nodes and daemons, and what nodes do for themselves.
fn chores(cluster: &mut Cluster, dice: &mut Dice, length: u64) {
    let (nodes, daemons) = (cluster.nodes.len(), cluster.daemons.len());
    if dice.chance(250) {
        let (node, rest) = (dice.index(nodes), dice.between(MILLI, 2 * SECOND));
        cluster.plan(dice.below(length), Happening::Act(Action::Shutdown { node, rest }));
    }
    if dice.chance(100) {
        let daemon = dice.index(daemons);
        cluster.plan(dice.below(length), Happening::Act(Action::Stop { daemon }));
    }
    if dice.chance(80) {
        let daemon = dice.index(daemons);
        cluster.plan(dice.below(length), Happening::Act(Action::Delete { daemon }));
    }
    for _ in 0..dice.below(3) {
        let daemon = dice.index(daemons);
        cluster.plan(dice.below(length), Happening::Act(Action::Export { daemon }));
    }
    if dice.chance(500) {
        for _ in 0..dice.between(1, 20) {
            let node = dice.index(nodes);
            cluster.plan(dice.below(length), Happening::Act(Action::Collect { node }));
        }
    }
}

/// In some runs scribes publish, and others listen, some of them not all the time.
fn channels(cluster: &mut Cluster, dice: &mut Dice, length: u64) {
    // One that drifts is parked in the end, and a publisher that must tell it all waits for ever.
    let sound = [Style::Replays, Style::Deltas, Style::Freezes, Style::Choosy];
    let is_sound = |at: &usize| sound.contains(&cluster.daemons[*at].style);
    let scribes: Vec<usize> = (0..cluster.daemons.len()).filter(is_sound).collect();
    if scribes.len() < 2 || !dice.chance(300) {
        return;
    }
    let publishers = 1 + dice.index(scribes.len().min(3));
    for &publisher in &scribes[..publishers] {
        cluster.open_channel(0, publisher, u32::try_from(dice.below(6)).unwrap_or(0));
        for &daemon in scribes.iter().filter(|daemon| **daemon != publisher) {
            if dice.chance(250) {
                continue;
            }
            let window = u32::try_from(dice.between(2, 8)).unwrap_or(2);
            let hearing = if dice.chance(400) { Hearing::Recent { window } } else { Hearing::All };
            let start = [Start::Next, Start::Retained, Start::After(0)][dice.index(3)];
            cluster.join(dice.below(length / 2), daemon, publisher, hearing, start);
            if dice.chance(200) {
                cluster.leave(dice.below(length), daemon, publisher);
                cluster.join(dice.below(length), daemon, publisher, hearing, start);
            }
        }
        for _ in 0..dice.between(5, 60) {
            let publish = Action::Publish { daemon: publisher };
            cluster.plan(dice.below(length), Happening::Act(publish));
        }
    }
}

/// Operators want daemons back. Their heirs live or will, and say so in time: nobody gets one, and
/// nothing is lost by asking. That a lost heir's daemon comes back is a directed story.
fn reclaim(cluster: &mut Cluster, dice: &mut Dice, length: u64) {
    let (nodes, daemons) = (cluster.nodes.len(), cluster.daemons.len());
    for _ in 0..dice.between(5, 60) {
        let (node, daemon) = (dice.index(nodes), dice.index(daemons));
        cluster.plan(dice.below(length), Happening::Act(Action::Reclaim { node, daemon }));
    }
}

/// The faults stop. A daemon that was stopped comes back with its node.
pub(crate) fn quiet(cluster: &mut Cluster) {
    cluster.crash_rate = 0;
    cluster.crash_at = None;
    cluster.save_fate = None;
    cluster.capture_fails = None;
    cluster.boot_max = 0;
    cluster.set_disk_faults(Faults::default());
    cluster.network = Network::calm();
    for node in 0..cluster.nodes.len() {
        cluster.nodes[node].slow = 1;
        cluster.nodes[node].lacks = None;
        cluster.restart(node);
        if cluster.has_stopped_daemons(node) {
            cluster.shut_down(node, MILLI);
        }
    }
}
