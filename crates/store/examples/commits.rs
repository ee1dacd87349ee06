//! Measures commits of the journal: alone, beside a large put of chunks, and while the journal of
//! another daemon is compacted.
//!
//! `cargo run --release -p whimbrel-store --example commits -- FOLDER`

#![allow(clippy::print_stdout, reason = "a program that prints figures")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot set up has failed")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use whimbrel_store::{Chunks, Folder, Journal, Sqlite};
use whimbrel_wire::{
    AttemptId, CausalEvent, ChunkRef, Deed, EntityId, Epoch, Head, Identity, InputOrigin, Kind,
    Manifest, NodeKey, Sender, Stamp, StateRef, StateVersion, StoreId, Time, Turn, Write,
};

const CHUNK_BYTES: usize = 48 * 1024;
/// Between the arrivals of two appends.
const PERIOD: Duration = Duration::from_millis(5);

const CHUNKS: u64 = 256 * 1024 * 1024 / CHUNK_BYTES as u64;

/// One daemon and where its journal ends.
struct Daemon {
    entity: EntityId,
    head: Head,
}

impl Daemon {
    fn born(engine: &mut Sqlite, store: StoreId, seed: u8) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let node = NodeKey::from_seed(&[1; 32]).public();
        let deed = Deed::birth(&identity, node, store, AttemptId::new(1));
        let entity = identity.entity_id();
        let head = Head::newborn(&entity, &deed.digest());
        let born = Self { entity, head };
        let manifest = born.manifest();
        let answers = engine.commit(&[Write::Birth { deed, manifest }]);
        assert_eq!(answers, [Ok(())]);
        born
    }

    /// A snapshot of the present head, of nothing.
    fn manifest(&self) -> Manifest {
        Manifest {
            entity: self.entity,
            kind: Kind::new("measured").unwrap(),
            version: StateVersion::new(1),
            epoch: Epoch::FIRST,
            head: self.head,
            last: None,
            time: Time::ZERO,
            state: StateRef { bytes: 0, chunks: 0, lists: Vec::new() },
            luggage: Vec::new(),
        }
    }

    /// `count` turns of 256 bytes.
    fn append(&mut self, count: u64) -> Write {
        let after = self.head.position;
        let turn = |_| {
            let payload = Bytes::from(vec![7; 256]);
            let origin = self.entity.origin_hash();
            let event = CausalEvent::unchained(origin, 1, payload);
            self.head.position = self.head.position.next();
            let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
            let stamp = Stamp { time: Time::ZERO, epoch: Epoch::FIRST, origin, head: self.head };
            Turn { event, stamp }
        };
        let turns = (0..count).map(turn).collect();
        Write::Append { entity: self.entity, epoch: Epoch::FIRST, after, turns }
    }
}

fn commits(engine: &mut Sqlite, daemons: &mut [Daemon], turns: u64, go_on: &dyn Fn(usize) -> bool) {
    let (mut times, mut tidying) = (Vec::new(), Vec::new());
    while go_on(times.len()) {
        let writes: Vec<_> = daemons.iter_mut().map(|daemon| daemon.append(turns)).collect();
        let start = Instant::now();
        let answers = engine.commit(&writes);
        times.push(start.elapsed());
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let start = Instant::now();
        engine.tidy().unwrap();
        tidying.push(start.elapsed());
    }
    report(&format!("{} x {turns} turns", daemons.len()), times);
    report("  and what it put off", tidying);
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 1000].as_secs_f64() * 1e3;
    let (p50, p99, p999, most, count) = (at(500), at(990), at(999), at(1000), times.len());
    println!(
        "  {what}: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, at most {most:.2} ms \
         ({count} commits)"
    );
}

/// Appends of one turn that arrive each [`PERIOD`] while the journal of another daemon, 64 MiB, is
/// compacted; between them the store is tidied. From arrival to answer.
fn compaction(engine: &mut Sqlite, daemons: &mut [Daemon]) {
    let [writer, compacted, ..] = daemons else { return };
    for _ in 0..1024 {
        let append = compacted.append(256);
        assert_eq!(engine.commit(&[append]), [Ok(())]);
    }
    let (entity, epoch, manifest) = (compacted.entity, Epoch::FIRST, compacted.manifest());
    let through = manifest.head.position;
    assert_eq!(engine.commit(&[Write::Publish { entity, epoch, manifest }]), [Ok(())]);
    let (mut times, mut untidy, mut tidied) = (Vec::new(), false, Duration::ZERO);
    let mut arrival = Instant::now();
    while times.len() < 500 {
        if Instant::now() < arrival {
            if untidy {
                let start = Instant::now();
                untidy = engine.tidy().unwrap();
                tidied += start.elapsed();
            } else {
                std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
            }
            continue;
        }
        if times.len() == 50 {
            let compact = Write::Compact { entity, epoch, through };
            assert_eq!(engine.commit(&[compact]), [Ok(())]);
        }
        assert_eq!(engine.commit(&[writer.append(1)]), [Ok(())]);
        untidy = true;
        times.push(arrival.elapsed());
        arrival += PERIOD;
    }
    report("1 turn each 5 ms, and a compaction", times);
    let (took, left) = (tidied.as_secs_f64() * 1e3, if untidy { "not all" } else { "all" });
    println!("  tidying took {took:.1} ms, {left} of it done");
}

/// What the disk itself takes.
fn floor(folder: &Path) {
    let mut file = File::create(folder.join("floor")).unwrap();
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed());
    }
    report("raw", times);
}

fn random_chunk(seed: u64) -> (ChunkRef, Bytes) {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..CHUNK_BYTES / 8).flat_map(|_| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    });
    let bytes: Vec<u8> = words.collect();
    (ChunkRef::of(&bytes), bytes.into())
}

fn main() {
    let path = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let path = path.join("whimbrel-commits");
    let (folder, mut engine, chunks) = Folder::open(&path, StoreId::new(1)).unwrap();
    let store = StoreId::new(1);
    let mut daemons: Vec<_> = (1..=32).map(|seed| Daemon::born(&mut engine, store, seed)).collect();
    println!("a file of 4 KiB blocks, synced after each");
    floor(&path);
    println!("alone");
    commits(&mut engine, &mut daemons[..1], 1, &|count| count < 4000);
    commits(&mut engine, &mut daemons[..1], 256, &|count| count < 400);
    commits(&mut engine, &mut daemons, 1, &|count| count < 1000);
    for _ in 0..3 {
        println!("while 64 MiB of another journal are compacted");
        compaction(&mut engine, &mut daemons);
    }
    for (turns, base) in [(1, 0), (256, CHUNKS)] {
        let writing = Arc::new(AtomicBool::new(true));
        let (chunks, done) = (chunks.clone(), writing.clone());
        let start = Instant::now();
        let writer = std::thread::spawn(move || {
            let all: Vec<_> = (base..base + CHUNKS).collect();
            for batch in all.chunks(64) {
                let batch: Vec<_> = batch.iter().map(|seed| random_chunk(*seed)).collect();
                chunks.put(&batch).unwrap();
            }
            done.store(false, Ordering::Release);
            start.elapsed()
        });
        println!("beside a put of 256 MiB of chunks");
        let go_on = |_| writing.load(Ordering::Acquire);
        commits(&mut engine, &mut daemons[..1], turns, &go_on);
        println!("  the put took {:.2} s", writer.join().unwrap().as_secs_f64());
    }
    folder.close(engine).unwrap();
    drop(chunks);
    std::fs::remove_dir_all(path).unwrap();
}
