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

/// Plays the commands of a scenario; gives them back with what happened below each.
fn tell(text: &str) -> Result<String, String> {
    let mut stage = Stage { cluster: None, seed: 1, nodes: 3, last: None };
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("    ")) {
        out.push_str(line);
        out.push('\n');
        let command = line.split('#').next().unwrap_or_default().trim();
        if !command.is_empty() {
            stage.play(command).map_err(|error| format!("{command:?}: {error}"))?;
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

    fn play(&mut self, command: &str) -> Result<(), String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["nodes", count] => self.nodes = number(count)?,
            ["seed", seed] => self.seed = number(seed)?,
            ["spawn", node, style] => {
                let style = match style {
                    "replays" => Style::Replays,
                    "deltas" => Style::Deltas,
                    "freezes" => Style::Freezes,
                    "drifts" => Style::DriftHidden,
                    _ => return Err(format!("no style {style}")),
                };
                let node = self.node(node)?;
                self.cluster().spawn(node, style);
            }
            ["client", node, count] => {
                let (node, count) = (self.node(node)?, number(count)?);
                self.cluster().add_client(node, 0, count, 4, 4 * MILLI);
            }
            ["move", orchestrator, "to", target] | ["copy", orchestrator, "to", target] => {
                let freeze_and_copy = words[0] == "copy";
                let options = MoveOptions { freeze_and_copy, ..MoveOptions::default() };
                let (node, target) = (self.node(orchestrator)?, self.node(target)?);
                self.last = Some(self.cluster().ask_move(node, 0, target, options));
            }
            ["cancel", node] => {
                let (node, attempt) = (self.node(node)?, self.last.ok_or("nothing to cancel")?);
                let entity = self.cluster().daemons[0].entity;
                self.cluster().feed(node, entity, Input::Cancel { attempt });
            }
            ["wait", millis] => {
                let millis: u64 = number(millis)?;
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

    fn play_fault(&mut self, words: &[&str]) -> Result<(), String> {
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
                let (node, millis): (usize, u64) = (self.node(node)?, number(millis)?);
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
            _ => return Err("no such command".to_owned()),
        }
        Ok(())
    }

    fn node(&self, name: &str) -> Result<usize, String> {
        let index = match name.as_bytes() {
            [letter @ b'A'..=b'Z'] => usize::from(letter - b'A'),
            _ => return Err(format!("{name} is no node")),
        };
        if index < self.nodes { Ok(index) } else { Err(format!("there is no node {name}")) }
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

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
