//! Tells of moves that nothing disturbs: every way of catching up, every orchestrator.

use whimbrel_protocol::{Event, MoveOptions, Settings, Warning};
use whimbrel_wire::{EntityId, InputOrigin};

use super::{Failure, expect, finish, settings, stage};
use crate::clients::AUTHOR_HOSTS;
use crate::cluster::{Cluster, MILLI, SECOND};
use crate::medium::Medium;
use crate::scribe::{Act, Line, Style};

pub(super) fn moves() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes] {
        for orchestrator in 0..3 {
            for freeze_and_copy in [false, true] {
                let case = format!("{style:?} asked by {orchestrator}, freeze {freeze_and_copy}");
                let mut cluster = stage(runs, style, 60);
                let options = MoveOptions { freeze_and_copy, ..MoveOptions::default() };
                cluster.ask_move(orchestrator, 0, 1, options);
                cluster.run_until(cluster.now + 5 * SECOND);
                finish(&mut cluster, &case)?;
                let moved = cluster.tally.hand_overs == 1;
                expect(&cluster, &case, "it-ends", moved, "the daemon did not move")?;
                let all = cluster.tally.acknowledged == 120;
                expect(&cluster, &case, "nothing-lost", all, "not every event was acknowledged")?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// A slow network: the daemon serves while its state travels.
pub(super) fn served() -> Result<u64, Failure> {
    for seed in 0..5 {
        let mut cluster = stage(seed, Style::Replays, 200);
        (cluster.network.delay_min, cluster.network.delay_max) = (15 * MILLI, 25 * MILLI);
        cluster.ask_move(2, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + 5 * SECOND);
        finish(&mut cluster, "slow network")?;
        let served = cluster.tally.served >= 10 && cluster.tally.hand_overs == 1;
        expect(&cluster, "slow network", "still-serving", served, "it did not serve")?;
    }
    Ok(5)
}

/// The target's clock is an hour ahead, then an hour behind.
pub(super) fn clocks() -> Result<u64, Failure> {
    const HOUR: u64 = 3600 * SECOND;
    for (source, target) in [(0, HOUR), (HOUR, 0), (HOUR, 2 * HOUR), (2 * HOUR, HOUR)] {
        let mut cluster = stage(source ^ target, Style::Replays, 60);
        // A clock jumps only while a node is down.
        for (node, offset) in [(0, source), (1, target)] {
            cluster.crash(node, None);
            cluster.nodes[node].offset = offset;
            cluster.restart(node);
        }
        cluster.run_until(cluster.now + 2 * SECOND);
        cluster.add_client(2, 0, 60, 4, 5 * MILLI);
        cluster.ask_move(2, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + 3 * SECOND);
        finish(&mut cluster, "clocks")?;
        let moved = cluster.tally.hand_overs == 1;
        expect(&cluster, "clocks", "it-ends", moved, "the daemon did not move")?;
    }
    Ok(4)
}

/// A timer comes due while the daemon is frozen, or on its way.
pub(super) fn timer_in_freeze() -> Result<u64, Failure> {
    let mut runs = 0;
    for after in 1..40 {
        let mut cluster = stage(after, Style::Replays, 20);
        (cluster.network.delay_min, cluster.network.delay_max) = (2 * MILLI, 4 * MILLI);
        let act = Act::Timer(after * 3 * MILLI);
        cluster.deliver_line(0, 0, Line { author: AUTHOR_HOSTS, number: 1, act });
        cluster.ask_move(0, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + 2 * SECOND);
        finish(&mut cluster, &format!("timer after {after}"))?;
        runs += 1;
    }
    Ok(runs)
}

/// A timer goes on where it was when the daemon moves: it comes neither early nor late by more than
/// the move takes, and does not begin again.
pub(super) fn timer_goes_on() -> Result<u64, Failure> {
    const SET: u64 = SECOND;
    let mut runs = 0;
    for after in 1..10 {
        let case = format!("moved after {after} tenths of the time");
        // The base snapshot stays the one of the birth.
        let settings = Settings { snapshot_every: 0, ..settings() };
        let mut cluster = Cluster::new(after, 3, &settings, Medium::Memory, false);
        cluster.panics = false;
        let daemon = cluster.spawn(0, Style::Replays);
        cluster.run_until(cluster.now + 60 * MILLI);
        let (entity, begun) = (cluster.daemons[daemon].entity, cluster.now);
        let act = Act::Timer(SET);
        cluster.deliver_line(0, daemon, Line { author: AUTHOR_HOSTS, number: 1, act });
        let mut number = 1;
        while !has_fired(&cluster, &entity) && cluster.now < begun + 4 * SECOND {
            // Time is told by turns: some come all the time, wherever the daemon is.
            number += 1;
            let owner = usize::from(cluster.owner_is(daemon, 1));
            let line = Line { author: AUTHOR_HOSTS, number, act: Act::Note };
            cluster.deliver_line(owner, daemon, line);
            cluster.run_until(cluster.now + 5 * MILLI);
            if cluster.now == begun + after * SET / 10 {
                cluster.ask_move(0, daemon, 1, MoveOptions::default());
            }
        }
        let taken = cluster.now - begun;
        finish(&mut cluster, &case)?;
        let moved = cluster.tally.hand_overs == 1;
        expect(&cluster, &case, "it-ends", moved, "the daemon did not move")?;
        let in_time = (SET..SET + 300 * MILLI).contains(&taken);
        let what = format!("a timer of {SET} ns came after {taken} ns");
        expect(&cluster, &case, "same-meaning", in_time, &what)?;
        runs += 1;
    }
    Ok(runs)
}

/// Whether a turn of a timer is on the disk of an owner.
fn has_fired(cluster: &Cluster, entity: &EntityId) -> bool {
    let journal = cluster.checkers.journals.of(entity);
    journal.is_some_and(|journal| {
        let mut turns = journal.turns.values();
        turns.any(|fact| matches!(fact.origin, InputOrigin::Timer(_)))
    })
}

/// A daemon panics at every moment after an event was taken: whoever sent that is told something.
pub(super) fn panicking() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes] {
        for after in 0..20 {
            let case = format!("{style:?}, a panic after {after} ms");
            let mut cluster = stage(after, style, 10);
            let say = |cluster: &mut Cluster, number, act| {
                cluster.deliver_line(0, 0, Line { author: AUTHOR_HOSTS, number, act });
            };
            say(&mut cluster, 1, Act::Note);
            cluster.run_until(cluster.now + after * MILLI);
            say(&mut cluster, 2, Act::Panic);
            cluster.run_until(cluster.now + SECOND);
            finish(&mut cluster, &case)?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// A daemon that says it replays and does not is found out and moved by freeze-and-copy.
pub(super) fn drifting() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::DriftShown, Style::DriftHidden] {
        for orchestrator in 0..3 {
            let case = format!("{style:?} asked by {orchestrator}");
            let mut cluster = stage(runs, style, 60);
            cluster.ask_move(orchestrator, 0, 1, MoveOptions::default());
            cluster.run_until(cluster.now + 5 * SECOND);
            finish(&mut cluster, &case)?;
            let moved = cluster.tally.hand_overs == 1;
            expect(&cluster, &case, "it-ends", moved, "the daemon did not move")?;
            let told = cluster
                .warnings
                .iter()
                .any(|warning| matches!(warning, Event::Warning(Warning::Diverged { .. })));
            expect(&cluster, &case, "same-meaning", told, "nobody was told that it drifts")?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// The key does not travel: the target has it already.
pub(super) fn provisioned() -> Result<u64, Failure> {
    let mut cluster = Cluster::new(1, 3, &Settings::default(), Medium::Memory, false);
    cluster.panics = false;
    cluster.provisioned = true;
    cluster.spawn(0, Style::Replays);
    cluster.add_client(2, 0, 30, 4, 5 * MILLI);
    let born = cluster.nodes[0].keys.clone();
    cluster.nodes[1].keys = born;
    let options = MoveOptions { transport_identity: false, ..MoveOptions::default() };
    cluster.ask_move(2, 0, 1, options);
    cluster.run_until(cluster.now + 3 * SECOND);
    finish(&mut cluster, "given beforehand")?;
    let moved = cluster.tally.hand_overs == 1;
    expect(&cluster, "given beforehand", "it-ends", moved, "the daemon did not move")?;
    Ok(1)
}

/// A daemon that minds moves in some states leaves in the others, and only in those.
pub(super) fn choosy() -> Result<u64, Failure> {
    const RUNS: u64 = 24;
    let mut hand_overs = 0;
    for seed in 0..RUNS {
        let case = format!("asked of a choosy daemon, seed {seed}");
        let mut cluster = stage(seed, Style::Choosy, 20 + seed);
        cluster.ask_move(2, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + 3 * SECOND);
        // When everything was taken its state rests, and so does its mind.
        cluster.ask_move(2, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + 3 * SECOND);
        finish(&mut cluster, &case)?;
        hand_overs += cluster.tally.hand_overs;
        let minds = 0 < hand_overs && hand_overs < 2 * seed;
        if seed + 1 == RUNS {
            expect(&cluster, &case, "same-meaning", minds, "it moved always, or never")?;
        }
    }
    Ok(RUNS)
}
