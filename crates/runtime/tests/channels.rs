//! Channels between daemons on real nodes: who hears what while publishers, subscribers and nodes come and go.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod stage;

use bytes::Bytes;
use stage::{Node, identity, nodes, until};
use tokio::task::JoinSet;
use whimbrel_daemon::fakes::{Ear, Heard, Herald, Run};
use whimbrel_protocol::Settings;
use whimbrel_runtime::{DaemonError, DaemonHostConfig, MigrationOpts, SubscribeOptions};
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelWord, EntityId, Hearing, Start, SubscribeRefusal,
    SubscriptionBinding,
};

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

async fn chatting(count: u8) -> Vec<Node> {
    let nodes = nodes(count, true).await;
    for node in &nodes {
        node.runtime.register_factory(Herald::NAME, || Box::new(Herald::default())).unwrap();
        node.runtime.register_factory(Ear::NAME, || Box::new(Ear::default())).unwrap();
    }
    nodes
}

async fn spawn(node: &Node, kind: &str, seed: u8) -> EntityId {
    let spawned = node.runtime.spawn(kind, identity(seed), DaemonHostConfig::default()).await;
    spawned.unwrap().entity_id()
}

async fn ear(node: &Node, entity: EntityId) -> Ear {
    let answer = node.runtime.send(entity, Bytes::from_static(b"?")).await.unwrap();
    Ear::read(&answer.outputs[0].payload).unwrap()
}

async fn said(node: &Node, entity: EntityId, name: &str) -> Run {
    let answer = node.runtime.send(entity, Bytes::from_static(b"?")).await.unwrap();
    Herald::read(&answer.outputs[0].payload).unwrap().said[&channel(name)].clone()
}

async fn say(node: &Node, entity: EntityId, name: &str, text: &str) {
    node.runtime.send(entity, Herald::say(&channel(name), text)).await.unwrap();
}

/// Waits until a daemon has heard so many messages; gives what it has written down.
async fn hears(
    node: &Node,
    entity: EntityId,
    publisher: EntityId,
    name: &str,
    count: u64,
) -> Heard {
    let binding = SubscriptionBinding { publisher, channel: channel(name) };
    loop {
        let heard = ear(node, entity).await.heard.get(&binding).cloned().unwrap_or_default();
        if heard.run.count >= count {
            return heard;
        }
        tokio::task::yield_now().await;
    }
}

