//! Measures the engine and the gate on the machine it runs on: `cargo run --release -p whimbrel-statechart
//! --example speed`. Each figure is that of the best of many short rounds, so what else runs on the
//! machine disturbs it little; of the gate it is what 99 of 100 judgements stay under, and memory is
//! what the process grew by.

#![allow(clippy::print_stdout, reason = "figures are what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whimbrel_statechart::evolution::{Gate, Moment, Settings};
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

/// Fifty states in groups of five, with a timer and two ways each; `delay` is that of the timers.
fn fifty(delay: &str) -> String {
    let state = |group: usize, state: usize| {
        let next = (state + 1) % 4;
        format!(
            r#"{{ "id": "g{group}s{state}",
              "on_entry": [[{{ "send": {{ "slot": "t{group}.{state}", "id": "t{group}.{state}", "event": "late", "delay": "{delay}" }} }}]],
              "on_exit": [[{{ "cancel": {{ "id": "t{group}.{state}" }} }}]],
              "transitions": [
                {{ "id": "n{group}.{state}", "on": ["next"], "to": ["g{group}s{next}"],
                   "do": [{{ "assign": {{ "to": "count", "value": {{ "expression": "count + 1" }} }} }}] }},
                {{ "id": "b{group}.{state}", "on": ["back"], "when": "count > 3", "to": ["g{group}s0"] }} ] }}"#
        )
    };
    let group = |group: usize| {
        let states: Vec<String> = (0..4).map(|nth| state(group, nth)).collect();
        let next = (group + 1) % 10;
        format!(
            r#"{{ "id": "g{group}", "states": [{}],
              "transitions": [{{ "id": "o{group}", "on": ["over"], "to": ["g{next}"] }}] }}"#,
            states.join(",")
        )
    };
    let groups: Vec<String> = (0..10).map(group).collect();
    format!(
        r#"{{ "id": "fifty", "data": [{{ "id": "count", "type": "int", "value": {{ "literal": 0 }} }}],
          "states": [{}] }}"#,
        groups.join(",")
    )
}

/// What 99 of 100 judgements stay under: of a live instance at forty places, by a definition with other
/// delays of all timers.
fn judgement() -> Duration {
    let (old, new) = (chart(&fifty("1h")), chart(&fifty("2h")));
    let gate = Gate::between(&old, &new).unwrap();
    let mut instance = begun(&old);
    let mut lives = Vec::new();
    for nth in 0..40 {
        lives.push(instance.capture().unwrap());
        let event = if nth % 4 == 3 { "over" } else { "next" };
        instance.step(Event::new(event, Value::Null), Time::ZERO).unwrap();
    }
    let settings = Settings::default();
    let mut times: Vec<Duration> = (0..100_000)
        .map(|nth| {
            let begun = Instant::now();
            black_box(gate.judge(&lives[nth % lives.len()], &settings));
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Written down, read at the target, judged there and gone on from under the definition of the target.
fn move_through(gate: &Gate, instance: &Instance, digest: &Arc<str>) -> Instance {
    let bytes = instance.to_compact(digest).unwrap();
    let limits = Limits::default();
    let old = gate.old_chart();
    let arrived = Instance::from_compact(&bytes, old, digest, limits, Shift::default()).unwrap();
    let checkpoint = arrived.capture().unwrap();
    let settings = Settings::default();
    gate.carry(&checkpoint, &settings, None, limits, Moment::default()).unwrap().instance
}

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

    let other =
        chart(&large().replacen(r#""id": "large","#, r#""id": "large", "version": "2","#, 1));
    let began = Instant::now();
    let gate = Gate::between(&big, &other).unwrap();
    let indexed = began.elapsed();
    let moved = best(1, || drop(black_box(move_through(&gate, &instance, &digest))));
    line("the same, judged at the target", "20 ms", moved);
    line("    what the gate looks up, once for a pair of definitions", "-", indexed);
    line("gate decision p99, 50 states", "50 us", judgement());

    let before = resident();
    let instances: Vec<Instance> = (0..100_000).map(|_| begun(&small)).collect();
    let each = (resident() - before) / instances.len() as u64;
    line("100,000 instances in memory, bytes each", "2048", each);
    let sleeping: usize = instances.iter().filter_map(Instance::next_due).count();
    assert_eq!(sleeping, instances.len(), "each waits for its timer");
}
