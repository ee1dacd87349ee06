//! Measures links on the loopback: a round trip of 64 bytes on the control lane, the same while bulk is
//! under way, and how fast bulk and events go.
//!
//! Both nodes run in this process. `cargo run --release --example link_speed [frame KiB] [total MiB]`.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use whimbrel_runtime::link::{
    Inbound, Lane, LinkFault, LinkLimits, Links, Member, Members, Pause, SendError,
};
use whimbrel_wire::{NodeId, NodeKey};

const ROUND_TRIPS: usize = 20_000;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sends control frames back, and counts what comes on other lanes.
#[derive(Default)]
struct Echo {
    links: OnceLock<Links>,
    other_bytes: AtomicUsize,
    came: Notify,
}

/// Tells whoever waits that a frame has come.
#[derive(Default)]
struct Waiter {
    came: Notify,
}

impl Inbound for Echo {
    fn frame(&self, from: NodeId, lane: Lane, frame: Bytes) -> Option<Pause> {
        if lane == Lane::Control {
            // A frame that finds no room is missed by the other side, which then says so.
            let _ = self.links.get()?.send(from, lane, frame);
        } else {
            self.other_bytes.fetch_add(frame.len(), Ordering::Relaxed);
            self.came.notify_one();
        }
        None
    }
    fn link_up(&self, _peer: NodeId) {}
    fn link_down(&self, _peer: NodeId) {}
    fn link_fault(&self, _peer: NodeId, fault: LinkFault) {
        println!("fault: {fault}");
    }
}

impl Inbound for Waiter {
    fn frame(&self, _from: NodeId, _lane: Lane, _frame: Bytes) -> Option<Pause> {
        self.came.notify_one();
        None
    }
    fn link_up(&self, _peer: NodeId) {}
    fn link_down(&self, _peer: NodeId) {}
    fn link_fault(&self, _peer: NodeId, fault: LinkFault) {
        println!("fault: {fault}");
    }
}

struct Bench {
    links: Links,
    waiter: Arc<Waiter>,
    echo: Arc<Echo>,
    to: NodeId,
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let frame_bytes = arguments.next().transpose()?.unwrap_or(256) * KIB;
    let total_bytes = arguments.next().transpose()?.unwrap_or(1024) * MIB;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // The measuring loop is a task like any other, so that waking it costs what it costs in a node.
    runtime.block_on(async move { tokio::spawn(measure(frame_bytes, total_bytes)).await })??;
    Ok(())
}

async fn measure(
    frame_bytes: usize,
    total_bytes: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let bench = Bench::new()?;
    println!("load before: {}", load());
    bench.round_trips(1_000).await?;
    report("64 B round trip, idle", bench.round_trips(ROUND_TRIPS).await?);
    for _ in 0..3 {
        let rate = bench.stream(Lane::Bulk, frame_bytes, total_bytes).await?;
        println!("bulk in frames of {} KiB: {rate:.0} MiB/s", frame_bytes / KIB);
    }
    for lane in [Lane::Bulk, Lane::Events] {
        let (rate, times) = tokio::join!(
            bench.stream(lane, frame_bytes, total_bytes),
            bench.round_trips(ROUND_TRIPS / 20)
        );
        report(&format!("64 B round trip beside {lane}"), times?);
        println!("{lane} beside round trips: {:.0} MiB/s", rate?);
    }
    let rate = bench.stream(Lane::Events, 256, 32 * MIB).await?;
    println!("events in frames of 256 B: {:.0} a second", rate * MIB as f64 / 256.0);
    println!("{:?}", bench.links.statistics(bench.to));
    println!("load after: {}", load());
    Ok(())
}

impl Bench {
    fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let limits = LinkLimits::default();
        let keys = [1, 2].map(|seed| NodeKey::from_seed(&[seed; 32]));
        let (here, there) = (Members::default(), Members::default());
        let (waiter, echo) = (Arc::new(Waiter::default()), Arc::new(Echo::default()));
        let links = Links::bind(&keys[0], loopback, here.clone(), limits.clone(), waiter.clone())?;
        let other = Links::bind(&keys[1], loopback, there.clone(), limits, echo.clone())?;
        let member = |key: &NodeKey, links: &Links| Member {
            key: key.public(),
            addresses: vec![links.local_address()],
        };
        here.insert(member(&keys[1], &other));
        there.insert(member(&keys[0], &links));
        let _ = echo.links.set(other);
        Ok(Self { links, waiter, echo, to: keys[1].node_id() })
    }

    async fn round_trips(&self, count: usize) -> Result<Vec<Duration>, SendError> {
        let frame = Bytes::from_static(&[7; 64]);
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            self.links.send(self.to, Lane::Control, frame.clone())?;
            self.waiter.came.notified().await;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    }

    /// MiB per second.
    async fn stream(
        &self,
        lane: Lane,
        frame_bytes: usize,
        total_bytes: usize,
    ) -> Result<f64, SendError> {
        let frame = Bytes::from(vec![7; frame_bytes]);
        let count = total_bytes / frame_bytes;
        let expected = self.echo.other_bytes.load(Ordering::Relaxed) + count * frame_bytes;
        let began = Instant::now();
        for _ in 0..count {
            while let Err(error) = self.links.send(self.to, lane, frame.clone()) {
                if error != SendError::Full {
                    return Err(error);
                }
                self.links.room(self.to, lane).await?;
            }
        }
        while self.echo.other_bytes.load(Ordering::Relaxed) < expected {
            self.echo.came.notified().await;
        }
        Ok((count * frame_bytes) as f64 / MIB as f64 / began.elapsed().as_secs_f64())
    }
}

fn report(what: &str, times: Vec<Duration>) {
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: p50 {:?}, p99 {:?}, least {:?}, most {:?} ({} times)",
        at(0.5),
        at(0.99),
        at(0.0),
        at(1.0),
        times.len()
    );
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
