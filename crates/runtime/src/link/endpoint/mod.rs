//! The socket of a node, the peers behind it, and the connections to and from them.

mod accept;
mod close;
mod dial;
mod guest;
mod links;
mod peer;
mod settings;
mod statistics;

pub use guest::CallError;
pub(crate) use guest::call_host;
pub use links::Links;
pub use peer::Datagram;
pub use statistics::{HandshakeStatistics, LaneStatistics, LinkStatistics};
