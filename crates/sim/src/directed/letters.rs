//! Tells of one move in which a single message is lost, comes twice, or is overtaken.

use whimbrel_protocol::MoveOptions;

use super::{Failure, finish, stage};
use crate::cluster::{MILLI, SECOND};
use crate::network::{Exchange, Meddle, Meddling};
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

/// Plays one move in which two of its messages change places; says how many there were.
fn play_exchanged(
    style: Style,
    orchestrator: usize,
    (first, second): (u64, u64),
) -> Result<u64, Failure> {
    let case = format!("{style:?} by {orchestrator}, {first} after {second}");
    let mut cluster = stage(7, style, 12);
    cluster.network.exchange = Some(Exchange::of(first, second));
    cluster.ask_move(orchestrator, 0, 1, MoveOptions::default());
    cluster.run_until(cluster.now + WINDOW);
    let seen = cluster.end_exchange();
    cluster.run_until(cluster.now + 3 * SECOND);
    finish(&mut cluster, &case)?;
    super::expect(&cluster, &case, "it-ends", cluster.tally.hand_overs == 1, "it did not move")?;
    Ok(seen)
}

/// Every pair of messages of one move, whoever orchestrates it: the earlier one arrives right after
/// the later one, or very late if that one is never sent without it.
pub(super) fn exchanged() -> Result<u64, Failure> {
    let mut runs = 0;
    for (style, orchestrator) in
        [(Style::Replays, 0), (Style::Replays, 1), (Style::Replays, 2), (Style::Freezes, 2)]
    {
        let count = play_exchanged(style, orchestrator, (u64::MAX, u64::MAX))?;
        for first in 0..count {
            for second in first + 1..count {
                play_exchanged(style, orchestrator, (first, second))?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}
