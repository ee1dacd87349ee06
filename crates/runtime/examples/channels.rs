//! Publishes on many channels to many daemons while half of them move at random, and prints the ledger:
//! what every subscriber heard against what its publisher said.
//!
//! All nodes run in this process, durable, linked over the loopback. Each subscriber listens to one channel and
//! hears all of it. The program ends with an error if one of them has a gap, a double or another digest, or if an
//! event was sent on to another node more than twice.
//!
//! `cargo run --release -p whimbrel-runtime --example channels [messages] [channels] [subscribers] [nodes]`;
//! 100,000 messages on 100 channels to 1,000 subscribers on 4 nodes unless told otherwise.
#![allow(clippy::print_stdout, reason = "a ledger is for reading")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use whimbrel_daemon::fakes::{Ear, Herald, Run};
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{
    DaemonHostConfig, DaemonRuntime, FORWARDS_COUNTED, Mesh, MeshConfig, MigrationOpts,
    SubscribeOptions,
};
use whimbrel_wire::{ChannelName, EntityId, Identity, NodeId, NodeKey, SubscriptionBinding};

/// Messages of one publisher that are under way at a time.
const WINDOW: usize = 16;

/// Moves under way at a time.
const MOVES_MAX: usize = 8;

/// How often an event may be sent on to another node until it is taken.
const FORWARDS_MAX: usize = 2;

/// Calls under way at a time while the stage is set and read.
const CALLS_MAX: usize = 64;

type Failure = Box<dyn Error + Send + Sync>;

/// How much of everything.
#[derive(Clone, Copy)]
struct Size {
    messages: usize,
    channels: usize,
    subscribers: usize,
    nodes: usize,
}

/// All nodes, and who lives on them.
#[derive(Clone)]
struct Stage {
    nodes: Arc<Vec<DaemonRuntime>>,
    heralds: Arc<Vec<EntityId>>,
    ears: Arc<Vec<EntityId>>,
}

/// How often events were sent on, at all nodes.
#[derive(Default)]
struct Routes {
    delivered: [u64; FORWARDS_COUNTED + 1],
    untold: u64,
}

/// What the ears have written down, against what the heralds have.
#[derive(Default)]
struct Ledger {
    heard: u64,
    gaps: u64,
    doubles: u64,
    missed: u64,
    begun_anew: u64,
    other_digests: u64,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let mut word = |usual| words.next().unwrap_or(Ok(usual));
    let size = Size {
        messages: word(100_000)?,
        channels: word(100)?,
        subscribers: word(1_000)?,
        nodes: word(4)?.max(2),
    };
    let folders: Vec<TempDir> =
        (0..size.nodes).map(|_| tempfile::tempdir()).collect::<Result<_, _>>()?;
    let began = Instant::now();
    let stage = Stage::set(size, &folders).await?;
    println!("set up in {:.1} s: {} subscriptions", seconds(began), size.subscribers);
    let began = Instant::now();
    let talking = Arc::new(AtomicBool::new(true));
    let moving = tokio::spawn(stage.clone().move_half(Arc::clone(&talking)));
    stage.speak(size).await?;
    println!("said {} messages in {:.1} s", size.messages, seconds(began));
    talking.store(false, Ordering::Release);
    let (asked, moved, longest) = moving.await??;
    let ledger = stage.read(size).await?;
    let wanted = (size.messages / size.channels * size.subscribers) as u64;
    println!("heard {} of {wanted} in {:.1} s", ledger.heard, seconds(began));
    println!("moves {moved} of {asked}, longest {longest:.1} s, {MOVES_MAX} at a time");
    let Ledger { heard, gaps, doubles, missed, begun_anew, other_digests } = ledger;
    println!(
        "gaps {gaps}, doubles {doubles}, missed {missed}, begun anew {begun_anew}, other digests {other_digests}"
    );
    let routes = stage.routes();
    println!("events by how often they were sent on: {routes}");
    for node in stage.nodes.iter() {
        node.shutdown().await?;
    }
    let clean = gaps + doubles + missed + begun_anew + other_digests == 0 && routes.is_repaired();
    Ok(if clean && heard == wanted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn channel(index: usize) -> Result<ChannelName, Failure> {
    Ok(ChannelName::new(format!("channel-{index}"))?)
}

fn seed(role: u8, index: usize) -> [u8; 32] {
    let mut seed = [role; 32];
    seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
    seed
}

/// Does all of them, [`CALLS_MAX`] at a time.
async fn all<T: Send + 'static, F>(calls: impl Iterator<Item = F>) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    for call in calls {
        if running.len() >= CALLS_MAX
            && let Some(result) = running.join_next().await
        {
            results.push(result??);
        }
        running.spawn(call);
    }
    while let Some(result) = running.join_next().await {
        results.push(result??);
    }
    Ok(results)
}

