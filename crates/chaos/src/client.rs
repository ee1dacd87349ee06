//! Decides what a client process does: a member without daemons that sends, notes and checks.
//!
//! ```text
//! in   {"seed":"…","listen":"…","members":[…]}   first
//! in   {"feeds":[…]}          whom to send to; daemons are given their state before the answer
//! in   "go"                   begins to send
//! in   "count"                how many were acknowledged so far
//! in   "stop"                 sends no more and waits for the last acknowledgements
//! in   {"spoil":"lose"}       does what must never happen by itself
//! in   "check"                compares what was told with what is found
//! ```
//!
//! Each line is answered by one line: `{"ok":…}` or `{"failed":"…"}`.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use whimbrel::runtime::admin::words::{Seed, daemon_of};
use whimbrel::wire::unhex;
use whimbrel::{
    DaemonRuntime, Event, KvCommand, Member, Mesh, MeshConfig, NodeKey, PublicKey, RuntimeEvent,
};
use whimbrel_trial::{Feed, FeedKind, Script, ledger, readback};

/// What a client is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Feeds(Vec<FeedLine>),
    Go,
    Count,
    Stop,
    Spoil(String),
    Check,
}

/// Who a client is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) seed: String,
    pub(crate) listen: SocketAddr,
    /// Key and address of each node.
    pub(crate) members: Vec<(String, SocketAddr)>,
}

/// One daemon to send to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FeedLine {
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) is_tally: bool,
    pub(crate) daemon: String,
    pub(crate) rate: f64,
    /// How much state it is given first.
    pub(crate) state: u64,
}

/// What was found out about one feed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SheetLine {
    pub(crate) name: String,
    pub(crate) acknowledged: u64,
    pub(crate) once: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) made_up: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    /// Answers that a fresh event cannot have.
    pub(crate) wrong: u64,
    /// Values of the state that are not what they were.
    pub(crate) spoilt: u64,
    /// The longest time between two acknowledgements, in microseconds.
    pub(crate) gap_us: u64,
    pub(crate) error: Option<String>,
}

/// What a client answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Done; how many, where something was counted.
    Ok(u64),
    Sheets(Vec<SheetLine>),
    Failed(String),
}

struct Client {
    runtime: DaemonRuntime,
    feeds: Vec<(Arc<Feed>, FeedLine, u64)>,
    sending: JoinSet<()>,
    over: Arc<AtomicBool>,
}

/// The process: until its input ends.
pub(crate) async fn run() -> Result<()> {
    let mut lines = Lines::new();
    let who: Who = serde_json::from_str(&lines.next().await.context("nobody said who I am")?)?;
    let runtime = open(who).await?;
    say(&Reply::Ok(0))?;
    let over = Arc::new(AtomicBool::new(false));
    let mut client = Client { runtime, feeds: Vec::new(), sending: JoinSet::new(), over };
    while let Some(line) = lines.next().await {
        let reply = match client.obey(serde_json::from_str(&line)?).await {
            Ok(reply) => reply,
            Err(error) => Reply::Failed(format!("{error:#}")),
        };
        say(&reply)?;
    }
    Ok(())
}

async fn open(who: Who) -> Result<DaemonRuntime> {
    let seed = Seed::parse(&who.seed).and_then(|seed| unhex(seed.text())).context("no seed")?;
    let seed: [u8; 32] = seed.try_into().ok().context("no seed")?;
    let mut config = MeshConfig::new(NodeKey::from_seed(&seed), who.listen);
    for (key, address) in who.members {
        let key = PublicKey::parse(&key).context("no key")?;
        config.members.push(Member { key, addresses: vec![address] });
    }
    let runtime = DaemonRuntime::new(Mesh::open(config).await.context("could not start")?);
    runtime.start().await.context("could not start")?;
    let mut events = runtime.events();
    tokio::spawn(async move {
        while let Ok(RuntimeEvent { entity, event, .. }) = events.recv().await {
            if let Event::Warning(warning) = event {
                eprintln!("client: {entity}: {warning:?}");
            }
        }
    });
    Ok(runtime)
}

