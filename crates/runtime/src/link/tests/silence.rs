//! A peer that falls silent is given up, and found again when it speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::link::tests::stage::{ANY_PORT, Node, Seen, caller, member, until};
use crate::link::{Lane, LinkLimits};

/// Stands between one caller and one listener, and can be cut.
struct Wire {
    address: SocketAddr,
    cut: watch::Sender<bool>,
}

impl Wire {
    async fn to(listener: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind(ANY_PORT).await.unwrap());
        let far = Arc::new(UdpSocket::bind(ANY_PORT).await.unwrap());
        let address = near.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let (callers, caller) = watch::channel(None);
        let (near_in, far_out, forward_cut) = (near.clone(), far.clone(), is_cut.clone());
        tokio::spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok((length, from)) = near_in.recv_from(&mut datagram).await {
                callers.send_replace(Some(from));
                let whole = !*forward_cut.borrow();
                if whole {
                    let _ = far_out.send_to(&datagram[..length], listener).await;
                }
            }
        });
        tokio::spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok(length) = far.recv(&mut datagram).await {
                let caller = *caller.borrow();
                let whole = !*is_cut.borrow();
                if let Some(caller) = caller.filter(|_| whole) {
                    let _ = near.send_to(&datagram[..length], caller).await;
                }
            }
        });
        Self { address, cut }
    }
}

#[tokio::test]
async fn a_silent_peer_is_given_up_and_found_again_once_the_wire_is_whole() {
    let limits = LinkLimits {
        keep_alive_interval: Duration::from_millis(50),
        idle_time_max: Duration::from_millis(500),
        handshake_time_max: Duration::from_millis(500),
        ..LinkLimits::default()
    };
    let mut node = Node::with(1, ANY_PORT, limits.clone(), None);
    let mut peer = Node::with(2, ANY_PORT, limits, None);
    let wire = Wire::to(peer.links.local_address()).await;
    node.knows(member(2, wire.address));
    peer.knows(caller(1));
    node.send(peer.id(), Lane::Control, b"first").unwrap();
    assert_eq!(peer.next_frame().await.2, "first");
    wire.cut.send_replace(true);
    node.sees(Seen::Down(peer.id())).await;
    node.send(peer.id(), Lane::Control, b"second").unwrap();
    until("a failed dial", || {
        node.links.statistics(peer.id()).is_some_and(|link| link.dials_failed > 0)
    })
    .await;
    assert!(!node.links.statistics(peer.id()).unwrap().connected[0]);
    wire.cut.send_replace(false);
    assert_eq!(peer.next_frame().await.2, "second");
    node.sees(Seen::Up(peer.id())).await;
}

#[tokio::test]
async fn a_quiet_link_stays_up_by_its_signs_of_life() {
    let limits = LinkLimits {
        keep_alive_interval: Duration::from_millis(20),
        idle_time_max: Duration::from_millis(400),
        ..LinkLimits::default()
    };
    let node = Node::with(1, ANY_PORT, limits.clone(), None);
    let mut peer = Node::with(2, ANY_PORT, limits, None);
    node.knows(member(2, peer.links.local_address()));
    peer.knows(caller(1));
    node.send(peer.id(), Lane::Control, b"first").unwrap();
    peer.next_frame().await;
    // bounded wait: by itself; the time has to pass for there to be anything to see.
    tokio::time::sleep(Duration::from_millis(900)).await;
    node.send(peer.id(), Lane::Control, b"second").unwrap();
    peer.next_frame().await;
    assert_eq!(node.links.statistics(peer.id()).unwrap().dials, 1);
}
