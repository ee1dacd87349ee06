//! Tells of a second move that hears everything of the first one again.

use whimbrel_protocol::MoveOptions;
use whimbrel_wire::{Message, MigrationMessage};

use super::{Failure, expect, finish, stage};
use crate::cluster::{Action, Happening, MILLI, SECOND};
use crate::scribe::Style;

/// A → B → A and A → B → C, with every message of the first move delivered again afterwards.
pub(super) fn replayed() -> Result<u64, Failure> {
    let mut runs = 0;
    for second in [0, 2] {
        for style in [Style::Replays, Style::Freezes] {
            for during in [false, true] {
                let case = format!("A to B to {second}, {style:?}, during {during}");
                let mut cluster = stage(runs, style, 80);
                cluster.kept = Some(Vec::new());
                cluster.ask_move(2, 0, 1, MoveOptions::default());
                cluster.run_until(cluster.now + 400 * MILLI);
                let kept = cluster.kept.take().unwrap_or_default();
                cluster.ask_move(2, 0, second, MoveOptions::default());
                let rest = if during { 2 * MILLI } else { 400 * MILLI };
                cluster.run_until(cluster.now + rest);
                for message in kept {
                    cluster.send_again(message);
                }
                cluster.run_until(cluster.now + 3 * SECOND);
                finish(&mut cluster, &case)?;
                let moved = cluster.tally.hand_overs == 2;
                expect(&cluster, &case, "it-ends", moved, "the daemon did not move twice")?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// The transfer is cut, the state changes, and the same move is asked for again.
pub(super) fn retry() -> Result<u64, Failure> {
    let mut runs = 0;
    for cut_after in 1..30 {
        let case = format!("cut after {cut_after} ms");
        let mut cluster = stage(cut_after, Style::Replays, 150);
        (cluster.network.delay_min, cluster.network.delay_max) = (2 * MILLI, 5 * MILLI);
        cluster.ask_move(0, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + cut_after * 2 * MILLI);
        for (from, to) in [(0, 1), (1, 0)] {
            let cut = Action::Cut { from, to, rest: 4 * SECOND };
            cluster.plan(0, Happening::Act(cut));
        }
        cluster.run_until(cluster.now + 6 * SECOND);
        cluster.ask_move(0, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + 3 * SECOND);
        finish(&mut cluster, &case)?;
        let moved = cluster.tally.hand_overs == 1;
        expect(&cluster, &case, "it-ends", moved, "the daemon did not move")?;
        runs += 1;
    }
    Ok(runs)
}

/// The transfer is cut in the middle and the state changes; while the same move is made again, the
/// pieces of the first attempt arrive, at every moment at which the second waits for its own.
pub(super) fn stale_pieces() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        for moment in (1..LATE_MAX).step_by(3) {
            let case = format!("{style:?}, after {moment} ms");
            let mut cluster = stage(runs, style, 0);
            cluster.fill_max = 20_000;
            cluster.add_client(1, 0, 400, 4, 20 * MILLI);
            (cluster.network.delay_min, cluster.network.delay_max) = (2 * MILLI, 5 * MILLI);
            cluster.run_until(cluster.now + 500 * MILLI);
            cluster.kept = Some(Vec::new());
            cluster.ask_move(0, 0, 1, MoveOptions::default());
            cluster.run_until(cluster.now + CUT_AFTER);
            let kept = cluster.kept.take().unwrap_or_default();
            let pieces: Vec<_> = kept.into_iter().filter(|(.., sent)| is_piece(sent)).collect();
            for (from, to) in [(0, 1), (1, 0)] {
                let cut = Action::Cut { from, to, rest: 4 * SECOND };
                cluster.plan(0, Happening::Act(cut));
            }
            cluster.run_until(cluster.now + 6 * SECOND);
            expect(&cluster, &case, "it-ends", !pieces.is_empty(), "nothing was on its way")?;
            cluster.ask_move(0, 0, 1, MoveOptions::default());
            cluster.run_until(cluster.now + moment * MILLI);
            for (to, from, message) in pieces {
                cluster.plan(0, Happening::arrive(to, from, message));
            }
            cluster.run_until(cluster.now + 3 * SECOND);
            finish(&mut cluster, &case)?;
            let moved = cluster.tally.hand_overs == 1;
            expect(&cluster, &case, "it-ends", moved, "the daemon did not move")?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// When the first transfer of [`stale_pieces`] is cut: its pieces are on their way.
const CUT_AFTER: u64 = 25 * MILLI;

/// Milliseconds after which the second transfer of [`stale_pieces`] has all of its own.
const LATE_MAX: u64 = 30;

fn is_piece(sent: &Message) -> bool {
    matches!(
        sent,
        Message::Migration(envelope)
            if matches!(envelope.message, MigrationMessage::SnapshotReady { chunk_index: 1.., .. })
    )
}
