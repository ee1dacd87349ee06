//! Tokens and the audit log from the command line, with real node processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nodes::{Nodes, Said, wait_until, whimbrel};
use whimbrel_trust::chain::{Entry, Standing};

fn run(words: &[&str]) -> Said {
    whimbrel().args(words).output().unwrap().into()
}

fn must(words: &[&str]) -> String {
    let said = run(words);
    assert_eq!(said.code, 0, "{words:?}: {said:?}");
    said.out
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// A node that believes a root, and that root's file.
fn closed() -> (Nodes, String) {
    closed_with("")
}

/// The same with more in its config.
fn closed_with(more: &str) -> (Nodes, String) {
    let mut nodes = Nodes::start(1);
    let root = path(nodes.folder.path(), "root.key");
    let line = must(&["token", "root", &root]);
    nodes.end(0);
    let file = nodes.data(0).join("node.toml");
    let mut config = fs::OpenOptions::new().append(true).open(file).unwrap();
    config.write_all(line.as_bytes()).unwrap();
    config.write_all(more.as_bytes()).unwrap();
    nodes.run(0);
    (nodes, root)
}

fn token(nodes: &Nodes, root: &str, name: &str, more: &[&str]) -> String {
    let out = path(nodes.folder.path(), name);
    let mint = ["token", "mint", "--root", root, "--holder", name, "--for", "1h", "--out", &out];
    must(&[&mint[..], more].concat());
    out
}

#[test]
fn a_node_with_roots_does_what_tokens_say_and_shows_who_asked() {
    let (nodes, root) = closed();
    let everything = "observe,deliver,publish,subscribe,migrate,admin";
    let ops = token(&nodes, &root, "ops", &["--may", everything]);
    let with = |token: &str, words: &[&str]| nodes.ask(0, &[words, &["--token", token]].concat());
    wait_until("the node answers", || with(&ops, &["nodes"]).code == 0);

    let refused = nodes.ask(0, &["spawn", "kv", "--name", "store"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.complaint.contains("demands a token"), "{refused:?}");
    let born = with(&ops, &["spawn", "kv", "--name", "store"]);
    let id = born.out.trim().to_owned();

    let ci = path(nodes.folder.path(), "ci");
    let narrow = ["--may", "deliver", "--daemons", &id, "--holder", "ci", "--out", &ci];
    let ci_id = must(&[&["token", "attenuate", &ops][..], &narrow].concat());
    assert_eq!(with(&ci, &["send", "store", "put", "a", "1"]).code, 0);
    assert_eq!(with(&ci, &["ask", "store", "get", "a"]).out, "1\n");
    assert_eq!(with(&ci, &["stop", "store"]).code, 4);
    assert_eq!(with(&ci, &["ps"]).code, 4);
    let wide = path(nodes.folder.path(), "wide");
    let widen = ["token", "attenuate", &ci, "--may", "admin", "--holder", "x", "--out", &wide];
    let widened = run(&widen);
    assert_eq!(widened.code, 2, "{widened:?}");

    // Channels.
    assert_eq!(with(&ops, &["publish", "store", "news", "--retain", "4"]).code, 0);
    let other = with(&ops, &["spawn", "tally", "--name", "reader"]);
    assert_eq!(other.code, 0, "{other:?}");
    assert_eq!(with(&ci, &["subscribe", "reader", "store", "news"]).code, 4);
    let listening = with(&ops, &["subscribe", "reader", "store", "news"]);
    assert_eq!(listening.code, 0, "{listening:?}");
    assert_eq!(with(&ops, &["publish", "store", "news", "hello"]).code, 0);
    let channels = with(&ops, &["channels", "store"]).out;
    assert!(channels.contains("publishes to") && channels.contains(other.out.trim()), "{channels}");
    assert_eq!(with(&ops, &["unsubscribe", "reader", "store", "news"]).code, 0);

    assert_eq!(with(&ops, &["token", "revoke", ci_id.trim()]).code, 0);
    let revoked = with(&ci, &["send", "store", "put", "a", "2"]);
    assert_eq!(revoked.code, 4);
    assert!(revoked.complaint.contains("revoked"), "{revoked:?}");

    wait_until("the refusals are written down", || {
        nodes.must(0, &["audit"]).matches("REFUSED").count() >= 5
    });
    let log = nodes.must(0, &["audit"]);
    for said in
        ["ops at uid", "ops>ci at uid", "nobody at uid", "spawn kv", "revoke ", "demands a token"]
    {
        assert!(log.contains(said), "no {said:?} in {log}");
    }
    assert!(nodes.must(0, &["audit", "--verify"]).contains(" holds: entries 1 to "));
    let json = nodes.must(0, &["audit", "--json"]);
    let first: Entry = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first.number, 1);
}

#[test]
fn only_a_token_that_may_administer_decides_who_is_a_member_and_that_is_written_down() {
    let mesh = "mesh = \"0123456789abcdef0123456789abcdef\"\ninviters = [\"a\"]\n";
    let (nodes, root) = closed_with(mesh);
    let ops = token(&nodes, &root, "ops", &["--may", "observe,admin"]);
    let eye = token(&nodes, &root, "eye", &["--may", "observe,deliver,migrate"]);
    let with = |token: &str, words: &[&str]| nodes.ask(0, &[words, &["--token", token]].concat());
    wait_until("the node answers", || with(&ops, &["nodes"]).code == 0);

    for words in [&["invite"][..], &["leave"], &["expel", "a"]] {
        let refused = nodes.ask(0, words);
        assert_eq!(refused.code, 4, "{words:?}: {refused:?}");
        assert!(refused.complaint.contains("demands a token"), "{words:?}: {refused:?}");
        let refused = with(&eye, words);
        assert_eq!(refused.code, 4, "{words:?}: {refused:?}");
        assert!(refused.complaint.contains("admin"), "{words:?}: {refused:?}");
    }
    let invited = with(&ops, &["invite"]);
    assert_eq!(invited.code, 0, "{invited:?}");

    wait_until("the refusals are written down", || {
        nodes.must(0, &["audit"]).matches("REFUSED").count() >= 2
    });
    let log = nodes.must(0, &["audit"]);
    assert!(log.contains("invite whoever comes first as a member"), "{log}");
    assert!(!log.contains(invited.out.trim()), "{log}");
}

#[test]
fn a_log_that_was_tampered_with_is_said_to_be_broken() {
    let nodes = Nodes::start(1);
    nodes.must(0, &["spawn", "kv", "--name", "store"]);
    nodes.must(0, &["stop", "store"]);
    let file = nodes.data(0).join("audit.log");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"stop\"", "\"look\"")).unwrap();
    let said = nodes.ask(0, &["audit", "--verify"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.complaint.contains("BROKEN") && said.complaint.contains("line 4"), "{said:?}");
}

