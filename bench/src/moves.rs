//! Decides how a run of moves goes: two node processes, this process as the third member that
//! orchestrates and sends, fresh state before each move, and an account of everything at the end.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use whimbrel_protocol::Event;
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{DaemonRuntime, MigrationOpts};
use whimbrel_trial::relay::{Relay, Tally, Way, Weather};
use whimbrel_wire::EntityId;

use crate::figures::{Row, Size, milliseconds, nanos};
use crate::fill::Filling;
use crate::ledger::Ledger;
use crate::load::{self, Ack, Load};
use crate::parties::{Figures, Party, SharedStory, Story, Told};
use crate::pause::{self, Steps};
use crate::{machine, node, owners};

/// Seeds of the two nodes between which the daemon moves.
const NODES: [u8; 2] = [1, 2];

/// Seed of this process as a node.
const OWN: u8 = 3;

/// Seed of the daemon.
const DAEMON: u8 = 9;

/// State that is renewed before a move unless something else is asked for.
const CHURN_BYTES_DEFAULT: u64 = 16 << 20;

/// What belongs to a move after its end: answers that were held arrive.
const AFTERMATH: Duration = Duration::from_millis(20);

/// The shortest time without a move before each move.
const REST_MIN: Duration = Duration::from_millis(150);

/// What is told of around an error.
const AROUND: u64 = 2_000_000_000;

/// How long answers may take when everything is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `moves`.
#[derive(Args, Clone)]
pub(crate) struct MovesTask {
    /// Bytes of state, with KiB, MiB or GiB.
    #[arg(long, default_value = "1MiB")]
    state: Size,
    /// How many moves.
    #[arg(long, default_value_t = 20)]
    moves: usize,
    /// Events a second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Datagrams in a hundred that get lost between the two nodes, each way.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Lose datagrams between the client and the nodes, too.
    #[arg(long)]
    loss_everywhere: bool,
    /// Of what gets lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The daemon keeps nothing on disk.
    #[arg(long)]
    volatile: bool,
    /// Bytes of state renewed before each move; all, up to 16 MiB, if not given.
    #[arg(long)]
    churn: Option<Size>,
    /// Begin no move after so many seconds.
    #[arg(long, default_value_t = 600)]
    seconds_max: u64,
    /// The longest that one move may take.
    #[arg(long, default_value_t = 60)]
    move_seconds_max: u64,
    /// Where data folders are made.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Print each move.
    #[arg(long)]
    each: bool,
}

/// One move.
struct Moved {
    /// What went wrong, if anything.
    failure: Option<String>,
    from: u64,
    to: u64,
    progress_bytes: u64,
    link_bytes: u64,
    peaks: [u64; 2],
    /// What each node held in memory before and after.
    held: [(u64, u64); 2],
}

