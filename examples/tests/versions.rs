//! The order process of `statecharts/` in its three versions: tests of each, and live orders that go
//! from one to the next.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use whimbrel::statechart::cases::{Cases, Moves};
use whimbrel::statechart::evolution::{Gate, Moment, Plan, Settings, Verdict};
use whimbrel::statechart::lint::lint;
use whimbrel::statechart::scxml::{Ours, Surroundings, export, import};
use whimbrel::statechart::{Chart, Checkpoint, Definition, Event, Instance, Limits, Shift, Value};
use whimbrel::wire::Time;

const VERSIONS: [(&str, &str); 3] = [
    (include_str!("../statecharts/order-1.json"), include_str!("../statecharts/order-1.cases")),
    (include_str!("../statecharts/order-2.json"), include_str!("../statecharts/order-2.cases")),
    (include_str!("../statecharts/order-3.json"), include_str!("../statecharts/order-3.cases")),
];

const PLAN: &str = include_str!("../statecharts/order-2-to-3.plan.json");

const MINUTE: u64 = 60 * 1_000_000_000;

fn definition(version: usize) -> Definition {
    serde_json::from_str(VERSIONS[version - 1].0).unwrap()
}

fn chart(version: usize) -> Arc<Chart> {
    Arc::new(Chart::new(definition(version)).unwrap())
}

/// An order of a version to which things happened, ten minutes after it began.
fn order(version: usize, events: &[&str]) -> Checkpoint {
    let mut order = Instance::new(chart(version), "order", Limits::default());
    order.settle(Time::ZERO).unwrap();
    for event in events {
        let data = match *event {
            "pay" => r#"{"amount": 40, "address": "Tern Street 3"}"#,
            "remark" => r#"{"text": "ring twice"}"#,
            _ => "null",
        };
        let data: Value = serde_json::from_str(data).unwrap();
        order.step(Event::new(*event, data), Time::from_nanos(10 * MINUTE)).unwrap();
    }
    order.capture().unwrap()
}

fn verdict(from: usize, checkpoint: &Checkpoint) -> (Verdict, Vec<String>) {
    let gate = Gate::new(definition(from), definition(from + 1)).unwrap();
    let report = gate.judge(checkpoint, &Settings::default());
    let hits = report.findings.iter().filter(|finding| finding.verdict == report.verdict);
    let mut rules: Vec<String> = hits.map(|finding| finding.rule.to_string()).collect();
    rules.dedup();
    (report.verdict, rules)
}

fn carried(from: usize, checkpoint: &Checkpoint, plan: Option<&Plan>) -> Instance {
    let gate = Gate::new(definition(from), definition(from + 1)).unwrap();
    let now = Time::from_nanos(11 * MINUTE);
    let moment = Moment { frozen_at: now, now, shift: Shift::default() };
    let settings = Settings::default();
    gate.carry(checkpoint, &settings, plan, Limits::default(), moment).unwrap().instance
}

#[test]
fn each_version_does_what_its_tests_say_moved_after_each_input() {
    for (version, (_, cases)) in (1..).zip(VERSIONS) {
        for case in Cases::parse(cases).unwrap().all() {
            let outcome = case.play(&chart(version), Moves::Always);
            assert!(outcome.passed(), "version {version}: {outcome}");
            assert!(outcome.moves > 0);
        }
    }
}

#[test]
fn nothing_in_any_version_is_surely_not_meant_and_scxml_holds_all_of_it() {
    for version in 1..=3 {
        assert_eq!(lint(&chart(version)), [], "version {version}");
        let library = std::collections::BTreeMap::new();
        let around = Surroundings { language: &Ours, load: &|_| None, library: &library };
        let again = import(&export(&definition(version)).unwrap(), &around).unwrap();
        assert_eq!(again.digest(), definition(version).digest());
    }
}

#[test]
fn every_order_goes_from_the_first_version_to_the_second_without_questions() {
    for events in
        [&[][..], &["pay"], &["pay", "picked"], &["pay", "picked", "boxed", "billed", "taken"]]
    {
        let order = order(1, events);
        assert_eq!(verdict(1, &order).0, Verdict::Compatible, "{events:?}");
        let mut order = carried(1, &order, None);
        order
            .step(
                Event::new("remark", serde_json::from_str(r#"{"text": "hurry"}"#).unwrap()),
                Time::from_nanos(12 * MINUTE),
            )
            .unwrap();
        assert_eq!(order.datum("remark"), Some(&Value::text("hurry")), "{events:?}");
    }
}

#[test]
fn an_order_goes_to_the_third_version_by_what_is_alive_of_it() {
    let plan = Plan::from_json(PLAN).unwrap();
    let waiting = order(2, &["remark"]);
    assert_eq!(verdict(2, &waiting), (Verdict::NeedsConsent, vec!["D2".to_owned()]));
    let moved = carried(2, &waiting, Some(&plan));
    assert_eq!(moved.next_due(), Some(Time::from_nanos(30 * MINUTE)), "as it was promised");

    let boxing = order(2, &["pay", "picked"]);
    assert_eq!(verdict(2, &boxing).0, Verdict::NeedsPlan);
    let mut moved = carried(2, &boxing, Some(&plan));
    let at = Time::from_nanos(12 * MINUTE);
    moved.settle(at).unwrap();
    assert_eq!(moved.leaves().collect::<Vec<_>>(), ["wrapping", "writing", "insured"]);
    for event in ["wrapped", "billed"] {
        moved.step(Event::new(event, Value::Null), at).unwrap();
    }
    assert!(moved.is_in("shipping"));

    let shipping = order(2, &["pay", "picked", "billed", "boxed", "taken"]);
    assert_eq!(verdict(2, &shipping).0, Verdict::Compatible);
    let mut moved = carried(2, &shipping, None);
    moved.settle(Time::from_nanos(130 * MINUTE)).unwrap();
    assert!(moved.is_in("shipping"), "the courier waits for a signature");
    moved.step(Event::new("signed", Value::Null), Time::from_nanos(131 * MINUTE)).unwrap();
    assert!(moved.is_in("delivered"));
}