impl Client {
    async fn obey(&mut self, order: Order) -> Result<Reply> {
        match order {
            Order::Feeds(feeds) => self.prepare(feeds).await?,
            Order::Go => self.go(),
            Order::Count => {
                let count = |(feed, ..): &(Arc<Feed>, _, _)| feed.notes().acknowledged.len() as u64;
                return Ok(Reply::Ok(self.feeds.iter().map(count).sum()));
            }
            Order::Stop => {
                self.over.store(true, Ordering::Relaxed);
                while let Some(ended) = self.sending.join_next().await {
                    ended.context("a feed ended")?;
                }
                let waiting = self.feeds.iter().map(|(feed, ..)| feed.under_way() as u64).sum();
                return Ok(Reply::Ok(waiting));
            }
            Order::Spoil(how) => self.spoil(&how).await?,
            Order::Check => {
                let mut sheets = Vec::new();
                for (feed, _, values) in &self.feeds {
                    sheets.push(self.sheet(feed, *values).await?);
                }
                return Ok(Reply::Sheets(sheets));
            }
        }
        Ok(Reply::Ok(0))
    }

    async fn prepare(&mut self, feeds: Vec<FeedLine>) -> Result<()> {
        let (script, begun) = (Arc::new(Script::MadeUp), Instant::now());
        for line in feeds {
            let daemon = daemon_of(&line.daemon).context("no daemon")?;
            let values = match line.state {
                0 => 0,
                bytes => readback::fill(&self.runtime.client(), daemon, bytes).await?,
            };
            let kind = if line.is_tally { FeedKind::Tally } else { FeedKind::Kv };
            let (name, script) = (line.name.clone(), Arc::clone(&script));
            let feed = Feed::new(name, line.number, kind, daemon, script, begun);
            self.feeds.push((Arc::new(feed), line, values));
        }
        Ok(())
    }

    fn go(&mut self) {
        for (feed, line, _) in &self.feeds {
            let over = Arc::clone(&self.over);
            self.sending.spawn(Arc::clone(feed).run(self.runtime.client(), line.rate, over));
        }
    }

    async fn spoil(&self, how: &str) -> Result<()> {
        let wanted = if how == "double-tally" { FeedKind::Tally } else { FeedKind::Kv };
        let feed = self.feeds.iter().map(|(feed, ..)| feed).find(|feed| feed.kind == wanted);
        let feed = feed.context("no such feed")?;
        let key = feed.key(0);
        let payload = match how {
            "lose" => KvCommand::Delete { key: &key }.to_bytes(),
            "double" => KvCommand::Add { key: &key, by: 1 }.to_bytes(),
            "double-tally" => feed.text(0).into(),
            _ => bail!("{how} is no way to spoil"),
        };
        self.runtime.client().send(feed.daemon, payload).await?;
        Ok(())
    }

    async fn sheet(&self, feed: &Feed, values: u64) -> Result<SheetLine> {
        let client = self.runtime.client();
        let found = readback::find(&client, feed).await?;
        let spoilt = readback::spoilt(&client, feed.daemon, values).await?;
        let notes = feed.notes().clone();
        let verdict = ledger::check(&notes.told, &found);
        let mut times = notes.acknowledged;
        times.sort_unstable();
        let gap_us = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Ok(SheetLine {
            name: feed.name.clone(),
            acknowledged: verdict.acknowledged,
            once: verdict.once,
            lost: verdict.lost,
            doubled: verdict.doubled,
            made_up: verdict.ghosts,
            unknown: verdict.unknown,
            refused: verdict.refused,
            wrong: notes.wrong,
            spoilt,
            gap_us,
            error: notes.error,
        })
    }
}

/// The lines of the standard input, read by a thread of their own.
struct Lines(tokio::sync::mpsc::UnboundedReceiver<String>);

impl Lines {
    fn new() -> Self {
        let (send, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

fn say(reply: &Reply) -> Result<()> {
    let line = serde_json::to_string(reply)?;
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}
