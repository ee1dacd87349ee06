//! Turns [`LinkLimits`] into the settings of QUIC.
//!
//! A connection carries one lane, so the window of the lane is that of the connection.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};

use crate::link::error::LinkError;
use crate::link::limits::LinkLimits;
use crate::link::tls::ResetSecrets;

/// Beyond the lane's own window: the tag that opens it.
const WINDOW_SLACK_BYTES: u32 = 1024;

/// Datagrams that wait, each way. Beyond it the oldest are dropped.
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// The round trip assumed until it is measured: a call that nobody hears is repeated after three of them.
/// Less than the standard's 333 ms, so that a peer which is just starting is reached soon.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(50);

pub(super) fn server(limits: &LinkLimits, tls: QuicServerConfig) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport(limits)));
    // A node that has moved to another address is dialled there; nothing is gained by following it.
    config.migration(false);
    config.max_incoming(limits.handshakes_max);
    config
}

pub(super) fn endpoint(
    limits: &LinkLimits,
    secrets: &ResetSecrets,
) -> Result<EndpointConfig, LinkError> {
    let mut config = EndpointConfig::new(Arc::clone(&secrets.key));
    let connection_ids = secrets.connection_ids;
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_ids)));
    config
        .max_udp_payload_size(limits.datagram_bytes_max)
        .map_err(|_| LinkError::Limits("datagram size"))?;
    Ok(config)
}

pub(super) fn socket(limits: &LinkLimits, address: SocketAddr) -> Result<UdpSocket, LinkError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        // The system grants what it sees fit; a smaller buffer only costs speed.
        let bytes = limits.socket_buffer_bytes as usize;
        let _ = socket.set_recv_buffer_size(bytes);
        let _ = socket.set_send_buffer_size(bytes);
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    open().map_err(LinkError::Socket)
}

/// One stream each way: the lane from the caller, the welcome from whoever is called. Datagrams beside it.
pub(super) fn transport(limits: &LinkLimits) -> TransportConfig {
    let window = limits.stream_window_bytes;
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(limits.datagram_bytes_max);
    let mut config = TransportConfig::default();
    config
        .initial_rtt(INITIAL_ROUND_TRIP)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window.saturating_add(WINDOW_SLACK_BYTES)))
        .send_window(u64::from(limits.unacknowledged_bytes_max))
        .keep_alive_interval(Some(limits.keep_alive_interval))
        .max_idle_timeout(limits.idle_time_max.try_into().ok())
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        .allow_spin(false);
    config
}
