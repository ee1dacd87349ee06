//! Every reason for which a move can fail, and one way to it.

use std::time::Duration;

use whimbrel_protocol::{Input, MoveOptions, Settings, Standing};
use whimbrel_wire::{AttemptId, MigrationFailureReason, MigrationMessage, Write};

use crate::stage::{A, B, C, Course, Fate, Item, MOVE, Stage};

type Reason = MigrationFailureReason;

/// How the move of a daemon from `A` to `B`, asked for by `C`, ends.
fn ends(
    settings: Settings,
    options: MoveOptions,
    prepare: impl FnOnce(&mut Stage),
    then: impl FnOnce(&mut Stage),
) -> Reason {
    let mut stage = Stage::with(3, settings);
    stage.spawn(A);
    stage.deliver(A, "a");
    prepare(&mut stage);
    stage.start_move(C, B, options);
    then(&mut stage);
    stage.pass(Duration::from_secs(90));
    assert_eq!(stage.standing(A), Standing::Live, "the daemon goes on where it was");
    let next = stage.deliver(A, "b");
    assert_eq!(stage.delivered(next), [Ok("195".to_owned())]);
    let ends = stage.ends(C);
    let [Err(reason)] = &ends[..] else { panic!("one end: {ends:?}") };
    reason.clone()
}

fn prepared(prepare: impl FnOnce(&mut Stage)) -> Reason {
    ends(Settings::default(), MoveOptions::default(), prepare, |_| {})
}

fn holding_the_copy(stage: &mut Stage) {
    stage.lose(|item| {
        matches!(
            item.migration(),
            Some(
                MigrationMessage::RestoreComplete { .. } | MigrationMessage::ReplayComplete { .. }
            )
        )
    });
}

#[test]
fn a_move_can_fail_for_what_the_target_says_when_it_is_asked() {
    let unprepared = MoveOptions { retry_not_ready: None, ..MoveOptions::default() };
    for reason in [
        Reason::NotReady,
        Reason::FactoryNotFound,
        Reason::ComputeNotSupported,
        Reason::CapacityExceeded,
        Reason::Incompatible("it needs another processor".to_owned()),
        Reason::IdentityTransportFailed("the envelope does not open".to_owned()),
    ] {
        let admits = reason.clone();
        let prepare = |stage: &mut Stage| stage.nodes[B].admits = Err(admits);
        let found = ends(Settings::default(), unprepared.clone(), prepare, |_| {});
        assert_eq!(found, reason);
    }
}

#[test]
fn a_move_can_fail_for_what_goes_wrong_at_the_target() {
    let full = Settings { arrivals_max: 0, ..Settings::default() };
    let found = ends(full, MoveOptions::default(), |_| {}, |_| {});
    assert_eq!(found, Reason::CapacityExceeded);

    let broken = Reason::StateFailed("it does not restore".to_owned());
    let restores = broken.clone();
    assert_eq!(prepared(|stage| stage.nodes[B].restores = Err(restores)), broken);

    let chunks = prepared(|stage| stage.nodes[B].saves_chunks = Err("full".to_owned()));
    assert_eq!(chunks, Reason::StoreFailed("full".to_owned()));

    let lists = prepared(|stage| stage.nodes[B].lists = Err("torn".to_owned()));
    assert_eq!(lists, Reason::SnapshotInvalid("torn".to_owned()));

    // By replay, and then by freeze-and-copy: a copy that adds by itself differs in both.
    assert_eq!(prepared(|stage| stage.nodes[B].drift = 1), Reason::Diverged);

    let attempts = match prepared(|stage| stage.nodes[B].admits = Err(Reason::NotReady)) {
        Reason::NotReadyTimeout { attempts } => attempts,
        other => panic!("{other:?}"),
    };
    assert!(5 < attempts, "asked {attempts} times");
}

