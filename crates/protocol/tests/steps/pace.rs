//! The source of a move whose target is slower than the clients are: rounds end all the same.

use std::time::Duration;

use whimbrel_protocol::{MoveOptions, Settings, Standing, Ticket};
use whimbrel_wire::{MigrationFailureReason, MigrationMessage, Write};

use crate::stage::{A, B, C, Course, Item, Stage};

/// Turns come faster than rounds carry them, until the source throttles.
fn of_few_rounds() -> Settings {
    Settings { rounds_max: 4, round_turns_max: 2, cutover_lag_max: 0, ..Settings::default() }
}

fn is_round(item: &Item) -> bool {
    matches!(item.migration(), Some(MigrationMessage::BufferedEvents { .. }))
}

#[test]
fn rounds_end_however_many_they_are_while_each_leaves_less() {
    let mut stage = Stage::with(3, of_few_rounds());
    stage.spawn(A);
    stage.hold(|item| matches!(item.migration(), Some(MigrationMessage::RestoreComplete { .. })));
    stage.start_move(C, B, MoveOptions::default());
    for _ in 0..40 {
        stage.deliver(A, "a");
    }
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    assert_eq!(stage.taken(B).len(), 40);
}

/// Three turns come for every two that a round carries.
#[test]
fn rounds_end_because_the_source_throttles_when_they_are_in_vain() {
    let mut stage = Stage::with(3, Settings { rounds_max: 20, ..of_few_rounds() });
    stage.spawn(A);
    stage.deliver(A, "a");
    stage.hold(is_round);
    stage.start_move(C, B, MoveOptions::default());
    let mut asked: Vec<Ticket> = Vec::new();
    let served = |stage: &Stage, asked: &[Ticket]| {
        asked.iter().filter(|ticket| matches!(stage.delivered(**ticket)[..], [Ok(_)])).count()
    };
    let mut slowed = 0;
    while stage.standing(A) == Standing::Live {
        asked.extend((0..3).map(|_| stage.deliver(A, "a")));
        let before = served(&stage, &asked);
        let throttled = before < asked.len();
        let held = stage.take_held();
        held.into_iter().for_each(|item| stage.put(item));
        slowed += usize::from(throttled && before < served(&stage, &asked));
        assert!(asked.len() < 300, "it does not end");
    }
    assert!(5 < slowed, "while it throttles, some are served all the same");
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    let served = served(&stage, &asked);
    assert_eq!(stage.taken(B).len(), 1 + served, "what was served, and nothing else");
}

#[test]
fn a_source_that_throttles_for_a_target_that_replays_nothing_gives_up() {
    let settings = Settings { rounds_max: 200, ..of_few_rounds() };
    let (resend, freeze) = (settings.resend_after, settings.freeze_max);
    let mut stage = Stage::with(3, settings);
    stage.spawn(A);
    stage.deliver(A, "a");
    // What it says of its copy is always the same, and it is heard.
    stage.rule(|item| match item {
        Item::Save { write: Write::AppendCopy { .. }, .. } => Course::Hold,
        _ => Course::Do,
    });
    stage.start_move(C, B, MoveOptions::default());
    let mut waits = Duration::ZERO;
    for _ in 0..400 {
        let next = stage.deliver(A, "a");
        stage.pass(resend);
        let waiting = stage.delivered(next).is_empty();
        waits = if waiting { waits + resend } else { Duration::ZERO };
        assert!(waits <= freeze + 2 * resend, "no turn for {waits:?}");
    }
    assert_eq!(stage.ends(C), [Err(MigrationFailureReason::CouldNotCatchUp)]);
    assert_eq!(stage.taken(A).len(), 401);
}
