//! Decides what happens to datagrams between two nodes: lost by chance, late, overtaken.
//!
//! A relay stands at the address by which one node dials another. What comes to its front goes on
//! from its back, and the other way round; a process cannot tell it from the other node. Each way
//! has its own [`Weather`], which can change at any time.
//!
//! # Limits
//!
//! * [`LATE_MAX`] datagrams of one way are late at a time; beyond it they are lost, as in a router.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::Dice;

/// What is asked of the system for each socket, each way.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// How long a thread waits before it looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Datagrams of one way that are late at a time.
pub const LATE_MAX: usize = 16_384;

/// What became of the datagrams.
#[derive(Debug, Default)]
pub struct Tally {
    /// Those that went on.
    pub passed: AtomicU64,
    /// Those that were lost.
    pub dropped: AtomicU64,
    /// Those that the system did not take.
    pub refused: AtomicU64,
}

/// What happens to the datagrams of one way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// Of all datagrams, how many get lost: 0 to 1.
    pub loss: f64,
    /// How late each is.
    pub delay: Duration,
    /// How much later still, at most, by chance: those that are less late overtake the others.
    pub jitter: Duration,
}

/// Where a relay stands.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Where it is dialled; port 0 for any.
    pub front: SocketAddr,
    /// From where it dials on.
    pub back: IpAddr,
    /// Whom it dials.
    pub to: SocketAddr,
    /// Where its chance begins.
    pub seed: u64,
}

impl Way {
    /// A way on the loopback.
    #[must_use]
    pub const fn local(to: SocketAddr, seed: u64) -> Self {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { front: SocketAddr::new(here, 0), back: here, to, seed }
    }
}

/// A relay in front of one node.
pub struct Relay {
    front: SocketAddr,
    there: Arc<Lane>,
    back: Arc<Lane>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay in fair weather.
    ///
    /// # Errors
    ///
    /// The system gives no socket there.
    pub fn start(way: Way, tally: &Arc<Tally>) -> Result<Self> {
        let (front, back) = (socket(way.front)?, socket(SocketAddr::new(way.back, 0))?);
        back.connect(way.to).context("could not dial the node")?;
        let address = front.local_addr()?;
        let caller: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let there = Lane::new(way.seed, Exit::Node(back.try_clone()?), tally);
        let here = Exit::Caller(front.try_clone()?, Arc::clone(&caller));
        let here = Lane::new(way.seed ^ 0x5eed, here, tally);
        let threads = [&there, &here].map(|lane| {
            let lane = Arc::clone(lane);
            std::thread::spawn(move || lane.send_late())
        });
        let mut threads = Vec::from(threads);
        let lane = Arc::clone(&there);
        threads.push(std::thread::spawn(move || lane.carry_there(&front, &caller)));
        let lane = Arc::clone(&here);
        threads.push(std::thread::spawn(move || lane.carry_back(&back)));
        Ok(Self { front: address, there, back: here, threads })
    }

