//! Daemons move between real nodes on loopback, while clients keep sending.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod stage;

use bytes::Bytes;
use stage::{PATIENCE, identity, nodes};
use whimbrel_runtime::{DaemonHostConfig, Durability, MigrationOpts};
use whimbrel_wire::CausalEvent;

fn text(payload: impl Into<String>) -> Bytes {
    Bytes::from(payload.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_delivered_is_answered_and_found_again() {
    let nodes = nodes(1, true).await;
    let runtime = &nodes[0].runtime;
    let daemon = runtime.spawn("kv", identity(9), DaemonHostConfig::default()).await.unwrap();
    let origin = daemon.origin_hash();
    let put = CausalEvent::unchained(origin, 1, text("put a 1"));
    runtime.deliver_async(origin, &put).await.unwrap();
    let get = CausalEvent::unchained(origin, 2, text("get a"));
    let answers = runtime.deliver_async(origin, &get).await.unwrap();
    assert_eq!(answers.len(), 1);
    assert!(String::from_utf8_lossy(&answers[0].payload).contains('1'));
    let proof = runtime.lineage(daemon.entity_id()).await.unwrap();
    proof.verify(&daemon.entity_id()).unwrap();
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_moves_under_load_and_every_event_counts_once() {
    for durable in [true, false] {
        move_under_load(durable).await;
    }
}

async fn move_under_load(durable: bool) {
    let nodes = nodes(3, durable).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let config = DaemonHostConfig {
        durability: if durable { Durability::Durable } else { Durability::Volatile },
        ..DaemonHostConfig::default()
    };
    let daemon = a.runtime.spawn("kv", identity(7), config).await.unwrap();
    let entity = daemon.entity_id();
    let client = c.runtime.client();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let sender = tokio::spawn(async move {
        let mut sent = 0_u64;
        while !*stopped.borrow_and_update() {
            let acks: Vec<_> =
                (0..32).map(|_| client.send(entity, text("add counter 1"))).collect();
            for ack in acks {
                let answer = ack.await.unwrap();
                assert_eq!(answer.failure, None);
                sent += 1;
            }
        }
        sent
    });
    let route = [b.id(), c.id(), a.id(), b.id(), a.id()];
    // Every node orchestrates in turn: the source, the target, the third.
    for (target, orchestrator) in route.into_iter().zip([a, a, a, b, c]) {
        let options = MigrationOpts::default();
        let moving = orchestrator.runtime.migrate(entity, target, options).await.unwrap();
        moving.wait_with_timeout(PATIENCE).await.unwrap();
    }
    stop.send_replace(true);
    let sent = tokio::time::timeout(PATIENCE, sender).await.unwrap().unwrap();
    let answer = c.runtime.send(entity, text("get counter")).await.unwrap();
    let counted = String::from_utf8_lossy(&answer.outputs[0].payload).into_owned();
    assert!(counted.contains(&sent.to_string()), "{sent} acknowledged, daemon says {counted}");
    assert_eq!(a.runtime.daemon_count(), 1);
    assert_eq!(b.runtime.daemon_count() + c.runtime.daemon_count(), 0);
    a.runtime.lineage(entity).await.unwrap().verify(&entity).unwrap();
    for node in &nodes {
        node.runtime.shutdown().await.unwrap();
    }
}
