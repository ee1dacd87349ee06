//! The socket of a node, the peers behind it, and the connections to and from them.

mod accept;
mod close;
mod dial;
mod links;
mod peer;
mod settings;
mod statistics;

pub use links::Links;
pub use peer::Datagram;
pub use statistics::{HandshakeStatistics, LaneStatistics, LinkStatistics};
