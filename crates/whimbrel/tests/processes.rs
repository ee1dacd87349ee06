//! The command and real node processes: events, moves, kills, and a ledger at the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use nodes::{Nodes, Said, scan, wait_until, whimbrel, write_events};

fn owner(nodes: &Nodes, node: usize) -> String {
    let list = nodes.must(node, &["ps"]);
    let line = list.lines().nth(1).unwrap_or_default().to_owned();
    line.split_whitespace().nth(4).unwrap_or_default().to_owned()
}

/// How many turns the first daemon has taken, as its node says it.
fn turns(nodes: &Nodes, node: usize) -> String {
    let list = nodes.must(node, &["ps"]);
    let line = list.lines().nth(1).unwrap_or_default().to_owned();
    line.split_whitespace().nth(6).unwrap_or_default().to_owned()
}

#[test]
fn a_daemon_moves_between_processes_under_load_and_survives_a_kill() {
    let mut nodes = Nodes::start(3);
    let id = nodes.must(0, &["spawn", "kv", "--name", "store"]);
    let id = id.trim();
    let file = nodes.folder.path().join("events");
    write_events(&file, 0..20_000);

    let mut sending = nodes.command(0, &["send", "store", "--lines", file.to_str().unwrap()]);
    let sending = sending.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // By name where it was born, by id elsewhere; asked for at source, third node and target.
    for (node, daemon, to) in [(0, "store", "b"), (0, id, "c"), (0, id, "a"), (0, id, "b")] {
        let said = nodes.must(node, &["migrate", daemon, "--to", to, "--watch"]);
        assert!(said.starts_with(&format!("moved to {to}")), "{said}");
    }
    let said = Said::from(sending.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let numbers: Vec<&str> = said.out.split_whitespace().collect();
    assert_eq!(numbers[..4], ["sent", "20,000", "acknowledged", "20,000"]);

    assert_eq!(nodes.must(2, &["ask", id, "get", "e000017"]), "1\n");
    assert!(nodes.must(1, &["verify", id]).starts_with("the chain holds: 5 deeds"));
    let elsewhere = nodes.ask(0, &["verify", id]);
    assert_eq!(elsewhere.code, 4);
    assert!(elsewhere.complaint.contains("lives on b"), "{elsewhere:?}");

    nodes.kill(1);
    nodes.run(1);
    nodes.wait_until_ready(1);
    wait_until("the daemon is back", || nodes.must(1, &["ps"]).contains("  live "));
    let found = scan(&nodes, 0, id);
    assert_eq!(found.len(), 20_000);
    assert!(found.iter().all(|line| line.ends_with(" 1")));
    assert!(nodes.must(1, &["verify", id]).starts_with("the chain holds"));

    let last = nodes.end(1);
    assert!(last.contains("ended; 1 daemons are left on the disk"), "{last}");
    assert!(!nodes.data(1).join("admin.sock").exists());
    nodes.run(1);
    nodes.wait_until_ready(1);
    assert_eq!(nodes.must(0, &["ask", id, "get", "e019999"]), "1\n");
}

#[test]
fn a_tally_and_its_events_are_seen_and_a_deleted_daemon_is_gone() {
    let nodes = Nodes::start(2);
    nodes.must(0, &["spawn", "tally", "--name", "words", "--volatile"]);
    assert_eq!(
        nodes.must(0, &["ask", "words", "to", "be", "or", "not", "to", "be"]).trim(),
        "lines 1 words 6 bytes 18 distinct 4"
    );
    nodes.must(0, &["migrate", "words", "--to", "b"]);
    assert_eq!(nodes.must(0, &["ask", "words", "?count", "be"]), "2\n");
    let events = nodes.must(0, &["events"]);
    for event in ["live", "frozen", "handed-over", "moved"] {
        assert!(events.contains(&format!("  {event} ")), "no {event} in {events}");
    }
    assert_eq!(owner(&nodes, 0), "b");
    let id = nodes.must(0, &["ps"]).lines().nth(1).unwrap()[..16].to_owned();
    nodes.must(1, &["delete", &id]);
    let gone = nodes.ask(1, &["ask", &id, "?totals"]);
    assert_eq!(gone.code, 4, "{gone:?}");
}

#[test]
fn a_snapshot_is_taken_out_and_brought_into_another_mesh() {
    let (here, there) = (Nodes::start(1), Nodes::start(1));
    let seed = here.folder.path().join("seed");
    let file = here.folder.path().join("snapshot");
    let (seed, file) = (seed.to_str().unwrap(), file.to_str().unwrap());
    let id = here.must(0, &["spawn", "kv", "--name", "store", "--seed-file", seed]);
    assert_eq!(fs::metadata(seed).unwrap().permissions().mode() & 0o777, 0o600);
    here.must(0, &["send", "store", "put", "answer", "42"]);
    here.must(0, &["snapshot", "export", "store", file]);
    assert_eq!(here.ask(0, &["snapshot", "export", "store", file]).code, 4, "never overwritten");

    assert_eq!(there.ask(0, &["snapshot", "import", file]).code, 2, "the key is not in the file");
    let born = there.must(0, &["snapshot", "import", file, "--seed-file", seed, "--name", "copy"]);
    assert_eq!(born, id);
    assert_eq!(there.must(0, &["ask", "copy", "get", "answer"]), "42\n");

    let mut bytes = fs::read(file).unwrap();
    bytes[200] ^= 1;
    let spoilt = here.folder.path().join("spoilt");
    fs::write(&spoilt, bytes).unwrap();
    let words = ["snapshot", "import", spoilt.to_str().unwrap(), "--seed-file", seed];
    let refused = there.ask(0, &words);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.complaint.contains("damaged"), "{refused:?}");
}

