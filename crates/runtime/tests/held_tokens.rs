//! Tokens that daemons hold: what their own code may listen to by them, on whichever node they live; and tokens that
//! are revoked at one node of several.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::time::SystemTime;

use bytes::Bytes;
use stage::actors::Seeker;
use stage::{
    Node, PATIENCE, config, identity, introduce, local, open_as, quick, said, text, until,
};
use tempfile::TempDir;
use whimbrel_runtime::{
    DaemonError, DaemonHostConfig, MeshConfig, MigrationOpts, TokenError, TrustConfig, TrustError,
    audit_files,
};
use whimbrel_trust::{
    Act, Among, BlockId, ChannelPattern, PermissionToken, Scope, TrustRefusal, Verb,
};
use whimbrel_wire::{ChannelName, EntityId, NodeKey};
use zeroize::Zeroizing;

const REFUSED: &str = "news: the daemon holds no token for the channel";

fn root() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A token to listen to news.
fn pass(number: u8) -> PermissionToken {
    let scope = Scope {
        verbs: [Verb::Subscribe].into(),
        channels: Among::listed([ChannelPattern::new("news").unwrap()]),
        ..Scope::everything(now() + 3_600)
    };
    PermissionToken::mint(&root(), "listener", scope, &Zeroizing::new([number; 32])).unwrap()
}

fn last(token: &PermissionToken) -> BlockId {
    *token.ids().last().unwrap()
}

/// A place for a node that believes the root: its key, and its folder.
struct Place {
    key: NodeKey,
    folder: TempDir,
}

