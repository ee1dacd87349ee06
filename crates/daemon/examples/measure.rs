//! Measures what a turn, a capture and a digest cost: `cargo run --release --example measure`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people to read")]
#![allow(
    clippy::disallowed_methods,
    reason = "it measures time, which the crate itself never reads"
)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use whimbrel_daemon::kinds::{Kv, KvCommand};
use whimbrel_daemon::{
    ChunkShelf, ChunkSink, Context, Host, MeshDaemon, Native, ProcessError, SinkError,
};
use whimbrel_wire::{
    CausalEvent, ChunkRef, Digest, EntityId, Epoch, Head, InputOrigin, Kind, OriginHash, Purpose,
    Sender, Time,
};

const ARRIVAL: InputOrigin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
const TURNS: u32 = 2_000_000;
const STATE_BYTES: usize = 256 << 20;
const VALUE_BYTES: usize = 1000;

struct Tiny {
    count: u64,
    speaks: bool,
}

impl MeshDaemon for Tiny {
    fn name(&self) -> &str {
        "tiny"
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.count += event.payload.len() as u64;
        if self.speaks {
            return Ok(vec![Bytes::copy_from_slice(&self.count.to_le_bytes())]);
        }
        Ok(Vec::new())
    }
}

/// Throws chunks away.
struct Hole(u64);

impl ChunkSink for Hole {
    fn wants(&mut self, _chunk: &ChunkRef) -> Result<bool, SinkError> {
        Ok(true)
    }

    fn put(&mut self, _chunk: ChunkRef, bytes: Bytes) -> Result<(), SinkError> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

fn main() {
    turns();
    links();
    state();
}

fn host(daemon: impl MeshDaemon + 'static) -> Host {
    let kind = Kind::new("measured").unwrap();
    Host::born(EntityId::from_bytes([1; 32]), kind, Native::boxed(daemon), [0; 32], &Digest::ZERO)
}

fn turns() {
    for (what, speaks) in [("one output of 8 bytes", true), ("no output", false)] {
        let mut host = host(Tiny { count: 0, speaks });
        let event = CausalEvent::unchained(OriginHash::new(0), 1, Bytes::from_static(&[7; 64]));
        let start = Instant::now();
        for index in 0..TURNS {
            let time = Time::from_nanos(u64::from(index));
            black_box(host.turn(Epoch::FIRST, time, &ARRIVAL, black_box(&event)).unwrap());
        }
        println!("turn, {what}: {:?}", start.elapsed() / TURNS);
    }
}

fn links() {
    let mut head = Head::newborn(&EntityId::from_bytes([1; 32]), &Digest::ZERO);
    let payload = Bytes::from_static(&[7; 8]);
    let start = Instant::now();
    for _ in 0..TURNS {
        head = black_box(head.put_out(OriginHash::new(1), Epoch::FIRST, payload.clone()).0);
    }
    println!("link of 8 bytes alone: {:?}", start.elapsed() / TURNS);

    let start = Instant::now();
    for _ in 0..TURNS {
        let digest = Digest::of(Purpose::Chunk, black_box(&payload));
        let payload = Bytes::from_owner(*digest.as_bytes());
        head = black_box(head.put_out(OriginHash::new(1), Epoch::FIRST, payload).0);
    }
    println!("the same over the digest of the payload: {:?}", start.elapsed() / TURNS);
}

fn key(index: u64) -> [u8; 16] {
    let mut key = *b"key-............";
    key[8..].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

fn put(host: &mut Host, index: u64, fill: u8) {
    let key = key(index);
    let mut value = [fill; VALUE_BYTES];
    value[..8].copy_from_slice(&index.to_le_bytes());
    let payload = KvCommand::Put { key: &key, value: &value }.to_bytes();
    let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
    black_box(host.turn(Epoch::FIRST, Time::ZERO, &ARRIVAL, &event).unwrap());
}

/// Puts `count` values in a scattered order.
fn writes(host: &mut Host, count: u64, entries: u64, fill: u8) -> f64 {
    let start = Instant::now();
    for index in 0..count {
        put(host, index.wrapping_mul(7919) % entries, fill);
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn state() {
    let entries = (STATE_BYTES / (VALUE_BYTES + 22)) as u64;
    let mut host = host(Kv::new());
    let start = Instant::now();
    (0..entries).for_each(|index| put(&mut host, index, 0));
    println!("filling kv with {entries} values of {VALUE_BYTES} bytes: {:?}", start.elapsed());
    memory("after filling");

    timed("digest, nothing named", || host.digest().unwrap());
    timed("digest, all named", || host.digest().unwrap());
    for count in [1, 10, 100, 1000] {
        writes(&mut host, count, entries, 1);
        timed(&format!("digest after {count} scattered writes"), || host.digest().unwrap());
    }
    let capture = timed("capture", || host.capture().unwrap());
    println!("writes/s without a capture, then with one:");
    drop(capture);
    println!("  {:.0}", writes(&mut host, 200_000, entries, 2));
    let capture = host.capture().unwrap();
    println!("  {:.0} (first 20,000)", writes(&mut host, 20_000, entries, 3));
    println!("  {:.0} (next 180,000)", writes(&mut host, 180_000, entries, 4));
    memory("with the capture and all pages changed since");
    timed("warming the capture", || capture.warm());
    let mut hole = Hole(0);
    let parts = timed("writing the capture to nowhere", || capture.write(&mut hole).unwrap());
    println!("  {} bytes in {} chunks", parts.state.bytes, parts.state.chunks);

    memory("after the capture is gone");

    let mut shelf = ChunkShelf::new();
    let parts = host.capture().unwrap().write(&mut shelf).unwrap();
    let luggage = parts.host.clone();
    let manifest = parts.manifest(Default::default(), &mut shelf).unwrap();
    let kind = manifest.kind.clone();
    let body = Native::boxed(Kv::new());
    let mut copy = timed("restoring it", || {
        Host::restore(&kind, &manifest, &luggage, body, &mut shelf).unwrap()
    });
    memory("with the copy");
    timed("digest of the copy", || assert_eq!(copy.digest().unwrap(), manifest.state.digest()));
}

/// What the kernel says about the memory of this process.
fn memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("unknown");
    println!("  memory {when}: {resident}");
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    println!("{what}: {:?}", start.elapsed());
    value
}
