//! Decides which daemon moves where, who asks for it, and when a node is killed.
//!
//! Daemons move one after the other without rest, each to a random other node, and the request goes
//! to a random node: the source, the target or a third one. Once, in the middle of a move, one of
//! those that take part is killed with SIGKILL and started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use whimbrel::runtime::admin::words::{Ask, Done, MoveReport, Part, daemon_text};
use whimbrel::runtime::admin::{AdminClient, AdminClientError, AdminFault, Again};
use whimbrel_trial::feed::micros;
use whimbrel_trial::{Dice, Feed};

use super::Board;
use super::cluster::Cluster;
use super::gaps::Span;
use crate::failure::Advice;

/// How long any one move, or the search for a daemon, may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often a daemon is looked for that nobody seems to have.
const POLL: Duration = Duration::from_millis(50);

/// How often it is tried to kill a node before a move is over.
const KILLS_MAX: u32 = 20;

/// The phases in which a node may be killed, in order: all before the end.
const PHASES: [&str; 5] = ["snapshot", "transfer", "restore", "replay", "cutover"];

/// Who is asked to move a daemon, and who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Target,
    Third,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Source, Self::Target, Self::Third];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Third => "third node",
        }
    }
}

/// A move that was asked for.
pub(crate) struct Move {
    pub(crate) feed: usize,
    pub(crate) asked: Role,
    pub(crate) span: Span,
    pub(crate) moved: bool,
    pub(crate) bytes: u64,
    pub(crate) replayed: u64,
}

/// The node that was killed.
pub(crate) struct Killed {
    pub(crate) node: String,
    pub(crate) role: Role,
    pub(crate) phase: String,
    pub(crate) back_after: Duration,
    /// When the daemon could be moved again.
    pub(crate) ended_after: Duration,
    pub(crate) ended_on: String,
    /// From the kill until the interrupted move had ended.
    pub(crate) span: Span,
}

/// What came of it all.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) moves: Vec<Move>,
    pub(crate) tried_again: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) killed: Option<Killed>,
}

/// Moves daemons.
pub(crate) struct Mover<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) feeds: &'a [Arc<Feed>],
    pub(crate) board: &'a Board,
    pub(crate) dice: Dice,
    pub(crate) begun: Instant,
    /// Where each daemon lives.
    pub(crate) owners: Vec<usize>,
    pub(crate) story: Story,
}

/// Where a move goes and who is asked for it.
#[derive(Clone, Copy)]
struct Plan {
    feed: usize,
    source: usize,
    target: usize,
    third: usize,
}

impl Plan {
    const fn node(&self, role: Role) -> usize {
        match role {
            Role::Source => self.source,
            Role::Target => self.target,
            Role::Third => self.third,
        }
    }
}

