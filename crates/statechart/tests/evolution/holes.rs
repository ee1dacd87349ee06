//! Thirteen holes that a move of a statechart had elsewhere, each as a test that it is none here.

use serde_json::json;
use whimbrel_statechart::evolution::{
    Arming, CarryError, ChartPlan, Gate, Moment, Plan, Rule, Settings, Verdict,
};
use whimbrel_statechart::{Checkpoint, CheckpointError, Event, Instance, Limits, Shift, Value};

use super::stage::*;

const OPENED: &[&str] = &["begin"];
const PACKED: &[&str] = &["begin", "paid"];

fn restored(checkpoint: &Checkpoint) -> Instance {
    let text = checkpoint.to_json().unwrap();
    let checkpoint = Checkpoint::from_json(&text).unwrap();
    checkpoint.restore(Limits::default(), Shift::default()).unwrap()
}

fn moment(seconds: u64) -> Moment {
    Moment { frozen_at: at(seconds), now: at(seconds), shift: Shift::default() }
}

#[test]
fn hole_1_what_an_active_ancestor_declared_goes_along() {
    let mut order = restored(&lived(&chart(&order()), PACKED).capture().unwrap());
    // The courier of the state around fires after ten minutes, the state's own timer after an hour.
    assert_eq!(order.next_due(), Some(at(101 + 600)));
    order.settle(at(101 + 600)).unwrap();
    assert_eq!(order.next_due(), Some(at(101 + 3600)));
    order.settle(at(101 + 3600)).unwrap();
    assert_eq!(order.leaves().collect::<Vec<_>>(), ["lost"]);
}

#[test]
fn hole_2_a_timer_keeps_its_deadline_and_never_begins_anew() {
    let (old, mut new) = (order(), order());
    push(&mut new, "/data", json!({ "id": "gift" }));
    let (old, new) = (chart(&old), chart(&new));
    let mut order = lived(&old, OPENED);
    let due = order.next_due();
    // To another definition and back, fifty times during one delay.
    for turn in 0..50 {
        for (from, to) in [(&old, &new), (&new, &old)] {
            let checkpoint = order.capture().unwrap();
            let gate = Gate::between(from, to).unwrap();
            let settings = Settings {
                profile: whimbrel_statechart::evolution::Profile::Guided,
                ..Settings::default()
            };
            let carried =
                gate.carry(&checkpoint, &settings, None, Limits::default(), moment(110 + turn));
            order = carried.unwrap().instance;
        }
    }
    assert_eq!(order.next_due(), due);
}

#[test]
fn hole_3_a_region_added_to_a_live_parallel_state_is_not_accepted() {
    let mut new = order();
    push(&mut new, &format!("{PACKING}/states"), json!({ "id": "ribbon" }));
    let (report, checkpoint) = judged(&order(), &new, PACKED);
    assert!(report.hits(Rule::B4) && !report.passes, "{report}");
    // And if somebody says where it is, the instance stands in all regions and hears all events.
    let gate = Gate::between(&chart(&order()), &chart(&new)).unwrap();
    let text = r#"{ "format": 1, "charts": { "": { "regions": { "ribbon": "begin" } } } }"#;
    let plan = Plan::from_json(text).unwrap();
    let settings = Settings::default();
    let carried =
        gate.carry(&checkpoint, &settings, Some(&plan), Limits::default(), moment(103)).unwrap();
    assert_eq!(carried.instance.leaves().collect::<Vec<_>>(), ["empty", "blank", "ribbon"]);
}

#[test]
fn hole_4_the_definitions_of_children_are_judged_with_their_own_live_state() {
    let mut new = order();
    // The courier's end is gone: it could never finish.
    *part(&mut new, "/children/courier/states/1") = json!({ "id": "gone" });
    let (report, _) = judged(&order(), &new, OPENED);
    assert!(report.hits(Rule::K2) && !report.passes, "{report}");
    let found = report.findings.iter().find(|finding| finding.rule == Rule::K2).unwrap();
    assert_eq!(found.chart, ["courier"]);
    // Where it is has gone: it has no place.
    let mut new = order();
    set(&mut new, "/children/courier/states/0", "id", json!("resting"));
    let (report, _) = judged(&order(), &new, OPENED);
    assert!(report.hits(Rule::B1) && report.verdict == Verdict::NeedsPlan, "{report}");
}

