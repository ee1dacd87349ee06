//! What people and disks do wrong: each a typed error, the daemon intact.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::sync::Arc;

use bytes::Bytes;
use stage::actors::{Binding, Foreign, Fragile};
use stage::{
    Diary, config, copy_folder, identity, local, member, nodes, open, quick, quick_nodes, text,
    unstarted, until, volatile, why_not,
};
use whimbrel_protocol::{DeliverError, Event, SendError, Standing, Warning};
use whimbrel_runtime::{
    DaemonError, DaemonHostConfig, DaemonRuntime, Mesh, MeshError, MigrationOpts,
};
use whimbrel_store::FolderError;
use whimbrel_wire::limits::PAYLOAD_BYTES_MAX;
use whimbrel_wire::{CausalEvent, MigrationFailureReason, NodeId, NodeKey};

fn with_host() -> DaemonHostConfig {
    DaemonHostConfig::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_nowhere_to_itself_or_of_nothing_is_refused() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(1), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    let options = MigrationOpts::default();
    let nowhere = NodeId::new(12_345);

    let moving = a.runtime.migrate(entity, nowhere, options.clone()).await;
    assert!(matches!(moving, Err(DaemonError::UnknownNode(node)) if node == nowhere));
    let moving = a.runtime.start_migration(origin, nowhere, b.id()).await;
    assert!(matches!(moving, Err(DaemonError::UnknownNode(_))));

    let moving = a.runtime.start_migration(origin, a.id(), a.id()).await;
    assert!(matches!(moving, Err(DaemonError::Migration(MigrationFailureReason::SameNode))));
    let moving = a.runtime.migrate(entity, a.id(), options.clone()).await.unwrap();
    assert_eq!(why_not(&moving).await, MigrationFailureReason::SameNode);

    let stranger = identity(99);
    let moving = a.runtime.migrate(stranger.entity_id(), b.id(), options).await;
    assert!(matches!(moving, Err(DaemonError::Unknown)));
    let moving = a.runtime.start_migration(identity(98).origin_hash(), a.id(), b.id()).await;
    assert!(matches!(moving, Err(DaemonError::NotFound(_))));

    assert_eq!(a.deliver(origin, "put a 1").await.unwrap(), "ok");
    assert_eq!(a.runtime.migration_phase(origin), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_an_unknown_key_gets_nothing() {
    let nodes = quick_nodes(1, true).await;
    let a = &nodes[0];
    let daemon = a.runtime.spawn("kv", identity(2), with_host()).await.unwrap();
    let entity = daemon.entity_id();
    // The stranger knows the member; the member does not know the stranger.
    let stranger = unstarted(1, false, quick()).await.remove(0);
    assert_eq!(stranger.id(), a.id(), "seeds are per call");
    let key = NodeKey::from_seed(&[66; 32]);
    let mesh = Mesh::open(config(key, None, &[member(a)], local(), quick())).await.unwrap();
    let stranger = DaemonRuntime::new(mesh);
    stranger.start().await.unwrap();
    let found = stranger.find(entity).await;
    assert!(matches!(found, Err(DaemonError::Unknown)), "{found:?}");
    let sent = stranger.send(entity, text("put a 1")).await;
    assert!(matches!(sent, Err(DaemonError::Send(SendError::NotFound))), "{sent:?}");
    assert_eq!(a.deliver(daemon.origin_hash(), "get a").await.unwrap(), "(absent)");
    let moving = a.runtime.migrate(entity, stranger.mesh().node_id(), MigrationOpts::default());
    assert!(matches!(moving.await, Err(DaemonError::UnknownNode(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_struck_off_is_cut_off() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("kv", identity(3), with_host()).await.unwrap();
    assert_eq!(b.send(daemon.entity_id(), "put a 1").await, "ok");
    a.runtime.mesh().members().remove(b.id());
    let client = b.runtime.client();
    let sending = client.send(daemon.entity_id(), text("put a 2"));
    let moving = a.runtime.migrate(daemon.entity_id(), b.id(), MigrationOpts::default()).await;
    assert!(matches!(moving, Err(DaemonError::UnknownNode(_))));
    assert_eq!(a.deliver(daemon.origin_hash(), "get a").await.unwrap(), "1");
    // Let in again, its event is taken, once.
    a.runtime.mesh().members().insert(member(b));
    assert_eq!(stage::said(&sending.await.unwrap()), "ok");
    assert_eq!(a.deliver(daemon.origin_hash(), "get a").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_the_factory_says_so_and_the_source_serves() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let binding = Arc::new(Binding::default());
    a.runtime.register_factory("foreign", binding.factory()).unwrap();
    let daemon = a.runtime.spawn("foreign", identity(4), with_host()).await.unwrap();
    a.deliver(daemon.origin_hash(), "one").await.unwrap();
    let moving = a.runtime.migrate(daemon.entity_id(), b.id(), MigrationOpts::default()).await;
    assert_eq!(why_not(&moving.unwrap()).await, MigrationFailureReason::FactoryNotFound);
    assert_eq!(a.deliver(daemon.origin_hash(), "two").await.unwrap(), "one two");
    b.runtime.register_factory("foreign", binding.factory()).unwrap();
    a.migrate(daemon.entity_id(), b, MigrationOpts::default()).await.unwrap();
    assert_eq!(a.send(daemon.entity_id(), "three").await, "one two three");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_panics_goes_on_with_its_state_and_the_event_counts_as_taken() {
    for host in [with_host(), volatile()] {
        let nodes = nodes(2, true).await;
        let [a, b] = &nodes[..] else { panic!("two nodes") };
        let binding = Arc::new(Binding::default());
        a.runtime.register_factory("foreign", binding.factory()).unwrap();
        let daemon = a.runtime.spawn("foreign", identity(5), host).await.unwrap();
        let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
        let mut diary = Diary::of(a);
        let client = b.runtime.client();
        let answers: Vec<_> = ["one", "panic", "two", "panic", "three"]
            .into_iter()
            .map(|line| client.send(entity, text(line)))
            .collect();
        let mut failed = Vec::new();
        for answer in answers {
            failed.push(answer.await.unwrap().failure.is_some());
        }
        assert_eq!(failed, [false, true, false, true, false]);
        assert_eq!(a.deliver(origin, "?").await.unwrap(), "one two three");
        let declined = a.deliver(origin, "panic").await;
        assert!(matches!(declined, Err(DaemonError::Declined(_))), "{declined:?}");
        assert_eq!(a.deliver(origin, "?").await.unwrap(), "one two three");
        diary
            .wait_for_warning("the panic is told", |warning| {
                matches!(warning, Warning::Panicked { message } if message.contains("as asked"))
            })
            .await;
        a.runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_declines_stays_as_it_is() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let binding = Arc::new(Binding::default());
    a.runtime.register_factory("foreign", binding.factory()).unwrap();
    let daemon = a.runtime.spawn("foreign", identity(6), with_host()).await.unwrap();
    a.deliver(daemon.origin_hash(), "one").await.unwrap();
    let declined = a.deliver(daemon.origin_hash(), "decline").await;
    let told = matches!(&declined, Err(DaemonError::Declined(why)) if why == "not to my taste");
    assert!(told, "{declined:?}");
    let sent = b.runtime.send(daemon.entity_id(), text("decline")).await.unwrap();
    assert_eq!(sent.failure.as_deref(), Some("not to my taste"));
    assert!(sent.outputs.is_empty());
    assert_eq!(a.deliver(daemon.origin_hash(), "?").await.unwrap(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_breaks_in_restore_stays_where_it_was() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let binding = Arc::new(Binding::default());
    a.runtime.register_factory("foreign", binding.factory()).unwrap();
    b.runtime.register_factory("foreign", || Box::new(Fragile)).unwrap();
    let daemon = a.runtime.spawn("foreign", identity(7), with_host()).await.unwrap();
    a.deliver(daemon.origin_hash(), "one").await.unwrap();
    for freeze_and_copy in [false, true] {
        let options = MigrationOpts { freeze_and_copy, ..MigrationOpts::default() };
        let moving = a.runtime.migrate(daemon.entity_id(), b.id(), options).await.unwrap();
        let reason = why_not(&moving).await;
        assert!(matches!(reason, MigrationFailureReason::StateFailed(_)), "{reason:?}");
        assert_eq!(a.deliver(daemon.origin_hash(), "?").await.unwrap(), "one");
    }
    assert_eq!(b.runtime.daemon_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_beyond_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let nodes = nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let daemon = a.runtime.spawn("tally", identity(8), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    let large = Bytes::from(vec![b'x'; PAYLOAD_BYTES_MAX + 1]);
    let event = CausalEvent::unchained(origin, 1, large.clone());
    let delivered = a.runtime.deliver_async(origin, &event).await;
    assert!(matches!(delivered, Err(DaemonError::Deliver(DeliverError::TooLarge))));
    let client = b.runtime.client();
    let (before, refused, after) = (
        client.send(entity, text("one")),
        client.send(entity, large.clone()),
        client.send(entity, large.slice(1..)),
    );
    assert!(before.await.unwrap().failure.is_none());
    assert!(matches!(refused.await, Err(DaemonError::Send(SendError::TooLarge))));
    assert!(after.await.unwrap().failure.is_none());
    let totals = a.deliver(origin, "?totals").await.unwrap();
    assert!(totals.contains("words 2 "), "{totals}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_newer_or_foreign_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let key = || NodeKey::from_seed(&[1; 32]);
    let node = open(key(), Some(folder), &[], local()).await;
    node.runtime.start().await.unwrap();
    let daemon = node.runtime.spawn("kv", identity(9), with_host()).await.unwrap();
    let second = Mesh::open(config(key(), Some(path.clone()), &[], local(), quick())).await;
    let refused = second.err().unwrap();
    assert!(matches!(refused, MeshError::Folder(FolderError::Locked(_))), "{refused:?}");
    assert_eq!(node.deliver(daemon.origin_hash(), "put a 1").await.unwrap(), "ok");

    let left = node.shut_down().await;
    std::fs::write(path.join("format"), "whimbrel 99\n").unwrap();
    let newer = Mesh::open(config(key(), Some(path.clone()), &[], local(), quick())).await;
    let refused = newer.err().unwrap();
    assert!(
        matches!(refused, MeshError::Folder(FolderError::Newer { found: 99, .. })),
        "{refused:?}"
    );
    std::fs::write(path.join("format"), "something else\n").unwrap();
    let foreign = Mesh::open(config(key(), Some(path.clone()), &[], local(), quick())).await;
    assert!(matches!(foreign.err().unwrap(), MeshError::Folder(FolderError::Foreign { .. })));
    std::fs::write(path.join("format"), "whimbrel 1\n").unwrap();

    let node = left.open().await;
    node.runtime.start().await.unwrap();
    node.runs(daemon.entity_id()).await;
    assert_eq!(node.deliver(daemon.origin_hash(), "get a").await.unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_bind_leaves_its_folder_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let taken = std::net::UdpSocket::bind(local()).unwrap();
    let address = taken.local_addr().unwrap();
    let key = NodeKey::from_seed(&[1; 32]);
    let failed = Mesh::open(config(key.clone(), Some(path.clone()), &[], address, quick())).await;
    assert!(matches!(failed.err().unwrap(), MeshError::Link(_)));
    drop(taken);
    Mesh::open(config(key, Some(path), &[], address, quick())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_factory_is_missing_is_parked_visibly_until_the_node_knows_its_kind() {
    let mut nodes = quick_nodes(2, true).await;
    let binding = Arc::new(Binding::default());
    nodes[0].runtime.register_factory("foreign", binding.factory()).unwrap();
    let daemon = nodes[0].runtime.spawn("foreign", identity(10), with_host()).await.unwrap();
    let (origin, entity) = (daemon.origin_hash(), daemon.entity_id());
    nodes[0].deliver(origin, "one").await.unwrap();

    let node = nodes.remove(0).shut_down().await.open().await;
    let mut diary = Diary::of(&node);
    node.runtime.start().await.unwrap();
    until("it is parked", || matches!(node.standing(entity), Some(Standing::Parked(_)))).await;
    assert_eq!(node.runtime.daemon_count(), 1);
    diary
        .wait_for_warning("it is told", |warning| {
            matches!(warning, Warning::NotRunnable { reason } if reason.contains("factory"))
        })
        .await;
    let refused = node.deliver(origin, "two").await;
    let told = matches!(refused, Err(DaemonError::Deliver(DeliverError::NotRunnable(_))));
    assert!(told, "{refused:?}");
    let moving = node.runtime.migrate(entity, nodes[0].id(), MigrationOpts::default()).await;
    let reason = why_not(&moving.unwrap()).await;
    assert!(matches!(reason, MigrationFailureReason::StateFailed(_)), "{reason:?}");

    let node = node.shut_down().await.open().await;
    node.runtime.register_factory("foreign", binding.factory()).unwrap();
    node.runtime.start().await.unwrap();
    node.runs(entity).await;
    assert_eq!(node.deliver(origin, "two").await.unwrap(), "one two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_from_an_old_backup_asks_the_members_and_does_not_serve() {
    let mut nodes = quick_nodes(2, true).await;
    let daemon = nodes[0].runtime.spawn("kv", identity(11), with_host()).await.unwrap();
    let entity = daemon.entity_id();
    nodes[0].send(entity, "put a old").await;
    let a = nodes.remove(0).shut_down().await;
    let backup = tempfile::tempdir().unwrap();
    copy_folder(a.folder.as_ref().unwrap().path(), backup.path());

    let a = a.open().await;
    let b = nodes.remove(0);
    b.runtime.mesh().members().insert(member(&a));
    a.runtime.start().await.unwrap();
    a.runs(entity).await;
    let mut diary = Diary::of(&a);
    a.migrate(entity, &b, MigrationOpts::default()).await.unwrap();
    diary.wait_for("the state is dropped", |event| matches!(event, Event::Dropped { .. })).await;
    b.send(entity, "put a new").await;

    let mut a = a.shut_down().await;
    a.folder = Some(backup);
    let a = a.open().await;
    let mut diary = Diary::of(&a);
    a.runtime.start().await.unwrap();
    a.knows_owner(entity, &b).await;
    until("it has left", || !matches!(a.standing(entity), Some(Standing::Opening))).await;
    assert_eq!(a.runtime.daemon_count(), 0);
    let went_live = diary.so_far().into_iter().any(|event| matches!(event, Event::Live { .. }));
    assert!(!went_live, "it never served");
    assert_eq!(a.send(entity, "get a").await, "new");
    assert_eq!(b.runtime.daemon_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_daemon_is_not_born_again_on_a_node_that_never_heard_of_it() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    for (node, other) in [(a, b), (b, a)] {
        node.runtime.mesh().members().remove(other.id());
    }
    let daemon = a.runtime.spawn("kv", identity(12), with_host()).await.unwrap();
    let entity = daemon.entity_id();
    a.runtime.delete(daemon.origin_hash()).await.unwrap();
    until("it is deleted", || a.standing(entity) == Some(Standing::Deleted)).await;
    stage::introduce(&nodes);
    if b.runtime.spawn("kv", identity(12), with_host()).await.is_ok() {
        until("it is stopped", || matches!(b.standing(entity), Some(Standing::Parked(_)))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_made_by_hand_can_be_handed_to_a_host_that_was_never_asked() {
    // The instance is used up by a spawn that is refused; nothing else changes.
    let node = nodes(1, false).await.remove(0);
    let binding = Arc::new(Binding::default());
    let body = Box::new(Foreign::default());
    let spawned = node.runtime.spawn_with_daemon(identity(13), volatile(), body, binding.factory());
    spawned.await.unwrap();
    let body = Box::new(Foreign { lines: vec!["impostor".to_owned()] });
    let again = node.runtime.spawn_with_daemon(identity(13), volatile(), body, binding.factory());
    assert!(again.await.is_err());
    assert_eq!(node.deliver(identity(13).origin_hash(), "?").await.unwrap(), "");
}
