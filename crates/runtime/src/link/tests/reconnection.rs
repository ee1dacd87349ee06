//! A link comes back by itself when there is something to send.

use std::net::SocketAddr;
use std::time::Duration;

use crate::link::tests::stage::{
    ANY_PORT, Node, PATIENCE, RawCaller, Seen, caller, introduce, key, member, until, within,
};
use crate::link::{Lane, LinkLimits, Member};

/// Signs of life come often and patience is long, so that only being told that the connection is gone
/// makes a node dial again in time.
fn patient() -> LinkLimits {
    LinkLimits {
        keep_alive_interval: Duration::from_millis(50),
        idle_time_max: Duration::from_secs(600),
        ..LinkLimits::default()
    }
}

/// Another node with the same key on the same address, as soon as the system has freed it.
async fn restarted(seed: u8, address: SocketAddr, peer: Member) -> Node {
    until("the address to be free", || std::net::UdpSocket::bind(address).is_ok()).await;
    let node = Node::with(seed, address, patient(), None);
    node.knows(peer);
    node
}

#[tokio::test]
async fn what_is_sent_before_the_peer_listens_arrives_once_it_does() {
    let reserved = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let address = reserved.local_addr().unwrap();
    let node = Node::new(1);
    node.knows(member(2, address));
    node.send(key(2).node_id(), Lane::Events, b"early").unwrap();
    drop(reserved);
    let mut peer = restarted(2, address, member(1, node.links.local_address())).await;
    assert_eq!(peer.next_frame().await.2, "early");
}

#[tokio::test]
async fn a_peer_that_stopped_and_started_again_is_dialled_again() {
    let mut node = Node::with(1, ANY_PORT, patient(), None);
    let own = member(1, node.links.local_address());
    let mut peer = Node::with(2, ANY_PORT, patient(), None);
    let (peer_id, address) = (peer.id(), peer.links.local_address());
    introduce(&node, 1, &peer, 2);
    node.send(peer_id, Lane::Control, b"first").unwrap();
    assert_eq!(peer.next_frame().await.2, "first");
    peer.links.close().await;
    drop(peer);
    node.sees(Seen::Down(peer_id)).await;
    node.send(peer_id, Lane::Control, b"second").unwrap();
    let mut peer = restarted(2, address, own).await;
    assert_eq!(peer.next_frame().await.2, "second");
    node.sees(Seen::Up(peer_id)).await;
}

#[test]
fn a_peer_that_crashed_and_came_back_is_noticed_without_waiting_for_silence() {
    let own_runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (here, there) = (own_runtime(), own_runtime());
    let mut node = here.block_on(async { Node::with(1, ANY_PORT, patient(), None) });
    let own = member(1, node.links.local_address());
    let mut peer = there.block_on(async { Node::with(2, ANY_PORT, patient(), None) });
    let (peer_id, address) = (peer.id(), peer.links.local_address());
    introduce(&node, 1, &peer, 2);
    node.send(peer_id, Lane::Control, b"first").unwrap();
    assert_eq!(there.block_on(peer.next_frame()).2, "first");
    // Its tasks are dropped where they stand, and without them nobody says good-bye.
    there.shutdown_timeout(PATIENCE);
    drop(peer);
    here.block_on(async {
        node.sees(Seen::Up(peer_id)).await;
        assert!(node.saw_nothing());
        let mut peer = restarted(2, address, own).await;
        node.sees(Seen::Down(peer_id)).await;
        node.send(peer_id, Lane::Control, b"second").unwrap();
        assert_eq!(peer.next_frame().await.2, "second");
        node.sees(Seen::Up(peer_id)).await;
    });
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let silent = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let limits =
        LinkLimits { handshake_time_max: Duration::from_millis(300), ..LinkLimits::default() };
    let node = Node::with(1, ANY_PORT, limits, None);
    let mut peer = Node::new(2);
    peer.knows(caller(1));
    let addresses = vec![silent.local_addr().unwrap(), peer.links.local_address()];
    node.knows(Member { key: key(2).public(), addresses });
    node.send(peer.id(), Lane::Control, b"found").unwrap();
    assert_eq!(peer.next_frame().await.2, "found");
    assert_eq!(node.links.statistics(peer.id()).unwrap().dials_failed, 1);
}

#[tokio::test]
async fn one_each_way_so_a_connection_dialled_anew_replaces_the_old_one() {
    let node = Node::new(1);
    node.knows(caller(3));
    let first = RawCaller::call(3, &node, 1).await;
    let _first_bulk = first.open(Lane::Bulk.tag()).await;
    until("the first connection", || node.links.handshakes().accepted == 1).await;
    let second = RawCaller::call(3, &node, 1).await;
    let _second_bulk = second.open(Lane::Bulk.tag()).await;
    within("the end of the first connection", first.connection.closed()).await;
    assert_eq!(node.links.statistics(key(3).node_id()).unwrap().accepted, 1);
    assert!(second.connection.close_reason().is_none());
}
