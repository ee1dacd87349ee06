//! What links hand to whoever runs them.
//!
//! # Invariants
//!
//! * I1 (known sender): the `from` of a frame is the node whose key the connection was authenticated
//!   with, a member when it was accepted; who is struck off is cut off. It never comes out of a message.
//! * I2 (in order): frames of one peer, lane and connection are handed on in order, each once.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use whimbrel_wire::{NodeId, PublicKey};

use crate::link::error::LinkFault;
use crate::link::lane::Lane;

/// Something a lane's reader waits for before it reads on. It is dropped half-way when the connection ends.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a guest is told.
pub type Answer = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// Takes what comes in over links. Called from the tasks that read: it must not block a thread.
pub trait Inbound: Send + Sync + 'static {
    /// A frame has come. The answer `Some(pause)` keeps this lane of this peer from being read until the
    /// pause is over; by and by the sender's queue fills and it is told so. Other lanes and peers go on.
    ///
    /// The frame counts as handed over in either case.
    #[must_use = "a pause that is not awaited slows nobody down"]
    fn frame(&self, from: NodeId, lane: Lane, frame: Bytes) -> Option<Pause>;

    /// A datagram has come, beside the lanes: whole, perhaps twice, perhaps late, and others were lost.
    fn datagram(&self, _from: NodeId, _datagram: Bytes) {}

    /// Whether strangers may ask to be let in.
    fn is_open_to_guests(&self) -> bool {
        false
    }

    /// A stranger that has proved to have this key asks to be let in. The answer; none to say nothing.
    fn guest(&self, _from: SocketAddr, _key: PublicKey, _request: Bytes) -> Answer {
        Box::pin(std::future::ready(None))
    }

    /// This node's control lane to `peer` stands, the peer has accepted it, and what is queued goes out
    /// on it. What was sent on an earlier connection may be lost: send it again.
    fn link_up(&self, peer: NodeId);

    /// That connection is gone. Follows each `link_up` once.
    fn link_down(&self, peer: NodeId);

    /// Somebody called and was not let in: no member, another protocol, too slow, or without a lane. `why` is
    /// for people. Strangers choose from where they call.
    fn stranger(&self, _from: SocketAddr, _why: &str) {}

    /// An authenticated peer broke the rules of the link and its connection was closed.
    fn link_fault(&self, peer: NodeId, fault: LinkFault);
}
