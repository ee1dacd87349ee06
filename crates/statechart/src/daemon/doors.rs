//! Shows who may say what to a hosted statechart, and how parent and child find each other as daemons.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon::{Host, Native, Turned};
use whimbrel_wire::{CausalEvent, Digest, EntityId, InputOrigin, Kind, OriginHash, Sender, Time};

use super::{PLACED, Palette, Statechart};

/// It spawns a worker on the node `west`, which answers and fails.
const BOSS: &str = r##"{ "id": "boss", "data": [{ "id": "seen", "value": { "literal": [] } }],
  "states": [{ "id": "work",
    "on_entry": [[{ "spawn": { "id": "kid", "chart": "worker", "on": "west",
      "supervise": { "on_failure": "restart" },
      "data": { "params": [{ "name": "given", "value": { "literal": 7 } }] } } },
      { "send": { "to": "#_kid", "event": "say" } }]],
    "transitions": [
      { "on": ["fail"], "do": [{ "send": { "to": "#_kid", "event": "fail" } }] },
      { "on": ["said", "done.invoke", "stopped", "error"],
        "do": [{ "assign": { "to": "seen", "value": { "expression": "seen + [_event.name]" } } }] }] }],
  "children": { "worker": { "id": "worker", "data": [{ "id": "given", "value": { "literal": 0 } }],
    "states": [{ "id": "idle", "transitions": [
      { "on": ["say"], "do": [{ "send": { "to": "#_parent", "event": { "expression": "'said.' + text(given)" } } }] },
      { "on": ["fail"], "do": [{ "assign": { "to": "given", "value": { "expression": "1 / 0" } } }] }] }] } } }"##;

fn entity(seed: u8) -> EntityId {
    EntityId::from_bytes([seed; 32])
}

/// Daemons of one node, and what they say to each other.
#[derive(Default)]
struct Node {
    palette: Arc<Palette>,
    hosts: BTreeMap<EntityId, Host>,
}

impl Node {
    fn born(&mut self, seed: u8, given: &[u8]) {
        let kind = Kind::new(Statechart::NAME).unwrap();
        let body = Native::boxed(Statechart::new(Arc::clone(&self.palette)));
        let mut host = Host::born(entity(seed), kind, body, [7; 32], &Digest::ZERO);
        host.found(Some(given)).unwrap();
        self.hosts.insert(entity(seed), host);
        self.wake(seed);
    }

    fn turn(&mut self, of: EntityId, origin: InputOrigin, payload: Bytes) -> Turned {
        let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
        let host = self.hosts.get_mut(&of).unwrap();
        host.turn(host.epoch(), Time::from_nanos(5), &origin, &event).unwrap()
    }

    fn wake(&mut self, seed: u8) {
        let (_, timer) = self.hosts[&entity(seed)].next_timer().unwrap();
        let turned = self.turn(entity(seed), InputOrigin::Timer(timer), Bytes::new());
        self.post(entity(seed), turned);
    }

    /// Brings what was sent, and what that leads to.
    fn post(&mut self, from: EntityId, turned: Turned) {
        for (to, event) in turned.sent {
            let origin =
                InputOrigin::Event { sender: Sender::Daemon(from), number: 1, answered: 0 };
            let turned = self.turn(to, origin, event.payload);
            assert_eq!(turned.answer.failure, None);
            self.post(to, turned);
        }
    }

    fn say(&mut self, seed: u8, sender: Sender, payload: &str) -> Result<String, String> {
        let origin = InputOrigin::Event { sender, number: 0, answered: 0 };
        let turned = self.turn(entity(seed), origin, Bytes::copy_from_slice(payload.as_bytes()));
        let answer = turned.answer.clone();
        self.post(entity(seed), turned);
        match answer.failure {
            Some(failure) => Err(failure),
            None => {
                let said = answer.outputs.iter().map(|event| &event.payload);
                Ok(said.map(|said| String::from_utf8_lossy(said).into_owned()).collect())
            }
        }
    }

