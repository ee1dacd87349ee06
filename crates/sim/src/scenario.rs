//! Decides how a story is written as text: commands, and below each the trace that is expected.
//!
//! ```text
//! nodes 3                     how many nodes, before anything else
//! seed 7                      for the delays
//! spawn A replays|deltas|freezes
//! client B 20                 a client on B sends 20 events to D0
//! move C to B                 C asks for D0 to be moved to B
//! copy C to B                 the same by freeze-and-copy
//! cancel C                    C gives its last move up
//! crash A                     A loses its memory
//! start A                     and comes back
//! cut A B | heal A B          in both directions
//! wipe B                      B gets a new disk
//! full B | room B             B's disk has no room, and has it again
//! shutdown B 100              B shuts down in order and comes back after so many milliseconds
//! commit                      until a hand-over is on a disk
//! wait 50                     milliseconds
//! settle                      everything comes to rest, the checkers look
//! ```
//!
//! Only what people see (`*`), what is on a disk (`=`) and faults (`!`) is expected; the legend of
//! the trace is in `trace`.

use std::fmt::Write as _;
use std::path::Path;

use whimbrel_protocol::{Input, MoveOptions, Settings};
use whimbrel_wire::AttemptId;

use crate::cluster::{Cluster, MILLI, SECOND};
use crate::medium::Medium;
use crate::scribe::Style;

/// Runs every scenario of a folder, and writes down what happens if that is wanted.
///
/// # Errors
///
/// The report, when one of them differs.
pub fn run_all(folder: &Path, update: bool) -> Result<String, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder:?}: {error}\n"))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    let (mut report, mut bad) = (String::new(), false);
    for path in &paths {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}\n"))?;
        let happened = tell(&text).map_err(|error| format!("{name}: {error}\n"))?;
        if happened == text {
            let _ = writeln!(report, "{name}: as expected");
        } else if update {
            std::fs::write(path, happened).map_err(|error| format!("{name}: {error}\n"))?;
            let _ = writeln!(report, "{name}: written");
        } else {
            bad = true;
            let lines = text.lines().zip(happened.lines()).enumerate();
            let first = lines.clone().find(|(_, (expected, found))| expected != found);
            let _ = match first {
                Some((at, (expected, found))) => {
                    writeln!(report, "{name}:{}: expected {expected:?}, found {found:?}", at + 1)
                }
                None => writeln!(report, "{name}: it has another length"),
            };
        }
    }
    if bad { Err(report) } else { Ok(report) }
}

/// A line of a scenario that cannot be played.
///
/// Fault: caller. Changed: nothing. Again: with another scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {command:?}: {problem}")]
pub struct ScriptError {
    /// Which line, counted from one.
    pub line: usize,
    /// What it says.
    pub command: String,
    /// What is wrong with it.
    pub problem: ScriptProblem,
}

/// What is wrong with a line of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptProblem {
    /// No command begins like this, or it has another number of words.
    #[error("there is no such command; the list is at the head of scenario.rs")]
    NoCommand,
    /// A number was wanted.
    #[error("{0} is no number")]
    NoNumber(String),
    /// A number beyond its bounds.
    #[error("{what} may be {low} to {high}")]
    OutOfBounds {
        /// Of what.
        what: &'static str,
        /// The least.
        low: u64,
        /// The most.
        high: u64,
    },
    /// A node was wanted.
    #[error("there is no node {0}; they are A, B, …, as many as `nodes` says")]
    NoNode(String),
    /// A style was wanted.
    #[error("there is no style {0}; use replays, deltas, freezes or drifts")]
    NoStyle(String),
    /// There is nobody to do it to.
    #[error("no daemon was born yet; put `spawn` before it")]
    NoDaemon,
    /// No move was asked for.
    #[error("no move was asked for yet; put `move` before it")]
    NoMove,
    /// The cluster runs.
    #[error("the cluster has begun; put it before everything else")]
    TooLate,
}

/// The most of anything that a line may ask for: clients' events, milliseconds.
const COUNT_MAX: u64 = 1_000_000;
const NODES_MAX: u64 = 26;

/// Plays the commands of a scenario; gives them back with what happened below each.
///
/// # Errors
///
/// The first line that cannot be played.
pub fn tell(text: &str) -> Result<String, ScriptError> {
    let mut stage = Stage { cluster: None, seed: 1, nodes: 3, last: None };
    let mut out = String::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with("    ")) {
        out.push_str(line);
        out.push('\n');
        let command = line.split('#').next().unwrap_or_default().trim();
        if !command.is_empty() {
            let (line, said) = (at + 1, command.to_owned());
            stage.play(command).map_err(|problem| ScriptError { line, command: said, problem })?;
            stage.write_trace(&mut out);
        }
    }
    Ok(out)
}

struct Stage {
    cluster: Option<Cluster>,
    seed: u64,
    nodes: usize,
    last: Option<AttemptId>,
}

impl Stage {
    fn cluster(&mut self) -> &mut Cluster {
        let (seed, nodes) = (self.seed, self.nodes);
        self.cluster.get_or_insert_with(|| {
            let settings = Settings { snapshot_every: 20, ..Settings::default() };
            let mut cluster = Cluster::new(seed, nodes, &settings, Medium::Memory, true);
            cluster.panics = false;
            cluster
        })
    }

