//! Tells of one move in which one party crashes, once at each of its outputs.

use whimbrel_protocol::MoveOptions;

use super::{Failure, finish, stage};
use crate::cluster::{Cluster, MILLI, SECOND};
use crate::scribe::Style;

/// Outputs of one party beyond which the move is over.
const OUTPUTS_MAX: u64 = 400;

fn begin(style: Style, transfer: bool) -> Cluster {
    let mut cluster = stage(11, style, 10);
    let options = MoveOptions { freeze_and_copy: transfer, ..MoveOptions::default() };
    // The first input is the orchestrator's own, so a crash can come before anything is said.
    cluster.ask_move(2, 0, 1, options);
    cluster
}

/// Source, target or orchestrator crashes at every output and comes back.
pub(super) fn everywhere() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for node in 0..3 {
            for output in 0..OUTPUTS_MAX {
                let case = format!("{style:?}, node {node} crashes at its output {output}");
                let mut cluster = begin(style, false);
                cluster.crash_at = Some((node, output));
                cluster.run_until(cluster.now + 500 * MILLI);
                if cluster.crash_at.is_some() {
                    break;
                }
                cluster.run_until(cluster.now + 2 * SECOND);
                finish(&mut cluster, &case)?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// The orchestrator dies for good; the others end or finish without it.
pub(super) fn orchestrator() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for step in 0..60 {
            let case =
                format!("{style:?}, the orchestrator is gone after {step} half milliseconds");
            let mut cluster = begin(style, false);
            cluster.run_until(cluster.now + step * MILLI / 2);
            cluster.crash(2, None);
            cluster.run_until(cluster.now + 20 * SECOND);
            let lives = cluster.settled_without(2);
            super::expect(&cluster, &case, "it-ends", lives, "the move did not end without it")?;
            finish(&mut cluster, &case)?;
            runs += 1;
        }
    }
    Ok(runs)
}
