//! Decides what a node process of `moves` does: what it is told, one line at a time.
//!
//! ```text
//! in   member SEED ADDRESS     a node that it can dial
//! in   start                   the runtime takes daemons from here on
//! in   spawn SEED DURABILITY TURNS    spawns a kv, with so many turns between two snapshots
//! in   expect SEED DURABILITY TURNS   announces one that will come
//! in   reset                   the peak of memory begins anew
//! in   figures SEED            asks for memory, and what was sent to the node of SEED
//! in   boast                   tells falsely that a daemon lives here
//! in   stop                    shuts down
//! out  listening ADDRESS
//! out  done                    after each command
//! out  figures PEAK PRESENT SENT
//! out  event NANOS WORDS…      what the runtime tells, and `snapshot POSITION` when one stands
//! out  live FIRST LAST         from when to when looking at the daemon found it live
//! ```
//!
//! The process that sends events understands `member`, `start` and `stop` in the same way; the
//! rest of its words are in [`client`](crate::client).

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
use whimbrel_runtime::{
    DaemonHostConfig, DaemonRuntime, Durability, Mesh, MeshConfig, RuntimeEvent,
};
use whimbrel_wire::{EntityId, Epoch, Identity, NodeKey, Position};

use crate::machine;

/// How long what is told rests before it is passed on, all that came at once: whoever writes and reads a
/// line takes a processor from the hand-over that is measured.
const TELL_AFTER: Duration = Duration::from_millis(30);

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
    /// Where the moments of moves are written at the end.
    #[arg(long)]
    hops: Option<PathBuf>,
}

/// The key of a node.
pub(crate) fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

/// The identity of a daemon.
pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

/// How a daemon is hosted, by the words for it.
fn config(durability: &str, turns: &str) -> Result<DaemonHostConfig> {
    let durability = match durability {
        "durable" => Durability::Durable,
        "volatile" => Durability::Volatile,
        other => bail!("{other} is no durability"),
    };
    let auto_snapshot_interval = turns.parse()?;
    Ok(DaemonHostConfig { durability, auto_snapshot_interval })
}

/// Opens a node on the loopback with the kinds that every node has.
pub(crate) async fn open(
    seed: u8,
    data: Option<PathBuf>,
    hops: Option<PathBuf>,
) -> Result<DaemonRuntime> {
    let mut config = MeshConfig::new(key(seed), SocketAddr::from(([127, 0, 0, 1], 0)));
    config.data = data;
    config.hops = hops;
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
    let runtime = tokio.block_on(open(task.seed, task.data.clone(), task.hops.clone()))?;
    Node { runtime, tokio }.serve()
}

struct Node {
    runtime: DaemonRuntime,
    tokio: tokio::runtime::Runtime,
}

/// Writes a whole line at once: several threads do.
pub(crate) fn say(line: &str) {
    // Whoever started this process may be gone; then its input ends as well.
    drop(std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}

/// Does what it is told, line by line, until it is told to stop or its input ends.
pub(crate) fn obey_lines(mut obey: impl FnMut(&[&str]) -> Result<()>) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line == "stop" {
            break;
        }
        match obey(&line.split_whitespace().collect::<Vec<_>>()) {
            Ok(()) => say("done"),
            Err(error) => say(&format!("failed {error:#}")),
        }
    }
    Ok(())
}

/// Makes the node of `seed` a member that is dialled at `address`.
pub(crate) fn admit(runtime: &DaemonRuntime, seed: &str, address: &str) -> Result<()> {
    let key = key(seed.parse()?).public();
    runtime.mesh().members().insert(Member { key, addresses: vec![address.parse()?] });
    Ok(())
}

impl Node {
    fn serve(self) -> Result<()> {
        say(&format!("listening {}", self.runtime.mesh().local_address()));
        self.tell_events();
        let watch = Watch::start(self.runtime.clone());
        obey_lines(|words| self.obey(words))?;
        watch.stop();
        self.tokio.block_on(self.runtime.shutdown())?;
        say("done");
        Ok(())
    }

