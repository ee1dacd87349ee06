//! The links of one node: its socket and its peers.
//!
//! # Invariants
//!
//! * L1 (members only): a peer is in the table only while it is a member. Striking off and looking up
//!   happen under the table's lock, so that a peer looked up just before is struck off just after.
//!
//! # Limits
//!
//! See [`LinkLimits`]. Memory for one peer is bounded by its queues, `unacknowledged_bytes_max` for
//! each connection out, `stream_window_bytes` and one frame for each lane in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use quinn::{Endpoint, ServerConfig, TransportConfig};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use whimbrel_wire::{NodeId, NodeKey};

use super::accept::accept;
use super::close::Close;
use super::dial::keep_dialled;
use super::peer::{Datagram, Peer};
use super::settings;
use super::statistics::{HandshakeCounters, HandshakeStatistics, LinkStatistics};
use crate::link::error::{LinkError, SendError};
use crate::link::inbound::Inbound;
use crate::link::lane::Lane;
use crate::link::limits::LinkLimits;
use crate::link::members::{Member, Members};
use crate::link::tls::{Credentials, ResetSecrets};

/// The links of one node to all others. Cheap to clone; when the last clone is gone they close.
#[derive(Clone)]
pub struct Links {
    open: Arc<Open>,
}

/// What the tasks of the links share.
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) members: Members,
    pub(super) limits: LinkLimits,
    pub(super) inbound: Arc<dyn Inbound>,
    pub(super) credentials: Credentials,
    pub(super) transport: Arc<TransportConfig>,
    /// How guests are answered.
    pub(super) door: Arc<ServerConfig>,
    pub(super) endpoint: Endpoint,
    pub(super) runtime: Handle,
    pub(super) handshakes: HandshakeCounters,
    peers: RwLock<Peers>,
}

#[derive(Default)]
struct Peers {
    by_node: BTreeMap<NodeId, Arc<Peer>>,
    closed: bool,
}

/// Closes the links when no clone of [`Links`] is left. The tasks hold only what is in it.
struct Open {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Links {
    /// Opens the node's socket and begins to accept members. Port 0 lets the system choose one. Must be
    /// called inside a tokio runtime, on which everything then runs.
    ///
    /// # Errors
    ///
    /// [`LinkError`] says what could not be set up; nothing is left behind.
    pub fn bind(
        key: &NodeKey,
        address: SocketAddr,
        members: Members,
        limits: LinkLimits,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Self, LinkError> {
        limits.check()?;
        let runtime = Handle::try_current().map_err(|_| LinkError::NoRuntime)?;
        let credentials = Credentials::new(key);
        let tls = credentials.answer(&members).map_err(LinkError::Encryption)?;
        let door = credentials.answer_guests().map_err(LinkError::Encryption)?;
        let door = Arc::new(settings::server(&limits, door));
        let endpoint = Endpoint::new(
            settings::endpoint(&limits, &ResetSecrets::new(key))?,
            Some(settings::server(&limits, tls)),
            settings::socket(&limits, address)?,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(LinkError::Socket)?;
        let address = endpoint.local_addr().map_err(LinkError::Socket)?;
        let changes = members.changes();
        let shared = Arc::new(Shared {
            node: key.node_id(),
            transport: Arc::new(settings::transport(&limits)),
            door,
            members,
            limits,
            inbound,
            credentials,
            endpoint,
            runtime,
            handshakes: HandshakeCounters::default(),
            peers: RwLock::default(),
        });
        shared.runtime.spawn(accept(Arc::clone(&shared)));
        shared.runtime.spawn(follow_members(Arc::downgrade(&shared), changes));
        Ok(Self { open: Arc::new(Open { shared, address }) })
    }

    /// Where the node listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.open.address
    }

    /// Whose links these are.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared().node
    }

    /// Queues `frame` for `to`, which is dialled if need be. Never waits.
    ///
    /// Frames of one lane are sent in order. A frame is lost if the connection breaks while it is under
    /// way; one that is still queued then is sent on the next connection.
    ///
    /// # Errors
    ///
    /// [`SendError`] says why the frame was not queued.
    pub fn send(&self, to: NodeId, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        self.shared().peer(to)?.send(lane, frame)
    }

