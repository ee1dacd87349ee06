//! Shows what plans do, what is no plan, what is proposed, and how an instance goes back.

use serde_json::{Value as Json, json};
use whimbrel_statechart::evolution::{
    Bounds, Carried, CarryError, Direction, Gate, Moment, Move, Plan, PlanError, Settings, Verdict,
    Versions,
};
use whimbrel_statechart::{Checkpoint, Effect, Limits, Shift};

use super::stage::*;

const OPENED: &[&str] = &["begin"];
const PACKED: &[&str] = &["begin", "paid"];

struct Trip {
    gate: Gate,
    checkpoint: Checkpoint,
}

impl Trip {
    fn of(old: &Json, new: &Json, heard: &[&str]) -> Self {
        let old = chart(old);
        let checkpoint = lived(&old, heard).capture().unwrap();
        Self { gate: Gate::between(&old, &chart(new)).unwrap(), checkpoint }
    }

    fn carry(&self, chart: &Json, moment: Moment) -> Result<Carried, CarryError> {
        let plan = plan_for(chart);
        let settings = Settings::default();
        self.gate.carry(&self.checkpoint, &settings, Some(&plan), Limits::default(), moment)
    }
}

fn plan_for(chart: &Json) -> Plan {
    let plan = json!({ "format": 1, "charts": { "": chart } });
    Plan::from_json(&plan.to_string()).unwrap()
}

fn moment(seconds: u64) -> Moment {
    Moment { frozen_at: at(seconds), now: at(seconds), shift: Shift::default() }
}

#[test]
fn a_timer_is_due_when_the_plan_says() {
    let mut new = order();
    set(&mut new, &format!("{OPEN}/on_entry/0/0/send"), "delay", json!("2h"));
    let order = Trip::of(&order(), &new, OPENED);
    // Set at 101 for an hour, frozen at 1901 when half of it is over, gone on with at 2001.
    let late = |due: &str| {
        let moment = Moment { frozen_at: at(1901), now: at(2001), shift: Shift::default() };
        let plan =
            json!({ "timers": { "late": { "due": due } }, "children": { "courier": "stop" } });
        order.carry(&plan, moment).unwrap().instance.next_due()
    };
    assert_eq!(late("keep-deadline"), Some(at(3701)));
    assert_eq!(late("keep-remaining"), Some(at(3801)));
    assert_eq!(late("restart"), Some(at(2001 + 7200)));
    assert_eq!(late("rescale"), Some(at(1901 + 3600)));
    assert_eq!(late("fire"), Some(at(2001)));
    assert_eq!(late("cancel"), None);
    // By a clock that is a hundred seconds ahead, all of them are a hundred seconds later.
    let ahead = Moment { frozen_at: at(1901), now: at(2101), shift: Shift(100 * 1_000_000_000) };
    let plan =
        json!({ "timers": { "late": { "due": "restart" } }, "children": { "courier": "stop" } });
    let due = order.carry(&plan, ahead).unwrap().instance.next_due();
    assert_eq!(due, Some(at(2101 + 7200)));
}

#[test]
fn a_new_timer_is_set_only_if_the_plan_says_so() {
    let mut new = order();
    let send = json!([{ "send": { "slot": "remind", "event": "note", "delay": "5m" } }]);
    push(&mut new, &format!("{PAYING}/on_entry"), send);
    let order = Trip::of(&order(), &new, OPENED);
    let due = |arming: Json| {
        let plan = json!({ "arm": { "remind": arming } });
        order.carry(&plan, moment(110)).unwrap().instance.next_due()
    };
    assert_eq!(due(json!("skip")), Some(at(101 + 600)));
    assert_eq!(due(json!("full")), Some(at(110 + 300)));
    assert_eq!(due(json!({ "in": "1m" })), Some(at(110 + 60)));
}