/// It sends itself `ring` after a while.
const EGG: &str = r#"{ "id": "egg", "states": [
  { "id": "boiling", "on_entry": [[{ "send": { "event": "ring", "delay": "1500ms" } }]],
    "transitions": [{ "on": ["ring"], "to": ["done"] }] }, { "id": "done", "kind": "final" } ] }"#;

#[test]
fn a_statechart_moves_in_the_middle_of_a_delay_and_keeps_its_deadline() {
    let nodes = Nodes::start(2);
    let file = nodes.folder.path().join("egg.json");
    let name = file.to_str().unwrap();
    fs::write(&file, EGG).unwrap();
    let refused = nodes.ask(0, &["spawn", "statechart"]);
    assert!(refused.complaint.contains("a statechart is given a definition"), "{refused:?}");
    nodes.must(0, &["spawn", "statechart", "--definition", name, "--name", "egg"]);
    // It begins by itself, and the delay with it.
    let state = |due: bool| {
        let state = nodes.must(0, &["ask", "egg", "?state"]);
        let fits = state.contains("due_nanos") == due;
        fits.then_some(state)
    };
    wait_until("the chart begins, asked by nobody", || turns(&nodes, 0) == "1");
    let due = |state: &str| {
        let from = state.split_once("due_nanos\":").map(|(_, rest)| rest.to_owned());
        from.and_then(|rest| rest.split(',').next().map(str::to_owned))
    };
    let before = due(&state(true).unwrap_or_default());
    nodes.must(0, &["migrate", "egg", "--to", "b"]);
    assert_eq!(owner(&nodes, 0), "b");
    // On a slow machine it may have rung before it was asked.
    if let (Some(before), Some(moved)) = (before, state(true)) {
        assert_eq!(due(&moved), Some(before));
    }
    wait_until("it rings", || {
        nodes.must(0, &["ask", "egg", "?state"]).contains(r#""in":["done"],"done":true"#)
    });
    let over = nodes.ask(0, &["ask", "egg", "ring"]);
    assert!(over.complaint.contains("has come to its end"), "{over:?}");
    let id = nodes.must(0, &["ps"]).lines().nth(1).unwrap()[..16].to_owned();
    assert!(nodes.must(1, &["verify", &id]).starts_with("the chain holds: 2 deeds"));
}

#[test]
fn a_statechart_that_is_brought_in_from_a_file_wakes_by_itself() {
    let (here, there) = (Nodes::start(1), Nodes::start(1));
    let path = |name: &str| here.folder.path().join(name).to_str().unwrap().to_owned();
    let (egg, seed, file) = (path("egg.json"), path("seed"), path("snapshot"));
    // So late that it is due only where it is brought to.
    fs::write(&egg, EGG.replace("1500ms", "4s")).unwrap();
    let words =
        ["spawn", "statechart", "--definition", &egg, "--name", "egg", "--seed-file", &seed];
    here.must(0, &words);
    wait_until("the chart begins", || turns(&here, 0) == "1");
    here.must(0, &["snapshot", "export", "egg", &file]);
    there.must(0, &["snapshot", "import", &file, "--seed-file", &seed, "--name", "egg"]);
    wait_until("it rings, asked by nobody", || turns(&there, 0) == "1");
    assert!(there.must(0, &["ask", "egg", "?state"]).contains(r#""in":["done"],"done":true"#));
}

#[test]
fn errors_say_what_to_do_next_and_exit_codes_tell_them_apart() {
    let nodes = Nodes::start(2);
    nodes.must(0, &["spawn", "kv", "--name", "store"]);
    let cases: [(&[&str], i32); 9] = [
        (&["ask", "nobody", "get", "a"], 4),
        (&["spawn", "unheard-of"], 4),
        (&["spawn", "kv", "--name", "store"], 4),
        (&["migrate", "store", "--to", "nowhere"], 4),
        (&["migrate", "store", "--to", "a"], 1),
        (&["cancel", "store"], 4),
        (&["ask", "store", "make", "tea"], 1),
        (&["send", "store", "--lines", "/nonexistent"], 2),
        (&["snapshot", "export", "store", "/nonexistent/file"], 4),
    ];
    for (words, code) in cases {
        let said = nodes.ask(0, words);
        assert_eq!(said.code, code, "{words:?}: {said:?}");
        assert!(said.complaint.contains("\n  next: "), "{words:?}: {said:?}");
    }
    let nobody = Said::from(whimbrel().args(["ps", "--data", "/nonexistent"]).output().unwrap());
    assert_eq!(nobody.code, 3, "{nobody:?}");
    let unsaid = Said::from(whimbrel().arg("ps").output().unwrap());
    assert_eq!(unsaid.code, 2, "{unsaid:?}");
    let no_config = whimbrel().args(["node", "--config", "/nonexistent"]).output().unwrap();
    assert_eq!(Said::from(no_config).code, 2);
    let again = nodes.command(0, &["node"]).output().unwrap();
    assert_eq!(Said::from(again).code, 1, "a second process must not have the folder");
    assert_eq!(nodes.ask(0, &["ask", "store", "get", "a"]).code, 0);
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_node_takes_its_memory_from_one_heap() {
    let nodes = Nodes::start(1);
    // Some versions of the C library cut what they were told into words, where it lies.
    let environment = nodes.environment(0).join(":");
    for wanted in [
        "MALLOC_ARENA_MAX=1",
        "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=16384:glibc.malloc.mmap_max=32768",
    ] {
        assert!(environment.contains(wanted), "{environment}");
    }
}

#[test]
fn the_admin_socket_refuses_what_is_no_request_and_goes_on() {
    let nodes = Nodes::start(1);
    let socket = nodes.data(0).join("admin.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&socket).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut said = |line: &[u8]| {
        stream.write_all(line).unwrap();
        replies.next().unwrap().unwrap()
    };
    for (line, code) in [
        ("nonsense\n", "malformed"),
        ("{\"v\":1,\"id\":5,\"ask\":{\"explode\":{}}}\n", "malformed"),
        ("{\"v\":9,\"id\":5,\"ask\":{\"node\":{}}}\n", "version"),
        ("{\"v\":1,\"id\":5,\"ask\":{\"find\":{\"daemon\":\"x\"}}}\n", "unknown_daemon"),
    ] {
        let reply = said(line.as_bytes());
        assert!(reply.contains(&format!("\"code\":\"{code}\"")), "{line}: {reply}");
    }
    assert!(said(b"{\"v\":1,\"id\":6,\"ask\":{\"node\":{}}}\n").contains("\"id\":6"));

    let mut endless = UnixStream::connect(&socket).unwrap();
    let reader = endless.try_clone().unwrap();
    // It is cut off before all of it is read.
    let _ = endless.write_all(&vec![b'x'; 8 << 20]);
    let reply = BufReader::new(reader).lines().next();
    if let Some(Ok(reply)) = reply {
        assert!(reply.contains("too_long"), "{reply}");
    }
    nodes.must(0, &["ps"]);
}

#[test]
fn more_connections_than_allowed_are_told_so_and_the_node_goes_on() {
    let nodes = Nodes::start(1);
    let connect = || UnixStream::connect(nodes.data(0).join("admin.sock")).unwrap();
    // Held open and silent.
    let held: Vec<UnixStream> = (0..64).map(|_| connect()).collect();
    let reply = BufReader::new(connect()).lines().next().unwrap().unwrap();
    assert!(reply.contains("\"code\":\"busy\""), "{reply}");
    assert_eq!(nodes.ask(0, &["ps"]).code, 4);
    drop(held);
    wait_until("there is room again", || nodes.ask(0, &["ps"]).code == 0);
}

#[test]
fn a_short_demo_ends_with_a_clean_ledger_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = whimbrel()
        .args(["demo", "--seconds", "4", "--rate", "800", "--state", "1MiB"])
        .env("TMPDIR", folder.path())
        .output();
    let said = Said::from(output.unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("nothing lost, nothing doubled, every chain holds"), "{said:?}");
    assert!(said.out.contains("killed "), "{said:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_whose_ledger_is_spoilt_fails() {
    for (how, found) in [("lose", [1, 0]), ("double", [0, 1]), ("double-tally", [0, 1])] {
        let output = whimbrel()
            .args(["demo", "--seconds", "1", "--rate", "100", "--state", "64KiB"])
            .args(["--spoil", how])
            .output();
        let said = Said::from(output.unwrap());
        assert_eq!(said.code, 1, "{how}: {said:?}");
        assert!(said.out.contains("FAILED"), "{how}: {said:?}");
        let all = said.out.lines().find(|line| line.starts_with("all ")).unwrap();
        let numbers: Vec<&str> = all.split_whitespace().collect();
        assert_eq!(numbers[3..5], found.map(|count| count.to_string()), "{how}: {said:?}");
    }
}
