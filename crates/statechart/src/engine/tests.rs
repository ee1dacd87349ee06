//! Shows that a step which does not end leaves nothing behind, whatever it did on the way.

use std::sync::Arc;

use whimbrel_wire::Time;

use super::*;
use crate::chart::Chart;
use crate::value::Value;

/// On `spin` it does all that a chart can do, and then runs in a circle.
const WILD: &str = r##"{ "id": "wild", "binding": "late",
  "data": [{ "id": "n", "value": { "literal": 0 } }, { "id": "made", "value": { "literal": "" } }],
  "states": [
    { "id": "work", "initial": ["one"],
      "on_entry": [[{ "send": { "slot": "t1", "id": "t1", "event": "late", "delay": "1h" } },
                    { "send": { "slot": "t2", "event": "later", "delay": "2h" } }]],
      "invoke": [{ "slot": "kid", "id": "kid", "chart": "kid", "forward": true }],
      "states": [
        { "id": "back", "kind": "history", "transitions": [{ "to": ["one"] }] },
        { "id": "one", "transitions": [{ "on": ["next"], "to": ["two"] }] },
        { "id": "two", "transitions": [{ "on": ["next"], "to": ["one"] }] } ],
      "transitions": [
        { "id": "counts", "on": ["count"],
          "do": [{ "assign": { "to": "n", "value": { "expression": "n + 1" } } },
                 { "raise": "counted" }] },
        { "id": "spins", "on": ["spin", "late"], "to": ["circle"],
          "do": [{ "assign": { "to": "n", "value": { "expression": "n + 100" } } },
                 { "cancel": { "id": "t1" } }, { "raise": "x" },
                 { "send": { "slot": "s3", "id_into": "made", "event": "y" } },
                 { "send": { "slot": "s4", "event": "z", "to": "#_kid" } },
                 { "send": { "slot": "t3", "event": "last", "delay": "3h" } }] },
        { "id": "leaves", "on": ["leave"], "to": ["rest"] } ] },
    { "id": "rest", "transitions": [
        { "on": ["spin"], "to": ["back"], "do": [{ "raise": "spin" }] },
        { "on": ["go"], "to": ["back"] } ] },
    { "id": "circle", "data": [{ "id": "seen", "value": { "literal": 1 } }],
      "transitions": [{ "to": ["circle"], "do": [{ "raise": "round" }] }] } ],
  "children": { "kid": { "id": "kid", "data": [{ "id": "heard", "value": { "literal": 0 } }], "states": [
    { "id": "up",
      "on_entry": [[{ "send": { "slot": "k", "event": "tick", "delay": "5h" } }]],
      "on_exit": [[{ "log": { "label": "over" } }]],
      "transitions": [{ "on": ["*"], "do": [{ "assign": { "to": "heard", "value": { "expression": "heard + 1" } } }] }] }] } } }"##;

fn wild() -> Instance {
    let chart = Arc::new(Chart::new(serde_json::from_str(WILD).unwrap()).unwrap());
    let limits = Limits { microsteps_max: 200, ..Limits::default() };
    let mut wild = Instance::new(chart, "wild", limits);
    wild.settle(Time::from_nanos(1)).unwrap();
    wild
}

fn written(instance: &Instance) -> String {
    instance.capture().unwrap().to_json().unwrap()
}

#[test]
fn what_does_not_end_is_taken_back_to_the_byte() {
    let mut wild = wild();
    let now = Time::from_nanos(5);
    for events in [&["count"][..], &["next", "count"], &["leave"], &["go", "count"], &["next"]] {
        for event in events {
            wild.step(Event::new(*event, Value::Null), now).unwrap();
        }
        let before = written(&wild);
        let spun = wild.step(Event::new("spin", Value::Int(7)), now).unwrap_err();
        assert_eq!(spun, StepError::Overrun(Overrun(200)));
        assert_eq!(written(&wild), before, "after {events:?}");
        let quiet = wild.sessions.values().flatten().all(|session| session.log.is_none());
        assert!(quiet, "nothing is written down outside of an attempt");
    }
}

