//! Tells of one move in which a single message is lost, comes twice, or is overtaken.

use whimbrel_protocol::MoveOptions;

use super::{Failure, finish, stage};
use crate::cluster::{MILLI, SECOND};
use crate::network::{Meddle, Meddling};
use crate::scribe::Style;

/// How long the meddling lasts: the move and a little more.
const WINDOW: u64 = 120 * MILLI;

/// Plays one move with this meddling; says how many messages there were.
fn play(style: Style, meddle: Meddle, case: &str) -> Result<u64, Failure> {
    let mut cluster = stage(7, style, 12);
    cluster.network.meddling = Some(Meddling { seen: 0, meddle });
    cluster.ask_move(2, 0, 1, MoveOptions::default());
    cluster.run_until(cluster.now + WINDOW);
    let meddling = cluster.network.meddling.take();
    cluster.run_until(cluster.now + 3 * SECOND);
    finish(&mut cluster, case)?;
    super::expect(&cluster, case, "it-ends", cluster.tally.hand_overs == 1, "it did not move")?;
    Ok(meddling.map_or(0, |meddling| meddling.seen))
}

fn each(of: fn(u64) -> Meddle) -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Freezes] {
        let count = play(style, Meddle::Count, "undisturbed")?;
        for number in 0..count {
            play(style, of(number), &format!("{style:?} {:?}", of(number)))?;
        }
        runs += count;
    }
    Ok(runs)
}

pub(super) fn lost() -> Result<u64, Failure> {
    each(Meddle::Lose)
}

pub(super) fn doubled() -> Result<u64, Failure> {
    each(Meddle::Double)
}

pub(super) fn swapped() -> Result<u64, Failure> {
    each(Meddle::Late)
}
