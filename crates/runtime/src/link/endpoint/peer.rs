//! Holds what this node has with one peer: its queues and its connections each way.
//!
//! # Invariants
//!
//! * P1 (one each way): of each lane at most one connection dialled here and one accepted from the
//!   peer stand; a new one closes the old one.
//! * P2 (ended for good): once ended, a peer has no connection, takes no frame and gets neither again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use tokio::sync::{Notify, watch};
use whimbrel_wire::{NodeId, PublicKey};

use super::close::Close;
use super::statistics::{LaneStatistics, LinkStatistics, PeerCounters};
use crate::link::error::SendError;
use crate::link::lane::{Lane, Queue};
use crate::link::limits::LinkLimits;

/// A member as the links see it, from its first frame or call until it is struck off.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) key: PublicKey,
    pub(super) counters: PeerCounters,
    queues: [Queue; 3],
    heard: [Notify; 3],
    connections: Mutex<Connections>,
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Connections {
    dialled: [Option<Connection>; 3],
    accepted: [Option<Connection>; 3],
    ended: bool,
    /// Of connections that are gone.
    packets_lost: u64,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// It is on its way, and may get lost there.
    Sent,
    /// No control lane to the peer stands.
    Unconnected,
    /// The path does not take datagrams of this length, or none at all.
    TooLong,
}

/// Which side dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Dialled,
    Accepted,
}

/// A connection while it stands. Dropping it strikes the connection off and closes it.
#[derive(Debug)]
#[must_use = "the connection stands as long as this does"]
pub(super) struct Standing {
    peer: Arc<Peer>,
    direction: Direction,
    lane: Lane,
    connection: Connection,
}

impl Peer {
    pub(super) fn new(node: NodeId, key: PublicKey, limits: &LinkLimits) -> Self {
        Self {
            node,
            key,
            counters: PeerCounters::default(),
            queues: Lane::ALL.map(|lane| Queue::new(limits.lane(lane))),
            heard: Default::default(),
            connections: Mutex::default(),
            ended: watch::Sender::new(false),
        }
    }

    pub(super) fn send(&self, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        self.queue(lane).push(frame)
    }

    /// Sends beside the control lane, on the connection that stands.
    pub(super) fn datagram(&self, datagram: Bytes) -> Datagram {
        let standing = self.connections().place(Direction::Dialled, Lane::Control).clone();
        let Some(connection) = standing else { return Datagram::Unconnected };
        match connection.send_datagram(datagram) {
            Ok(()) => {
                self.counters.datagrams_sent.add(1);
                Datagram::Sent
            }
            Err(SendDatagramError::ConnectionLost(_)) => Datagram::Unconnected,
            Err(_) => Datagram::TooLong,
        }
    }

    pub(super) const fn queue(&self, lane: Lane) -> &Queue {
        &self.queues[lane.index()]
    }

    /// Waits until the peer has called here, which means that it can probably be called too.
    pub(super) async fn heard(&self, lane: Lane) {
        self.heard[lane.index()].notified().await;
    }

    /// Waits until the peer is struck off or the links are closed.
    pub(super) async fn ended(&self) {
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Records that a connection stands, and closes the one it replaces. `None` when the peer has ended.
    pub(super) fn stand(
        self: &Arc<Self>,
        direction: Direction,
        lane: Lane,
        connection: Connection,
    ) -> Option<Standing> {
        let mut connections = self.connections();
        if connections.ended {
            drop(connections);
            Close::NotMember.tell(&connection);
            return None;
        }
        let replaced = connections.place(direction, lane).replace(connection.clone());
        drop(connections);
        if let Some(replaced) = replaced {
            Close::Replaced.tell(&replaced);
        }
        if direction == Direction::Accepted {
            for notify in &self.heard {
                notify.notify_one();
            }
        }
        Some(Standing { peer: Arc::clone(self), direction, lane, connection })
    }

    /// Closes all connections, drops what is queued, and lets nothing begin again.
    pub(super) fn end(&self, why: Close) {
        let mut connections = self.connections();
        connections.ended = true;
        for connection in connections.all() {
            why.tell(connection);
        }
        drop(connections);
        for queue in &self.queues {
            queue.end();
        }
        self.ended.send_replace(true);
    }

    pub(super) fn statistics(&self) -> LinkStatistics {
        let connections = self.connections();
        let packets_lost_now: u64 =
            connections.all().map(|connection| connection.stats().path.lost_packets).sum();
        LinkStatistics {
            connected: Lane::ALL.map(|lane| connections.dialled[lane.index()].is_some()),
            accepted: connections.accepted.iter().flatten().count(),
            round_trip: connections.all().next().map(Connection::rtt),
            packets_lost: connections.packets_lost + packets_lost_now,
            dials: self.counters.dials.value(),
            dials_failed: self.counters.dials_failed.value(),
            faults: self.counters.faults.value(),
            datagrams_sent: self.counters.datagrams_sent.value(),
            datagrams_received: self.counters.datagrams_received.value(),
            control: self.lane_statistics(Lane::Control),
            events: self.lane_statistics(Lane::Events),
            bulk: self.lane_statistics(Lane::Bulk),
        }
    }

    fn lane_statistics(&self, lane: Lane) -> LaneStatistics {
        let counters = &self.counters.lanes[lane.index()];
        let (frames_queued, bytes_queued) = self.queue(lane).length();
        LaneStatistics {
            frames_sent: counters.frames_sent.value(),
            bytes_sent: counters.bytes_sent.value(),
            frames_received: counters.frames_received.value(),
            bytes_received: counters.bytes_received.value(),
            frames_queued,
            bytes_queued,
        }
    }

    /// Nothing panics while it holds the lock, and what it guards is whole between any two statements.
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    const fn place(&mut self, direction: Direction, lane: Lane) -> &mut Option<Connection> {
        match direction {
            Direction::Dialled => &mut self.dialled[lane.index()],
            Direction::Accepted => &mut self.accepted[lane.index()],
        }
    }

    fn all(&self) -> impl Iterator<Item = &Connection> {
        self.dialled.iter().chain(&self.accepted).flatten()
    }
}

impl Standing {
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        Close::LaneEnded.tell(&self.connection);
        let mut connections = self.peer.connections();
        connections.packets_lost += self.connection.stats().path.lost_packets;
        let place = connections.place(self.direction, self.lane);
        // It may have been replaced in the meantime.
        if place.as_ref().is_some_and(|held| held.stable_id() == self.connection.stable_id()) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_wire::NodeKey;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_has_ended_has_ended_for_good() {
        let key = NodeKey::from_seed(&[1; 32]).public();
        let peer = Peer::new(key.node_id(), key, &LinkLimits::default());
        peer.send(Lane::Control, Bytes::from_static(b"before")).unwrap();
        peer.queue(Lane::Control).filled().await;
        peer.end(Close::NotMember);
        peer.ended().await;
        assert_eq!(peer.statistics().control.frames_queued, 0);
        for lane in Lane::ALL {
            let after = peer.send(lane, Bytes::from_static(b"after"));
            assert_eq!(after, Err(SendError::UnknownPeer));
        }
    }
}
