//! Decides what is said of the machine beside every result: its load, a raw round trip, a sync.

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

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

/// Prints load, round trip and sync as they are at the moment.
pub(crate) fn describe(folder: &Path, when: &str) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("machine {when}: {cores} cores, load {}", load.trim());
    println!(
        "  raw loopback UDP round trip   {}  ms (p50 p99 max)",
        round_trips()?.in_milliseconds()
    );
    println!(
        "  fdatasync after 4 KiB         {}  ms (p50 p99 max)",
        syncs(folder)?.in_milliseconds()
    );
    Ok(())
}

fn round_trips() -> Result<Row> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    near.set_read_timeout(Some(Duration::from_secs(1)))?;
    far.set_read_timeout(Some(Duration::from_secs(1)))?;
    let echo = std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(length) = far.recv(&mut bytes) {
            if length == 0 || far.send(&bytes[..length]).is_err() {
                return;
            }
        }
    });
    let mut bytes = [7; 64];
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        near.send(&bytes)?;
        near.recv(&mut bytes).context("the loopback lost a datagram")?;
        times.push(begun.elapsed());
    }
    near.send(&[])?;
    drop(echo.join());
    Ok(times.into_iter().collect())
}

fn syncs(folder: &Path) -> Result<Row> {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for round in 0..SYNCS {
        let byte = u8::try_from(round % 251).unwrap_or(0);
        file.write_all(&[byte; SYNC_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(times.into_iter().collect())
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
