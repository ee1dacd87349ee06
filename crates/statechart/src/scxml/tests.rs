//! Shows that documents run, and which are refused.

use std::sync::Arc;

use whimbrel_wire::Time;

use super::*;
use crate::{Chart, Event, Instance, Limits, Value};

fn read(text: &str) -> Result<crate::Definition, ImportError> {
    let around = Surroundings { language: &Ours, load: &|_| None, library: &BTreeMap::new() };
    import(text, &around)
}

const DOOR: &str = r#"<scxml xmlns="http://www.w3.org/2005/07/scxml" name="door" initial="shut">
  <datamodel><data id="count" expr="0"/></datamodel>
  <state id="shut">
    <transition event="open" target="open">
      <assign location="count" expr="count + 1"/>
    </transition>
  </state>
  <state id="open">
    <onentry><send id="slam" event="shut" delay="30s"/></onentry>
    <onexit><cancel sendid="slam"/></onexit>
    <transition event="shut" target="shut"/>
  </state>
</scxml>"#;

#[test]
fn a_document_runs_by_no_clock_but_the_callers() {
    let chart = Arc::new(Chart::new(read(DOOR).unwrap()).unwrap());
    let mut door = Instance::new(chart, "door", Limits::default());
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    door.settle(at(1)).unwrap();
    assert_eq!(door.leaves().collect::<Vec<_>>(), ["shut"]);
    door.step(Event::new("open", Value::Null), at(2)).unwrap();
    assert_eq!(door.leaves().collect::<Vec<_>>(), ["open"]);
    assert_eq!(door.datum("count"), Some(&Value::Int(1)));
    assert_eq!(door.next_due(), Some(at(32)));
    door.settle(at(31)).unwrap();
    assert!(door.is_in("open"));
    door.settle(at(32)).unwrap();
    assert!(door.is_in("shut"));
    assert_eq!(door.next_due(), None);
}

#[test]
fn a_document_that_is_none_is_refused_with_the_line() {
    assert!(matches!(read("<scxml"), Err(ImportError::Xml(_))));
    assert!(matches!(read("<html/>"), Err(ImportError::Document { line: 1, .. })));
    let odd = DOOR.replace("<onexit>", "<onfire/><onexit>");
    assert_eq!(
        read(&odd),
        Err(ImportError::Document { line: 10, what: "onfire is no state".to_owned() })
    );
    let deep = format!("{}{}", "<state>".repeat(200), "</state>".repeat(200));
    assert_eq!(read(&format!("<scxml>{deep}</scxml>")), Err(ImportError::TooDeep));
}

#[test]
fn a_script_is_assignments() {
    let actions = Ours.script("x = 1; y += 2\n// nothing\nvar z = x");
    let text = serde_json::to_string(&actions).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"[{"assign":{"to":"x","value":{"expression":"1"}}},"#,
            r#"{"assign":{"to":"y","value":{"expression":"y + (2)"}}},"#,
            r#"{"assign":{"to":"z","value":{"expression":"x"}}}]"#
        )
    );
    assert!(matches!(&Ours.script("call()")[..], [Action::Fail(_)]));
}

/// A chart with everything that the form knows.
const ALL: &str = r##"{ "id": "all", "version": "3", "name": "All & <more>", "initial": ["top"],
  "note": { "by": "ops" }, "retired": { "old": "int" },
  "data": [{ "id": "n", "type": "int", "was": ["m"], "value": { "literal": 1 } },
           { "id": "text", "value": { "literal": "a \"b\"\n<c> & 'd'" } },
           { "id": "none" }, { "id": "sum", "value": { "expression": "n < 2 ? 1.0 : n" } }],
  "script": [{ "log": { "label": "begins" } }],
  "transitions": [{ "id": "any", "on": ["*"], "when": "n > 1 && text != 'x\ty'", "do": [{ "fail": "no" }] }],
  "states": [
    { "id": "top", "was": ["up"], "initial": ["in"], "initial_actions": [{ "raise": "begun" }],
      "data": [{ "id": "inner", "value": { "literal": null } }],
      "on_entry": [[{ "raise": "a" }, { "log": { "value": "n" } }], [{ "cancel": { "id": "t" } },
                    { "spawn": { "id": "one \" <&", "chart": "kid", "supervise": { "on_failure": "stop" }, "mailbox": 3 } },
                    { "spawn": { "id_into": "none", "chart": { "expression": "text" }, "on": { "expression": "text" }, "data": { "names": ["n"] } } },
                    { "stop": { "id": { "expression": "text" } } }]],
      "on_exit": [[{ "if": [{ "do": [{ "raise": "x" }] }, { "when": "n == 1", "do": [] }, { "do": [{ "raise": "z" }] }] }]],
      "invoke": [{ "slot": "kid", "id": "kid", "chart": "kid", "forward": true, "mailbox": 5,
                   "supervise": { "on_failure": "restart", "times": 2, "with": ["kid2"] },
                   "data": { "names": ["n"], "params": [{ "name": "p", "value": { "literal": [1, { "a": 2.0 }] } }] },
                   "finalize": [{ "assign": { "to": "n", "value": { "expression": "_event.data" } } }] },
                 { "slot": "kid2", "id": "kid2", "id_into": "none", "chart": { "expression": "text" } }],
      "states": [
        { "id": "hist", "kind": "deep-history", "transitions": [{ "to": ["in"], "do": [{ "raise": "h" }] }] },
        { "id": "in", "transitions": [
          { "id": "t1", "on": ["a.b", "c"], "to": ["hist"], "internal": true, "note": 1,
            "do": [{ "for-each": { "list": "[1]", "item": "i", "index": "k", "do": [
              { "send": { "slot": "s", "id_into": "none", "event": { "expression": "text" }, "to": "#_kid",
                          "by": "scxml", "delay": { "expression": "'1s'" }, "data": { "content": { "literal": "q" } } } }] } }] }] } ] },
    { "id": "wide", "kind": "parallel", "states": [{ "id": "l" }, { "id": "r" }] },
    { "id": "end", "kind": "final", "done": { "names": ["n"], "params": [{ "name": "x", "value": { "expression": "n" } }] } } ],
  "children": { "kid": { "id": "kid", "binding": "late", "states": [{ "id": "k" }],
    "children": { "grand": { "id": "grand", "states": [{ "id": "g" }] } } } } }"##;

#[test]
fn there_and_back_is_the_same_definition() {
    let all: crate::Definition = serde_json::from_str(ALL).unwrap();
    Chart::new(all.clone()).unwrap();
    let document = export(&all).unwrap();
    assert_eq!(read(&document).unwrap(), all.with_ids(), "{document}");
}

#[test]
fn what_xml_cannot_hold_is_not_written() {
    let mut all: crate::Definition = serde_json::from_str(ALL).unwrap();
    all.version = "\u{1}".to_owned();
    assert!(matches!(export(&all), Err(ExportError::Letter(_))));
    let mut all: crate::Definition = serde_json::from_str(ALL).unwrap();
    all.initial = vec!["two words".to_owned()];
    assert!(matches!(export(&all), Err(ExportError::Unsaid { .. })));
}
