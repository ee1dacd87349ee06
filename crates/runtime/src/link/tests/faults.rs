//! A peer that breaks the rules loses its connection, and nobody else does.

use std::time::Duration;

use crate::link::tests::stage::{
    ANY_PORT, Node, RawCaller, Seen, caller, introduce, key, pair, until, within,
};
use crate::link::{Lane, LinkFault, LinkLimits};

struct Stage {
    node: Node,
    good: Node,
    bad: RawCaller,
}

/// A node with a good peer that is connected and a bad one that has shaken hands.
async fn stage() -> Stage {
    let (mut node, good) = pair();
    good.send(node.id(), Lane::Control, b"before").unwrap();
    assert_eq!(node.next_frame().await.2, "before");
    node.knows(caller(3));
    let bad = RawCaller::call(3, &node, 1).await;
    Stage { node, good, bad }
}

impl Stage {
    /// The bad peer's fault is reported, its connection closed, and the good peer still heard.
    async fn ends_with(mut self, fault: LinkFault) {
        let bad = key(3).node_id();
        assert_eq!(self.node.next().await, Seen::Fault(bad, fault));
        within("the end of the connection", self.bad.connection.closed()).await;
        self.good.send(self.node.id(), Lane::Control, b"after").unwrap();
        assert_eq!(self.node.next_frame().await.2, "after");
        assert_eq!(self.node.links.statistics(bad).unwrap().faults, 1);
        let good = self.good.links.statistics(self.node.id()).unwrap();
        assert_eq!(good.dials, 1, "the good peer's connection was never lost");
    }
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_connection() {
    let stage = stage().await;
    let mut control = stage.bad.open(Lane::Control.tag()).await;
    control.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let allowed = LinkLimits::default().control.frame_bytes_max;
    let fault = LinkFault::FrameTooLong { lane: Lane::Control, announced: u32::MAX, allowed };
    stage.ends_with(fault).await;
}

#[tokio::test]
async fn a_truncated_frame_is_not_delivered() {
    let stage = stage().await;
    let mut bulk = stage.bad.open(Lane::Bulk.tag()).await;
    bulk.write_all(&10u32.to_le_bytes()).await.unwrap();
    bulk.write_all(b"too few").await.unwrap();
    bulk.finish().unwrap();
    stage.ends_with(LinkFault::FrameTruncated { lane: Lane::Bulk }).await;
}

#[tokio::test]
async fn a_truncated_length_is_a_truncated_frame() {
    let stage = stage().await;
    let mut events = stage.bad.open(Lane::Events.tag()).await;
    events.write_all(&[0, 0]).await.unwrap();
    events.finish().unwrap();
    stage.ends_with(LinkFault::FrameTruncated { lane: Lane::Events }).await;
}

#[tokio::test]
async fn a_frame_that_trickles_in_without_end_is_cut_off_and_a_slow_one_is_not() {
    let limits =
        LinkLimits { frame_time_max: Duration::from_millis(1_500), ..LinkLimits::default() };
    let mut node = Node::with(1, ANY_PORT, limits, None);
    node.knows(caller(3));
    let bad = RawCaller::call(3, &node, 1).await;
    let mut events = bad.open(Lane::Events.tag()).await;
    // Frames one after the other take longer together than one of them may.
    for _ in 0..8 {
        events.write_all(&[2, 0, 0, 0]).await.unwrap();
        // bounded wait: by itself; the time has to pass for there to be anything to see.
        tokio::time::sleep(Duration::from_millis(250)).await;
        events.write_all(&[7, 7]).await.unwrap();
    }
    for _ in 0..8 {
        assert_eq!(node.next_frame().await.2[..], [7, 7]);
    }
    events.write_all(&1_000_u32.to_le_bytes()).await.unwrap();
    let trickling = async {
        while events.write_all(&[1]).await.is_ok() {
            // bounded wait: by `within`; the node ends it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the end of the trickle", trickling).await;
    let slow = Seen::Fault(key(3).node_id(), LinkFault::FrameTooSlow { lane: Lane::Events });
    node.sees(slow).await;
}

#[tokio::test]
async fn a_lane_that_does_not_exist_ends_the_connection() {
    let stage = stage().await;
    let _nothing = stage.bad.open(77).await;
    stage.ends_with(LinkFault::NotALane).await;
}

#[tokio::test]
async fn a_connection_has_no_room_for_a_second_stream() {
    let mut stage = stage().await;
    let mut events = stage.bad.open(Lane::Events.tag()).await;
    events.write_all(&[1, 0, 0, 0, 77]).await.unwrap();
    assert_eq!(stage.node.next_frame().await.2[..], [77]);
    let second = tokio::time::timeout(Duration::from_millis(100), stage.bad.connection.open_uni());
    assert!(second.await.is_err());
    let both_ways =
        tokio::time::timeout(Duration::from_millis(100), stage.bad.connection.open_bi());
    assert!(both_ways.await.is_err());
}

#[tokio::test]
async fn a_caller_that_stops_half_way_is_given_up() {
    let limits =
        LinkLimits { handshake_time_max: Duration::from_millis(100), ..LinkLimits::default() };
    let node = Node::with(1, ANY_PORT, limits, None);
    node.knows(caller(3));
    let call = RawCaller::call(3, &node, 1).await;
    let _unnamed = call.connection.open_uni().await.unwrap();
    within("the end of the connection", call.connection.closed()).await;
    assert_eq!(node.links.handshakes().failed, 1);
}

#[tokio::test]
async fn callers_beyond_the_bound_are_turned_away_until_there_is_room() {
    let limits = LinkLimits {
        handshakes_max: 2,
        handshake_time_max: Duration::from_secs(2),
        ..LinkLimits::default()
    };
    let mut node = Node::with(1, ANY_PORT, limits, None);
    let good = Node::new(2);
    introduce(&node, 1, &good, 2);
    node.knows(caller(3));
    let slow = [RawCaller::call(3, &node, 1).await, RawCaller::call(3, &node, 1).await];
    good.send(node.id(), Lane::Control, b"patience").unwrap();
    until("somebody to be turned away", || node.links.handshakes().turned_away >= 1).await;
    drop(slow);
    assert_eq!(node.next_frame().await.2, "patience");
}