impl Mover<'_> {
    /// Moves until `end`, and kills a node half way.
    pub(crate) async fn run(mut self, end: Instant) -> Result<Story> {
        let half = self.begun + (end - self.begun) / 2;
        while Instant::now() < end {
            if self.story.killed.is_none() && Instant::now() >= half {
                self.kill_in_a_move().await?;
                continue;
            }
            let plan = self.plan(None);
            let asked = self.role();
            self.make(plan, asked).await?;
        }
        if self.story.killed.is_none() {
            self.kill_in_a_move().await?;
        }
        Ok(self.story)
    }

    fn role(&mut self) -> Role {
        Role::ALL[self.dice.below(3)]
    }

    fn plan(&mut self, feed: Option<usize>) -> Plan {
        let nodes = self.cluster.nodes.len();
        let feed = feed.unwrap_or_else(|| self.dice.below(self.feeds.len()));
        let source = self.owners[feed];
        let target = (source + 1 + self.dice.below(nodes - 1)) % nodes;
        let others: Vec<usize> =
            (0..nodes).filter(|&node| node != source && node != target).collect();
        Plan { feed, source, target, third: others[self.dice.below(others.len())] }
    }

    fn ask(&self, plan: Plan) -> Ask {
        Ask::Migrate {
            daemon: daemon_text(&self.feeds[plan.feed].daemon),
            to: Some(self.cluster.nodes[plan.target].name.clone()),
            transport_identity: true,
            freeze_and_copy: false,
            watch: true,
            terms: None,
        }
    }

    fn now(&self) -> u64 {
        micros(self.begun.elapsed())
    }

    async fn make(&mut self, plan: Plan, asked: Role) -> Result<()> {
        let [source, target] = [plan.source, plan.target].map(|at| &self.cluster.nodes[at].name);
        let name = &self.feeds[plan.feed].name;
        self.board.say(format!("{name}: {source} → {target}"));
        let ask = self.ask(plan);
        let from = self.now();
        let mut admin = self.cluster.nodes[plan.node(asked)].admin().await?;
        let moved = tokio::time::timeout(PATIENCE, admin.ask(ask)).await;
        let moved = moved.map_err(|_| stuck(name))?;
        let span = Span { from, to: self.now() };
        match moved {
            Ok(Done::Moved(report)) => {
                self.owners[plan.feed] = plan.target;
                self.enter(plan.feed, asked, span, Some(report));
            }
            Ok(_) => bail!("a node answered something else"),
            Err(AdminClientError::Refused(fault)) => self.failed(plan, asked, span, fault).await?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn enter(&mut self, feed: usize, asked: Role, span: Span, report: Option<MoveReport>) {
        self.board.moves(u64::from(report.is_some()));
        self.story.moves.push(Move {
            feed,
            asked,
            span,
            moved: report.is_some(),
            bytes: report.as_ref().map_or(0, |report| report.bytes_total),
            replayed: report.as_ref().map_or(0, |report| report.events_replayed),
        });
    }

    async fn failed(
        &mut self,
        plan: Plan,
        asked: Role,
        span: Span,
        fault: AdminFault,
    ) -> Result<()> {
        self.story.failures.push(format!("{} (asked at the {})", fault.message, asked.word()));
        self.story.tried_again += u64::from(fault.again != Again::No);
        self.enter(plan.feed, asked, span, None);
        self.owners[plan.feed] = self.owner(plan.feed).await?;
        Ok(())
    }

    /// Where a daemon lives: the node that owns it must say so itself.
    async fn owner(&self, feed: usize) -> Result<usize> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            for (place, node) in self.cluster.nodes.iter().enumerate() {
                let Ok(mut admin) = node.admin().await else { continue };
                let ask = Ask::Find { daemon: daemon_text(&self.feeds[feed].daemon) };
                let Ok(Ok(Done::Daemon(line))) =
                    tokio::time::timeout(Duration::from_secs(10), admin.ask(ask)).await
                else {
                    continue;
                };
                let says = line.owner.as_deref().and_then(|id| self.cluster.place(id));
                if says == Some(place) && line.standing == "live" {
                    return Ok(place);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        Err(stuck(&self.feeds[feed].name))
    }

    /// Kills a node that takes part in a move, while the move goes on.
    async fn kill_in_a_move(&mut self) -> Result<()> {
        let role = self.role();
        let wanted = PHASES[self.dice.below(PHASES.len())];
        for _ in 0..KILLS_MAX {
            // The last daemon is the one with much state: its moves last longest.
            let plan = self.plan(Some(self.feeds.len() - 1));
            // When one of the two is to be killed, the third one asks and lives to tell.
            let admin = self.cluster.nodes[plan.third].admin().await?;
            let from = self.now();
            let (mut phases, moving) = begin(admin, self.ask(plan));
            let phase = reached(wanted, &mut phases).await;
            let victim = plan.node(role);
            if let Some(phase) = phase
                && !moving.is_finished()
            {
                let dead = self.now();
                self.cluster.nodes[victim].kill();
                return self.bring_back(plan, role, phase, Span { from, to: dead }, moving).await;
            }
            // It was over first.
            let moved = moving.await.context("a task of the demo ended")?;
            let span = Span { from, to: self.now() };
            self.owners[plan.feed] = self.owner(plan.feed).await?;
            if let Ok(Done::Moved(report)) = moved {
                self.enter(plan.feed, Role::Third, span, Some(report));
            }
        }
        Err(Advice::failed(
            "the moves were over before a node could be killed",
            "give the daemon more state, for example --state 64MiB",
        ))
    }

    async fn bring_back(
        &mut self,
        plan: Plan,
        role: Role,
        phase: String,
        span: Span,
        moving: JoinHandle<Result<Done, AdminClientError>>,
    ) -> Result<()> {
        let dead = Instant::now();
        let node = &mut self.cluster.nodes[plan.node(role)];
        let name = node.name.clone();
        self.board.note(format!("killed {name}, {} of a move in {phase}", role.word()));
        node.start()?;
        node.wait_until_ready().await?;
        let back_after = dead.elapsed();
        self.board.note(format!("{name} is back after {:.2} s", back_after.as_secs_f64()));
        let feed = &self.feeds[plan.feed].name;
        let ended = tokio::time::timeout(PATIENCE, moving).await.map_err(|_| stuck(feed))?;
        let moved = match ended.context("a task of the demo ended")? {
            Ok(Done::Moved(report)) => Some(report),
            Ok(_) => bail!("a node answered something else"),
            Err(AdminClientError::Refused(fault)) => {
                self.story.failures.push(format!("{} (a node was killed)", fault.message));
                self.story.tried_again += 1;
                None
            }
            // It was the one that was asked.
            Err(_) if role == Role::Third => None,
            Err(error) => return Err(error.into()),
        };
        for feed in 0..self.feeds.len() {
            self.owners[feed] = self.owner(feed).await?;
        }
        let ended_on = self.cluster.nodes[self.owners[plan.feed]].name.clone();
        self.settle(plan.feed).await?;
        let ended_after = dead.elapsed();
        let whole = Span { from: span.from, to: self.now() };
        if role != Role::Third || moved.is_some() {
            self.enter(plan.feed, Role::Third, whole, moved);
        }
        self.story.killed = Some(Killed {
            node: name,
            role,
            phase,
            back_after,
            ended_after,
            ended_on,
            span: whole,
        });
        Ok(())
    }
}

impl Mover<'_> {
    /// Moves a daemon as soon as it can be moved: an interrupted move must end by itself.
    async fn settle(&mut self, feed: usize) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let plan = self.plan(Some(feed));
            let mut admin = self.cluster.nodes[plan.source].admin().await?;
            let moved = tokio::time::timeout(PATIENCE, admin.ask(self.ask(plan))).await;
            match moved.map_err(|_| stuck(&self.feeds[feed].name))? {
                Ok(Done::Moved(_)) => {
                    self.owners[feed] = plan.target;
                    return Ok(());
                }
                Ok(_) => bail!("a node answered something else"),
                Err(AdminClientError::Refused(_)) => {
                    self.owners[feed] = self.owner(feed).await?;
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(stuck(&self.feeds[feed].name))
    }
}

/// Asks, and tells the phases as they come.
fn begin(
    mut admin: AdminClient,
    ask: Ask,
) -> (mpsc::UnboundedReceiver<String>, JoinHandle<Result<Done, AdminClientError>>) {
    let (tell, phases) = mpsc::unbounded_channel();
    let moving = tokio::spawn(async move {
        let see = |part| {
            if let Part::Progress(progress) = part
                && let Some(phase) = progress.phase
            {
                // Only the first is waited for.
                let _ = tell.send(phase);
            }
        };
        admin.ask_with(ask, see).await
    });
    (phases, moving)
}

/// The phase in which the move is when it has come as far as `wanted`; none if it was over first.
async fn reached(wanted: &str, phases: &mut mpsc::UnboundedReceiver<String>) -> Option<String> {
    let place = |phase: &str| PHASES.iter().position(|known| *known == phase);
    let wait = async {
        while let Some(phase) = phases.recv().await {
            if place(&phase)? >= place(wanted)? {
                return Some(phase);
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, wait).await.ok().flatten()
}

fn stuck(daemon: &str) -> anyhow::Error {
    Advice::failed(
        format!("{daemon} did not settle within {} s", PATIENCE.as_secs()),
        "this must not happen: please report it",
    )
}