#[test]
fn timers_that_lead_into_a_circle_are_taken_back_to_the_byte() {
    let mut wild = wild();
    let before = written(&wild);
    wild.settle(Time::from_nanos(3_600_000_000_001)).unwrap_err();
    assert_eq!(written(&wild), before);
    // A copy that was taken before shares nothing that was changed.
    let copy = wild.clone();
    wild.step(Event::new("count", Value::Null), Time::from_nanos(2)).unwrap();
    assert_eq!(written(&copy), before);
    assert_ne!(written(&wild), before);
}

#[test]
fn an_attempt_within_an_attempt_is_taken_back_alone() {
    let mut wild = wild();
    let now = Time::from_nanos(5);
    wild.attempt(|wild| {
        wild.step(Event::new("count", Value::Null), now)?;
        let before = written(wild);
        wild.step(Event::new("spin", Value::Null), now).unwrap_err();
        assert_eq!(written(wild), before);
        Ok::<_, StepError>(())
    })
    .unwrap();
    assert_eq!(wild.datum("n"), Some(&Value::Int(1)));
}

/// A parent of two workers. A worker fails on `fail`: it divides by nothing, and waits for no error.
fn family(supervise: &str) -> Instance {
    let text = format!(
        r##"{{ "id": "boss", "data": [{{ "id": "seen", "value": {{ "literal": [] }} }}],
          "states": [{{ "id": "work",
            "invoke": [
              {{ "slot": "a", "id": "a", "chart": "worker", "mailbox": 2, "supervise": {supervise},
                 "data": {{ "params": [{{ "name": "given", "value": {{ "literal": 7 }} }}] }} }},
              {{ "slot": "b", "id": "b", "chart": "worker", "supervise": {{ "on_failure": "stop" }},
                 "data": {{ "params": [{{ "name": "given", "value": {{ "literal": 8 }} }}] }} }} ],
            "transitions": [
              {{ "on": ["tell"], "do": [{{ "send": {{ "to": "#_a", "event": {{ "expression": "_event.data" }} }} }}] }},
              {{ "on": ["flood"], "do": [
                {{ "send": {{ "to": "#_a", "event": "add" }} }}, {{ "send": {{ "to": "#_a", "event": "add" }} }},
                {{ "send": {{ "to": "#_a", "event": "add" }} }} ] }},
              {{ "on": ["said", "error", "stopped"],
                 "do": [{{ "assign": {{ "to": "seen", "value": {{ "expression": "seen + [_event.name]" }} }} }}] }} ] }}],
          "children": {{ "worker": {{ "id": "worker",
            "data": [{{ "id": "given", "value": {{ "literal": 0 }} }}, {{ "id": "sum", "value": {{ "expression": "given" }} }}],
            "states": [{{ "id": "idle", "transitions": [
              {{ "on": ["add"], "do": [{{ "assign": {{ "to": "sum", "value": {{ "expression": "sum + 1" }} }} }}] }},
              {{ "on": ["say"], "do": [{{ "send": {{ "to": "#_parent", "event": {{ "expression": "'said.' + text(sum)" }} }} }}] }},
              {{ "on": ["fail"], "do": [{{ "assign": {{ "to": "sum", "value": {{ "expression": "1 / 0" }} }} }}] }} ] }}] }} }} }}"##
    );
    let chart = Arc::new(Chart::new(serde_json::from_str(&text).unwrap()).unwrap());
    let mut boss = Instance::new(chart, "boss", Limits::default());
    boss.settle(Time::from_nanos(1)).unwrap();
    boss
}

const SECOND: u64 = 1_000_000_000;

fn tell(boss: &mut Instance, second: u64, event: &str) {
    let event = Event::new("tell", Value::text(event));
    boss.step(event, Time::from_nanos(second * SECOND)).unwrap();
    // Each time it goes on from what was written down.
    let checkpoint = crate::Checkpoint::from_json(&written(boss)).unwrap();
    *boss = checkpoint.restore(Limits::default(), crate::Shift::default()).unwrap();
}

fn seen(boss: &Instance) -> String {
    boss.datum("seen").unwrap().to_string()
}