impl Moved {
    const fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// Runs the task. True when the ledger is right and there never were two owners.
pub(crate) fn run(task: &MovesTask) -> Result<bool> {
    let folder = match &task.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    println!(
        "== moves: state {}, {} moves, {} events/s, loss {} %{}, {} ==",
        task.state,
        task.moves,
        task.rate,
        task.loss,
        if task.loss_everywhere { " everywhere" } else { "" },
        if task.volatile { "volatile" } else { "durable" }
    );
    machine::describe(folder.path(), "before")?;
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let right = tokio.block_on(async {
        let mut stage = Stage::set(task, folder.path()).await?;
        stage.play(task).await
    })?;
    machine::describe(folder.path(), "after")?;
    println!();
    Ok(right)
}

/// Takes down the phases that this process tells of as the orchestrator.
fn follow(runtime: &DaemonRuntime, story: &SharedStory) {
    let (mut events, story) = (runtime.events(), Arc::clone(story));
    tokio::spawn(async move {
        while let Ok(told) = events.recv().await {
            if let Event::Phase { phase, .. } = told.event {
                let words = format!("phase {phase:?}");
                let told = Told { at: machine::wall_of(told.at), party: NODES.len(), words };
                story.lock().unwrap_or_else(PoisonError::into_inner).told.push(told);
            }
        }
    });
}

/// What a party of the story is called.
fn name(party: usize) -> String {
    NODES.get(party).map_or_else(|| "us".to_owned(), |seed| format!("n{seed}"))
}

struct Stage {
    runtime: DaemonRuntime,
    parties: Vec<Party>,
    relays: Vec<Relay>,
    tally: Arc<Tally>,
    story: SharedStory,
    entity: EntityId,
}

impl Stage {
    async fn set(task: &MovesTask, folder: &std::path::Path) -> Result<Self> {
        let story = SharedStory::default();
        let mut parties = Vec::new();
        for (index, seed) in NODES.into_iter().enumerate() {
            let data = folder.join(format!("node-{seed}"));
            parties.push(Party::start(index, seed, Some(&data), &story)?);
        }
        let runtime = node::open(OWN, None).await?;
        follow(&runtime, &story);
        let mut stage = Self {
            runtime,
            parties,
            relays: Vec::new(),
            tally: Arc::default(),
            story,
            entity: node::identity(DAEMON).entity_id(),
        };
        stage.introduce(task)?;
        stage.runtime.start().await?;
        let durability = if task.volatile { "volatile" } else { "durable" };
        for party in &mut stage.parties {
            party.tell("start")?;
            if task.volatile {
                party.tell(&format!("expect {DAEMON} {durability}"))?;
            }
        }
        stage.parties[0].tell(&format!("spawn {DAEMON} {durability}"))?;
        Ok(stage)
    }

    /// Tells all nodes of each other, through relays where datagrams are to be lost.
    fn introduce(&mut self, task: &MovesTask) -> Result<()> {
        let own = self.runtime.mesh().local_address();
        let addresses: Vec<_> = self.parties.iter().map(|party| party.address).collect();
        let loss = task.loss / 100.0;
        let mut seed = task.seed;
        let (relays, tally) = (&mut self.relays, &self.tally);
        let mut way = |address, lossy: bool| {
            if !lossy || loss <= 0.0 {
                return Ok(address);
            }
            seed += 1;
            let relay = Relay::start(Way::local(address, seed), tally)?;
            let weather = Weather { loss, ..Weather::default() };
            relay.set(weather, weather);
            relays.push(relay);
            Ok::<_, anyhow::Error>(relays.last().context("no relay")?.address())
        };
        for (index, party) in self.parties.iter_mut().enumerate() {
            let other = 1 - index;
            let address = way(addresses[other], true)?;
            party.tell(&format!("member {} {address}", NODES[other]))?;
            let address = way(own, task.loss_everywhere)?;
            party.tell(&format!("member {OWN} {address}"))?;
            let address = way(addresses[index], task.loss_everywhere)?;
            let member = Member { key: node::key(party.seed).public(), addresses: vec![address] };
            self.runtime.mesh().members().insert(member);
        }
        Ok(())
    }

