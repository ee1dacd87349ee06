//! Decides what is said of the machine beside every result: its load, a raw round trip, a sync.

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::{Row, nanos};

/// Round trips of one probe.
const ROUND_TRIPS: usize = 2_000;

/// Syncs of one probe.
const SYNCS: usize = 200;

/// What is written before each sync.
const SYNC_BYTES: usize = 4_096;

/// The time on the wall, which all processes of this machine share, in nanoseconds.
pub(crate) fn wall() -> u64 {
    wall_of(SystemTime::now())
}

/// A time on the wall in nanoseconds.
pub(crate) fn wall_of(time: SystemTime) -> u64 {
    nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The machine at a moment when nothing of the run goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// As `/proc/loadavg` has it.
    pub(crate) load: String,
    /// Nanoseconds: p50, p99, max.
    pub(crate) round_trip: [u64; 3],
    pub(crate) sync: [u64; 3],
}

impl Machine {
    /// Measures round trips and syncs as they are at the moment.
    pub(crate) fn measure(folder: &Path) -> Result<Self> {
        let mut probe = Probe::open(folder)?;
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.trim().to_owned(),
            round_trip: probe.round_trips(ROUND_TRIPS)?.summary(),
            sync: probe.syncs(SYNCS)?.summary(),
        })
    }

    pub(crate) fn print(&self, when: &str) {
        println!("machine {when}: {} cores, load {}", self.cores, self.load);
        let row = |name: &str, figures: [u64; 3]| {
            let [half, most, all] = figures.map(crate::figures::milliseconds);
            println!("  {name:<30}{half:>9} {most:>9} {all:>9}  ms (p50 p99 max)");
        };
        row("raw loopback UDP round trip", self.round_trip);
        row("fdatasync after 4 KiB", self.sync);
    }
}

/// Prints the machine as it is at the moment.
pub(crate) fn describe(folder: &Path, when: &str) -> Result<Machine> {
    let machine = Machine::measure(folder)?;
    machine.print(when);
    Ok(machine)
}

/// The average load of the last minute.
pub(crate) fn load() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// What round trips and syncs are measured with, also between moves.
pub(crate) struct Probe {
    near: UdpSocket,
    echo: Option<std::thread::JoinHandle<()>>,
    file: File,
    path: PathBuf,
    rounds: usize,
}

impl Probe {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        near.connect(far.local_addr()?)?;
        far.connect(near.local_addr()?)?;
        near.set_read_timeout(Some(Duration::from_secs(1)))?;
        let echo = std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(length) = far.recv(&mut bytes) {
                if length == 0 || far.send(&bytes[..length]).is_err() {
                    return;
                }
            }
        });
        let path = folder.join("sync-probe");
        let file = File::create(&path)?;
        Ok(Self { near, echo: Some(echo), file, path, rounds: 0 })
    }

    /// Sends datagrams to and fro, one after the other.
    pub(crate) fn round_trips(&self, count: usize) -> Result<Row> {
        let mut bytes = [7; 64];
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begun = Instant::now();
            self.near.send(&bytes)?;
            self.near.recv(&mut bytes).context("the loopback lost a datagram")?;
            times.push(begun.elapsed());
        }
        Ok(times.into_iter().collect())
    }

    /// Appends to a file and syncs it, again and again.
    pub(crate) fn syncs(&mut self, count: usize) -> Result<Row> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            self.rounds += 1;
            let byte = u8::try_from(self.rounds % 251).unwrap_or(0);
            self.file.write_all(&[byte; SYNC_BYTES])?;
            let begun = Instant::now();
            self.file.sync_data()?;
            times.push(begun.elapsed());
        }
        Ok(times.into_iter().collect())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // An empty datagram ends the echo; where it cannot be sent, the thread ends with the process.
        if self.near.send(&[]).is_ok() {
            drop(self.echo.take().map(std::thread::JoinHandle::join));
        }
        drop(std::fs::remove_file(&self.path));
    }
}

/// What a process holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The most since it was reset.
    pub(crate) peak_bytes: u64,
    /// At the moment.
    pub(crate) present_bytes: u64,
}

/// What this process holds.
pub(crate) fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    Memory { peak_bytes: field("VmHWM:"), present_bytes: field("VmRSS:") }
}

/// Lets the peak begin at what this process holds at the moment.
pub(crate) fn reset_peak() {
    // Where the kernel refuses, the peak is the one since the start, which is never less.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}