#[test]
fn a_child_that_fails_begins_again_with_what_it_was_given_and_keeps_its_address() {
    let mut boss = family(r#"{ "on_failure": "restart" }"#);
    tell(&mut boss, 1, "add");
    tell(&mut boss, 1, "say");
    let id = |boss: &Instance| boss.sessions.keys().copied().collect::<Vec<_>>();
    let before = id(&boss);
    tell(&mut boss, 1, "fail");
    tell(&mut boss, 1, "say");
    assert_eq!(seen(&boss), r#"["said.8","said.7"]"#);
    assert_eq!(id(&boss), before, "it is the same session to all that know it");
    assert!(written(&boss).starts_with(r#"{"format":2,"#), "what an older build would misread");
}

#[test]
fn a_child_that_fails_too_often_is_its_parents_matter() {
    let mut boss = family(r#"{ "on_failure": "restart", "times": 2, "within": "10s" }"#);
    for second in [1, 2, 12, 13] {
        // The failures of the first two seconds are out of the window by the twelfth.
        tell(&mut boss, second, "fail");
        assert_eq!(seen(&boss), "[]");
    }
    tell(&mut boss, 14, "fail");
    assert_eq!(seen(&boss), r#"["error.child.a"]"#);
    tell(&mut boss, 14, "say");
    assert_eq!(seen(&boss), r#"["error.child.a","error.communication"]"#, "nobody is there");
}

#[test]
fn a_child_waits_longer_each_time_and_what_comes_meanwhile_waits_for_it() {
    let mut boss = family(r#"{ "on_failure": "restart", "back_off": "2s", "back_off_max": "3s" }"#);
    tell(&mut boss, 10, "fail");
    tell(&mut boss, 11, "say");
    assert_eq!(
        (seen(&boss), boss.next_due()),
        ("[]".to_owned(), Some(Time::from_nanos(12 * SECOND)))
    );
    boss.settle(Time::from_nanos(12 * SECOND)).unwrap();
    assert_eq!(seen(&boss), r#"["said.7"]"#);
    tell(&mut boss, 20, "fail");
    assert_eq!(boss.next_due(), Some(Time::from_nanos(23 * SECOND)), "no longer than the longest");
}

#[test]
fn a_child_stops_or_takes_another_with_it() {
    let mut boss = family(r#"{ "on_failure": "stop" }"#);
    tell(&mut boss, 1, "fail");
    assert_eq!(seen(&boss), r#"["stopped.invoke.a"]"#);
    assert_eq!(boss.sessions.len(), 2);
    let mut boss = family(r#"{ "on_failure": "stop", "with": ["b"] }"#);
    tell(&mut boss, 1, "fail");
    assert_eq!(seen(&boss), r#"["stopped.invoke.a","stopped.invoke.b"]"#);
    assert_eq!(boss.sessions.len(), 1);
    let mut boss = family(r#"{ "on_failure": "escalate" }"#);
    tell(&mut boss, 1, "fail");
    assert_eq!(seen(&boss), r#"["error.child.a"]"#);
}

#[test]
fn a_mailbox_that_is_full_is_told_to_the_sender() {
    let mut boss = family(r#"{ "on_failure": "restart" }"#);
    boss.step(Event::new("flood", Value::Null), Time::from_nanos(SECOND)).unwrap();
    assert_eq!(seen(&boss), r#"["error.communication"]"#);
    tell(&mut boss, 1, "say");
    assert_eq!(seen(&boss), r#"["error.communication","said.9"]"#, "two came in");
}

#[test]
fn a_step_that_does_not_end_takes_new_beginnings_back() {
    let mut boss = family(r#"{ "on_failure": "restart" }"#);
    let before = written(&boss);
    boss.attempt(|boss| {
        let at = Time::from_nanos(SECOND);
        boss.deliver(Event::new("tell", Value::text("fail"))).unwrap();
        boss.settle_within(at).unwrap();
        boss.deliver(Event::new("tell", Value::text("fail"))).unwrap();
        boss.settle_within(at).unwrap();
        Err::<(), ()>(())
    })
    .unwrap_err();
    assert_eq!(written(&boss), before);
}
