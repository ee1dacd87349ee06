//! Shows what the kind `statechart` does: what it answers, what travels, what it refuses.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon::conformance::{self, Subject};
use whimbrel_daemon::{Body, Host, HostError, Native, Objection, StateSnapshot, Turned};
use whimbrel_wire::{
    AttemptId, CausalEvent, Digest, EntityId, EvolutionWord, InputOrigin, Kind, Ledger, OriginHash,
    Sender, Time, TimerId, encode,
};

use super::{Palette, Statechart};
use crate::evolution::{Gate, Report, Rule, Settings};
use crate::{Checkpoint, Definition};

/// It pays, packs in parallel, counts by a child, and does what it should not when it is asked to.
const ORDER: &str = r#"{
  "id": "order", "version": "1", "data": [{ "id": "count", "value": { "literal": 0 } },
    { "id": "friend", "value": { "literal": "daemon:0505050505050505050505050505050505050505050505050505050505050505" } }],
  "transitions": [
    { "on": ["loop"], "to": ["ring"] },
    { "on": ["loop-later"], "do": [{ "send": { "event": "loop", "delay": "2ms" } }] },
    { "on": ["tell"], "do": [{ "send": { "event": "told", "to": { "expression": "friend" },
        "data": { "params": [{ "name": "count", "value": { "expression": "count" } }] } } },
      { "send": { "event": "news", "by": "host:publish", "to": "news" } },
      { "send": { "event": "x", "by": "host:raw", "to": { "expression": "friend" },
        "data": { "content": { "literal": "as it is" } } } },
      { "log": { "label": "told", "value": "count" } }] },
    { "on": ["reply"], "do": [{ "send": { "event": "echo", "by": "host:answer",
        "data": { "content": { "expression": "_event.data" } } } }] },
    { "on": ["astray"], "do": [{ "send": { "id": "lost", "event": "x", "to": "daemon:nobody" } }] },
    { "on": ["astray-ever"], "to": ["straying"] },
    { "on": ["flood"], "do": [{ "for-each": { "list": "[0,1,2,3,4,5,6,7,8,9,10,11,12,13]", "item": "a", "do": [
        { "for-each": { "list": "[0,1,2,3,4,5,6,7,8,9,10,11,12,13]", "item": "b", "do": [ { "for-each": { "list": "[0,1,2,3,4,5,6,7,8,9,10,11,12,13]", "item": "c", "do": [
          { "send": { "event": "x", "to": { "expression": "friend" } } }] } }] } }] } }] },
    { "on": ["error.communication"], "do": [{ "assign": { "to": "count", "value": { "expression": "count + 100" } } }] },
    { "on": ["end"], "to": ["over"] } ],
  "states": [
    { "id": "open", "initial": ["paying"],
      "on_entry": [[{ "send": { "id": "late", "event": "end", "delay": "1h" } }]],
      "invoke": [{ "id": "courier", "chart": { "expression": "'courier'" } }],
      "states": [
        { "id": "paying", "on_entry": [[{ "assign": { "to": "count", "value": { "expression": "count + 1" } } },
            { "send": { "event": "tick", "delay": "3ms" } }]],
          "transitions": [{ "on": ["tick"], "to": ["paying"] }, { "on": ["paid"], "to": ["packing"] }] },
        { "id": "packing", "kind": "parallel", "transitions": [{ "on": ["again"], "to": ["paying"] }],
          "states": [{ "id": "box" }, { "id": "label" }] } ] },
    { "id": "ring", "transitions": [{ "to": ["ring"] }] },
    { "id": "straying", "on_entry": [[{ "send": { "event": "x", "to": "daemon:nobody" } }]],
      "transitions": [{ "on": ["error.communication"], "to": ["straying"] }] },
    { "id": "over", "kind": "final", "done": { "content": { "expression": "count" } } } ],
  "children": { "courier": { "id": "courier", "states": [
    { "id": "waiting", "on_entry": [[{ "send": { "event": "tick", "delay": "5ms" } }]],
      "transitions": [{ "on": ["tick"], "to": ["gone"] }] }, { "id": "gone" } ] } } }"#;

const MILLI: u64 = 1_000_000;

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * MILLI)
}

fn kind() -> Kind {
    Kind::new(Statechart::NAME).unwrap()
}

fn body(palette: &Arc<Palette>) -> Box<dyn Body> {
    Native::boxed(Statechart::new(Arc::clone(palette)))
}

struct Asked {
    host: Host,
    palette: Arc<Palette>,
}

