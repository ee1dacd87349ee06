//! A daemon whose node is lost for good, brought back from an exported snapshot by its own key, and the node that
//! comes back all the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use stage::{Diary, Leftover, Node, identity, quick_nodes, until};
use whimbrel_daemon::{ContinuityProof, ContinuityStatus, Fork};
use whimbrel_protocol::{Event, SpawnError, Standing, Warning};
use whimbrel_runtime::{DaemonError, DaemonHostConfig, MigrationOpts, Seems};
use whimbrel_wire::{EntityId, Epoch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_brought_back_in_a_new_epoch_and_the_old_copy_stands_down_when_it_returns() {
    let mut nodes = quick_nodes(3, true).await;
    let (c, b, a) = (nodes.pop().unwrap(), nodes.pop().unwrap(), nodes.pop().unwrap());
    let config = DaemonHostConfig::default();
    let entity = a.runtime.spawn("kv", identity(101), config).await.unwrap().entity_id();
    assert_eq!(a.send(entity, "put colour green").await, "ok");
    a.migrate(entity, &b, MigrationOpts::default()).await.unwrap();
    b.runs(entity).await;
    let snapshot = b.runtime.snapshot(entity.origin_hash()).await.unwrap().unwrap();
    assert_eq!(b.send(entity, "put colour red").await, "ok");
    assert_eq!(b.send(entity, "put shape round").await, "ok");
    let known = b.runtime.lineage(entity).await.unwrap();

    // One that lives elsewhere is not born again, nor brought back from under its owner.
    c.knows_owner(entity, &b).await;
    let imported =
        c.runtime.spawn_from_snapshot("kv", identity(101), snapshot.clone(), config).await;
    assert!(matches!(imported, Err(DaemonError::Spawn(SpawnError::Exists))));
    let stolen = c.runtime.revive(identity(102), snapshot.clone(), config).await;
    assert!(matches!(stolen, Err(DaemonError::SnapshotIdentityMismatch)));
    until("the owner is heard of", || {
        c.runtime.neighbour(b.id()).is_some_and(|it| it.seems == Seems::Alive)
    })
    .await;
    let early = c.runtime.revive(identity(101), snapshot.clone(), config).await;
    assert!(matches!(early, Err(DaemonError::OwnerUp(node)) if node == b.id()));
    assert_eq!(b.send(entity, "get colour").await, "red");

    let lost = b.id();
    let leftover = b.crash();
    until("the owner is missed", || {
        c.runtime.neighbour(lost).is_some_and(|it| it.seems != Seems::Alive)
    })
    .await;
    c.runtime.revive(identity(101), snapshot.clone(), config).await.unwrap();
    c.runs(entity).await;
    assert_eq!(a.send(entity, "get colour").await, "green");
    assert_eq!(a.send(entity, "get shape").await, "(absent)");
    assert_eq!(a.send(entity, "put colour blue").await, "ok");

    // Whoever knows the title sees it, and whoever has an older proof.
    for node in [&a, &c] {
        until("the fork is known", || {
            node.runtime.status(entity).is_some_and(|status| status.epoch == Some(Epoch::new(3)))
        })
        .await;
        is_on_record(&node.runtime.forks(entity).await.unwrap(), entity, lost);
    }
    let later = c.runtime.lineage(entity).await.unwrap();
    let status = ContinuityStatus::between(&entity, &known, &later);
    assert_eq!(status, ContinuityStatus::Forked { at: Fork::TakenBack(Epoch::new(3)) });
    assert!(matches!(
        ContinuityStatus::between(&entity, &later, &later),
        ContinuityStatus::Continuous { .. }
    ));
    // Once more is once too often: it lives here.
    let twice = c.runtime.revive(identity(101), snapshot, config).await;
    assert!(matches!(twice, Err(DaemonError::Spawn(SpawnError::Exists))), "{:?}", twice.err());

    comes_back(leftover, &a, &c, entity, &later).await;
}

/// The node that was lost comes back with its copy, and does not act.
async fn comes_back(
    leftover: Leftover,
    a: &Node,
    c: &Node,
    entity: EntityId,
    later: &ContinuityProof,
) {
    let lost = leftover.key.node_id();
    let b = leftover.open().await;
    let mut diary = Diary::of(&b);
    b.runtime.start().await.unwrap();
    until("the old owner stands down", || {
        let status = b.runtime.status(entity);
        status.is_some_and(|status| {
            status.owner == Some(c.id()) && status.standing == Standing::Stranger
        })
    })
    .await;
    let told = |event: &Event| matches!(event, Event::Warning(Warning::TakenBack { epoch, turns: 4 }) if *epoch == Epoch::new(3));
    diary.wait_for("it says what it lost", told).await;
    diary.wait_for("its state is dropped", |event| matches!(event, Event::Dropped { .. })).await;
    assert_eq!(b.send(entity, "get colour").await, "blue");
    is_on_record(&b.runtime.forks(entity).await.unwrap(), entity, lost);
    // It moves like any other, there too.
    c.migrate(entity, &b, MigrationOpts::default()).await.unwrap();
    b.runs(entity).await;
    assert_eq!(a.send(entity, "get colour").await, "blue");
    assert_eq!(b.runtime.forks(entity).await.unwrap().len(), 1);
    let moved = b.runtime.lineage(entity).await.unwrap();
    assert!(matches!(
        ContinuityStatus::between(&entity, later, &moved),
        ContinuityStatus::Migrated { hand_overs: 1, .. }
    ));
}

fn is_on_record(
    records: &[whimbrel_daemon::ForkRecord],
    entity: EntityId,
    loser: whimbrel_wire::NodeId,
) {
    let [record] = records else { panic!("{records:?}") };
    let point = record.verify(&entity).unwrap();
    assert_eq!((point.lost, point.epoch), (Epoch::new(2), Epoch::new(3)));
    assert_eq!((point.loser, point.by), (loser, entity.key()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_or_what_is_too_new_is_not_brought_back() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let config = DaemonHostConfig::default();
    let entity = a.runtime.spawn("kv", identity(101), config).await.unwrap().entity_id();
    a.send(entity, "put colour green").await;
    let snapshot = a.runtime.snapshot(entity.origin_hash()).await.unwrap().unwrap();
    let stranger = quick_nodes(1, true).await.pop().unwrap();
    let back = stranger.runtime.revive(identity(101), snapshot.clone(), config).await;
    assert!(matches!(back, Err(DaemonError::Unknown)), "{:?}", back.err());
    assert_eq!(stranger.standing(entity), Some(Standing::Stranger));
    a.runtime.delete(entity.origin_hash()).await.unwrap();
    let back = a.runtime.revive(identity(101), snapshot, config).await;
    assert!(matches!(back, Err(DaemonError::Spawn(SpawnError::Exists))), "{:?}", back.err());
    assert!(b.runtime.is_ready());
}
