//! Senders: in order, exactly once, wherever the daemon is and whatever becomes of its node.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stage::actors::Binding;
use stage::{identity, member, nodes, quick, quick_nodes, said, text};
use whimbrel_protocol::SendError;
use whimbrel_runtime::{DaemonError, DaemonHostConfig, MigrationOpts};

const EVENTS: usize = 300;

/// The lines of each sender, in the order in which the daemon has them.
fn by_sender(lines: &str) -> BTreeMap<String, Vec<usize>> {
    let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in lines.split_whitespace() {
        let (sender, number) = line.split_once('-').unwrap();
        all.entry(sender.to_owned()).or_default().push(number.parse().unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_events_of_two_senders_keep_their_order_across_moves() {
    let nodes = nodes(3, true).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let binding = Arc::new(Binding::default());
    for node in &nodes {
        node.runtime.register_factory("foreign", binding.factory()).unwrap();
    }
    let host = DaemonHostConfig::default();
    let daemon = a.runtime.spawn("foreign", identity(1), host).await.unwrap();
    let entity = daemon.entity_id();
    let senders = [("near", a), ("far", c)].map(|(name, node)| {
        let client = node.runtime.client();
        tokio::spawn(async move {
            for burst in 0..EVENTS / 30 {
                let sent: Vec<_> = (burst * 30..burst * 30 + 30)
                    .map(|number| client.send(entity, text(format!("{name}-{number}"))))
                    .collect();
                for answer in sent {
                    said(&answer.await.unwrap());
                }
            }
        })
    });
    for (source, target) in [(a, b), (b, c)] {
        source.migrate(entity, target, MigrationOpts::default()).await.unwrap();
        target.runs(entity).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let lines = by_sender(&b.send(entity, "?").await);
    let all: Vec<usize> = (0..EVENTS).collect();
    assert_eq!(lines["near"], all);
    assert_eq!(lines["far"], all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_to_a_daemon_that_nobody_knows_ends_within_the_search_time() {
    let nodes = quick_nodes(2, true).await;
    let started = Instant::now();
    let sent = nodes[0].runtime.send(identity(2).entity_id(), text("hello")).await;
    assert!(matches!(sent, Err(DaemonError::Send(SendError::NotFound))), "{sent:?}");
    assert!(started.elapsed() < quick().search_max * 4, "{:?}", started.elapsed());
    // A daemon that is born later is found by the same sender.
    nodes[1].runtime.spawn("kv", identity(2), DaemonHostConfig::default()).await.unwrap();
    assert_eq!(nodes[0].send(identity(2).entity_id(), "put a 1").await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_outlives_the_node_of_its_daemon_has_each_event_taken_once() {
    let mut nodes = quick_nodes(2, true).await;
    let binding = Arc::new(Binding::default());
    nodes[0].runtime.register_factory("foreign", binding.factory()).unwrap();
    let host = DaemonHostConfig { auto_snapshot_interval: 64, ..DaemonHostConfig::default() };
    nodes[0].runtime.spawn("foreign", identity(3), host).await.unwrap();
    let entity = identity(3).entity_id();
    let client = nodes[1].runtime.client();
    let (progress, mut seen) = tokio::sync::watch::channel(0_usize);
    let sending = tokio::spawn(async move {
        let sent: Vec<_> =
            (0..EVENTS).map(|number| client.send(entity, text(format!("c-{number}")))).collect();
        for answer in sent {
            said(&answer.await.unwrap());
            progress.send_modify(|count| *count += 1);
        }
    });
    for crash in 1..=2 {
        let enough = crash * EVENTS / 4;
        seen.wait_for(|count| *count >= enough).await.unwrap();
        let node = nodes.remove(0).crash().open().await;
        nodes[0].runtime.mesh().members().insert(member(&node));
        node.runtime.register_factory("foreign", binding.factory()).unwrap();
        node.runtime.start().await.unwrap();
        nodes.insert(0, node);
    }
    tokio::time::timeout(stage::PATIENCE, sending).await.unwrap().unwrap();
    let lines = by_sender(&nodes[1].send(entity, "?").await);
    assert_eq!(lines["c"], (0..EVENTS).collect::<Vec<_>>());
    nodes[0].runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_sent_while_the_owner_is_away_are_taken_when_it_is_back() {
    let mut nodes = quick_nodes(2, true).await;
    let host = DaemonHostConfig::default();
    nodes[0].runtime.spawn("kv", identity(4), host).await.unwrap();
    let entity = identity(4).entity_id();
    nodes[1].send(entity, "add a 1").await;
    let away = nodes.remove(0).shut_down().await;
    let client = nodes[0].runtime.client();
    let sent: Vec<_> = (0..10).map(|_| client.send(entity, text("add a 1"))).collect();
    // Longer than a search: it is known who owns it, so nobody gives up.
    // bounded wait: by itself; being away for so long is the case.
    tokio::time::sleep(quick().search_max + Duration::from_millis(200)).await;
    let node = away.open().await;
    node.runtime.start().await.unwrap();
    for answer in sent {
        said(&answer.await.unwrap());
    }
    assert_eq!(nodes[0].send(entity, "get a").await, "11");
}
