//! Isolates on real node processes: born, asked, moved under load, killed, contained.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nodes::{Nodes, Said, wait_until};

const COUNTER: &str = include_str!("../../../examples/guests/counter.wat");

/// The module in a file.
fn module(nodes: &Nodes, text: &str) -> PathBuf {
    let file = nodes.folder.path().join("guest.wasm");
    fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    file
}

fn spawn(nodes: &Nodes, words: &[&str]) -> String {
    let file = module(nodes, COUNTER);
    let mut all = vec!["spawn", "isolate", "--module", file.to_str().unwrap()];
    all.extend(words);
    nodes.must(0, &all).trim().to_owned()
}

#[test]
fn an_isolate_moves_under_load_and_survives_a_kill_with_each_event_once() {
    let mut nodes = Nodes::start(3);
    let id = spawn(&nodes, &["--name", "counter", "--memory-max", "4MiB"]);
    let file = nodes.folder.path().join("events");
    let lines: String = (0..5_000).map(|number| format!("add {number}\n")).collect();
    fs::write(&file, lines).unwrap();
    nodes.must(0, &["ask", "counter", "memory"]);
    nodes.must(0, &["ask", "counter", "fill"]);
    let before: u64 = nodes.must(0, &["ask", "counter", "get"]).trim().parse().unwrap();

    let mut sending = nodes.command(0, &["send", "counter", "--lines", file.to_str().unwrap()]);
    let sending = sending.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for (node, to) in [(0, "b"), (2, "c"), (1, "a"), (0, "b")] {
        let said = nodes.must(node, &["migrate", &id, "--to", to]);
        assert!(said.starts_with(&format!("moved to {to}")), "{said}");
    }
    nodes.kill(1);
    nodes.run(1);
    nodes.wait_until_ready(1);
    let said = Said::from(sending.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let count = nodes.must(0, &["ask", &id, "get"]);
    assert_eq!(count.trim().parse::<u64>().unwrap(), before + 5_000);
    assert!(nodes.must(1, &["verify", &id]).starts_with("the chain holds: 5 deeds"));
}

#[test]
fn a_guest_that_misbehaves_is_told_and_the_node_goes_on() {
    let nodes = Nodes::start(1);
    spawn(&nodes, &["--name", "counter", "--memory-max", "1MiB", "--looks-max", "100000"]);
    nodes.must(0, &["spawn", "kv", "--name", "store"]);
    assert_eq!(nodes.must(0, &["ask", "counter", "add"]), "1\n");
    for (event, why) in [
        ("no", "declined: not today"),
        ("trap", "unreachable was reached"),
        ("loop", "the turn does not end: more than 100000 looks"),
        ("deep", "the "),
        ("flood", "the turn puts out more than it may"),
    ] {
        let said = nodes.ask(0, &["ask", "counter", event]);
        assert!(said.code == 1 && said.complaint.contains(why), "{event}: {said:?}");
    }
    assert_eq!(nodes.must(0, &["ask", "counter", "memory"]), "16\n");
    assert_eq!(nodes.must(0, &["ask", "counter", "add"]), "3\n");
    nodes.must(0, &["ask", "store", "put", "a", "b"]);
    let lacking = r#"(module (import "env" "open" (func)) (memory 1)
        (func (export "on_event") (param i32 i32)))"#;
    let file = module(&nodes, lacking);
    let said = nodes.ask(0, &["spawn", "isolate", "--module", file.to_str().unwrap()]);
    assert!(said.complaint.contains("imports what is not supplied: env.open"), "{said:?}");
    let said = nodes.ask(0, &["spawn", "isolate"]);
    assert!(said.complaint.contains("is given a module"), "{said:?}");
}

#[test]
fn a_target_refuses_what_its_policy_does_not_allow_and_the_daemon_stays() {
    let mut nodes = Nodes::start(2);
    nodes.kill(1);
    let config = nodes.data(1).join("node.toml");
    let mut config = fs::OpenOptions::new().append(true).open(config).unwrap();
    config.write_all(b"\n[isolates]\nmemory_bytes_max = 1048576\n").unwrap();
    nodes.run(1);
    nodes.wait_until_ready(1);
    let id = spawn(&nodes, &["--name", "counter"]);
    let said = nodes.ask(0, &["migrate", "counter", "--to", "b"]);
    assert!(said.code != 0 && said.complaint.contains("this node allows"), "{said:?}");
    wait_until("it serves where it was", || nodes.ask(0, &["ask", &id, "add"]).code == 0);
}

