//! An admitted node that lies: nothing it says changes an owner, drops a state or feeds a daemon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::time::Duration;

use bytes::Bytes;
use stage::forged::{Move, all_forged_frames, all_forgeries, forged_deed, injected};
use stage::impostor::Impostor;
use stage::{Diary, Node, identity, quick_nodes, said, text, until, why_not};
use whimbrel_protocol::{Event, Standing, Warning};
use whimbrel_runtime::{DaemonHostConfig, MigrationOpts};
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, Deed, DeliveryMessage, EntityId, Epoch, Message, MigrationEnvelope,
    MigrationFailureReason, MigrationMessage, NodeKey, Offer, Position, Refusal, Role, Sender,
    StoreId, encode,
};

async fn warned_of(diary: &mut Diary, liar: &Impostor) {
    let liar = liar.id();
    diary
        .wait_for_warning(
            "the liar is named",
            |warning| matches!(warning, Warning::WrongPeer { from, .. } if *from == liar),
        )
        .await;
}

async fn bad_deed(diary: &mut Diary, liar: &Impostor) {
    let liar = liar.id();
    diary
        .wait_for_warning(
            "the deed is not believed",
            |warning| matches!(warning, Warning::BadDeed { from } if *from == liar),
        )
        .await;
}

fn count_wrong_peer(diary: &mut Diary) -> usize {
    let warnings = diary.warnings();
    warnings.iter().filter(|warning| matches!(warning, Warning::WrongPeer { .. })).count()
}

