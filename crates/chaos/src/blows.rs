//! Decides how processes and disks are hit: one blow after the other, until it is over.
//!
//! Whatever was done is undone before the next blow: the node runs again, without a trap, or its
//! disk has room.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use whimbrel_trial::Dice;
use whimbrel_trial::steps::STEPS;

use crate::nodes::{Node, POLL, Trap};
use crate::plan::{Blow, Strokes, Whom};
use crate::system::{is_stopped, signal};
use crate::trial::{Over, Stage};

/// How long a trap stays set before it is given up.
const TRAP_MAX: Duration = Duration::from_secs(12);

/// How long a node that is told to end may take while it is cut off or slow.
const END_MAX: Duration = Duration::from_secs(60);

/// Hits until it is over.
pub(crate) async fn run(
    stage: Arc<Stage>,
    seed: u64,
    has_spaces: bool,
    mut over: Over,
) -> Result<()> {
    let mut strokes = Strokes::new(seed, stage.nodes.len(), has_spaces);
    let mut dice = Dice::new(seed ^ 0xd1ce);
    while !over.is_over() {
        let stroke = strokes.next();
        over.rest(stroke.rest).await;
        if over.is_over() {
            break;
        }
        let mut striker = Striker { stage: &stage, dice: &mut dice, over: &mut over };
        striker.strike(&stroke.what).await?;
    }
    Ok(())
}

struct Striker<'a> {
    stage: &'a Stage,
    dice: &'a mut Dice,
    over: &'a mut Over,
}

