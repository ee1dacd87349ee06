//! Decides the course of a trial: make everything, let clients send and daemons move, disturb,
//! stop disturbing, and judge.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use whimbrel::runtime::admin::words::{Ask, Done};
use whimbrel_trial::Dice;

use crate::board::Board;
use crate::client::{FeedLine, Order};
use crate::clients::{ClientKey, ClientProcess};
use crate::net::{self, Net, PREFIX};
use crate::nodes::{Nodes, Trap};
use crate::{Spoil, TrialWords, blows, mover, report, settle, stacks, weather};

/// How many nodes.
const NODES: usize = 4;

/// How many client processes.
const CLIENTS: usize = 2;

/// The daemons: name, whether it is a `tally`, and how much state it is given.
const DAEMONS: [(&str, bool, u64); 7] = [
    ("kv-1", false, 0),
    ("kv-64K", false, 64 << 10),
    ("kv-1M", false, 1 << 20),
    ("kv-8M", false, 8 << 20),
    ("kv-24M", false, 24 << 20),
    ("tally-1", true, 0),
    ("tally-2", true, 0),
];

/// How often it is said how far the clients are.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether all nodes live and answer.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long what disturbs may take to undo the last fault.
const UNDO_MAX: Duration = Duration::from_secs(120);

/// A daemon.
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) id: String,
}

/// What all tasks of a trial share.
pub(crate) struct Stage {
    pub(crate) board: Board,
    pub(crate) nodes: Nodes,
    pub(crate) daemons: Vec<Daemon>,
}

/// Whether faults are over.
#[derive(Clone)]
pub(crate) struct Over(watch::Receiver<bool>);

impl Over {
    pub(crate) fn is_over(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits so long, or until it is over.
    pub(crate) async fn rest(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, self.0.wait_for(|over| *over)).await;
    }
}

/// Plays a trial; leaves nothing behind, interrupted or not. True if nothing was wrong.
pub(crate) async fn run(words: TrialWords) -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
    tokio::select! {
        played = Box::pin(play(words)) => played,
        _ = terminate.recv() => anyhow::bail!("told to end"),
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
    }
}

async fn play(words: TrialWords) -> Result<bool> {
    net::sweep();
    let seed = words.seed.map_or_else(random_seed, Ok)?;
    let mut dice = Dice::new(seed);
    // Outlives the processes and disks in it: dropped last.
    let folder =
        tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir();
    let folder = folder.context("could not make a folder")?;
    let (mut net, spaces) = Net::make(NODES, CLIENTS, words.loopback, &mut dice).await?;
    let earlier = words.earlier.as_deref();
    let nodes = Nodes::prepare(folder.path(), &words.whimbrel, earlier, NODES, &net)?;
    println!(
        "seed {seed}: {NODES} nodes and {CLIENTS} clients {}, {} ways through relays, in {}",
        if net.has_spaces() { "in network namespaces" } else { "on the loopback" },
        net.relayed(),
        folder.path().display(),
    );
    let keys: Vec<ClientKey> = (0..CLIENTS).map(|at| ClientKey::new(at, &mut dice)).collect();
    let known: Vec<_> = keys.iter().map(|key| (key.name.clone(), key.public.clone())).collect();
    nodes.introduce(&known, &net, words.traces)?;
    for at in 0..NODES {
        nodes.start(at, Trap::default())?;
    }
    for at in 0..NODES {
        let is_ready = nodes.wait_until_ready(at).await?;
        anyhow::ensure!(is_ready, "a node ended: {}", nodes.all[at].last_words());
    }
    let mut clients = Vec::new();
    for (at, key) in keys.into_iter().enumerate() {
        let client = ClientProcess::start(key, NODES + at, &net, &nodes, folder.path()).await?;
        clients.push(client);
    }
    let mut daemons = Vec::new();
    for (at, (name, is_tally, _)) in DAEMONS.into_iter().enumerate() {
        let kind = if is_tally { whimbrel::Tally::NAME } else { whimbrel::Kv::NAME };
        daemons.push(Daemon { name, id: mover::spawn(&nodes, at, kind).await? });
    }
    give_feeds(&mut clients, &daemons, words.rate).await?;

    let stage = Arc::new(Stage { board: Board::new(), nodes, daemons });
    // Tasks that are cut off may hold the stage longer than this.
    let closing = Closing(Arc::clone(&stage));
    for client in &mut clients {
        client.tell(&Order::Go).await?;
    }
    let span = Duration::from_secs_f64(words.minutes.clamp(0.05, 60.0 * 24.0) * 60.0);
    let has_spaces = net.has_spaces();
    net = disturb(&stage, &mut clients, net, seed, span, words.spoil).await?;
    if words.spoil == Some(Spoil::Hang)
        && let Some(process) = stage.nodes.all[0].process()
    {
        stage.board.say("spoil  node a is stopped for ever");
        crate::system::signal(process, "STOP");
    }
    stage.board.say("the faults are over; everything must settle");
    let sheets = settle::judge(&stage, &mut clients, words.spoil).await;
    let is_clean = report::tell(&stage, &sheets, seed, span, has_spaces);
    // Networks go after the processes in them.
    drop(clients);
    if !is_clean {
        keep_logs(folder.path());
    }
    drop(closing);
    drop(net);
    drop(spaces);
    Ok(is_clean)
}

/// Ends all nodes when it is dropped.
struct Closing(Arc<Stage>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.nodes.close();
    }
}