fn complete(heard: &Heard, said: &Run) {
    assert_eq!((heard.gaps, heard.doubles, heard.missed), (0, 0, 0), "{heard:?}");
    assert_eq!(heard.run, *said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_heard_once_and_in_order_while_both_sides_move() {
    let nodes = chatting(3).await;
    let [a, b, c] = &nodes[..] else { panic!("three nodes") };
    let herald = spawn(a, Herald::NAME, 1).await;
    let ear = spawn(b, Ear::NAME, 2).await;
    a.runtime.open_channel(herald.origin_hash(), channel("news"), 0).await.unwrap();
    let options = SubscribeOptions::default();
    b.runtime.subscribe_channel(ear.origin_hash(), herald, channel("news"), options).await.unwrap();
    let binding = SubscriptionBinding { publisher: herald, channel: channel("news") };
    assert_eq!(b.runtime.subscriptions(ear.origin_hash()).unwrap(), [binding]);
    let speaking = async {
        for index in 0..300 {
            say(c, herald, "news", &index.to_string()).await;
        }
    };
    let moving = async {
        for round in 0..3 {
            for (entity, targets) in [(ear, [c, a, b]), (herald, [b, c, a])] {
                let target = targets[round];
                c.migrate(entity, target, MigrationOpts::default()).await.unwrap();
            }
        }
    };
    tokio::join!(speaking, moving);
    let heard = hears(a, ear, herald, "news", 300).await;
    complete(&heard, &said(a, herald, "news").await);
    assert_eq!(heard.begun, 1, "nobody subscribes anew");
    // The roster names the daemon and no node.
    let publications = a.runtime.publications(herald.origin_hash()).unwrap();
    assert_eq!(publications[0].subscribers, [ear]);
    // Both chains, with all that was said and heard about it, hold.
    a.runtime.lineage(herald).await.unwrap().verify(&herald).unwrap();
    b.runtime.lineage(ear).await.unwrap().verify(&ear).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_changes_only_once_the_publisher_agreed() {
    let nodes = chatting(2).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let herald = spawn(a, Herald::NAME, 1).await;
    let ear = spawn(b, Ear::NAME, 2).await;
    let (origin, options) = (ear.origin_hash(), SubscribeOptions::default());
    let refused = b.runtime.subscribe_channel(origin, herald, channel("news"), options).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, DaemonError::Subscribe(SubscribeRefusal::NoChannel)), "{refused}");
    assert!(b.runtime.subscriptions(origin).unwrap().is_empty());
    let hearing = Hearing::Recent { window: 0 };
    a.runtime.open_channel(herald.origin_hash(), channel("news"), 4).await.unwrap();
    let options = SubscribeOptions { hearing, ..options };
    let refused = b.runtime.subscribe_channel(origin, herald, channel("news"), options).await;
    assert!(matches!(refused, Err(DaemonError::Subscribe(SubscribeRefusal::Window))));
    for index in 0..6 {
        say(b, herald, "news", &index.to_string()).await;
    }
    let options = SubscribeOptions { start: Start::Retained, ..SubscribeOptions::default() };
    b.runtime.subscribe_channel(origin, herald, channel("news"), options).await.unwrap();
    // A second time changes nothing.
    b.runtime.subscribe_channel(origin, herald, channel("news"), options).await.unwrap();
    let heard = hears(b, ear, herald, "news", 4).await;
    assert_eq!((heard.run.count, heard.last, heard.gaps), (4, 6, 0));
    b.runtime.unsubscribe_channel(origin, herald, channel("news")).await.unwrap();
    assert!(b.runtime.subscriptions(origin).unwrap().is_empty());
    assert!(a.runtime.publications(herald.origin_hash()).unwrap()[0].subscribers.is_empty());
    b.runtime.unsubscribe_channel(origin, herald, channel("news")).await.unwrap();
    a.runtime.publish(herald.origin_hash(), channel("news"), Bytes::from("7")).await.unwrap();
    assert_eq!(hears(b, ear, herald, "news", 4).await.last, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_survive_the_death_of_both_nodes() {
    let mut nodes = chatting(2).await;
    let (b, a) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    let herald = spawn(&a, Herald::NAME, 1).await;
    let ear = spawn(&b, Ear::NAME, 2).await;
    a.runtime.open_channel(herald.origin_hash(), channel("news"), 0).await.unwrap();
    let options = SubscribeOptions::default();
    b.runtime.subscribe_channel(ear.origin_hash(), herald, channel("news"), options).await.unwrap();
    for index in 0..20 {
        say(&a, herald, "news", &index.to_string()).await;
    }
    // Neither says goodbye, and what was on its way is lost.
    let (a, b) = (a.crash(), b.crash());
    let (a, b) = (a.open().await, b.open().await);
    for node in [&a, &b] {
        node.runtime.register_factory(Herald::NAME, || Box::new(Herald::default())).unwrap();
        node.runtime.register_factory(Ear::NAME, || Box::new(Ear::default())).unwrap();
        node.runtime.start().await.unwrap();
    }
    a.runs(herald).await;
    for index in 20..30 {
        say(&a, herald, "news", &index.to_string()).await;
    }
    let heard = hears(&b, ear, herald, "news", 30).await;
    complete(&heard, &said(&b, herald, "news").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_gone_for_good_is_dismissed_and_holds_up_nobody_after_a_start_either()
{
    // Four messages, and the word that the subscription stands, which may not be acknowledged yet.
    let settings = Settings { outbox_max: 5, ..stage::quick() };
    let mut nodes = stage::unstarted(2, true, settings).await;
    for node in &nodes {
        node.runtime.register_factory(Ear::NAME, || Box::new(Ear::default())).unwrap();
        node.runtime.start().await.unwrap();
    }
    let (b, a) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    let herald = spawn(&a, "kv", 1).await;
    let ear = spawn(&b, Ear::NAME, 2).await;
    let (news, origin) = (channel("news"), herald.origin_hash());
    a.runtime.open_channel(origin, news.clone(), 0).await.unwrap();
    let options = SubscribeOptions::default();
    b.runtime.subscribe_channel(ear.origin_hash(), herald, news.clone(), options).await.unwrap();
    b.knows_owner(herald, &a).await;
    drop(b.crash());
    // More than it may owe: some of them wait.
    let mut publishing = JoinSet::new();
    for index in 0..12 {
        let (runtime, news) = (a.runtime.clone(), news.clone());
        publishing.spawn(async move {
            runtime.publish(origin, news, Bytes::from(index.to_string())).await.unwrap();
        });
    }
    until("some are published", || {
        a.runtime.publications(origin).is_ok_and(|channels| channels[0].next > 4)
    })
    .await;
    a.runtime.dismiss_subscriber(origin, ear).await.unwrap();
    while let Some(published) = publishing.join_next().await {
        published.unwrap();
    }
    for _ in 0..12 {
        a.runtime.publish(origin, news.clone(), Bytes::from_static(b"after")).await.unwrap();
    }
    let a = a.crash().open().await;
    a.runtime.start().await.unwrap();
    a.runs(herald).await;
    for _ in 0..12 {
        a.runtime.publish(origin, news.clone(), Bytes::from_static(b"after")).await.unwrap();
    }
    assert!(a.runtime.publications(origin).unwrap()[0].subscribers.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_its_host_speaks_about_the_channels_of_a_daemon() {
    let nodes = chatting(2).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let ear = spawn(a, Ear::NAME, 1).await;
    let forged = ChannelWord::Open { channel: channel("forged"), retained: 0 }.to_payload();
    // By a client, and by a caller that delivers: to the daemon it is an event like any other.
    b.runtime.send(ear, forged.clone()).await.unwrap();
    let event = CausalEvent::unchained(ear.origin_hash(), 1, forged);
    a.runtime.deliver_async(ear.origin_hash(), &event).await.unwrap();
    assert!(a.runtime.publications(ear.origin_hash()).unwrap().is_empty());
    assert_eq!(self::ear(b, ear).await.told, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asked_is_told_when_the_daemon_leaves_before_the_answer() {
    let nodes = chatting(2).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let ear = spawn(a, Ear::NAME, 1).await;
    // Nobody knows this publisher, so it never answers.
    let nobody = identity(9).entity_id();
    let runtime = a.runtime.clone();
    let asking = tokio::spawn(async move {
        let options = SubscribeOptions::default();
        runtime.subscribe_channel(ear.origin_hash(), nobody, channel("news"), options).await
    });
    until("the question is in the outbox", || {
        a.runtime
            .status(ear)
            .is_some_and(|status| status.head.is_some_and(|head| head.sequence.get() > 0))
    })
    .await;
    a.migrate(ear, b, MigrationOpts::default()).await.unwrap();
    let told = asking.await.unwrap();
    assert!(matches!(told, Err(DaemonError::Deliver(_))), "{told:?}");
    // It can be taken back where the daemon is.
    assert!(b.runtime.subscriptions(ear.origin_hash()).unwrap().is_empty());
}
