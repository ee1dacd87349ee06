//! What the tests are played with: nodes that write down what they see, a raw caller that breaks
//! rules, and ways to wait.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, SendStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use whimbrel_wire::{NodeId, NodeKey};

use crate::link::tls::{Credentials, SERVER_NAME};
use crate::link::{Inbound, Lane, LinkFault, LinkLimits, Links, Member, Members, Pause, SendError};

/// Far more than anything here takes; reached only when a test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited too long for {what}")
    };
    value
}

/// Looks again and again until `condition` holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            // bounded wait: by `within`.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Frame(NodeId, Lane, Bytes),
    Up(NodeId),
    Down(NodeId),
    Fault(NodeId, LinkFault),
}

/// Writes down what comes in. A closed gate holds up the reader of its lane.
pub(super) struct Witness {
    seen: UnboundedSender<Seen>,
    gated: Option<Lane>,
    gate_open: watch::Receiver<bool>,
}

impl Inbound for Witness {
    fn frame(&self, from: NodeId, lane: Lane, frame: Bytes) -> Option<Pause> {
        let _ = self.seen.send(Seen::Frame(from, lane, frame));
        let mut gate = self.gate_open.clone();
        (self.gated == Some(lane)).then(|| {
            Box::pin(async move {
                let _ = gate.wait_for(|open| *open).await;
            }) as Pause
        })
    }

    fn link_up(&self, peer: NodeId) {
        let _ = self.seen.send(Seen::Up(peer));
    }

    fn link_down(&self, peer: NodeId) {
        let _ = self.seen.send(Seen::Down(peer));
    }

    fn link_fault(&self, peer: NodeId, fault: LinkFault) {
        let _ = self.seen.send(Seen::Fault(peer, fault));
    }
}

pub(super) fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

pub(super) fn member(seed: u8, address: SocketAddr) -> Member {
    Member { key: key(seed).public(), addresses: vec![address] }
}

/// One with a key that may call but has no address to be called at.
pub(super) fn caller(seed: u8) -> Member {
    Member { key: key(seed).public(), addresses: vec![] }
}

pub(super) struct Node {
    pub(super) links: Links,
    pub(super) members: Members,
    pub(super) seen: UnboundedReceiver<Seen>,
    pub(super) gate: watch::Sender<bool>,
}

impl Node {
    pub(super) fn new(seed: u8) -> Self {
        Self::with(seed, ANY_PORT, LinkLimits::default(), None)
    }

    pub(super) fn with(
        seed: u8,
        address: SocketAddr,
        limits: LinkLimits,
        gated: Option<Lane>,
    ) -> Self {
        let members = Members::default();
        let (sender, seen) = mpsc::unbounded_channel();
        let (gate, gate_open) = watch::channel(false);
        let witness = Arc::new(Witness { seen: sender, gated, gate_open });
        let links = Links::bind(&key(seed), address, members.clone(), limits, witness).unwrap();
        Self { links, members, seen, gate }
    }

    pub(super) fn id(&self) -> NodeId {
        self.links.node_id()
    }

    pub(super) fn knows(&self, member: Member) {
        self.members.insert(member);
    }

    pub(super) fn send(&self, to: NodeId, lane: Lane, frame: &[u8]) -> Result<(), SendError> {
        self.links.send(to, lane, Bytes::copy_from_slice(frame))
    }

    pub(super) async fn next(&mut self) -> Seen {
        within("something to happen", self.seen.recv()).await.unwrap()
    }

    pub(super) async fn next_frame(&mut self) -> (NodeId, Lane, Bytes) {
        loop {
            if let Seen::Frame(from, lane, frame) = self.next().await {
                return (from, lane, frame);
            }
        }
    }

    pub(super) async fn sees(&mut self, expected: Seen) {
        while self.next().await != expected {}
    }

    pub(super) fn saw_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

/// Two nodes that know each other.
pub(super) fn pair() -> (Node, Node) {
    let (first, second) = (Node::new(1), Node::new(2));
    introduce(&first, 1, &second, 2);
    (first, second)
}

pub(super) fn introduce(first: &Node, first_seed: u8, second: &Node, second_seed: u8) {
    first.knows(member(second_seed, second.links.local_address()));
    second.knows(member(first_seed, first.links.local_address()));
}

/// A caller with the key of a member and without manners.
pub(super) struct RawCaller {
    _endpoint: Endpoint,
    pub(super) connection: Connection,
}

impl RawCaller {
    pub(super) async fn call(seed: u8, node: &Node, node_seed: u8) -> Self {
        let tls = Credentials::new(&key(seed)).call(key(node_seed).public()).unwrap();
        Self::call_with(tls, node).await
    }

    pub(super) async fn call_with(tls: QuicClientConfig, node: &Node) -> Self {
        let endpoint = Endpoint::client(ANY_PORT).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(tls));
        let connecting =
            endpoint.connect_with(config, node.links.local_address(), SERVER_NAME).unwrap();
        let connection = within("the handshake", connecting).await.unwrap();
        Self { _endpoint: endpoint, connection }
    }

    pub(super) async fn open(&self, tag: u8) -> SendStream {
        let mut stream = within("a stream", self.connection.open_uni()).await.unwrap();
        stream.write_all(&[tag]).await.unwrap();
        stream
    }
}
