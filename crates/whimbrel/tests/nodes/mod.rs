//! Real node processes for tests, and the command that asks them.

#![allow(dead_code, reason = "each test program uses its part")]

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command.
pub(crate) fn whimbrel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
    command.env_remove("WHIMBREL_DATA");
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) complaint: String,
    pub(crate) code: i32,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            out: String::from_utf8(output.stdout).unwrap(),
            complaint: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }
}

/// What the command says to these words in a folder; fails unless it ends with this number.
pub(crate) fn ends_with(folder: &Path, words: &str, number: i32) -> Said {
    let output = whimbrel().args(words.split(' ')).current_dir(folder).output();
    let said = Said::from(output.unwrap());
    assert_eq!(said.code, number, "{words}\n{}\n{}", said.out, said.complaint);
    said
}

/// Polls until it is so; fails when it takes too long.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        // bounded wait: by PATIENCE, and it ends as soon as it is so.
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) struct Nodes {
    pub(crate) folder: TempDir,
    processes: Vec<Option<Child>>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Nodes {
    /// So many nodes that know each other, all running.
    pub(crate) fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sockets: Vec<UdpSocket> =
            (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let keys: Vec<String> = NAMES
            .iter()
            .zip(&sockets)
            .map(|(name, socket)| {
                init(&folder.path().join(name), name, socket.local_addr().unwrap())
            })
            .collect();
        drop(sockets);
        for name in &NAMES[..count] {
            let file = folder.path().join(name).join("node.toml");
            let mut config = fs::OpenOptions::new().append(true).open(file).unwrap();
            for (other, key) in NAMES.iter().zip(&keys) {
                if other != name {
                    config.write_all(key.as_bytes()).unwrap();
                }
            }
        }
        let mut nodes = Self { folder, processes: (0..count).map(|_| None).collect() };
        (0..count).for_each(|node| nodes.run(node));
        (0..count).for_each(|node| nodes.wait_until_ready(node));
        nodes
    }

    pub(crate) fn data(&self, node: usize) -> PathBuf {
        self.folder.path().join(NAMES[node])
    }

    pub(crate) fn run(&mut self, node: usize) {
        self.run_until(node, "");
    }

    /// Runs a node that dies by itself when it comes to this step of a move, if it was built with
    /// such steps.
    pub(crate) fn run_until(&mut self, node: usize, step: &str) {
        self.run_with(node, step, &[]);
    }

    fn run_with(&mut self, node: usize, step: &str, words: &[&str]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.data(node).join("log"))
            .unwrap();
        let process = whimbrel()
            .args(["node", "--tethered", "--data"])
            .env("WHIMBREL_CRASH_AT", step)
            .arg(self.data(node))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.processes[node] = Some(process.unwrap());
    }

    pub(crate) fn wait_until_ready(&self, node: usize) {
        wait_until("the node answers", || {
            let said = self.ask(node, &["nodes"]);
            said.code == 0 && said.out.contains("this node ")
        });
    }

    /// Prepares one more node, which knows nobody.
    pub(crate) fn add(&mut self, name: &str, listen: SocketAddr) {
        assert_eq!(NAMES[self.processes.len()], name);
        init(&self.folder.path().join(name), name, listen);
        self.processes.push(None);
    }

    /// Runs a node that joins by this invitation.
    pub(crate) fn run_joining(&mut self, node: usize, invitation: &str) {
        self.run_with(node, "", &["--join", invitation]);
    }

    /// Lets a node try to join that will not be let in; the number with which it ends.
    pub(crate) fn join(&mut self, node: usize, invitation: &str) -> i32 {
        self.run_joining(node, invitation);
        let mut process = self.processes[node].take().unwrap();
        wait_until("it ends", || process.try_wait().unwrap().is_some());
        process.wait().unwrap().code().unwrap()
    }

    /// The environment of a node's process.
    pub(crate) fn environment(&self, node: usize) -> Vec<String> {
        let process = self.processes[node].as_ref().unwrap().id();
        let bytes = fs::read(format!("/proc/{process}/environ")).unwrap();
        bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect()
    }

    /// Whether a node has died; if so it is buried.
    pub(crate) fn has_died(&mut self, node: usize) -> bool {
        let Some(process) = &mut self.processes[node] else { return true };
        let died = process.try_wait().unwrap().is_some();
        if died {
            self.processes[node] = None;
        }
        died
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        let mut process = self.processes[node].take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM; what the node said at last.
    pub(crate) fn end(&mut self, node: usize) -> String {
        let mut process = self.processes[node].take().unwrap();
        let id = process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        wait_until("the node ends", || process.try_wait().unwrap().is_some());
        assert!(process.wait().unwrap().success(), "{}", self.log(node));
        self.log(node)
    }

    pub(crate) fn log(&self, node: usize) -> String {
        fs::read_to_string(self.data(node).join("log")).unwrap()
    }

    /// A question to a node.
    pub(crate) fn command(&self, node: usize, words: &[&str]) -> Command {
        let mut command = whimbrel();
        command.args(words).arg("--data").arg(self.data(node)).stdin(Stdio::null());
        command
    }

    pub(crate) fn ask(&self, node: usize, words: &[&str]) -> Said {
        self.command(node, words).output().unwrap().into()
    }

    /// A question that must succeed.
    pub(crate) fn must(&self, node: usize, words: &[&str]) -> String {
        let said = self.ask(node, words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}\n{}", self.log(node));
        said.out
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn init(folder: &Path, name: &str, listen: SocketAddr) -> String {
    let output = whimbrel()
        .args(["node", "init"])
        .arg(folder)
        .args(["--name", name, "--listen", &listen.to_string()])
        .output();
    let said = Said::from(output.unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

/// `add e0 1`, `add e1 1`, …: each must be found as exactly 1.
pub(crate) fn write_events(file: &Path, range: std::ops::Range<u32>) {
    let lines: String = range.map(|number| format!("add e{number:06} 1\n")).collect();
    fs::write(file, lines).unwrap();
}

/// Everything in a kv, page by page, as lines.
pub(crate) fn scan(nodes: &Nodes, node: usize, daemon: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut from = String::new();
    loop {
        let page = nodes.must(node, &["ask", daemon, "scan", "e", "1000", &from]);
        let mut next = None;
        for line in page.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("… from ") {
                Some(key) => next = Some(key.to_owned()),
                None => lines.push(line.to_owned()),
            }
        }
        match next {
            Some(key) => from = key,
            None => return lines,
        }
    }
}
