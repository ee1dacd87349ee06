//! Who may orchestrate a move, when a target is not ready yet, and how a move is called off.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::time::Duration;

use stage::{Diary, identity, nodes, quick, quick_nodes, text, unstarted, until, why_not};
use whimbrel_protocol::{Event, Settings, Standing};
use whimbrel_runtime::{
    DaemonHostConfig, MigrationError, MigrationOpts, Seems, SuperpositionPhase,
};
use whimbrel_wire::{MigrationFailureReason, MigrationPhase, NodeId};

fn patient() -> MigrationOpts {
    MigrationOpts::default()
}

fn impatient() -> MigrationOpts {
    MigrationOpts { retry_not_ready: None, ..MigrationOpts::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn source_target_and_third_can_each_orchestrate_and_the_daemon_comes_back() {
    let nodes = nodes(3, true).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    // Orchestrator, source, target.
    let moves = [(a, a, b), (c, b, c), (b, c, a), (b, a, b), (b, b, a)];
    for (round, (orchestrator, source, target)) in moves.into_iter().enumerate() {
        let mut diary = Diary::of(source);
        orchestrator.knows_owner(entity, source).await;
        let moving = orchestrator
            .runtime
            .start_migration(entity.origin_hash(), source.id(), target.id())
            .await
            .unwrap();
        moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
        diary
            .wait_for("the state is dropped", |event| matches!(event, Event::Dropped { .. }))
            .await;
        target.runs(entity).await;
        let counted = c.send(entity, "add moves 1").await;
        assert_eq!(counted, (round + 1).to_string());
        let counts: Vec<usize> = nodes.iter().map(|node| node.runtime.daemon_count()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 1, "{counts:?}");
    }
    a.runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_may_go_home_the_moment_it_has_arrived() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(2), DaemonHostConfig::default()).await.unwrap();
    for (orchestrator, target) in [(a, b), (b, a), (b, b), (a, a), (a, b), (a, a)] {
        orchestrator.migrate(daemon.entity_id(), target, patient()).await.unwrap();
    }
    assert_eq!(b.send(daemon.entity_id(), "add moves 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_a_node_that_is_still_booting_succeeds_though_nobody_waits() {
    let nodes = unstarted(2, true, quick()).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    a.runtime.start().await.unwrap();
    let daemon = a.runtime.spawn("kv", identity(3), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let mut diary = Diary::of(a);
    drop(a.runtime.migrate(entity, b.id(), patient()).await.unwrap());
    // bounded wait: by itself; starting that much later is the case.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(a.standing(entity), Some(Standing::Live), "the source serves");
    b.runtime.start().await.unwrap();
    b.runs(entity).await;
    let ended =
        diary.wait_for("the move ends", |event| matches!(event, Event::MoveEnded { .. })).await;
    assert!(matches!(ended, Event::MoveEnded { result: Ok(_), .. }), "{ended:?}");
    assert_eq!(a.send(entity, "add a 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booting_node_that_has_heard_of_the_daemon_before_is_waited_for_too() {
    let mut nodes = quick_nodes(2, true).await;
    let daemon =
        nodes[0].runtime.spawn("kv", identity(4), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    nodes[1].hears_of(entity).await;
    let b = nodes.remove(1).shut_down().await.open().await;
    let a = &nodes[0];
    // It said that it stops. Until it is heard of again, a move to it is refused as one to a node that is down.
    let seems = || a.runtime.neighbour(b.id()).map(|it| it.seems);
    until("it is back", || seems() == Some(Seems::Alive)).await;
    let refused = a.runtime.migrate(entity, b.id(), impatient()).await.unwrap();
    assert_eq!(why_not(&refused).await, MigrationFailureReason::NotReady);
    let moving = a.runtime.migrate(entity, b.id(), patient()).await.unwrap();
    // bounded wait: by itself; starting that much later is the case.
    tokio::time::sleep(Duration::from_millis(300)).await;
    b.runtime.start().await.unwrap();
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    b.runs(entity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_says_it_is_not_ready_is_asked_again() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(5), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    b.runtime.simulate_not_ready(true);
    assert!(b.runtime.is_ready(), "only moves see it");
    assert!(b.runtime.spawn("kv", identity(6), DaemonHostConfig::default()).await.is_ok());

    let refused = a.runtime.migrate(entity, b.id(), impatient()).await.unwrap();
    assert_eq!(why_not(&refused).await, MigrationFailureReason::NotReady);
    assert_eq!(a.send(entity, "add a 1").await, "1", "the source serves");

    let moving = a.runtime.migrate(entity, b.id(), patient()).await.unwrap();
    let soon = moving.wait_with_timeout(Duration::from_millis(150)).await;
    assert_eq!(soon, Err(MigrationError::StillRunning));
    b.runtime.simulate_not_ready(false);
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    b.runs(entity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_stays_not_ready_is_given_up_after_the_time_that_the_caller_set() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(7), DaemonHostConfig::default()).await.unwrap();
    b.runtime.simulate_not_ready(true);
    let options = MigrationOpts {
        retry_not_ready: Some(Duration::from_millis(400)),
        ..MigrationOpts::default()
    };
    let moving = a.runtime.migrate(daemon.entity_id(), b.id(), options).await.unwrap();
    let ended = moving.wait_with_timeout(Duration::from_secs(4)).await;
    let given_up = matches!(
        ended,
        Err(MigrationError::Failed(MigrationFailureReason::NotReadyTimeout { attempts: 2.. }))
    );
    assert!(given_up, "{ended:?}");
    assert_eq!(a.send(daemon.entity_id(), "add a 1").await, "1", "the source serves");
    assert_eq!(a.runtime.migration_phase(daemon.origin_hash()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_called_off_in_time_changes_nothing() {
    let nodes = quick_nodes(3, true).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(8), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.send(entity, "put a 1").await;
    b.runtime.simulate_not_ready(true);
    c.hears_of(entity).await;
    for orchestrator in [a, c, b] {
        let moving = orchestrator.runtime.migrate(entity, b.id(), patient()).await.unwrap();
        moving.cancel();
        moving.clone().cancel();
        assert_eq!(why_not(&moving).await, MigrationFailureReason::Cancelled);
    }
    b.runtime.simulate_not_ready(false);
    assert_eq!(a.standing(entity), Some(Standing::Live));
    assert_eq!(c.send(entity, "get a").await, "1");
    // Nothing is left in the way of the next move.
    a.migrate(entity, b, patient()).await.unwrap();
    assert_eq!(c.send(entity, "get a").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_called_off_during_the_transfer_changes_nothing() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(9), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let client = a.runtime.client();
    let value: String = "0123456789abcdef".repeat(8 * 1024);
    let puts: Vec<_> =
        (0..64).map(|key| client.send(entity, text(format!("put {key} {key}{value}")))).collect();
    for put in puts {
        put.await.unwrap();
    }
    let mut diary = Diary::of(a);
    let moving = a.runtime.migrate(entity, b.id(), patient()).await.unwrap();
    diary
        .wait_for("chunks travel", |event| {
            matches!(event, Event::Phase { phase: MigrationPhase::Transfer, .. })
        })
        .await;
    moving.cancel();
    match moving.wait_with_timeout(stage::PATIENCE).await {
        Err(MigrationError::Failed(MigrationFailureReason::Cancelled)) => {
            assert_eq!(a.standing(entity), Some(Standing::Live));
            assert_eq!(b.runtime.daemon_count(), 0);
        }
        // It was quicker than the word.
        Ok(()) => b.runs(entity).await,
        other => panic!("{other:?}"),
    }
    assert_eq!(b.send(entity, "add a 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calling_off_a_move_past_its_commit_point_is_too_late() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(10), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let mut diary = Diary::of(a);
    let moving = a.runtime.migrate(entity, b.id(), patient()).await.unwrap();
    diary.wait_for("the hand-over", |event| matches!(event, Event::HandedOver { .. })).await;
    moving.cancel();
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    b.runs(entity).await;
    assert_eq!(a.send(entity, "add a 1").await, "1");
    assert_eq!(a.runtime.daemon_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_being_moved_is_not_moved_by_another() {
    let nodes = quick_nodes(3, true).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(11), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    b.knows_owner(entity, a).await;
    c.knows_owner(entity, a).await;
    let one = b.runtime.migrate(entity, b.id(), patient()).await.unwrap();
    let two = c.runtime.migrate(entity, c.id(), patient()).await.unwrap();
    let one = one.wait_with_timeout(stage::PATIENCE).await;
    let two = two.wait_with_timeout(stage::PATIENCE).await;
    // The second is refused, or comes so late that it follows the first.
    assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    for ended in [one, two] {
        let fine = matches!(
            ended,
            Ok(())
                | Err(MigrationError::Failed(
                    MigrationFailureReason::AlreadyMigrating
                        | MigrationFailureReason::StaleAttempt
                        | MigrationFailureReason::NotOwner
                ))
        );
        assert!(fine, "{ended:?}");
    }
    assert_eq!(a.send(entity, "add a 1").await, "1");
    until("one has it", || {
        nodes.iter().map(|node| node.runtime.daemon_count()).sum::<usize>() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_from_a_node_that_does_not_own_it_ends_with_a_reason() {
    let settings = Settings { search_max: Duration::from_millis(400), ..Settings::default() };
    let nodes = unstarted(3, true, settings).await;
    for node in &nodes {
        node.runtime.start().await.unwrap();
    }
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(12), DaemonHostConfig::default()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    c.hears_of(entity).await;
    let source: NodeId = b.id();
    let moving = c.runtime.start_migration(origin, source, a.id()).await.unwrap();
    let reason = why_not(&moving).await;
    let told =
        matches!(reason, MigrationFailureReason::NotOwner | MigrationFailureReason::SameNode);
    assert!(told, "{reason:?}");
    let moving = c.runtime.start_migration(origin, source, c.id()).await.unwrap();
    assert_eq!(why_not(&moving).await, MigrationFailureReason::NotOwner);
    assert_eq!(a.standing(entity), Some(Standing::Live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_seen_from_one_place_to_the_other_with_the_heads_of_both() {
    let nodes = nodes(3, true).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(21), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    for _ in 0..5 {
        c.send(entity, "add a 1").await;
    }
    // A third node orchestrates, then the target, then the source.
    for (orchestrator, source, target) in [(c, a, b), (a, b, a), (a, a, b)] {
        orchestrator.knows_owner(entity, source).await;
        let before = source.runtime.status(entity).unwrap().head.unwrap();
        let moving = orchestrator.runtime.migrate(entity, target.id(), patient()).await.unwrap();
        let mut states = moving.superpositions();
        let mut phases = Vec::new();
        while let Some(state) = states.next().await {
            assert_eq!((state.entity, state.target), (entity, target.id()));
            if phases.last() != Some(&state.phase) {
                phases.push(state.phase);
            }
        }
        // Whoever looks seldom misses some, and never sees one twice or out of order.
        assert!(phases.is_sorted(), "{phases:?}");
        assert_eq!(phases.last(), Some(&SuperpositionPhase::Resolved));
        moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
        target.runs(entity).await;
        let end = moving.superposition();
        let lives = target.runtime.status(entity).unwrap().head;
        assert_eq!(end.source, Some(source.id()));
        assert_eq!(end.source_head, Some(before), "nothing came in between");
        assert_eq!(end.target_head, lives, "the head from which the target goes on");
        assert_eq!(orchestrator.runtime.superposition(entity), None, "it is over");
    }
    // A move that fails ends where it began.
    let moving = c.runtime.migrate(entity, c.id(), patient()).await.unwrap();
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    b.runtime.simulate_not_ready(true);
    let refused = c.runtime.migrate(entity, b.id(), impatient()).await.unwrap();
    assert_eq!(why_not(&refused).await, MigrationFailureReason::NotReady);
    let end = refused.superposition();
    assert_eq!((end.phase, end.deed), (SuperpositionPhase::Localized, None));
}
