//! Moves statecharts between real processes that were given different versions of a definition.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::process::Stdio;

use nodes::{Nodes, wait_until};
use serde_json::Value;

/// It counts, and would end in an hour.
const ORDER: &str = r#"{ "id": "order", "version": "1",
  "data": [{ "id": "count", "type": "int", "value": { "literal": 0 } }],
  "states": [
    { "id": "open",
      "on_entry": [[{ "send": { "slot": "late", "event": "late", "delay": "1h" } }]],
      "transitions": [
        { "id": "counts", "on": ["tick"],
          "do": [{ "assign": { "to": "count", "value": { "expression": "count + 1" } } }] },
        { "id": "lose", "on": ["late"], "to": ["lost"] }] },
    { "id": "lost", "kind": "final" } ] }"#;

const EVENTS: usize = 1_500;

/// The same with a way more.
fn more() -> String {
    let returns = r#"{ "id": "returns", "on": ["returned"], "to": ["back"] }, { "id": "lose","#;
    let back = r#"{ "id": "back" }, { "id": "lost", "kind""#;
    let text = ORDER.replace(r#""version": "1""#, r#""version": "2""#);
    text.replace(r#"{ "id": "lose","#, returns).replace(r#"{ "id": "lost", "kind""#, back)
}

/// The same with another name for where everything is.
fn other() -> String {
    ORDER.replace(r#""version": "1""#, r#""version": "3""#).replace(r#""open""#, r#""waiting""#)
}

/// The same with another delay of the timer that is always pending.
fn later() -> String {
    ORDER.replace(r#""version": "1""#, r#""version": "4""#).replace(r#""1h""#, r#""2h""#)
}

struct Mesh {
    nodes: Nodes,
}

impl Mesh {
    /// Two nodes; the second is given this version. The order lives on the first.
    fn with(given: &str) -> Self {
        let mut mesh = Self { nodes: Nodes::start(2) };
        fs::write(mesh.file("given.json"), given).unwrap();
        let config = mesh.nodes.data(1).join("node.toml");
        let text = fs::read_to_string(&config).unwrap();
        let line = format!("statecharts = [\"{}\"]\n\n[[members]]", mesh.file("given.json"));
        fs::write(&config, text.replacen("[[members]]", &line, 1)).unwrap();
        mesh.nodes.end(1);
        mesh.nodes.run(1);
        mesh.nodes.wait_until_ready(1);
        fs::write(mesh.file("order.json"), ORDER).unwrap();
        let definition = mesh.file("order.json");
        let words = ["spawn", "statechart", "--definition", &definition, "--name", "order"];
        mesh.nodes.must(0, &words);
        wait_until("the order begins by itself", || mesh.state()["due_nanos"].is_u64());
        mesh
    }

    fn file(&self, name: &str) -> String {
        self.nodes.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.nodes.must(0, &["ask", "order", "?state"])).unwrap()
    }

    fn count(&self) -> String {
        self.nodes.must(0, &["ask", "order", "?data", "count"]).trim().to_owned()
    }

    fn serves_as(&self, version: &str) {
        let before: usize = self.count().parse().unwrap();
        self.nodes.must(0, &["ask", "order", "tick"]);
        assert_eq!(self.count(), (before + 1).to_string());
        assert_eq!(self.state()["version"], version);
    }

    /// The gate ends with this number.
    fn gate(&self, words: &[&str], number: i32) -> String {
        let (old, new) = (self.file("order.json"), self.file("given.json"));
        let said = self.nodes.ask(0, &[&["gate", &old, &new], words].concat());
        assert_eq!(said.code, number, "{words:?}: {said:?}");
        said.out
    }
}

#[test]
fn an_additive_version_takes_the_order_over_without_questions_and_under_load() {
    let mut mesh = Mesh::with(&more());
    let lines = mesh.file("lines");
    fs::write(&lines, "tick\n".repeat(EVENTS)).unwrap();
    let mut load = mesh.nodes.command(0, &["send", "order", "--lines", &lines]);
    let load = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let due = mesh.state()["due_nanos"].clone();
    mesh.nodes.must(0, &["migrate", "order", "--to", "b"]);
    let state = mesh.state();
    assert_eq!((&state["version"], &state["due_nanos"]), (&Value::from("2"), &due));
    let said = load.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(mesh.count(), EVENTS.to_string());
    // It is so in the journal too: a node that dies and comes back has not forgotten it.
    mesh.nodes.kill(1);
    mesh.nodes.run(1);
    mesh.nodes.wait_until_ready(1);
    mesh.serves_as("2");
    let ps = mesh.nodes.must(0, &["ps"]);
    let id = ps.lines().nth(1).unwrap()[..16].to_owned();
    assert!(mesh.nodes.must(1, &["verify", &id]).starts_with("the chain holds: 2 deeds"));
    // The source was given nothing, so it takes it back as what it is.
    mesh.nodes.must(0, &["migrate", "order", "--to", "a"]);
    mesh.serves_as("2");
    assert!(mesh.nodes.must(0, &["ask", "order", "returned"]).contains(r#""in":["back"]"#));
}

#[test]
fn a_breaking_version_is_refused_with_its_report_and_passes_with_a_plan() {
    let mesh = Mesh::with(&other());
    let refused = mesh.nodes.ask(0, &["migrate", "order", "--to", "b"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["order 1 [", "needs plan, stops", "B1", "open: ", "\n  next: see the report"] {
        assert!(refused.complaint.contains(part), "{part}: {}", refused.complaint);
    }
    mesh.serves_as("1");
    let refused = mesh.nodes.ask(0, &["migrate", "order", "--to", "b", "--json"]);
    let said: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((refused.code, &said["refused"]["code"]), (1, &Value::from("incompatible")));
    assert_eq!(said["refused"]["report"]["verdict"], "needs-plan", "{said}");
    assert_eq!(said["refused"]["report"]["passes"], false);
    // The same is known without a move.
    mesh.gate(&["--live", "order"], 13);
    mesh.gate(&["--fleet"], 13);
    let plan = mesh.file("plan.json");
    mesh.gate(&["--live", "order", "--dry-run", "--propose", &plan], 13);
    let mut whole: Value = serde_json::from_str(&fs::read_to_string(&plan).unwrap()).unwrap();
    // What is proposed names the old state; where it goes is for people to say.
    whole["charts"][""]["states"]["open"] = serde_json::json!(["waiting"]);
    fs::write(&plan, whole.to_string()).unwrap();
    mesh.gate(&["--live", "order", "--plan", &plan, "--passing"], 0);
    // A plan that does not fit is known before anything is frozen, and changes nothing.
    let wrong = mesh.file("wrong.json");
    whole["charts"][""]["states"]["nowhere"] = serde_json::json!(["waiting"]);
    fs::write(&wrong, whole.to_string()).unwrap();
    let said = mesh.nodes.ask(0, &["migrate", "order", "--to", "b", "--plan", &wrong]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.complaint.contains("the plan does not fit"), "{said:?}");
    mesh.serves_as("1");
    let due = mesh.state()["due_nanos"].clone();
    mesh.nodes.must(0, &["migrate", "order", "--to", "b", "--plan", &plan]);
    let state = mesh.state();
    assert_eq!(state["in"], serde_json::json!(["waiting"]));
    assert_eq!(state["due_nanos"], due, "the deadline is kept");
    mesh.serves_as("3");
}

#[test]
fn what_needs_consent_stops_until_somebody_agrees() {
    let mesh = Mesh::with(&later());
    mesh.gate(&["--live", "order"], 12);
    let refused = mesh.nodes.ask(0, &["migrate", "order", "--to", "b"]);
    assert!(refused.code == 1 && refused.complaint.contains("D2"), "{refused:?}");
    let unknown = mesh.nodes.ask(0, &["migrate", "order", "--to", "b", "--consent", "X9"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    mesh.serves_as("1");
    let due = mesh.state()["due_nanos"].clone();
    mesh.nodes.must(0, &["migrate", "order", "--to", "b", "--consent", "D2"]);
    assert_eq!(mesh.state()["due_nanos"], due, "the safe way keeps the deadline");
    mesh.serves_as("4");
}

#[test]
fn a_kind_without_definitions_takes_no_terms() {
    let nodes = Nodes::start(2);
    nodes.must(0, &["spawn", "kv", "--name", "store"]);
    let refused = nodes.ask(0, &["migrate", "store", "--to", "b", "--consent", "D2"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.complaint.contains("this kind is moved without terms"), "{refused:?}");
    nodes.must(0, &["migrate", "store", "--to", "b"]);
}

/// The node dies after the hand-over is its own and before the order was told.
#[test]
#[cfg(feature = "crash-points")]
fn a_target_that_dies_at_the_commit_point_tells_the_order_when_it_comes_back() {
    for (given, words, version) in [
        (more(), &["migrate", "order", "--to", "b"][..], "2"),
        (later(), &["migrate", "order", "--to", "b", "--consent", "D2"], "4"),
    ] {
        for step in ["before-save-accept", "after-save-accept"] {
            let mut mesh = Mesh::with(&given);
            mesh.nodes.end(1);
            mesh.nodes.run_until(1, step);
            mesh.nodes.wait_until_ready(1);
            let moving = mesh.nodes.command(0, words).stdout(Stdio::null()).spawn();
            wait_until("the target dies", || mesh.nodes.has_died(1));
            mesh.nodes.run(1);
            mesh.nodes.wait_until_ready(1);
            assert!(moving.unwrap().wait().unwrap().success(), "{step}");
            mesh.serves_as(version);
        }
    }
}