#[test]
fn states_are_split_and_merged_and_their_actions_run_if_the_plan_says_so() {
    // Paying becomes a parallel state of another name.
    let mut new = order();
    *part(&mut new, PAYING) = json!({ "id": "checkout", "kind": "parallel", "states": [
        { "id": "card", "initial": ["asked-card"], "states": [{ "id": "asked-card",
            "on_entry": [[{ "log": { "label": "card" } }]] }] },
        { "id": "fraud", "initial": ["looking"], "states": [{ "id": "looking" }, { "id": "clear" }] } ] });
    set(&mut new, OPEN, "initial", json!(["checkout"]));
    set(&mut new, &format!("{PACKING}/transitions/0"), "to", json!(["checkout"]));
    let split = Trip::of(&order(), &new, OPENED);
    let plan = json!({ "states": { "paying": ["asked-card", "clear"] } });
    let carried = split.carry(&plan, moment(110)).unwrap();
    assert_eq!(carried.instance.leaves().collect::<Vec<_>>(), ["asked-card", "clear"]);
    assert!(carried.effects.is_empty());
    let plan = json!({ "states": { "paying": ["asked-card", "clear"] }, "run_exit": true, "run_entry": true });
    let carried = split.carry(&plan, moment(110)).unwrap();
    let labels: Vec<&str> =
        carried
            .effects
            .iter()
            .filter_map(|effect| {
                if let Effect::Log { label, .. } = effect { label.as_deref() } else { None }
            })
            .collect();
    assert_eq!(labels, ["left", "card"]);
    // The two regions of packing become one state.
    let mut new = order();
    *part(&mut new, PACKING) = json!({ "id": "packing" });
    let merge = Trip::of(&order(), &new, PACKED);
    let gone = json!([]);
    let plan = json!({ "states": { "packing": ["packing"], "box": gone, "empty": gone,
        "label": gone, "blank": gone } });
    let carried = merge.carry(&plan, moment(110)).unwrap();
    assert_eq!(carried.instance.leaves().collect::<Vec<_>>(), ["packing"]);
    // What cannot be active together is refused.
    let plan = json!({ "states": { "packing": ["packing", "lost"], "box": gone, "empty": gone,
        "label": gone, "blank": gone } });
    let Err(CarryError::Incompatible(stop)) = merge.carry(&plan, moment(110)) else {
        panic!("two states were active at once")
    };
    assert_eq!(stop.report.verdict, Verdict::Refused, "{}", stop.report);
}

#[test]
fn a_plan_is_once_and_on_its_result_there_is_nothing_to_do() {
    let mut new = order();
    set(&mut new, &format!("{OPEN}/on_entry/0/0/send"), "delay", json!("2h"));
    let order = Trip::of(&order(), &new, OPENED);
    let plan = json!({ "format": 1, "to": order.gate.new_chart().definition().digest(),
        "charts": { "": { "timers": { "late": { "due": "restart" } } } } });
    let plan = Plan::from_json(&plan.to_string()).unwrap();
    let settings = Settings::default();
    let carry = |checkpoint: &Checkpoint, seconds| {
        let limits = Limits::default();
        order.gate.carry(checkpoint, &settings, Some(&plan), limits, moment(seconds)).unwrap()
    };
    let once = carry(&order.checkpoint, 110).instance.capture().unwrap();
    let twice = carry(&once, 500);
    assert_eq!(twice.report.verdict, Verdict::Identical);
    assert_eq!(twice.instance.capture().unwrap(), once);
}

