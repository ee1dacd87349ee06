//! Decides what is shown of work that is shared out: many programs that all begin on one node, nodes that
//! take work from it, and how soon all are done, held against what the nodes could do at best.
//!
//! Each node is held to a number of looks in a second, so that a few processors can play many nodes: a
//! thread that made a slice sleeps until the slice is over at that speed. The best is all looks that the programs
//! made, divided by the looks that all nodes may make in a second; the time counts from before the first program is
//! begun. What moves cost is not slowed down, as little as the disk and the network are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::task::JoinSet;
use whimbrel::isolate::daemon::{Isolate, Library};
use whimbrel::runtime::admin::words::{Ask, Birth, DaemonLine, Done, Part, Payload, daemon_of};
use whimbrel::{EntityId, NodeKey};

use super::{ClusterSimWords, compare, ended, given_file, scan, spawn, undisturbed};
use crate::demo::cluster::Cluster;
use crate::failure::UNSUCCESSFUL;
use crate::output::{complain, say};

const TASK: &str = include_str!("../../../../examples/guests/task.wat");

/// Rounds of each program.
const ROUNDS: u32 = 4;

/// How much longer than at best it may take, in hundredths.
const PERCENT_MAX: u128 = 115;

/// How often the nodes are asked what became of the programs.
const POLL: Duration = Duration::from_millis(250);

/// Polls between two lines about how it goes.
const LINE_EVERY: u32 = 20;

/// How long all may take.
const ALL_MAX: Duration = Duration::from_secs(1_200);

/// Connections that begin programs, and later ask for their ends.
const CONNECTIONS: usize = 8;

/// The node that is killed.
const VICTIM: usize = 1;

/// How long it is gone.
const GONE: Duration = Duration::from_secs(1);

/// What is simulated.
#[derive(Args, Debug)]
pub(super) struct StealWords {
    /// Begin all programs on one node, let the others take of them, and hold how long all take together against
    /// the best.
    #[arg(long)]
    steal: bool,
    /// As --steal, but no node takes anything from another: then it has to fail.
    #[arg(long)]
    alone: bool,
    /// With --steal: kill a node in the middle and start it again. How long it takes is only told then.
    #[arg(long, requires = "steal")]
    kill: bool,
    /// Looks that each node may make in a second.
    #[arg(long, default_value = "80000000", value_parser = clap::value_parser!(u64).range(1_000_000..))]
    speed: u64,
    /// Looks of each program.
    #[arg(long, default_value = "16000000", value_parser = clap::value_parser!(u32).range(1_000..))]
    looks: u32,
}

impl StealWords {
    pub(super) fn is_asked_for(&self) -> bool {
        self.steal || self.alone
    }
}

/// A program.
struct Task {
    name: String,
    daemon: String,
}

/// What the nodes say.
#[derive(Default)]
struct Seen {
    /// Programs that ended: their looks, and how often they were moved.
    over: BTreeMap<String, (u64, u64)>,
    /// Programs that live on each node.
    lives: Vec<usize>,
}

pub(super) async fn run(words: &ClusterSimWords) -> Result<ExitCode> {
    let nodes = usize::from(words.nodes.unwrap_or(4));
    let count = words.isolates.unwrap_or(1_000);
    let mut cluster = Cluster::prepare(nodes)?;
    for node in &mut cluster.nodes {
        node.isolates.workers = Some(2);
        node.isolates.looks_per_second = Some(words.steal.speed);
        node.isolates.steals = !words.steal.alone;
    }
    let nobody = NodeKey::from_seed(&[1; 32]).public();
    cluster.start(nobody, SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).await?;
    let kv = spawn(&cluster, 0, whimbrel::Kv::NAME, None).await?;
    let ledger = daemon_of(&kv).context("a node named no daemon")?;
    let module = wat::parse_str(TASK).context("the module of the programs is broken")?;
    let given = Arc::new(Given { module, ledger, passes: words.steal.looks / ROUNDS });
    complain(&format!("{nodes} nodes, {count} programs that begin on the first"));
    let begun = Instant::now();
    let tasks = begin(&cluster, count, &given).await?;
    complain(&format!("all have begun after {:.1} s", begun.elapsed().as_secs_f64()));
    let best_guess = u64::from(count) * u64::from(words.steal.looks)
        / words.steal.speed.saturating_mul(nodes as u64).max(1);
    let kill_at = words.steal.kill.then(|| Duration::from_secs(best_guess / 2));
    let (took, seen) = wait(&mut cluster, &tasks, (begun, kill_at)).await?;
    let differences = differences(&cluster, &kv, &tasks, &given).await?;
    let is_in_time = told(words, nodes, took, &seen);
    say(&format!("{} programs, {differences} differences", tasks.len()));
    let good = differences == 0 && (is_in_time || words.steal.kill);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}

