//! Links between nodes: authenticated, ordered lanes for frames over QUIC.
//!
//! Bytes in, bytes out: what a frame means is for others. [`Links`] dials a peer when there is
//! something to send to it and dials again when the connection is lost; [`Inbound`] takes what peers
//! send. A frame is sent at most once: what was under way when a connection broke is lost, and
//! whoever needs it sends it again when [`Inbound::link_up`] or its own patience says so.
//!
//! ```text
//!   this node                         peer
//!   dials   ─── control ────────▶   accepts      each a connection with one stream
//!   dials   ─── events ─────────▶   accepts
//!   dials   ─── bulk ───────────▶   accepts
//!   accepts ◀── the other way ───   dials
//! ```
//!
//! Each side sends on the connections it dialled and reads the ones it accepted, so two nodes that
//! dial each other at the same moment need not agree on anything.

mod endpoint;
mod error;
mod inbound;
mod lane;
mod limits;
mod members;
#[cfg(test)]
mod tests;
mod tls;

pub use endpoint::{HandshakeStatistics, LaneStatistics, LinkStatistics, Links};
pub use error::{LinkError, LinkFault, SendError};
pub use inbound::{Inbound, Pause};
pub use lane::Lane;
pub use limits::{LaneLimits, LinkLimits};
pub use members::{Member, Members};
