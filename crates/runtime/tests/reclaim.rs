//! A daemon that was handed over to a node whose folder is lost, taken back on real nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use stage::impostor::Impostor;
use stage::{Diary, Node, identity, introduce, open, quick_nodes};
use whimbrel_protocol::{Event, ReclaimError, Standing, Warning};
use whimbrel_runtime::{DaemonError, DaemonHostConfig, MigrationOpts};
use whimbrel_wire::{
    EntityId, Epoch, Head, Message, MigrationEnvelope, MigrationMessage, NodeKey, Role, StoreId,
    decode,
};

/// The key of the node whose folder is lost.
fn heir() -> NodeKey {
    NodeKey::from_seed(&[65; 32])
}

/// A target that votes for whatever it is told, has nothing on a disk, and is gone.
async fn lose_to_a_node_that_dies(a: &Node, entity: EntityId) {
    let mut target = Impostor::admitted(65, &[a]);
    let mut diary = Diary::of(a);
    let options = MigrationOpts::default();
    let _moving = a.runtime.migrate(entity, target.id(), options).await.unwrap();
    let daemon_origin = entity.origin_hash();
    let (store, key) = (StoreId::new(1), heir().public());
    let (of, snapshot, head) =
        target
            .hear("the offer", |_, message| match message {
                Message::Migration(MigrationEnvelope {
                    entity,
                    attempt,
                    epoch,
                    message:
                        MigrationMessage::SnapshotReady {
                            snapshot_bytes, snapshot, offer: Some(_), ..
                        },
                    ..
                }) => {
                    let manifest: whimbrel_wire::Manifest = decode(snapshot_bytes).unwrap();
                    Some(((*entity, *attempt, *epoch), *snapshot, manifest.head))
                }
                _ => None,
            })
            .await;
    let restored_seq = head.position.get();
    let restored = MigrationMessage::RestoreComplete {
        daemon_origin,
        restored_seq,
        snapshot,
        head,
        store,
        key,
    };
    target.say_of_move(a, of, Role::Target, restored);
    let frozen = target
        .hear("where it is frozen", |_, message| match message {
            Message::Migration(MigrationEnvelope {
                message: MigrationMessage::BufferedEvents { frozen: Some(frozen), .. },
                ..
            }) => Some(*frozen),
            _ => None,
        })
        .await;
    let Head { position, .. } = frozen.head;
    let vote = MigrationMessage::ReplayComplete {
        daemon_origin,
        replayed_seq: position.get(),
        target_head: whimbrel_wire::CausalEvent::unchained(daemon_origin, 1, bytes::Bytes::new())
            .link,
        head: frozen.head,
        state: Some(frozen.state),
        store,
        key,
    };
    target.say_of_move(a, of, Role::Target, vote);
    diary.wait_for("the hand-over", |event| matches!(event, Event::HandedOver { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_heir_lost_its_folder_is_taken_back_and_moves_on() {
    let mut nodes = quick_nodes(1, true).await;
    let host = DaemonHostConfig::default();
    let entity = nodes[0].runtime.spawn("kv", identity(1), host).await.unwrap().entity_id();
    assert_eq!(nodes[0].send(entity, "put a 1").await, "ok");
    let told = nodes[0].runtime.reclaim(entity).await;
    assert!(matches!(told, Err(DaemonError::Reclaim(ReclaimError::NotDeparted))), "{told:?}");

    lose_to_a_node_that_dies(&nodes[0], entity).await;
    assert_eq!(nodes[0].standing(entity), Some(Standing::Departed));
    // The node comes back under its key with an empty folder, and refuses what was another's.
    let folder = tempfile::tempdir().unwrap();
    nodes.push(open(heir(), Some(folder), &[], stage::local()).await);
    introduce(&nodes);
    let mut diary = Diary::of(&nodes[1]);
    nodes[1].runtime.start().await.unwrap();
    diary
        .wait_for_warning("the title is lost", |warning| {
            matches!(warning, Warning::LostTitle { .. })
        })
        .await;
    nodes[0].runtime.reclaim(entity).await.unwrap();
    nodes[0].runs(entity).await;
    assert_eq!(nodes[0].send(entity, "get a").await, "1");
    nodes[0].runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
    // Everybody can see that it was taken back, who did it, and what was given up.
    for node in &nodes {
        node.knows_owner(entity, &nodes[0]).await;
        let records = node.runtime.forks(entity).await.unwrap();
        let [record] = &records[..] else { panic!("{records:?}") };
        let point = record.verify(&entity).unwrap();
        assert_eq!((point.lost, point.epoch), (Epoch::new(2), Epoch::new(3)));
        assert_eq!((point.loser, point.by.node_id()), (nodes[1].id(), nodes[0].id()));
    }
    nodes[0].migrate(entity, &nodes[1], MigrationOpts::default()).await.unwrap();
    assert_eq!(nodes[1].send(entity, "get a").await, "1");
    nodes[1].runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
}
