//! Shows what children are that an action begins, as parts of an instance and as instances of their own.

use std::sync::Arc;

use whimbrel_wire::Time;

use super::*;
use crate::chart::Chart;
use crate::value::Value;

/// A boss that spawns workers where it is told to, and hears of them.
fn boss(spawn: &str) -> String {
    format!(
        r##"{{ "id": "boss", "data": [{{ "id": "seen", "value": {{ "literal": [] }} }}, {{ "id": "made", "value": {{ "literal": "" }} }}],
          "states": [{{ "id": "work", "transitions": [
              {{ "on": ["hire"], "do": [{{ "spawn": {{ "id": {{ "expression": "_event.data" }}, "chart": "worker", {spawn}
                 "data": {{ "params": [{{ "name": "given", "value": {{ "literal": 7 }} }}] }} }} }},
                 {{ "send": {{ "to": {{ "expression": "'#_' + _event.data" }}, "event": "add" }} }}] }},
              {{ "on": ["any"], "do": [{{ "spawn": {{ "id_into": "made", "chart": "worker" }} }}] }},
              {{ "on": ["tell"], "do": [{{ "send": {{ "to": {{ "expression": "'#_' + _event.data.to" }}, "event": {{ "expression": "_event.data.say" }} }} }}] }},
              {{ "on": ["fire"], "do": [{{ "stop": {{ "id": {{ "expression": "_event.data" }} }} }}] }},
              {{ "on": ["spin"], "to": ["circle"], "do": [{{ "spawn": {{ "id": "x", "chart": "worker" }} }}, {{ "stop": {{ "id": "a" }} }}] }},
              {{ "on": ["close"], "to": ["closed"] }},
              {{ "on": ["said", "error", "stopped", "done.invoke"],
                 "do": [{{ "assign": {{ "to": "seen", "value": {{ "expression": "seen + [_event.name]" }} }} }}] }} ] }},
            {{ "id": "circle", "transitions": [{{ "to": ["circle"] }}] }},
            {{ "id": "closed", "kind": "final" }}],
          "children": {{ "worker": {{ "id": "worker",
            "data": [{{ "id": "given", "value": {{ "literal": 0 }} }}, {{ "id": "sum", "value": {{ "expression": "given" }} }}],
            "states": [{{ "id": "idle", "on_exit": [[{{ "log": {{ "label": "left" }} }}]], "transitions": [
              {{ "on": ["add"], "do": [{{ "assign": {{ "to": "sum", "value": {{ "expression": "sum + 1" }} }} }}] }},
              {{ "on": ["say"], "do": [{{ "send": {{ "to": "#_parent", "event": {{ "expression": "'said.' + text(sum)" }} }} }}] }},
              {{ "on": ["end"], "to": ["over"] }},
              {{ "on": ["fail"], "do": [{{ "assign": {{ "to": "sum", "value": {{ "expression": "1 / 0" }} }} }}] }} ] }},
              {{ "id": "over", "kind": "final" }}] }} }} }}"##
    )
}

fn begun(text: &str, name: &str) -> Instance {
    let chart = Arc::new(Chart::new(serde_json::from_str(text).unwrap()).unwrap());
    let limits = Limits { sessions_max: 4, ..Limits::default() };
    let mut boss = Instance::new(chart, name, limits);
    boss.settle(at(1)).unwrap();
    boss
}

const fn at(second: u64) -> Time {
    Time::from_nanos(second * 1_000_000_000)
}

/// It is written down and gone on from, as people read it and as it travels.
fn moved(instance: &Instance) -> Instance {
    let text = instance.capture().unwrap().to_json().unwrap();
    let checkpoint = crate::Checkpoint::from_json(&text).unwrap();
    let (limits, shift) = (instance.limits, crate::Shift::default());
    let restored = checkpoint.restore(limits, shift).unwrap();
    assert_eq!(restored.capture().unwrap(), checkpoint);
    let chart = instance.chart().unwrap();
    let bytes = restored.to_compact(&chart.digest).unwrap();
    let again = Instance::from_compact(&bytes, chart, &chart.digest, limits, shift).unwrap();
    assert_eq!(again.to_compact(&chart.digest).unwrap(), bytes);
    again
}

fn step(instance: &mut Instance, second: u64, name: &str, data: &str) -> Vec<Effect> {
    let event = Event::new(name, serde_json::from_str(data).unwrap());
    let effects = instance.step(event, at(second)).unwrap().effects;
    *instance = moved(instance);
    effects
}

