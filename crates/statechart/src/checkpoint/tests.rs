//! Shows what a restored instance does, and what is not restored.

use super::*;
use crate::{Chart, Instance, Limits};
use whimbrel_wire::Time;

const ORDER: &str = r#"{
  "id": "order", "data": [{ "id": "count", "value": { "literal": 0 } }],
  "states": [
    { "id": "open", "initial": ["paying"],
      "on_entry": [[{ "send": { "id": "late", "event": "late", "delay": "1h" } }]],
      "transitions": [{ "on": ["late"], "to": ["lost"] }],
      "invoke": [{ "id": "courier", "chart": { "expression": "'courier'" } }],
      "states": [
        { "id": "paying", "on_entry": [[{ "assign": { "to": "count", "value": { "expression": "count + 1" } } }]],
          "transitions": [{ "on": ["paid"], "to": ["packing"] }] },
        { "id": "packing", "kind": "parallel",
          "states": [{ "id": "box" }, { "id": "label" }] } ] },
    { "id": "lost", "kind": "final" } ],
  "children": { "courier": { "id": "courier", "states": [
    { "id": "waiting", "on_entry": [[{ "send": { "event": "tick", "delay": "10s" } }]],
      "transitions": [{ "on": ["tick"], "to": ["gone"] }] }, { "id": "gone" } ] } } }"#;

fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

fn order() -> Instance {
    let chart = Chart::new(serde_json::from_str(ORDER).unwrap()).unwrap();
    let mut order = Instance::new(Arc::new(chart), "order", Limits::default());
    order.settle(at(100)).unwrap();
    order.step(Event::new("paid", Value::Null), at(101)).unwrap();
    order
}

fn restored(checkpoint: &Checkpoint) -> Result<Instance, CheckpointError> {
    let text = checkpoint.to_json()?;
    Checkpoint::from_json(&text)?.restore(Limits::default(), Shift::default())
}

#[test]
fn an_instance_goes_on_where_it_was_and_enters_nothing_again() {
    let order = order();
    let checkpoint = order.capture().unwrap();
    let mut other = restored(&checkpoint).unwrap();
    assert_eq!(other.capture().unwrap(), checkpoint, "equal instances have equal checkpoints");
    assert_eq!(other.leaves().collect::<Vec<_>>(), ["box", "label"]);
    assert_eq!(other.datum("count"), Some(&Value::Int(1)));
    assert_eq!(other.next_due(), Some(at(110)), "the timer of a child");
    let stepped = other.settle(at(3699)).unwrap();
    assert!(stepped.effects.is_empty() && !other.is_done());
    assert_eq!(other.next_due(), Some(at(3700)), "the timer of an ancestor");
    other.settle(at(3700)).unwrap();
    assert!(other.is_done());
}

#[test]
fn a_hundred_moves_change_no_deadline() {
    let mut order = order();
    let due = order.next_due();
    for _ in 0..50 {
        for hour in [3600, -3600] {
            let text = order.capture().unwrap().to_json().unwrap();
            let checkpoint = Checkpoint::from_json(&text).unwrap();
            let shift = Shift(hour * 1_000_000_000);
            order = checkpoint.restore(Limits::default(), shift).unwrap();
        }
    }
    assert_eq!(order.next_due(), due);
}

/// The checkpoint with a text replaced and its digest made to fit.
fn forged(from: &str, to: &str) -> Result<Instance, CheckpointError> {
    let text = order().capture()?.to_json()?;
    assert!(text.contains(from), "{from} is not in {text}");
    let mut checkpoint = Checkpoint::from_json(&text.replacen(from, to, 1))?;
    checkpoint.digest = checkpoint.digest_of_rest(&checkpoint.definition.digest())?;
    restored(&checkpoint)
}

#[test]
fn whole_steps_or_none_one_that_does_not_end_is_taken_back() {
    let text = r#"{ "id": "ring", "data": [{ "id": "count", "value": { "literal": 0 } }],
      "states": [{ "id": "still", "transitions": [{ "on": ["go"], "to": ["round"] }] },
                 { "id": "round", "transitions": [{ "to": ["round"], "do": [
                     { "assign": { "to": "count", "value": { "expression": "count + 1" } } }] }] }] }"#;
    let chart = Chart::new(serde_json::from_str(text).unwrap()).unwrap();
    let mut ring = Instance::new(Arc::new(chart), "ring", Limits::default());
    ring.settle(at(1)).unwrap();
    let before = ring.capture().unwrap();
    assert!(ring.step(Event::new("go", Value::Null), at(2)).is_err());
    assert_eq!(ring.capture().unwrap(), before);
}

