//! Nobody waits for a lane that is not theirs, and no queue grows without bound.

use std::time::Duration;

use whimbrel_wire::NodeId;

use crate::link::tests::stage::{ANY_PORT, Node, Seen, introduce, key, member, within};
use crate::link::{Lane, LinkLimits, SendError};

const CHUNK: usize = 64 * 1024;

/// Sends numbered chunks until the lane takes no more, and says how many it took. The receiver does
/// not read on, so that "no more" is reached and then stays.
async fn fill(sender: &Node, to: NodeId, lane: Lane) -> u32 {
    let mut count = 0u32;
    let mut stuck_since = 0;
    within("the lane to fill", async {
        // Full for so many looks in a row: what QUIC itself holds has filled as well.
        while stuck_since < 100 {
            let mut chunk = count.to_le_bytes().to_vec();
            chunk.resize(CHUNK, 0);
            match sender.send(to, lane, &chunk) {
                Ok(()) => (count, stuck_since) = (count + 1, 0),
                Err(error) => {
                    assert_eq!(error, SendError::Full);
                    stuck_since += 1;
                    // bounded wait: by the hundred looks, and by `within` around them.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    })
    .await;
    count
}

async fn a_stalled_lane_does_not_hold_up_control(stalled: Lane) {
    let sender = Node::new(1);
    let mut receiver = Node::with(2, ANY_PORT, LinkLimits::default(), Some(stalled));
    introduce(&sender, 1, &receiver, 2);
    let count = fill(&sender, receiver.id(), stalled).await;
    assert!(matches!(receiver.next().await, Seen::Frame(_, lane, _) if lane == stalled));
    for number in 0..500u32 {
        sender.send(receiver.id(), Lane::Control, &number.to_le_bytes()).unwrap();
        let (_, lane, frame) = receiver.next_frame().await;
        assert_eq!((lane, &frame[..]), (Lane::Control, &number.to_le_bytes()[..]));
    }
    receiver.gate.send_replace(true);
    for number in 1..count {
        let (_, lane, frame) = receiver.next_frame().await;
        assert_eq!((lane, &frame[..4]), (stalled, &number.to_le_bytes()[..]));
    }
}

#[tokio::test]
async fn a_slow_bulk_reader_does_not_hold_up_control() {
    a_stalled_lane_does_not_hold_up_control(Lane::Bulk).await;
}

#[tokio::test]
async fn a_slow_events_reader_does_not_hold_up_control() {
    a_stalled_lane_does_not_hold_up_control(Lane::Events).await;
}

#[tokio::test]
async fn a_stalled_reader_holds_back_its_sender_to_a_bounded_amount() {
    let limits = LinkLimits::default();
    let sender = Node::new(1);
    let receiver = Node::with(2, ANY_PORT, limits.clone(), Some(Lane::Bulk));
    introduce(&sender, 1, &receiver, 2);
    let taken = fill(&sender, receiver.id(), Lane::Bulk).await as usize * CHUNK;
    let window = limits.stream_window_bytes as usize;
    let on_the_way = limits.unacknowledged_bytes_max as usize + 2 * 256 * 1024;
    assert!(taken <= limits.bulk.queue_bytes_max + window + on_the_way, "{taken} bytes taken");
    assert!(taken >= limits.bulk.queue_bytes_max);
}

#[tokio::test]
async fn a_reader_that_lags_does_not_break_the_connection() {
    // Small frames in small pieces are what the receiver's buffer keeps most of.
    const COUNT: u32 = 100_000;
    let sender = Node::new(1);
    let mut receiver = Node::with(2, ANY_PORT, LinkLimits::default(), Some(Lane::Events));
    introduce(&sender, 1, &receiver, 2);
    let mut sent = 0u32;
    within("all to be taken", async {
        while sent < COUNT {
            let mut frame = sent.to_le_bytes().to_vec();
            frame.resize(100, 1);
            match sender.send(receiver.id(), Lane::Events, &frame) {
                Ok(()) => sent += 1,
                Err(_) => {
                    receiver.gate.send_replace(true);
                    tokio::task::yield_now().await;
                }
            }
        }
    })
    .await;
    receiver.gate.send_replace(true);
    for number in 0..COUNT {
        assert_eq!(receiver.next_frame().await.2[..4], number.to_le_bytes());
    }
    assert_eq!(sender.links.statistics(receiver.id()).unwrap().dials, 1);
}

#[tokio::test]
async fn a_queue_for_an_absent_peer_is_full_at_its_bound() {
    let node = Node::new(1);
    let silent = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    node.knows(member(2, silent.local_addr().unwrap()));
    let peer = key(2).node_id();
    let bound = LinkLimits::default().control.queue_frames_max;
    for _ in 0..bound {
        node.send(peer, Lane::Control, b"frame").unwrap();
    }
    assert_eq!(node.send(peer, Lane::Control, b"frame"), Err(SendError::Full));
    assert_eq!(node.send(peer, Lane::Events, b"another lane"), Ok(()));
    assert_eq!(node.links.statistics(peer).unwrap().control.frames_queued, bound);
}