    fn ask(&mut self, seed: u8, payload: &str) -> String {
        self.say(seed, Sender::Host, payload).unwrap()
    }
}

#[test]
fn names_of_the_engine_are_refused_at_the_door_whoever_says_them() {
    let mut node = Node::default();
    node.born(1, BOSS.as_bytes());
    let before = node.hosts.get_mut(&entity(1)).unwrap().digest().unwrap();
    for name in [
        "done",
        "done.state.work",
        "done.invoke.kid",
        "error",
        "error.execution",
        "error.child.kid",
        "error.communication",
        "stopped.invoke",
        "stopped.invoke.kid",
    ] {
        for payload in [name.to_owned(), format!("{name} 1"), format!(r#"{{"event":"{name}"}}"#)] {
            for sender in [Sender::Host, Sender::Daemon(entity(3))] {
                let told = node.say(1, sender, &payload).unwrap_err();
                assert_eq!(told, format!("{name} can only come from the chart itself"));
            }
        }
    }
    for word in [r#""begin""#, r#""stop""#, r#"{"done":{"data":1}}"#, r#"{"born":{"token":""}}"#] {
        let payload = format!(r#"{{"kin":{{"session":1,"number":1,"word":{word}}}}}"#);
        let told = node.say(1, Sender::Host, &payload).unwrap_err();
        assert_eq!(told, "a letter between parent and child came from nobody that is kin");
    }
    let forged = r#"{"kin":{"session":1,"number":1,"word":"stop"}}"#;
    assert!(node.say(1, Sender::Daemon(entity(3)), forged).is_err());
    assert_eq!(node.hosts.get_mut(&entity(1)).unwrap().digest().unwrap(), before);
    node.ask(1, "stopped.in.the.street");
    assert_eq!(node.ask(1, "?data seen"), r#"["stopped.in.the.street"]"#, "a name like any other");
}

#[test]
fn a_child_is_born_by_a_call_and_known_to_its_parent_from_then_on() {
    let mut node = Node::default();
    node.born(1, BOSS.as_bytes());
    let calls = node.palette.calls();
    let [(caller, wanted)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((*caller, &wanted.on, wanted.unborn.len()), (entity(1), &None, 1));
    let state = node.ask(1, "?state");
    assert!(state.contains(r#""children":{"kid":null}"#), "{state}");
    let given = wanted.unborn[0].given().unwrap();
    node.born(2, &given);
    let state = node.ask(1, "?state");
    assert!(state.contains(&format!(r#""kid":"daemon:{}""#, entity(2).key())), "{state}");
    assert_eq!(node.ask(1, "?data seen"), r#"["said.7"]"#);
    // Now it is the child that calls: it is not where it is to live.
    let calls = node.palette.calls();
    let [(caller, wanted)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((*caller, wanted.on.as_deref()), (entity(2), Some("west")));
    assert!(node.ask(2, "?state").contains(r#""kin":"running""#));
    node.ask(2, PLACED);
    assert!(node.palette.calls().is_empty());
    // A second newborn for the same spawn comes too late, and ends.
    node.born(3, &given);
    let state = node.ask(3, "?state");
    assert!(state.contains(r#""done":true"#) && state.contains(r#""kin":"dismissed""#), "{state}");
    node.ask(1, "fail");
    assert_eq!(node.ask(2, "?data given"), "7", "it began again with what it was given");
}

#[test]
fn what_is_to_be_born_is_called_for_again_when_its_parent_is_restored() {
    let mut node = Node::default();
    node.born(1, BOSS.as_bytes());
    let capture = node.hosts.get_mut(&entity(1)).unwrap().capture().unwrap();
    let ledger = whimbrel_wire::Ledger::default();
    let snapshot = whimbrel_daemon::StateSnapshot::of(capture, ledger).unwrap();
    let palette = Arc::new(Palette::default());
    let kind = Kind::new(Statechart::NAME).unwrap();
    let body = Native::boxed(Statechart::new(Arc::clone(&palette)));
    drop(snapshot.host(&kind, body).unwrap());
    assert_eq!(palette.calls(), node.palette.calls());
}
