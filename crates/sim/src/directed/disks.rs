//! Tells of one move in which a disk lies, loses a copy, or is replaced.

use whimbrel_protocol::{Event, MoveOptions, Warning};
use whimbrel_wire::Write;

use super::{Failure, expect, finish, stage};
use crate::cluster::{Action, Cluster, Happening, MILLI, SECOND};
use crate::disk::Fate;
use crate::scribe::Style;

/// Saves of one move beyond which it is over.
const SAVES_MAX: u64 = 200;

/// Snapshots of two moves beyond which they are over.
const CAPTURES_MAX: u64 = 60;

/// What each host delivers during them, one a millisecond.
const DELIVERIES: u64 = 150;

/// Every save of the move fails once, in each way in which a save can fail.
pub(super) fn fates() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for fate in [Fate::Failed, Fate::UnknownDone, Fate::UnknownLost] {
            for number in 0..SAVES_MAX {
                let case = format!("{style:?}, save {number} is {fate:?}");
                let mut cluster = stage(13, style, 10);
                let until = cluster.now + 300 * MILLI;
                // Its host has something to say as well, also while it is frozen.
                for after in 0..20 {
                    let act = Action::Deliver { node: 0, daemon: 0 };
                    cluster.plan(after * 3 * MILLI, Happening::Act(act));
                }
                cluster.saves = 0;
                cluster.save_fate = Some((number, fate));
                cluster.ask_move(2, 0, 1, MoveOptions::default());
                cluster.run_until(until);
                if cluster.saves <= number {
                    break;
                }
                cluster.run_until(cluster.now + 3 * SECOND);
                finish(&mut cluster, &case)?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// Every snapshot that is taken while the daemon moves there and back fails once.
pub(super) fn captures() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes] {
        for hosts_deliver in [false, true] {
            for number in 0..CAPTURES_MAX {
                let case = format!("{style:?}, snapshot {number} fails, hosts: {hosts_deliver}");
                let mut cluster = stage(37, style, 40);
                if hosts_deliver {
                    deliveries(&mut cluster);
                }
                cluster.captures = 0;
                cluster.capture_fails = Some(number);
                cluster.ask_move(2, 0, 1, MoveOptions::default());
                cluster.run_until(cluster.now + SECOND);
                cluster.ask_move(2, 0, 0, MoveOptions::default());
                cluster.run_until(cluster.now + 3 * SECOND);
                let all = cluster.captures <= number;
                finish(&mut cluster, &case)?;
                if all {
                    break;
                }
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// Hosts of both nodes deliver while the daemon moves there and back. A client asks again when it is told
/// nothing; they do not, and must be told of each.
fn deliveries(cluster: &mut Cluster) {
    for at in 0..DELIVERIES {
        for node in [0, 1] {
            cluster.plan(at * MILLI, Happening::Act(Action::Deliver { node, daemon: 0 }));
        }
    }
}

/// The target votes, crashes, and its copy is deleted while it is down. The frozen copy of the
/// source is sent again under the deed.
pub(super) fn copy_gone() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for source_restarts in [false, true] {
            let case = format!("{style:?}, the source restarts: {source_restarts}");
            let mut cluster = stage(17, style, 10);
            let attempt = cluster.ask_move(2, 0, 1, MoveOptions::default());
            // Up to the commit point, then the target is gone.
            while cluster.tally.hand_overs == 0 && cluster.now < 20 * SECOND {
                cluster.run_until(cluster.now + MILLI / 20);
            }
            cluster.crash(1, None);
            let entity = cluster.daemons[0].entity;
            cluster.write_behind(1, &Write::DropCopy { entity, attempt });
            if source_restarts {
                cluster.crash(0, None);
                cluster.restart(0);
            }
            cluster.run_until(cluster.now + SECOND);
            cluster.restart(1);
            cluster.run_until(cluster.now + 5 * SECOND);
            finish(&mut cluster, &case)?;
            let there = cluster.owner_is(0, 1);
            expect(&cluster, &case, "it-ends", there, "the daemon is not on the target")?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// The target gets a new disk after its vote, before the deed: the title is lost, and told so;
/// the source keeps the frozen state. Before the vote it changes nothing.
pub(super) fn wiped() -> Result<u64, Failure> {
    let mut cluster = stage(19, Style::Replays, 10);
    cluster.ask_move(2, 0, 1, MoveOptions::default());
    while cluster.tally.hand_overs == 0 && cluster.now < 20 * SECOND {
        cluster.run_until(cluster.now + MILLI / 20);
    }
    cluster.wipe(1);
    cluster.restart(1);
    cluster.run_until(cluster.now + 20 * SECOND);
    let told = cluster
        .warnings
        .iter()
        .any(|warning| matches!(warning, Event::Warning(Warning::LostTitle { .. })));
    let case = "after the commit";
    expect(&cluster, case, "one-owner", told, "nobody was told that the title is lost")?;
    let alive = cluster.owner_is(0, 0) || cluster.owner_is(0, 1);
    expect(&cluster, case, "one-owner", !alive, "somebody runs it in spite of that")?;

    let mut cluster = stage(23, Style::Replays, 10);
    cluster.ask_move(2, 0, 1, MoveOptions::default());
    cluster.run_until(cluster.now + 4 * MILLI);
    cluster.wipe(1);
    cluster.restart(1);
    cluster.run_until(cluster.now + 20 * SECOND);
    finish(&mut cluster, "before the vote")?;
    Ok(2)
}

/// The heir's disk is lost after the commit; an operator takes the daemon back at the source, and it
/// moves on from there, to the new disk too.
pub(super) fn taken_back() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for source_restarts in [false, true] {
            let case = format!("{style:?}, the source restarts: {source_restarts}");
            let mut cluster = stage(29, style, 10);
            cluster.ask_move(2, 0, 1, MoveOptions::default());
            while cluster.tally.hand_overs == 0 && cluster.now < 20 * SECOND {
                cluster.run_until(cluster.now + MILLI / 20);
            }
            cluster.wipe(1);
            cluster.restart(1);
            cluster.run_until(cluster.now + SECOND);
            if source_restarts {
                cluster.crash(0, None);
                cluster.restart(0);
                cluster.run_until(cluster.now + SECOND);
            }
            cluster.reclaim(0, 0);
            cluster.run_until(cluster.now + 8 * SECOND);
            finish(&mut cluster, &case)?;
            let back = cluster.owner_is(0, 0);
            expect(&cluster, &case, "it-ends", back, "it did not come back")?;
            cluster.ask_move(2, 0, 1, MoveOptions::default());
            cluster.run_until(cluster.now + 5 * SECOND);
            finish(&mut cluster, &case)?;
            let there = cluster.owner_is(0, 1);
            expect(&cluster, &case, "it-ends", there, "it does not move on")?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// The heir serves, and its acknowledgement was lost: it is asked first, answers, and keeps the daemon.
pub(super) fn not_taken_back() -> Result<u64, Failure> {
    for seed in 31..36 {
        let case = format!("the heir serves, seed {seed}");
        let mut cluster = stage(seed, Style::Replays, 10);
        cluster.ask_move(2, 0, 1, MoveOptions::default());
        while cluster.tally.hand_overs == 0 && cluster.now < 20 * SECOND {
            cluster.run_until(cluster.now + MILLI / 20);
        }
        cluster.network.cuts.extend([(1, 0), (1, 2)]);
        cluster.run_until(cluster.now + SECOND);
        let live = cluster.owner_is(0, 1);
        expect(&cluster, &case, "it-ends", live, "the heir did not go live")?;
        cluster.network.cuts.clear();
        cluster.reclaim(0, 0);
        cluster.run_until(cluster.now + 8 * SECOND);
        let stays = cluster.owner_is(0, 1);
        expect(&cluster, &case, "one-owner", stays, "it was taken from an heir that serves")?;
        finish(&mut cluster, &case)?;
    }
    Ok(5)
}

/// The heir was live, and only down: the daemon was taken back too early. When the heir starts again
/// it hears of that before it serves.
pub(super) fn taken_back_too_early() -> Result<u64, Failure> {
    let case = "the heir comes back";
    let mut cluster = stage(31, Style::Replays, 10);
    cluster.ask_move(2, 0, 1, MoveOptions::default());
    while cluster.tally.hand_overs == 0 && cluster.now < 20 * SECOND {
        cluster.run_until(cluster.now + MILLI / 20);
    }
    // The deed arrives, and nothing that the heir says gets out.
    cluster.network.cuts.extend([(1, 0), (1, 2)]);
    cluster.run_until(cluster.now + SECOND);
    let live = cluster.owner_is(0, 1);
    expect(&cluster, case, "it-ends", live, "the heir did not go live")?;
    cluster.crash(1, None);
    cluster.network.cuts.clear();
    cluster.expect_losses();
    cluster.reclaim(0, 0);
    cluster.run_until(cluster.now + 8 * SECOND);
    let back = cluster.owner_is(0, 0);
    expect(&cluster, case, "it-ends", back, "it did not come back")?;
    cluster.restart(1);
    for _ in 0..400 {
        cluster.run_until(cluster.now + 10 * MILLI);
        let twice = cluster.owner_is(0, 1);
        expect(&cluster, case, "one-owner", !twice, "the heir served what was taken back")?;
    }
    finish(&mut cluster, case)?;
    Ok(1)
}
