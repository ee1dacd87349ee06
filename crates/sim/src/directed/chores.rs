//! Tells of moves during which a node is shut down in order, or its disk has no room.

use whimbrel_protocol::MoveOptions;

use super::{Failure, finish, stage};
use crate::cluster::{Action, Happening, MILLI, SECOND};
use crate::scribe::Style;

/// Every node is shut down at every millisecond of a move, and comes back.
pub(super) fn shutdowns() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for node in 0..3 {
            for after in 0..40 {
                let case = format!("{style:?}, {node} after {after} ms");
                let mut cluster = stage(after, style, 20);
                cluster.ask_move(2, 0, 1, MoveOptions::default());
                cluster.run_until(cluster.now + after * MILLI);
                cluster.shut_down(node, SECOND);
                cluster.run_until(cluster.now + 6 * SECOND);
                finish(&mut cluster, &case)?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// The disk of source or target has no room from each millisecond of a move on, for a while.
pub(super) fn full() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for node in 0..2 {
            for after in 0..40 {
                let case = format!("{style:?}, {node} after {after} ms");
                let mut cluster = stage(after, style, 20);
                cluster.ask_move(2, 0, 1, MoveOptions::default());
                let act = Action::Full { node, rest: 600 * MILLI };
                cluster.plan(after * MILLI, Happening::Act(act));
                cluster.run_until(cluster.now + 6 * SECOND);
                finish(&mut cluster, &case)?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}
