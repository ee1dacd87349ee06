//! Tells of data folders and snapshots that come from another time: neither is a title.

use whimbrel_protocol::{MoveOptions, Settings};

use super::{Failure, expect, finish, settings, stage, stage_with};
use crate::cluster::{MILLI, SECOND};
use crate::scribe::Style;

/// The folder of A is copied at some moment, the daemon moves on, and the copy is put back: A asks
/// the members before it serves, and does not serve.
pub(super) fn old() -> Result<u64, Failure> {
    old_with(&settings())
}

fn old_with(settings: &Settings) -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for copied in (0..60).step_by(3) {
            for onward in [false, true] {
                let case = format!("{style:?}, copied {copied} ms into the move, onward {onward}");
                let mut cluster = stage_with(settings, copied, style, 40);
                cluster.ask_move(2, 0, 1, MoveOptions::default());
                cluster.run_until(cluster.now + copied * MILLI);
                let backup = cluster.back_up(0);
                cluster.run_until(cluster.now + SECOND);
                if onward {
                    cluster.ask_move(1, 0, 2, MoveOptions::default());
                    cluster.run_until(cluster.now + SECOND);
                }
                cluster.crash(0, None);
                cluster.put_back(0, backup);
                cluster.run_until(cluster.now + 100 * MILLI);
                cluster.restart(0);
                cluster.run_until(cluster.now + 5 * SECOND);
                finish(&mut cluster, &case)?;
                let here = cluster.owner_is(0, 0);
                expect(&cluster, &case, "one-owner", !here, "the old folder serves")?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// A snapshot is taken while the daemon works, and becomes a daemon of its own on another node,
/// which is then moved too.
pub(super) fn exported() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes] {
        for after in (0..40).step_by(4) {
            let case = format!("{style:?}, taken after {after} ms");
            let mut cluster = stage(after, style, 40);
            cluster.sends = false;
            cluster.run_until(cluster.now + after * MILLI);
            cluster.export(0);
            cluster.run_until(cluster.now + 200 * MILLI);
            let taken = cluster.exports.pop();
            let second = taken.and_then(|snapshot| cluster.import(2, &snapshot));
            expect(&cluster, &case, "same-meaning", second.is_some(), "there is no import")?;
            let Some(second) = second else { continue };
            cluster.add_client(1, second, 30, 4, 4 * MILLI);
            cluster.run_until(cluster.now + 40 * MILLI);
            cluster.ask_move(0, second, 1, MoveOptions::default());
            cluster.ask_move(1, 0, 2, MoveOptions::default());
            cluster.run_until(cluster.now + 3 * SECOND);
            finish(&mut cluster, &case)?;
            let moved = cluster.owner_is(second, 1) && cluster.owner_is(0, 2);
            expect(&cluster, &case, "it-ends", moved, "one of the two did not move")?;
            runs += 1;
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_node_that_asks_nobody_before_it_serves_is_found() {
        let told = old_with(&Settings { ask_first: Duration::ZERO, ..settings() });
        assert_eq!(told.unwrap_err().violation.promise, "one-owner");
    }
}
