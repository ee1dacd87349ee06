//! Reasons for which a move fails that only real nodes can bring about: what their members, their
//! memory and their daemons say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stage::actors::{Choosy, Dated, Whims};
use stage::{
    Node, config, identity, introduce, local, nodes, open_as, quick, quick_nodes, volatile, why_not,
};
use whimbrel_protocol::Standing;
use whimbrel_runtime::{DaemonError, DaemonHostConfig, MigrationError, MigrationOpts};
use whimbrel_wire::{MigrationFailureReason, NodeKey, StateVersion};

type Reason = MigrationFailureReason;

/// Nodes that differ from the usual in one thing each.
async fn odd_nodes(odd: [fn(&mut whimbrel_runtime::MeshConfig); 2]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (seed, differ) in (1..).zip(odd) {
        let key = NodeKey::from_seed(&[seed; 32]);
        let mut config = config(key.clone(), None, &[], local(), quick());
        differ(&mut config);
        nodes.push(open_as(key, config).await);
    }
    introduce(&nodes);
    for node in &nodes {
        node.runtime.start().await.unwrap();
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hosts_no_daemons_says_so_and_sends_and_orchestrates() {
    let nodes = odd_nodes([|_| {}, |config| config.hosts = false]).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(1), volatile()).await.unwrap();
    let entity = daemon.entity_id();
    let moving = b.runtime.migrate(entity, b.id(), MigrationOpts::default()).await.unwrap();
    assert_eq!(why_not(&moving).await, Reason::ComputeNotSupported);
    assert_eq!(b.send(entity, "put a 1").await, "ok");
    assert_eq!(a.standing(entity), Some(Standing::Live));
    let spawned = b.runtime.spawn("kv", identity(2), volatile()).await;
    assert!(matches!(spawned, Err(DaemonError::HostsNone)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_the_source_does_not_know_is_an_unknown_node() {
    let nodes = quick_nodes(3, false).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let daemon = a.runtime.spawn("kv", identity(3), volatile()).await.unwrap();
    let entity = daemon.entity_id();
    c.hears_of(entity).await;
    // Struck off at the source alone; whoever asks still knows it.
    a.runtime.mesh().members().remove(b.id());
    for transport_identity in [true, false] {
        let options = MigrationOpts { transport_identity, ..MigrationOpts::default() };
        let moving = c.runtime.migrate(entity, b.id(), options).await.unwrap();
        assert_eq!(why_not(&moving).await, Reason::UnknownNode);
    }
    assert_eq!(c.send(entity, "put a 1").await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_cannot_be_called_off_any_more_says_so() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(4), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let moving = a.runtime.migrate(entity, b.id(), MigrationOpts::default()).await.unwrap();
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    let told = moving.cancel_and_wait().await;
    assert_eq!(told, Err(MigrationError::Failed(Reason::TooLate)));
    b.runs(entity).await;

    // In time, it says that it was.
    a.runtime.simulate_not_ready(true);
    let moving = b.runtime.migrate(entity, a.id(), MigrationOpts::default()).await.unwrap();
    assert_eq!(moving.cancel_and_wait().await, Ok(()));
    assert_eq!(why_not(&moving).await, Reason::Cancelled);
    assert_eq!(b.send(entity, "put a 1").await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_that_daemons_claim_is_counted_where_they_come_and_go() {
    let nodes = odd_nodes([|_| {}, |config| config.memory_bytes = 1_000]).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let whims = Arc::new(Whims::default());
    whims.memory_bytes.store(600, Ordering::Relaxed);
    for node in &nodes {
        node.runtime.register_factory("choosy", Choosy::factory(&whims)).unwrap();
    }
    let first = a.runtime.spawn("choosy", identity(5), volatile()).await.unwrap().entity_id();
    let second = a.runtime.spawn("choosy", identity(6), volatile()).await.unwrap().entity_id();
    a.migrate(first, b, MigrationOpts::default()).await.unwrap();
    let moving = a.runtime.migrate(second, b.id(), MigrationOpts::default()).await.unwrap();
    assert_eq!(why_not(&moving).await, Reason::CapacityExceeded);
    assert_eq!(a.send(second, "one").await, "one");
    let spawned = b.runtime.spawn("choosy", identity(7), volatile()).await;
    assert!(matches!(spawned, Err(DaemonError::Unfit(_))));
    // There is room again when the first has left.
    b.migrate(first, a, MigrationOpts::default()).await.unwrap();
    stage::until("the state is dropped", || b.standing(first) == Some(Standing::Stranger)).await;
    a.migrate(second, b, MigrationOpts::default()).await.unwrap();
    assert_eq!(a.send(second, "two").await, "one two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_will_not_leave_or_may_not_go_on_stays_and_serves() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let whims = Arc::new(Whims::default());
    for node in &nodes {
        node.runtime.register_factory("choosy", Choosy::factory(&whims)).unwrap();
    }
    let daemon = a.runtime.spawn("choosy", identity(8), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    assert_eq!(b.send(entity, "one").await, "one");
    for whim in [&whims.stays, &whims.refuses] {
        whim.store(true, Ordering::Relaxed);
        for freeze_and_copy in [false, true] {
            let options = MigrationOpts { freeze_and_copy, ..MigrationOpts::default() };
            let moving = b.runtime.migrate(entity, b.id(), options).await.unwrap();
            let reason = why_not(&moving).await;
            let gate = matches!(reason, Reason::IncompatibleMigration { .. });
            assert!(gate || matches!(reason, Reason::Incompatible(_)), "{reason:?}");
            assert_eq!(gate, whims.refuses.load(Ordering::Relaxed));
            assert_eq!(a.standing(entity), Some(Standing::Live));
            assert_eq!(b.runtime.daemon_count(), 0);
        }
        whim.store(false, Ordering::Relaxed);
    }
    // One that breaks over it is built anew, with all that it was told.
    whims.breaks.store(true, Ordering::Relaxed);
    let moving = b.runtime.migrate(entity, b.id(), MigrationOpts::default()).await.unwrap();
    let reason = why_not(&moving).await;
    assert!(matches!(reason, Reason::StateFailed(_)), "{reason:?}");
    whims.breaks.store(false, Ordering::Relaxed);
    assert_eq!(b.send(entity, "two").await, "one two");
    b.migrate(entity, b, MigrationOpts::default()).await.unwrap();
    assert_eq!(a.send(entity, "three").await, "one two three");
}

/// A source that comes up again while it is asked for a move makes the move wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_starts_again_is_waited_for() {
    let mut nodes = quick_nodes(2, true).await;
    let host = DaemonHostConfig::default();
    let entity = nodes[0].runtime.spawn("kv", identity(9), host).await.unwrap().entity_id();
    nodes[1].hears_of(entity).await;
    let a = nodes.remove(0).shut_down().await.open().await;
    a.runtime.start().await.unwrap();
    let b = nodes.remove(0);
    b.migrate(entity, &b, MigrationOpts::default()).await.unwrap();
    b.runs(entity).await;
    assert_eq!(a.send(entity, "put a 1").await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_format_that_the_target_does_not_read_is_refused_and_an_older_one_comes_by_copy() {
    let nodes = quick_nodes(3, true).await;
    let [old, strict, new] = &nodes[..] else { panic!("three nodes") };
    for (node, reads) in [(old, 1..=1), (strict, 2..=2), (new, 1..=2)] {
        node.runtime.register_factory("dated", Dated::factory(reads)).unwrap();
    }
    let daemon = old.runtime.spawn("dated", identity(9), DaemonHostConfig::default()).await;
    let entity = daemon.unwrap().entity_id();
    assert_eq!(new.send(entity, "one").await, "one");
    let version = StateVersion::new;
    let moving = old.runtime.migrate(entity, strict.id(), MigrationOpts::default()).await.unwrap();
    let unread = Reason::VersionNotRead { found: version(1), first: version(2), last: version(2) };
    assert_eq!(why_not(&moving).await, unread);
    assert_eq!(new.send(entity, "two").await, "one two");
    // Turns since the last snapshot were replayed by other code, so it comes by freeze and copy.
    old.migrate(entity, new, MigrationOpts::default()).await.unwrap();
    assert_eq!(old.send(entity, "three").await, "one two three");
    let moving = new.runtime.migrate(entity, old.id(), MigrationOpts::default()).await.unwrap();
    let unread = Reason::VersionNotRead { found: version(2), first: version(1), last: version(1) };
    assert_eq!(why_not(&moving).await, unread);
    new.migrate(entity, strict, MigrationOpts::default()).await.unwrap();
    assert_eq!(old.send(entity, "four").await, "one two three four");
}
