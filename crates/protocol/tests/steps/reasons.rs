//! Every reason for which a move can fail, and one way to it.

use std::time::Duration;

use whimbrel_protocol::{
    Event, Input, MoveOptions, Settings, Standing, TurnFailure, Unprepared, Warning,
};
use whimbrel_wire::{AttemptId, Message, MigrationFailureReason, MigrationMessage, Write};

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

    // The target is heard and replays nothing.
    let hasty = Settings { rounds_max: 0, cutover_lag_max: 0, ..Settings::default() };
    let deaf = |stage: &mut Stage| {
        stage
            .lose(|item| matches!(item.migration(), Some(MigrationMessage::BufferedEvents { .. })));
    };
    let found = ends(hasty, MoveOptions::default(), deaf, |_| {});
    assert_eq!(found, Reason::CouldNotCatchUp);
}

#[test]
fn a_move_can_fail_for_what_the_daemon_or_its_node_says_before_it_leaves() {
    for reason in [Reason::UnknownNode, Reason::Incompatible("not at this hour".to_owned())] {
        let refused = Unprepared::Refused(reason.clone());
        let found = prepared(|stage| {
            stage.nodes[A].prepares = Err(refused);
            stage.rule(|item| {
                let shipped =
                    matches!(item.migration(), Some(MigrationMessage::SnapshotReady { .. }));
                assert!(!shipped, "nothing is shipped before the daemon may leave");
                Course::Do
            });
        });
        assert_eq!(found, reason);
    }
}

/// What broke over the preparation is built anew from the disk, and no event is to blame.
#[test]
fn a_daemon_that_breaks_when_it_gets_ready_goes_on_from_the_disk() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    let failure = TurnFailure::Panicked("as asked".to_owned());
    stage.nodes[A].prepares = Err(Unprepared::Broke(failure.clone()));
    stage.start_move(C, B, MoveOptions::default());
    let next = stage.deliver(A, "b");
    stage.pass(Duration::from_secs(1));
    assert!(matches!(stage.ends(C)[..], [Err(Reason::StateFailed(_))]), "{:?}", stage.ends(C));
    assert!(stage.warnings(A).contains(&Warning::Panicked { message: failure.to_string() }));
    assert_eq!(stage.delivered(next), [Ok("195".to_owned())]);
    assert_eq!(stage.taken(A), ["a", "b"]);
    let live = |event: &&Event| matches!(event, Event::Live { .. });
    assert_eq!(stage.events(A).iter().filter(live).count(), 2, "born, and built anew");
}

/// The gate is asked at the frozen head, before the vote: a refusal leaves the daemon where it was.
#[test]
fn a_state_that_may_not_go_on_at_the_target_stays_where_it_was() {
    let refusal = Reason::Incompatible("it would misread this".to_owned());
    for freeze_and_copy in [false, true] {
        let (judges, options) =
            (refusal.clone(), MoveOptions { freeze_and_copy, ..MoveOptions::default() });
        let prepare = |stage: &mut Stage| stage.nodes[B].judges = Err(judges);
        let found = ends(Settings::default(), options, prepare, |stage| {
            assert_eq!(stage.hand_overs(A), [], "refused before the commit point");
        });
        assert_eq!(found, refusal);
    }
}

/// A source that starts again is not ready: the move waits for it instead of failing.
#[test]
fn a_source_that_is_opening_is_asked_again_until_it_runs() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.restart(A);
    assert_eq!(stage.standing(A), Standing::Opening);
    let impatient = MoveOptions { retry_not_ready: None, ..MoveOptions::default() };
    stage.start_move(C, B, impatient);
    assert_eq!(stage.ends(C), [Err(Reason::NotReady)]);
    stage.forget();
    let attempt = AttemptId::new(0xa2);
    let (source, target) = (Some(stage.id(A)), stage.id(B));
    let options = MoveOptions::default();
    stage.feed(C, Input::Move { attempt, source, target, options });
    assert_eq!(stage.ends(C), []);
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
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

/// `TooLate` is never the end of a move: a cancellation that comes too late finds it committed, and
/// whoever wanted it is told once.
#[test]
fn a_cancellation_that_comes_too_late_changes_nothing_and_is_told_so() {
    let refused = Event::CancelRefused { attempt: MOVE, reason: Reason::TooLate };
    let told = |stage: &Stage| stage.events(C).iter().filter(|event| **event == refused).count();
    let mut stage = Stage::born(3);
    stage.hold(|item| matches!(item.write(), Some(Write::HandOver { .. })));
    stage.start_move(C, B, MoveOptions::default());
    stage.feed(C, Input::Cancel { attempt: MOVE });
    assert_eq!(told(&stage), 0, "it is not decided yet");
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    assert_eq!(told(&stage), 1);

    // The deed is lost on its way to the orchestrator; the source says why it does not give up.
    let mut stage = Stage::born(3);
    stage.lose(|item| {
        let to_orchestrator = matches!(item, Item::Message { to: C, .. });
        let deed = matches!(
            item.migration(),
            Some(MigrationMessage::CleanupComplete { .. } | MigrationMessage::ActivateAck { .. })
        );
        to_orchestrator && deed
            || matches!(item, Item::Message { to: C, message: Message::Title { .. }, .. })
    });
    stage.start_move(C, B, MoveOptions::default());
    stage.feed(C, Input::Cancel { attempt: MOVE });
    assert_eq!(told(&stage), 1);
    assert_eq!(stage.ends(C), [], "it ends when the deed is known");
    let daemon_origin = stage.entity().origin_hash();
    let reason = Reason::TooLate;
    let said = MigrationMessage::MigrationFailed { daemon_origin, reason };
    assert!(stage.said(A).contains(&said));
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    assert_eq!(told(&stage), 1, "once");
}