#[test]
fn what_a_history_finds_active_is_not_entered_again() {
    let text = r#"{ "id": "ring", "data": [{ "id": "count", "value": { "literal": 0 } }],
      "states": [{ "id": "outer", "states": [
        { "id": "inner",
          "on_entry": [[{ "assign": { "to": "count", "value": { "expression": "count + 1" } } }]],
          "invoke": [{ "id": "child", "chart": "child" }],
          "states": [{ "id": "leaf", "transitions": [
            { "on": ["again"], "to": ["back"] }, { "on": ["out"], "to": ["away"] }] }] },
        { "id": "back", "kind": "deep-history", "transitions": [{ "to": ["inner"] }] }] },
        { "id": "away", "transitions": [{ "on": ["home"], "to": ["back"] }] }],
      "children": { "child": { "id": "child", "states": [{ "id": "here" }] } } }"#;
    let chart = Chart::new(serde_json::from_str(text).unwrap()).unwrap();
    let mut ring = Instance::new(Arc::new(chart), "ring", Limits::default());
    ring.settle(at(1)).unwrap();
    for event in ["out", "home", "again"] {
        ring.step(Event::new(event, Value::Null), at(2)).unwrap();
    }
    assert_eq!(ring.datum("count"), Some(&Value::Int(2)));
    let checkpoint = ring.capture().unwrap();
    assert_eq!(checkpoint.sessions.len(), 2, "one child and no orphan");
    restored(&checkpoint).unwrap();
}

#[test]
fn what_an_instance_holds_it_can_always_be_restored_with() {
    let text = r#"{ "id": "hoard", "states": [{ "id": "still", "transitions": [
        { "on": ["hoard"], "do": [{ "for-each": { "list": "[1,2,3,4,5,6,7,8]", "item": "one", "do": [
            { "send": { "event": "tick", "delay": "1h" } } ] } }] },
        { "on": ["shout"], "do": [{ "for-each": { "list": "[1,2,3,4,5,6,7,8]", "item": "one", "do": [
            { "raise": "heard" } ] } }] } ] }] }"#;
    let chart = Arc::new(Chart::new(serde_json::from_str(text).unwrap()).unwrap());
    let limits = Limits { mailbox_max: 5, ..Limits::default() };
    let mut hoard = Instance::new(chart, "hoard", limits);
    hoard.settle(at(1)).unwrap();
    hoard.step(Event::new("hoard", Value::Null), at(2)).unwrap();
    hoard.deliver(Event::new("shout", Value::Null)).unwrap();
    while hoard.is_busy() {
        let checkpoint = hoard.capture().unwrap();
        hoard = checkpoint.restore(limits, Shift::default()).unwrap();
        hoard.advance(at(3));
    }
    assert_eq!(hoard.capture().unwrap().sessions[0].timers.len(), 5);
}

#[test]
fn what_was_altered_is_refused() {
    let mut checkpoint = order().capture().unwrap();
    checkpoint.next_session += 1;
    assert_eq!(restored(&checkpoint).unwrap_err(), CheckpointError::Altered);
}

#[test]
fn what_is_not_legal_is_refused_even_if_its_digest_fits() {
    for (from, to, expected) in [
        (r#""box","label"]"#, r#""box"]"#, "s1: 1 of the states of packing are active"),
        (r#"["open","packing","box","label"]"#, r#"["lost","box"]"#, "s1: box is active outside"),
        (
            r#"["open","packing","box","label"]"#,
            r#"["open","nowhere"]"#,
            "s1: there is no state nowhere",
        ),
        (r#""data":{"count":1}"#, r#""data":{"cost":1}"#, "s1: there is no variable cost"),
        (r#""session":2}"#, r#""session":7}"#, "s1: a child is of somebody else"),
        (r#""chart":["courier"]"#, r#""chart":["pilot"]"#, "s2: there is no chart pilot"),
        (r#""next_session":3"#, r#""next_session":2"#, "s2: the session is of the future"),
        (
            r#""next_session":3"#,
            r#""next_session":18446744073709551615"#,
            "the instance holds too much: sessions",
        ),
        (
            r#""next_timer":"#,
            r#""next_timer":1844674407370955161"#,
            "the instance holds too much: timers and ids",
        ),
        (
            r#""format":1,"definition":{"format":1"#,
            r#""format":1,"definition":{"format":2"#,
            "its definition",
        ),
    ] {
        let error = forged(from, to).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(matches!(forged(r#""phase""#, r#""stage""#), Err(CheckpointError::Malformed(_))));
}