    async fn play(&mut self, task: &MovesTask) -> Result<bool> {
        let filler = self.runtime.client();
        let mut filling = Filling::new(task.state.0);
        let begun = Instant::now();
        filling.renew(&filler, self.entity, task.state.0).await?;
        println!("filled in {:.1} s", begun.elapsed().as_secs_f64());
        let load = Load::start(self.runtime.client(), self.entity, task.rate);
        let churn =
            task.churn.map_or_else(|| task.state.0.min(CHURN_BYTES_DEFAULT), |churn| churn.0);
        let mut moves: Vec<Moved> = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(task.seconds_max);
        while moves.len() < task.moves && Instant::now() < deadline {
            filling.renew(&filler, self.entity, churn).await?;
            let before = moves.last().map_or(0, |moved| moved.length() + nanos(AFTERMATH) * 2);
            tokio::time::sleep(REST_MIN.max(Duration::from_nanos(before)).min(PATIENCE)).await;
            let target = (moves.len() + 1) % 2;
            let moved = self.one(task, target).await?;
            if task.each || moved.failure.is_some() {
                let failure = moved.failure.as_deref().unwrap_or("moved");
                println!("move {:>4}: {} ms  {failure}", moves.len(), milliseconds(moved.length()));
            }
            moves.push(moved);
            tokio::time::sleep(AFTERMATH * 2).await;
        }
        println!("{} events acknowledged during {} moves", load.acknowledged(), moves.len());
        let ended = load.end(PATIENCE).await;
        let (mut ledger, acks) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                self.dump(0, u64::MAX, 200);
                return Err(error);
            }
        };
        load::read_back(&self.runtime, self.entity, &mut ledger).await?;
        for party in &mut self.parties {
            party.stop()?;
        }
        self.runtime.shutdown().await?;
        let right = self.report(task, &moves, &mut ledger, &acks);
        Ok(right)
    }

    async fn one(&mut self, task: &MovesTask, target: usize) -> Result<Moved> {
        for party in &mut self.parties {
            party.tell("reset")?;
        }
        let before = self.figures()?;
        let node = self.parties[target].node();
        let from = machine::wall();
        let handle = self.runtime.migrate(self.entity, node, MigrationOpts::default()).await?;
        let limit = Duration::from_secs(task.move_seconds_max);
        let result = handle.wait_with_timeout(limit).await;
        let to = machine::wall();
        let failure = result.err().map(|error| error.to_string());
        if failure.is_some() {
            self.dump(from, u64::MAX, 60);
            handle.cancel();
            drop(handle.wait_with_timeout(limit).await);
        }
        let after = self.figures()?;
        Ok(Moved {
            failure,
            from,
            to,
            progress_bytes: handle.progress().map_or(0, |progress| progress.bytes_sent),
            link_bytes: after[1 - target].sent - before[1 - target].sent,
            held: [0, 1].map(|party: usize| {
                (before[party].memory.present_bytes, after[party].memory.present_bytes)
            }),
            peaks: [after[0].memory.peak_bytes, after[1].memory.peak_bytes],
        })
    }

    fn figures(&mut self) -> Result<Vec<Figures>> {
        self.parties.iter_mut().map(Party::figures).collect()
    }

    /// Prints what the nodes told from `from` to `to`.
    fn dump(&self, from: u64, to: u64, most: usize) {
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |at| (from..=to).contains(&at);
        let mut told: Vec<_> = story.told.iter().filter(|told| within(told.at)).collect();
        told.sort_by_key(|told| told.at);
        for told in &told[told.len().saturating_sub(most)..] {
            println!("    {} {}: {}", told.at, name(told.party), told.words);
        }
    }

    fn report(&self, task: &MovesTask, moves: &[Moved], ledger: &mut Ledger, acks: &[Ack]) -> bool {
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = moves.iter().filter(|moved| moved.failure.is_some()).count();
        println!("moves: {} ended on the target, {failed} failed", moves.len() - failed);
        let good: Vec<&Moved> = moves.iter().filter(|moved| moved.failure.is_none()).collect();
        print_bytes(&good);
        print_times(task, &good, acks, &story);
        print_memory(task, moves);
        if !self.relays.is_empty() {
            let [passed, dropped, refused] =
                [&self.tally.passed, &self.tally.dropped, &self.tally.refused]
                    .map(|count| count.load(Ordering::Relaxed));
            println!("relays: passed {passed}  dropped {dropped}  refused by the system {refused}");
        }
        let warnings = story.told.iter().filter(|told| told.words.starts_with("Warning"));
        for told in warnings.take(10) {
            println!("  {}: {}", name(told.party), told.words);
        }
        ledger.print();
        let told = owners::overlaps(owners::told(&story, NODES.len(), machine::wall()));
        let seen = owners::overlaps(owners::looked_at(&story));
        println!(
            "owners: {} reigns told, {} seen; two at once: {} told, {} seen",
            owners::told(&story, NODES.len(), machine::wall()).len(),
            story.live.len(),
            told.len(),
            seen.len()
        );
        let first = told.iter().chain(&seen).map(|(_, second)| second.from).min();
        drop(story);
        if let Some(at) = first {
            self.dump(at.saturating_sub(AROUND), at + AROUND, 60);
        }
        if !ledger.is_right() {
            self.dump(0, u64::MAX, 200);
        }
        ledger.is_right() && told.is_empty() && seen.is_empty()
    }
}

