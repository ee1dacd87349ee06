//! What each method of the runtime says it does, on real nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stage::actors::{Binding, Echo, Foreign};
use stage::impostor::Impostor;
use stage::{
    Diary, Node, config, eventually, identity, local, member, nodes, quick, quick_nodes, text,
    unstarted, until, volatile, why_not,
};
use whimbrel_protocol::{DeliverError, Event, SpawnError, Standing, Warning};
use whimbrel_runtime::{
    DaemonError, DaemonHostConfig, DaemonRuntime, Mesh, MigrationError, MigrationOpts,
};
use whimbrel_wire::{
    CausalEvent, Identity, MigrationFailureReason, MigrationPhase, NodeKey, OriginHash,
};

fn with_host() -> DaemonHostConfig {
    DaemonHostConfig::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_goes_from_registering_to_ready_to_down_and_never_back() {
    let node = unstarted(1, true, quick()).await.remove(0);
    let runtime = &node.runtime;
    let origin = identity(1).origin_hash();
    let event = CausalEvent::unchained(origin, 1, text("get a"));

    assert!(!runtime.is_ready());
    runtime.register_factory("early", || Box::new(Echo)).unwrap();
    runtime.expect_migration("early", origin, with_host()).unwrap();
    let early = runtime.spawn("kv", identity(1), with_host()).await;
    assert!(matches!(early, Err(DaemonError::NotReady)));
    assert!(matches!(runtime.stop(origin).await, Err(DaemonError::NotReady)));
    assert!(matches!(runtime.snapshot(origin).await, Err(DaemonError::NotReady)));
    assert!(matches!(runtime.deliver_async(origin, &event).await, Err(DaemonError::NotReady)));
    let moving = runtime.start_migration(origin, node.id(), node.id()).await;
    assert!(matches!(moving, Err(DaemonError::NotReady)));

    runtime.start().await.unwrap();
    runtime.start().await.unwrap();
    assert!(runtime.is_ready());
    runtime.register_factory("late", || Box::new(Echo)).unwrap();
    runtime.spawn("kv", identity(1), with_host()).await.unwrap();
    assert_eq!(runtime.clone().daemon_count(), 1, "a clone shares all state");

    runtime.shutdown().await.unwrap();
    runtime.shutdown().await.unwrap();
    assert!(!runtime.is_ready());
    assert!(matches!(runtime.start().await, Err(DaemonError::ShuttingDown)));
    let last = runtime.register_factory("last", || Box::new(Echo));
    assert!(matches!(last, Err(DaemonError::ShuttingDown)));
    let late = runtime.spawn("kv", identity(2), with_host()).await;
    assert!(matches!(late, Err(DaemonError::ShuttingDown)));
    let delivered = runtime.deliver_async(origin, &event).await;
    assert!(matches!(delivered, Err(DaemonError::ShuttingDown)));
    let announced = runtime.expect_migration("kv", origin, with_host());
    assert!(matches!(announced, Err(DaemonError::ShuttingDown)));
    assert!(runtime.stop(origin).await.is_ok(), "it is stopped already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_is_registered_once_and_needs_a_name() {
    let node = nodes(1, false).await.remove(0);
    let again = node.runtime.register_factory("kv", || Box::new(Echo));
    assert!(matches!(again, Err(DaemonError::FactoryAlreadyRegistered(kind)) if kind == "kv"));
    let nameless = node.runtime.register_factory("", || Box::new(Echo));
    assert!(matches!(nameless, Err(DaemonError::Kind(_))));
    let unknown = node.runtime.spawn("no such kind", identity(1), with_host()).await;
    assert!(matches!(unknown, Err(DaemonError::FactoryNotFound(kind)) if kind == "no such kind"));
    assert_eq!(node.runtime.daemon_count(), 0);
    assert!(node.runtime.daemons().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_spawned_once_here_or_elsewhere() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(3), with_host()).await.unwrap();
    let again = a.runtime.spawn("kv", identity(3), with_host()).await;
    assert!(matches!(again, Err(DaemonError::Spawn(SpawnError::Exists))));
    b.hears_of(daemon.entity_id()).await;
    let elsewhere = b.runtime.spawn("kv", identity(3), with_host()).await;
    assert!(matches!(elsewhere, Err(DaemonError::Spawn(SpawnError::Exists))));
    assert_eq!((a.runtime.daemon_count(), b.runtime.daemon_count()), (1, 0));
    assert_eq!(a.deliver(daemon.origin_hash(), "put a 1").await.unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_spawns_at_once_leave_one_daemon() {
    let node = nodes(1, true).await.remove(0);
    let (one, two) = tokio::join!(
        node.runtime.spawn("kv", identity(3), with_host()),
        node.runtime.spawn("kv", identity(3), with_host()),
    );
    assert!(one.is_ok() != two.is_ok(), "{:?} {:?}", one.err(), two.err());
    assert_eq!(node.runtime.daemon_count(), 1);
    assert_eq!(node.deliver(identity(3).origin_hash(), "put a 1").await.unwrap(), "ok");
}

/// Two nodes that gave birth to the same daemon while they did not know each other.
async fn twins(identity: impl Fn() -> Identity) -> Vec<Node> {
    let nodes = unstarted(2, true, quick()).await;
    for (node, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
        node.runtime.mesh().members().remove(other.id());
        node.runtime.start().await.unwrap();
        node.runtime.spawn("kv", identity(), with_host()).await.unwrap();
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_born_on_two_nodes_are_both_stopped_for_all_to_see() {
    let nodes = twins(|| identity(4)).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let entity = identity(4).entity_id();
    let mut diaries = [Diary::of(a), Diary::of(b)];
    let mut gossip = Impostor::admitted(60, &[a, b]);
    let of_a = gossip.dealt_with(a, entity).await;
    let of_b = gossip.dealt_with(b, entity).await;
    gossip.tell_deeds(a, entity, of_b);
    gossip.tell_deeds(b, entity, of_a);
    for (node, diary) in nodes.iter().zip(&mut diaries) {
        diary
            .wait_for_warning("the conflict is told", |warning| {
                matches!(warning, Warning::Conflict { .. })
            })
            .await;
        until("both are stopped", || matches!(node.standing(entity), Some(Standing::Parked(_))))
            .await;
        let refused = node.deliver(entity.origin_hash(), "put a 1").await;
        let Err(DaemonError::Deliver(DeliverError::NotRunnable(why))) = &refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("two nodes"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_whose_nodes_meet_later_are_found_when_one_starts_again() {
    let mut nodes = twins(|| identity(4)).await;
    let entity = identity(4).entity_id();
    stage::introduce(&nodes);
    let a = nodes.remove(0).shut_down().await.open().await;
    a.runtime.start().await.unwrap();
    for node in [&a, &nodes[0]] {
        until("both are stopped", || matches!(node.standing(entity), Some(Standing::Parked(_))))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_of_another_language_moves_to_a_node_whose_binding_knows_its_kind() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let (of_a, of_b) = (Arc::new(Binding::default()), Arc::new(Binding::default()));
    // The binding awaits its language and hands over the instance; the factory comes along.
    let instance = Foreign { lines: vec!["made-by-hand".to_owned()] };
    let spawned =
        a.runtime.spawn_with_daemon(identity(5), with_host(), Box::new(instance), of_a.factory());
    let daemon = spawned.await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    assert_eq!(of_a.built.load(Ordering::Relaxed), 0, "the instance is the caller's");
    assert_eq!(a.deliver(origin, "one").await.unwrap(), "made-by-hand one");

    b.runtime.register_factory("foreign", of_b.factory()).unwrap();
    let mut diary = Diary::of(a);
    a.migrate(entity, b, MigrationOpts::default()).await.unwrap();
    assert_eq!(b.deliver(origin, "two").await.unwrap(), "made-by-hand one two");
    assert!(of_b.built.load(Ordering::Relaxed) > 0);

    diary.wait_for("the state is dropped", |event| matches!(event, Event::Dropped { .. })).await;
    // And home again, where only this daemon has the factory; it is called once more.
    b.migrate(entity, a, MigrationOpts::default()).await.unwrap();
    a.runs(entity).await;
    assert_eq!(a.deliver(origin, "three").await.unwrap(), "made-by-hand one two three");
    assert!(of_a.built.load(Ordering::Relaxed) > 0);
    a.runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_spawn_leaves_the_factory_of_the_daemon_alone() {
    let node = nodes(1, true).await.remove(0);
    let (first, second) = (Arc::new(Binding::default()), Arc::new(Binding::default()));
    let spawn = |binding: &Arc<Binding>| {
        let body = Box::new(Foreign::default());
        node.runtime.spawn_with_daemon(identity(5), with_host(), body, binding.factory())
    };
    let daemon = spawn(&first).await.unwrap();
    node.deliver(daemon.origin_hash(), "kept").await.unwrap();
    let again = spawn(&second).await;
    assert!(matches!(again, Err(DaemonError::Spawn(SpawnError::Exists))));
    // The panic has it built anew.
    let declined = node.deliver(daemon.origin_hash(), "panic").await;
    assert!(matches!(declined, Err(DaemonError::Declined(_))));
    assert_eq!(node.deliver(daemon.origin_hash(), "?").await.unwrap(), "kept");
    assert_eq!(second.built.load(Ordering::Relaxed), 0);
    assert!(first.built.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_gives_its_state_to_the_identity_that_it_is_of() {
    let nodes = nodes(2, true).await;
    let [a, apart] = &nodes[..] else { panic!("two nodes") };
    // A second mesh, so to speak: it never hears of the first birth.
    for (node, other) in [(a, apart), (apart, a)] {
        node.runtime.mesh().members().remove(other.id());
    }
    let binding = Arc::new(Binding::default());
    let body = Box::new(Foreign::default());
    let daemon = a.runtime.spawn_with_daemon(identity(6), with_host(), body, binding.factory());
    let daemon = daemon.await.unwrap();
    a.deliver(daemon.origin_hash(), "remembered").await.unwrap();
    let snapshot = daemon.snapshot().await.unwrap().unwrap();

    let factory = binding.factory();
    let strange =
        apart.runtime.spawn_from_snapshot("kv", identity(7), snapshot.clone(), with_host());
    assert!(matches!(strange.await, Err(DaemonError::SnapshotIdentityMismatch)));
    let body = Box::new(Foreign::default());
    let strange = apart.runtime.spawn_from_snapshot_with_daemon(
        identity(7),
        snapshot.clone(),
        with_host(),
        body,
        binding.factory(),
    );
    assert!(matches!(strange.await, Err(DaemonError::SnapshotIdentityMismatch)));
    assert!(apart.runtime.status(identity(7).entity_id()).is_none(), "nothing came of it");
    assert!(apart.runtime.status(identity(6).entity_id()).is_none());

    let wrong =
        apart.runtime.spawn_from_snapshot("tally", identity(6), snapshot.clone(), with_host());
    assert!(matches!(wrong.await, Err(DaemonError::Build(_))), "another kind");
    assert_eq!(apart.runtime.daemon_count(), 0);

    let body = Box::new(Foreign::default());
    let reborn = apart.runtime.spawn_from_snapshot_with_daemon(
        identity(6),
        snapshot.clone(),
        with_host(),
        body,
        factory,
    );
    let reborn = reborn.await.unwrap();
    assert_eq!(apart.deliver(reborn.origin_hash(), "?").await.unwrap(), "remembered");
    let again = apart.runtime.spawn_from_snapshot("foreign", identity(6), snapshot, with_host());
    let again = again.await;
    let refused = matches!(again, Err(DaemonError::Spawn(SpawnError::Exists)));
    assert!(refused, "{:?}", again.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_daemon_stays_on_disk_and_resumes_with_its_node() {
    let mut nodes = quick_nodes(2, true).await;
    let daemon = nodes[0].runtime.spawn("kv", identity(8), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    nodes[0].deliver(origin, "put a 1").await.unwrap();
    nodes[0].runtime.stop(origin).await.unwrap();
    nodes[0].runtime.stop(origin).await.unwrap();
    assert_eq!(nodes[0].standing(entity), Some(Standing::Stopped));
    assert_eq!(nodes[0].runtime.daemon_count(), 0, "it is off the registry");
    let stopped = nodes[0].deliver(origin, "put a 2").await;
    assert!(matches!(stopped, Err(DaemonError::Deliver(DeliverError::Stopped))), "{stopped:?}");
    let again = nodes[0].runtime.spawn("kv", identity(8), with_host()).await;
    assert!(matches!(again, Err(DaemonError::Spawn(SpawnError::Exists))));
    assert!(matches!(
        nodes[0].runtime.stop(OriginHash::new(1)).await,
        Err(DaemonError::NotFound(_))
    ));

    let node = nodes.remove(0).shut_down().await.open().await;
    node.runtime.start().await.unwrap();
    node.runs(entity).await;
    assert_eq!(node.deliver(origin, "get a").await.unwrap(), "1");
    assert_eq!(node.runtime.daemon_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_daemon_leaves_a_tombstone() {
    let mut nodes = quick_nodes(2, true).await;
    let daemon = nodes[0].runtime.spawn("kv", identity(9), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    nodes[1].hears_of(entity).await;
    nodes[0].runtime.delete(origin).await.unwrap();
    until("it is deleted", || nodes[0].standing(entity) == Some(Standing::Deleted)).await;
    assert_eq!(nodes[0].runtime.daemon_count(), 0);
    for node in &nodes {
        let again = node.runtime.spawn("kv", identity(9), with_host()).await;
        assert!(matches!(again, Err(DaemonError::Spawn(SpawnError::Exists))), "{:?}", again.err());
    }
    let gone = nodes[0].deliver(origin, "get a").await;
    assert!(matches!(gone, Err(DaemonError::Deliver(DeliverError::Deleted))), "{gone:?}");
    let sent = nodes[1].runtime.send(entity, text("get a")).await;
    let told = matches!(sent, Err(DaemonError::Send(whimbrel_protocol::SendError::Deleted)));
    assert!(told, "{sent:?}");

    let node = nodes.remove(0).shut_down().await.open().await;
    node.runtime.start().await.unwrap();
    until("the tombstone is read", || node.standing(entity) == Some(Standing::Deleted)).await;
    let again = node.runtime.spawn("kv", identity(9), with_host()).await;
    assert!(matches!(again, Err(DaemonError::Spawn(SpawnError::Exists))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_state_makes_a_snapshot() {
    let node = nodes(1, true).await.remove(0);
    node.runtime.register_factory("echo", || Box::new(Echo)).unwrap();
    let echo = node.runtime.spawn("echo", identity(10), with_host()).await.unwrap();
    assert_eq!(node.deliver(echo.origin_hash(), "hello").await.unwrap(), "hello");
    assert!(echo.snapshot().await.unwrap().is_none());
    assert!(node.runtime.snapshot(echo.origin_hash()).await.unwrap().is_none());
    let kv = node.runtime.spawn("kv", identity(11), with_host()).await.unwrap();
    node.deliver(kv.origin_hash(), "put a 1").await.unwrap();
    let snapshot = kv.snapshot().await.unwrap().unwrap();
    assert_eq!(snapshot.entity_id(), kv.entity_id());
    let nobody = node.runtime.snapshot(OriginHash::new(1)).await;
    assert!(matches!(nobody, Err(DaemonError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_without_state_moves_too() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    for node in &nodes {
        node.runtime.register_factory("echo", || Box::new(Echo)).unwrap();
    }
    let echo = a.runtime.spawn("echo", identity(10), with_host()).await.unwrap();
    a.migrate(echo.entity_id(), b, MigrationOpts::default()).await.unwrap();
    assert_eq!(b.deliver(echo.origin_hash(), "hello").await.unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_handles_stops_nothing() {
    let node = nodes(1, false).await.remove(0);
    let daemon = node.runtime.spawn("kv", identity(12), volatile()).await.unwrap();
    let (clone, origin) = (daemon.clone(), daemon.origin_hash());
    drop(daemon);
    node.deliver(origin, "put a 1").await.unwrap();
    assert!(clone.stats().is_some());
    drop(clone);
    assert_eq!(node.deliver(origin, "get a").await.unwrap(), "1");
    assert_eq!(node.runtime.daemon_count(), 1);
    assert!(node.runtime.subscriptions(origin).unwrap().is_empty());
    let nobody = node.runtime.subscriptions(OriginHash::new(1));
    assert!(matches!(nobody, Err(DaemonError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliver_blocks_threads_and_never_tasks() {
    let node = nodes(1, true).await.remove(0);
    let daemon = node.runtime.spawn("kv", identity(13), with_host()).await.unwrap();
    let origin = daemon.origin_hash();
    let put = CausalEvent::unchained(origin, 1, text("put a 1"));
    assert!(matches!(node.runtime.deliver(origin, &put), Err(DaemonError::WouldBlock)));
    let runtime = node.runtime.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(tell.send(runtime.deliver(origin, &put))));
    assert_eq!(told.await.unwrap().unwrap().len(), 1);
    assert_eq!(node.deliver(origin, "get a").await.unwrap(), "1");
    // A volatile daemon answers at once, so nothing blocks.
    let fast = node.runtime.spawn("kv", identity(14), volatile()).await.unwrap();
    let put = CausalEvent::unchained(fast.origin_hash(), 1, text("put a 1"));
    assert_eq!(node.runtime.deliver(fast.origin_hash(), &put).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_six_phases_come_in_order_and_are_gone_at_the_end() {
    let nodes = nodes(3, true).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(15), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    c.hears_of(entity).await;
    let mut diary = Diary::of(c);
    assert_eq!(c.runtime.migration_phase(origin), None);
    let moving = c.runtime.start_migration(origin, a.id(), b.id()).await.unwrap();
    moving.wait().await.unwrap();
    assert_eq!(moving.phase(), None);
    assert_eq!(c.runtime.migration_phase(origin), None);
    assert_eq!(a.runtime.migration_phase(origin), None, "it did not orchestrate");
    let phases: Vec<MigrationPhase> = diary
        .so_far()
        .into_iter()
        .filter_map(|event| match event {
            Event::Phase { attempt, phase } if attempt == moving.attempt() => Some(phase),
            _ => None,
        })
        .collect();
    let all = [
        MigrationPhase::Snapshot,
        MigrationPhase::Transfer,
        MigrationPhase::Restore,
        MigrationPhase::Replay,
        MigrationPhase::Cutover,
        MigrationPhase::Complete,
    ];
    assert_eq!(phases, all);
    assert_eq!(moving.progress().unwrap().phase, MigrationPhase::Cutover);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_daemon_is_hosted_as_announced() {
    let nodes = quick_nodes(2, true).await;
    let daemon = nodes[0].runtime.spawn("kv", identity(16), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    nodes[1].hears_of(entity).await;
    let unknown = nodes[1].runtime.expect_migration("no such kind", origin, volatile());
    assert!(matches!(unknown, Err(DaemonError::FactoryNotFound(_))));
    nodes[1].runtime.expect_migration("kv", origin, volatile()).unwrap();
    nodes[0].migrate(entity, &nodes[1], MigrationOpts::default()).await.unwrap();
    // Volatile: it answers a blocking call at once, in an async context.
    let put = CausalEvent::unchained(origin, 1, text("put a 1"));
    nodes[1].runtime.deliver(origin, &put).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_announced_as_another_kind_is_not_taken() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(17), with_host()).await.unwrap();
    b.runtime.expect_migration("tally", daemon.origin_hash(), with_host()).unwrap();
    let moving = a.runtime.migrate(daemon.entity_id(), b.id(), MigrationOpts::default()).await;
    let reason = why_not(&moving.unwrap()).await;
    assert!(matches!(reason, MigrationFailureReason::Incompatible(_)), "{reason:?}");
    assert_eq!(a.deliver(daemon.origin_hash(), "put a 1").await.unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_stays_at_home_must_be_at_the_target_already() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let keyless = MigrationOpts { transport_identity: false, ..MigrationOpts::default() };
    let daemon = a.runtime.spawn("kv", identity(18), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    a.deliver(origin, "put a 1").await.unwrap();

    for announced in [false, true] {
        if announced {
            b.runtime.expect_migration("kv", origin, with_host()).unwrap();
        }
        let moving = a.runtime.migrate(entity, b.id(), keyless.clone()).await.unwrap();
        let reason = why_not(&moving).await;
        let told = matches!(reason, MigrationFailureReason::IdentityTransportFailed(_));
        assert!(told, "{reason:?}");
        assert_eq!(a.deliver(origin, "get a").await.unwrap(), "1", "the source serves");
        assert_eq!(b.runtime.daemon_count(), 0);
    }

    b.runtime.register_migration_target_identity("kv", identity(18), with_host()).unwrap();
    let unknown =
        b.runtime.register_migration_target_identity("no such kind", identity(18), with_host());
    assert!(matches!(unknown, Err(DaemonError::FactoryNotFound(_))));
    let mut diary = Diary::of(a);
    a.migrate(entity, b, keyless).await.unwrap();
    diary.wait_for("the state is dropped", |event| matches!(event, Event::Dropped { .. })).await;
    b.runs(entity).await;
    assert_eq!(b.deliver(origin, "get a").await.unwrap(), "1");
    // It has the key for good: it can send it on.
    b.migrate(entity, a, MigrationOpts::default()).await.unwrap();
    a.runs(entity).await;
    assert_eq!(a.deliver(origin, "get a").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_told_when_the_node_goes_down() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(19), with_host()).await.unwrap();
    let entity = daemon.entity_id();
    let client = a.runtime.client();
    b.runtime.simulate_not_ready(true);
    let moving = a.runtime.migrate(entity, b.id(), MigrationOpts::default()).await.unwrap();
    // Nobody answers this one for a while.
    let searching = client.send(Identity::from_seed(&[77; 32]).entity_id(), text("get a"));
    a.runtime.shutdown().await.unwrap();
    let patience = stage::PATIENCE;
    let told = tokio::time::timeout(patience, searching).await.expect("the sender is told");
    assert!(matches!(told, Err(DaemonError::ShuttingDown | DaemonError::Send(_))), "{told:?}");
    let late = tokio::time::timeout(patience, client.send(entity, text("get a"))).await;
    let late = late.expect("a late sender is told");
    assert!(matches!(late, Err(DaemonError::ShuttingDown)), "{late:?}");
    match tokio::time::timeout(patience, moving.wait()).await.expect("the mover is told") {
        Err(MigrationError::OrchestratorGone)
        | Err(MigrationError::Failed(MigrationFailureReason::ShuttingDown)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_dropped_gives_folder_and_port_free() {
    let folder = tempfile::tempdir().unwrap();
    let key = NodeKey::from_seed(&[1; 32]);
    let open = config(key.clone(), Some(folder.path().to_owned()), &[], local(), quick());
    let mesh = Mesh::open(open).await.unwrap();
    let address = mesh.local_address();
    let runtime = DaemonRuntime::new(mesh);
    runtime.start().await.unwrap();
    drop(runtime);
    let open = config(key, Some(folder.path().to_owned()), &[], address, quick());
    eventually("it opens in the same place", || Mesh::open(open.clone())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_before_the_start_disturb_nothing() {
    let mut nodes = quick_nodes(2, true).await;
    let daemon = nodes[0].runtime.spawn("kv", identity(20), with_host()).await.unwrap();
    let entity = daemon.entity_id();
    nodes[1].hears_of(entity).await;
    nodes[1].send(entity, "put a 1").await;
    // The node is open again, has no kinds yet, and is being sent to.
    let node = nodes.remove(0).shut_down().await.open_bare().await;
    nodes[0].runtime.mesh().members().insert(member(&node));
    let client = nodes[0].runtime.client();
    let sending = tokio::spawn(client.send(entity, text("put a 2")));
    until("the event has arrived", || {
        let statistics = node.runtime.mesh().link_statistics(nodes[0].id());
        statistics.is_some_and(|link| link.events.frames_received > 0)
    })
    .await;
    // bounded wait: by itself; nothing must happen meanwhile.
    tokio::time::sleep(quick().ask_first * 2).await;
    assert_eq!(node.runtime.daemon_count(), 0, "nothing runs before the start");
    for (kind, factory) in whimbrel_daemon::kinds::native_kinds() {
        node.runtime.register_factory(kind, factory).unwrap();
    }
    node.runtime.start().await.unwrap();
    assert_eq!(sending.await.unwrap().unwrap().failure, None);
    assert_eq!(node.deliver(entity.origin_hash(), "get a").await.unwrap(), "2");
}
