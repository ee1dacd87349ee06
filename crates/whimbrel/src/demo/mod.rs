//! Decides the course of a demo: three nodes, daemons that move between them while clients send
//! events, a node that is killed, and a ledger that is checked against what the daemons hold.
//!
//! * [`cluster`]: the node processes; [`script`]: what the clients say; [`moves`]: who moves where;
//! * [`gaps`]: pauses; [`report`]: how it reads.
//! * The clients, what the daemons hold and whether that is right: [`whimbrel_trial`].

pub(crate) mod cluster;
mod gaps;
mod moves;
mod report;
mod script;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use whimbrel::runtime::admin::words::{Ask, Birth, Done, Verdict, daemon_of, daemon_text};
use whimbrel::{Client, DaemonRuntime, EntityId, KvCommand, Mesh, MeshConfig, NodeKey};
use whimbrel_trial::feed::micros;
use whimbrel_trial::{Dice, Feed, FeedKind, ledger, readback};
use zeroize::Zeroizing;

use self::cluster::Cluster;
use self::gaps::Spread;
use self::moves::{Mover, Story};
use self::report::{Machine, Sheet};
use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output::{LiveLine, bytes, complain, count};
use crate::words::{byte_count, duration};

/// The daemons: name and kind. The last one is given the state.
const DAEMONS: [(&str, FeedKind); 4] = [
    ("kv-1", FeedKind::Kv),
    ("kv-2", FeedKind::Kv),
    ("tally", FeedKind::Tally),
    ("kv-big", FeedKind::Kv),
];

/// How often the live line changes.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is printed where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Tries to have a chain checked while a daemon settles.
const VERIFY_MAX: u32 = 100;

/// The rest between them.
const VERIFY_POLL: Duration = Duration::from_millis(100);

/// How often it is measured how long the disk takes.
const SYNCS: usize = 50;

/// What the demo does.
#[derive(Args, Debug)]
pub(crate) struct DemoWords {
    /// How long daemons move.
    #[arg(long, default_value = "20", value_parser = duration)]
    seconds: Duration,
    /// Send the lines of this file instead of made-up words.
    #[arg(long)]
    file: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u8).range(3..=16))]
    nodes: u8,
    /// Events per second, of all clients together.
    #[arg(long, default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How much state the largest daemon has.
    #[arg(long, default_value = "4MiB", value_parser = byte_count)]
    state: u64,
    /// Where chance begins; printed, to be given again.
    #[arg(long)]
    seed: Option<u64>,
    /// Spoil the ledger before it is checked, to see that the check can fail.
    #[arg(long, hide = true, value_name = "HOW")]
    spoil: Option<Spoil>,
}

/// What the check must find.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Spoil {
    /// One acknowledged event of a `kv` is taken away.
    Lose,
    /// One acknowledged event of a `kv` is done again.
    Double,
    /// One acknowledged event of the `tally` is done again.
    DoubleTally,
}

/// Plays the demo; ends early, and leaves nothing behind, when interrupted.
pub(crate) async fn run(words: DemoWords) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
    tokio::select! {
        played = Box::pin(play(words)) => played,
        _ = terminate.recv() => Err(interrupted()),
        _ = interrupt.recv() => Err(interrupted()),
    }
}

fn interrupted() -> anyhow::Error {
    Advice::failed("the demo was interrupted", "nothing is left of it; start it again")
}