/// Says how long it took, and whether that is near enough to the best.
fn told(words: &ClusterSimWords, nodes: usize, took: Duration, seen: &Seen) -> bool {
    let looks: u64 = seen.over.values().map(|(looks, _)| looks).sum();
    let moves: u64 = seen.over.values().map(|(_, moves)| moves).sum();
    let speed = u128::from(words.steal.speed) * nodes as u128;
    let best = Duration::from_micros((u128::from(looks) * 1_000_000 / speed) as u64);
    let lived: Vec<String> = seen.lives.iter().map(usize::to_string).collect();
    say(&format!(
        "{looks} looks at {speed} in a second: at best {:.1} s, taken {:.1} s, {:.3} times as long; {moves} moves; \
         they ended on the nodes as {}",
        best.as_secs_f64(),
        took.as_secs_f64(),
        took.as_secs_f64() / best.as_secs_f64(),
        lived.join(" + ")
    ));
    took.as_micros() * 100 <= best.as_micros() * PERCENT_MAX
}

/// What all programs are given.
struct Given {
    module: Vec<u8>,
    ledger: EntityId,
    passes: u32,
}

impl Given {
    fn of(&self, name: &str) -> Vec<u8> {
        let numbers = [ROUNDS.to_le_bytes(), self.passes.to_le_bytes()].concat();
        let file = [self.ledger.as_bytes(), name.as_bytes(), &numbers].concat();
        given_file(&self.module, name, file)
    }
}

/// Begins all programs on the first node.
async fn begin(cluster: &Cluster, count: u16, given: &Arc<Given>) -> Result<Vec<Task>> {
    let mut going = JoinSet::new();
    for first in 0..CONNECTIONS {
        let (mut admin, given) = (cluster.nodes[0].admin().await?, Arc::clone(given));
        going.spawn(async move {
            let mut tasks = Vec::new();
            for number in (first..usize::from(count)).step_by(CONNECTIONS) {
                let name = format!("task{number:04}");
                let (kind, birth) = (Isolate::NAME.to_owned(), Birth::default());
                let given = Some(Payload::of(&given.of(&name)));
                let ask = Ask::Spawn { kind, birth, given, file: None };
                let Done::Daemon(line) = admin.ask(ask).await? else {
                    bail!("a node answered something else");
                };
                tasks.push(Task { name, daemon: line.daemon });
            }
            Ok(tasks)
        });
    }
    let mut tasks = Vec::new();
    while let Some(begun) = going.join_next().await {
        tasks.extend(begun??);
    }
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tasks)
}