    /// Sends a datagram to `to` if the control lane to it stands. Nobody is dialled for it, and it may get lost.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`], [`SendError::Closed`].
    pub fn datagram(&self, to: NodeId, datagram: Bytes) -> Result<Datagram, SendError> {
        Ok(self.shared().peer(to)?.datagram(datagram))
    }

    /// How many frames wait to be sent to `to` on `lane`.
    #[must_use]
    pub fn waiting(&self, to: NodeId, lane: Lane) -> usize {
        self.shared().peer(to).map_or(0, |peer| peer.queue(lane).length().0)
    }

    /// Waits until at least half of what may wait for `to` on `lane` is free: for whoever was told
    /// [`SendError::Full`] and has much to send. Room is not kept for the one who waited.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] or [`SendError::Closed`], also when that comes about while waiting.
    pub async fn room(&self, to: NodeId, lane: Lane) -> Result<(), SendError> {
        let peer = self.shared().peer(to)?;
        tokio::select! {
            () = peer.queue(lane).room() => {}
            () = peer.ended() => {}
        }
        self.shared().peer(to).map(drop)
    }

    /// What is known of the link to `peer`. `None` if nothing was ever sent to it or came from it.
    #[must_use]
    pub fn statistics(&self, peer: NodeId) -> Option<LinkStatistics> {
        let peers = self.shared().peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.by_node.get(&peer).map(|peer| peer.statistics())
    }

    /// What became of incoming connections.
    #[must_use]
    pub fn handshakes(&self) -> HandshakeStatistics {
        self.shared().handshakes.values()
    }

    /// Closes every connection, drops what is queued, and waits a bounded time for peers to hear of it.
    pub async fn close(&self) {
        self.shared().close();
        // What has not been heard by then is noticed by the peer's own patience.
        let _ =
            timeout(self.shared().limits.close_time_max, self.shared().endpoint.wait_idle()).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.open.shared
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    /// The peer with this id: a member, and not this node.
    pub(super) fn peer(self: &Arc<Self>, node: NodeId) -> Result<Arc<Peer>, SendError> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        if peers.closed {
            return Err(SendError::Closed);
        }
        if let Some(peer) = peers.by_node.get(&node) {
            return Ok(Arc::clone(peer));
        }
        drop(peers);
        self.new_peer(node)
    }

    fn new_peer(self: &Arc<Self>, node: NodeId) -> Result<Arc<Peer>, SendError> {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.closed {
            return Err(SendError::Closed);
        }
        if let Some(peer) = peers.by_node.get(&node) {
            return Ok(Arc::clone(peer));
        }
        let member = self.members.member(node).filter(|_| node != self.node);
        let member = member.ok_or(SendError::UnknownPeer)?;
        let peer = Arc::new(Peer::new(node, member.key, &self.limits));
        peers.by_node.insert(node, Arc::clone(&peer));
        drop(peers);
        for lane in Lane::ALL {
            self.runtime.spawn(keep_dialled(Arc::clone(self), Arc::clone(&peer), lane));
        }
        Ok(peer)
    }

    fn strike_off_strangers(&self) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.by_node.retain(|node, peer| {
            let stays = self.members.holds(*node, &peer.key);
            if !stays {
                peer.end(Close::NotMember);
            }
            stays
        });
    }

    fn close(&self) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.closed = true;
        for peer in std::mem::take(&mut peers.by_node).into_values() {
            peer.end(Close::Stopping);
        }
        drop(peers);
        self.endpoint.close(Close::Stopping.code(), Close::Stopping.reason());
    }
}

/// Cuts off who is struck off the list.
async fn follow_members(
    shared: std::sync::Weak<Shared>,
    mut changes: watch::Receiver<BTreeMap<NodeId, Member>>,
) {
    while changes.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        shared.strike_off_strangers();
    }
}
