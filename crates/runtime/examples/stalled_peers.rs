//! What a thousand stalled members and a thousand half-open handshakes cost a node, and whether it goes on
//! with its moves.
//!
//! `cargo run --release -p whimbrel-runtime --example stalled_peers [count]`
//!
//! Two nodes in this process move a daemon to and fro; the peers that stall are in a child process, so that
//! the memory which is printed is that of the nodes. Exit 1 if a move fails or memory grows beyond
//! `GROWTH_MAX` for each stalled peer.
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

#[path = "../tests/stage/stallers.rs"]
mod stallers;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stallers::{HalfOpen, Stalled};
use whimbrel_daemon::kinds::native_kinds;
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{DaemonHostConfig, DaemonRuntime, Mesh, MeshConfig, MigrationOpts};
use whimbrel_wire::{EntityId, Identity, NodeKey, PublicKey};

/// Bytes of memory for each stalled peer: its connection, its lane, its log.
const GROWTH_MAX: u64 = 256 * 1024;

/// Moves that are measured, before and under the attack.
const MOVES: usize = 40;

/// How long one move may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match words.get(1).map(String::as_str) {
        Some("attack") => runtime.block_on(attack(&words[2], &words[3], words[4].parse()?)),
        count => runtime.block_on(defend(count.unwrap_or("1000").parse()?)),
    }
}

/// The peers that stall. Says how far it is, and ends with its standard input.
async fn attack(address: &str, key: &str, count: u32) -> Outcome<()> {
    let address: SocketAddr = address.parse()?;
    let (key, begun) = (PublicKey::parse(key).ok_or("no key")?, Instant::now());
    let mut stalled = Stalled::none()?;
    for number in 0..count {
        stalled.add(number, key, address).await;
    }
    println!("{} members stall, after {:?}", stalled.standing(), begun.elapsed());
    let half_open = HalfOpen::start(count, key, address).await?;
    println!("{count} handshakes are begun and begun again");
    let mut line = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await??;
    drop(half_open);
    println!("{} members stalled to the end", stalled.standing());
    Ok(())
}

struct Node {
    mesh: Arc<Mesh>,
    runtime: DaemonRuntime,
}

async fn node(seed: u8) -> Outcome<Node> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mesh = Mesh::open(MeshConfig::new(NodeKey::from_seed(&[seed; 32]), listen)).await?;
    let runtime = DaemonRuntime::new(Arc::clone(&mesh));
    for (kind, factory) in native_kinds() {
        runtime.register_factory(kind, factory)?;
    }
    runtime.start().await?;
    Ok(Node { mesh, runtime })
}

async fn defend(count: u32) -> Outcome<()> {
    let (a, b) = (node(1).await?, node(2).await?);
    for (one, other) in [(&a, &b), (&b, &a)] {
        let addresses = vec![other.mesh.local_address()];
        one.mesh.members().insert(Member { key: other.mesh.public_key(), addresses });
    }
    for number in 0..count {
        let key = stallers::key(number).public();
        a.mesh.members().insert(Member { key, addresses: Vec::new() });
    }
    let entity = a
        .runtime
        .spawn("kv", Identity::from_seed(&[3; 32]), DaemonHostConfig::default())
        .await?
        .entity_id();
    println!("before: {}", moves(&a, &b, entity).await?);
    let before = resident()?;
    println!("memory: {} KiB", before / 1024);

    let mut child = Command::new(std::env::current_exe()?)
        .arg("attack")
        .args([a.mesh.local_address().to_string(), a.mesh.public_key().to_string()])
        .arg(count.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    for _ in 0..2 {
        println!("{}", said.next().ok_or("the peers ended")??);
    }
    // bounded wait: by itself; what the sockets hold by then is part of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("under it: {}", moves(&a, &b, entity).await?);
    let after = resident()?;
    let each = after.saturating_sub(before) / u64::from(count.max(1));
    println!("memory: {} KiB, {each} bytes more for each stalled member", after / 1024);
    println!("callers: {:?}", a.mesh.handshakes().ok_or("no links")?);
    drop(child.stdin.take());
    println!("{}", said.next().ok_or("the peers ended")??);
    child.wait()?;
    if each > GROWTH_MAX {
        return Err(format!("more than {GROWTH_MAX} bytes for each").into());
    }
    Ok(())
}

/// Moves it to and fro; says how long that took.
async fn moves(a: &Node, b: &Node, entity: EntityId) -> Outcome<String> {
    let mut times = Vec::new();
    for number in 0..MOVES {
        let target = if number % 2 == 0 { b } else { a };
        let begun = Instant::now();
        let options = MigrationOpts::default();
        let moving = a.runtime.migrate(entity, target.mesh.node_id(), options).await?;
        moving.wait_with_timeout(PATIENCE).await?;
        times.push(begun.elapsed());
        a.runtime.send(entity, format!("put k{number} 1").into()).await?;
    }
    times.sort();
    let (median, longest) = (times[MOVES / 2], times[MOVES - 1]);
    Ok(format!("{MOVES} of {MOVES} moves, p50 {median:.1?}, longest {longest:.1?}"))
}

/// Bytes of this process that are in memory.
fn resident() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).ok_or("no statm")?.parse()?;
    Ok(pages * 4096)
}
