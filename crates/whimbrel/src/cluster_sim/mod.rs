//! Decides what is shown by moving programs that run: real node processes, programs that are stopped
//! in the middle of loops and calls, and a comparison with a run that nobody disturbed.
//!
//! Compared are the output byte by byte, the exit code, the digest of the whole state at the end and
//! those of the memories, and how often each side effect happened: each program sends one event for
//! each round to a `kv`, which counts them by key.
//!
//! * `compare`: the run that nobody disturbed, and what differs from it;
//! * `steal`: many programs on one node, and how soon all nodes together are done with them.

mod compare;
mod steal;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use whimbrel::isolate::daemon::{Beginnings, Founding, Isolate, Library, Life};
use whimbrel::runtime::admin::AdminClient;
use whimbrel::runtime::admin::words::{Ask, Birth, Done, Payload, daemon_of};
use whimbrel::{EntityId, NodeKey};
use whimbrel_trial::Dice;

use self::compare::{Ended, compare, undisturbed};
use crate::demo::cluster::Cluster;
use crate::failure::UNSUCCESSFUL;
use crate::output::{complain, say};
use crate::run::Standing;

const WORKER: &str = include_str!("../../../../examples/guests/worker.wat");

/// How long the programs may take after the last move.
const END_MAX: Duration = Duration::from_secs(600);

/// What is simulated.
#[derive(Args, Debug)]
pub(crate) struct ClusterSimWords {
    /// How many nodes; 3, or 4 with --steal.
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: Option<u8>,
    /// How many programs; 3, or 1,000 with --steal.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    isolates: Option<u16>,
    /// How many moves of programs that are running.
    #[arg(long, default_value = "12")]
    moves: u32,
    /// Rounds of each program: about 5 ms of work each.
    #[arg(long, default_value = "2500")]
    rounds: u32,
    /// Where chance begins; printed, to be given again.
    #[arg(long)]
    seed: Option<u64>,
    /// Let programs that arrive begin anew, to see that the comparison can fail.
    #[arg(long, hide = true)]
    resume_at_start: bool,
    #[command(flatten)]
    steal: steal::StealWords,
}

/// A program, and what becomes of it.
struct Worker {
    name: String,
    daemon: String,
    node: usize,
    moves: u32,
}

pub(crate) async fn run(words: ClusterSimWords) -> Result<ExitCode> {
    if words.steal.is_asked_for() {
        return steal::run(&words).await;
    }
    let (nodes, isolates) = (words.nodes.unwrap_or(3), words.isolates.unwrap_or(3));
    let seed = match words.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("the system gives no random bytes")?,
    };
    let mut dice = Dice::new(seed);
    let mut cluster = Cluster::prepare(usize::from(nodes))?;
    if words.resume_at_start {
        cluster.nodes.iter_mut().for_each(|node| node.words.push("--resume-at-start".to_owned()));
    }
    // Nobody sends but the programs themselves; the place of the clients stays empty.
    let nobody = NodeKey::from_seed(&[1; 32]).public();
    cluster.start(nobody, SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).await?;
    complain(&format!("{nodes} nodes, chance from --seed {seed}"));
    let kv = spawn(&cluster, 0, whimbrel::Kv::NAME, None).await?;
    let ledger = daemon_of(&kv).context("a node named no daemon")?;
    let module = wat::parse_str(WORKER).context("the module of the programs is broken")?;
    let mut workers = Vec::new();
    for number in 0..isolates {
        let name = format!("worker{number:02}");
        let given = given(&module, &ledger, &name, words.rounds);
        let node = dice.below(cluster.nodes.len());
        let daemon = spawn(&cluster, node, Isolate::NAME, Some(Payload::of(&given))).await?;
        workers.push(Worker { name, daemon, node, moves: 0 });
    }
    let made = moves(&cluster, &mut workers, &mut dice, words.moves).await?;
    complain(&format!("{made} moves of running programs; waiting for their ends"));
    let mut differences = u32::from(made < words.moves);
    if made < words.moves {
        say(&format!(
            "only {made} of {} moves were made while programs ran: try more --rounds",
            words.moves
        ));
    }
    let effects = ended_effects(&cluster, &workers, &kv, words.rounds).await?;
    let library = Arc::new(Library::default());
    for worker in &workers {
        let mut admin = cluster.nodes[0].admin().await?;
        let ended = ended(&mut admin, &worker.name, &worker.daemon, &effects).await?;
        let given = given(&module, &ledger, &worker.name, words.rounds);
        let library = Arc::clone(&library);
        let undisturbed =
            tokio::task::spawn_blocking(move || undisturbed(&library, &given)).await??;
        let told = compare(&worker.name, &ended, &undisturbed);
        differences += told.len() as u32;
        let verdict = if told.is_empty() { "equal".to_owned() } else { told.join("; ") };
        say(&format!(
            "{}: {} moves, {} bytes of output, {} effects, exit {}: {verdict}",
            worker.name,
            worker.moves,
            ended.out.len(),
            ended.effects.values().sum::<u64>(),
            ended.code,
        ));
    }
    say(&format!("{made} moves, {differences} differences"));
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}