async fn play(words: DemoWords) -> Result<ExitCode> {
    let script = Arc::new(script::script(words.file.as_deref())?);
    let seed = match words.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("the system gives no random bytes")?,
    };
    let mut dice = Dice::new(seed);
    let mut cluster = Cluster::prepare(usize::from(words.nodes))?;
    let clients = clients(&cluster).await?;
    let mesh = clients.mesh();
    complain(&format!(
        "{} nodes in {}, chance from --seed {seed}",
        words.nodes,
        cluster.folder().display()
    ));
    // Before anything else writes.
    let sync = sync_times(cluster.folder()).context("could not write to the folder")?;
    cluster.start(mesh.public_key(), mesh.local_address()).await?;

    let mut owners = Vec::new();
    let mut daemons = Vec::new();
    for (name, kind) in DAEMONS {
        let node = dice.below(cluster.nodes.len());
        daemons.push(spawn(&cluster, node, name, kind).await?);
        owners.push(node);
    }
    let big = *daemons.last().context("no daemons")?;
    let asking = clients.client();
    complain(&format!("giving {} {} of state", DAEMONS[DAEMONS.len() - 1].0, bytes(words.state)));
    let values = readback::fill(&asking, big, words.state).await?;

    let begun = Instant::now();
    let feeds: Vec<Arc<Feed>> = DAEMONS
        .iter()
        .zip(daemons)
        .enumerate()
        .map(|(number, ((name, kind), daemon))| {
            let script = Arc::clone(&script);
            Arc::new(Feed::new((*name).to_owned(), number, *kind, daemon, script, begun))
        })
        .collect();
    let board = Board::default();
    let mover = Mover {
        cluster: &mut cluster,
        feeds: &feeds,
        board: &board,
        dice,
        begun,
        owners,
        story: Story::default(),
    };
    let story = {
        let work = Box::pin(under_load(&clients, &feeds, words.rate, &board, mover, words.seconds));
        show(work, &feeds, &board, begun).await?
    };
    if let Some(how) = words.spoil {
        spoil(&asking, &feeds, how).await?;
    }
    complain("checking the ledger");
    let mut sheets = Vec::new();
    for (at, feed) in feeds.iter().enumerate() {
        let values = if at + 1 == feeds.len() { values } else { 0 };
        sheets.push(sheet(&cluster, &asking, feed, values).await?);
    }
    let machine = Machine { sync, round_trip: round_trip(&clients) };
    let is_clean = report::tell(&feeds, &sheets, &story, &machine);
    // What the daemons hold was read back; their nodes may go as they are.
    drop(cluster);
    clients.shutdown().await.context("the clients could not end")?;
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) })
}

/// Does to the daemons what must never happen by itself.
async fn spoil(client: &Client, feeds: &[Arc<Feed>], how: Spoil) -> Result<()> {
    let kind = match how {
        Spoil::Lose | Spoil::Double => FeedKind::Kv,
        Spoil::DoubleTally => FeedKind::Tally,
    };
    let feed = feeds.iter().find(|feed| feed.kind == kind).context("no such daemon")?;
    let key = feed.key(0);
    let payload = match how {
        Spoil::Lose => KvCommand::Delete { key: &key }.to_bytes(),
        Spoil::Double => KvCommand::Add { key: &key, by: 1 }.to_bytes(),
        Spoil::DoubleTally => feed.text(0).into(),
    };
    client.send(feed.daemon, payload).await?;
    Ok(())
}

/// The clients' own node: a member that runs no daemons.
async fn clients(cluster: &Cluster) -> Result<DaemonRuntime> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).context("the system gives no random bytes")?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = MeshConfig::new(NodeKey::from_seed(&seed), anywhere);
    config.members = cluster.members();
    let mesh = Mesh::open(config).await.context("the clients could not start")?;
    let runtime = DaemonRuntime::new(mesh);
    runtime.start().await.context("the clients could not start")?;
    Ok(runtime)
}

/// How long it takes until 4 KiB are on the disk.
fn sync_times(folder: &Path) -> std::io::Result<Option<Spread>> {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        times.push(micros(begun.elapsed()));
    }
    Ok(Spread::of(times))
}

/// The longest of the estimated times to a node and back.
fn round_trip(clients: &DaemonRuntime) -> Option<u64> {
    let mesh = clients.mesh();
    let links = mesh.members().nodes().into_iter().filter_map(|node| mesh.link_statistics(node));
    links.filter_map(|link| link.round_trip).map(micros).max()
}

async fn spawn(cluster: &Cluster, node: usize, name: &str, kind: FeedKind) -> Result<EntityId> {
    let kind = match kind {
        FeedKind::Kv => whimbrel::Kv::NAME,
        FeedKind::Tally => whimbrel::Tally::NAME,
    };
    let birth = Birth { name: Some(name.to_owned()), ..Birth::default() };
    let mut admin = cluster.nodes[node].admin().await?;
    let Done::Daemon(line) =
        admin.ask(Ask::Spawn { kind: kind.to_owned(), birth, given: None, file: None }).await?
    else {
        bail!("a node answered something else");
    };
    daemon_of(&line.daemon).context("a node named no daemon")
}

/// Lets clients send while daemons move.
async fn under_load(
    clients: &DaemonRuntime,
    feeds: &[Arc<Feed>],
    rate: u32,
    board: &Board,
    mover: Mover<'_>,
    span: Duration,
) -> Result<Story> {
    let stop = Arc::new(AtomicBool::new(false));
    #[allow(clippy::cast_precision_loss, reason = "there are four feeds")]
    let rate = f64::from(rate) / feeds.len() as f64;
    let mut sending = tokio::task::JoinSet::new();
    for feed in feeds {
        sending.spawn(Arc::clone(feed).run(clients.client(), rate, Arc::clone(&stop)));
    }
    let end = mover.begun + span;
    let story = mover.run(end).await;
    stop.store(true, Ordering::Relaxed);
    board.say("waiting for the last acknowledgements".to_owned());
    while let Some(ended) = sending.join_next().await {
        ended.context("a client ended")?;
    }
    story
}

