//! Thirty changes of a definition, each with the verdict and the rule that it deserves. They are
//! changes that a gate which compares lists of states and transitions lets pass, or stops for no
//! reason.

use serde_json::{Value as Json, json};
use whimbrel_statechart::evolution::{Rule, Verdict};

use super::stage::*;

struct Change {
    name: &'static str,
    /// What the instance heard before.
    heard: &'static [&'static str],
    edit: fn(&mut Json),
    verdict: Verdict,
    rules: &'static [Rule],
}

const OPENED: &[&str] = &["begin"];
const PACKED: &[&str] = &["begin", "paid"];
const LOST: &[&str] = &["begin", "cancel"];

const CHANGES: &[Change] = &[
    Change {
        name: "an entry action is added",
        heard: OPENED,
        edit: |new| push(new, &format!("{PAYING}/on_entry"), json!([{ "log": { "label": "x" } }])),
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "an exit action is added",
        heard: OPENED,
        edit: |new| push(new, &format!("{PAYING}/on_exit"), json!([{ "log": { "label": "x" } }])),
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "an end says something when it is done",
        heard: OPENED,
        edit: |new| set(new, "/states/4", "done", json!({ "content": { "literal": 1 } })),
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "an assignment on entry is added",
        heard: OPENED,
        edit: |new| {
            let assign = json!([{ "assign": { "to": "count", "value": { "literal": 2 } } }]);
            push(new, &format!("{PAYING}/on_entry"), assign);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "an invocation is added to an active state",
        heard: OPENED,
        edit: |new| {
            let invoke = json!({ "slot": "second", "id": "second", "chart": "courier" });
            push(new, &format!("{OPEN}/invoke"), invoke);
        },
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::F3],
    },
    Change {
        name: "an invocation that runs becomes another one",
        heard: OPENED,
        edit: |new| {
            let courier = new["children"]["courier"].clone();
            set(new, "/children", "pilot", courier);
            set(new, &format!("{OPEN}/invoke/0"), "chart", json!("pilot"));
            set(new, &format!("{OPEN}/invoke/0"), "id", json!("pilot"));
        },
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::F2],
    },
    Change {
        name: "a parameter of a condition changes",
        heard: OPENED,
        edit: |new| set(new, &format!("{PAYING}/transitions/1"), "when", json!("count < 1000")),
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "a parameter of an action changes",
        heard: OPENED,
        edit: |new| {
            let path = format!("{PAYING}/transitions/1/do/0/log");
            set(new, &path, "value", json!("'by cheque'"));
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "actions are put in another order",
        heard: OPENED,
        edit: |new| {
            part(new, &format!("{PAYING}/transitions/1/do")).as_array_mut().unwrap().reverse();
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "an action is there twice",
        heard: OPENED,
        edit: |new| {
            let path = format!("{PAYING}/transitions/1/do");
            let first = part(new, &path)[0].clone();
            push(new, &path, first);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "regions are put in another order",
        heard: PACKED,
        edit: |new| part(new, &format!("{PACKING}/states")).as_array_mut().unwrap().reverse(),
        verdict: Verdict::Compatible,
        rules: &[Rule::H4],
    },
    Change {
        name: "the chart has another id",
        heard: OPENED,
        edit: |new| set(new, "", "id", json!("purchase")),
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::A3a],
    },
    Change {
        name: "what a new instance begins with changes",
        heard: OPENED,
        edit: |new| set(new, "/data/1", "value", json!({ "literal": "Bonn" })),
        verdict: Verdict::Equivalent,
        rules: &[Rule::B8],
    },
    Change {
        name: "an active state gets a timer",
        heard: OPENED,
        edit: |new| {
            let send = json!([{ "send": { "slot": "remind", "event": "note", "delay": "5m" } }]);
            push(new, &format!("{PAYING}/on_entry"), send);
        },
        verdict: Verdict::NeedsConsent,
        rules: &[Rule::D4],
    },
    Change {
        name: "a transition is inserted before one that waits for a timer",
        heard: OPENED,
        edit: |new| {
            let first = json!({ "id": "kick", "on": ["kick"], "to": ["lost"] });
            insert(new, &format!("{OPEN}/transitions"), first);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H1],
    },
    Change {
        name: "a branch is inserted in front on the same event",
        heard: OPENED,
        edit: |new| {
            let first =
                json!({ "id": "free", "on": ["paid"], "when": "count == 0", "to": ["lost"] });
            insert(new, &format!("{PAYING}/transitions"), first);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H1],
    },
    Change {
        name: "a state hears what its parent heard",
        heard: OPENED,
        edit: |new| {
            let own = json!({ "id": "own", "on": ["cancel"], "to": ["paying"] });
            push(new, &format!("{PAYING}/transitions"), own);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H1],
    },
    Change {
        name: "an event is swallowed that bubbled",
        heard: OPENED,
        edit: |new| {
            push(new, &format!("{PAYING}/transitions"), json!({ "id": "no", "on": ["cancel"] }));
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H1],
    },
    Change {
        name: "a wildcard is added",
        heard: OPENED,
        edit: |new| {
            let any = json!({ "id": "any", "on": ["*"], "to": ["lost"] });
            push(new, &format!("{PAYING}/transitions"), any);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H1],
    },
    Change {
        name: "a transition without event loses its condition",
        heard: PACKED,
        edit: |new| {
            let path = format!("{PACKING}/states/1/states/0/transitions/1");
            part(new, &path).as_object_mut().unwrap().remove("when");
        },
        verdict: Verdict::NeedsConsent,
        rules: &[Rule::H5, Rule::H2],
    },
    Change {
        name: "an active parallel state gets a region",
        heard: PACKED,
        edit: |new| push(new, &format!("{PACKING}/states"), json!({ "id": "ribbon" })),
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::B4],
    },
    Change {
        name: "an active state becomes parallel",
        heard: OPENED,
        edit: |new| {
            set(new, PAYING, "kind", json!("parallel"));
            set(new, PAYING, "states", json!([{ "id": "card" }, { "id": "voucher" }]));
        },
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::B3],
    },
    Change {
        name: "an active state gets states",
        heard: OPENED,
        edit: |new| set(new, PAYING, "states", json!([{ "id": "card" }])),
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::B3],
    },
    Change {
        name: "a transition assigns something more",
        heard: OPENED,
        edit: |new| {
            let assign =
                json!({ "assign": { "to": "count", "value": { "expression": "count + 1" } } });
            push(new, &format!("{PAYING}/transitions/1/do"), assign);
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::H2],
    },
    Change {
        name: "the delay of a pending timer changes",
        heard: OPENED,
        edit: |new| set(new, &format!("{OPEN}/on_entry/0/0/send"), "delay", json!("2h")),
        verdict: Verdict::NeedsConsent,
        rules: &[Rule::D2],
    },
    Change {
        name: "the note of a transition changes",
        heard: OPENED,
        edit: |new| set(new, &format!("{PAYING}/transitions/1"), "note", json!("see the manual")),
        verdict: Verdict::Equivalent,
        rules: &[Rule::H7],
    },
    Change {
        name: "an optional field is added",
        heard: OPENED,
        edit: |new| push(new, "/data", json!({ "id": "gift", "type": { "optional": "text" } })),
        verdict: Verdict::Compatible,
        rules: &[Rule::G2a],
    },
    Change {
        name: "types are withdrawn",
        heard: OPENED,
        edit: |new| {
            for place in ["/data/0", "/data/1"] {
                part(new, place).as_object_mut().unwrap().remove("type");
            }
        },
        verdict: Verdict::Compatible,
        rules: &[Rule::G4a],
    },
    Change {
        name: "a state that nothing reaches is removed",
        heard: OPENED,
        edit: |new| drop(part(new, "/states").as_array_mut().unwrap().remove(1)),
        verdict: Verdict::Equivalent,
        rules: &[Rule::B8],
    },
    Change {
        name: "a state is wrapped by a new parent",
        heard: OPENED,
        edit: |new| {
            let inner = part(new, PAYING).take();
            *part(new, PAYING) = json!({ "id": "checkout", "states": [inner] });
        },
        verdict: Verdict::NeedsPlan,
        rules: &[Rule::B2],
    },
];

