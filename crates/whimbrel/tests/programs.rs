//! Programs on real node processes: typed at, moved, killed, and their output byte by byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nodes::{Nodes, Said, wait_until};

fn guest(name: &str) -> String {
    format!("{}/../../examples/guests/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn run(nodes: &Nodes, node: usize, words: &[&str]) -> Child {
    let mut all = vec!["run"];
    all.extend(words);
    // The folder of the node comes first: what follows the module is the program's.
    let mut command = nodes::whimbrel();
    command.arg("--data").arg(nodes.data(node)).args(all);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The daemon that a command says it runs.
fn daemon(child: &mut Child) -> String {
    let mut line = String::new();
    let mut from = BufReader::new(child.stderr.as_mut().unwrap());
    from.read_line(&mut line).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_program_is_typed_at_while_it_moves_and_its_nodes_die() {
    let mut nodes = Nodes::start(2);
    let echo = guest("echo.wat");
    let mut child = run(&nodes, 0, &["--looks-max", "1000000", &echo]);
    let id = daemon(&mut child);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    let mut hear = |wanted: &str| {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, wanted);
    };
    hear("counted\n");
    nodes.must(0, &["migrate", &id, "--to", "b"]);
    input.write_all(b"one\n").unwrap();
    hear("one\n");
    nodes.kill(1);
    input.write_all(b"two\n").unwrap();
    nodes.run(1);
    nodes.wait_until_ready(1);
    hear("two\n");
    nodes.must(1, &["migrate", &id, "--to", "a"]);
    nodes.must(0, &["pause", &id]);
    input.write_all(b"three\n").unwrap();
    assert!(nodes.must(0, &["ask", &id, "?status"]).contains("paused"));
    nodes.must(0, &["resume", &id]);
    hear("three\n");
    drop(input);
    hear("");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(nodes.must(0, &["ps"]).contains("exited"), "{}", nodes.must(0, &["ps"]));
}

#[test]
fn the_output_of_a_program_whose_node_is_killed_is_that_of_one_that_was_left_alone() {
    let mut nodes = Nodes::start(2);
    let kv = nodes.must(0, &["spawn", "kv", "--name", "store"]);
    let ledger = |name: &str| {
        let mut bytes: Vec<u8> =
            (0..64).step_by(2).map(|at| u8::from_str_radix(&kv[at..at + 2], 16).unwrap()).collect();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&300_u32.to_le_bytes());
        let file = nodes.folder.path().join("ledger");
        fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (ledger, worker) = (ledger("worker77"), guest("worker.wat"));
    let seed = "07".repeat(32);
    let words = ["--seed", &seed, "--file", &ledger, &worker];
    let alone = Said::from(run(&nodes, 1, &words).wait_with_output().unwrap());
    let mut child = run(&nodes, 0, &words);
    let id = daemon(&mut child);
    let mut first = vec![0; 26];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    nodes.kill(0);
    nodes.run(0);
    nodes.wait_until_ready(0);
    nodes.must(0, &["migrate", &id, "--to", "b"]);
    nodes.kill(1);
    nodes.run(1);
    nodes.wait_until_ready(1);
    let rest = child.wait_with_output().unwrap();
    let whole = [first, rest.stdout].concat();
    assert_eq!(rest.status.code(), Some(alone.code), "{}", String::from_utf8_lossy(&rest.stderr));
    assert_eq!(String::from_utf8(whole).unwrap(), alone.out);
    assert_eq!(alone.out.lines().count(), 300);
    // Both sent each event: each was counted twice, and not once more.
    wait_until("all events are counted", || {
        let page = nodes.must(1, &["ask", kv.trim(), "scan", "worker77", "1000"]);
        page.lines().filter(|line| line.ends_with(" 2")).count() == 300
    });
}

const RUST: &str = r#"
use std::collections::HashMap;
use std::io::{BufRead, Read, Write};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    println!("{:?} {:?}", &args[1..], std::env::var("COLOUR"));
    let begun = std::time::Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(begun.elapsed() >= std::time::Duration::from_millis(30));
    std::fs::create_dir("notes").unwrap();
    let mut file = std::fs::File::create("notes/a.txt").unwrap();
    let mut words: HashMap<String, u32> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        for word in line.unwrap().split(' ') {
            *words.entry(word.to_owned()).or_insert(0) += 1;
            writeln!(file, "{word}").unwrap();
        }
    }
    let mut counted: Vec<_> = words.into_iter().collect();
    counted.sort();
    println!("{counted:?}");
    drop(file);
    std::fs::rename("notes/a.txt", "notes/b.txt").unwrap();
    let mut text = String::new();
    std::fs::File::open("/notes/b.txt").unwrap().read_to_string(&mut text).unwrap();
    println!("{} {:?}", text.len(), std::fs::read_to_string("given").unwrap());
    let names: Vec<_> = std::fs::read_dir("notes").unwrap().map(|it| it.unwrap().file_name()).collect();
    println!("{names:?} {}", std::net::TcpStream::connect("127.0.0.1:1").is_err());
    eprintln!("done");
    std::process::exit(7);
}
"#;

/// The program, if this machine can make one.
fn rust_program(folder: &Path) -> Option<PathBuf> {
    let (source, made) = (folder.join("program.rs"), folder.join("program.wasm"));
    fs::write(&source, RUST).unwrap();
    let built = Command::new("rustc")
        .args(["--target", "wasm32-wasip1", "-O", "--edition", "2024", "-C", "strip=symbols", "-o"])
        .args([&made, &source])
        .output();
    built.ok()?.status.success().then_some(made)
}

#[test]
fn an_ordinary_rust_program_runs_unchanged() {
    let nodes = Nodes::start(2);
    let Some(program) = rust_program(nodes.folder.path()) else {
        eprintln!("SKIPPED: rustc has no target wasm32-wasip1");
        return;
    };
    let given = nodes.folder.path().join("given");
    fs::write(&given, "from outside").unwrap();
    let words = [
        "--on",
        "b",
        "--env",
        "COLOUR=red",
        "--file",
        given.to_str().unwrap(),
        program.to_str().unwrap(),
        "one",
        "--two",
    ];
    let mut child = run(&nodes, 0, &words);
    child.stdin.take().unwrap().write_all(b"to be or\nnot to be\n").unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.code, 7, "{said:?}\n{}", nodes.log(1));
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines[0], r#"["one", "--two"] Ok("red")"#);
    assert_eq!(lines[1], r#"[("be", 2), ("not", 1), ("or", 1), ("to", 2)]"#);
    assert_eq!(lines[2], r#"19 "from outside""#);
    assert_eq!(lines[3], r#"["b.txt"] true"#);
    assert!(said.complaint.ends_with("done\n"), "{said:?}");
}