#[test]
fn what_names_nothing_or_too_much_is_no_plan() {
    let mut new = order();
    set(&mut new, &format!("{OPEN}/on_entry/0/0/send"), "delay", json!("2h"));
    let order = Trip::of(&order(), &new, OPENED);
    let wrong = |plan: Json| {
        let settings = Settings::default();
        let plan = match Plan::from_json(&plan.to_string()) {
            Ok(plan) => plan,
            Err(error) => return error.to_string(),
        };
        let limits = Limits::default();
        let carried =
            order.gate.carry(&order.checkpoint, &settings, Some(&plan), limits, moment(110));
        match carried {
            Err(CarryError::Plan(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (chart, expected) in [
        (
            json!({ "states": { "nowhere": ["lost"] } }),
            "there is no state of the old chart nowhere",
        ),
        (json!({ "states": { "paying": ["nowhere"] } }), "there is no state of the new chart"),
        (
            json!({ "timers": { "nothing": { "due": "fire" } } }),
            "there is no timer of the old chart",
        ),
        (json!({ "timers": { "late": { "due": "restart", "delay": "soon" } } }), "no span of time"),
        (json!({ "children": { "pilot": "stop" } }), "there is no invocation pilot"),
        (
            json!({ "data": { "sum": { "literal": 1 } } }),
            "there is no variable of the new chart sum",
        ),
        (json!({ "data": { "count": { "expression": "1 +" } } }), "something is missing"),
        (json!({ "regions": { "paying": "begin" } }), "there is no region of the new chart"),
        (json!({ "forget": ["sum"] }), "there is no variable of the old chart sum"),
    ] {
        let said = wrong(json!({ "format": 1, "charts": { "": chart } }));
        assert!(said.contains(expected), "{said}");
    }
    assert!(wrong(json!({ "format": 2 })).contains("format 2"));
    assert!(wrong(json!({ "format": 1, "consents": ["B1"] })).contains("B1 asks for more"));
    assert!(wrong(json!({ "format": 1, "from": "00" })).contains("another definition"));
    assert!(wrong(json!({ "format": 1, "charts": { "pilot": {} } })).contains("no chart pilot"));
    assert!(wrong(json!({ "format": 1, "magic": true })).contains("not a plan"));
    assert!(matches!(Plan::from_json("{"), Err(PlanError::Malformed(_))));
}

#[test]
fn a_proposed_plan_lets_the_instance_go_on_and_says_what_it_guesses() {
    let mut new = order();
    set(&mut new, PAYING, "id", json!("checkout"));
    set(&mut new, OPEN, "initial", json!(["checkout"]));
    for path in [format!("{PAYING}/transitions/2"), format!("{PACKING}/transitions/0")] {
        set(&mut new, &path, "to", json!(["checkout"]));
    }
    set(&mut new, &format!("{OPEN}/on_entry/0/0/send"), "delay", json!("2h"));
    part(&mut new, "/data").as_array_mut().unwrap().remove(1);
    let guess = Trip::of(&order(), &new, OPENED);
    let settings = Settings::default();
    let proposal = guess.gate.propose(&guess.checkpoint, &settings);
    assert!(proposal.open.is_empty(), "{:?}", proposal.open);
    assert_eq!(proposal.guesses, ["B1 paying: that checkout is the state most alike"]);
    let carry = |plan: &Plan| {
        let limits = Limits::default();
        guess.gate.carry(&guess.checkpoint, &settings, Some(plan), limits, moment(110))
    };
    let carried = carry(&proposal.plan).unwrap();
    assert_eq!(carried.instance.leaves().collect::<Vec<_>>(), ["checkout"]);
    assert_eq!(carried.losses, ["s1: city = Ulm"]);
    // With a name of old it is no guess.
    set(&mut new, PAYING, "was", json!(["paying"]));
    let known = Trip::of(&order(), &new, OPENED);
    assert!(known.gate.propose(&known.checkpoint, &settings).guesses.is_empty());
    // And back: the same instance as before.
    let after = carried.instance.capture().unwrap();
    let back = guess.gate.inverse(Some(&proposal.plan), &guess.checkpoint, &after, &settings);
    let back = back.unwrap();
    assert!(back.open.is_empty(), "{:?}", back.open);
    let gate = guess.gate.reversed().unwrap();
    let plan = Some(&back.plan);
    let returned = gate.carry(&after, &settings, plan, Limits::default(), moment(110)).unwrap();
    assert_eq!(returned.instance.capture().unwrap(), guess.checkpoint);
}

#[test]
fn the_shortest_events_are_found_on_which_two_definitions_come_apart() {
    let mut new = order();
    set(&mut new, &format!("{PACKING}/states/0/states/0/transitions/0"), "to", json!(["empty"]));
    let order_ = Trip::of(&order(), &new, OPENED);
    let explore = |order: &Trip| {
        order.gate.explore(&order.checkpoint, None, at(110), Bounds::default()).unwrap()
    };
    let witness = explore(&order_).witness.unwrap();
    assert_eq!(witness.moves, [Move::Event("paid".into()), Move::Event("fill".into())]);
    assert_eq!(witness.to_string(), "after paid, fill: in full blank became in empty blank");
    // From an order that is lost nothing leads there.
    let lost = Trip::of(&order(), &new, &["begin", "cancel"]);
    let explored = explore(&lost);
    assert!(explored.witness.is_none() && explored.complete, "{explored:?}");
}

#[test]
fn a_dry_run_shows_all_and_changes_nothing() {
    let mut new = order();
    set(&mut new, &format!("{OPEN}/on_entry/0/0/send"), "delay", json!("2h"));
    let order = Trip::of(&order(), &new, OPENED);
    let settings = Settings::default();
    let dry = |plan: Option<&Plan>| {
        let bounds = Bounds { depth_max: 2, pairs_max: 200 };
        order.gate.dry_run(&order.checkpoint, &settings, plan, moment(110), bounds).unwrap()
    };
    let stopped = dry(None);
    assert!(stopped.becomes.is_none() && stopped.proposal.is_some());
    let text =
        r#"{ "format": 1, "charts": { "": { "timers": { "late": { "due": "restart" } } } } }"#;
    let shown = dry(Some(&Plan::from_json(text).unwrap())).to_string();
    for expected in [
        "order 1",
        "compatible, passes",
        "without the plan: needs consent",
        "answer: {\"due\":\"restart\"}",
        "in open / paying",
        "- timer late",
        "+ timer late",
        "first difference: after cancel",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    let json: Json = serde_json::from_str(&dry(None).to_json()).unwrap();
    assert_eq!(json["report"]["verdict"], "needs-consent");
}

#[test]
fn versions_are_judged_backward_forward_and_all_with_all() {
    let mut second = order();
    push(&mut second, "/data", json!({ "id": "gift", "value": { "literal": 1 } }));
    let mut third = second.clone();
    set(&mut third, "/states/3", "id", json!("gone"));
    for path in ["/states/2/transitions/0", "/states/2/transitions/1"] {
        set(&mut third, path, "to", json!(["gone"]));
    }
    let versions = Versions::new([order(), second, third].iter().map(chart).collect());
    let settings = Settings::default();
    let judge = |direction, transitive| -> Vec<(usize, usize, Verdict)> {
        let steps = versions.judge(direction, transitive, &settings).unwrap();
        steps.iter().map(|step| (step.from, step.to, step.report.verdict)).collect()
    };
    use Verdict::{Compatible, NeedsConsent, NeedsPlan};
    assert_eq!(judge(Direction::Backward, false), [(0, 1, Compatible), (1, 2, NeedsPlan)]);
    assert_eq!(judge(Direction::Forward, false), [(1, 0, NeedsConsent), (2, 1, NeedsPlan)]);
    assert_eq!(
        judge(Direction::Backward, true),
        [(0, 1, Compatible), (0, 2, NeedsPlan), (1, 2, NeedsPlan)]
    );
    assert_eq!(judge(Direction::Full, false).len(), 4);
    // A live instance may pass where not any instance would.
    let (report, _) = judged(&order(), &order(), OPENED);
    assert!(report.passes);
}