/// A node that can write no file longer than so many KiB: all beyond is as on a full disk.
struct Cramped(Child);

impl Cramped {
    fn run(data: &Path, kib: u32) -> Self {
        let program = env!("CARGO_BIN_EXE_whimbrel");
        let script =
            format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" node --tethered --data \"$1\"");
        let log = fs::File::create(data.join("log")).unwrap();
        let process = Command::new("bash")
            .args(["-c", &script, program])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(process.unwrap())
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A log of a little less than so many bytes.
fn fill(file: &PathBuf, bytes: usize) {
    let (mut text, mut standing) = Standing::START.head();
    while text.len() + 600 < bytes {
        let mut entry = Entry { what: "fill".into(), detail: "x".repeat(256), ..Entry::default() };
        let (line, after) = standing.line(&mut entry);
        text.extend_from_slice(&line);
        standing = after;
    }
    let mut entry = Entry { what: "fill".into(), ..Entry::default() };
    let least = standing.line(&mut entry.clone()).0.len();
    entry.detail = "x".repeat((bytes - text.len()).saturating_sub(least + 20));
    text.extend_from_slice(&standing.line(&mut entry).0);
    assert!(text.len() < bytes && text.len() + 40 > bytes, "{} of {bytes}", text.len());
    fs::write(file, text).unwrap();
}

#[test]
fn without_room_for_the_log_nothing_is_administered_and_daemons_are_served() {
    const KIB: u32 = 4_096;
    let mut nodes = Nodes::start(1);
    nodes.must(0, &["spawn", "kv", "--name", "store"]);
    nodes.must(0, &["send", "store", "put", "a", "1"]);
    nodes.end(0);
    let log = nodes.data(0).join("audit.log");
    fill(&log, KIB as usize * 1_024);
    let before = fs::read(&log).unwrap();
    let _cramped = Cramped::run(&nodes.data(0), KIB);
    wait_until("the daemon runs", || nodes.ask(0, &["ps"]).out.contains("  live "));
    for words in [&["stop", "store"][..], &["delete", "store"], &["spawn", "kv"]] {
        let said = nodes.ask(0, words);
        assert_eq!(said.code, 4, "{said:?}");
        assert!(said.complaint.contains("could not write the audit log"), "{said:?}");
    }
    assert_eq!(nodes.must(0, &["ps"]).lines().count(), 2, "nothing was born");
    nodes.must(0, &["send", "store", "put", "a", "2"]);
    assert_eq!(nodes.must(0, &["ask", "store", "get", "a"]), "2\n");
    assert_eq!(fs::read(&log).unwrap(), before, "nothing is left of what did not fit");
    nodes.must(0, &["audit", "--verify"]);
}
