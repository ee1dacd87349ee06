//! What outsiders, members that play another role, and former members try on a move: all of it is refused, and
//! the audit log says who tried what. The table in `docs/guide/trust.md` names these tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stage::forged::{Move, all_forged_frames, all_forgeries, forged_deed};
use stage::impostor::Impostor;
use stage::stallers::{self, HalfOpen, Stalled};
use stage::{Node, config, identity, introduce, local, open_as, quick, until};
use tempfile::TempDir;
use whimbrel_protocol::Standing;
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{
    DaemonHostConfig, MigrationHandlerHooks, MigrationOpts, MigrationSubprotocolHandler,
    audit_files,
};
use whimbrel_trust::chain::Entry;
use whimbrel_wire::{
    AttemptId, CatchUp, Deed, EntityId, Epoch, Message, MigrationEnvelope, MigrationFailureReason,
    MigrationMessage, NodeKey, Offer, Role, SignedDeed, StoreId, encode,
};

/// Nodes with a log each.
struct Stage {
    nodes: Vec<Node>,
    folders: Vec<TempDir>,
}

impl Stage {
    async fn of(count: u8) -> Self {
        let (mut nodes, mut folders) = (Vec::new(), Vec::new());
        for seed in 1..=count {
            let key = NodeKey::from_seed(&[seed; 32]);
            let folder = tempfile::tempdir().unwrap();
            let data: PathBuf = folder.path().join("store");
            let mut config = config(key.clone(), Some(data), &[], local(), quick());
            config.trust.folder = Some(folder.path().to_owned());
            nodes.push(open_as(key, config).await);
            folders.push(folder);
        }
        introduce(&nodes);
        for node in &nodes {
            node.runtime.start().await.unwrap();
        }
        Self { nodes, folders }
    }

    /// What the log of a node says of `who`.
    fn log(&self, node: usize, who: &str) -> Vec<Entry> {
        let files = audit_files(self.folders[node].path()).unwrap();
        assert!(files.iter().all(|file| file.follows && file.read.broken.is_none()));
        let entries = files.into_iter().flat_map(|file| file.read.entries);
        entries.filter(|entry| entry.who == who).collect()
    }

    /// Waits until the log of a node says this of `who`.
    async fn tells(&self, node: usize, who: &str, what: &str) {
        until(&format!("the log tells of {who}: {what}"), || {
            self.log(node, who).iter().any(|entry| entry.what == what)
        })
        .await;
    }
}

async fn serves(node: &Node, entity: EntityId) {
    assert_eq!(node.standing(entity), Some(Standing::Live));
    assert_eq!(node.deliver(entity.origin_hash(), "get a").await.unwrap(), "true");
}

/// Everything that is said in moves on these nodes from here on.
fn listen(nodes: &[Node]) -> Arc<Mutex<Vec<MigrationEnvelope>>> {
    let heard: Arc<Mutex<Vec<MigrationEnvelope>>> = Arc::default();
    for node in nodes {
        let heard = Arc::clone(&heard);
        let hooks = MigrationHandlerHooks {
            outbound: Some(Arc::new(move |said| heard.lock().unwrap().push(said.envelope.clone()))),
            ..MigrationHandlerHooks::default()
        };
        let handler = MigrationSubprotocolHandler::with_hooks(hooks);
        node.runtime.install_migration_handler(handler);
    }
    heard
}

fn kinds(envelopes: &[MigrationEnvelope]) -> BTreeSet<String> {
    let name = |it: &MigrationEnvelope| {
        let text = format!("{:?}", it.message);
        text.split([' ', '{']).next().unwrap_or_default().to_owned()
    };
    envelopes.iter().map(name).collect()
}

/// The ten of the reference.
const TEN: [&str; 10] = [
    "ActivateAck",
    "ActivateTarget",
    "BufferedEvents",
    "CleanupComplete",
    "CutoverNotify",
    "MigrationFailed",
    "ReplayComplete",
    "RestoreComplete",
    "SnapshotReady",
    "TakeSnapshot",
];