impl Asked {
    fn born(definition: &str) -> Self {
        let palette = Arc::new(Palette::default());
        let entity = EntityId::from_bytes([9; 32]);
        let mut host = Host::born(entity, kind(), body(&palette), [7; 32], &Digest::ZERO);
        host.found(Some(definition.as_bytes())).unwrap();
        Self { host, palette }
    }

    /// Born, and begun at `millis`.
    fn begun(definition: &str, millis: u64) -> Self {
        let mut asked = Self::born(definition);
        asked.wake(millis);
        asked
    }

    fn turn(&mut self, millis: u64, origin: &InputOrigin, payload: &str) -> Turned {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
        self.host.turn(self.host.epoch(), at(millis), origin, &event).unwrap()
    }

    fn tell(&mut self, millis: u64, payload: &str) -> Turned {
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        self.turn(millis, &origin, payload)
    }

    /// What it answers, or why it declines.
    fn ask(&mut self, millis: u64, payload: &str) -> String {
        let answer = self.tell(millis, payload).answer;
        if let Some(failure) = answer.failure {
            return format!("declined: {failure}");
        }
        let lines = answer.outputs.iter().map(|event| String::from_utf8_lossy(&event.payload));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Lets every timer fire that is due by then, at the moment at which it is due.
    fn wake(&mut self, millis: u64) -> usize {
        let mut fired = 0;
        while let Some((due, timer)) = self.host.next_timer().filter(|(due, _)| *due <= at(millis))
        {
            let millis = if due == Time::ZERO { millis } else { due.as_nanos() / MILLI };
            self.turn(millis, &InputOrigin::Timer(timer), "");
            fired += 1;
        }
        fired
    }

    /// Goes on from a snapshot in bytes, on a node that was given `palette`.
    fn moved(&mut self, palette: Arc<Palette>) -> Self {
        let capture = self.host.capture().unwrap();
        let snapshot = StateSnapshot::of(capture, Ledger::default()).unwrap();
        let snapshot = StateSnapshot::from_bytes(snapshot.to_bytes()).unwrap();
        let host = snapshot.host(&kind(), body(&palette)).unwrap();
        Self { host, palette }
    }
}

fn definition(text: &str) -> Definition {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_statechart_passes_the_battery() {
    let palette = Arc::new(Palette::default());
    let fresh: &dyn Fn() -> Box<dyn Body> = &|| body(&palette);
    let round = [
        "?state",
        "go",
        "paid {\"amount\":3}",
        "tell",
        "reply [1,2.5,null]",
        "astray",
        "again",
        "loop",
        "flood",
        "astray-ever",
        "loop-later",
        "?data",
        "nonsense{",
        "done.state.open",
        r#"{"event":"paid","data":{"a":1},"origin":"me"}"#,
        "again",
        "?checkpoint",
        "paid",
    ];
    let events = round.iter().cycle().take(60).chain(["end", "paid"].iter());
    let events = events.map(|event| Bytes::from_static(event.as_bytes())).collect();
    let given = Some(ORDER.as_bytes());
    let subject = Subject { kind: kind(), fresh, given, events };
    conformance::check(&subject).unwrap();
}

#[test]
fn it_begins_by_itself_and_one_alarm_is_set_at_a_time() {
    let mut order = Asked::born(ORDER);
    assert_eq!(order.host.next_timer(), Some((Time::ZERO, TimerId::new(0))));
    assert_eq!(order.wake(100), 1);
    assert_eq!(order.host.next_timer(), Some((at(103), TimerId::new(0))));
    assert_eq!(order.ask(101, "paid"), r#"{"in":["box","label"]}"#);
    assert_eq!(
        order.ask(101, "reply {\"b\":1,\"a\":[]}"),
        r#"{"event":"echo","data":{"a":[],"b":1}}"#
    );
    assert_eq!(order.ask(101, "?data count"), "1");
    assert_eq!(order.ask(102, "end"), r#"{"in":["over"],"done":1}"#);
    assert_eq!(order.ask(103, "paid"), "declined: the statechart has come to its end");
    assert_eq!(order.host.next_timer(), None);
}

#[test]
fn what_it_sends_goes_out_after_the_turn() {
    let mut order = Asked::begun(ORDER, 100);
    let turned = order.tell(101, "tell");
    let sent: Vec<_> = turned.sent.iter().map(|(to, event)| (*to, event.payload.clone())).collect();
    let friend = EntityId::from_bytes([5; 32]);
    let own = EntityId::from_bytes([9; 32]).key();
    let letter = format!(r#"{{"event":"told","data":{{"count":1}},"origin":"daemon:{own}"}}"#);
    assert_eq!(sent, [(friend, Bytes::from(letter)), (friend, Bytes::from_static(b"as it is"))]);
}

#[test]
fn what_goes_nowhere_is_told_to_the_chart_in_the_same_turn() {
    let mut order = Asked::begun(ORDER, 100);
    order.ask(101, "astray");
    assert_eq!(order.ask(101, "?data count"), "101");
}

#[test]
fn only_whole_turns_happen_and_none_that_does_not_end_or_wants_too_much() {
    let mut order = Asked::begun(ORDER, 100);
    let before = order.host.digest().unwrap();
    for (event, why) in [
        ("loop", "declined: the step does not end: more than 10000 microsteps"),
        ("astray-ever", "declined: the chart sends to nowhere again and again"),
        ("flood", "declined: the step puts out more than a turn may"),
        ("done.state.open", "declined: done.state.open can only come from the chart itself"),
        (
            "?nonsense",
            "declined: the questions are ?state, ?data [NAME], ?definition and ?checkpoint",
        ),
    ] {
        assert_eq!(order.ask(101, event), why);
        assert_eq!(order.host.digest().unwrap(), before, "{event} changed something");
    }
    let next = order.host.next_timer();
    order.ask(101, "loop-later");
    order.wake(103);
    assert!(order.ask(103, "?state").contains("paying"), "the event of the timer is lost");
    assert!(order.host.next_timer() > next, "the timers after it are not");
}

#[test]
fn a_hundred_moves_during_one_delay_change_no_deadline_and_there_is_no_entry() {
    let mut order = Asked::begun(ORDER, 100);
    order.ask(100, "paid");
    let undisturbed = order.host.digest().unwrap();
    let due = order.host.next_timer();
    for _ in 0..100 {
        let (head, palette) = (order.host.head(), Arc::new(Palette::default()));
        order = order.moved(palette);
        assert_eq!(order.host.head(), head, "a restore puts nothing out");
    }
    assert_eq!(order.host.next_timer(), due);
    assert_eq!(order.host.digest().unwrap(), undisturbed);
    assert_eq!(due, Some((at(103), TimerId::new(0))), "the delay of paying");
    order.wake(3_600_100);
    assert!(order.ask(3_600_100, "?state").contains(r#""in":["over"],"done":true"#));
}

#[test]
fn a_node_that_was_given_another_version_does_not_take_it() {
    let mut order = Asked::begun(ORDER, 100);
    let same = Palette::new([definition(ORDER)]).unwrap().closed();
    assert_eq!(order.moved(Arc::new(same)).host.judge(MOVE), Ok(Ok(None)));
    let told = order.moved(Arc::new(Palette::default().closed())).host.judge(MOVE);
    let told = told.unwrap().unwrap_err();
    assert_eq!(told.to_string(), "this node was not given the definition order");
    let other = order.moved(later_end());
    let born = Asked::try_born(ORDER, &other.palette).err().unwrap_or_default();
    assert!(born.starts_with("order is ") && born.contains("this node was given"), "{born}");
}

const MOVE: AttemptId = AttemptId::new(0xa1);

/// A node that was given the order with another delay of its pending timer.
fn later_end() -> Arc<Palette> {
    let other =
        ORDER.replace("\"1h\"", "\"2h\"").replace("\"version\": \"1\"", "\"version\": \"2\"");
    Arc::new(Palette::new([definition(&other)]).unwrap())
}

/// A node that was given the order with one state and one way more.
fn with_returns() -> Arc<Palette> {
    let other = ORDER
        .replace("\"version\": \"1\"", "\"version\": \"2\"")
        .replace(
            "{ \"on\": [\"end\"], \"to\": [\"over\"] } ]",
            "{ \"on\": [\"end\"], \"to\": [\"over\"] }, { \"id\": \"returning\", \"on\": [\"returned\"], \"to\": [\"back\"] } ]",
        )
        .replace("\"states\": [\n    { \"id\": \"open\"", "\"states\": [ { \"id\": \"back\" },\n    { \"id\": \"open\"");
    Arc::new(Palette::new([definition(&other)]).unwrap())
}

impl Asked {
    fn try_born(definition: &str, palette: &Arc<Palette>) -> Result<Self, String> {
        let entity = EntityId::from_bytes([9; 32]);
        let mut host = Host::born(entity, kind(), body(palette), [7; 32], &Digest::ZERO);
        let founded = host.found(Some(definition.as_bytes()));
        founded.map_err(|misfit| misfit.to_string())?;
        Ok(Self { host, palette: Arc::clone(palette) })
    }

    /// What is agreed for the move, or why it is declined.
    fn agree(&mut self, millis: u64, terms: &str) -> Result<(), String> {
        let terms = Bytes::copy_from_slice(terms.as_bytes());
        self.evolve(millis, encode(&EvolutionWord::Agreed { attempt: MOVE, terms }).into())
    }

    fn evolve(&mut self, millis: u64, payload: Bytes) -> Result<(), String> {
        let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
        let origin = InputOrigin::Evolution;
        let turned = self.host.turn(self.host.epoch(), at(millis), &origin, &event);
        let turned = turned.map_err(|error| error.to_string())?;
        turned.answer.failure.map_or(Ok(()), Err)
    }

    /// The word that the gate lets it go on by.
    fn passes(&mut self) -> Option<Bytes> {
        self.host.judge(MOVE).unwrap().unwrap()
    }

    fn objection(&mut self) -> Objection {
        self.host.judge(MOVE).unwrap().unwrap_err()
    }
}

#[test]
fn an_additive_version_goes_on_at_the_target_by_one_turn_of_the_journal() {
    let mut order = Asked::begun(ORDER, 100);
    order.ask(100, "paid");
    let mut moved = order.moved(with_returns());
    assert_eq!(moved.ask(101, "?data count"), "1");
    let word = moved.passes().expect("the definition is another one");
    // Until then it lives under its own definition.
    assert!(moved.ask(101, "?state").contains("\"version\":\"1\""));
    let head = moved.host.head();
    moved.evolve(102, word.clone()).unwrap();
    assert_eq!(moved.host.head().sequence, head.sequence, "going on puts nothing out");
    assert!(moved.ask(102, "?state").contains("\"version\":\"2\""));
    assert_eq!(moved.host.next_timer(), Some((at(103), TimerId::new(0))), "deadlines stand");
    assert_eq!(moved.ask(102, "returned"), r#"{"in":["back"]}"#);
    // A node without any definition makes the same turns to the same end.
    let mut again = order.moved(Arc::new(Palette::default()));
    again.ask(101, "?data count");
    again.ask(101, "?state");
    again.evolve(102, word).unwrap();
    again.ask(102, "?state");
    again.ask(102, "returned");
    assert_eq!(again.host.fingerprint(), moved.host.fingerprint());
    // There it is of the version that it was given, and judged no more.
    let mut on = moved.moved(with_returns());
    assert_eq!(on.passes(), None);
}

#[test]
fn what_needs_consent_is_refused_with_the_whole_report_and_passes_with_it() {
    let mut order = Asked::begun(ORDER, 100);
    let refused = order.moved(later_end()).objection();
    assert!(refused.summary.contains("needs consent (D2: "), "{refused}");
    let report: Report = serde_json::from_slice(&refused.report.unwrap()).unwrap();
    assert!(report.hits(Rule::D2) && !report.passes);
    order.agree(101, r#"{"format":1,"consents":["D2"]}"#).unwrap();
    let mut moved = order.moved(later_end());
    let word = moved.passes().unwrap();
    // Terms of another attempt count for nothing.
    let other = moved.host.judge(AttemptId::new(0xb2)).unwrap().unwrap_err();
    assert!(other.summary.contains("needs consent"), "{other}");
    moved.evolve(102, word).unwrap();
    assert!(moved.ask(102, "?state").contains("\"version\":\"2\""));
    // The terms are used up: the state is that of one for which nothing was agreed.
    let lists = |asked: &mut Asked| asked.host.capture().unwrap();
    let snapshot = StateSnapshot::of(lists(&mut moved), Ledger::default()).unwrap();
    assert_eq!(snapshot.manifest().state.lists.len(), 2);
}

#[test]
fn a_plan_that_does_not_fit_is_declined_at_the_source_as_far_as_it_can_know() {
    let mut order = Asked::begun(ORDER, 100);
    let before = order.host.digest().unwrap();
    for (plan, why) in [
        ("{", "not a plan"),
        (r#"{"format":9}"#, "the format 9"),
        (r#"{"format":1,"from":"00"}"#, "another definition"),
        (r#"{"format":1,"consents":["B1"]}"#, "B1 asks for more than consent"),
        (r#"{"format":1,"charts":{"":{"states":{"nowhere":["open"]}}}}"#, "nowhere"),
        (r#"{"format":1,"charts":{"":{"timers":{"nowhere":{"due":"fire"}}}}}"#, "nowhere"),
    ] {
        let told = order.agree(101, plan).unwrap_err();
        assert!(told.starts_with("the plan does not fit: ") && told.contains(why), "{told}");
        assert_eq!(order.host.digest().unwrap(), before, "{plan} left something behind");
    }
    // What only the target knows is said there, before anything is frozen.
    order.agree(101, r#"{"format":1,"charts":{"":{"states":{"open":["lost"]}}}}"#).unwrap();
    let told = order.moved(later_end()).host.foresee(MOVE).unwrap().unwrap_err();
    assert!(told.summary.contains("lost"), "{told}");
    // And a plan for which there is nothing to do was not meant.
    let told = order.moved(Arc::new(Palette::default())).host.foresee(MOVE).unwrap().unwrap_err();
    assert_eq!(told.summary, "there is a plan, and the target has no other order");
}

#[test]
fn a_timer_that_is_pending_keeps_its_deadline_under_a_plan() {
    let other = ORDER
        .replace("\"version\": \"1\"", "\"version\": \"2\"")
        .replace("\"id\": \"paying\"", "\"id\": \"checkout\"")
        .replace("\"paying\"", "\"checkout\"");
    let palette = Arc::new(Palette::new([definition(&other)]).unwrap());
    let mut order = Asked::begun(ORDER, 100);
    let due = order.host.next_timer();
    let refused = order.moved(Arc::clone(&palette)).objection();
    assert!(refused.summary.contains("needs plan"), "{refused}");
    let mut known = order.moved(Arc::clone(&palette));
    let old = definition(ORDER);
    let gate = Gate::new(old, definition(&other)).unwrap();
    let checkpoint = order.ask(100, "?checkpoint");
    let checkpoint = Checkpoint::from_json(&checkpoint).unwrap();
    let proposal = gate.propose(&checkpoint, &Settings::default());
    let mut plan = proposal.plan;
    plan.charts.entry(String::new()).or_default().states =
        [("paying".to_owned(), vec!["checkout".to_owned()])].into();
    order.agree(101, &plan.to_json()).unwrap();
    drop(known.ask(100, "?state"));
    let mut moved = order.moved(palette);
    assert_eq!(moved.host.foresee(MOVE), Ok(Ok(())));
    let word = moved.passes().unwrap();
    moved.evolve(102, word).unwrap();
    assert_eq!(moved.host.next_timer(), due);
    assert!(moved.ask(102, "?state").contains(r#""in":["checkout"]"#));
    assert_eq!(moved.wake(103), 1);
}

#[test]
fn a_newborn_is_given_a_legal_definition_or_is_not_born() {
    let told = |given: Option<&str>| {
        let entity = EntityId::from_bytes([9; 32]);
        let body = body(&Arc::new(Palette::default()));
        let mut host = Host::born(entity, kind(), body, [7; 32], &Digest::ZERO);
        host.found(given.map(str::as_bytes)).unwrap_err().to_string()
    };
    assert_eq!(told(None), "a statechart is given a definition");
    assert!(told(Some("{")).starts_with("not a definition"));
    assert_eq!(told(Some(r#"{"id":"a","states":[]}"#)), "the chart a has no state");
    let unknown = r#"{"id":"a","states":[{"id":"b","transitions":[{"when":"lost > 1"}]}]}"#;
    assert!(told(Some(unknown)).contains("lost"), "{}", told(Some(unknown)));
}

#[test]
fn daemons_of_one_definition_share_it() {
    let mut order = Asked::begun(ORDER, 100);
    let palette = Arc::clone(&order.palette);
    let (one, other) = (order.moved(Arc::clone(&palette)), order.moved(palette));
    let score = |asked: &Asked| asked.palette.read(ORDER.as_bytes()).unwrap();
    assert!(Arc::ptr_eq(&score(&one), &score(&other)));
    assert!(Arc::strong_count(&score(&one)) > 3);
}

#[test]
fn a_spoilt_host_is_never_the_answer_to_a_payload() {
    let mut order = Asked::begun(ORDER, 100);
    for payload in
        [&b"\xff"[..], b"", b" ", b"{", b"{}", b"?", b"a {", b"[1]", &[b'{'; 300], &[b'x'; 300]]
    {
        let event = CausalEvent::unchained(OriginHash::new(0), 1, Bytes::copy_from_slice(payload));
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        let turned: Result<Turned, HostError> =
            order.host.turn(order.host.epoch(), at(101), &origin, &event);
        assert!(turned.unwrap().answer.failure.is_some() || payload.starts_with(b"["));
    }
}
