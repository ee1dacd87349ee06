//! Tests of charts, read as text and played; each line that can be wrong is wrong once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use whimbrel_statechart::Chart;
use whimbrel_statechart::cases::{Cases, Moves};

const LAMP: &str = r#"{ "id": "lamp", "data": [{ "id": "times", "value": { "literal": 0 } }], "states": [
  { "id": "off", "transitions": [{ "on": ["press"], "to": ["on"],
    "do": [{ "assign": { "to": "times", "value": { "expression": "times + 1" } } },
           { "log": { "label": "light", "value": "times" } }] }] },
  { "id": "on", "invoke": [{ "id": "moth", "chart": "moth" }],
    "on_entry": [[{ "send": { "id": "tired", "event": "tired", "delay": "10s" } },
                  { "send": { "event": "shines", "to": "street", "by": "host:publish", "data": { "names": ["times"] } } }]],
    "transitions": [{ "on": ["tired"], "to": ["off"] }, { "on": ["break"], "to": ["broken"] }] },
  { "id": "broken", "kind": "final", "done": { "names": ["times"] } } ],
  "children": { "moth": { "id": "moth", "states": [{ "id": "circles" }] } } }"#;

const GOOD: &str = r##"
case a lamp tires
  in off
  no timer
  send press          # the "#" of a comment
    in on
    logs light 1
    sends shines to street {"times": 1}
    child moth in circles
    data times 1
    timer in 10s
  move
  after 4s
    nothing
    timer in 6s
  after 6s
    in off
    child moth gone

case a lamp breaks
  send press
  send break
    done {"times": 1}
"##;

fn played(text: &str, moves: Moves) -> Vec<Option<(usize, String)>> {
    let chart = Arc::new(Chart::new(serde_json::from_str(LAMP).unwrap()).unwrap());
    let cases = Cases::parse(text).unwrap();
    let outcomes = cases.all().iter().map(|case| case.play(&chart, moves));
    outcomes.map(|outcome| outcome.failure.map(|failure| (failure.line, failure.what))).collect()
}

#[test]
fn what_is_expected_comes_moved_or_not() {
    assert_eq!(played(GOOD, Moves::AsWritten), [None, None]);
    assert_eq!(played(GOOD, Moves::Always), [None, None]);
}

#[test]
fn what_does_not_come_fails_in_its_line() {
    for wrong in [
        "in on",
        "child moth in circles",
        "data times 1",
        "data gone 1",
        "sends shines",
        "logs light 1",
        "done",
        "timer in 1s",
    ] {
        let failed = played(&format!("case one\n  {wrong}"), Moves::AsWritten);
        assert!(matches!(&failed[..], [Some((2, _))]), "{wrong}: {failed:?}");
    }
    for wrong in [
        "in off",
        "nothing",
        "no timer",
        "child moth gone",
        "data times none",
        r#"sends shines {"times": 2}"#,
        "sends shines to park",
        "logs dark 1",
        "done",
    ] {
        let failed = played(&format!("case one\n send press\n  {wrong}"), Moves::AsWritten);
        assert!(matches!(&failed[..], [Some((3, _))]), "{wrong}: {failed:?}");
    }
}

#[test]
fn what_is_no_line_of_a_test_is_refused_with_its_number() {
    for wrong in [
        "in off",
        "case a\nhope",
        "case a\nsend",
        "case a\nsend press {",
        "case a\nafter soon",
        "case a\nmove on",
        "case a\nchild moth",
        "case a\ndata times",
        "case a\ntimer 1s",
        "case a\nlogs light",
    ] {
        let error = Cases::parse(wrong).unwrap_err();
        assert_eq!(error.line, wrong.lines().count(), "{wrong}: {error}");
    }
}