impl Striker<'_> {
    async fn strike(&mut self, what: &Blow) -> Result<()> {
        let kind = what.kind();
        let node = match *what {
            Blow::Kill { whom, .. } | Blow::End { whom, .. } | Blow::Stop { whom, .. } => {
                self.pick(whom)
            }
            Blow::KillAt { node, .. } | Blow::StopAt { node, .. } | Blow::Clock { node, .. } => {
                node
            }
            Blow::DiskFull { .. } => match self.stage.nodes.small() {
                Some((node, _)) => node,
                None => return Ok(()),
            },
        };
        let fault = self.stage.board.begin(kind, vec![node]);
        let name = &self.stage.nodes.all[node].name;
        match *what {
            Blow::Kill { whom, down } => {
                self.say(&format!("{name} is killed, {} of a move", whom.word()));
                self.kill(node, down, Trap::default()).await?;
            }
            Blow::End { whom, down } => {
                self.say(&format!("{name} is told to end, {} of a move", whom.word()));
                self.end(node, down).await?;
            }
            Blow::Stop { whom, pause } => {
                self.say(&format!("{name} is stopped, {} of a move, {pause:.1?}", whom.word()));
                self.stop(node, pause).await;
            }
            Blow::KillAt { node, step, down } => self.kill_at(node, step, down).await?,
            Blow::StopAt { node, step, pause } => self.stop_at(node, step, pause).await?,
            Blow::DiskFull { pause } => self.fill(node, pause).await?,
            Blow::Clock { node, ahead } => {
                self.say(&format!(
                    "{name} is killed; its clock will be {} s ahead",
                    ahead.as_secs()
                ));
                let trap = Trap { clock_ahead: Some(ahead), ..Trap::default() };
                self.kill(node, Duration::ZERO, trap).await?;
            }
        }
        self.stage.board.end(fault);
        Ok(())
    }

    fn say(&self, text: &str) {
        self.stage.board.say(&format!("fault  {text}"));
    }

    fn node(&self, at: usize) -> &Node {
        &self.stage.nodes.all[at]
    }

    /// A node that is this to a move under way; any node if nothing moves.
    fn pick(&mut self, whom: Whom) -> usize {
        let routes: Vec<_> = self.stage.board.notes().under_way.values().copied().collect();
        if routes.is_empty() {
            return self.dice.below(self.stage.nodes.len());
        }
        // An orchestrator that is nothing else, if there is one.
        let third = routes.iter().find(|it| it.asked != it.source && it.asked != it.target);
        let any = &routes[self.dice.below(routes.len())];
        match whom {
            Whom::Source => any.source,
            Whom::Target => any.target,
            Whom::Orchestrator => third.unwrap_or(any).asked,
        }
    }

    /// Kills a node and starts it again.
    async fn kill(&mut self, at: usize, down: Duration, trap: Trap) -> Result<()> {
        self.node(at).set_hit(true);
        self.node(at).kill();
        self.over.rest(down).await;
        self.bring_back(at, trap).await
    }

    /// Tells a node to end, which it must do in time and well whatever the network is like, and starts it
    /// again.
    async fn end(&mut self, at: usize, down: Duration) -> Result<()> {
        self.node(at).set_hit(true);
        if let Err(error) = self.node(at).end(END_MAX).await {
            let name = &self.node(at).name;
            self.stage.board.hung(format!("{name} was told to end: {error:#}"));
            crate::stacks::print(self.node(at));
        }
        self.kill(at, down, Trap::default()).await
    }

    async fn bring_back(&self, at: usize, trap: Trap) -> Result<()> {
        let begun = Instant::now();
        self.stage.nodes.start(at, trap)?;
        let name = &self.node(at).name;
        match self.stage.nodes.wait_until_ready(at).await {
            Ok(true) => {
                let took = begun.elapsed().as_secs_f64();
                self.stage.board.say(&format!("back   {name} is ready after {took:.2} s"));
            }
            Ok(false) => {
                let words = self.node(at).last_words();
                self.stage.board.violation(format!("{name} ended when it started\n    {words}"));
            }
            Err(error) => {
                self.stage.board.hung(format!("{error:#}"));
                crate::stacks::print(self.node(at));
            }
        }
        self.node(at).set_hit(false);
        Ok(())
    }

    async fn stop(&mut self, at: usize, pause: Duration) {
        self.node(at).set_hit(true);
        if let Some(process) = self.node(at).process() {
            signal(process, "STOP");
            self.over.rest(pause).await;
            signal(process, "CONT");
        }
        self.stage.board.say(&format!("back   {} goes on", self.node(at).name));
        self.node(at).set_hit(false);
    }

    async fn kill_at(&mut self, at: usize, step: &'static str, down: Duration) -> Result<()> {
        let name = self.node(at).name.clone();
        self.say(&format!("{name} is killed; it will die {step}"));
        self.node(at).set_hit(true);
        self.node(at).kill();
        self.lure(at, step);
        self.stage.nodes.start(at, Trap { crash_at: Some(step), ..Trap::default() })?;
        let begun = Instant::now();
        let mut died = self.node(at).has_ended();
        while !died && begun.elapsed() < TRAP_MAX && !self.over.is_over() {
            tokio::time::sleep(POLL).await;
            died = self.node(at).has_ended();
        }
        self.note("killed", step, died);
        self.say(&format!("{name} {} {step}", if died { "died" } else { "did not come to" }));
        self.node(at).kill();
        self.over.rest(down).await;
        self.bring_back(at, Trap::default()).await
    }

    async fn stop_at(&mut self, at: usize, step: &'static str, pause: Duration) -> Result<()> {
        let name = self.node(at).name.clone();
        self.say(&format!("{name} is killed; it will stop {step}"));
        self.node(at).set_hit(true);
        self.node(at).kill();
        self.lure(at, step);
        self.stage.nodes.start(at, Trap { stop_at: Some(step), ..Trap::default() })?;
        let process = self.node(at).process().context("a node that was started has a process")?;
        let begun = Instant::now();
        let mut stopped = is_stopped(process);
        while !stopped && begun.elapsed() < TRAP_MAX && !self.over.is_over() {
            tokio::time::sleep(POLL).await;
            stopped = is_stopped(process);
        }
        self.note("stopped", step, stopped);
        if !stopped {
            self.say(&format!("{name} did not come to {step}"));
            self.node(at).kill();
            return self.bring_back(at, Trap::default()).await;
        }
        self.say(&format!("{name} stopped {step}, {pause:.1?}"));
        self.over.rest(pause).await;
        signal(process, "CONT");
        self.stage.board.say(&format!("back   {name} goes on"));
        self.node(at).set_hit(false);
        Ok(())
    }

    /// Daemons come to the node so that it does the step.
    fn lure(&self, at: usize, step: &str) {
        let part = STEPS.iter().find(|it| it.name == step).map(|it| it.who);
        self.stage.board.notes().lure = part.map(|part| (at, part));
    }

    fn note(&self, what: &'static str, step: &'static str, sprung: bool) {
        let mut notes = self.stage.board.notes();
        notes.lure = None;
        let trapped = notes.traps.entry((step, what)).or_default();
        trapped.set += 1;
        trapped.sprung += u32::from(sprung);
    }

    /// The node must live through it: it is not taken for hit.
    async fn fill(&mut self, at: usize, pause: Duration) -> Result<()> {
        let Some((_, disk)) = self.stage.nodes.small() else { return Ok(()) };
        let ballast = disk.join("ballast");
        let file = ballast.clone();
        let bytes = tokio::task::spawn_blocking(move || fill(&file)).await?;
        self.say(&format!(
            "the disk of {} is full, {bytes} bytes, {pause:.1?}",
            self.node(at).name
        ));
        self.over.rest(pause).await;
        std::fs::remove_file(&ballast).context("could not remove the ballast")?;
        self.stage.board.say(&format!("back   the disk of {} has room", self.node(at).name));
        Ok(())
    }
}

/// Writes until there is no room; how much that was.
fn fill(file: &Path) -> u64 {
    use std::io::Write;
    let chunk = vec![0x5a; 1 << 20];
    let Ok(mut out) = std::fs::File::create(file) else { return 0 };
    let mut bytes = 0;
    // First in large steps, then to the last page.
    for size in [chunk.len(), 4_096] {
        while let Ok(written) = out.write(&chunk[..size]) {
            bytes += written as u64;
        }
    }
    bytes
}