#[test]
fn an_isolate_keeps_its_priority_and_its_pin_where_it_is_moved_to() {
    let nodes = Nodes::start(2);
    let id = spawn(&nodes, &["--name", "counter", "--priority", "high", "--pinned"]);
    assert_eq!(nodes.must(0, &["ask", "counter", "add"]), "1\n");
    // A pin holds against other nodes, not against people.
    nodes.must(0, &["migrate", "counter", "--to", "b"]);
    assert_eq!(nodes.must(1, &["ask", &id, "add"]), "2\n");
    nodes.must(1, &["migrate", &id, "--to", "a"]);
    assert_eq!(nodes.must(0, &["ask", &id, "add"]), "3\n");
}

#[test]
fn a_fork_goes_on_for_itself_and_a_snapshot_is_brought_elsewhere() {
    let (here, there) = (Nodes::start(1), Nodes::start(1));
    let seed = here.folder.path().join("seed");
    let snapshot = here.folder.path().join("snapshot");
    let (seed, snapshot) = (seed.to_str().unwrap(), snapshot.to_str().unwrap());
    let id = spawn(&here, &["--name", "counter", "--seed-file", seed]);
    assert_eq!(here.must(0, &["ask", "counter", "add"]), "1\n");
    let fork = here.must(0, &["fork", "counter", "--name", "other"]);
    assert_ne!(fork.trim(), id);
    assert_eq!(here.must(0, &["ask", "counter", "add"]), "2\n");
    assert_eq!(here.must(0, &["ask", "counter", "add"]), "3\n");
    assert_eq!(here.must(0, &["ask", "other", "add"]), "2\n");
    here.must(0, &["snapshot", "export", "counter", snapshot]);
    there.must(0, &["snapshot", "import", snapshot, "--seed-file", seed, "--name", "copy"]);
    assert_eq!(there.must(0, &["ask", "copy", "get"]), "3\n");
}

fn made(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn reactors_in_rust_and_c_are_daemons() {
    let nodes = Nodes::start(2);
    let root = format!("{}/../..", env!("CARGO_MANIFEST_DIR"));
    let folder = nodes.folder.path();
    let rustc = |source: &str, kind: &str, to: &str| {
        let mut command = Command::new("rustc");
        command.args(["--target", "wasm32-unknown-unknown", "--edition", "2024", "-O"]);
        command.args(["--crate-type", kind, "-L"]).arg(folder).arg("-o").arg(folder.join(to));
        let name = to.split('.').next().unwrap().trim_start_matches("lib");
        command.args(["--crate-name", name]);
        if name != "whimbrel_guest" {
            command.args(["--extern", "whimbrel_guest"]);
        }
        made(command.arg(format!("{root}/{source}")))
    };
    let rust = rustc("crates/guest/src/lib.rs", "rlib", "libwhimbrel_guest.rlib")
        && rustc("crates/guest/examples/counter.rs", "cdylib", "words.wasm");
    let c = made(
        Command::new("clang")
            .args(["--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-o"])
            .arg(folder.join("c.wasm"))
            .arg(format!("{root}/examples/guests/counter.c")),
    );
    let born = |file: &str, name: &str| {
        let file = folder.join(file);
        let words = ["spawn", "isolate", "--name", name, "--module", file.to_str().unwrap()];
        nodes.must(0, &words).trim().to_owned()
    };
    if rust {
        let id = born("words.wasm", "words");
        let said = nodes.must(0, &["ask", "words", "to be or not to be"]);
        assert_eq!(said, "6 words, 4 different\n");
        nodes.must(0, &["migrate", "words", "--to", "b"]);
        assert_eq!(nodes.must(1, &["ask", &id, "be quick"]), "8 words, 5 different\n");
    } else {
        eprintln!("SKIPPED: rustc has no target wasm32-unknown-unknown");
    }
    if c {
        let id = born("c.wasm", "c");
        assert_eq!(nodes.must(0, &["ask", "c", "one"]), "1\n");
        assert!(nodes.ask(0, &["ask", "c", ""]).complaint.contains("nothing to count"));
        nodes.must(0, &["migrate", "c", "--to", "b"]);
        assert_eq!(nodes.must(1, &["ask", &id, "two"]), "2\n");
    } else {
        eprintln!("SKIPPED: there is no clang for wasm32");
    }
}