    /// Where it is dialled.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.front
    }

    /// Changes the weather on the way to the node and on the way back.
    pub fn set(&self, there: Weather, back: Weather) {
        *lock(&self.there.weather) = there;
        *lock(&self.back.weather) = back;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for lane in [&self.there, &self.back] {
            lane.over.store(true, Ordering::Release);
            lane.more.notify_all();
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn socket(at: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    socket.bind(&at.into()).with_context(|| format!("could not stand at {at}"))?;
    Ok(socket.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a lane ends.
enum Exit {
    Node(UdpSocket),
    /// Whoever dialled last.
    Caller(UdpSocket, Arc<Mutex<Option<SocketAddr>>>),
}

/// A datagram that is late: when it is due, and its place in the order.
type Late = Reverse<(Instant, u64, Vec<u8>)>;

/// One way through a relay.
struct Lane {
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
    exit: Exit,
    late: Mutex<BinaryHeap<Late>>,
    more: Condvar,
    over: AtomicBool,
    order: AtomicU64,
    tally: Arc<Tally>,
}

impl Lane {
    fn new(seed: u64, exit: Exit, tally: &Arc<Tally>) -> Arc<Self> {
        Arc::new(Self {
            weather: Mutex::default(),
            dice: Mutex::new(Dice::new(seed)),
            exit,
            late: Mutex::default(),
            more: Condvar::new(),
            over: AtomicBool::new(false),
            order: AtomicU64::new(0),
            tally: Arc::clone(tally),
        })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn carry_there(&self, from: &UdpSocket, caller: &Mutex<Option<SocketAddr>>) {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        let mut last = None;
        while !self.is_over() {
            let Ok((length, who)) = from.recv_from(&mut bytes) else { continue };
            if last != Some(who) {
                last = Some(who);
                *lock(caller) = last;
            }
            self.pass(&bytes[..length]);
        }
    }

    fn carry_back(&self, from: &UdpSocket) {
        let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
        while !self.is_over() {
            let Ok(length) = from.recv(&mut bytes) else { continue };
            self.pass(&bytes[..length]);
        }
    }

    fn pass(&self, bytes: &[u8]) {
        let weather = *lock(&self.weather);
        let mut dice = lock(&self.dice);
        if weather.loss > 0.0 && dice.chance() < weather.loss {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        } else if weather.delay.is_zero() && weather.jitter.is_zero() {
            drop(dice);
            self.send(bytes);
        } else {
            let late = weather.delay + weather.jitter.mul_f64(dice.chance());
            drop(dice);
            self.keep(Instant::now() + late, bytes);
        }
    }

    fn keep(&self, due: Instant, bytes: &[u8]) {
        let mut late = lock(&self.late);
        if late.len() >= LATE_MAX {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let order = self.order.fetch_add(1, Ordering::Relaxed);
        late.push(Reverse((due, order, bytes.to_vec())));
        self.more.notify_all();
    }

    fn send_late(&self) {
        let mut late = lock(&self.late);
        while !self.is_over() {
            let now = Instant::now();
            let wait = match late.peek() {
                Some(Reverse((due, ..))) if *due <= now => {
                    let datagram = late.pop();
                    drop(late);
                    if let Some(Reverse((_, _, bytes))) = datagram {
                        self.send(&bytes);
                    }
                    late = lock(&self.late);
                    continue;
                }
                Some(Reverse((due, ..))) => LOOK_EVERY.min(*due - now),
                None => LOOK_EVERY,
            };
            late = self.more.wait_timeout(late, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn send(&self, bytes: &[u8]) {
        let sent = match &self.exit {
            Exit::Node(socket) => socket.send(bytes),
            Exit::Caller(socket, caller) => match *lock(caller) {
                Some(caller) => socket.send_to(bytes, caller),
                None => return,
            },
        };
        let outcome = if sent.is_ok() { &self.tally.passed } else { &self.tally.refused };
        outcome.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two parties and a relay by which one dials the other.
    fn stage() -> (UdpSocket, UdpSocket, Relay, Arc<Tally>) {
        let party = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket
        };
        let (near, far) = (party(), party());
        let tally = Arc::default();
        let relay = Relay::start(Way::local(far.local_addr().unwrap(), 1), &tally).unwrap();
        near.connect(relay.address()).unwrap();
        (near, far, relay, tally)
    }

    #[test]
    fn in_fair_weather_all_comes_through_both_ways() {
        let (near, far, _relay, _) = stage();
        let mut bytes = [0; 8];
        near.send(b"there").unwrap();
        let (length, from) = far.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"there");
        far.send_to(b"back", from).unwrap();
        let length = near.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"back");
    }

    #[test]
    fn what_is_lost_is_lost_one_way_and_what_is_late_is_overtaken() {
        let (near, far, relay, tally) = stage();
        let all_lost = Weather { loss: 1.0, ..Weather::default() };
        relay.set(all_lost, Weather::default());
        near.send(&[255]).unwrap();
        while tally.dropped.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let jitter = Weather { jitter: Duration::from_millis(50), ..Weather::default() };
        relay.set(jitter, Weather::default());
        let sent: Vec<u8> = (0..64).collect();
        for number in &sent {
            near.send(&[*number]).unwrap();
        }
        let mut bytes = [0; 8];
        let came: Vec<u8> =
            sent.iter().map(|_| far.recv(&mut bytes).map(|_| bytes[0]).unwrap()).collect();
        let mut sorted = came.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, sent, "nothing is lost, and what was lost does not come");
        assert_ne!(came, sent, "by chance some overtake others");
    }
}
