//! Decides how the nodes of a demo live: processes of their own, with folders of their own, and none
//! of them outlives the demo.
//!
//! Each node is tethered to this process by its standard input, so that it ends even when this
//! process is killed; on every other way out it is killed here. The folder goes with them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;
use whimbrel::runtime::admin::words::{Ask, Done};
use whimbrel::runtime::admin::{AdminClient, SOCKET_NAME};
use whimbrel::{Member, NodeId, NodeKey, PublicKey};

use crate::config::{self, CONFIG_FILE, IsolatesConfig, KEY_FILE, MemberConfig, NodeConfig};
use crate::failure::Advice;

/// How long a node may take until it is ready.
const START_MAX: Duration = Duration::from_secs(60);

/// How often a node that starts is asked.
const START_POLL: Duration = Duration::from_millis(20);

/// Lines of the log that are shown when a node ends by itself.
const LOG_LINES: usize = 10;

/// The nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    folder: TempDir,
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) member: Member,
    /// Further words for its process.
    pub(crate) words: Vec<String>,
    /// What it allows isolates.
    pub(crate) isolates: IsolatesConfig,
    folder: PathBuf,
    process: Option<Child>,
}

impl Cluster {
    /// Folders, keys and addresses for `count` nodes. None runs yet.
    pub(crate) fn prepare(count: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("whimbrel-demo-").tempdir();
        let folder = folder.context("could not make a temporary folder")?;
        // All at once, so that they differ; then they are free for the nodes.
        let sockets: Vec<UdpSocket> = (0..count)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()
            .context("could not find free ports")?;
        let nodes = (b'a'..).zip(&sockets).map(|(letter, socket)| {
            let name = char::from(letter).to_string();
            Node::prepare(folder.path(), name, socket.local_addr()?)
        });
        let nodes = nodes.collect::<Result<_>>()?;
        Ok(Self { nodes, folder })
    }

    /// The nodes as members.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.nodes.iter().map(|node| node.member.clone()).collect()
    }

    /// Writes the config files, with `clients` as a member that runs no daemons, and starts all.
    pub(crate) async fn start(&mut self, clients: PublicKey, address: SocketAddr) -> Result<()> {
        let mut everybody: Vec<MemberConfig> = self.nodes.iter().map(Node::as_member).collect();
        everybody.push(MemberConfig {
            name: "clients".to_owned(),
            key: clients.to_string(),
            addresses: vec![address],
        });
        for node in &mut self.nodes {
            let others = everybody.iter().filter(|member| member.name != node.name);
            node.write_config(others.cloned().collect())?;
            node.start()?;
        }
        for node in &mut self.nodes {
            node.wait_until_ready().await?;
        }
        Ok(())
    }

    /// The place of the node with this id.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id.to_string() == id)
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Node {
    fn prepare(folder: &Path, name: String, listen: SocketAddr) -> Result<Self> {
        let folder = folder.join(&name);
        fs::create_dir(&folder).context("could not make the folder of a node")?;
        config::write_seed(&folder.join(KEY_FILE))?;
        let key: NodeKey = config::read_key(&folder.join(KEY_FILE))?;
        let member = Member { key: key.public(), addresses: vec![listen] };
        Ok(Self {
            name,
            id: key.node_id(),
            member,
            words: Vec::new(),
            isolates: IsolatesConfig::default(),
            folder,
            process: None,
        })
    }

    fn as_member(&self) -> MemberConfig {
        MemberConfig {
            name: self.name.clone(),
            key: self.member.key.to_string(),
            addresses: self.member.addresses.clone(),
        }
    }

    fn write_config(&self, members: Vec<MemberConfig>) -> Result<()> {
        let listen = self.member.addresses.first().copied().context("a node without address")?;
        let node = NodeConfig {
            name: self.name.clone(),
            data: ".".into(),
            key: KEY_FILE.into(),
            listen,
            addresses: Vec::new(),
            mesh: None,
            inviters: Vec::new(),
            workers: None,
            tags: Default::default(),
            trace: None,
            memory_bytes: None,
            hosts: None,
            trust_roots: Vec::new(),
            open_channels: Vec::new(),
            statecharts: Vec::new(),
            statecharts_closed: false,
            isolates: self.isolates.clone(),
            members,
            settings: Default::default(),
        };
        let text = toml::to_string(&node).context("could not write a config")?;
        config::write_new(&self.folder.join(CONFIG_FILE), text.as_bytes(), 0o600)
    }

    /// Starts the process.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let program = std::env::current_exe().context("could not find this program")?;
        let process = Command::new(program)
            .arg("node")
            .arg("--tethered")
            .args(&self.words)
            .arg("--config")
            .arg(self.folder.join(CONFIG_FILE))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.context("could not start a node")?);
        Ok(())
    }

    /// Waits until it answers and is ready.
    pub(crate) async fn wait_until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if self.is_ready().await {
                return Ok(());
            }
            if let Some(process) = &mut self.process
                && let Ok(Some(status)) = process.try_wait()
            {
                return Err(self.ended(&format!("it ended ({status})")));
            }
            if begun.elapsed() > START_MAX {
                return Err(self.ended("it was not ready in time"));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut admin) = self.admin().await else { return false };
        let answer = admin.ask(Ask::Node {}).await;
        matches!(answer, Ok(Done::Node(line)) if line.ready)
    }

    fn ended(&self, why: &str) -> anyhow::Error {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
        Advice::failed(
            format!("the node {} does not run: {why}\n    {last}", self.name),
            "see its last words above; try again",
        )
    }

    fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// A new connection to its admin socket.
    pub(crate) async fn admin(&self) -> Result<AdminClient> {
        Ok(AdminClient::connect(&self.folder.join(SOCKET_NAME)).await?)
    }

    /// SIGKILL: it has no chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
