//! Decides how a run of moves goes: fresh state before each move, a client in a process of its own
//! that sends all the while, and an account of everything at the end.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use whimbrel_daemon::kinds::KvCommand;
use whimbrel_runtime::{Client, MigrationOpts};

use crate::figures::{Size, milliseconds, nanos};
use crate::fill::Filling;
use crate::hops::{self, Note, Sides, TimeLine};
use crate::ledger::Ledger;
use crate::load::{Ack, counter_key};
use crate::machine::Probe;
use crate::parties::{Figures, Story};
use crate::record::{MoveRecord, Record, write_json};
use crate::stage::{NODES, Stage, name};
use crate::{machine, owners, pause, report};

/// State that is renewed before a move unless something else is asked for.
const CHURN_BYTES_DEFAULT: u64 = 16 << 20;

/// What belongs to a move after its end: answers that were held arrive.
pub(crate) const AFTERMATH: Duration = Duration::from_millis(20);

/// The shortest time without a move before each move.
const REST_MIN: Duration = Duration::from_millis(60);

/// The longest.
const REST_MAX: Duration = Duration::from_secs(60);

/// What is told of around an error.
const AROUND: u64 = 2_000_000_000;

/// Round trips and syncs that are measured before each move.
const ROUND_TRIPS_EACH: usize = 5;
const SYNCS_EACH: usize = 1;

/// Arguments of `moves`.
#[derive(Args, Clone)]
pub(crate) struct MovesTask {
    /// Bytes of state, with KiB, MiB or GiB.
    #[arg(long, default_value = "1MiB")]
    pub(crate) state: Size,
    /// How many moves.
    #[arg(long, default_value_t = 20)]
    pub(crate) moves: usize,
    /// Events a second.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rate: u64,
    /// Datagrams in a hundred that get lost between the two nodes, each way.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// Lose datagrams on all other links, too: those of the client and of the orchestrator.
    #[arg(long)]
    pub(crate) loss_everywhere: bool,
    /// Of what gets lost.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The daemon keeps nothing on disk.
    #[arg(long)]
    pub(crate) volatile: bool,
    /// Turns between two automatic snapshots; as a daemon has it by default, if not given.
    #[arg(long)]
    pub(crate) snapshot_every: Option<u64>,
    /// Renew all of the state before each move: a move that carries less makes the run wrong.
    #[arg(long, conflicts_with = "churn")]
    pub(crate) renew: bool,
    /// Bytes of state renewed before each move; all, up to 16 MiB, if not given.
    #[arg(long)]
    pub(crate) churn: Option<Size>,
    /// Begin no move after so many seconds.
    #[arg(long, default_value_t = 600)]
    pub(crate) seconds_max: u64,
    /// The longest that one move may take.
    #[arg(long, default_value_t = 60)]
    pub(crate) move_seconds_max: u64,
    /// Where data folders are made.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// Print how long each step of the hand-over took; every process notes what it does.
    #[arg(long)]
    pub(crate) hops: bool,
    /// Print each move.
    #[arg(long)]
    pub(crate) each: bool,
    /// Write the figures to this file as well.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Break a promise behind the back of the checks: the run must be found wrong.
    #[arg(long)]
    pub(crate) spoil: Option<Spoil>,
}

/// What is broken on purpose, after the first move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoil {
    /// A counter goes back by one, as if an event were lost.
    Lost,
    /// A counter goes on by one, as if an event were applied twice.
    Doubled,
    /// A node claims the daemon that lives on the other one.
    Owners,
    /// Nothing is renewed and all is claimed to be. Below some MiB a move may carry as much as the
    /// state all the same: turns that the last snapshot does not hold.
    Bytes,
}

/// One move.
pub(crate) struct Moved {
    failure: Option<String>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    fresh_bytes: u64,
    snapshot_bytes: u64,
    carried_bytes: u64,
    /// Of the source and of the target.
    peaks: [u64; 2],
    /// What each node held in memory before and after.
    pub(crate) held: [(u64, u64); 2],
    rest: Rest,
}

/// What was measured before a move.
#[derive(Clone, Copy, Default)]
struct Rest {
    sync: u64,
    round_trip: u64,
    load: f64,
    peaks: [u64; 2],
}

impl Moved {
    pub(crate) const fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The time that belongs to the move.
    pub(crate) fn during(&self) -> (u64, u64) {
        (self.from, self.to + nanos(AFTERMATH))
    }

    /// An equally long time just before it, when nothing moved.
    pub(crate) fn before(&self) -> (u64, u64) {
        (self.from.saturating_sub(self.length() + nanos(AFTERMATH)), self.from)
    }

    fn record(&self, acks: &[Ack]) -> MoveRecord {
        let gap = |(from, to)| pause::longest(acks, from, to).length();
        MoveRecord {
            failure: self.failure.clone(),
            duration: self.length(),
            gap: gap(self.during()),
            calm_gap: gap(self.before()),
            fresh_bytes: self.fresh_bytes,
            snapshot_bytes: self.snapshot_bytes,
            carried_bytes: self.carried_bytes,
            source_peak_bytes: self.peaks[0],
            target_peak_bytes: self.peaks[1],
            sync: self.rest.sync,
            round_trip: self.rest.round_trip,
            load: self.rest.load,
        }
    }
}

