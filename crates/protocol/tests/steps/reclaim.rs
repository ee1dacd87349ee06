//! A title whose heir lost its disk, and how it comes back to the node that gave it away.

use std::time::Duration;

use whimbrel_protocol::{Input, MoveOptions, ReclaimError, Standing, Warning};
use whimbrel_wire::{
    AttemptId, Epoch, Message, MigrationFailureReason, MigrationMessage, WriteError,
};

use crate::stage::{A, B, C, Fate, Item, MOVE, Stage};

const WAIT: Duration = Duration::from_secs(10);

fn is_deed_to_b(item: &Item) -> bool {
    let deed = matches!(item.migration(), Some(MigrationMessage::ActivateTarget { .. }));
    let told = matches!(item, Item::Message { message: Message::Title { .. }, .. });
    matches!(item, Item::Message { to: B, .. }) && (deed || told)
}

/// A daemon that was handed over to a node whose disk was lost before it heard of that.
fn lost() -> Stage {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.lose(is_deed_to_b);
    stage.start_move(C, B, MoveOptions::default());
    stage.pass(Duration::from_secs(1));
    stage.rule(|_| crate::stage::Course::Do);
    stage.wipe(B);
    stage.pass(WAIT);
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Departed, Standing::Stranger));
    assert!(stage.warnings(B).contains(&Warning::LostTitle { epoch: Epoch::new(2) }));
    stage
}

#[test]
fn a_title_whose_heir_lost_its_disk_comes_back_on_an_operators_word() {
    let mut stage = lost();
    let waiting = stage.send(C, "b");
    let ticket = stage.reclaim(A);
    stage.pass(Duration::from_secs(4));
    assert_eq!(stage.reclaimed(ticket), [], "the members are asked first");
    stage.pass(WAIT);
    assert_eq!(stage.reclaimed(ticket), [Ok(())]);
    assert_eq!(stage.standing(A), Standing::Live);
    assert_eq!(stage.answered(waiting), [Ok("195".to_owned())], "it goes on where it was");
    let last = stage.nodes[A].seat.title().last().cloned().unwrap();
    assert_eq!((last.deed.epoch, last.deed.owner()), (Epoch::new(3), stage.id(A)));
    // Whoever asked for the move is told, and everybody knows the owner.
    assert_eq!(stage.ends(C), [Err(MigrationFailureReason::Cancelled)]);
    for node in [B, C] {
        assert_eq!(stage.nodes[node].seat.title().last(), Some(&last));
    }
    // It moves like any other, to the new disk too.
    let (attempt, target) = (AttemptId::new(0xa2), stage.id(B));
    let options = MoveOptions::default();
    stage.feed(C, Input::Move { attempt, source: None, target, options });
    stage.pass(WAIT);
    assert_eq!(stage.standing(B), Standing::Live);
    let next = stage.send(C, "c");
    assert_eq!(stage.answered(next), [Ok("294".to_owned())]);
}

#[test]
fn what_was_not_handed_over_or_was_acknowledged_is_not_taken_back() {
    let mut stage = Stage::born(3);
    for (node, error) in [(A, ReclaimError::NotDeparted), (B, ReclaimError::NotDeparted)] {
        let ticket = stage.reclaim(node);
        assert_eq!(stage.reclaimed(ticket), [Err(error)]);
    }
    // The heir answers while it is looked for.
    stage.lose(is_deed_to_b);
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!(stage.standing(A), Standing::Departed);
    let ticket = stage.reclaim(A);
    let second = stage.reclaim(A);
    assert_eq!(stage.reclaimed(second), [Err(ReclaimError::Busy)]);
    stage.rule(|_| crate::stage::Course::Do);
    stage.pass(WAIT);
    assert_eq!(stage.reclaimed(ticket), [Err(ReclaimError::Obeyed)]);
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Stranger, Standing::Live));
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
}

/// The heir was only cut off, and went live. It leaves as soon as it hears, and says what is lost.
#[test]
fn an_heir_that_served_meanwhile_leaves_and_says_what_it_loses() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    // Nothing that B says gets through, and nothing that A says after the deed.
    stage.rule(|item| match item {
        Item::Message { from: B, to, message: Message::Migration(envelope) } if *to != B => {
            match envelope.message {
                MigrationMessage::ActivateAck { .. } => crate::stage::Course::Lose,
                _ => crate::stage::Course::Do,
            }
        }
        Item::Message { from: B, message: Message::Title { .. }, .. } => crate::stage::Course::Lose,
        _ => crate::stage::Course::Do,
    });
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Departed, Standing::Live));
    stage.deliver(B, "b");
    stage.deliver(B, "c");
    stage.lose(|item| matches!(item, Item::Message { from: B, .. } | Item::Message { to: B, .. }));
    let ticket = stage.reclaim(A);
    stage.pass(WAIT);
    assert_eq!(stage.reclaimed(ticket), [Ok(())]);
    stage.rule(|_| crate::stage::Course::Do);
    stage.restart(A);
    stage.pass(WAIT);
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Live, Standing::Stranger));
    let told = Warning::TakenBack { epoch: Epoch::new(3), turns: 2 };
    assert!(stage.warnings(B).contains(&told), "{:?}", stage.warnings(B));
    let next = stage.deliver(A, "d");
    assert_eq!(stage.delivered(next), [Ok("197".to_owned())]);
}

#[test]
fn a_taking_back_whose_save_fails_leaves_everything_as_it_was() {
    for (fate, ends) in [
        (Fate::Failed, Standing::Departed),
        (Fate::UnknownLost, Standing::Departed),
        (Fate::UnknownDone, Standing::Live),
    ] {
        let mut stage = lost();
        stage.fates(move |_, write| match write {
            whimbrel_wire::Write::Reclaim { .. } => fate,
            _ => Fate::Good,
        });
        let ticket = stage.reclaim(A);
        stage.pass(WAIT);
        let found = stage.reclaimed(ticket);
        let failed = matches!(
            found[..],
            [Err(ReclaimError::Store(WriteError::Failed(_) | WriteError::Unknown(_)))]
        );
        assert!(failed, "{found:?}");
        assert_eq!(stage.standing(A), ends, "{fate:?}");
        stage.fates(|_, _| Fate::Good);
        if ends == Standing::Departed {
            let ticket = stage.reclaim(A);
            stage.pass(WAIT);
            assert_eq!(stage.reclaimed(ticket), [Ok(())]);
        }
        assert_eq!(stage.standing(A), Standing::Live);
        assert_eq!(stage.hand_overs(A).len(), 1, "of attempt {MOVE}");
    }
}
