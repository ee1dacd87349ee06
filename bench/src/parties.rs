//! Decides how this process talks to the node and client processes that it started.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use whimbrel_wire::NodeId;

use crate::machine::Memory;
use crate::node::{key, number};

/// How long a node may take to answer a command. A client waits for its last answers before.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(90);

/// Variables by which glibc is told how many heaps there may be, and what is too large for them, as
/// `whimbrel node` tells itself. Whoever sets them is obeyed.
const MEMORY: [(&str, &str); 2] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=16384:glibc.malloc.mmap_max=32768"),
];

/// What a node told by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// When, in nanoseconds on the wall.
    pub(crate) at: u64,
    /// By which node.
    pub(crate) party: usize,
    pub(crate) words: String,
}

/// What nodes told by themselves, all together.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) told: Vec<Told>,
    /// By node: from when to when a look found the daemon live.
    pub(crate) live: Vec<(usize, u64, u64)>,
}

/// The story, shared with the threads that write it.
pub(crate) type SharedStory = Arc<Mutex<Story>>;

/// Figures of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) memory: Memory,
    /// Bytes sent to the other node on the control and bulk lanes.
    pub(crate) sent: u64,
}

/// A process: a node, or the client.
pub(crate) struct Party {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    pub(crate) seed: u8,
    pub(crate) address: SocketAddr,
}

impl Party {
    /// Starts node number `index` of this run.
    pub(crate) fn node(
        index: usize,
        seed: u8,
        data: &Path,
        hops: Option<&Path>,
        story: &SharedStory,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", "--seed", &seed.to_string(), "--data"]).arg(data);
        note_hops(&mut command, hops);
        for (name, value) in MEMORY {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        Self::start(command, index, seed, story)
    }

    /// Starts the process that sends events; it is party number `index`.
    pub(crate) fn client(
        index: usize,
        seed: u8,
        hops: Option<&Path>,
        story: &SharedStory,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["client", "--seed", &seed.to_string()]);
        note_hops(&mut command, hops);
        Self::start(command, index, seed, story)
    }

    fn start(mut command: Command, index: usize, seed: u8, story: &SharedStory) -> Result<Self> {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("no node")?;
        let output = process.stdout.take().context("the node has no output")?;
        let input = process.stdin.take();
        let (answer, answers) = channel();
        let story = Arc::clone(story);
        std::thread::spawn(move || hear(index, BufReader::new(output), &answer, &story));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut party = Self { process, input, answers, seed, address };
        let line = party.answer()?;
        party.address = line.strip_prefix("listening ").context("not listening")?.parse()?;
        Ok(party)
    }

    pub(crate) fn node_id(&self) -> NodeId {
        key(self.seed).public().node_id()
    }

    fn answer(&self) -> Result<String> {
        self.answers.recv_timeout(ANSWER_WAIT_MAX).context("a node does not answer")
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the node was stopped")?;
        input.write_all(format!("{line}\n").as_bytes())?;
        Ok(input.flush()?)
    }

    /// Tells the process something and waits until it is done.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        self.say(line)?;
        self.done(line)
    }

    fn done(&self, line: &str) -> Result<()> {
        match self.answer()?.as_str() {
            "done" => Ok(()),
            other => bail!("{line}: {other}"),
        }
    }

    /// Asks for what the process says under the name of `line`'s first word.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String> {
        self.say(line)?;
        let answer = self.answer()?;
        let name = line.split(' ').next().unwrap_or_default();
        let said = answer.strip_prefix(name).with_context(|| format!("{line}: {answer}"))?;
        self.done(line)?;
        Ok(said.trim().to_owned())
    }

    /// Memory, and what was sent to the node of `peer`.
    pub(crate) fn figures(&mut self, peer: u8) -> Result<Figures> {
        let said = self.ask(&format!("figures {peer}"))?;
        let mut words = said.split(' ');
        let peak_bytes = number(words.next())?;
        let memory = Memory { peak_bytes, present_bytes: number(words.next())? };
        Ok(Figures { memory, sent: number(words.next())? })
    }

    /// Stops the node in order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.tell("stop")?;
        self.input = None;
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { bail!("a node ended with {status}") }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.input = None;
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// Lets a process note the moments of moves.
fn note_hops(command: &mut Command, hops: Option<&Path>) {
    if let Some(hops) = hops {
        command.arg("--hops").arg(hops);
    }
}

fn hear(index: usize, lines: impl BufRead, answer: &Sender<String>, story: &SharedStory) {
    for line in lines.lines().map_while(Result::ok) {
        if let Some((at, words)) = line.strip_prefix("event ").and_then(|rest| rest.split_once(' '))
        {
            let at = at.parse().unwrap_or(0);
            let told = Told { at, party: index, words: words.to_owned() };
            story.lock().unwrap_or_else(PoisonError::into_inner).told.push(told);
        } else if let Some((first, last)) =
            line.strip_prefix("live ").and_then(|rest| rest.split_once(' '))
        {
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
                let mut story = story.lock().unwrap_or_else(PoisonError::into_inner);
                story.live.push((index, first, last));
            }
        } else if answer.send(line).is_err() {
            return;
        }
    }
}
