//! Tells of moves of every kind whose state has many chunks, while chunks are collected.

use whimbrel_protocol::MoveOptions;

use super::{Failure, expect, finish, stage};
use crate::cluster::{Action, Happening, MILLI, SECOND};
use crate::scribe::Style;

/// There and back, with collections on both nodes all the time.
pub(super) fn moves() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes].into_iter().chain(Style::OTHERS) {
        for freeze_and_copy in [false, true] {
            let case = format!("{style:?}, freeze and copy {freeze_and_copy}");
            let mut cluster = stage(runs, style, 0);
            cluster.fill_max = 60_000;
            cluster.add_client(1, 0, 40, 4, 4 * MILLI);
            cluster.run_until(cluster.now + 200 * MILLI);
            for step in 0..60 {
                for node in 0..3 {
                    let act = Action::Collect { node };
                    cluster.plan(step * 40 * MILLI, Happening::Act(act));
                }
            }
            let options = MoveOptions { freeze_and_copy, ..MoveOptions::default() };
            for target in [1, 0, 2] {
                cluster.ask_move(2, 0, target, options.clone());
                cluster.run_until(cluster.now + 800 * MILLI);
            }
            cluster.crash(2, Some(100 * MILLI));
            cluster.run_until(cluster.now + 3 * SECOND);
            finish(&mut cluster, &case)?;
            let there = cluster.owner_is(0, 2) && cluster.tally.hand_overs == 3;
            expect(&cluster, &case, "it-ends", there, "it did not come round")?;
            let collected = cluster.tally.collected > 0;
            expect(&cluster, &case, "nothing-lost", collected, "nothing was collected")?;
            runs += 1;
        }
    }
    Ok(runs)
}