    fn obey(&self, words: &[&str]) -> Result<()> {
        match *words {
            ["member", seed, address] => admit(&self.runtime, seed, address),
            ["start"] => Ok(self.tokio.block_on(self.runtime.start())?),
            ["spawn", seed, durability, turns] => {
                let identity = identity(seed.parse()?);
                let spawned = self.runtime.spawn(Kv::NAME, identity, config(durability, turns)?);
                self.tokio.block_on(spawned)?;
                Ok(())
            }
            ["expect", seed, durability, turns] => {
                let origin = identity(seed.parse()?).origin_hash();
                let config = config(durability, turns)?;
                Ok(self.runtime.expect_migration(Kv::NAME, origin, config)?)
            }
            ["reset"] => {
                machine::reset_peak();
                Ok(())
            }
            ["figures", seed] => {
                self.figures(seed.parse()?);
                Ok(())
            }
            ["boast"] => {
                say(&format!("event {} live and not true", machine::wall()));
                Ok(())
            }
            _ => Err(anyhow!("not understood: {}", words.join(" "))),
        }
    }

    fn figures(&self, peer: u8) {
        let memory = machine::memory();
        let link = self.runtime.mesh().link_statistics(key(peer).public().node_id());
        let sent = link.map_or(0, |link| link.bulk.bytes_sent + link.control.bytes_sent);
        let (peak, present) = (memory.peak_bytes, memory.present_bytes);
        say(&format!("figures {peak} {present} {sent}"));
    }

    fn tell_events(&self) {
        let mut events = self.runtime.events();
        self.tokio.spawn(async move {
            use tokio::sync::broadcast::error::RecvError;
            loop {
                match events.recv().await {
                    Ok(told) => pass_on(&told),
                    Err(RecvError::Lagged(missed)) => say(&format!("event 0 missed {missed}")),
                    Err(RecvError::Closed) => return,
                }
                if events.is_empty() {
                    tokio::time::sleep(TELL_AFTER).await;
                }
            }
        });
    }
}

fn pass_on(told: &RuntimeEvent) {
    say(&format!("event {} {}", machine::wall_of(told.at), words(&told.event)));
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

/// What looks at a daemon found while it lives here.
struct Seen {
    /// When it was surely live.
    first: u64,
    last: u64,
    /// Where its last snapshot stands.
    snapshot: Option<(Epoch, Position)>,
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
            for Seen { first, last, .. } in live.into_values() {
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
fn look(runtime: &DaemonRuntime, live: &mut BTreeMap<EntityId, Seen>) {
    let before = machine::wall();
    for daemon in runtime.daemons() {
        if daemon.standing == Standing::Live {
            let seen = live.entry(daemon.entity).or_insert_with(|| Seen {
                first: machine::wall(),
                last: before,
                snapshot: None,
            });
            seen.last = before;
            seen.note_snapshot(daemon.epoch.zip(daemon.snapshot.map(|head| head.position)));
        } else if let Some(Seen { first, last, .. }) = live.remove(&daemon.entity) {
            say(&format!("live {first} {last}"));
        }
    }
}

impl Seen {
    /// Tells of a snapshot that was taken here: the one with which the daemon came is not.
    fn note_snapshot(&mut self, snapshot: Option<(Epoch, Position)>) {
        let (Some(present), before) = (snapshot, self.snapshot) else { return };
        self.snapshot = snapshot;
        if before.is_some_and(|before| before.0 == present.0 && before.1 < present.1) {
            say(&format!("event {} snapshot {}", machine::wall(), present.1));
        }
    }
}

/// What a word of an answer means.
pub(crate) fn number(word: Option<&str>) -> Result<u64> {
    word.context("a figure is missing")?.parse().context("a figure is no number")
}
