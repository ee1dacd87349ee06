//! Decides how the closest peer, net-mesh-sdk, is measured: local delivery and migrations, as
//! `whimbrel-bench` measures ours.
//!
//! The peer delivers only to daemons of the node that is asked, so the client runs in this process
//! and turns to the target when the source refuses. Each migration gets a fresh pair of nodes,
//! since a second one over the same session is refused.
//!
//! ```text
//! whimbrel-peers deliver EVENTS                          figure deliver-silent NANOS …
//! whimbrel-peers moves BYTES MOVES RATE [wide] [limit S] figure move NANOS GAP CALM LOST STATUS
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::adapter::net::channel::ChannelConfigRegistry;
use net::adapter::net::compute::DaemonError as CoreError;
use net::adapter::net::state::causal::{CausalEvent, CausalLink};
use net::adapter::net::{EntityKeypair, MeshNode, MeshNodeConfig, SocketBufferConfig};
use net_sdk::Identity;
use net_sdk::capabilities::CapabilityFilter;
use net_sdk::compute::{DaemonHostConfig, DaemonRuntime, MeshDaemon};
use net_sdk::mesh::{Mesh, MeshBuilder};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SECRET: [u8; 32] = [0x42; 32];

/// How often the end of a migration is looked for.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// The longest that a migration may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sent without a migration before each one, to see what the machine does by itself.
const CALM: Duration = Duration::from_millis(150);

/// Sent after a migration.
const AFTERMATH: Duration = Duration::from_millis(20);

/// Counts what it is sent in the first eight bytes of its state.
struct Counting {
    state: Vec<u8>,
    answers: bool,
}

impl Counting {
    fn new(bytes: usize, answers: bool) -> Self {
        let mut state = vec![0; bytes.max(8)];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for piece in state.chunks_mut(8).skip(1) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            piece.copy_from_slice(&random.to_le_bytes()[..piece.len()]);
        }
        Self { state, answers }
    }

    fn count(&self) -> u64 {
        self.state[..8].try_into().map_or(0, u64::from_le_bytes)
    }
}

impl MeshDaemon for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn requirements(&self) -> CapabilityFilter {
        CapabilityFilter::default()
    }

    fn process(&mut self, _event: &CausalEvent) -> Result<Vec<Bytes>, CoreError> {
        let count = (self.count() + 1).to_le_bytes();
        self.state[..8].copy_from_slice(&count);
        if self.answers { Ok(vec![Bytes::copy_from_slice(&count)]) } else { Ok(Vec::new()) }
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.state))
    }

    fn restore(&mut self, state: Bytes) -> Result<(), CoreError> {
        if state.len() < 8 {
            return Err(CoreError::RestoreFailed("too short".to_owned()));
        }
        self.state = state.to_vec();
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    match words[..] {
        ["deliver", events] => deliver(&tokio, events.parse()?),
        ["moves", bytes, moves, rate] => {
            migrations(&tokio, bytes.parse()?, moves.parse()?, rate.parse()?, false)
        }
        ["moves", bytes, moves, rate, "wide"] => {
            migrations(&tokio, bytes.parse()?, moves.parse()?, rate.parse()?, true)
        }
        _ => Err("usage: deliver EVENTS | moves BYTES MOVES RATE [wide]".into()),
    }
}

/// A node with the SDK's own socket buffers, or with the ones that the core has for production.
async fn node(wide: bool) -> Result<Mesh, Failure> {
    if !wide {
        return Ok(MeshBuilder::new("127.0.0.1:0", &SECRET)?.build().await?);
    }
    let mut config = MeshNodeConfig::new("127.0.0.1:0".parse()?, SECRET);
    config.socket_buffers = SocketBufferConfig::default();
    let node = MeshNode::new(EntityKeypair::generate(), config).await?;
    Ok(Mesh::from_node_arc(Arc::new(node), Arc::new(ChannelConfigRegistry::new()), None))
}

async fn runtime(wide: bool, bytes: usize) -> Result<DaemonRuntime, Failure> {
    let runtime = DaemonRuntime::new(Arc::new(node(wide).await?));
    runtime.register_factory("silent", move || Box::new(Counting::new(bytes, false)))?;
    runtime.register_factory("answering", move || Box::new(Counting::new(bytes, true)))?;
    Ok(runtime)
}

fn event(origin_hash: u64, sequence: u64, payload: &Bytes) -> CausalEvent {
    let link = CausalLink { origin_hash, horizon_encoded: 0, sequence, parent_hash: 0 };
    CausalEvent { link, payload: payload.clone(), received_at: 0 }
}

fn deliver(tokio: &tokio::runtime::Runtime, events: u64) -> Result<(), Failure> {
    let runtime = tokio.block_on(runtime(false, 8))?;
    tokio.block_on(runtime.start())?;
    let payload = Bytes::from_static(b"12345678");
    for kind in ["silent", "answering"] {
        let spawned = runtime.spawn(kind, Identity::generate(), DaemonHostConfig::default());
        let origin = tokio.block_on(spawned)?.origin_hash;
        for part in 0..6 {
            let begun = Instant::now();
            for sequence in 0..events {
                runtime.deliver(origin, &event(origin, part * events + sequence + 1, &payload))?;
            }
            let nanos = begun.elapsed().as_nanos() as f64 / events as f64;
            // The first part warms up.
            if part > 0 {
                println!("figure deliver-{kind} {nanos:.1}");
            }
        }
    }
    Ok(())
}

