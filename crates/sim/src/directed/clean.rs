//! Tells of moves that nothing disturbs: every way of catching up, every orchestrator.

use whimbrel_protocol::{MoveOptions, Settings};

use super::Failure;
use crate::checkers::{Seconds, Violation};
use crate::cluster::{Cluster, MILLI, SECOND};
use crate::scribe::Style;

/// Three nodes, one daemon on A, clients on B and C.
pub(super) fn stage(seed: u64, style: Style) -> Cluster {
    let settings = Settings { snapshot_every: 20, ..Settings::default() };
    let mut cluster = Cluster::new(seed, 3, &settings, std::env::var_os("SIM_TRACE").is_some());
    let daemon = cluster.spawn(0, style);
    cluster.add_client(1, daemon, 60, 4, 4 * MILLI);
    cluster.add_client(2, daemon, 60, 4, 5 * MILLI);
    cluster.run_until(cluster.now + 100 * MILLI);
    cluster
}

/// Lets the story end and says how it went.
pub(super) fn finish(cluster: &mut Cluster, case: &str) -> Result<(), Failure> {
    cluster.settle(60 * SECOND);
    if cluster.violation.is_some() || std::env::var_os("SIM_TRACE").is_some() { std::fs::write("/tmp/story.txt", cluster.trace.take_text()).ok(); }
    let failure = |violation| Failure { case: case.to_owned(), violation };
    cluster.violation.take().map_or(Ok(()), |violation| Err(failure(violation)))
}

/// Fails a story with words of its own.
pub(super) fn expect(cluster: &Cluster, case: &str, good: bool, what: &str) -> Result<(), Failure> {
    if good {
        return Ok(());
    }
    let seconds = Seconds(cluster.now);
    let violation = Violation { promise: "it-ends", what: what.to_owned(), seconds };
    Err(Failure { case: case.to_owned(), violation })
}

pub(super) fn moves() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes] {
        for orchestrator in 0..3 {
            for freeze_and_copy in [false, true] {
                let case = format!("{style:?} asked by {orchestrator}, freeze {freeze_and_copy}");
                let mut cluster = stage(runs, style);
                let options = MoveOptions { freeze_and_copy, ..MoveOptions::default() };
                cluster.ask_move(orchestrator, 0, 1, options);
                cluster.run_until(cluster.now + 5 * SECOND);
                finish(&mut cluster, &case)?;
                let moved = cluster.tally.hand_overs == 1;
                expect(&cluster, &case, moved, "the daemon did not move")?;
                let all = cluster.tally.acknowledged == 120;
                expect(&cluster, &case, all, "not every event was acknowledged")?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}
