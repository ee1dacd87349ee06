//! Shows what the gate says of children that an action began, and of those that may begin again.

use serde_json::{Value as Json, json};
use whimbrel_statechart::evolution::{Gate, Moment, Plan, Rule, Settings, Verdict};
use whimbrel_statechart::{Limits, Shift};

use super::stage::{at, chart, judged, lived, part, set};

/// It has spawned a courier once it was told to.
fn boss(spawn: &Json) -> Json {
    let mut spawn = spawn.clone();
    set(&mut spawn, "", "id", json!("kid"));
    set(&mut spawn, "", "chart", json!("courier"));
    json!({
      "id": "boss", "version": "1",
      "states": [{ "id": "work", "transitions": [
        { "id": "hire", "on": ["hire"], "to": ["waits"], "do": [{ "spawn": spawn }] }] },
        { "id": "waits", "transitions": [
          { "id": "tell", "on": ["tell"], "do": [{ "send": { "to": "#_kid", "event": "go" } }] }] }],
      "children": { "courier": {
        "id": "courier", "data": [{ "id": "n", "value": { "literal": 0 } }],
        "states": [{ "id": "idle", "transitions": [{ "id": "goes", "on": ["go"], "to": ["away"] }] },
                   { "id": "away" }] } }
    })
}

const RESTART: &str = "/states/0/transitions/0/do/0/spawn";

fn second(old: &Json) -> Json {
    let mut new = old.clone();
    set(&mut new, "", "version", json!("2"));
    new
}

#[test]
fn a_child_that_was_spawned_goes_on_though_nothing_spawns_it_any_more() {
    let old = boss(&json!({ "supervise": { "on_failure": "stop" } }));
    let mut new = second(&old);
    part(&mut new, "/states/0/transitions/0/do").as_array_mut().unwrap().clear();
    let (report, checkpoint) = judged(&old, &new, &["hire"]);
    assert_eq!(report.verdict, Verdict::Equivalent, "{report}");
    let (_, fresh) = (0, judged(&old, &new, &[]).0);
    assert!(fresh.hits(Rule::H2) && fresh.verdict == Verdict::Compatible, "{fresh}");
    let gate = Gate::between(&chart(&old), &chart(&new)).unwrap();
    let carried = gate
        .carry(&checkpoint, &Settings::default(), None, Limits::default(), Moment::default())
        .unwrap();
    let text = carried.instance.capture().unwrap().to_json().unwrap();
    assert!(text.contains(r#""spawned":{"kid":{"session":2,"supervise":{"on_failure":"stop"}}}"#));
}

#[test]
fn a_child_that_was_spawned_is_judged_by_its_own_chart() {
    let old = boss(&json!({}));
    let mut new = second(&old);
    part(&mut new, "/children/courier/states").as_array_mut().unwrap().remove(0);
    let (report, _) = judged(&old, &new, &["hire"]);
    assert!(report.hits(Rule::B1) && report.verdict == Verdict::NeedsPlan, "{report}");
    let mut new = second(&old);
    set(&mut new, "", "children", json!({ "pilot": old["children"]["courier"].clone() }));
    set(&mut new, RESTART, "chart", json!("pilot"));
    let (report, _) = judged(&old, &new, &["hire"]);
    assert!(report.hits(Rule::F6) && report.verdict == Verdict::Refused, "{report}");
}

#[test]
fn a_child_that_is_to_be_born_needs_its_chart() {
    let old = boss(&json!({ "on": "west" }));
    let mut new = second(&old);
    set(
        &mut new,
        "/children/courier/states/0",
        "on_entry",
        json!([[{ "log": { "label": "up" } }]]),
    );
    let (report, _) = judged(&old, &new, &["hire"]);
    assert!(report.hits(Rule::F8) && report.verdict == Verdict::Compatible, "{report}");
    set(&mut new, "", "children", json!({ "pilot": old["children"]["courier"].clone() }));
    set(&mut new, RESTART, "chart", json!("pilot"));
    let (report, _) = judged(&old, &new, &["hire"]);
    assert!(report.hits(Rule::F6) && report.verdict == Verdict::Refused, "{report}");
    // Nobody is to be born any more once somebody is known.
    let mut known = lived(&chart(&old), &["hire"]);
    known.name_unborn(whimbrel_statechart::SessionId::FIRST, "kid", "token".into());
    assert_eq!(known.unborn().len(), 1);
}

#[test]
fn what_a_child_would_begin_with_matters_where_it_may_begin_again() {
    for (supervise, verdict) in [("restart", Verdict::Compatible), ("stop", Verdict::Equivalent)] {
        let old = boss(&json!({ "supervise": { "on_failure": supervise } }));
        let mut new = second(&old);
        set(&mut new, "/children/courier/data/0", "value", json!({ "literal": 7 }));
        let (report, _) = judged(&old, &new, &["hire"]);
        assert_eq!(report.verdict, verdict, "{supervise}: {report}");
        assert_eq!(report.hits(Rule::H8), verdict == Verdict::Compatible);
    }
}

#[test]
fn a_plan_names_charts_whose_names_have_strokes_in_them() {
    let rename = |json: &mut Json, name: &str| {
        let courier = json["children"]["courier"].clone();
        set(json, "", "children", json!({ name: courier }));
        set(json, RESTART, "chart", json!(name));
    };
    for (name, key) in [("a/b", "a~1b"), ("a~b", "a~0b"), ("a~1b", "a~01b")] {
        let mut old = boss(&json!({}));
        rename(&mut old, name);
        let mut new = second(&old);
        let states = part(&mut new, "/children").as_object_mut().unwrap();
        let states = states.values_mut().next().unwrap();
        set(states, "/states/0", "id", json!("rests"));
        let (old, new) = (chart(&old), chart(&new));
        let gate = Gate::between(&old, &new).unwrap();
        let checkpoint = lived(&old, &["hire"]).capture().unwrap();
        let proposal = gate.propose(&checkpoint, &Settings::default());
        assert!(proposal.plan.charts.contains_key(key), "{name}: {}", proposal.plan.to_json());
        let text = format!(
            r#"{{"format":1,"consents":["K1"],"charts":{{"{key}":{{"states":{{"idle":["rests"]}}}}}}}}"#
        );
        let plan = Plan::from_json(&text).unwrap();
        let moment = Moment { frozen_at: at(200), now: at(200), shift: Shift::default() };
        let settings = Settings::default();
        let carried =
            gate.carry(&checkpoint, &settings, Some(&plan), Limits::default(), moment).unwrap();
        let text = carried.instance.capture().unwrap().to_json().unwrap();
        assert!(text.contains(r#""configuration":["rests"]"#), "{text}");
    }
}
