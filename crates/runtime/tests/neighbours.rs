//! Who seems up, and what follows from it: targets are chosen and refused by it, owners are not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stage::actors::{Choosy, Whims};
use stage::{Node, config, identity, introduce, local, open_as, quick, until};
use whimbrel_protocol::Standing;
use whimbrel_runtime::{
    DaemonError, DaemonHostConfig, DetectorSettings, MeshConfig, MigrationOpts, Seems, Target,
    Unfit,
};
use whimbrel_wire::NodeKey;

/// Short waits: a test waits for a member to seem down.
fn watchful() -> DetectorSettings {
    DetectorSettings {
        probe_interval: Duration::from_millis(100),
        answer_max: Duration::from_millis(50),
        suspect_max: Duration::from_millis(300),
        quiet_max: Duration::from_millis(500),
        announce_interval: Duration::from_millis(100),
        gossip_interval: Duration::from_millis(50),
        ..DetectorSettings::default()
    }
}

async fn watchful_node(seed: u8, change: impl FnOnce(&mut MeshConfig)) -> Node {
    let key = NodeKey::from_seed(&[seed; 32]);
    let folder = tempfile::tempdir().unwrap();
    let path = Some(folder.path().to_owned());
    let mut config = config(key.clone(), path, &[], local(), quick());
    config.detector = watchful();
    change(&mut config);
    Node { folder: Some(folder), ..open_as(key, config).await }
}

async fn watchful_nodes(count: u8) -> Vec<Node> {
    let mut nodes = Vec::new();
    for seed in 1..=count {
        nodes.push(watchful_node(seed, |_| ()).await);
    }
    begin(&nodes).await;
    nodes
}

async fn begin(nodes: &[Node]) {
    introduce(nodes);
    for node in nodes {
        node.runtime.start().await.unwrap();
    }
}

impl Node {
    fn seems(&self, other: &Self) -> Option<Seems> {
        self.runtime.neighbour(other.id()).map(|neighbour| neighbour.seems)
    }

