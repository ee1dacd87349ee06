//! What is sent arrives.

use crate::link::tests::stage::{Node, Seen, introduce, pair};
use crate::link::{Lane, LinkLimits};

#[tokio::test]
async fn frames_arrive_in_order_on_each_lane() {
    const COUNT: u32 = 1_000;
    let (sender, mut receiver) = pair();
    for number in 0..COUNT {
        for lane in Lane::ALL {
            let mut frame = number.to_le_bytes().to_vec();
            frame.resize(4 + (number as usize * 37) % 7_000, lane.index() as u8);
            sender.send(receiver.id(), lane, &frame).unwrap();
        }
    }
    let mut next = [0; 3];
    while next != [COUNT; 3] {
        let (from, lane, frame) = receiver.next_frame().await;
        let expected = &mut next[lane.index()];
        assert_eq!(from, sender.id());
        assert_eq!(frame[..4], expected.to_le_bytes());
        assert_eq!(frame.len(), 4 + (*expected as usize * 37) % 7_000);
        assert!(frame[4..].iter().all(|&byte| byte == lane.index() as u8));
        *expected += 1;
    }
    let statistics = sender.links.statistics(receiver.id()).unwrap();
    assert_eq!(statistics.connected, [true; 3]);
    assert_eq!(receiver.links.statistics(sender.id()).unwrap().accepted, 3);
    assert!(statistics.round_trip.is_some());
    for lane in Lane::ALL {
        assert_eq!(statistics.lane(lane).frames_sent, u64::from(COUNT));
        assert_eq!(statistics.lane(lane).frames_queued, 0);
    }
}

#[tokio::test]
async fn known_sender_is_who_holds_the_key_and_not_who_a_message_names() {
    let (mut node, first) = pair();
    let second = Node::new(3);
    introduce(&node, 1, &second, 3);
    for sender in [&first, &second] {
        sender.send(node.id(), Lane::Events, b"I am the first").unwrap();
        assert_eq!(node.next_frame().await.0, sender.id());
    }
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_both_get_through() {
    let (mut first, mut second) = pair();
    first.send(second.id(), Lane::Control, b"from the first").unwrap();
    second.send(first.id(), Lane::Control, b"from the second").unwrap();
    assert_eq!(second.next_frame().await.2, "from the first");
    assert_eq!(first.next_frame().await.2, "from the second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_through_to_everybody_on_every_lane() {
    const NODES: u8 = 6;
    const FRAMES: u8 = 20;
    let mut nodes: Vec<Node> = (1..=NODES).map(Node::new).collect();
    for (first, seed) in nodes.iter().zip(1..) {
        for (second, second_seed) in nodes.iter().zip(1..).skip(usize::from(seed)) {
            introduce(first, seed, second, second_seed);
        }
    }
    let ids: Vec<_> = nodes.iter().map(Node::id).collect();
    for node in &nodes {
        for &to in ids.iter().filter(|&&to| to != node.id()) {
            for number in 0..FRAMES {
                for lane in Lane::ALL {
                    node.send(to, lane, &[number]).unwrap();
                }
            }
        }
    }
    for node in &mut nodes {
        let mut next = std::collections::BTreeMap::new();
        for _ in 0..usize::from(NODES - 1) * Lane::ALL.len() * usize::from(FRAMES) {
            let (from, lane, frame) = node.next_frame().await;
            let expected = next.entry((from, lane)).or_insert(0);
            assert_eq!(frame[..], [*expected]);
            *expected += 1;
        }
        assert_eq!(next.len(), usize::from(NODES - 1) * Lane::ALL.len());
    }
}

#[tokio::test]
async fn empty_and_longest_frames_arrive() {
    let (sender, mut receiver) = pair();
    let longest = LinkLimits::default().bulk.frame_bytes_max as usize;
    sender.send(receiver.id(), Lane::Bulk, &[]).unwrap();
    sender.send(receiver.id(), Lane::Bulk, &vec![9; longest]).unwrap();
    assert_eq!(receiver.next_frame().await.2.len(), 0);
    assert_eq!(receiver.next_frame().await.2.len(), longest);
}

#[tokio::test]
async fn a_link_is_reported_up_before_frames_go_out_and_down_when_closed() {
    let (mut sender, mut receiver) = pair();
    sender.send(receiver.id(), Lane::Control, b"frame").unwrap();
    receiver.next_frame().await;
    assert_eq!(sender.next().await, Seen::Up(receiver.id()));
    receiver.links.close().await;
    assert_eq!(sender.next().await, Seen::Down(receiver.id()));
}

#[tokio::test]
async fn links_close_when_the_last_clone_is_gone() {
    let (mut sender, mut receiver) = pair();
    sender.send(receiver.id(), Lane::Control, b"frame").unwrap();
    receiver.next_frame().await;
    let receiver_id = receiver.id();
    drop(receiver);
    sender.sees(Seen::Down(receiver_id)).await;
}
