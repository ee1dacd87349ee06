//! Decides how the node processes live: folders, config files, starts, and who may die.
//!
//! A node that ends although nobody hit it is a fault of ours; [`Nodes::unexpected`] finds it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use whimbrel::runtime::admin::words::{Ask, Done};
use whimbrel::runtime::admin::{AdminClient, SOCKET_NAME};

use crate::net::Net;
use crate::system::{call, signal};

/// How long a node may take until it is ready, whatever the network does.
const START_MAX: Duration = Duration::from_secs(60);

/// How long a node may take for a question that needs no other node.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How often something is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(25);

/// Room on the disk that can be filled.
const SMALL_DISK_BYTES: u64 = 512 << 20;

/// Lines of a log that are shown.
const LOG_LINES: usize = 15;

/// What a node is started with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trap {
    /// It dies at this step.
    pub(crate) crash_at: Option<&'static str>,
    /// It stops at this step.
    pub(crate) stop_at: Option<&'static str>,
    /// Its clocks since the start of the machine show so much more.
    pub(crate) clock_ahead: Option<Duration>,
}

/// A member as the command prints it.
#[derive(Clone, Debug, Deserialize)]
struct MemberLine {
    key: String,
}

#[derive(Deserialize)]
struct MemberLines {
    members: Vec<MemberLine>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    /// Its public key.
    pub(crate) key: String,
    pub(crate) folder: PathBuf,
    /// The words before the command that put it into its network.
    place: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<Child>,
    /// A fault is on it: it may be down or stopped.
    is_hit: bool,
    /// How often that changed.
    hits: u64,
}

/// All nodes.
pub(crate) struct Nodes {
    pub(crate) all: Vec<Node>,
    program: PathBuf,
    /// What every second node runs, if that is another build.
    earlier: Option<PathBuf>,
    /// The node on the small disk, if there is one, and where it is mounted.
    small: Option<(usize, PathBuf)>,
    /// No node is started any more.
    closed: Mutex<bool>,
}

impl Nodes {
    /// Folders and keys. None runs yet.
    pub(crate) fn prepare(
        folder: &Path,
        program: &Path,
        earlier: Option<&Path>,
        count: usize,
        net: &Net,
    ) -> Result<Self> {
        let copy = copied(program, folder.join("whimbrel"))?;
        let earlier = earlier.map(|file| copied(file, folder.join("whimbrel-earlier")));
        let earlier = earlier.transpose()?;
        let small =
            if net.has_spaces() { Some((count - 1, mount(folder, count - 1)?)) } else { None };
        let closed = Mutex::new(false);
        let mut nodes = Self { all: Vec::new(), program: copy, earlier, small, closed };
        for at in 0..count {
            let node = nodes.init(folder, at, net)?;
            nodes.all.push(node);
        }
        Ok(nodes)
    }