/// Shows how it goes until `work` is done.
async fn show<T>(
    work: impl Future<Output = Result<T>>,
    feeds: &[Arc<Feed>],
    board: &Board,
    begun: Instant,
) -> Result<T> {
    tokio::pin!(work);
    let mut live = LiveLine::new(PLAIN_INTERVAL);
    let mut ticks = tokio::time::interval(SHOW_INTERVAL);
    let mut rate = Rate::default();
    loop {
        tokio::select! {
            done = &mut work => {
                live.clear();
                board.notes().iter().for_each(|note| live.note(note));
                return done;
            }
            _ = ticks.tick() => {
                board.notes().iter().for_each(|note| live.note(note));
                let acknowledged = feeds.iter().map(|feed| feed.notes().acknowledged.len() as u64);
                let acknowledged = acknowledged.sum();
                let waiting: usize = feeds.iter().map(|feed| feed.under_way()).sum();
                live.show(&format!(
                    "{:>5.1} s  {} acknowledged  {}/s  {} on their way  {} moves  {}",
                    begun.elapsed().as_secs_f64(),
                    count(acknowledged),
                    count(rate.of(acknowledged)),
                    count(waiting as u64),
                    count(board.moved.load(Ordering::Relaxed)),
                    board.said(),
                ));
            }
        }
    }
}

/// Events per second over the last second or so.
#[derive(Default)]
struct Rate {
    last: Option<(Instant, u64)>,
    per_second: u64,
}

impl Rate {
    fn of(&mut self, events: u64) -> u64 {
        let now = Instant::now();
        match self.last {
            Some((at, before)) if now - at >= Duration::from_secs(1) => {
                let millis = u64::try_from((now - at).as_millis()).unwrap_or(u64::MAX).max(1);
                self.per_second = (events - before).saturating_mul(1_000) / millis;
                self.last = Some((now, events));
            }
            Some(_) => {}
            None => self.last = Some((now, events)),
        }
        self.per_second
    }
}

async fn sheet(cluster: &Cluster, client: &Client, feed: &Feed, values: u64) -> Result<Sheet> {
    let notes = feed.notes().clone();
    let found = readback::find(client, feed).await?;
    let spoilt = readback::spoilt(client, feed.daemon, values).await?;
    let chain = verify(cluster, feed.daemon).await.map(|verdict| {
        let reach = if verdict.complete { "all" } else { "last" };
        format!("{} deeds, {reach} {} outputs", verdict.deeds, count(verdict.links))
    });
    Ok(Sheet {
        verdict: ledger::check(&notes.told, &found),
        wrong: notes.wrong,
        spoilt,
        chain: chain.map_err(|error| format!("{error:#}")),
        error: notes.error,
    })
}

/// Has the chain checked by the node where the daemon lives.
async fn verify(cluster: &Cluster, daemon: EntityId) -> Result<Verdict> {
    let word = daemon_text(&daemon);
    let mut error = anyhow::anyhow!("no node has it");
    for _ in 0..VERIFY_MAX {
        for node in &cluster.nodes {
            let mut admin = node.admin().await?;
            let found = admin.ask(Ask::Find { daemon: word.clone() }).await;
            let Ok(Done::Daemon(line)) = found else { continue };
            if line.owner.as_deref() != Some(&node.id.to_string()) || line.standing != "live" {
                continue;
            }
            match admin.ask(Ask::Verify { daemon: word.clone() }).await {
                Ok(Done::Verified(verdict)) => return Ok(verdict),
                Ok(_) => bail!("a node answered something else"),
                Err(refused) => error = refused.into(),
            }
        }
        tokio::time::sleep(VERIFY_POLL).await;
    }
    Err(error)
}

/// What is shown while it goes on.
#[derive(Default)]
pub(crate) struct Board {
    said: Mutex<String>,
    noted: Mutex<Vec<String>>,
    moved: AtomicU64,
}

impl Board {
    /// What goes on.
    fn say(&self, text: String) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// What is worth a line that stays.
    fn note(&self, text: String) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn moves(&self, more: u64) {
        self.moved.fetch_add(more, Ordering::Relaxed);
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
