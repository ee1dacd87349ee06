//! Measures the engine on the machine it runs on: `cargo run --release -p whimbrel-statechart
//! --example speed`. Each figure is that of the best of many short rounds, so what else runs on the
//! machine disturbs it little; memory is what the process grew by.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whimbrel_statechart::{Chart, Definition, Event, Instance, Limits, Shift, Value};
use whimbrel_wire::Time;

const ROUNDS: u32 = 200;

const FLAT: &str = r#"{ "id": "flat", "states": [
  { "id": "on", "transitions": [{ "on": ["flip"], "to": ["off"] }] },
  { "id": "off", "transitions": [{ "on": ["flip"], "to": ["on"] }] } ] }"#;

const SMALL: &str = r#"{ "id": "small", "data": [{ "id": "count", "value": { "literal": 0 } }], "states": [
  { "id": "open", "initial": ["paying"],
    "on_entry": [[{ "send": { "id": "late", "event": "late", "delay": "1h" } }]],
    "transitions": [{ "on": ["late"], "to": ["lost"] }],
    "states": [{ "id": "paying", "transitions": [{ "on": ["pay"], "to": ["paying"],
      "do": [{ "assign": { "to": "count", "value": { "expression": "count + 1" } } }] }] }] },
  { "id": "lost", "kind": "final" } ] }"#;

fn chart(text: &str) -> Arc<Chart> {
    Arc::new(Chart::new(serde_json::from_str::<Definition>(text).unwrap()).unwrap())
}

fn begun(chart: &Arc<Chart>) -> Instance {
    let mut instance = Instance::new(Arc::clone(chart), "one", Limits::default());
    instance.settle(Time::ZERO).unwrap();
    instance
}

/// The best of the rounds, for one of `count` goes.
fn best(count: u32, mut go: impl FnMut()) -> Duration {
    let round = |go: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..count).for_each(|_| go());
        begun.elapsed() / count
    };
    (0..ROUNDS).map(|_| round(&mut go)).min().unwrap_or_default()
}

fn line(what: &str, bar: &str, found: impl std::fmt::Debug) {
    println!("{what:<58} {found:>12.1?}   bar {bar}");
}

fn steps(text: &str, event: &str) -> Duration {
    let mut instance = begun(&chart(text));
    let event: Arc<str> = event.into();
    best(1_000, || {
        let event = Event::new(Arc::clone(&event), Value::Null);
        black_box(instance.step(event, Time::ZERO).unwrap());
    })
}

/// Five regions, each of which hears the event.
fn parallel() -> String {
    let mut regions = String::new();
    for region in 0..5 {
        let comma = if region == 0 { "" } else { "," };
        write!(
            regions,
            r#"{comma}{{ "id": "r{region}", "states": [
              {{ "id": "a{region}", "transitions": [{{ "on": ["flip"], "to": ["b{region}"] }}] }},
              {{ "id": "b{region}", "transitions": [{{ "on": ["flip"], "to": ["a{region}"] }}] }}] }}"#
        )
        .unwrap();
    }
    format!(
        r#"{{ "id": "wide", "states": [{{ "id": "all", "kind": "parallel", "states": [{regions}] }}] }}"#
    )
}

/// 1,000 states, the first of which invokes 100 children.
fn large() -> String {
    let invokes: Vec<String> =
        (0..100).map(|child| format!(r#"{{ "id": "c{child}", "chart": "child" }}"#)).collect();
    let invokes = invokes.join(",");
    let states: Vec<String> = (1..999)
        .map(|state| {
            let next = state % 998 + 1;
            format!(r#"{{ "id": "s{state}", "transitions": [{{ "on": ["e{state}"], "to": ["s{next}"] }}] }}"#)
        })
        .collect();
    let states = states.join(",");
    format!(
        r#"{{ "id": "large", "states": [{{ "id": "top", "invoke": [{invokes}], "states": [{states}] }}],
          "children": {{ "child": {{ "id": "child", "states": [{{ "id": "idle",
            "on_entry": [[{{ "send": {{ "event": "tick", "delay": "1h" }} }}]],
            "transitions": [{{ "on": ["tick"], "to": ["idle"] }}] }}] }} }} }}"#
    )
}

fn move_once(instance: &Instance, chart: &Arc<Chart>, digest: &Arc<str>) -> Instance {
    let bytes = instance.to_compact(digest).unwrap();
    Instance::from_compact(&bytes, chart, digest, Limits::default(), Shift::default()).unwrap()
}

/// What of the process is in memory, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn main() {
    line("flat step", "300 ns", steps(FLAT, "flip"));
    line("step with an assignment and a guard's worth of work", "-", steps(SMALL, "pay"));
    line("parallel broadcast to 5 regions", "1.5 us", steps(&parallel(), "flip"));

    let small = chart(SMALL);
    let digest: Arc<str> = small.definition().digest().into();
    let instance = begun(&small);
    let bytes = instance.to_compact(&digest).unwrap().len();
    let moved = best(100, || drop(black_box(move_once(&instance, &small, &digest))));
    line(&format!("capture and restore, small: {bytes} bytes"), "5 us", moved);

    let big = chart(&large());
    let digest: Arc<str> = big.definition().digest().into();
    let mut instance = begun(&big);
    for number in 0..10_000 {
        let event = Event::new("e1", Value::Int(number));
        instance.deliver(event).unwrap();
    }
    let bytes = instance.to_compact(&digest).unwrap().len();
    let moved = best(1, || drop(black_box(move_once(&instance, &big, &digest))));
    let what = "1,000 states, 100 children, 10,000 events queued";
    line(&format!("{what}: {bytes} bytes"), "20 ms", moved);

    let before = resident();
    let instances: Vec<Instance> = (0..100_000).map(|_| begun(&small)).collect();
    let each = (resident() - before) / instances.len() as u64;
    line("100,000 instances in memory, bytes each", "2048", each);
    let sleeping: usize = instances.iter().filter_map(Instance::next_due).count();
    assert_eq!(sleeping, instances.len(), "each waits for its timer");
}