    fn play(&mut self, command: &str) -> Result<(), ScriptProblem> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["nodes" | "seed", _] if self.cluster.is_some() => return Err(ScriptProblem::TooLate),
            ["nodes", count] => {
                let count = bounded(count, "the number of nodes", 1, NODES_MAX)?;
                self.nodes = usize::try_from(count).unwrap_or(1);
            }
            ["seed", seed] => self.seed = number(seed)?,
            ["spawn", node, style] => {
                let style = match style {
                    "replays" => Style::Replays,
                    "deltas" => Style::Deltas,
                    "freezes" => Style::Freezes,
                    "drifts" => Style::DriftHidden,
                    _ => return Err(ScriptProblem::NoStyle(style.to_owned())),
                };
                let node = self.node(node)?;
                self.cluster().spawn(node, style);
            }
            ["client", node, count] => {
                let node = self.node(node)?;
                let count = bounded(count, "the number of events", 0, COUNT_MAX)?;
                self.born()?.add_client(node, 0, count, 4, 4 * MILLI);
            }
            ["move", orchestrator, "to", target] | ["copy", orchestrator, "to", target] => {
                let freeze_and_copy = words[0] == "copy";
                let options = MoveOptions { freeze_and_copy, ..MoveOptions::default() };
                let (node, target) = (self.node(orchestrator)?, self.node(target)?);
                self.last = Some(self.born()?.ask_move(node, 0, target, options));
            }
            ["cancel", node] => {
                let (node, last) = (self.node(node)?, self.last);
                let attempt = last.ok_or(ScriptProblem::NoMove)?;
                let entity = self.born()?.daemons[0].entity;
                self.cluster().feed(node, entity, Input::Cancel { attempt });
            }
            ["wait", millis] => {
                let millis = bounded(millis, "the wait in milliseconds", 0, COUNT_MAX)?;
                let cluster = self.cluster();
                cluster.run_until(cluster.now + millis * MILLI);
            }
            ["commit"] => {
                let cluster = self.cluster();
                let (before, end) = (cluster.tally.hand_overs, cluster.now + 10 * SECOND);
                while cluster.tally.hand_overs == before && cluster.now < end {
                    cluster.run_until(cluster.now + MILLI / 50);
                }
            }
            ["settle"] => self.cluster().settle(60 * SECOND),
            _ => return self.play_fault(&words),
        }
        Ok(())
    }

    fn play_fault(&mut self, words: &[&str]) -> Result<(), ScriptProblem> {
        match words[..] {
            ["crash", node] => {
                let node = self.node(node)?;
                self.cluster().crash(node, None);
            }
            ["start", node] => {
                let node = self.node(node)?;
                self.cluster().restart(node);
            }
            ["wipe", node] => {
                let node = self.node(node)?;
                self.cluster().wipe(node);
            }
            ["full", node] => {
                let node = self.node(node)?;
                self.cluster().set_full(node, true);
            }
            ["room", node] => {
                let node = self.node(node)?;
                self.cluster().set_full(node, false);
            }
            ["shutdown", node, millis] => {
                let node = self.node(node)?;
                let millis = bounded(millis, "the rest in milliseconds", 0, COUNT_MAX)?;
                self.cluster().shut_down(node, millis * MILLI);
            }
            ["cut", one, other] => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                self.cluster().network.cuts.extend([(one, other), (other, one)]);
            }
            ["heal", one, other] => {
                let (one, other) = (self.node(one)?, self.node(other)?);
                let cuts = &mut self.cluster().network.cuts;
                cuts.remove(&(one, other));
                cuts.remove(&(other, one));
            }
            _ => return Err(ScriptProblem::NoCommand),
        }
        Ok(())
    }

    /// The cluster, once a daemon was born in it.
    fn born(&mut self) -> Result<&mut Cluster, ScriptProblem> {
        let cluster = self.cluster();
        if cluster.daemons.is_empty() { Err(ScriptProblem::NoDaemon) } else { Ok(cluster) }
    }

    fn node(&self, name: &str) -> Result<usize, ScriptProblem> {
        let index = match name.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
            _ => None,
        };
        let index = index.filter(|index| *index < self.nodes);
        index.ok_or_else(|| ScriptProblem::NoNode(name.to_owned()))
    }

    fn write_trace(&mut self, out: &mut String) {
        let Some(cluster) = &mut self.cluster else { return };
        for line in cluster.trace.take_text().lines() {
            let mark = line.split_whitespace().nth(2);
            let dull = line.contains("progress ");
            if matches!(mark, Some("*" | "=" | "!")) && !dull {
                let _ = writeln!(out, "    {line}");
            }
        }
        cluster.trace.keep_on();
    }
}

fn number(text: &str) -> Result<u64, ScriptProblem> {
    text.parse().map_err(|_| ScriptProblem::NoNumber(text.to_owned()))
}

fn bounded(text: &str, what: &'static str, low: u64, high: u64) -> Result<u64, ScriptProblem> {
    let number = number(text)?;
    let good = (low..=high).contains(&number);
    if good { Ok(number) } else { Err(ScriptProblem::OutOfBounds { what, low, high }) }
}