fn print_bytes(moves: &[&Moved]) {
    let progress: Row = moves.iter().map(|moved| moved.progress_bytes).collect();
    let link: Row = moves.iter().map(|moved| moved.link_bytes).collect();
    println!("bytes a move (p50 / p99 / max): of the snapshot {}", progress.in_bytes());
    println!("                                on the link     {}", link.in_bytes());
}

fn print_times(task: &MovesTask, moves: &[&Moved], acks: &[Ack], story: &Story) {
    let after = nanos(AFTERMATH);
    let during = |moved: &&Moved| (moved.from, moved.to + after);
    let without = |moved: &&Moved| {
        let window = moved.length() + after;
        (moved.from.saturating_sub(window), moved.from)
    };
    let gaps = |window: &dyn Fn(&&Moved) -> (u64, u64)| -> Row {
        let of = |moved| {
            let (from, to) = window(moved);
            pause::longest(acks, from, to).length()
        };
        moves.iter().map(of).collect()
    };
    let latencies = |window: &dyn Fn(&&Moved) -> (u64, u64)| -> Row {
        let windows = moves.iter().map(window);
        let within = windows.flat_map(|(from, to)| pause::latencies(acks, from, to));
        within.map(|ack| ack.latency).collect()
    };
    println!("milliseconds                            p50       p99       max");
    let row = |name: &str, row: &Row| println!("  {name:<32}{}", row.in_milliseconds());
    row("duration of a move", &moves.iter().map(|moved| moved.length()).collect());
    row("pause: longest gap around a move", &gaps(&during));
    row("longest gap, no move", &gaps(&without));
    row("latency of events, moving", &latencies(&during));
    row("latency of events, no move", &latencies(&without));
    if task.each {
        print_each(moves, acks, story);
    }
    let steps: Vec<Steps> = moves
        .iter()
        .filter_map(|moved| pause::steps(story, acks, moved.from, moved.to + after))
        .collect();
    let part = |name: &str, of: &dyn Fn(&Steps) -> (u64, u64)| {
        let parts = steps.iter().map(of).map(|(from, to)| to.saturating_sub(from));
        row(name, &parts.collect());
    };
    println!("  around the hand-over, {} moves with all steps told:", steps.len());
    part("  frozen to handed over", &|steps| (steps.frozen, steps.handed_over));
    part("  handed over to live", &|steps| (steps.handed_over, steps.live));
    part("  live to next answer", &|steps| (steps.live, steps.silent_to));
    part("  gap at the hand-over", &|steps| (steps.silent_from, steps.silent_to));
    part("  frozen to last answer before", &|steps| (steps.frozen, steps.silent_from));
}

/// Where in each move its longest gap was, after which word of the nodes.
fn print_each(moves: &[&Moved], acks: &[Ack], story: &Story) {
    let since = |moved: &Moved, at: u64| milliseconds(at.saturating_sub(moved.from));
    for moved in moves {
        let gap = pause::longest(acks, moved.from, moved.to + nanos(AFTERMATH));
        let told = story.told.iter().filter(|told| (moved.from..gap.from).contains(&told.at));
        let last = told.max_by_key(|told| told.at);
        let last = last.map_or_else(String::new, |told| {
            let word: String = told.words.chars().take(24).collect();
            format!("after {word} at {} of {}", since(moved, told.at), name(told.party))
        });
        println!(
            "  took {:>9}  gap {:>8} from {:>9}  {last};  held before {} {} after {} {}",
            milliseconds(moved.length()),
            milliseconds(gap.length()),
            since(moved, gap.from),
            Size(moved.held[0].0),
            Size(moved.held[1].0),
            Size(moved.held[0].1),
            Size(moved.held[1].1)
        );
    }
}

fn print_memory(task: &MovesTask, moves: &[Moved]) {
    let peaks: [u64; 2] =
        [0, 1].map(|party| moves.iter().map(|moved| moved.peaks[party]).max().unwrap_or(0));
    for (party, peak) in peaks.into_iter().enumerate() {
        let more = peak.saturating_sub(task.state.0);
        println!(
            "memory of node {}: peak during moves {} = state + {}",
            NODES[party],
            Size(peak),
            Size(more)
        );
    }
}
