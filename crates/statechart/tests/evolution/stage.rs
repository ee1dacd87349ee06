//! The order that all these tests run and change.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use whimbrel_statechart::evolution::{Gate, Report, Settings};
use whimbrel_statechart::{Chart, Checkpoint, Definition, Event, Instance, Limits, Value};
use whimbrel_wire::Time;

/// Version 1: a setup that is over once it is left, an order that is open under a timer and with a
/// courier, and its ends.
pub(crate) fn order() -> Json {
    json!({
      "id": "order", "version": "1",
      "data": [
        { "id": "count", "type": "int", "value": { "literal": 0 } },
        { "id": "city", "type": "text", "value": { "literal": "Ulm" } }
      ],
      "states": [
        { "id": "setup", "transitions": [{ "id": "begin", "on": ["begin"], "to": ["open"] }] },
        { "id": "orphan", "on_entry": [[{ "raise": "never" }]] },
        { "id": "open", "initial": ["paying"],
          "on_entry": [[{ "send": { "slot": "late", "id": "late", "event": "late", "delay": "1h" } }]],
          "invoke": [{ "slot": "courier", "id": "courier", "chart": "courier" }],
          "transitions": [
            { "id": "too-late", "on": ["late"], "to": ["lost"] },
            { "id": "cancel", "on": ["cancel"], "to": ["lost"] },
            { "id": "note", "on": ["note"], "do": [{ "log": { "label": "noted" } }] }
          ],
          "states": [
            { "id": "paying",
              "on_entry": [[{ "log": { "label": "pay" } }, { "raise": "asked" }]],
              "on_exit": [[{ "log": { "label": "left" } }]],
              "transitions": [
                { "id": "asked", "on": ["asked"] },
                { "id": "pay", "on": ["paid"], "when": "count < 1", "to": ["packing"],
                  "do": [{ "log": { "label": "paid", "value": "'by card'" } },
                         { "raise": "packs" }] },
                { "id": "retry", "on": ["retry"], "to": ["paying"] }
              ] },
            { "id": "packing", "kind": "parallel",
              "transitions": [{ "id": "pack-again", "on": ["repay"], "to": ["paying"] }],
              "states": [
                { "id": "box", "initial": ["empty"], "states": [
                  { "id": "empty", "transitions": [{ "id": "fill", "on": ["fill"], "to": ["full"] }] },
                  { "id": "full", "kind": "final" } ] },
                { "id": "label", "initial": ["blank"], "states": [
                  { "id": "blank",
                    "transitions": [{ "id": "print", "on": ["print"], "to": ["printed"] },
                                    { "id": "self", "when": "count > 5", "to": ["printed"] }] },
                  { "id": "printed", "kind": "final" } ] } ] }
          ] },
        { "id": "lost", "transitions": [{ "id": "end", "on": ["end"], "to": ["over"] }] },
        { "id": "over", "kind": "final" }
      ],
      "children": { "courier": {
        "id": "courier",
        "data": [{ "id": "route", "value": { "literal": "north" } }],
        "states": [
          { "id": "waiting", "on_entry": [[{ "send": { "slot": "tick", "event": "tick", "delay": "10m" } }]],
            "transitions": [{ "id": "ticked", "on": ["tick"], "to": ["gone"] }] },
          { "id": "gone", "kind": "final" } ] } }
    })
}

pub(crate) fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

pub(crate) fn definition(json: &Json) -> Definition {
    serde_json::from_value(json.clone()).unwrap()
}

pub(crate) fn chart(json: &Json) -> Arc<Chart> {
    Arc::new(Chart::new(definition(json)).unwrap())
}

/// An instance that heard these events, one each second from 100 on.
pub(crate) fn lived(chart: &Arc<Chart>, events: &[&str]) -> Instance {
    let mut instance = Instance::new(Arc::clone(chart), "order", Limits::default());
    instance.settle(at(100)).unwrap();
    for (second, event) in (101..).zip(events) {
        instance.step(Event::new(*event, Value::Null), at(second)).unwrap();
    }
    instance
}

/// What the gate says when an instance of `old` that heard `events` is to go on as `new`.
pub(crate) fn judged(old: &Json, new: &Json, events: &[&str]) -> (Report, Checkpoint) {
    let (old, new) = (chart(old), chart(new));
    let checkpoint = lived(&old, events).capture().unwrap();
    let gate = Gate::between(&old, &new).unwrap();
    (gate.judge(&checkpoint, &Settings::default()), checkpoint)
}

/// The JSON value at a path of the order.
pub(crate) fn part<'a>(json: &'a mut Json, path: &str) -> &'a mut Json {
    json.pointer_mut(path).unwrap_or_else(|| panic!("nothing is at {path}"))
}

/// Appends to the list at a path; the list is made if it is not there.
pub(crate) fn push(json: &mut Json, path: &str, value: Json) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = part(json, parent).as_object_mut().unwrap();
    parent.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap().push(value);
}

/// Inserts at the front of the list at a path.
pub(crate) fn insert(json: &mut Json, path: &str, value: Json) {
    part(json, path).as_array_mut().unwrap().insert(0, value);
}

/// Sets a word of the object at a path.
pub(crate) fn set(json: &mut Json, path: &str, name: &str, value: Json) {
    part(json, path).as_object_mut().unwrap().insert(name.to_owned(), value);
}

pub(crate) const OPEN: &str = "/states/2";
pub(crate) const PAYING: &str = "/states/2/states/0";
pub(crate) const PACKING: &str = "/states/2/states/1";
