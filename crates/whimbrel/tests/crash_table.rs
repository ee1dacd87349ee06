//! The table of crashes: at each step of a move, the process that does the step dies on the spot,
//! under load, and is started again. The move must end by itself with one live copy, every
//! acknowledged event applied exactly once, and a chain that verifies.
//!
//! A cell in which the victim does not die fails: then the step was never reached and nothing was
//! shown. `WHIMBREL_CRASH_TABLE=all` runs the whole table, otherwise a sample of it is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::process::Stdio;

use nodes::{Nodes, Said, scan, wait_until, write_events};
use whimbrel_trial::steps::{Part, STEPS, Step};

/// Which node plays which part.
const SOURCE: usize = 0;
const TARGET: usize = 1;
const ORCHESTRATOR: usize = 2;

/// Events in the state before the move, and events sent during it.
const BEFORE: u32 = 500;
const DURING: u32 = 20_000;

#[test]
fn a_move_ends_right_whoever_dies_at_whatever_step() {
    let all = std::env::var("WHIMBREL_CRASH_TABLE").is_ok_and(|which| which == "all");
    let only = std::env::var("WHIMBREL_CRASH_STEP").ok();
    for &Step { who, name, sampled } in STEPS {
        let wanted = only.as_ref().map_or(all || sampled, |only| only == name);
        if wanted {
            eprintln!("{} dies at {name}", who.word());
            let victim = match who {
                Part::Source => SOURCE,
                Part::Target => TARGET,
                Part::Orchestrator => ORCHESTRATOR,
            };
            cell(victim, name);
        }
    }
}

fn cell(victim: usize, step: &str) {
    let mut nodes = Nodes::start(3);
    let id = nodes.must(SOURCE, &["spawn", "kv", "--name", "store"]).trim().to_owned();
    let before = nodes.folder.path().join("before");
    write_events(&before, 0..BEFORE);
    nodes.must(SOURCE, &["send", &id, "--lines", before.to_str().unwrap()]);

    nodes.kill(victim);
    nodes.run_until(victim, step);
    nodes.wait_until_ready(victim);
    wait_until("the daemon lives", || live(&nodes, &id) == [SOURCE]);

    // The client is on a node that stays; whoever asks for the step's move asks on the right one.
    let bystander = if victim == ORCHESTRATOR { SOURCE } else { ORCHESTRATOR };
    let asks_itself = ["before-send-take-snapshot", "before-send-cutover-notify"].contains(&step);
    let asked = if asks_itself { victim } else { ORCHESTRATOR };
    let during = nodes.folder.path().join("during");
    write_events(&during, BEFORE..BEFORE + DURING);
    let lines = ["send", &id, "--lines", during.to_str().unwrap()];
    let sending = nodes.command(bystander, &lines).stdout(Stdio::piped()).spawn().unwrap();
    let mut moving = nodes.command(asked, &["migrate", &id, "--to", "b"]);
    let mut moving = moving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();

    wait_until(&format!("the victim dies at {step}"), || nodes.has_died(victim));
    nodes.run(victim);
    nodes.wait_until_ready(victim);
    wait_until("the move has ended and one copy lives", || {
        live(&nodes, &id).len() == 1 && restless(&nodes, &id).is_empty()
    });
    // It may have lost the node that it asked; then it failed, and that is all it had to do.
    let _ = moving.wait().unwrap();

    let said = Said::from(sending.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{step}: {said:?}");
    wait_until("one copy lives", || live(&nodes, &id).len() == 1);
    let owner = live(&nodes, &id)[0];
    let found = scan(&nodes, owner, &id);
    assert_eq!(found.len(), (BEFORE + DURING) as usize, "{step}: events are lost");
    let twice: Vec<_> = found.iter().filter(|line| !line.ends_with(" 1")).collect();
    assert!(twice.is_empty(), "{step}: applied more than once: {twice:?}");
    assert!(nodes.must(owner, &["verify", &id]).starts_with("the chain holds"), "{step}");
}

/// The nodes that say that the daemon lives on them.
fn live(nodes: &Nodes, id: &str) -> Vec<usize> {
    standing(nodes, id, &["live"])
}

/// The nodes on which something about it is not at rest.
fn restless(nodes: &Nodes, id: &str) -> Vec<usize> {
    standing(nodes, id, &["frozen", "opening", "departed", "reading", "bearing"])
}

fn standing(nodes: &Nodes, id: &str, which: &[&str]) -> Vec<usize> {
    let is = |node: &usize| {
        let said = nodes.ask(*node, &["ps"]);
        let line = said.out.lines().find(|line| line.contains(&id[..12])).map(str::to_owned);
        let words = line.unwrap_or_default();
        words.split_whitespace().any(|word| which.contains(&word))
    };
    (0..3).filter(is).collect()
}
