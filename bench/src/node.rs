//! Decides what a node process of `moves` does: what it is told, one line at a time.
//!
//! ```text
//! in   member SEED ADDRESS     a node that it can dial
//! in   start                   the runtime takes daemons from here on
//! in   spawn SEED DURABILITY   spawns a kv
//! in   expect SEED DURABILITY  announces one that will come
//! in   reset                   the peak of memory begins anew
//! in   figures                 asks for memory and traffic
//! in   stop                    shuts down
//! out  listening ADDRESS
//! out  done                    after each command
//! out  figures PEAK PRESENT SENT
//! out  event NANOS WORDS…      what the runtime tells
//! out  live FIRST LAST         from when to when looking at the daemon found it live
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use whimbrel_daemon::kinds::{Kv, native_kinds};
use whimbrel_protocol::{Event, Standing};
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{DaemonHostConfig, DaemonRuntime, Durability, Mesh, MeshConfig};
use whimbrel_wire::{Identity, NodeKey};

use crate::machine;

/// How often the standing of daemons is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Arguments of a node process.
#[derive(Args)]
pub(crate) struct NodeTask {
    /// Of its key.
    #[arg(long)]
    seed: u8,
    /// Its data folder; without one everything is volatile.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// The key of a node.
pub(crate) fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

/// The identity of a daemon.
pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

/// How a daemon is hosted, by the word for it.
fn config(durability: &str) -> Result<DaemonHostConfig> {
    let durability = match durability {
        "durable" => Durability::Durable,
        "volatile" => Durability::Volatile,
        other => bail!("{other} is no durability"),
    };
    Ok(DaemonHostConfig { durability, ..DaemonHostConfig::default() })
}

/// Opens a node on the loopback with the kinds that every node has.
pub(crate) async fn open(seed: u8, data: Option<PathBuf>) -> Result<DaemonRuntime> {
    let mut config = MeshConfig::new(key(seed), SocketAddr::from(([127, 0, 0, 1], 0)));
    config.data = data;
    let runtime = DaemonRuntime::new(Mesh::open(config).await?);
    for (kind, factory) in native_kinds() {
        runtime.register_factory(kind, factory)?;
    }
    Ok(runtime)
}

/// Runs a node until its input ends.
pub(crate) fn run(task: &NodeTask) -> Result<()> {
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let runtime = tokio.block_on(open(task.seed, task.data.clone()))?;
    let node = Node { runtime, tokio, peers: Vec::new() };
    node.serve()
}

struct Node {
    runtime: DaemonRuntime,
    tokio: tokio::runtime::Runtime,
    peers: Vec<u8>,
}

/// Writes a whole line at once: several threads do.
fn say(line: &str) {
    // Whoever started this process may be gone; then its input ends as well.
    drop(std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}

impl Node {
    fn serve(mut self) -> Result<()> {
        say(&format!("listening {}", self.runtime.mesh().local_address()));
        self.tell_events();
        let watch = Watch::start(self.runtime.clone());
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if line == "stop" {
                break;
            }
            match self.obey(&line) {
                Ok(()) => say("done"),
                Err(error) => say(&format!("failed {error:#}")),
            }
        }
        watch.stop();
        self.tokio.block_on(self.runtime.shutdown())?;
        say("done");
        Ok(())
    }

    fn obey(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["member", seed, address] => {
                let seed: u8 = seed.parse()?;
                let member = Member { key: key(seed).public(), addresses: vec![address.parse()?] };
                self.runtime.mesh().members().insert(member);
                self.peers.push(seed);
                Ok(())
            }
            ["start"] => Ok(self.tokio.block_on(self.runtime.start())?),
            ["spawn", seed, durability] => {
                let identity = identity(seed.parse()?);
                let spawned = self.runtime.spawn(Kv::NAME, identity, config(durability)?);
                self.tokio.block_on(spawned)?;
                Ok(())
            }
            ["expect", seed, durability] => {
                let origin = identity(seed.parse()?).origin_hash();
                Ok(self.runtime.expect_migration(Kv::NAME, origin, config(durability)?)?)
            }
            ["reset"] => {
                machine::reset_peak();
                Ok(())
            }
            ["figures"] => {
                self.figures();
                Ok(())
            }
            _ => Err(anyhow!("not understood: {line}")),
        }
    }

    fn figures(&self) {
        let memory = machine::memory();
        let mut sent = 0;
        for &peer in &self.peers {
            let node = key(peer).public().node_id();
            if let Some(link) = self.runtime.mesh().link_statistics(node) {
                sent += link.bulk.bytes_sent + link.control.bytes_sent;
            }
        }
        let (peak, present) = (memory.peak_bytes, memory.present_bytes);
        say(&format!("figures {peak} {present} {sent}"));
    }

    fn tell_events(&self) {
        let mut events = self.runtime.events();
        self.tokio.spawn(async move {
            use tokio::sync::broadcast::error::RecvError;
            loop {
                match events.recv().await {
                    Ok(told) => {
                        let at = machine::wall_of(told.at);
                        say(&format!("event {at} {}", words(&told.event)));
                    }
                    Err(RecvError::Lagged(missed)) => say(&format!("event 0 missed {missed}")),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
}

/// An event in one line.
fn words(event: &Event) -> String {
    match event {
        Event::Frozen { attempt, head } => format!("frozen {attempt} {}", head.position),
        Event::HandedOver { deed } => {
            format!("handed-over {} to {}", deed.deed.epoch, deed.deed.to)
        }
        Event::Live { epoch, head } => format!("live {epoch} {}", head.position),
        other @ (Event::Phase { .. }
        | Event::Progressed { .. }
        | Event::MoveEnded { .. }
        | Event::Thawed { .. }
        | Event::Dropped { .. }
        | Event::Warning(_)
        | _) => format!("{other:?}").replace('\n', " "),
    }
}

/// Looks at the standing of all daemons again and again.
struct Watch {
    over: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Watch {
    fn start(runtime: DaemonRuntime) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut live = BTreeMap::new();
            while !told.load(Ordering::Acquire) {
                look(&runtime, &mut live);
                std::thread::sleep(LOOK_EVERY);
            }
            for (first, last) in live.into_values() {
                say(&format!("live {first} {last}"));
            }
        });
        Self { over, thread: Mutex::new(Some(thread)) }
    }

    fn stop(&self) {
        self.over.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(thread.map(std::thread::JoinHandle::join));
    }
}

/// A daemon counts as live from the end of the first look that found it so to the beginning of
/// the last: in between it was live in any case.
fn look(runtime: &DaemonRuntime, live: &mut BTreeMap<whimbrel_wire::EntityId, (u64, u64)>) {
    let before = machine::wall();
    for daemon in runtime.daemons() {
        if daemon.standing == Standing::Live {
            live.entry(daemon.entity).or_insert_with(|| (machine::wall(), before)).1 = before;
        } else if let Some((first, last)) = live.remove(&daemon.entity) {
            say(&format!("live {first} {last}"));
        }
    }
}

/// What a word of an answer means.
pub(crate) fn number(word: Option<&str>) -> Result<u64> {
    word.context("a figure is missing")?.parse().context("a figure is no number")
}