/// Runs the task. True when no promise was broken.
pub(crate) fn run(task: &MovesTask) -> Result<bool> {
    let record = measure(task)?;
    record.print();
    if let Some(file) = &task.json {
        write_json(file, &record)?;
    }
    let faults = record.faults();
    for fault in &faults {
        println!("WRONG: {fault}");
    }
    println!();
    Ok(faults.is_empty())
}

/// Runs the task and gives its figures.
pub(crate) fn measure(task: &MovesTask) -> Result<Record> {
    let folder = match &task.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    println!(
        "== moves: state {}, {} moves, {} events/s, loss {} %{}, {}{} ==",
        task.state,
        task.moves,
        task.rate,
        task.loss,
        if task.loss_everywhere { " everywhere" } else { "" },
        if task.volatile { "volatile" } else { "durable" },
        task.snapshot_every.map_or_else(String::new, |turns| format!(", snapshots every {turns}"))
    );
    let before = machine::describe(folder.path(), "before")?;
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut record = tokio.block_on(async {
        let mut stage = Stage::set(task, folder.path()).await?;
        let mut play = Play::new(task, &stage, folder.path())?;
        play.on(&mut stage).await
    })?;
    let after = machine::describe(folder.path(), "after")?;
    record.machine = vec![before, after];
    Ok(record)
}

/// A run that goes on.
struct Play<'a> {
    task: &'a MovesTask,
    filler: Client,
    filling: Filling,
    probe: Probe,
    moves: Vec<Moved>,
}

impl<'a> Play<'a> {
    fn new(task: &'a MovesTask, stage: &Stage, folder: &Path) -> Result<Self> {
        Ok(Self {
            task,
            filler: stage.filler(),
            filling: Filling::new(task.state.0),
            probe: Probe::open(folder)?,
            moves: Vec::new(),
        })
    }

    async fn on(&mut self, stage: &mut Stage) -> Result<Record> {
        let deadline = Instant::now() + Duration::from_secs(self.task.seconds_max);
        let begun = Instant::now();
        self.filling.renew(&self.filler, stage.entity, self.task.state.0).await?;
        println!("filled in {:.1} s", begun.elapsed().as_secs_f64());
        stage.send(self.task.rate)?;
        let began = Instant::now();
        while self.moves.len() < self.task.moves && Instant::now() < deadline {
            let moved = self.next(stage).await?;
            if self.task.each || moved.failure.is_some() {
                let failure = moved.failure.as_deref().unwrap_or("moved");
                let number = self.moves.len();
                println!("move {number:>4}: {} ms  {failure}", milliseconds(moved.length()));
            }
            self.moves.push(moved);
            if let (1, Some(spoil)) = (self.moves.len(), self.task.spoil) {
                self.spoil(stage, spoil).await?;
            }
            tokio::time::sleep(AFTERMATH * 2).await;
        }
        println!("{} moves in {:.1} s", self.moves.len(), began.elapsed().as_secs_f64());
        let (ledger, acks) = match tokio::task::block_in_place(|| stage.account()) {
            Ok(account) => account,
            Err(error) => {
                stage.dump(0, u64::MAX, 200);
                return Err(error);
            }
        };
        stage.stop().await?;
        if self.task.hops {
            hops::print(&self.lines(&stage.hops()?, &acks));
        }
        Ok(self.record(stage, ledger, &acks))
    }

    /// The time lines of the moves that ended well.
    fn lines(&self, [first, second, client]: &[Vec<Note>; 3], acks: &[Ack]) -> Vec<TimeLine> {
        let nodes = [first, second];
        let line = |(index, moved): (usize, &Moved)| {
            let target = (index + 1) % NODES.len();
            let sides = Sides { source: nodes[1 - target], target: nodes[target], client };
            let good = moved.failure.is_none();
            good.then(|| hops::line(&sides, acks, moved.during())).flatten()
        };
        self.moves.iter().enumerate().filter_map(line).collect()
    }

    /// Rests, writes fresh state, rests, moves.
    async fn next(&mut self, stage: &mut Stage) -> Result<Moved> {
        let round_trips = self.probe.round_trips(ROUND_TRIPS_EACH)?;
        let mut rest = Rest {
            sync: self.probe.syncs(SYNCS_EACH)?.percentile(50),
            round_trip: round_trips.percentile(50),
            load: machine::load(),
            peaks: [0; 2],
        };
        let fresh = self.filling.renew(&self.filler, stage.entity, self.churn()).await?;
        let before = self.moves.last().map_or(0, |moved| moved.length() + nanos(AFTERMATH) * 2);
        tokio::time::sleep(Duration::from_nanos(before).clamp(REST_MIN, REST_MAX)).await;
        let figures = stage.figures()?;
        rest.peaks = figures.map(|figures| figures.memory.peak_bytes);
        stage.reset_peaks()?;
        let target = (self.moves.len() + 1) % NODES.len();
        let moved = self.one(stage, target, &figures).await?;
        let fresh_bytes = if self.spoils(Spoil::Bytes) { self.task.state.0 } else { fresh };
        Ok(Moved { fresh_bytes, rest, ..moved })
    }

