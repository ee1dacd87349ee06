//! The order process of `statecharts/order-1.json`, moved after each of its turns.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use bytes::Bytes;
use whimbrel::daemon::{Body, Host, Native};
use whimbrel::wire::{CausalEvent, Digest, InputOrigin, Ledger, OriginHash, Sender, Time};
use whimbrel::{EntityId, Kind, Palette, StateSnapshot, Statechart};

const ORDER: &str = include_str!("../statecharts/order-1.json");

const MINUTE: u64 = 60 * 1_000_000_000;

/// An order on a node, which is another one after each turn.
struct Order {
    host: Host,
    moves: u32,
}

fn body() -> Box<dyn Body> {
    Native::boxed(Statechart::new(Arc::new(Palette::default())))
}

fn kind() -> Kind {
    Kind::new(Statechart::NAME).unwrap()
}

impl Order {
    fn begun() -> Self {
        let entity = EntityId::from_bytes([9; 32]);
        let mut host = Host::born(entity, kind(), body(), [7; 32], &Digest::ZERO);
        host.found(Some(ORDER.as_bytes())).unwrap();
        let mut order = Self { host, moves: 0 };
        order.pass(0);
        order
    }

    fn turn(&mut self, nanos: u64, origin: &InputOrigin, payload: &str) -> Vec<String> {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
        let epoch = self.host.epoch();
        let turned = self.host.turn(epoch, Time::from_nanos(nanos), origin, &event).unwrap();
        assert_eq!(turned.answer.failure, None);
        self.travel();
        let texts = turned.answer.outputs.iter();
        texts.map(|event| String::from_utf8_lossy(&event.payload).into_owned()).collect()
    }

    fn travel(&mut self) {
        let capture = self.host.capture().unwrap();
        let snapshot = StateSnapshot::of(capture, Ledger::default()).unwrap();
        let snapshot = StateSnapshot::from_bytes(snapshot.to_bytes()).unwrap();
        self.host = snapshot.host(&kind(), body()).unwrap();
        self.moves += 1;
    }

    fn tell(&mut self, minute: u64, payload: &str) -> String {
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        self.turn(minute * MINUTE, &origin, payload).remove(0)
    }

    /// Lets the timers fire that are due until then.
    fn pass(&mut self, minute: u64) {
        while let Some((due, timer)) =
            self.host.next_timer().filter(|(due, _)| due.as_nanos() <= minute * MINUTE)
        {
            self.turn(due.as_nanos(), &InputOrigin::Timer(timer), "");
        }
    }
}

#[test]
fn an_order_that_is_paid_is_packed_billed_and_brought() {
    let mut order = Order::begun();
    assert_eq!(order.tell(1, r#"pay {"amount": 15}"#), r#"{"in":["unpaid"]}"#);
    assert_eq!(
        order.tell(2, r#"pay {"amount": 25, "address": "Tern Street 3"}"#),
        r#"{"in":["picking","writing"]}"#
    );
    assert_eq!(order.host.next_timer(), None, "nobody waits for money");
    assert_eq!(order.tell(40, "picked"), r#"{"in":["boxing","writing"]}"#);
    assert_eq!(order.tell(41, "billed"), r#"{"in":["boxing","billed"]}"#);
    assert_eq!(order.tell(42, "boxed"), r#"{"in":["shipping"]}"#);
    assert_eq!(order.tell(50, "taken"), r#"{"in":["shipping"]}"#);
    assert_eq!(
        order.tell(51, "ask"),
        r#"{"event":"order","data":{"paid":40,"place":"on the road","price":40}}"#
    );
    order.pass(50 + 119);
    assert!(order.tell(169, "?state").contains(r#""in":["shipping"],"done":false"#));
    order.pass(50 + 120);
    assert!(order.tell(170, "?state").contains(r#""in":["delivered"],"done":true"#));
    assert_eq!(order.tell(170, "?data place"), r#""Tern Street 3""#);
    assert!(order.moves > 10);
}

#[test]
fn an_order_that_is_not_paid_waits_for_half_an_hour_and_no_longer() {
    let mut order = Order::begun();
    order.tell(10, r#"pay {"amount": 15}"#);
    order.pass(29);
    assert!(order.tell(29, "?state").contains(r#""in":["unpaid"]"#));
    order.pass(30);
    assert!(order.tell(30, "?state").contains(r#""in":["cancelled"],"done":true"#));
}