/// Waits until all programs are over; how long that took since they began to be begun.
async fn wait(
    cluster: &mut Cluster,
    tasks: &[Task],
    (begun, mut kill_at): (Instant, Option<Duration>),
) -> Result<(Duration, Seen)> {
    let all: BTreeSet<&str> = tasks.iter().map(|task| task.daemon.as_str()).collect();
    let (mut seen, mut polls) = (Seen::default(), 0);
    loop {
        look(cluster, &all, &mut seen).await?;
        if seen.over.len() >= tasks.len() {
            return Ok((begun.elapsed(), seen));
        }
        if begun.elapsed() > ALL_MAX {
            bail!("only {} of {} programs ended in time", seen.over.len(), tasks.len());
        }
        if kill_at.is_some_and(|at| begun.elapsed() >= at) {
            kill_at = None;
            complain(&format!(
                "killed {} while {:?} lived",
                cluster.nodes[VICTIM].name, seen.lives
            ));
            cluster.nodes[VICTIM].kill();
            tokio::time::sleep(GONE).await;
            cluster.nodes[VICTIM].start()?;
            cluster.nodes[VICTIM].wait_until_ready().await?;
        }
        if polls % LINE_EVERY == 0 {
            let (seconds, over) = (begun.elapsed().as_secs_f64(), seen.over.len());
            complain(&format!("{seconds:6.1} s: {over} over, on the nodes {:?}", seen.lives));
        }
        polls += 1;
        tokio::time::sleep(POLL).await;
    }
}

/// Asks all nodes what lives there.
async fn look(cluster: &Cluster, all: &BTreeSet<&str>, seen: &mut Seen) -> Result<()> {
    seen.lives = Vec::new();
    for node in &cluster.nodes {
        let mut lines = Vec::new();
        let see = |part| {
            if let Part::Daemon(line) = part {
                lines.push(line);
            }
        };
        node.admin().await?.ask_with(Ask::Daemons {}, see).await?;
        let own = node.id.to_string();
        let here = |line: &DaemonLine| {
            all.contains(line.daemon.as_str()) && line.owner.as_ref() == Some(&own)
        };
        let mut lives = 0;
        for line in lines.into_iter().filter(here) {
            lives += 1;
            let ended = line.particulars.as_deref().and_then(looks_of_one_that_ended);
            if let Some(looks) = ended {
                let moves = line.epoch.unwrap_or(1).saturating_sub(1);
                seen.over.insert(line.daemon, (looks, moves));
            }
        }
        seen.lives.push(lives);
    }
    Ok(())
}

fn looks_of_one_that_ended(particulars: &str) -> Option<u64> {
    let rest =
        particulars.strip_prefix("exited, ").or_else(|| particulars.strip_prefix("trapped, "))?;
    rest.split(' ').next()?.parse().ok()
}

/// How many programs did not do what they should have, each effect once; says which.
async fn differences(
    cluster: &Cluster,
    kv: &str,
    tasks: &[Task],
    given: &Arc<Given>,
) -> Result<usize> {
    let mut admin = cluster.nodes[0].admin().await?;
    let begun = Instant::now();
    let effects = loop {
        let effects = scan(&mut admin, kv, "task").await?;
        if effects.len() >= tasks.len() * ROUNDS as usize || begun.elapsed() > super::END_MAX {
            break Arc::new(effects);
        }
        tokio::time::sleep(POLL).await;
    };
    let (library, mut going) = (Arc::new(Library::default()), JoinSet::new());
    for chunk in tasks.chunks(tasks.len().div_ceil(CONNECTIONS).max(1)) {
        let mut admin = cluster.nodes[0].admin().await?;
        let (effects, given, library) =
            (Arc::clone(&effects), Arc::clone(given), Arc::clone(&library));
        let chunk: Vec<(String, String)> =
            chunk.iter().map(|task| (task.name.clone(), task.daemon.clone())).collect();
        going.spawn(async move {
            let mut wrong = 0;
            for (name, daemon) in chunk {
                let ended = ended(&mut admin, &name, &daemon, &effects).await?;
                let (library, given) = (Arc::clone(&library), given.of(&name));
                let should =
                    tokio::task::spawn_blocking(move || undisturbed(&library, &given)).await??;
                let told = compare(&name, &ended, &should);
                if !told.is_empty() {
                    wrong += 1;
                    say(&format!("{name}: {}", told.join("; ")));
                }
            }
            Ok::<_, anyhow::Error>(wrong)
        });
    }
    let mut wrong = 0;
    while let Some(found) = going.join_next().await {
        wrong += found??;
    }
    Ok(wrong)
}
