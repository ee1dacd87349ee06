//! The trace of real nodes: it follows from the machines, and an altered one does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::path::Path;

use nodes::{Nodes, Said, wait_until, whimbrel, write_events};
use whimbrel::protocol::{Input, Output, TraceRecord};
use whimbrel::runtime::trace::TraceReader;
use whimbrel::wire::{decode, encode};

fn verify(trace: &Path) -> Said {
    whimbrel().arg("verify-trace").arg(trace).output().unwrap().into()
}

/// Two nodes that write traces, and the paths of these.
fn traced() -> (Nodes, [std::path::PathBuf; 2]) {
    let mut nodes = Nodes::start(2);
    for node in 0..2 {
        nodes.kill(node);
        let file = nodes.data(node).join("node.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("trace = \"node.trace\"\n{config}")).unwrap();
        nodes.run(node);
        nodes.wait_until_ready(node);
    }
    let traces = [0, 1].map(|node| nodes.data(node).join("node.trace"));
    (nodes, traces)
}

#[test]
fn what_nodes_did_follows_from_the_machines_and_what_they_did_not_do_is_refused() {
    let (mut nodes, traces) = traced();
    let id = nodes.must(0, &["spawn", "kv"]);
    let id = id.trim();
    let events = nodes.folder.path().join("events");
    write_events(&events, 0..2_000);
    nodes.must(0, &["send", id, "--lines", events.to_str().unwrap()]);
    for to in ["b", "a", "b"] {
        nodes.must(0, &["migrate", id, "--to", to]);
    }
    wait_until("it lives there", || nodes.must(1, &["ps"]).contains(" live "));
    nodes.end(0);
    // Its trace ends in the middle.
    nodes.kill(1);
    for trace in &traces {
        let said = verify(trace);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("follow from the machines"), "{said:?}");
    }
    spoil_outputs(&traces[0]);
    spoil_inputs(&traces[0]);
}

fn records(trace: &Path) -> (Vec<u8>, Vec<TraceRecord>) {
    let mut reader = TraceReader::open(trace).unwrap();
    let header = encode(reader.header());
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    (header, records)
}

fn write(trace: &Path, header: &[u8], records: &[TraceRecord]) {
    let mut bytes = b"WHIMTRC1".to_vec();
    for frame in std::iter::once(header.to_vec()).chain(records.iter().map(encode)) {
        bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        bytes.extend(frame);
    }
    fs::write(trace, bytes).unwrap();
}

/// Which step a record is, counted from 1.
fn step(records: &[TraceRecord], at: usize) -> usize {
    let is_step = |it: &&TraceRecord| !matches!(it, TraceRecord::Seat { .. } | TraceRecord::Full);
    records[..=at].iter().filter(is_step).count()
}

/// An output is taken away from a step in the middle: just that step is named.
fn spoil_outputs(trace: &Path) {
    let (header, mut records) = records(trace);
    let has_save = |record: &TraceRecord| {
        let TraceRecord::Step { outputs, .. } = record else { return false };
        let outputs: Vec<Output> = decode(outputs).unwrap();
        outputs.iter().any(|output| matches!(output, Output::Save { .. }))
    };
    let at = records.iter().position(has_save).unwrap();
    let TraceRecord::Step { outputs, .. } = &mut records[at] else { unreachable!() };
    let mut fewer: Vec<Output> = decode(outputs).unwrap();
    fewer.retain(|output| !matches!(output, Output::Save { .. }));
    *outputs = encode(&fewer).into();
    let spoilt = trace.with_extension("outputs");
    write(&spoilt, &header, &records);
    let said = verify(&spoilt);
    assert_eq!(said.code, 1, "{said:?}");
    let named = format!("step {} of ", step(&records, at));
    assert!(said.complaint.contains(&named), "not {named} in {said:?}");
    assert!(said.complaint.contains("differs"), "{said:?}");
}

/// A save that went well is said to have failed: what the node did then does not follow.
fn spoil_inputs(trace: &Path) {
    let (header, mut records) = records(trace);
    let saved = |record: &TraceRecord| {
        let TraceRecord::Step { input, outputs, .. } = record else { return false };
        let went_well = matches!(decode(input).unwrap(), Input::Saved { result: Ok(()), .. });
        went_well && !decode::<Vec<Output>>(outputs).unwrap().is_empty()
    };
    let at = records.iter().position(saved).unwrap();
    let TraceRecord::Step { input, .. } = &mut records[at] else { unreachable!() };
    let Input::Saved { ticket, .. } = decode(input).unwrap() else { unreachable!() };
    let failed = whimbrel::wire::WriteError::Failed("made up".to_owned());
    *input = encode(&Input::Saved { ticket, result: Err(failed) }).into();
    let spoilt = trace.with_extension("inputs");
    write(&spoilt, &header, &records);
    let said = verify(&spoilt);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.complaint.contains(&format!("step {} of ", step(&records, at))), "{said:?}");
}