fn random_seed() -> Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes))?;
    Ok(u64::from_le_bytes(bytes) >> 16)
}

/// Copies the logs to where they stay.
fn keep_logs(folder: &Path) {
    let kept = std::env::temp_dir().join(format!("whimbrel-chaos-logs-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&kept);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            let _ = std::fs::copy(entry.path(), kept.join(entry.file_name()));
        }
    }
    println!("the logs of the processes are in {}", kept.display());
}

/// Every client sends to every `kv`; a `tally` is counted as a whole and has one client.
async fn give_feeds(clients: &mut [ClientProcess], daemons: &[Daemon], rate: u32) -> Result<()> {
    let mut number = 0;
    for (at, client) in clients.iter_mut().enumerate() {
        let mut feeds = Vec::new();
        for (place, ((name, is_tally, state), daemon)) in DAEMONS.iter().zip(daemons).enumerate() {
            if *is_tally && place % CLIENTS != at {
                continue;
            }
            feeds.push(FeedLine {
                number,
                name: format!("{name} of client-{at}"),
                is_tally: *is_tally,
                daemon: daemon.id.clone(),
                rate: rate.into(),
                // Given once.
                state: if at == 0 { *state } else { 0 },
            });
            number += 1;
        }
        client.tell(&Order::Feeds(feeds)).await?;
    }
    Ok(())
}

/// Lets everything go on for so long.
async fn disturb(
    stage: &Arc<Stage>,
    clients: &mut [ClientProcess],
    net: Net,
    seed: u64,
    span: Duration,
    spoil: Option<Spoil>,
) -> Result<Net> {
    let (end, over) = watch::channel(false);
    let over = Over(over);
    let has_spaces = net.has_spaces();
    let mut movers = tokio::task::JoinSet::new();
    for daemon in 0..stage.daemons.len() {
        let seed = seed ^ (daemon as u64 + 1).wrapping_mul(0x9e37_79b9);
        movers.spawn(mover::run(Arc::clone(stage), daemon, seed, over.clone()));
    }
    let weather = tokio::spawn(weather::run(Arc::clone(stage), net, seed, over.clone()));
    let blows = tokio::spawn(blows::run(Arc::clone(stage), seed, has_spaces, over.clone()));
    let health = tokio::spawn(watch_health(Arc::clone(stage), over.clone()));
    let begun = Instant::now();
    let mut counted = Instant::now();
    let mut is_spoilt = spoil != Some(Spoil::Die);
    while begun.elapsed() < span && stage.board.notes().violations.is_empty() {
        tokio::time::sleep(LOOK_EVERY).await;
        if !is_spoilt && begun.elapsed() > span / 3 {
            is_spoilt = true;
            stage.board.say("spoil  node a is killed behind the back of the trial");
            stage.nodes.all[0].kill();
        }
        if counted.elapsed() > COUNT_EVERY {
            counted = Instant::now();
            count(stage, clients).await;
        }
    }
    end.send_replace(true);
    let undone = async {
        let net = weather.await.context("a task ended")??;
        blows.await.context("a task ended")??;
        health.await.context("a task ended")?;
        Ok::<_, anyhow::Error>(net)
    };
    let net = tokio::time::timeout(UNDO_MAX, undone).await.context("the faults do not end")??;
    stage.board.say("the network is calm and all nodes run; the last moves end");
    settle::last_moves(stage, movers).await;
    Ok(net)
}

async fn count(stage: &Stage, clients: &mut [ClientProcess]) {
    let mut acknowledged = 0;
    for client in clients.iter_mut() {
        match client.tell(&Order::Count).await {
            Ok(count) => acknowledged += count,
            Err(error) => {
                stage.board.hung(format!("{error:#}"));
                if let Some(process) = client.process() {
                    stacks::print_process(&client.name, process);
                }
            }
        }
    }
    let (moves, disturbed) = {
        let notes = stage.board.notes();
        (notes.done(), notes.disturbed())
    };
    stage.board.say(&format!(
        "       {acknowledged} events acknowledged, {moves} moves done, {disturbed} of them with faults"
    ));
}

/// Nodes that nobody hits must live and answer.
async fn watch_health(stage: Arc<Stage>, mut over: Over) {
    while !over.is_over() {
        if let Some(&at) = stage.nodes.unexpected().first() {
            let node = &stage.nodes.all[at];
            let words = node.last_words();
            stage.board.violation(format!("{} ended by itself\n    {words}", node.name));
            bring_back(&stage, at).await;
            return;
        }
        for node in &stage.nodes.all {
            let hits = node.hits();
            if node.is_hit() {
                continue;
            }
            if !matches!(node.ask(Ask::Node {}).await, Ok(Done::Node(_)))
                && node.hits() == hits
                && !node.has_ended()
            {
                stage.board.hung(format!("{} does not answer", node.name));
                stacks::print(node);
                return;
            }
        }
        over.rest(LOOK_EVERY).await;
    }
}

/// So that it can be seen what else is wrong.
async fn bring_back(stage: &Stage, at: usize) {
    let node = &stage.nodes.all[at];
    node.kill();
    let started = match stage.nodes.start(at, Trap::default()) {
        Ok(()) => stage.nodes.wait_until_ready(at).await,
        Err(error) => Err(error),
    };
    if !matches!(started, Ok(true)) {
        stage.board.violation(format!("{} does not start again: {started:?}", node.name));
    }
}