impl Place {
    fn new(seed: u8) -> Self {
        Self { key: NodeKey::from_seed(&[seed; 32]), folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> MeshConfig {
        let folder = self.folder.path();
        let data = Some(folder.join("data"));
        let mut config = config(self.key.clone(), data, &[], local(), quick());
        config.trust = TrustConfig {
            roots: vec![root().public()],
            open_channels: vec![ChannelPattern::new("public/*").unwrap()],
            folder: Some(folder.to_owned()),
        };
        config
    }

    async fn open(&self) -> Node {
        let node = open_as(self.key.clone(), self.config()).await;
        node.runtime.register_factory(Seeker::NAME, || Box::new(Seeker::default())).unwrap();
        node
    }

    fn sees(&self, what: &str) -> bool {
        let files = audit_files(self.folder.path()).unwrap();
        assert!(files.iter().all(|file| file.follows && file.read.broken.is_none()), "{files:?}");
        files.iter().flat_map(|file| &file.read.entries).any(|entry| entry.what == what)
    }
}

async fn mesh(places: &[Place]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for place in places {
        nodes.push(place.open().await);
    }
    introduce(&nodes);
    for node in &nodes {
        node.runtime.start().await.unwrap();
    }
    nodes
}

async fn born(node: &Node, kind: &str, seed: u8) -> EntityId {
    let spawned = node.runtime.spawn(kind, identity(seed), DaemonHostConfig::default()).await;
    spawned.unwrap().entity_id()
}

/// A publisher of news at this node.
async fn publisher(node: &Node) -> EntityId {
    let entity = born(node, "kv", 9).await;
    for channel in ["news", "public/news"] {
        let channel = ChannelName::new(channel).unwrap();
        node.runtime.open_channel(entity.origin_hash(), channel, 0).await.unwrap();
    }
    entity
}

/// What a seeker remembers.
async fn remembers(node: &Node, entity: EntityId) -> Vec<String> {
    let answer = node.runtime.send(entity, Bytes::from_static(b"?")).await.unwrap();
    said(&answer).lines().map(str::to_owned).collect()
}

/// Has a seeker's own code listen; what came of it.
async fn seek(node: &Node, entity: EntityId, publisher: EntityId, channel: &str) -> String {
    let before = remembers(node, entity).await.len();
    let sent = node.runtime.send(entity, Seeker::seek(publisher, channel)).await.unwrap();
    assert_eq!(said(&sent), "");
    let looking = async {
        loop {
            if let Some(line) = remembers(node, entity).await.get(before) {
                return line.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("an answer of the publisher")
}

async fn permits(node: &Node, entity: EntityId, count: usize) {
    until("the daemon was told what it may", || {
        let permits = node.runtime.permits_of(entity.origin_hash());
        permits.is_ok_and(|permits| permits.is_some_and(|permits| permits.len() == count))
    })
    .await;
}

async fn moves(entity: EntityId, from: &Node, to: &Node) {
    from.migrate(entity, to, MigrationOpts::default()).await.unwrap();
    to.runs(entity).await;
    until("the source has dropped it", || {
        from.standing(entity) == Some(whimbrel_protocol::Standing::Stranger)
    })
    .await;
}

async fn holds(node: &Node, entity: EntityId) -> Vec<BlockId> {
    let held = node.runtime.tokens_of(entity.origin_hash()).await.unwrap();
    held.into_iter().map(|(_, block)| block).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_may_hear_a_gated_channel_still_may_after_moves_and_one_without_may_not() {
    let places = [Place::new(1), Place::new(2), Place::new(3)];
    let nodes = mesh(&places).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let publisher = publisher(c).await;
    let (with, without) = (born(a, Seeker::NAME, 1).await, born(a, Seeker::NAME, 2).await);
    // Newborn, both may listen to what is open, and to nothing else.
    for entity in [with, without] {
        assert_eq!(seek(a, entity, publisher, "public/news").await, "public/news stands");
        assert_eq!(seek(a, entity, publisher, "news").await, REFUSED);
    }
    let token = pass(1);
    a.runtime.give_token(with.origin_hash(), token.clone()).await.unwrap();
    permits(a, with, 2).await;
    assert_eq!(holds(a, with).await, [last(&token)]);

    // Its code uses the token only where it lives by then, and back home.
    for (from, to) in [(a, b), (b, a)] {
        for entity in [with, without] {
            moves(entity, from, to).await;
        }
        assert_eq!(holds(to, with).await, [last(&token)]);
        assert_eq!(holds(from, with).await, [], "nothing is left at the source");
        permits(to, with, 2).await;
        assert_eq!(seek(to, without, publisher, "news").await, REFUSED);
        assert_eq!(seek(to, with, publisher, "news").await, "news stands");
        // A node on which it does not live can neither give nor take nor use.
        let elsewhere = from.runtime.give_token(with.origin_hash(), token.clone()).await;
        assert!(matches!(elsewhere, Err(DaemonError::Token(TokenError::NotHere))));
        let elsewhere = from.runtime.take_token(with.origin_hash(), last(&token)).await;
        assert!(matches!(elsewhere, Err(DaemonError::Token(TokenError::NotHere))));
    }
    let news = ChannelName::new("news").unwrap();
    c.runtime.publish(publisher.origin_hash(), news, text("rain")).await.unwrap();
    until("it is heard", || a.runtime.status(with).is_some_and(|status| status.held == 0)).await;
    let heard = async {
        while remembers(a, with).await.last().map(String::as_str) != Some("news: rain") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the message");
    assert!(!remembers(a, without).await.contains(&"news: rain".to_owned()));

    // It survives its node, and ends when it is taken away.
    a.runtime.take_token(with.origin_hash(), last(&token)).await.unwrap();
    let again = a.runtime.take_token(with.origin_hash(), last(&token)).await;
    assert!(matches!(again, Err(DaemonError::Token(TokenError::NoSuch))));
    permits(a, with, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_without_the_key_leaves_the_tokens_behind_and_they_are_gone_with_it() {
    let places = [Place::new(1), Place::new(2)];
    let nodes = mesh(&places).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let entity = born(a, Seeker::NAME, 1).await;
    let publisher = publisher(a).await;
    a.runtime.give_token(entity.origin_hash(), pass(1)).await.unwrap();
    permits(a, entity, 2).await;
    let config = DaemonHostConfig::default();
    b.runtime.register_migration_target_identity(Seeker::NAME, identity(1), config).unwrap();
    let options = MigrationOpts { transport_identity: false, ..MigrationOpts::default() };
    a.migrate(entity, b, options).await.unwrap();
    b.runs(entity).await;
    permits(b, entity, 1).await;
    assert_eq!(seek(b, entity, publisher, "news").await, REFUSED);
    until("nothing is left", || a.standing(entity) == Some(whimbrel_protocol::Standing::Stranger))
        .await;
    assert_eq!((holds(a, entity).await, holds(b, entity).await), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_daemon_survive_its_node() {
    let place = Place::new(1);
    let token = pass(1);
    let entity = {
        let node = place.open().await;
        node.runtime.start().await.unwrap();
        let entity = born(&node, Seeker::NAME, 1).await;
        node.runtime.give_token(entity.origin_hash(), token.clone()).await.unwrap();
        permits(&node, entity, 2).await;
        node.runtime.shutdown().await.unwrap();
        entity
    };
    // Neither the token nor what makes it up lies there to be read.
    let secret = token.to_bytes();
    for file in walk(place.folder.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(32).any(|window| window == &secret[secret.len() - 32..]);
        assert!(!found, "{}", file.display());
    }
    let node = stage::eventually("the node opens again", || async {
        whimbrel_runtime::Mesh::open(place.config()).await
    })
    .await;
    let runtime = whimbrel_runtime::DaemonRuntime::new(node);
    runtime.register_factory(Seeker::NAME, || Box::new(Seeker::default())).unwrap();
    runtime.start().await.unwrap();
    let node = Node { runtime, folder: None, key: place.key.clone() };
    node.runs(entity).await;
    assert_eq!(holds(&node, entity).await, [last(&token)]);
    permits(&node, entity, 2).await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

fn is_revoked(node: &Node, token: &PermissionToken) -> bool {
    let shown = node.runtime.caller("a test").with_token(token.clone());
    matches!(shown, Err(TrustError::Refused(TrustRefusal::Revoked { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_at_one_node_is_revoked_at_all_and_at_one_that_was_away() {
    let places = [Place::new(1), Place::new(2), Place::new(3)];
    let mut nodes = mesh(&places).await;
    let away = nodes.pop().unwrap();
    let publisher = publisher(&nodes[0]).await;
    let entity = born(&nodes[1], Seeker::NAME, 1).await;
    let (token, other) = (pass(1), pass(2));
    nodes[1].runtime.give_token(entity.origin_hash(), token.clone()).await.unwrap();
    permits(&nodes[1], entity, 2).await;
    assert!(nodes.iter().chain([&away]).all(|node| !is_revoked(node, &token)));
    away.runtime.shutdown().await.unwrap();

    let everything = Scope::everything(now() + 3_600);
    let ops = PermissionToken::mint(&root(), "ops", everything, &Zeroizing::new([7; 32])).unwrap();
    let caller = nodes[0].runtime.caller("a test").with_token(ops).unwrap();
    caller.revoke(last(&token)).await.unwrap();
    assert!(is_revoked(&nodes[0], &token));
    until("the other member hears of it", || is_revoked(&nodes[1], &token)).await;
    // A daemon that holds it is told, and there is a record of who said so.
    permits(&nodes[1], entity, 1).await;
    assert_eq!(seek(&nodes[1], entity, publisher, "news").await, REFUSED);
    until("it is written down", || places[1].sees("told revoked")).await;

    // Whoever was away hears of it before it judges anything.
    let mesh = stage::eventually("the node opens again", || async {
        let mut config = places[2].config();
        config.members = nodes.iter().map(stage::member).collect();
        whimbrel_runtime::Mesh::open(config).await
    })
    .await;
    let back = whimbrel_runtime::DaemonRuntime::new(mesh);
    let back = Node { runtime: back, folder: None, key: places[2].key.clone() };
    for node in &nodes {
        node.runtime.mesh().members().insert(stage::member(&back));
    }
    back.runtime.start().await.unwrap();
    // It has asked before it started. A machine that is so busy that nobody answered in time tells it later.
    until("whoever was away hears of it", || is_revoked(&back, &token)).await;
    assert!(nodes.iter().chain([&back]).all(|node| !is_revoked(node, &other)));
    assert!(back.runtime.caller("").may(&Act::admin(None)).is_err());
    // It is on its disk too.
    back.runtime.shutdown().await.unwrap();
    let file = std::fs::read_to_string(places[2].folder.path().join("revoked")).unwrap();
    assert_eq!(file, format!("{}\n", last(&token)));
}