/// What a program is given.
fn given(module: &[u8], ledger: &EntityId, name: &str, rounds: u32) -> Vec<u8> {
    let file = [ledger.as_bytes(), name.as_bytes(), &rounds.to_le_bytes()].concat();
    given_file(module, name, file)
}

/// What a program is given that finds all it has to know in a file.
fn given_file(module: &[u8], name: &str, file: Vec<u8>) -> Vec<u8> {
    let beginnings = Beginnings {
        args: vec![name.to_owned()],
        files: vec![("ledger".to_owned(), file)],
        seed: Some([7; 32]),
        waits: true,
        ..Beginnings::default()
    };
    let founding = Founding { life: Some(Life::Program), beginnings, ..Founding::default() };
    [founding.in_front(), module.to_vec()].concat()
}

async fn spawn(
    cluster: &Cluster,
    node: usize,
    kind: &str,
    given: Option<Payload>,
) -> Result<String> {
    let (kind, birth) = (kind.to_owned(), Birth::default());
    let ask = Ask::Spawn { kind, birth, given, file: None };
    let Done::Daemon(line) = cluster.nodes[node].admin().await?.ask(ask).await? else {
        bail!("a node answered something else");
    };
    Ok(line.daemon)
}

/// Asks a daemon wherever it lives; what it answers, or why it declines.
async fn ask(
    admin: &mut AdminClient,
    daemon: &str,
    said: &str,
) -> Result<Result<Vec<Vec<u8>>, String>> {
    let ask = Ask::Send { daemon: daemon.to_owned(), payload: Payload::of(said.as_bytes()) };
    let Done::Answered { outputs, declined } = admin.ask(ask).await? else {
        bail!("a node answered something else");
    };
    Ok(match declined {
        Some(why) => Err(why),
        None => Ok(outputs.iter().filter_map(Payload::bytes).map(Vec::from).collect()),
    })
}

async fn standing(admin: &mut AdminClient, daemon: &str) -> Result<Standing> {
    let answer = ask(admin, daemon, "?status").await?.map_err(anyhow::Error::msg)?;
    let first = answer.first().context("a program said nothing")?;
    serde_json::from_slice(first).context("a program said something else")
}