impl Routes {
    fn is_repaired(&self) -> bool {
        self.untold == 0 && self.delivered[FORWARDS_MAX + 1..].iter().all(|&count| count == 0)
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (forwards, count) in self.delivered.iter().enumerate().filter(|(_, count)| **count > 0)
        {
            write!(f, "{forwards}: {count}, ")?;
        }
        write!(f, "not followed: {}", self.untold)
    }
}

impl Stage {
    fn routes(&self) -> Routes {
        let mut routes = Routes::default();
        for node in self.nodes.iter() {
            let here = node.mesh().route_statistics();
            routes.untold += here.untold;
            routes.delivered.iter_mut().zip(here.delivered).for_each(|(sum, count)| *sum += count);
        }
        routes
    }

    async fn set(size: Size, folders: &[TempDir]) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for (index, folder) in folders.iter().enumerate() {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut config = MeshConfig::new(NodeKey::from_seed(&seed(1, index)), listen);
            config.data = Some(folder.path().to_owned());
            let node = DaemonRuntime::new(Mesh::open(config).await?);
            node.register_factory(Herald::NAME, || Box::new(Herald::default()))?;
            node.register_factory(Ear::NAME, || Box::new(Ear::default()))?;
            nodes.push(node);
        }
        for node in &nodes {
            for other in &nodes {
                let mesh = other.mesh();
                let member =
                    Member { key: mesh.public_key(), addresses: vec![mesh.local_address()] };
                node.mesh().members().insert(member);
            }
            node.start().await?;
        }
        let heralds = spawn(&nodes, Herald::NAME, 2, size.channels).await?;
        let ears = spawn(&nodes, Ear::NAME, 3, size.subscribers).await?;
        let stage =
            Self { nodes: Arc::new(nodes), heralds: Arc::new(heralds), ears: Arc::new(ears) };
        stage.subscribe(size).await?;
        Ok(stage)
    }

    async fn subscribe(&self, size: Size) -> Result<(), Failure> {
        for (index, herald) in self.heralds.iter().enumerate() {
            let node = &self.nodes[index % size.nodes];
            node.open_channel(herald.origin_hash(), channel(index)?, 0).await?;
        }
        let calls = self.ears.iter().enumerate().map(|(index, ear)| {
            let node = self.nodes[index % size.nodes].clone();
            let (origin, herald) = (ear.origin_hash(), self.heralds[index % size.channels]);
            async move {
                let (channel, options) =
                    (channel(index % size.channels)?, SubscribeOptions::default());
                Ok(node.subscribe_channel(origin, herald, channel, options).await?)
            }
        });
        all(calls).await.map(drop)
    }

    /// Every publisher says its share, told by a client on another node than its own.
    async fn speak(&self, size: Size) -> Result<(), Failure> {
        let share = size.messages / size.channels;
        let mut speakers = JoinSet::new();
        for (index, herald) in self.heralds.iter().copied().enumerate() {
            let client = self.nodes[(index + 1) % size.nodes].client();
            let name = channel(index)?;
            speakers.spawn(async move {
                let mut under_way = std::collections::VecDeque::new();
                for message in 0..share {
                    let payload = Herald::say(&name, &format!("message {message} of {name}"));
                    under_way.push_back(client.send(herald, payload));
                    if under_way.len() >= WINDOW
                        && let Some(oldest) = under_way.pop_front()
                    {
                        oldest.await?;
                    }
                }
                for sent in under_way {
                    sent.await?;
                }
                Ok::<(), Failure>(())
            });
        }
        while let Some(spoken) = speakers.join_next().await {
            spoken??;
        }
        Ok(())
    }

    /// Half of the subscribers move, each to a node drawn at random, again and again while there is talk, and
    /// each at least once. Gives how many moves were asked for, how many ended well, and the longest.
    async fn move_half(self, talking: Arc<AtomicBool>) -> Result<(usize, usize, f64), Failure> {
        let (room, moved) = (Arc::new(Semaphore::new(MOVES_MAX)), Arc::new(AtomicUsize::new(0)));
        let (mut moves, mut asked, mut longest) = (JoinSet::new(), 0, 0_f64);
        let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
        let movers: Vec<EntityId> = self.ears.iter().copied().step_by(2).collect();
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.mesh().node_id()).collect();
        while asked < movers.len() || talking.load(Ordering::Acquire) {
            let permit = Arc::clone(&room).acquire_owned().await?;
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = usize::try_from(dice >> 33)?;
            let (ear, orchestrator) =
                (movers[asked % movers.len()], self.nodes[draw % ids.len()].clone());
            let place = draw / ids.len() % ids.len();
            let (target, other) = (ids[place], ids[(place + 1) % ids.len()]);
            let moved = Arc::clone(&moved);
            asked += 1;
            moves.spawn(async move {
                let began = Instant::now();
                // A node that has it already is no target: the next one is.
                let here = orchestrator.find(ear).await?;
                let target = if here == target { other } else { target };
                let moving = orchestrator.migrate(ear, target, MigrationOpts::default()).await?;
                let ended = moving.wait_with_timeout(Duration::from_secs(120)).await;
                moved.fetch_add(usize::from(ended.is_ok()), Ordering::Relaxed);
                if let Err(error) = ended {
                    println!("{ear}: {error}");
                }
                drop(permit);
                Ok::<f64, Failure>(seconds(began))
            });
        }
        while let Some(took) = moves.join_next().await {
            longest = longest.max(took??);
        }
        Ok((asked, moved.load(Ordering::Relaxed), longest))
    }

    /// Waits until everybody has heard everything, and compares.
    async fn read(&self, size: Size) -> Result<Ledger, Failure> {
        let mut said = BTreeMap::new();
        for (index, herald) in self.heralds.iter().enumerate() {
            let answer = self.nodes[0].send(*herald, Bytes::from_static(b"?")).await?;
            let answer = answer.outputs.first().map(|event| event.payload.clone());
            let herald_said = Herald::read(&answer.unwrap_or_default())?;
            said.insert(index, herald_said.said.get(&channel(index)?).cloned().unwrap_or_default());
        }
        let said: Arc<BTreeMap<usize, Run>> = Arc::new(said);
        let calls = self.ears.iter().copied().enumerate().map(|(index, ear)| {
            let (node, said) = (self.nodes[index % size.nodes].clone(), Arc::clone(&said));
            let publisher = self.heralds[index % size.channels];
            async move {
                let run = &said[&(index % size.channels)];
                let binding =
                    SubscriptionBinding { publisher, channel: channel(index % size.channels)? };
                let mut pause = tokio::time::interval(Duration::from_millis(100));
                let until = Instant::now() + Duration::from_secs(300);
                loop {
                    pause.tick().await;
                    let answer = node.send(ear, Bytes::from_static(b"?")).await?;
                    let answer = answer.outputs.first().map(|event| event.payload.clone());
                    let heard = Ear::read(&answer.unwrap_or_default())?.heard;
                    let heard = heard.get(&binding).cloned().unwrap_or_default();
                    if heard.run.count >= run.count || Instant::now() > until {
                        return Ok((heard.run == *run, heard));
                    }
                }
            }
        });
        let mut ledger = Ledger::default();
        for (same, heard) in all(calls).await? {
            ledger.heard += heard.run.count;
            ledger.gaps += heard.gaps;
            ledger.doubles += heard.doubles;
            ledger.missed += heard.missed;
            ledger.begun_anew += heard.begun.saturating_sub(1);
            ledger.other_digests += u64::from(!same);
        }
        Ok(ledger)
    }
}

/// So many daemons of a kind, spread over the nodes.
async fn spawn(
    nodes: &[DaemonRuntime],
    kind: &'static str,
    role: u8,
    count: usize,
) -> Result<Vec<EntityId>, Failure> {
    let identity = |index| Identity::from_seed(&seed(role, index));
    let calls = (0..count).map(|index| {
        let (node, identity) = (nodes[index % nodes.len()].clone(), identity(index));
        async move {
            let spawned = node.spawn(kind, identity, DaemonHostConfig::default()).await?;
            Ok(spawned.entity_id())
        }
    });
    all(calls).await?;
    Ok((0..count).map(|index| identity(index).entity_id()).collect())
}