#[test]
fn each_of_thirty_changes_is_classified_as_it_deserves() {
    assert_eq!(CHANGES.len(), 30);
    for change in CHANGES {
        let mut new = order();
        (change.edit)(&mut new);
        let (report, _) = judged(&order(), &new, change.heard);
        assert_eq!(report.verdict, change.verdict, "{}:\n{report}", change.name);
        for rule in change.rules {
            assert!(report.hits(*rule), "{} hits {rule}:\n{report}", change.name);
        }
        let passes = change.verdict <= Verdict::Compatible;
        assert_eq!(report.passes, passes, "{}", change.name);
    }
}

#[test]
fn what_nothing_alive_can_reach_never_stops() {
    for change in CHANGES {
        let mut new = order();
        (change.edit)(&mut new);
        // A lost order can only come to its end.
        let (report, _) = judged(&order(), &new, LOST);
        let names_all = [Rule::A3a, Rule::G2a, Rule::G4a];
        let about_all = change.rules.iter().any(|rule| names_all.contains(rule));
        if about_all || change.name.starts_with("an end says") {
            assert_eq!(report.verdict, change.verdict, "{}:\n{report}", change.name);
        } else {
            assert_eq!(report.verdict, Verdict::Equivalent, "{}:\n{report}", change.name);
        }
    }
}

#[test]
fn the_same_definition_is_identical_and_a_version_alone_is_equivalent() {
    let (report, _) = judged(&order(), &order(), OPENED);
    assert_eq!((report.verdict, report.passes), (Verdict::Identical, true));
    assert!(report.findings.is_empty());
    let mut new = order();
    set(&mut new, "", "version", json!("2"));
    let (report, _) = judged(&order(), &new, OPENED);
    assert_eq!(report.verdict, Verdict::Equivalent);
    assert!(report.hits(Rule::A3b));
}
