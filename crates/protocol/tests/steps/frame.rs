//! A seat in another frame of reference: what a clock shows makes no difference.

use std::time::Duration;

use whimbrel_protocol::{Moment, MoveOptions, Seat};
use whimbrel_wire::Time;

use crate::stage::{A, B, C, Course, Item, Stage};

/// The moment that stands for the present when seats are compared.
const PRESENT: u64 = 1 << 60;

/// The seats after a move that was cut off after `stop` messages, begun so late, by the clock
/// of one frame.
fn seats(stop: usize, late: Duration) -> Vec<Seat> {
    let mut stage = Stage::new(3);
    stage.now = stage.now + late;
    stage.spawn(A);
    stage.send(C, "a");
    let mut left = stop;
    stage.rule(move |item| match item {
        Item::Message { .. } if left == 0 => Course::Lose,
        Item::Message { .. } => {
            left -= 1;
            Course::Do
        }
        _ => Course::Do,
    });
    stage.start_move(C, B, MoveOptions::default());
    stage.send(C, "b");
    stage.pass(Duration::from_millis(700));
    stage.restart(B);
    stage.pass(Duration::from_millis(300));
    let now = stage.now.as_nanos();
    let mut seats: Vec<Seat> = stage.nodes.iter().map(|node| node.seat.clone()).collect();
    for seat in &mut seats {
        seat.moments(&mut |moment| {
            let (Moment::Due(at) | Moment::Since(at) | Moment::Clock(at)) = moment;
            *at = Time::from_nanos(at.as_nanos() + PRESENT - now);
        });
    }
    seats
}

#[test]
fn two_seats_whose_clocks_began_at_different_moments_are_equal_in_one_frame() {
    for stop in 0..60 {
        let early = seats(stop, Duration::ZERO);
        let late = seats(stop, Duration::from_secs(5_000));
        for (node, (early, late)) in early.iter().zip(&late).enumerate() {
            assert!(early == late, "stopped after {stop}, node {node}:\n{early:?}\n{late:?}");
        }
    }
}
