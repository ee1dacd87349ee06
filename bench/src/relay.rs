//! Decides which datagrams between two nodes get lost: each with the same chance, from a seed.
//!
//! A relay stands at the address by which one node dials another. What comes to its front goes on
//! from its back, and the other way round; a process cannot tell it from the other node.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Socket, Type};

/// What is asked of the system for each socket, each way.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// How long a thread waits before it looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What became of the datagrams.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Those that the system did not take.
    pub(crate) refused: AtomicU64,
}

/// A relay in front of one node.
pub(crate) struct Relay {
    front: SocketAddr,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay to `to` that loses `loss` of all datagrams.
    pub(crate) fn start(to: SocketAddr, loss: f64, seed: u64, tally: &Arc<Tally>) -> Result<Self> {
        let (front, back) = (socket()?, socket()?);
        back.connect(to)?;
        let address = front.local_addr()?;
        let over = Arc::new(AtomicBool::new(false));
        let caller = Arc::new(Mutex::new(None));
        let lane = |seed| Lane {
            random: StdRng::seed_from_u64(seed),
            loss,
            over: Arc::clone(&over),
            tally: Arc::clone(tally),
            caller: Arc::clone(&caller),
        };
        let (there, here) = (lane(seed), lane(seed ^ 0x5eed));
        let (front_2, back_2) = (front.try_clone()?, back.try_clone()?);
        let threads = vec![
            std::thread::spawn(move || there.carry_there(&front, &back)),
            std::thread::spawn(move || here.carry_back(&back_2, &front_2)),
        ];
        Ok(Self { front: address, over, threads })
    }

    /// Where it is dialled.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.front
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn socket() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

/// One way through a relay.
struct Lane {
    random: StdRng,
    loss: f64,
    over: Arc<AtomicBool>,
    tally: Arc<Tally>,
    /// Who dialled last.
    caller: Arc<Mutex<Option<SocketAddr>>>,
}

impl Lane {
    fn carry_there(mut self, from: &UdpSocket, to: &UdpSocket) {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        let mut last = None;
        while !self.over.load(Ordering::Acquire) {
            let Ok((length, caller)) = from.recv_from(&mut bytes) else { continue };
            if last != Some(caller) {
                last = Some(caller);
                *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = last;
            }
            self.pass(|| to.send(&bytes[..length]));
        }
    }

    fn carry_back(mut self, from: &UdpSocket, to: &UdpSocket) {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        while !self.over.load(Ordering::Acquire) {
            let Ok(length) = from.recv(&mut bytes) else { continue };
            let caller = *self.caller.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(caller) = caller {
                self.pass(|| to.send_to(&bytes[..length], caller));
            }
        }
    }

    fn pass(&mut self, send: impl FnOnce() -> std::io::Result<usize>) {
        let outcome = if self.random.random_bool(self.loss) {
            &self.tally.dropped
        } else if send().is_ok() {
            &self.tally.passed
        } else {
            &self.tally.refused
        };
        outcome.fetch_add(1, Ordering::Relaxed);
    }
}
