//! Shows for each rule what hits it, and what is alike and does not.

use super::*;
use crate::Definition;

fn rules(text: &str) -> Vec<(LintRule, String)> {
    let definition: Definition = serde_json::from_str(text).unwrap();
    let chart = Chart::new(definition).unwrap();
    lint(&chart).into_iter().map(|lint| (lint.rule, lint.element)).collect()
}

fn states(states: &str) -> Vec<(LintRule, String)> {
    rules(&format!(r#"{{ "id": "c", "states": [{states}] }}"#))
}

fn hit(rule: LintRule, element: &str) -> Vec<(LintRule, String)> {
    vec![(rule, element.to_owned())]
}

const END: &str = r#"{ "id": "end", "kind": "final" }"#;

#[test]
fn a_state_to_which_nothing_leads() {
    let text = format!(
        r#"{{ "id": "a", "transitions": [{{ "on": ["go"], "to": ["end"] }}] }},
           {{ "id": "b", "states": [{{ "id": "c" }}] }}, {END}"#
    );
    assert_eq!(states(&text), hit(LintRule::S1, "b"));
    // A region is entered with the others, a default child with its parent, and a state that was
    // entered from above may later be begun at.
    let text = format!(
        r#"{{ "id": "p", "kind": "parallel", "transitions": [{{ "on": ["x"], "to": ["q2"] }}, {{ "on": ["y"], "to": ["q"] }}, {{ "on": ["z"], "to": ["end"] }}],
             "states": [{{ "id": "q", "initial": ["q1"], "states": [{{ "id": "q1" }}, {{ "id": "q2" }}] }}, {{ "id": "r" }}] }}, {END}"#
    );
    assert_eq!(states(&text), []);
}

#[test]
fn a_transition_that_is_never_taken() {
    let of = |transition: &str| {
        states(&format!(
            r#"{{ "id": "a", "states": [{{ "id": "b" }}], "transitions": [{transition}, {{ "on": ["go"], "to": ["end"] }}] }}, {END}"#
        ))
    };
    let id = |rest: &str| format!(r#"{{ "id": "t", "to": ["a"], {rest} }}"#);
    assert_eq!(of(&id(r#""on": ["x"], "when": "false""#)), hit(LintRule::S2, "t"));
    assert_eq!(of(&id(r#""on": ["done.state.a"]"#)), hit(LintRule::S2, "t"));
    assert_eq!(of(&id(r#""on": ["done.invoke.a"]"#)), hit(LintRule::S2, "t"));
    assert_eq!(of(&id(r#""on": ["done.state.a", "x"]"#)), []);
}

#[test]
fn a_transition_behind_one_that_takes_all() {
    let of = |first: &str, second: &str| {
        states(&format!(
            r#"{{ "id": "a", "transitions": [{{ "id": "one", "to": ["end"], {first} }}, {{ "id": "two", "to": ["end"], {second} }}] }}, {END}"#
        ))
    };
    let shadowed = hit(LintRule::S3, "two");
    assert_eq!(of(r#""on": ["a"]"#, r#""on": ["a.b"], "when": "1 == 1""#), shadowed);
    assert_eq!(of(r#""on": ["*"]"#, r#""on": ["a"]"#), shadowed);
    assert_eq!(of(r#""on": []"#, r#""on": ["a"]"#), shadowed);
    assert_eq!(
        of(r#""on": ["a"], "when": "1 == 1""#, r#""on": ["a"], "when": "1 == 1""#),
        shadowed
    );
    assert_eq!(of(r#""on": ["a"], "when": "1 == 1""#, r#""on": ["a"]"#), []);
    assert_eq!(of(r#""on": ["a.b"]"#, r#""on": ["a"]"#), []);
}

#[test]
fn a_circle_that_nothing_holds_up() {
    let circle = |when: &str| {
        states(&format!(
            r#"{{ "id": "a", "transitions": [{{ "id": "there", "to": ["b"] }}] }},
               {{ "id": "b", "transitions": [{{ "id": "back", {when} "to": ["a"] }}, {{ "on": ["go"], "to": ["end"] }}] }}, {END}"#
        ))
    };
    let both: Vec<_> = circle("").into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(both, [LintRule::S3, LintRule::S4, LintRule::S4]);
    assert_eq!(circle(r#""when": "1 == 2","#), []);
    // One that counts leaves when it is done.
    let counts = rules(
        r#"{ "id": "c", "data": [{ "id": "n", "value": { "literal": 0 } }], "states": [
          { "id": "a", "transitions": [{ "when": "n > 3", "to": ["end"] },
            { "to": ["a"], "do": [{ "assign": { "to": "n", "value": { "expression": "n + 1" } } }] }] },
          { "id": "end", "kind": "final" }] }"#,
    );
    assert_eq!(counts, []);
}

#[test]
fn data_that_is_only_written() {
    let of = |action: &str| {
        rules(&format!(
            r#"{{ "id": "c", "data": [{{ "id": "kept", "value": {{ "literal": 0 }} }}], "states": [
              {{ "id": "a", "transitions": [{{ "on": ["go"], "to": ["end"], "do": [{action}] }}] }}, {END}] }}"#
        ))
    };
    let written = of(r#"{ "assign": { "to": "kept", "value": { "literal": 1 } } }"#);
    assert_eq!(written, hit(LintRule::S5, "kept"));
    assert_eq!(of(r#"{ "log": { "value": "kept + 1" } }"#), []);
}

#[test]
fn a_timer_that_outlives_its_state() {
    let of = |exit: &str, other: &str| {
        states(&format!(
            r#"{{ "id": "a", "on_entry": [[{{ "send": {{ "slot": "t", "id": "t", "event": "late", "delay": "1h" }} }}]],
               "on_exit": [[{exit}]],
               "transitions": [{{ "on": ["late"], "to": ["end"] }} {other}] }}, {END}"#
        ))
    };
    let other = r#", { "on": ["go"], "to": ["end"] }"#;
    assert_eq!(of("", other), hit(LintRule::S6, "t"));
    assert_eq!(of(r#"{ "cancel": { "id": "t" } }"#, other), []);
    assert_eq!(of("", ""), []);
    assert_eq!(of(r#"{ "cancel": { "id": "u" } }"#, ""), hit(LintRule::S8, "u"));
}

#[test]
fn an_event_that_nobody_hears_and_a_state_without_a_way_out() {
    let text = format!(
        r#"{{ "id": "a", "on_entry": [[{{ "raise": "lost" }}, {{ "raise": "go.on" }}]],
           "transitions": [{{ "on": ["go"], "to": ["end"] }}] }}, {END}"#
    );
    assert_eq!(states(&text), hit(LintRule::S7, "lost"));
    let text = r#"{ "id": "a", "transitions": [{ "on": ["go"], "to": ["b"] }] }, { "id": "b" }"#;
    assert_eq!(states(text), hit(LintRule::S9, "b"));
}

#[test]
fn a_finding_in_a_child_says_where_it_is() {
    let definition: Definition = serde_json::from_str(
        r#"{ "id": "c", "states": [{ "id": "a", "invoke": [{ "id": "k", "chart": "kid" }] }],
          "children": { "kid": { "id": "kid", "states": [{ "id": "x" }] } } }"#,
    )
    .unwrap();
    let found = lint(&Chart::new(definition).unwrap());
    assert_eq!(found[0].pointer, "/children/kid/states/0");
}