    fn spoils(&self, spoil: Spoil) -> bool {
        self.task.spoil == Some(spoil)
    }

    /// How much of the state is renewed before a move.
    fn churn(&self) -> u64 {
        let state = self.task.state.0;
        match self.task.churn {
            _ if self.spoils(Spoil::Bytes) => 0,
            _ if self.task.renew => state,
            Some(churn) => churn.0,
            None => state.min(CHURN_BYTES_DEFAULT),
        }
    }

    async fn one(&self, stage: &mut Stage, target: usize, before: &[Figures; 2]) -> Result<Moved> {
        let source = 1 - target;
        let node = stage.nodes[target].node_id();
        let from = machine::wall();
        let handle = stage.runtime.migrate(stage.entity, node, MigrationOpts::default()).await?;
        let limit = Duration::from_secs(self.task.move_seconds_max);
        let result = handle.wait_with_timeout(limit).await;
        let to = machine::wall();
        let failure = result.err().map(|error| error.to_string());
        if failure.is_some() {
            stage.dump(from, u64::MAX, 60);
            handle.cancel();
            drop(handle.wait_with_timeout(limit).await);
        }
        let after = stage.figures()?;
        let held =
            |party: usize| (before[party].memory.present_bytes, after[party].memory.present_bytes);
        Ok(Moved {
            failure,
            from,
            to,
            fresh_bytes: 0,
            snapshot_bytes: handle.progress().map_or(0, |progress| progress.bytes_sent),
            carried_bytes: after[source].sent.saturating_sub(before[source].sent),
            held: [0, 1].map(held),
            peaks: [source, target].map(|party| after[party].memory.peak_bytes),
            rest: Rest::default(),
        })
    }

    /// Breaks a promise, unseen by the client.
    async fn spoil(&self, stage: &mut Stage, spoil: Spoil) -> Result<()> {
        let by = match spoil {
            Spoil::Lost => -1,
            Spoil::Doubled => 1,
            Spoil::Owners => return stage.nodes[0].tell("boast"),
            Spoil::Bytes => return Ok(()),
        };
        let payload = KvCommand::Add { key: &counter_key(0), by }.to_bytes();
        match self.filler.send(stage.entity, payload).await?.failure {
            None => Ok(()),
            Some(reason) => bail!("could not spoil: {reason}"),
        }
    }

    fn record(&self, stage: &Stage, ledger: Ledger, acks: &[Ack]) -> Record {
        let task = self.task;
        let story = stage.story.lock().unwrap_or_else(PoisonError::into_inner);
        let good: Vec<&Moved> = self.moves.iter().filter(|moved| moved.failure.is_none()).collect();
        report::print_parts(&good, acks, &story);
        if task.each {
            report::print_each(&good, acks, &story);
        }
        let warnings = story.told.iter().filter(|told| told.words.starts_with("Warning"));
        for told in warnings.take(10) {
            println!("  {}: {}", name(told.party), told.words);
        }
        let told = owners::told(&story, NODES.len(), machine::wall());
        let seen = owners::looked_at(&story);
        let (reigns_told, reigns_seen) = (told.len(), seen.len());
        let (told, seen) = (owners::overlaps(told), owners::overlaps(seen));
        let (between, during) = self.snapshots(&story);
        let peak = |party: usize| self.moves.iter().map(|moved| moved.rest.peaks[party]).max();
        drop(story);
        let first = told.iter().chain(&seen).map(|(_, second)| second.from).min();
        if let Some(at) = first {
            stage.dump(at.saturating_sub(AROUND), at + AROUND, 60);
        } else if !ledger.is_right() {
            stage.dump(0, u64::MAX, 200);
        }
        let [passed, dropped] =
            [&stage.tally.passed, &stage.tally.dropped].map(|count| count.load(Ordering::Relaxed));
        Record {
            state_bytes: task.state.0,
            loss_percent: task.loss,
            loss_everywhere: task.loss_everywhere,
            durable: !task.volatile,
            rate: task.rate,
            snapshot_every: task.snapshot_every,
            renewed: task.renew,
            asked: task.moves,
            moves: self.moves.iter().map(|moved| moved.record(acks)).collect(),
            ledger,
            reigns_told,
            reigns_seen,
            two_owners_told: told.len(),
            two_owners_seen: seen.len(),
            snapshots_between: between,
            snapshots_during: during,
            datagrams_passed: passed,
            datagrams_dropped: dropped,
            peak_bytes_between: [0, 1].map(|party| peak(party).unwrap_or(0)),
            machine: Vec::new(),
        }
    }

    /// How many snapshots stood between moves and during moves.
    fn snapshots(&self, story: &Story) -> (usize, usize) {
        let told = story.told.iter().filter(|told| told.words.starts_with("snapshot "));
        let moving = |at: u64| self.moves.iter().any(|moved| (moved.from..=moved.to).contains(&at));
        let (during, between): (Vec<_>, Vec<_>) = told.partition(|told| moving(told.at));
        (between.len(), during.len())
    }
}