async fn serves(node: &Node, entity: EntityId) {
    assert_eq!(node.standing(entity), Some(Standing::Live));
    assert_eq!(node.deliver(entity.origin_hash(), "get a").await.unwrap(), "true");
    assert_eq!(node.runtime.daemon_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_changes_nothing_at_an_owner_that_is_not_moving() {
    let nodes = quick_nodes(1, true).await;
    let a = &nodes[0];
    let mut liar = Impostor::admitted(66, &[a]);
    let daemon = a.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    let title = liar.dealt_with(a, entity).await;
    let mut diary = Diary::of(a);
    for epoch in [0, 1, 2] {
        let of = Move { entity, attempt: AttemptId::new(5), epoch: Epoch::new(epoch) };
        let deed = forged_deed(&title, &liar.key, &liar.key, &of);
        for (_, message) in all_forgeries(&of, &liar.key, &deed, liar.id()) {
            for role in [Role::Source, Role::Target, Role::Orchestrator] {
                liar.say_of_move(a, of.names(), role, message.clone());
            }
        }
        liar.tell_deeds(a, entity, vec![deed]);
    }
    assert_eq!(liar.dealt_with(a, entity).await, title);
    bad_deed(&mut diary, &liar).await;
    serves(a, entity).await;
    let events = diary.so_far();
    let only_warnings = events.iter().all(|event| matches!(event, Event::Warning(_)));
    assert!(only_warnings, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_changes_nothing_at_the_source_of_a_move() {
    let nodes = quick_nodes(1, true).await;
    let a = &nodes[0];
    // A target that takes the offer and then says nothing.
    let mut target = Impostor::admitted(65, &[a]);
    let mut liar = Impostor::admitted(66, &[a]);
    let daemon = a.runtime.spawn("kv", identity(2), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    let moving = a.runtime.migrate(entity, target.id(), MigrationOpts::default()).await.unwrap();
    let of = target
        .hear("the offer", |_, message| match message {
            Message::Migration(MigrationEnvelope {
                attempt,
                epoch,
                message: MigrationMessage::SnapshotReady { offer: Some(_), .. },
                ..
            }) => Some(Move { entity, attempt: *attempt, epoch: *epoch }),
            _ => None,
        })
        .await;
    let title = liar.dealt_with(a, entity).await;
    let mut diary = Diary::of(a);
    let deed = forged_deed(&title, &liar.key, &target.key, &of);
    let forgeries = all_forgeries(&of, &liar.key, &deed, target.id());
    for (role, message) in &forgeries {
        liar.say_of_move(a, of.names(), *role, message.clone());
    }
    liar.tell_deeds(a, entity, vec![forged_deed(&title, &liar.key, &liar.key, &of)]);
    assert_eq!(liar.dealt_with(a, entity).await, title);
    warned_of(&mut diary, &liar).await;
    bad_deed(&mut diary, &liar).await;
    assert!(count_wrong_peer(&mut diary) >= 5, "{:?}", diary.warnings());
    serves(a, entity).await;
    let wrong = diary.so_far().into_iter().find(|event| {
        matches!(
            event,
            Event::HandedOver { .. }
                | Event::Frozen { .. }
                | Event::Thawed { .. }
                | Event::MoveEnded { .. }
                | Event::Dropped { .. }
        )
    });
    assert_eq!(wrong, None, "the move goes on as before");
    // The true orchestrator can still call it off.
    moving.cancel();
    assert_eq!(why_not(&moving).await, MigrationFailureReason::Cancelled);
    serves(a, entity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_votes_for_a_state_it_cannot_have_gets_no_daemon() {
    let nodes = quick_nodes(1, true).await;
    let a = &nodes[0];
    let mut target = Impostor::admitted(65, &[a]);
    let daemon = a.runtime.spawn("kv", identity(3), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    let _moving = a.runtime.migrate(entity, target.id(), MigrationOpts::default()).await.unwrap();
    let of = target
        .hear("the offer", |_, message| match message {
            Message::Migration(MigrationEnvelope {
                attempt,
                epoch,
                message: MigrationMessage::SnapshotReady { offer: Some(_), .. },
                ..
            }) => Some(Move { entity, attempt: *attempt, epoch: *epoch }),
            _ => None,
        })
        .await;
    let mut diary = Diary::of(a);
    let title = target.dealt_with(a, entity).await;
    let deed = forged_deed(&title, &target.key, &target.key, &of);
    for (role, message) in all_forgeries(&of, &target.key, &deed, target.id()) {
        let votes = matches!(
            message,
            MigrationMessage::RestoreComplete { .. } | MigrationMessage::ReplayComplete { .. }
        );
        if votes {
            target.say_of_move(a, of.names(), role, message);
        }
    }
    target.dealt_with(a, entity).await;
    serves(a, entity).await;
    let handed = diary.so_far().into_iter().any(|event| matches!(event, Event::HandedOver { .. }));
    assert!(!handed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_or_foolish_request_to_move_is_answered_and_not_obeyed() {
    let nodes = quick_nodes(1, true).await;
    let a = &nodes[0];
    let mut liar = Impostor::admitted(66, &[a]);
    let daemon = a.runtime.spawn("kv", identity(4), DaemonHostConfig::default()).await.unwrap();
    let (entity, daemon_origin) = (daemon.entity_id(), daemon.origin_hash());
    a.deliver(daemon_origin, "put a true").await.unwrap();
    let stranger = NodeKey::from_seed(&[99; 32]).node_id();
    let cases = [
        (1, Epoch::new(0), liar.id(), MigrationFailureReason::StaleAttempt),
        (2, Epoch::new(9), liar.id(), MigrationFailureReason::StaleAttempt),
        (3, Epoch::FIRST, a.id(), MigrationFailureReason::SameNode),
    ];
    for (number, epoch, target_node, expected) in cases {
        let attempt = AttemptId::new(number);
        let message = MigrationMessage::TakeSnapshot {
            daemon_origin,
            target_node,
            transport_identity: true,
            catch_up: CatchUp::Replay,
        };
        liar.say_of_move(a, (entity, attempt, epoch), Role::Orchestrator, message);
        let reason = failure_of(&mut liar, attempt).await;
        assert_eq!(reason, expected);
        serves(a, entity).await;
    }
    // The target is no member: the key is sealed to nobody.
    let attempt = AttemptId::new(4);
    let message = MigrationMessage::TakeSnapshot {
        daemon_origin,
        target_node: stranger,
        transport_identity: true,
        catch_up: CatchUp::Replay,
    };
    liar.say_of_move(a, (entity, attempt, Epoch::FIRST), Role::Orchestrator, message);
    let reason = failure_of(&mut liar, attempt).await;
    let told = matches!(
        reason,
        MigrationFailureReason::IdentityTransportFailed(_) | MigrationFailureReason::UnknownNode
    );
    assert!(told, "{reason:?}");
    serves(a, entity).await;
}

async fn failure_of(liar: &mut Impostor, of: AttemptId) -> MigrationFailureReason {
    liar.hear("the refusal", |_, message| match message {
        Message::Migration(MigrationEnvelope {
            attempt,
            message: MigrationMessage::MigrationFailed { reason, .. },
            ..
        }) if *attempt == of => Some(reason.clone()),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_makes_nobody_an_owner_at_the_target_of_a_move() {
    // The source is a member that owns the daemon by a true title and is slow.
    let nodes = quick_nodes(2, true).await;
    let [b, apart] = &nodes[..] else { panic!("two nodes") };
    let mut source = Impostor::admitted(65, &[b]);
    let mut liar = Impostor::admitted(66, &[b]);
    b.runtime.mesh().members().remove(apart.id());
    apart.runtime.mesh().members().remove(b.id());
    let it = apart.runtime.spawn("kv", identity(5), DaemonHostConfig::default()).await.unwrap();
    let (entity, daemon_origin) = (it.entity_id(), it.origin_hash());
    apart.deliver(daemon_origin, "put a true").await.unwrap();
    let manifest = it.snapshot().await.unwrap().unwrap().manifest().clone();

    let (store, attempt) = (StoreId::new(1), AttemptId::new(1));
    let birth = Deed::birth(&identity(5), source.key.public(), store, attempt);
    source.tell_deeds(b, entity, vec![birth.clone()]);
    b.hears_of(entity).await;
    b.runtime
        .register_migration_target_identity("kv", identity(5), DaemonHostConfig::default())
        .unwrap();
    source.tell_deeds(b, entity, vec![birth.clone()]);
    let mut diary = Diary::of(b);
    let of = Move { entity, attempt: AttemptId::new(2), epoch: Epoch::FIRST };
    let offer = Offer {
        orchestrator: source.id(),
        envelope: None,
        catch_up: CatchUp::Replay,
        frozen: None,
    };
    let offered = MigrationMessage::SnapshotReady {
        daemon_origin,
        snapshot_bytes: Bytes::from(encode(&manifest)),
        seq_through: manifest.head.position.get(),
        chunk_index: 0,
        total_chunks: manifest.messages(),
        snapshot: manifest.digest(),
        offer: Some(offer),
    };
    source.say_of_move(b, of.names(), Role::Source, offered.clone());
    source
        .hear("the target wants the chunks", |_, message| match message {
            Message::Migration(MigrationEnvelope {
                message: MigrationMessage::ChunksWanted { .. },
                ..
            }) => Some(()),
            _ => None,
        })
        .await;

    let to_b = NodeKey::from_seed(&[2; 32]);
    let to_b = if to_b.node_id() == b.id() { to_b } else { NodeKey::from_seed(&[1; 32]) };
    let title = [birth.clone()];
    for deed in
        [forged_deed(&title, &liar.key, &to_b, &of), forged_deed(&title, &liar.key, &liar.key, &of)]
    {
        for (role, message) in all_forgeries(&of, &liar.key, &deed, b.id()) {
            liar.say_of_move(b, of.names(), role, message);
        }
        liar.tell_deeds(b, entity, vec![birth.clone(), deed]);
    }
    liar.say_of_move(b, of.names(), Role::Source, offered);
    assert_eq!(liar.dealt_with(b, entity).await, title);
    warned_of(&mut diary, &liar).await;
    bad_deed(&mut diary, &liar).await;
    assert!(count_wrong_peer(&mut diary) >= 3, "{:?}", diary.warnings());
    assert_eq!(b.runtime.daemon_count(), 0);
    let live = diary.so_far().into_iter().any(|event| matches!(event, Event::Live { .. }));
    assert!(!live);
    // The true source is still heard: it ends the attempt, and is not answered as a stranger.
    let failed = MigrationMessage::MigrationFailed {
        daemon_origin,
        reason: MigrationFailureReason::Cancelled,
    };
    source.say_of_move(b, of.names(), Role::Source, failed);
    source.say_of_move(b, of.names(), Role::Source, injected(&of));
    let reason = failure_of(&mut source, of.attempt).await;
    assert_eq!(reason, MigrationFailureReason::StaleAttempt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_cut_short_or_garbage_disturb_nobody() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let mut liar = Impostor::admitted(66, &[a]);
    let daemon = a.runtime.spawn("kv", identity(6), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    let title = liar.dealt_with(a, entity).await;
    let of = Move { entity, attempt: AttemptId::new(5), epoch: Epoch::FIRST };
    let deed = forged_deed(&title, &liar.key, &liar.key, &of);
    for frame in all_forged_frames(&of, &liar.key, &deed, liar.id()) {
        for length in (1..frame.len()).step_by(7) {
            liar.babble(a, frame.slice(..length));
        }
        let mut other = frame.to_vec();
        other[0] = 200;
        liar.babble(a, other);
        liar.babble(a, [&frame[..], b"more"].concat());
    }
    for seed in 1_u8..=64 {
        let garbage: Vec<u8> =
            (1..=u32::from(seed) * 9).map(|index| (index * 37 + u32::from(seed)) as u8).collect();
        liar.babble(a, garbage);
    }
    assert_eq!(liar.dealt_with(a, entity).await, title);
    serves(a, entity).await;
    a.migrate(entity, b, MigrationOpts::default()).await.unwrap();
    until("it runs at its new place", || b.standing(entity) == Some(Standing::Live)).await;
    serves(b, entity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_owner_can_acknowledge_an_event() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let mut liar = Impostor::admitted(66, &[b]);
    let daemon = a.runtime.spawn("kv", identity(7), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let client = b.runtime.client();
    client.send(entity, text("put a 1")).await.unwrap();
    // The owner hears nothing for a while; the liar knows all that there is to know.
    a.runtime.mesh().members().remove(b.id());
    let mut sending = std::pin::pin!(client.send(entity, text("put a 2")));
    for session in 0..8 {
        let sender = Sender::Client { client: client.id(), session: Position::new(session) };
        let answer = Answer::default();
        let message = DeliveryMessage::Delivered { sender, number: 2, answer, deed: None };
        liar.say(b, &Message::Delivery { entity, message });
        let refusal = Refusal::Deleted;
        let message = DeliveryMessage::Refused { sender, number: 2, refusal };
        liar.say(b, &Message::Delivery { entity, message });
    }
    liar.dealt_with(b, entity).await;
    let soon = tokio::time::timeout(Duration::from_millis(50), &mut sending).await;
    assert!(soon.is_err(), "the liar was believed: {soon:?}");
    a.runtime.mesh().members().insert(stage::member(b));
    assert_eq!(said(&sending.await.unwrap()), "ok");
    assert_eq!(b.send(entity, "get a").await, "2");
}