/// A daemon that was moved twice, from the first node to the second and back, and all that was said.
async fn moved_there_and_back(stage: &Stage) -> (EntityId, Vec<MigrationEnvelope>) {
    let [a, b] = &stage.nodes[..2] else { panic!("two nodes") };
    let heard = listen(&stage.nodes);
    let daemon = a.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    // One that is called off, for there to be a failure.
    let moving = a.runtime.migrate(entity, b.id(), MigrationOpts::default()).await.unwrap();
    moving.cancel();
    let called_off = moving.wait().await.is_err();
    if !called_off {
        b.migrate(entity, a, MigrationOpts::default()).await.unwrap();
        a.runs(entity).await;
    }
    // Asked for at the target, so that source and orchestrator are two.
    let moving = b.runtime.migrate(entity, b.id(), MigrationOpts::default()).await.unwrap();
    moving.wait().await.unwrap();
    b.runs(entity).await;
    b.deliver(entity.origin_hash(), "put b 1").await.unwrap();
    let moving = b.runtime.migrate(entity, a.id(), MigrationOpts::default()).await.unwrap();
    moving.wait().await.unwrap();
    a.runs(entity).await;
    let said = heard.lock().unwrap().clone();
    (entity, said)
}

fn title(node: &Node, entity: EntityId) -> (Option<Epoch>, Option<Standing>) {
    (node.runtime.status(entity).and_then(|it| it.epoch), node.standing(entity))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_past_move_replayed_by_another_member_is_refused_and_written_down() {
    let stage = Stage::of(2).await;
    let (entity, said) = moved_there_and_back(&stage).await;
    let [a, b] = &stage.nodes[..] else { panic!("two nodes") };
    let missing: Vec<&str> = TEN.into_iter().filter(|name| !kinds(&said).contains(*name)).collect();
    // Whether a cancellation comes in time is up to the machine.
    assert!(missing.is_empty() || missing == ["MigrationFailed"], "{missing:?}");
    until("the state at the other node is gone", || b.standing(entity) == Some(Standing::Stranger))
        .await;
    let (before_a, before_b) = (title(a, entity), title(b, entity));
    let mut liar = Impostor::admitted(66, &[a, b]);
    for to in [a, b] {
        for envelope in &said {
            for role in [Role::Source, Role::Target, Role::Orchestrator] {
                let envelope = MigrationEnvelope { role, ..envelope.clone() };
                liar.say(to, &Message::Migration(envelope));
            }
        }
        liar.dealt_with(to, entity).await;
    }
    assert_eq!((title(a, entity), title(b, entity)), (before_a, before_b));
    serves(a, entity).await;
    assert_eq!(b.runtime.daemon_count(), 0);
    let who = liar.id().to_string();
    for node in 0..2 {
        stage.tells(node, &who, "stray message").await;
        stage.tells(node, &who, "refused move").await;
    }
    // The parties themselves can move it on.
    a.migrate(entity, b, MigrationOpts::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_ten_messages_forged_by_a_member_without_a_role_are_written_down() {
    let stage = Stage::of(1).await;
    let a = &stage.nodes[0];
    let mut target = Impostor::admitted(65, &[a]);
    let mut liar = Impostor::admitted(66, &[a]);
    let daemon = a.runtime.spawn("kv", identity(2), DaemonHostConfig::default()).await.unwrap();
    let (entity, daemon_origin) = (daemon.entity_id(), daemon.origin_hash());
    a.deliver(daemon_origin, "put a true").await.unwrap();
    let _moving = a.runtime.migrate(entity, target.id(), MigrationOpts::default()).await.unwrap();
    let of = target
        .hear("the offer", |_, message| match message {
            Message::Migration(MigrationEnvelope { attempt, epoch, message, .. }) => {
                matches!(message, MigrationMessage::SnapshotReady { offer: Some(_), .. })
                    .then_some(Move { entity, attempt: *attempt, epoch: *epoch })
            }
            _ => None,
        })
        .await;
    let title = liar.dealt_with(a, entity).await;
    let deed = forged_deed(&title, &liar.key, &liar.key, &of);
    let take = MigrationMessage::TakeSnapshot {
        daemon_origin,
        target_node: liar.id(),
        transport_identity: true,
        catch_up: CatchUp::Replay,
    };
    let mut forgeries = all_forgeries(&of, &liar.key, &deed, target.id());
    forgeries.push((Role::Orchestrator, take));
    let envelope = |(role, message): &(Role, MigrationMessage)| MigrationEnvelope {
        entity,
        attempt: of.attempt,
        epoch: of.epoch,
        role: *role,
        message: message.clone(),
    };
    let envelopes: Vec<MigrationEnvelope> = forgeries.iter().map(envelope).collect();
    let forged = kinds(&envelopes);
    assert!(TEN.iter().all(|name| forged.contains(*name)), "{forged:?}");
    for envelope in envelopes {
        let MigrationEnvelope { role, message, .. } = envelope;
        liar.say_of_move(a, of.names(), role, message.clone());
        // And of an attempt that never was, in an epoch that is not.
        for epoch in [0, 1, 9] {
            let names = (entity, AttemptId::new(77), Epoch::new(epoch));
            liar.say_of_move(a, names, role, message.clone());
        }
    }
    liar.tell_deeds(a, entity, vec![deed]);
    liar.dealt_with(a, entity).await;
    serves(a, entity).await;
    let who = liar.id().to_string();
    for what in ["wrong peer", "stray message", "refused move", "bad deed"] {
        stage.tells(0, &who, what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_struck_off_is_not_let_in_and_that_is_written_down() {
    let stage = Stage::of(2).await;
    let (entity, said) = moved_there_and_back(&stage).await;
    let a = &stage.nodes[0];
    let mut former = Impostor::admitted(66, &[a]);
    former.dealt_with(a, entity).await;
    let before = title(a, entity);
    assert!(a.runtime.mesh().members().remove(former.id()));
    until("it is cut off", || a.runtime.mesh().link_statistics(former.id()).is_none()).await;
    // What is said before it notices that its connections are closed is lost with them.
    let mut said = said.into_iter().cycle();
    let mut looks = 0;
    until("the log tells of somebody who was not let in", || {
        looks += 1;
        if looks % 32 == 1 {
            former.say(a, &Message::Migration(said.next().unwrap()));
        }
        stage.log(0, "127.0.0.1").iter().any(|entry| entry.what == "not let in")
    })
    .await;
    assert_eq!(title(a, entity), before);
    serves(a, entity).await;
    let heard = stage.log(0, &former.id().to_string());
    assert!(heard.iter().all(|entry| entry.what != "stray message"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outsider_is_not_let_in_and_that_is_written_down() {
    let stage = Stage::of(1).await;
    let a = &stage.nodes[0];
    let daemon = a.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    let outsider = Impostor::admitted(66, &[a]);
    a.runtime.mesh().members().remove(outsider.id());
    let of = Move { entity, attempt: AttemptId::new(5), epoch: Epoch::FIRST };
    let birth = Deed::birth(&identity(1), outsider.key.public(), StoreId::new(1), of.attempt);
    let deed = forged_deed(&[birth], &outsider.key, &outsider.key, &of);
    for (role, message) in all_forgeries(&of, &outsider.key, &deed, outsider.id()) {
        outsider.say_of_move(a, of.names(), role, message);
    }
    stage.tells(0, "127.0.0.1", "not let in").await;
    assert!(stage.log(0, &outsider.id().to_string()).is_empty());
    serves(a, entity).await;
}

/// A member that owns a daemon by a true title offers it with this envelope; what the target answers.
async fn offers(
    b: &Node,
    source: &mut Impostor,
    manifest: &whimbrel_wire::Manifest,
    seed: u8,
    envelope: Bytes,
) -> MigrationFailureReason {
    let entity = identity(seed).entity_id();
    let (store, attempt) = (StoreId::new(1), AttemptId::new(u128::from(seed)));
    let birth: SignedDeed = Deed::birth(&identity(seed), source.key.public(), store, attempt);
    source.tell_deeds(b, entity, vec![birth]);
    b.hears_of(entity).await;
    let offered = MigrationMessage::SnapshotReady {
        daemon_origin: entity.origin_hash(),
        snapshot_bytes: Bytes::from(encode(manifest)),
        seq_through: manifest.head.position.get(),
        chunk_index: 0,
        total_chunks: manifest.messages(),
        snapshot: manifest.digest(),
        offer: Some(Offer {
            orchestrator: source.id(),
            envelope: Some(envelope),
            catch_up: CatchUp::Replay,
            frozen: None,
        }),
    };
    let attempt = AttemptId::new(99);
    source.say_of_move(b, (entity, attempt, Epoch::FIRST), Role::Source, offered);
    source
        .hear("the answer to the offer", |_, message| match message {
            Message::Migration(MigrationEnvelope {
                attempt: of,
                message: MigrationMessage::MigrationFailed { reason, .. },
                ..
            }) if *of == attempt => Some(reason.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_of_another_move_or_for_another_node_opens_nothing_and_is_written_down() {
    let stage = Stage::of(3).await;
    let (_, said) = moved_there_and_back(&stage).await;
    let [_, b, apart] = &stage.nodes[..] else { panic!("three nodes") };
    let envelope_of = |said: &MigrationEnvelope| match &said.message {
        MigrationMessage::SnapshotReady { offer: Some(offer), .. } => offer.envelope.clone(),
        _ => None,
    };
    // The first was sealed to this node, for another move; the last to another node.
    let sealed: Vec<Bytes> = said.iter().filter_map(envelope_of).collect();
    assert!(sealed.len() >= 2);
    let cut = sealed[0].slice(..20);
    let mut source = Impostor::admitted(65, &[b]);
    apart.runtime.mesh().members().remove(b.id());
    b.runtime.mesh().members().remove(apart.id());
    for (seed, envelope) in
        [(11, sealed[0].clone()), (12, sealed[sealed.len() - 1].clone()), (13, cut)]
    {
        let it = apart.runtime.spawn("kv", identity(seed), DaemonHostConfig::default());
        let it = it.await.unwrap();
        apart.deliver(it.origin_hash(), "put a true").await.unwrap();
        let manifest = it.snapshot().await.unwrap().unwrap().manifest().clone();
        let reason = offers(b, &mut source, &manifest, seed, envelope).await;
        assert!(matches!(reason, MigrationFailureReason::IdentityTransportFailed(_)), "{reason:?}");
    }
    stage.tells(1, &source.id().to_string(), "refused move").await;
    assert_eq!(b.runtime.daemon_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_with_its_moves_while_peers_stall_and_handshakes_stay_half_open() {
    const EACH: u32 = 24;
    let stage = Stage::of(2).await;
    let [a, b] = &stage.nodes[..] else { panic!("two nodes") };
    let (mesh, mut stalled) = (a.runtime.mesh(), Stalled::none().unwrap());
    for number in 0..EACH {
        let key = stallers::key(number).public();
        mesh.members().insert(Member { key, addresses: Vec::new() });
        stalled.add(number, mesh.public_key(), mesh.local_address()).await;
    }
    let before = mesh.handshakes().unwrap().accepted;
    let half_open = HalfOpen::start(EACH, mesh.public_key(), mesh.local_address()).await.unwrap();
    let daemon = a.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    for _ in 0..4 {
        a.migrate(entity, b, MigrationOpts::default()).await.unwrap();
        b.runs(entity).await;
        assert_eq!(b.send(entity, "get a").await, "true");
        b.migrate(entity, a, MigrationOpts::default()).await.unwrap();
        a.runs(entity).await;
    }
    until("handshakes are given up", || mesh.handshakes().unwrap().failed >= u64::from(EACH)).await;
    assert!(mesh.handshakes().unwrap().accepted < before + 12, "only the two nodes were let in");
    assert_eq!(stalled.standing(), EACH as usize, "they are within their time");
    drop(half_open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_too_many_too_few_or_none_of_ours_are_written_down() {
    let stage = Stage::of(1).await;
    let a = &stage.nodes[0];
    let mut liar = Impostor::admitted(66, &[a]);
    let daemon = a.runtime.spawn("kv", identity(6), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    a.deliver(daemon.origin_hash(), "put a true").await.unwrap();
    let title = liar.dealt_with(a, entity).await;
    let of = Move { entity, attempt: AttemptId::new(5), epoch: Epoch::FIRST };
    let deed = forged_deed(&title, &liar.key, &liar.key, &of);
    for frame in all_forged_frames(&of, &liar.key, &deed, liar.id()) {
        liar.babble(a, frame.slice(..frame.len() - 1));
        liar.babble(a, [&frame[..], b"more"].concat());
    }
    liar.babble(a, vec![0_u8; 0]);
    liar.babble(a, vec![1_u8; whimbrel_wire::limits::FRAME_BYTES_MAX]);
    liar.dealt_with(a, entity).await;
    stage.tells(0, &liar.id().to_string(), "bad frame").await;
    serves(a, entity).await;
    // Somebody who lies a great deal does not fill the disk.
    for _ in 0..2_000 {
        liar.babble(a, Bytes::from_static(b"\xff\xff"));
    }
    liar.dealt_with(a, entity).await;
    let told = stage.log(0, &liar.id().to_string()).len();
    assert!(told <= 64, "{told} entries");
    let itself = Member { key: liar.key.public(), addresses: Vec::new() };
    a.runtime.mesh().members().insert(itself);
    serves(a, entity).await;
}