    async fn sees(&self, other: &Self, seems: Seems) {
        until("it seems so", || self.seems(other) == Some(seems)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_see_each_other_and_what_each_offers() {
    let tagged = |config: &mut MeshConfig| {
        config.tags.insert("gpu".to_owned());
        config.memory_bytes = 1_000;
    };
    let nodes = [watchful_node(1, tagged).await, watchful_node(2, |_| ()).await];
    begin(&nodes).await;
    let [a, b] = &nodes;
    let host = DaemonHostConfig::default();
    a.runtime.spawn("kv", identity(1), host).await.unwrap();
    b.sees(a, Seems::Alive).await;
    a.sees(b, Seems::Alive).await;
    until("it is told", || {
        let told = b.runtime.neighbour(a.id()).unwrap().report;
        told.is_some_and(|report| {
            report.offer.tags.contains("gpu")
                && report.offer.kinds.contains("kv")
                && report.load.memory_free_bytes == 1_000
                && report.load.daemons == 1
        })
    })
    .await;
    assert_eq!(b.runtime.neighbours().len(), 2);
    // Datagrams carry it, not the lanes.
    let link = a.runtime.mesh().link_statistics(b.id()).unwrap();
    assert!(link.datagrams_sent > 0 && link.datagrams_received > 0, "{link:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detection_never_decides_ownership() {
    let nodes = watchful_nodes(3).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let host = DaemonHostConfig::default();
    let entity = a.runtime.spawn("kv", identity(2), host).await.unwrap().entity_id();
    assert_eq!(b.send(entity, "add a 1").await, "1");
    for other in [b, c] {
        other.sees(a, Seems::Alive).await;
    }
    // Nothing of what the detectors say gets through to or from the owner: it seems down to all.
    a.runtime.simulate_silence(true);
    for other in [b, c] {
        other.sees(a, Seems::Down).await;
        a.sees(other, Seems::Down).await;
    }
    // It owns its daemon and serves it all the same, to itself and to those who take it for down.
    for (round, node) in [a, b, c, b].into_iter().enumerate() {
        assert_eq!(node.send(entity, "add a 1").await, (round + 2).to_string());
    }
    for other in [b, c] {
        assert_eq!(other.seems(a), Some(Seems::Down));
        assert_eq!(other.runtime.find(entity).await.unwrap(), a.id());
        assert_eq!(other.runtime.daemon_count(), 0);
    }
    assert_eq!(a.standing(entity), Some(Standing::Live));
    // A move from it works: its owner decides, and does not mind how it seems.
    c.migrate(entity, b, MigrationOpts::default()).await.unwrap();
    assert_eq!(a.send(entity, "add a 1").await, "6");
    a.runtime.simulate_silence(false);
    for other in [b, c] {
        other.sees(a, Seems::Alive).await;
        a.sees(other, Seems::Alive).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_owner_keeps_its_daemon_and_a_dead_target_is_refused_at_once() {
    let mut nodes = watchful_nodes(3).await;
    let host = DaemonHostConfig::default();
    let ours = nodes[0].runtime.spawn("kv", identity(3), host).await.unwrap().entity_id();
    let theirs = nodes[2].runtime.spawn("kv", identity(4), host).await.unwrap().entity_id();
    for node in &nodes[..2] {
        node.sees(&nodes[2], Seems::Alive).await;
        node.knows_owner(theirs, &nodes[2]).await;
    }
    assert_eq!(nodes[0].send(theirs, "add a 1").await, "1");
    let dead = nodes[2].id();
    let left = nodes.remove(2).crash();
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let is_down =
        |node: &Node| node.runtime.neighbour(dead).is_some_and(|it| it.seems == Seems::Down);
    let is_cut = |node: &Node| {
        let link = node.runtime.mesh().link_statistics(dead);
        link.is_none_or(|link| !link.connected.contains(&true))
    };
    until("it is down to both", || [a, b].iter().all(|node| is_down(node) && is_cut(node))).await;
    for orchestrator in [a, b] {
        let refused = orchestrator.runtime.migrate(ours, dead, MigrationOpts::default()).await;
        assert!(matches!(refused, Err(DaemonError::NodeDown(node)) if node == dead));
    }
    let refused = a.runtime.start_migration(ours.origin_hash(), a.id(), dead).await;
    assert!(matches!(refused, Err(DaemonError::NodeDown(_))), "{:?}", refused.err());
    assert_eq!(a.send(ours, "add a 1").await, "1", "nothing began");
    // Nobody takes what is the dead node's.
    for node in [a, b] {
        assert_eq!(node.runtime.find(theirs).await.unwrap(), dead);
        assert_ne!(node.standing(theirs), Some(Standing::Live));
    }
    let back = left.open().await;
    back.runtime.start().await.unwrap();
    back.runs(theirs).await;
    a.sees(&back, Seems::Alive).await;
    assert_eq!(a.send(theirs, "add a 1").await, "2");
    a.migrate(ours, &back, MigrationOpts::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_without_a_target_goes_where_it_suits_best_and_says_why() {
    let small = |config: &mut MeshConfig| config.memory_bytes = 50;
    let idle = |config: &mut MeshConfig| config.hosts = false;
    let nodes = [
        watchful_node(1, |_| ()).await,
        watchful_node(2, small).await,
        watchful_node(3, |_| ()).await,
        watchful_node(4, |_| ()).await,
        watchful_node(5, idle).await,
    ];
    let whims: Arc<Whims> = Arc::default();
    whims.memory_bytes.store(100, Ordering::Relaxed);
    // The third has not this kind.
    for node in [0, 1, 3, 4] {
        nodes[node].runtime.register_factory("choosy", Choosy::factory(&whims)).unwrap();
    }
    begin(&nodes).await;
    let [a, b, c, d, e] = &nodes;
    for other in [a, b, c, d] {
        e.sees(other, Seems::Alive).await;
        until("all is told", || {
            e.runtime.neighbour(other.id()).is_some_and(|it| it.report.is_some())
        })
        .await;
    }
    let host = DaemonHostConfig::default();
    let entity = a.runtime.spawn("choosy", identity(5), host).await.unwrap().entity_id();
    // A node that hosts nothing asks the owner what the daemon wants.
    let placement = e.runtime.placement(entity).await.unwrap();
    assert_eq!(placement.best().map(|place| place.node), Some(d.id()), "{placement:?}");
    let why = |node: &Node| {
        let place = placement.places.iter().find(|place| place.node == node.id()).unwrap();
        place.unfit.clone()
    };
    assert_eq!(why(a), Some(Unfit::IsThere));
    assert_eq!(why(b), Some(Unfit::Memory(50)));
    assert_eq!(why(c), Some(Unfit::Kind));
    assert_eq!(why(d), None);
    assert_eq!(why(e), Some(Unfit::HostsNone));
    e.knows_owner(entity, a).await;
    let origin = entity.origin_hash();
    let moving = e.runtime.start_migration(origin, a.id(), Target::Best).await.unwrap();
    assert_eq!(moving.placement().and_then(|it| it.best()).map(|it| it.node), Some(d.id()));
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    d.runs(entity).await;
    // Now it fits nowhere but where it came from; and when that is gone, nowhere.
    let moving = e.runtime.migrate_to_best(entity, MigrationOpts::default()).await.unwrap();
    moving.wait_with_timeout(stage::PATIENCE).await.unwrap();
    a.runs(entity).await;
    e.knows_owner(entity, a).await;
    for node in [a, b, c, e] {
        node.runtime.mesh().members().remove(d.id());
    }
    let refused = e.runtime.migrate_to_best(entity, MigrationOpts::default()).await;
    let Err(DaemonError::NoPlace(placement)) = refused else { panic!("{:?}", refused.err()) };
    assert_eq!(placement.places.len(), 4);
    assert!(placement.places.iter().all(|place| place.unfit.is_some()), "{placement:?}");
}
