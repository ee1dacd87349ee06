//! Peers that begin and do not go on: half-open handshakes, members that name no lane, members that announce
//! a frame and keep it to themselves.

use std::net::{Ipv4Addr, SocketAddr};

use quinn::{Connection, Endpoint, SendStream};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use whimbrel_runtime::link::call_without_manners;
use whimbrel_wire::{NodeKey, PublicKey};

/// The bytes that each stalled member announces.
const ANNOUNCED: u32 = 1024 * 1024;

/// What is sent of them.
const SENT: usize = 100;

/// The key of one of them.
pub(crate) fn key(number: u32) -> NodeKey {
    let mut seed = [77; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    NodeKey::from_seed(&seed)
}

/// Members whose connections stand and whose frames do not come.
pub(crate) struct Stalled {
    endpoint: Endpoint,
    pub(crate) held: Vec<(Connection, SendStream)>,
}

impl Stalled {
    pub(crate) fn none() -> std::io::Result<Self> {
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { endpoint, held: Vec::new() })
    }

    /// One more: its lane is named, a frame announced, and a little of it sent. It tries until it is let in.
    pub(crate) async fn add(&mut self, number: u32, node: PublicKey, address: SocketAddr) {
        loop {
            let calling = call_without_manners(&self.endpoint, &key(number), node, address);
            let Ok(calling) = calling else { continue };
            let Ok(connection) = calling.await else { continue };
            let Ok(mut lane) = connection.open_uni().await else { continue };
            let mut bytes = vec![1];
            bytes.extend_from_slice(&ANNOUNCED.to_le_bytes());
            bytes.resize(bytes.len() + SENT, 7);
            let said = lane.write_all(&bytes).await.is_ok();
            // The welcome says that the lane is taken.
            if said && connection.accept_uni().await.is_ok() {
                self.held.push((connection, lane));
                return;
            }
        }
    }

    /// How many of them the node still bears with.
    pub(crate) fn standing(&self) -> usize {
        self.held.iter().filter(|(connection, _)| connection.close_reason().is_none()).count()
    }
}

/// Calls that never hear an answer: each holds a handshake open for as long as the node bears with it, and
/// begins again. They go on until they are dropped.
pub(crate) struct HalfOpen(#[expect(dead_code, reason = "it holds the tasks")] JoinSet<()>);

impl HalfOpen {
    pub(crate) async fn start(
        count: u32,
        node: PublicKey,
        address: SocketAddr,
    ) -> std::io::Result<Self> {
        let deaf = deaf(address).await?;
        let to = deaf.address;
        let mut calls = JoinSet::new();
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        for number in 0..count {
            let endpoint = endpoint.clone();
            calls.spawn(async move {
                let key = key(1_000_000 + number);
                // It ends when the endpoint does.
                while let Ok(calling) = call_without_manners(&endpoint, &key, node, to) {
                    let _ = calling.await;
                }
            });
        }
        calls.spawn(deaf.pass_on());
        Ok(Self(calls))
    }
}

/// Passes datagrams on in one direction.
struct Deaf {
    socket: UdpSocket,
    address: SocketAddr,
    to: SocketAddr,
}

async fn deaf(to: SocketAddr) -> std::io::Result<Deaf> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = socket.local_addr()?;
    Ok(Deaf { socket, address, to })
}

impl Deaf {
    async fn pass_on(self) {
        let mut datagram = vec![0; 65_536];
        while let Ok((length, from)) = self.socket.recv_from(&mut datagram).await {
            if from != self.to {
                let _ = self.socket.send_to(&datagram[..length], self.to).await;
            }
        }
    }
}
