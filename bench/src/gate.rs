//! Decides what a judgement of the evolution gate is measured by: a chart of fifty states, edited in
//! every way that the gate tells apart, for instances at many places.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value as Json, json};
use whimbrel_statechart::evolution::{Gate, Settings, Verdict};
use whimbrel_statechart::{Chart, Checkpoint, Event, Instance, Limits, Shift, Value};
use whimbrel_wire::Time;

use crate::figures::Row;

/// Arguments of `gate`.
#[derive(Args, Clone)]
pub(crate) struct GateTask {
    /// Judgements in all.
    #[arg(long, default_value_t = 100_000)]
    judgements: usize,
}

/// Compound states, and states in each: fifty in all.
const GROUPS: usize = 10;
const STATES: usize = 4;

fn chart_of(edit: impl FnOnce(&mut Json)) -> Result<Arc<Chart>> {
    let group = |group: usize| {
        let state = |state: usize| {
            let next = (state + 1) % STATES;
            json!({
                "id": format!("g{group}s{state}"),
                "on_entry": [[
                    { "send": { "slot": format!("t{group}.{state}"), "id": format!("t{group}.{state}"),
                                "event": "late", "delay": "1h" } }]],
                "on_exit": [[{ "cancel": { "id": format!("t{group}.{state}") } }]],
                "transitions": [
                    { "id": format!("n{group}.{state}"), "on": ["next"],
                      "to": [format!("g{group}s{next}")],
                      "do": [{ "assign": { "to": "count", "value": { "expression": "count + 1" } } }] },
                    { "id": format!("b{group}.{state}"), "on": ["back"], "when": "count > 3",
                      "to": [format!("g{group}s0")] }
                ]
            })
        };
        json!({
            "id": format!("g{group}"),
            "transitions": [
                { "id": format!("o{group}"), "on": ["over"],
                  "to": [format!("g{}", (group + 1) % GROUPS)] },
                { "id": format!("l{group}"), "on": ["late"], "to": ["g0"] }
            ],
            "states": (0..STATES).map(state).collect::<Vec<_>>()
        })
    };
    let mut definition = json!({
        "id": "fifty", "version": "1",
        "data": [{ "id": "count", "type": "int", "value": { "literal": 0 } }],
        "states": (0..GROUPS).map(group).collect::<Vec<_>>()
    });
    edit(&mut definition);
    Ok(Arc::new(Chart::new(serde_json::from_value(definition)?)?))
}

/// The chart, edited in each way that the gate tells apart.
fn versions() -> Result<Vec<(&'static str, Arc<Chart>)>> {
    let timer = |json: &mut Json, delay: &str| {
        for group in 0..GROUPS {
            for state in 0..STATES {
                let send = &mut json["states"][group]["states"][state]["on_entry"][0][0]["send"];
                send["delay"] = json!(delay);
            }
        }
    };
    Ok(vec![
        ("the same", chart_of(|_| {})?),
        ("another version", chart_of(|json| json["version"] = json!("2"))?),
        (
            "another action",
            chart_of(|json| {
                json["states"][7]["states"][1]["on_exit"] =
                    json!([[{ "log": { "label": "left" } }]]);
            })?,
        ),
        (
            "more data",
            chart_of(|json| {
                let data = json["data"].as_array_mut();
                data.into_iter().for_each(|data| data.push(json!({ "id": "more" })));
            })?,
        ),
        ("other delays", chart_of(|json| timer(json, "2h"))?),
        (
            "a state more on top",
            chart_of(|json| {
                let group = json["states"][0].take();
                json["states"][0] = json!({ "id": "wrapper", "states": [group] });
            })?,
        ),
        ("another type", chart_of(|json| json["data"][0]["type"] = json!("text"))?),
    ])
}

fn lives(chart: &Arc<Chart>) -> Result<Vec<Checkpoint>> {
    let now = Time::from_nanos(1);
    let mut instance = Instance::new(Arc::clone(chart), "fifty", Limits::default());
    instance.settle(now)?;
    let mut lives = Vec::new();
    for step in 0..GROUPS * STATES {
        lives.push(instance.capture()?);
        let event = if step % STATES == STATES - 1 { "over" } else { "next" };
        instance.step(Event::new(event, Value::Null), now)?;
    }
    Ok(lives)
}

/// Measures.
pub(crate) fn run(task: &GateTask) -> Result<bool> {
    let old = chart_of(|_| {})?;
    println!("a chart of {} states; nanoseconds", GROUPS * STATES + GROUPS);
    let lives = lives(&old)?;
    let settings = Settings::default();
    let versions = versions()?;
    let each = (task.judgements / versions.len()).max(1);
    let mut all = Vec::new();
    for (name, new) in &versions {
        let started = Instant::now();
        let gate = Gate::between(&old, new)?;
        let indexed = started.elapsed();
        let mut times = Vec::with_capacity(each);
        let mut worst = Verdict::Identical;
        for nth in 0..each {
            let checkpoint = &lives[nth % lives.len()];
            let started = Instant::now();
            let report = gate.judge(checkpoint, &settings);
            times.push(started.elapsed());
            worst = worst.max(report.verdict);
        }
        all.extend(times.iter().copied());
        let row: Row = times.into_iter().collect();
        println!(
            "{name:<22}{:<15} p50 {:>7} p99 {:>7} max {:>9}, index {:>9}",
            worst.word(),
            row.percentile(50),
            row.percentile(99),
            row.most(),
            indexed.as_nanos(),
        );
    }
    let row: Row = all.into_iter().collect();
    say("all", &row);
    steps(&old, lives.first().context("there are some")?)?;
    Ok(true)
}

/// What a step and a move of a small instance cost beside that.
fn steps(chart: &Arc<Chart>, checkpoint: &Checkpoint) -> Result<()> {
    const COUNT: usize = 20_000;
    let limits = Limits::default();
    let mut instance = checkpoint.restore_of(chart, limits, Shift::default())?;
    let mut step = Vec::with_capacity(COUNT);
    for nth in 0..COUNT {
        let now = Time::from_nanos(2 + nth as u64);
        let event = Event::new("next", Value::Null);
        let started = Instant::now();
        instance.step(event, now)?;
        step.push(started.elapsed());
    }
    let mut moved = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let started = Instant::now();
        let captured = instance.capture()?;
        instance = captured.restore_of(chart, limits, Shift::default())?;
        moved.push(started.elapsed());
    }
    for (what, times) in [("step with a timer", step), ("capture and restore", moved)] {
        let row: Row = times.into_iter().collect();
        say(what, &row);
    }
    Ok(())
}

fn say(what: &str, row: &Row) {
    let [half, most, all] = row.summary();
    println!("{what:<37} p50 {half:>7} p99 {most:>7} max {all:>9}");
}