fn seen(boss: &Instance) -> String {
    boss.datum("seen").unwrap().to_string()
}

const RESTART: &str = r#""supervise": { "on_failure": "restart", "times": 1, "back_off": "2s" },"#;

#[test]
fn a_child_that_was_spawned_lives_until_it_ends_or_is_stopped() {
    let mut boss = begun(&boss(""), "boss");
    step(&mut boss, 1, "hire", r#""a""#);
    step(&mut boss, 1, "tell", r#"{"to":"a","say":"say"}"#);
    assert_eq!(seen(&boss), r#"["said.8"]"#, "it was told in the step in which it was spawned");
    step(&mut boss, 1, "hire", r#""a""#);
    assert_eq!(seen(&boss), r#"["said.8","error.execution"]"#, "there is one of that name");
    step(&mut boss, 1, "hire", r#""b""#);
    step(&mut boss, 1, "any", "null");
    assert_eq!(boss.sessions.len(), 4);
    assert_eq!(boss.datum("made").unwrap().as_text(), Some("spawn.1"));
    step(&mut boss, 1, "hire", r#""c""#);
    assert!(seen(&boss).ends_with(r#""error.execution"]"#), "there is no room for more");
    let fired = step(&mut boss, 1, "fire", r#""b""#);
    assert!(matches!(&fired[..], [Effect::Log { .. }]), "what it does on exit is done: {fired:?}");
    step(&mut boss, 1, "tell", r#"{"to":"a","say":"end"}"#);
    assert!(seen(&boss).ends_with(r#""done.invoke.a"]"#));
    step(&mut boss, 1, "hire", r#""a""#);
    assert_eq!(boss.sessions.len(), 3, "the name is free again");
    step(&mut boss, 1, "close", "null");
    assert!(boss.is_done() && boss.sessions.len() == 1, "they end with their parent");
}

#[test]
fn a_child_that_was_spawned_is_supervised_by_what_was_said_when_it_was() {
    let mut boss = begun(&boss(RESTART), "boss");
    step(&mut boss, 1, "hire", r#""a""#);
    step(&mut boss, 2, "tell", r#"{"to":"a","say":"fail"}"#);
    step(&mut boss, 3, "tell", r#"{"to":"a","say":"say"}"#);
    assert_eq!((seen(&boss).as_str(), boss.next_due()), ("[]", Some(at(4))));
    boss.settle(at(4)).unwrap();
    assert_eq!(seen(&boss), r#"["said.7"]"#, "with what it was given, and with its mail");
    step(&mut boss, 5, "tell", r#"{"to":"a","say":"fail"}"#);
    assert_eq!(seen(&boss), r#"["said.7","error.child.a"]"#, "it began again too often");
    assert_eq!(boss.sessions.len(), 1);
}

#[test]
fn what_does_not_end_takes_spawns_and_stops_back() {
    for spawn in ["", r#""on": "west","#] {
        let mut boss = begun(&boss(spawn), "boss");
        step(&mut boss, 1, "hire", r#""a""#);
        let before = boss.capture().unwrap();
        boss.step(Event::new("spin", Value::Null), at(2)).unwrap_err();
        assert_eq!(boss.capture().unwrap(), before);
    }
}

#[test]
fn what_checkpoints_say_of_children_is_looked_at() {
    let mut boss = begun(&boss(RESTART), "boss");
    step(&mut boss, 1, "hire", r#""a""#);
    let text = boss.capture().unwrap().to_json().unwrap();
    assert!(text.starts_with(r#"{"format":3,"#), "what an older build would misread");
    for (from, to, why) in [
        (r#""session":2"#, r#""session":3"#, "a child is of somebody else"),
        (r#""on_failure":"restart""#, r#""within":"long","on_failure":"restart""#, "span of time"),
        (r#"{"a":{"session":2,"#, r#"{"a":{"#, "a child is here or elsewhere"),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        let forged = crate::Checkpoint::from_json(&text.replacen(from, to, 1)).unwrap();
        let forged = forged.sealed().unwrap();
        let refused = forged.restore(Limits::default(), crate::Shift::default()).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

/// Instances that live apart, and the letters between them.
struct Apart {
    instances: Vec<Instance>,
    /// From whom, to whom: each is heeded once, in the order in which it was sent.
    letters: Vec<(usize, Kin, String)>,
}

fn address(of: usize) -> String {
    format!("daemon:{}", name(of))
}

fn name(of: usize) -> String {
    format!("{of:064}")
}

impl Apart {
    fn new(spawn: &str) -> Self {
        Self { instances: vec![begun(&boss(spawn), &name(0))], letters: Vec::new() }
    }

    fn took(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Bear { session, child } => {
                    self.instances[from].name_unborn(session, &child, "secret".into());
                }
                Effect::Kin { to, kin } => self.letters.push((from, *kin, to.to_string())),
                Effect::Log { .. } | Effect::Send { .. } | Effect::Done { .. } => {}
            }
        }
    }

    fn step(&mut self, second: u64, name: &str, data: &str) {
        let effects = step(&mut self.instances[0], second, name, data);
        self.took(0, effects);
        self.post(second);
    }

    /// A host makes a newborn for what is unborn; which one.
    fn bear(&mut self) -> usize {
        let unborn = self.instances[0].unborn();
        let [unborn] = &unborn[..] else { panic!("{unborn:?}") };
        let chart = Arc::new(Chart::new((*unborn.definition).clone()).unwrap());
        let nth = self.instances.len();
        let child = Instance::new(chart, name(nth), Limits::default());
        let mut child = moved(&child.under(unborn.above.clone(), unborn.given.clone()));
        assert!(child.settle(at(1)).unwrap().effects.is_empty() && !child.is_busy());
        let said = child.present();
        assert_eq!(child.present(), None, "it says so once");
        self.instances.push(moved(&child));
        self.took(nth, said.into_iter().collect());
        nth
    }

    /// Brings all letters; both sides are moved before each.
    fn post(&mut self, second: u64) {
        while !self.letters.is_empty() {
            let (from, kin, to) = self.letters.remove(0);
            let to = (0..self.instances.len()).find(|nth| address(*nth) == to).unwrap();
            let mut instance = moved(&self.instances[to]);
            let mut effects = instance.heed(&address(from), kin, at(second)).unwrap();
            effects.extend(instance.settle(at(second)).unwrap().effects);
            self.instances[to] = moved(&instance);
            self.took(to, effects);
        }
    }

    fn seen(&self) -> String {
        seen(&self.instances[0])
    }
}

const WEST: &str = r#""on": "west", "mailbox": 2,"#;
const WEST_RESTART: &str =
    r#""on": "west", "supervise": { "on_failure": "restart", "times": 1, "back_off": "2s" },"#;

#[test]
fn a_child_elsewhere_is_told_what_was_said_before_it_was_born_and_answers() {
    let mut apart = Apart::new(WEST);
    apart.step(1, "hire", r#""a""#);
    assert_eq!(apart.instances[0].sessions.len(), 1, "it is no part of the instance");
    apart.step(1, "tell", r#"{"to":"a","say":"say"}"#);
    apart.step(1, "tell", r#"{"to":"a","say":"say"}"#);
    assert_eq!(apart.seen(), r#"["error.communication"]"#, "two wait, and that is all");
    let child = apart.bear();
    assert_eq!(apart.instances[child].above().unwrap().on.as_deref(), Some("west"));
    apart.post(2);
    assert_eq!(apart.seen(), r#"["error.communication","said.8"]"#);
    assert!(apart.instances[0].unborn().is_empty());
    apart.step(3, "tell", r#"{"to":"a","say":"end"}"#);
    assert_eq!(apart.seen(), r#"["error.communication","said.8","done.invoke.a"]"#);
    assert!(apart.instances[child].is_done() && apart.instances[0].elsewhere().is_empty());
}

#[test]
fn one_child_of_all_newborns_runs_and_that_is_the_first_that_is_heard_of() {
    let mut apart = Apart::new(WEST);
    apart.step(1, "hire", r#""a""#);
    let (first, second) = (apart.bear(), apart.bear());
    // The one that was made later is heard of first.
    apart.letters.reverse();
    apart.post(2);
    assert!(apart.instances[first].is_done(), "one too many");
    assert!(!apart.instances[second].is_done() && apart.instances[second].is_in("idle"));
    apart.step(3, "tell", r#"{"to":"a","say":"say"}"#);
    assert_eq!(apart.seen(), r#"["said.8"]"#);
    // What was stopped before it was born is not begun when it is.
    let mut apart = Apart::new(WEST);
    apart.step(1, "hire", r#""a""#);
    let child = apart.bear();
    apart.step(2, "fire", r#""a""#);
    apart.post(3);
    assert!(apart.instances[child].is_done());
}

#[test]
fn a_child_elsewhere_that_fails_waits_for_what_its_parent_says() {
    let mut apart = Apart::new(WEST_RESTART);
    apart.step(1, "hire", r#""a""#);
    let child = apart.bear();
    apart.post(1);
    let effects = step(&mut apart.instances[0], 2, "tell", r#"{"to":"a","say":"fail"}"#);
    apart.took(0, effects);
    let (_, kin, _) = apart.letters.remove(0);
    let failing = &mut apart.instances[child];
    let mut effects = failing.heed(&address(0), kin, at(2)).unwrap();
    effects.extend(failing.settle(at(2)).unwrap().effects);
    assert_eq!(failing.above().unwrap().standing, Kinship::Failed);
    failing.deliver(Event::new("say", Value::Null)).unwrap();
    assert!(failing.settle(at(9)).unwrap().effects.is_empty(), "nothing happens before that");
    apart.took(child, effects);
    apart.post(9);
    assert_eq!(apart.instances[child].next_due(), Some(at(11)), "it waits with that");
    let effects = apart.instances[child].settle(at(11)).unwrap().effects;
    apart.took(child, effects);
    apart.post(11);
    assert_eq!(apart.seen(), r#"["said.7"]"#, "with what it was given, and with its mail");
    apart.step(12, "tell", r#"{"to":"a","say":"fail"}"#);
    assert_eq!(apart.seen(), r#"["said.7","error.child.a"]"#);
    assert!(apart.instances[child].is_done(), "it was stopped");
}

#[test]
fn a_child_elsewhere_goes_with_another_one_and_with_its_parent() {
    let linked = r#""on": "west", "supervise": { "on_failure": "stop", "with": ["b"] },"#;
    let mut apart = Apart::new(linked);
    apart.step(1, "hire", r#""a""#);
    let a = apart.bear();
    apart.post(1);
    apart.step(1, "hire", r#""b""#);
    let b = apart.bear();
    apart.post(1);
    apart.step(2, "tell", r#"{"to":"a","say":"fail"}"#);
    assert_eq!(apart.seen(), r#"["stopped.invoke.a","stopped.invoke.b"]"#);
    assert!(apart.instances[a].is_done() && apart.instances[b].is_done());
    apart.step(3, "hire", r#""c""#);
    let c = apart.bear();
    apart.post(3);
    apart.step(4, "close", "null");
    assert!(apart.instances[c].is_done());
}

#[test]
fn letters_from_nobody_that_is_kin_change_nothing() {
    let mut apart = Apart::new(WEST);
    apart.step(1, "hire", r#""a""#);
    let child = apart.bear();
    apart.post(1);
    let number = apart.instances[child].above().unwrap().number;
    let session = SessionId::FIRST;
    let (parent, event) = (apart.instances[0].clone(), Box::new(Event::new("said.1", Value::Null)));
    let letters = [
        (0, KinWord::Says(event.clone())),
        (0, KinWord::Failed(event.clone())),
        (0, KinWord::Done { data: Value::Null }),
        (child, KinWord::Hear(event)),
        (child, KinWord::Stop),
        (child, KinWord::Again { after_nanos: 0 }),
        (child, KinWord::Dismiss),
    ];
    for (to, word) in letters {
        let before = apart.instances[to].capture().unwrap();
        let kin = Kin { session, number, word };
        // From somebody else: at most it is late news, and nothing of it happens.
        let heeded = apart.instances[to].heed(&address(99), kin, at(2));
        assert!(heeded.as_ref().map_or(true, Vec::is_empty), "{heeded:?}");
        assert_eq!(apart.instances[to].capture().unwrap(), before);
    }
    // A newborn that cannot say what it was made for is one too many.
    let born = Kin { session, number, word: KinWord::Born { token: "guessed".into() } };
    let told = apart.instances[0].heed(&address(99), born, at(2)).unwrap();
    assert!(matches!(&told[..], [Effect::Kin { kin, .. }] if kin.word == KinWord::Dismiss));
    assert_eq!(apart.instances[0].capture().unwrap(), parent.capture().unwrap());
}