/// Moves programs that run, one after the other; gives how many moves there were.
async fn moves(
    cluster: &Cluster,
    workers: &mut [Worker],
    dice: &mut Dice,
    wanted: u32,
) -> Result<u32> {
    let mut admin = cluster.nodes[0].admin().await?;
    let mut made = 0;
    while made < wanted {
        let chosen = dice.below(workers.len());
        let mut running = None;
        for at in 0..workers.len() {
            let at = (chosen + at) % workers.len();
            let state = standing(&mut admin, &workers[at].daemon).await?.state;
            if state == "running" || state == "ready" {
                running = Some(at);
                break;
            }
        }
        let Some(at) = running else { break };
        let worker = &mut workers[at];
        let step = 1 + dice.below(cluster.nodes.len() - 1);
        let to = (worker.node + step) % cluster.nodes.len();
        let migrate = Ask::Migrate {
            daemon: worker.daemon.clone(),
            to: Some(cluster.nodes[to].name.clone()),
            transport_identity: true,
            freeze_and_copy: dice.below(4) == 0,
            watch: false,
            terms: None,
        };
        admin.ask(migrate).await.with_context(|| format!("could not move {}", worker.name))?;
        worker.node = to;
        worker.moves += 1;
        made += 1;
    }
    Ok(made)
}

/// Waits until all programs are over and the effects of all have arrived.
async fn ended_effects(
    cluster: &Cluster,
    workers: &[Worker],
    kv: &str,
    rounds: u32,
) -> Result<BTreeMap<String, u64>> {
    let mut admin = cluster.nodes[0].admin().await?;
    let begun = Instant::now();
    for worker in workers {
        loop {
            let state = standing(&mut admin, &worker.daemon).await?.state;
            if state == "exited" || state == "trapped" {
                break;
            }
            drop(ask(&mut admin, &worker.daemon, "take 0 0").await?);
            if begun.elapsed() > END_MAX {
                bail!("{} did not end in time: it is {state}", worker.name);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let wanted = workers.len() * rounds as usize;
    loop {
        let effects = scan(&mut admin, kv, "worker").await?;
        if effects.len() >= wanted || begun.elapsed() > END_MAX {
            return Ok(effects);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that a `kv` counts.
async fn scan(admin: &mut AdminClient, kv: &str, prefix: &str) -> Result<BTreeMap<String, u64>> {
    let (mut all, mut from) = (BTreeMap::new(), String::new());
    loop {
        let said = format!("scan {prefix} 1000 {from}");
        let page = ask(admin, kv, said.trim_end()).await?.map_err(anyhow::Error::msg)?;
        let page = page.first().map(|page| String::from_utf8_lossy(page).into_owned());
        let mut next = None;
        for line in page.unwrap_or_default().lines() {
            match (line.strip_prefix("… from "), line.rsplit_once(' ')) {
                (Some(key), _) => next = Some(key.to_owned()),
                (None, Some((key, count))) => {
                    all.insert(key.to_owned(), count.parse().unwrap_or(u64::MAX));
                }
                (None, None) => {}
            }
        }
        match next {
            Some(key) => from = key,
            None => return Ok(all),
        }
    }
}

/// How a program ended, as the nodes have it.
async fn ended(
    admin: &mut AdminClient,
    name: &str,
    daemon: &str,
    effects: &BTreeMap<String, u64>,
) -> Result<Ended> {
    let mut out = Vec::new();
    let code = loop {
        let said = format!("take {} 0", out.len());
        let answer = ask(admin, daemon, &said).await?.map_err(anyhow::Error::msg)?;
        let first = answer.first().context("a program said nothing")?;
        let standing: Standing = serde_json::from_slice(first)?;
        if standing.out[1] == 0 {
            break standing.code;
        }
        out.extend_from_slice(answer.get(1).context("output is missing")?);
    };
    let answer = ask(admin, daemon, "?hashes").await?.map_err(anyhow::Error::msg)?;
    let hashes = String::from_utf8_lossy(answer.first().map_or(&[], Vec::as_slice)).into_owned();
    let own = effects.iter().filter(|(key, _)| key.starts_with(name));
    Ok(Ended {
        code,
        out,
        hashes,
        effects: own.map(|(key, count)| (key.clone(), *count)).collect(),
    })
}
