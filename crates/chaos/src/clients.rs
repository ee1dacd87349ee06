//! Decides how the trial talks to its client processes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use whimbrel::NodeKey;
use whimbrel::wire::hex;
use whimbrel_trial::Dice;

use crate::client::{Order, Reply, SheetLine, Who};
use crate::net::Net;
use crate::nodes::Nodes;

/// How long a client may take for what needs daemons.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// A client process.
pub(crate) struct ClientProcess {
    pub(crate) name: String,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    process: Child,
}

/// The key of a client before it runs.
pub(crate) struct ClientKey {
    pub(crate) name: String,
    pub(crate) public: String,
    seed: String,
}

impl ClientKey {
    /// From the seed of the trial: it guards nothing.
    pub(crate) fn new(at: usize, dice: &mut Dice) -> Self {
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next().to_le_bytes()));
        let public = NodeKey::from_seed(&seed).public().to_string();
        Self { name: format!("client-{at}"), public, seed: hex(&seed) }
    }
}

impl ClientProcess {
    /// Starts a client that is party number `party`.
    pub(crate) async fn start(
        key: ClientKey,
        party: usize,
        net: &Net,
        nodes: &Nodes,
        folder: &Path,
    ) -> Result<Self> {
        let mut words = net.at(party);
        let own = std::env::current_exe().context("could not find this program")?;
        words.push(own.display().to_string());
        words.push("client".to_owned());
        let (program, rest) = words.split_first().context("no words")?;
        let log = std::fs::File::create(folder.join(format!("{}.log", key.name)))?;
        let mut process = Command::new(program)
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("could not start a client")?;
        let stdin = process.stdin.take().context("no input")?;
        let answers = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut client = Self { name: key.name, stdin, answers, process };
        let members = nodes.all.iter().enumerate();
        let members =
            members.map(|(at, node)| (node.key.clone(), net.dialled(party, at))).collect();
        let who = Who { seed: key.seed, listen: net.address(party), members };
        client.say(&serde_json::to_string(&who)?).await?;
        client.hear().await?;
        Ok(client)
    }

    /// The process.
    pub(crate) fn process(&self) -> Option<u32> {
        self.process.id()
    }

    /// Tells it something; what it counted.
    pub(crate) async fn tell(&mut self, order: &Order) -> Result<u64> {
        self.say(&serde_json::to_string(order)?).await?;
        match self.hear().await? {
            Reply::Ok(count) => Ok(count),
            Reply::Sheets(_) => bail!("{} answered something else", self.name),
            Reply::Failed(why) => bail!("{}: {why}", self.name),
        }
    }

    /// Has it compare.
    pub(crate) async fn check(&mut self) -> Result<Vec<SheetLine>> {
        self.say(&serde_json::to_string(&Order::Check)?).await?;
        match self.hear().await? {
            Reply::Sheets(sheets) => Ok(sheets),
            Reply::Ok(_) => bail!("{} answered something else", self.name),
            Reply::Failed(why) => bail!("{}: {why}", self.name),
        }
    }

    async fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.stdin.write_all(format!("{line}\n").as_bytes()).await?)
    }

    async fn hear(&mut self) -> Result<Reply> {
        let line = tokio::time::timeout(ANSWER_MAX, self.answers.next_line()).await;
        let line = line.with_context(|| format!("{} does not answer", self.name))??;
        let line = line.with_context(|| format!("{} ended", self.name))?;
        serde_json::from_str(&line).context("a client answered nonsense")
    }
}
