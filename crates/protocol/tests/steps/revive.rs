//! A daemon whose owner is lost, brought back by its own key, and the owner that comes back.

use std::time::Duration;

use whimbrel_protocol::{MoveOptions, ReclaimError, SpawnError, Standing, Warning};
use whimbrel_wire::{Epoch, Write, WriteError};

use crate::stage::{A, B, C, Course, Fate, Item, Stage};

const WAIT: Duration = Duration::from_secs(10);

/// Nothing that A says or should hear gets through.
fn cut_off(item: &Item) -> bool {
    matches!(item, Item::Message { from: A, to, .. } | Item::Message { from: to, to: A, .. } if *to != A)
}

/// A owns the daemon and is away; B and C know of it.
fn lost() -> Stage {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.pass(WAIT);
    stage.lose(cut_off);
    stage
}

#[test]
fn a_lost_daemon_goes_on_from_before_in_a_new_epoch_and_its_owner_keeps_nothing() {
    let mut stage = lost();
    stage.deliver(A, "b");
    let ticket = stage.revive(B);
    stage.pass(WAIT);
    assert_eq!(stage.spawned(ticket), [Ok(())]);
    assert_eq!(stage.standing(B), Standing::Live);
    let last = stage.nodes[B].seat.title().last().cloned().unwrap();
    assert_eq!((last.deed.epoch, last.deed.owner()), (Epoch::new(2), stage.id(B)));
    assert!(stage.nodes[B].seat.title().is_revival(Epoch::new(2)));
    assert_eq!(stage.nodes[C].seat.title().last(), Some(&last));
    let asked = stage.send(C, "c");
    assert_eq!(stage.answered(asked), [Ok("99".to_owned())], "nothing of what A took in");

    // The owner that was lost is back: at once, or after a start.
    stage.rule(|_| Course::Do);
    stage.restart(A);
    stage.pass(WAIT);
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Stranger, Standing::Live));
    let told = Warning::TakenBack { epoch: Epoch::new(2), turns: 2 };
    assert!(stage.warnings(A).contains(&told), "{:?}", stage.warnings(A));
    let ticket = stage.reclaim(A);
    assert_eq!(stage.reclaimed(ticket), [Err(ReclaimError::NotDeparted)]);
    stage.restart(A);
    stage.pass(WAIT);
    assert_eq!(stage.standing(A), Standing::Stranger, "nothing is left on its disk");
    // It moves like any other.
    stage.start_move(C, A, MoveOptions::default());
    stage.pass(WAIT);
    assert_eq!(stage.ends(C), [Ok(stage.id(A))]);
}

#[test]
fn a_daemon_that_lives_here_or_of_which_more_is_known_is_not_brought_back() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    let here = stage.revive(A);
    assert_eq!(stage.spawned(here), [Err(SpawnError::Exists)]);
    assert_eq!(stage.standing(A), Standing::Live);
    // Another deed is heard of while the copy is being saved.
    stage.hold(|item| matches!(item, Item::Save { node: B, .. }));
    let late = stage.revive(B);
    stage.rule(|item| match item {
        Item::Save { node: B, .. } => Course::Hold,
        _ => Course::Do,
    });
    stage.start_move(A, C, MoveOptions::default());
    stage.pass(WAIT);
    assert_eq!(stage.standing(C), Standing::Live);
    stage.release();
    stage.pass(WAIT);
    assert_eq!(stage.spawned(late), [Err(SpawnError::Deed)]);
    assert_eq!((stage.standing(B), stage.standing(C)), (Standing::Stranger, Standing::Live));
}

#[test]
fn a_bringing_back_whose_save_fails_leaves_everything_as_it_was() {
    let is_copy = |write: &Write| matches!(write, Write::SaveCopy { .. });
    let is_deed = |write: &Write| matches!(write, Write::Accept { .. });
    for fails in [is_copy, is_deed] {
        let mut stage = lost();
        stage.fates(move |_, write| if fails(write) { Fate::Failed } else { Fate::Good });
        let ticket = stage.revive(B);
        stage.pass(WAIT);
        let ended = stage.spawned(ticket);
        assert!(matches!(ended[..], [Err(SpawnError::Store(WriteError::Failed(_)))]), "{ended:?}");
        assert_eq!(stage.standing(B), Standing::Stranger);
        stage.fates(|_, _| Fate::Good);
        let again = stage.revive(B);
        stage.pass(WAIT);
        assert_eq!(stage.spawned(again), [Ok(())]);
        assert_eq!(stage.standing(B), Standing::Live);
    }
}

/// The owner was cut off with another node, and handed the daemon on: two deeds begin one epoch.
#[test]
fn an_heir_of_the_lost_owner_stops_when_it_hears_that_the_daemon_was_brought_back() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.pass(WAIT);
    stage.lose(|item| {
        matches!(item, Item::Message { from: B, to, .. } | Item::Message { from: to, to: B, .. } if *to != B)
    });
    stage.start_move(A, C, MoveOptions::default());
    stage.pass(WAIT);
    assert_eq!(stage.standing(C), Standing::Live);
    let ticket = stage.revive(B);
    stage.pass(WAIT);
    assert_eq!(stage.spawned(ticket), [Ok(())]);
    assert_eq!((stage.standing(B), stage.standing(C)), (Standing::Live, Standing::Live));
    stage.rule(|_| Course::Do);
    stage.restart(B);
    stage.restart(C);
    stage.pass(WAIT);
    assert!(matches!(stage.standing(C), Standing::Parked(_)), "{:?}", stage.standing(C));
    assert_eq!(stage.standing(B), Standing::Live);
    let conflict = |warning: &Warning| matches!(warning, Warning::Conflict { .. });
    assert!(stage.warnings(C).iter().any(conflict));
    let told = stage.nodes[A].seat.title().known();
    assert_eq!(told, Epoch::new(2));
}
