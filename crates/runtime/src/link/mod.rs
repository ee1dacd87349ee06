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
//! Strangers get no further than the handshake, but for guests: they mark their call, are let in through a door of
//! their own that [`Inbound`] opens, say one thing, and are told one.
//!
//! Datagrams ([`Links::datagram`]) travel beside the control lane, for what may get lost.
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

pub(crate) use endpoint::call_host;
pub use endpoint::{
    CallError, Datagram, HandshakeStatistics, LaneStatistics, LinkStatistics, Links,
};
pub use error::{LinkError, LinkFault, SendError};
pub use inbound::{Answer, Inbound, Pause};
pub use lane::Lane;
pub use limits::{LaneLimits, LinkLimits};
pub use members::{Member, Members};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_wire::{NodeKey, PublicKey};

/// A call with the handshake of links that follows none of their other rules. For trials of what a node does
/// then; nodes call by [`Links`].
///
/// # Errors
///
/// [`LinkError::Encryption`]; [`LinkError::Limits`] when the address cannot be called.
#[doc(hidden)]
pub fn call_without_manners(
    endpoint: &quinn::Endpoint,
    key: &NodeKey,
    expected: PublicKey,
    address: SocketAddr,
) -> Result<quinn::Connecting, LinkError> {
    let tls = tls::Credentials::new(key).call(expected).map_err(LinkError::Encryption)?;
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(1)));
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    endpoint
        .connect_with(config, address, tls::SERVER_NAME)
        .map_err(|_| LinkError::Limits("an address that cannot be called"))
}

/// The frames that a stream holds when it comes in pieces of so many bytes, and whether it may end there; or
/// the length that was announced and is beyond `bytes_max`. For fuzzers: nodes read streams by [`Links`].
///
/// # Errors
///
/// The announced length.
#[doc(hidden)]
pub fn frames_of(stream: &Bytes, piece: usize, bytes_max: u32) -> Result<(Vec<Bytes>, bool), u32> {
    let mut decoder = lane::Decoder::new(bytes_max);
    let mut frames = Vec::new();
    for from in (0..stream.len()).step_by(piece.max(1)) {
        let mut piece = stream.slice(from..(from + piece.max(1)).min(stream.len()));
        while let Some(frame) = decoder.next(&mut piece).map_err(|long| long.announced)? {
            frames.push(frame);
        }
    }
    Ok((frames, decoder.is_between_frames()))
}