#[test]
fn hole_5_a_child_that_begins_again_is_given_what_it_was_given() {
    let mut old = order();
    set(
        &mut old,
        &format!("{OPEN}/invoke/0"),
        "data",
        json!({ "params": [{ "name": "route", "value": { "expression": "city + '!'" } }] }),
    );
    let mut new = old.clone();
    set(&mut new, "", "version", json!("2"));
    let (old, new) = (chart(&old), chart(&new));
    let checkpoint = lived(&old, OPENED).capture().unwrap();
    let gate = Gate::between(&old, &new).unwrap();
    let text = r#"{ "format": 1, "charts": { "": { "children": { "courier": "restart" } } } }"#;
    let plan = Plan::from_json(text).unwrap();
    let settings = Settings::default();
    let carried =
        gate.carry(&checkpoint, &settings, Some(&plan), Limits::default(), moment(160)).unwrap();
    let mut order = carried.instance;
    order.settle(at(160)).unwrap();
    let text = order.capture().unwrap().to_json().unwrap();
    assert!(text.contains(r#""given":{"route":"Ulm!"}"#), "{text}");
    assert!(text.contains(r#""data":{"route":"Ulm!"}"#), "{text}");
    assert_eq!(order.next_due(), Some(at(160 + 600)), "its timer began with it");
}

#[test]
fn hole_6_a_chart_or_function_that_the_target_lacks_is_refused_and_never_skipped() {
    let mut new = order();
    set(&mut new, "", "expressions", json!("lenient"));
    part(&mut new, "/children").as_object_mut().unwrap().remove("courier");
    let (report, _) = judged(&order(), &new, OPENED);
    assert!(report.hits(Rule::F6) && report.verdict == Verdict::Refused, "{report}");
    // A function that a condition may call, by what the target offers.
    let mut old = order();
    set(&mut old, &format!("{PAYING}/transitions/1"), "when", json!("approved(count)"));
    let mut new = old.clone();
    set(&mut new, "", "version", json!("2"));
    let (old, new) = (chart(&old), chart(&new));
    let gate = Gate::between(&old, &new).unwrap();
    let checkpoint = lived(&old, OPENED).capture().unwrap();
    let offers = |code: &str| [("approved".to_owned(), code.to_owned())].into_iter().collect();
    let judge = |target| {
        let settings = Settings { palettes: Some((offers("a"), target)), ..Settings::default() };
        gate.judge(&checkpoint, &settings)
    };
    assert!(judge(offers("a")).passes);
    let other = judge(offers("b"));
    assert!(other.hits(Rule::I1b) && other.verdict == Verdict::Compatible, "{other}");
    let none = judge(std::collections::BTreeMap::new());
    assert!(none.hits(Rule::I1a) && none.verdict == Verdict::Refused, "{none}");
}

#[test]
fn hole_7_a_value_that_does_not_fit_is_not_zeroed_but_refused_or_planned() {
    let mut new = order();
    set(&mut new, "/data/0", "type", json!({ "map": { "n": "int" } }));
    set(&mut new, "/data/0", "value", json!({ "literal": { "n": 0 } }));
    let (report, checkpoint) = judged(&order(), &new, OPENED);
    assert!(report.hits(Rule::G1) && report.verdict == Verdict::NeedsPlan, "{report}");
    let gate = Gate::between(&chart(&order()), &chart(&new)).unwrap();
    let carry = |value: &str| {
        let text = format!(
            r#"{{ "format": 1, "charts": {{ "": {{ "data": {{ "count": {value} }} }} }} }}"#
        );
        let plan = Plan::from_json(&text).unwrap();
        let settings = Settings::default();
        gate.carry(&checkpoint, &settings, Some(&plan), Limits::default(), moment(103))
    };
    let order = carry(r#"{ "expression": "{n: count + 4}" }"#).unwrap().instance;
    assert_eq!(order.datum("count").unwrap().to_string(), r#"{"n":4}"#);
    for wrong in [r#"{ "literal": "text" }"#, r#"{ "expression": "count.n" }"#] {
        let Err(CarryError::Incompatible(stop)) = carry(wrong) else { panic!("{wrong} passed") };
        assert!(stop.report.hits(Rule::G7), "{}", stop.report);
    }
}

#[test]
fn hole_8_judging_and_carrying_leave_the_source_as_it_is() {
    let mut new = order();
    set(&mut new, "", "version", json!("2"));
    let (old, new) = (chart(&order()), chart(&new));
    let order = lived(&old, OPENED);
    let checkpoint = order.capture().unwrap();
    let gate = Gate::between(&old, &new).unwrap();
    let settings = Settings::default();
    let one = gate.carry(&checkpoint, &settings, None, Limits::default(), moment(103)).unwrap();
    let two = gate.carry(&checkpoint, &settings, None, Limits::default(), moment(103)).unwrap();
    assert_eq!(one.instance.capture().unwrap(), two.instance.capture().unwrap());
    assert_eq!(order.capture().unwrap(), checkpoint);
}

#[test]
fn hole_9_events_that_wait_go_along_in_order_or_stop_the_move() {
    let old = chart(&order());
    let mut order_ = lived(&old, PACKED);
    for event in ["note", "repay", "cancel"] {
        order_.deliver(Event::new(event, Value::Null)).unwrap();
    }
    let checkpoint = order_.capture().unwrap();
    let mut other = restored(&checkpoint);
    assert_eq!(other.settle(at(104)), order_.settle(at(104)));
    assert_eq!(other.leaves().collect::<Vec<_>>(), ["lost"]);
    // What would be heard nowhere needs a plan.
    let mut new = order();
    set(&mut new, &format!("{OPEN}/transitions/1"), "on", json!(["give.up"]));
    let new = chart(&new);
    let gate = Gate::between(&old, &new).unwrap();
    let report = gate.judge(&checkpoint, &Settings::default());
    assert!(report.hits(Rule::E2) && report.verdict == Verdict::NeedsPlan, "{report}");
    let text = r#"{ "format": 1, "charts": { "": {
        "events": { "cancel": { "becomes": { "name": "give.up" } } } } } }"#;
    let plan = Plan::from_json(text).unwrap();
    let settings = Settings::default();
    let mut order =
        gate.carry(&checkpoint, &settings, Some(&plan), Limits::default(), moment(103)).unwrap();
    order.instance.settle(at(104)).unwrap();
    assert_eq!(order.instance.leaves().collect::<Vec<_>>(), ["lost"]);
}

#[test]
fn hole_10_parents_and_children_are_captured_in_one_and_must_name_each_other() {
    let text = lived(&chart(&order()), OPENED).capture().unwrap().to_json().unwrap();
    let orphan = text.replace(r#""session":2}"#, r#""session":9}"#);
    assert_ne!(text, orphan);
    let torn = Checkpoint::from_json(&orphan).unwrap();
    assert!(torn.restore(Limits::default(), Shift::default()).is_err());
    let mut new = order();
    set(&mut new, "", "version", json!("2"));
    let gate = Gate::between(&chart(&order()), &chart(&new)).unwrap();
    assert!(gate.judge(&torn, &Settings::default()).hits(Rule::A1));
}

#[test]
fn hole_11_what_was_altered_or_is_of_another_definition_is_refused() {
    let mut new = order();
    set(&mut new, "", "version", json!("2"));
    let gate = Gate::between(&chart(&order()), &chart(&new)).unwrap();
    let checkpoint = lived(&chart(&order()), OPENED).capture().unwrap();
    let text = checkpoint.to_json().unwrap();
    for (from, to, rule) in [
        (r#""city":"Ulm""#, r#""city":"Bonn""#, Rule::A1),
        (r#""version":"1""#, r#""version":"7""#, Rule::A2),
        (r#"{"format":1,"definition""#, r#"{"format":9,"definition""#, Rule::A4),
    ] {
        assert!(text.contains(from), "{from}");
        let altered = Checkpoint::from_json(&text.replacen(from, to, 1)).unwrap();
        let report = gate.judge(&altered, &Settings::default());
        assert!(report.hits(rule) && report.verdict == Verdict::Refused, "{report}");
    }
    let error = Checkpoint::from_json(&text.replace("Ulm", "Bonn"))
        .unwrap()
        .restore(Limits::default(), Shift::default())
        .unwrap_err();
    assert_eq!(error, CheckpointError::Altered);
}

#[test]
fn hole_12_what_has_no_place_can_be_given_one_by_a_plan() {
    let mut new = order();
    set(&mut new, PAYING, "id", json!("checkout"));
    set(&mut new, OPEN, "initial", json!(["checkout"]));
    for path in [format!("{PAYING}/transitions/2"), format!("{PACKING}/transitions/0")] {
        set(&mut new, &path, "to", json!(["checkout"]));
    }
    let (report, checkpoint) = judged(&order(), &new, OPENED);
    assert_eq!(report.verdict, Verdict::NeedsPlan, "{report}");
    let gate = Gate::between(&chart(&order()), &chart(&new)).unwrap();
    let paying = vec!["checkout".to_owned()];
    let chart = ChartPlan {
        states: [("paying".to_owned(), paying)].into(),
        arm: [("late".to_owned(), Arming::Skip)].into(),
        ..ChartPlan::default()
    };
    let plan = Plan { format: 1, charts: [(String::new(), chart)].into(), ..Plan::default() };
    let settings = Settings::default();
    let carried =
        gate.carry(&checkpoint, &settings, Some(&plan), Limits::default(), moment(103)).unwrap();
    let mut order = carried.instance;
    assert_eq!(order.leaves().collect::<Vec<_>>(), ["checkout"]);
    assert!(carried.effects.is_empty(), "no entry action ran");
    order.step(Event::new("paid", Value::Null), at(104)).unwrap();
    assert_eq!(order.leaves().collect::<Vec<_>>(), ["empty", "blank"]);
}

#[test]
fn hole_13_code_behind_a_name_is_part_of_the_definition_or_of_the_palette() {
    // Conditions and actions are data: what they say is compared, not what they are called.
    let mut new = order();
    set(&mut new, &format!("{PAYING}/transitions/1"), "when", json!("count < 2"));
    let (report, _) = judged(&order(), &new, OPENED);
    let found = report.findings.iter().find(|finding| finding.rule == Rule::H2).unwrap();
    assert_eq!((found.element.as_str(), report.passes), ("pay", true), "{report}");
    assert_ne!(definition(&order()).digest(), definition(&new).digest());
}