#[test]
fn a_move_can_fail_for_what_goes_wrong_at_the_source() {
    let sealing = prepared(|stage| stage.nodes[A].seals = Err("no key".to_owned()));
    assert_eq!(sealing, Reason::IdentityTransportFailed("no key".to_owned()));

    let listing = prepared(|stage| stage.nodes[A].lists = Err("torn".to_owned()));
    assert_eq!(listing, Reason::StateFailed("torn".to_owned()));

    let beginning = prepared(|stage| {
        stage.fates(|_, write| match write {
            Write::BeginAttempt { .. } => Fate::Failed,
            _ => Fate::Good,
        });
    });
    assert!(matches!(beginning, Reason::StoreFailed(_)), "{beginning:?}");

    // Each event comes before the target has caught up with the one before it.
    let hasty = Settings { rounds_max: 0, cutover_lag_max: 0, ..Settings::default() };
    let found = ends(
        hasty,
        MoveOptions::default(),
        |stage| {
            stage.hold(|item| {
                matches!(item.migration(), Some(MigrationMessage::BufferedEvents { .. }))
            });
        },
        Stage::release,
    );
    assert_eq!(found, Reason::CouldNotCatchUp);
}

#[test]
fn a_move_can_fail_for_what_is_asked_of_it() {
    let cancelled = ends(Settings::default(), MoveOptions::default(), holding_the_copy, |stage| {
        stage.feed(C, Input::Cancel { attempt: MOVE });
    });
    assert_eq!(cancelled, Reason::Cancelled);
}

#[test]
fn a_move_to_where_the_daemon_is_and_one_from_where_it_is_not() {
    let mut stage = Stage::born(3);
    stage.start_move(C, A, MoveOptions::default());
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.ends(C), [Err(Reason::SameNode)]);
    stage.forget();
    let (source, target) = (Some(stage.id(C)), stage.id(B));
    let options = MoveOptions::default();
    stage.feed(C, Input::Move { attempt: MOVE, source, target, options });
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.ends(C), [Err(Reason::NotOwner)]);
}

#[test]
fn a_second_move_a_stale_one_and_a_silent_one() {
    let mut stage = Stage::born(3);
    holding_the_copy(&mut stage);
    stage.start_move(C, B, MoveOptions::default());
    let (attempt, target) = (AttemptId::new(0xa2), stage.id(C));
    let options = MoveOptions::default();
    stage.feed(B, Input::Move { attempt, source: None, target, options });
    assert_eq!(stage.ends(B), [Err(Reason::AlreadyMigrating)]);
    stage.pass(Duration::from_secs(60));
    assert!(matches!(stage.ends(C)[..], [Err(Reason::TimedOut)]), "{:?}", stage.ends(C));
    assert_eq!(stage.standing(A), Standing::Live);

    // An attempt never begins again.
    stage.rule(|_| Course::Do);
    stage.forget();
    let (source, target) = (Some(stage.id(A)), stage.id(B));
    let options = MoveOptions::default();
    stage.feed(C, Input::Move { attempt: MOVE, source, target, options });
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.ends(C), [Err(Reason::StaleAttempt)]);
}

#[test]
fn a_move_that_is_overtaken_by_a_shutdown() {
    let mut stage = Stage::born(3);
    holding_the_copy(&mut stage);
    stage.start_move(C, B, MoveOptions::default());
    let ticket = stage.ticket();
    stage.feed(A, Input::Stop { ticket });
    assert_eq!(stage.ends(C), [Err(Reason::ShuttingDown)]);
    assert_eq!(stage.standing(A), Standing::Stopped);
}

/// A node that owns nothing offers a daemon: the title says who does.
#[test]
fn an_offer_of_a_node_that_does_not_own_the_daemon() {
    let mut stage = Stage::born(3);
    let mut offers = Vec::new();
    stage.hold(|item| matches!(item.migration(), Some(MigrationMessage::SnapshotReady { .. })));
    stage.start_move(C, B, MoveOptions::default());
    offers.extend(stage.take_held());
    stage.forget();
    let Item::Message { message, .. } = offers.remove(0) else { panic!("an offer") };
    stage.put(Item::Message { from: C, to: B, message });
    let reason = Reason::WrongPeer;
    let daemon_origin = stage.entity().origin_hash();
    assert!(
        stage.said(B).contains(&MigrationMessage::MigrationFailed { daemon_origin, reason }),
        "{:?}",
        stage.said(B)
    );
}

/// What no machine says by itself: `UnknownNode` is for whoever knows the members, and `TooLate`
/// is never the end of a move, because a cancellation that comes too late finds it committed.
#[test]
fn a_cancellation_that_comes_too_late_changes_nothing() {
    let mut stage = Stage::born(3);
    stage.hold(|item| matches!(item.write(), Some(Write::HandOver { .. })));
    stage.start_move(C, B, MoveOptions::default());
    stage.feed(C, Input::Cancel { attempt: MOVE });
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
}