fn migrations(
    tokio: &tokio::runtime::Runtime,
    bytes: usize,
    moves: usize,
    rate: u32,
    wide: bool,
) -> Result<(), Failure> {
    for _ in 0..moves {
        match tokio.block_on(migration(bytes, rate, wide)) {
            Ok(moved) => println!(
                "figure move {} {} {} {} {}",
                moved.nanos, moved.gap, moved.calm, moved.lost, moved.status
            ),
            Err(error) => {
                println!("figure move 0 0 0 0 failed:{}", error.to_string().replace(' ', "_"))
            }
        }
    }
    Ok(())
}

/// One migration.
struct Moved {
    nanos: u128,
    /// The longest time between two events that were accepted, around it and before it.
    gap: u128,
    calm: u128,
    /// Events that were accepted and are not in the state.
    lost: i64,
    status: &'static str,
}

async fn migration(bytes: usize, rate: u32, wide: bool) -> Result<Moved, Failure> {
    let (source, target) = (runtime(wide, bytes).await?, runtime(wide, bytes).await?);
    shake_hands(source.mesh(), target.mesh()).await?;
    for runtime in [&source, &target] {
        runtime.start().await?;
        runtime.mesh().start()?;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let identity = Identity::generate();
    let origin = identity.keypair().origin_hash();
    source.spawn("answering", identity, DaemonHostConfig::default()).await?;
    target.expect_migration("answering", origin, DaemonHostConfig::default())?;
    let client = Client::start(&source, &target, origin, rate);
    tokio::time::sleep(CALM).await;
    let begun = Instant::now();
    let nodes = (source.mesh().inner().node_id(), target.mesh().inner().node_id());
    // Not waited for by its own means, which look every 50 ms.
    let _handle = source.start_migration(origin, nodes.0, nodes.1).await?;
    let mut status = "stalled";
    while begun.elapsed() < PATIENCE {
        if source.migration_phase(origin).is_none() {
            status = if target.daemon_count() == 1 { "moved" } else { "failed" };
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let ended = Instant::now();
    tokio::time::sleep(AFTERMATH).await;
    let accepted = client.stop()?;
    let answer = target.deliver(origin, &event(origin, u64::MAX / 2, &Bytes::from_static(b"?")));
    let count = answer.ok().and_then(|outputs| {
        let payload = outputs.first()?.payload.clone();
        Some(i64::from_le_bytes(payload[..].try_into().ok()?) - 1)
    });
    let lost = match (status, count) {
        ("moved", Some(count)) => i64::try_from(accepted.len())? - count,
        _ => 0,
    };
    source.shutdown().await?;
    target.shutdown().await?;
    Ok(Moved {
        nanos: (ended - begun).as_nanos(),
        gap: longest(&accepted, begun, ended + AFTERMATH),
        calm: longest(&accepted, begun - CALM, begun),
        lost,
        status,
    })
}

fn longest(accepted: &[Instant], from: Instant, to: Instant) -> u128 {
    let touching = accepted.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
    touching.map(|pair| (pair[1] - pair[0]).as_nanos()).max().unwrap_or(0)
}

async fn shake_hands(near: &Mesh, far: &Mesh) -> Result<(), Failure> {
    let (near, far) = (near.inner(), far.inner());
    let (address, key, node) = (far.local_addr(), *far.public_key(), far.node_id());
    let (accepted, connected) = tokio::join!(far.accept(near.node_id()), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        near.connect(address, &key, node).await
    });
    accepted?;
    connected?;
    Ok(())
}

/// Sends at a fixed rate to the source until it refuses, then to the target.
struct Client {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Instant>>,
}

impl Client {
    fn start(source: &DaemonRuntime, target: &DaemonRuntime, origin: u64, rate: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, source, target) = (Arc::clone(&over), source.clone(), target.clone());
        let thread = std::thread::spawn(move || {
            let payload = Bytes::from_static(b"12345678");
            let (mut accepted, mut due) = (Vec::new(), Instant::now());
            for sequence in 1.. {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                if let Some(rest) = due.checked_duration_since(Instant::now()) {
                    std::thread::sleep(rest);
                }
                due += Duration::from_secs(1) / rate;
                let event = event(origin, sequence, &payload);
                while source.deliver(origin, &event).is_err()
                    && target.deliver(origin, &event).is_err()
                {
                    if ended.load(Ordering::Acquire) {
                        return accepted;
                    }
                    std::thread::yield_now();
                }
                accepted.push(Instant::now());
            }
            accepted
        });
        Self { over, thread }
    }

    fn stop(self) -> Result<Vec<Instant>, Failure> {
        self.over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| "the client panicked".into())
    }
}