    fn init(&self, folder: &Path, at: usize, net: &Net) -> Result<Node> {
        let name = name(at);
        let folder = folder.join(&name);
        let listen = net.address(at).to_string();
        let output = Command::new(self.program_of(at))
            .args(["node", "init"])
            .arg(&folder)
            .args(["--name", &name, "--listen", &listen])
            .stderr(Stdio::piped())
            .output()
            .context("could not run the command")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: MemberLines = toml::from_str(&text).with_context(|| {
            format!("could not make a node: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        let key = lines.members.into_iter().next().context("a node without a key")?.key;
        Ok(Node { name, key, folder, place: net.at(at), state: Mutex::default() })
    }

    /// The build that a node runs.
    fn program_of(&self, at: usize) -> &Path {
        let earlier = self.earlier.as_deref().filter(|_| at % 2 == 1);
        earlier.unwrap_or(&self.program)
    }

    /// Tells every node of the others and of these clients.
    pub(crate) fn introduce(
        &self,
        clients: &[(String, String)],
        net: &Net,
        traces: bool,
    ) -> Result<()> {
        let nodes = self.all.iter().map(|node| (node.name.clone(), node.key.clone()));
        let everybody: Vec<_> = nodes.chain(clients.iter().cloned()).collect();
        for (at, node) in self.all.iter().enumerate() {
            let file = File::options().append(true).open(node.folder.join("node.toml"));
            let mut file = file.context("could not write a config")?;
            if traces {
                // Not on the disk that can be full.
                writeln!(file, "trace = \"../{}.trace\"", node.name)?;
            }
            for (other, (name, key)) in everybody.iter().enumerate().filter(|(it, _)| *it != at) {
                let address = net.dialled(at, other);
                writeln!(
                    file,
                    "[[members]]\nname = \"{name}\"\nkey = \"{key}\"\naddresses = [\"{address}\"]"
                )?;
            }
        }
        Ok(())
    }

    /// The place of the node with this id.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Checks the last two traces of a node with the command; what was found, if there are any.
    pub(crate) fn verify_traces(&self, at: usize) -> Vec<Result<String>> {
        let node = &self.all[at];
        let file = |end: &str| node.folder.with_file_name(format!("{}.trace{end}", node.name));
        let files = [file(".old"), file("")].into_iter().filter(|file| file.exists());
        let verify = |file: PathBuf| {
            call(&format!("{} verify-trace {}", self.program.display(), file.display()))
        };
        files.map(verify).collect()
    }

    /// The node whose disk can be filled, and the disk.
    pub(crate) fn small(&self) -> Option<(usize, &Path)> {
        self.small.as_ref().map(|(node, disk)| (*node, disk.as_path()))
    }

    /// Starts a node.
    pub(crate) fn start(&self, at: usize, trap: Trap) -> Result<()> {
        let node = &self.all[at];
        let mut words = node.place.clone();
        if let Some(ahead) = trap.clock_ahead {
            let seconds = ahead.as_secs().to_string();
            let clocks = ["unshare", "-T", "--monotonic", &seconds, "--boottime", &seconds];
            words.extend(clocks.map(str::to_owned));
        }
        words.push(self.program_of(at).display().to_string());
        words.extend(["node", "--tethered", "--data"].map(str::to_owned));
        let (program, rest) = words.split_first().context("no words")?;
        let log = File::options().create(true).append(true).open(node.log())?;
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(!*closed, "the trial is over");
        let process = Command::new(program)
            .args(rest)
            .arg(&node.folder)
            .env("WHIMBREL_CRASH_AT", trap.crash_at.unwrap_or_default())
            .env("WHIMBREL_STOP_AT", trap.stop_at.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("could not start a node")?;
        node.state().process = Some(process);
        Ok(())
    }

    /// Kills all and starts none any more, whoever still wants to.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.all.iter().for_each(Node::kill);
        if let Some((_, disk)) = &self.small {
            // It may be gone already.
            let _ = call(&format!("umount -l {}", disk.display()));
        }
    }

    /// Waits until a node that runs is ready; false if it ended first.
    pub(crate) async fn wait_until_ready(&self, at: usize) -> Result<bool> {
        let begun = Instant::now();
        let node = &self.all[at];
        while begun.elapsed() < START_MAX {
            if let Ok(Done::Node(line)) = node.ask(Ask::Node {}).await
                && line.ready
            {
                return Ok(true);
            }
            if node.has_ended() {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("node {} was not ready within {} s", node.name, START_MAX.as_secs())
    }

    /// Nodes that ended although nothing was done to them.
    pub(crate) fn unexpected(&self) -> Vec<usize> {
        let is_odd = |at: &usize| {
            let node = &self.all[*at];
            !node.state().is_hit && node.has_ended()
        };
        (0..self.all.len()).filter(is_odd).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.close();
    }
}

/// `a`, `b`, …
pub(crate) fn name(at: usize) -> String {
    let letter = u8::try_from(at).map_or(b'?', |at| b'a'.saturating_add(at));
    char::from(letter).to_string()
}

/// A copy of the command, so that a build meanwhile changes nothing.
fn copied(program: &Path, copy: PathBuf) -> Result<PathBuf> {
    fs::copy(program, &copy).with_context(|| {
        format!("could not copy {}: build it with --features crash-points", program.display())
    })?;
    Ok(copy)
}

fn mount(folder: &Path, at: usize) -> Result<PathBuf> {
    let place = folder.join(name(at));
    fs::create_dir(&place).context("could not make a folder")?;
    let place_text = place.display();
    call(&format!("mount -t tmpfs -o size={SMALL_DISK_BYTES},mode=0700 tmpfs {place_text}"))
        .context("could not make a small disk")?;
    Ok(place)
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not on the disk that can be full.
    fn log(&self) -> PathBuf {
        self.folder.with_file_name(format!("{}.log", self.name))
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ")
    }

    /// Its process, if it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.state().process.as_ref().map(Child::id)
    }

    /// Says that it may be down or stopped, or that it may not.
    pub(crate) fn set_hit(&self, is_hit: bool) {
        let mut state = self.state();
        state.is_hit = is_hit;
        state.hits += 1;
    }

    /// Changes whenever it is hit or left alone.
    pub(crate) fn hits(&self) -> u64 {
        self.state().hits
    }

    /// Whether it may be down or stopped.
    pub(crate) fn is_hit(&self) -> bool {
        self.state().is_hit
    }

    /// Whether its process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let mut state = self.state();
        match &mut state.process {
            Some(process) => process.try_wait().ok().flatten().is_some(),
            None => true,
        }
    }

    /// SIGKILL, and it is buried.
    pub(crate) fn kill(&self) {
        let process = self.state().process.take();
        if let Some(mut process) = process {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM; whether it ended well in time.
    pub(crate) async fn end(&self, within: Duration) -> Result<()> {
        let Some(process) = self.process() else { bail!("it does not run") };
        signal(process, "TERM");
        let begun = Instant::now();
        while begun.elapsed() < within {
            let ended = match &mut self.state().process {
                Some(process) => process.try_wait()?,
                None => None,
            };
            match ended {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("it ended with {status}\n    {}", self.last_words()),
                None => tokio::time::sleep(POLL).await,
            }
        }
        bail!("it had not ended after {} s", within.as_secs())
    }

    /// A new connection to its admin socket.
    pub(crate) async fn admin(&self) -> Result<AdminClient> {
        Ok(AdminClient::connect(&self.folder.join(SOCKET_NAME)).await?)
    }

    /// A question that needs no other node.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Done> {
        let asked = async { Ok(self.admin().await?.ask(ask).await?) };
        tokio::time::timeout(ANSWER_MAX, asked).await.context("no answer in time")?
    }
}
