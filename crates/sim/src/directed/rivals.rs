//! Tells of two who want different things of one daemon.

use whimbrel_protocol::{Input, MoveOptions};

use super::{Failure, finish, stage};
use crate::cluster::{MILLI, SECOND};
use crate::scribe::Style;

/// Two orchestrators, two targets, and the source crashes in between.
pub(super) fn two() -> Result<u64, Failure> {
    let mut runs = 0;
    for apart in 0..12 {
        for crash_after in [None, Some(1), Some(4), Some(8), Some(14)] {
            let case = format!("{apart} ms apart, crash after {crash_after:?} ms");
            let mut cluster = stage(runs, Style::Replays, 40);
            cluster.ask_move(1, 0, 1, MoveOptions::default());
            cluster.run_until(cluster.now + apart * MILLI);
            cluster.ask_move(2, 0, 2, MoveOptions::default());
            if let Some(after) = crash_after {
                cluster.run_until(cluster.now + after * MILLI);
                cluster.crash(0, Some(200 * MILLI));
            }
            cluster.run_until(cluster.now + 6 * SECOND);
            finish(&mut cluster, &case)?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// The move is cancelled at every half millisecond; it is told truly whether it was too late.
pub(super) fn cancelled() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for step in 0..80 {
            for orchestrator in [0, 2] {
                let case = format!("{style:?}, cancelled by {orchestrator} at {step}");
                let mut cluster = stage(step, style, 20);
                let entity = cluster.daemons[0].entity;
                let attempt = cluster.ask_move(orchestrator, 0, 1, MoveOptions::default());
                cluster.run_until(cluster.now + step * MILLI / 2);
                cluster.feed(orchestrator, entity, Input::Cancel { attempt });
                cluster.run_until(cluster.now + 4 * SECOND);
                finish(&mut cluster, &case)?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}
