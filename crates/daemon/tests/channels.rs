//! What a host does with words about channels: whatever the body makes of a message, it counts once.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use bytes::Bytes;
use whimbrel_daemon::fakes::Counting;
use whimbrel_daemon::{Host, HostError, Native, StateSnapshot, Turned};
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelWord, ClientId, Digest, EntityId, Hearing, InputOrigin, Kind,
    Ledger, OriginHash, Position, Sender, Start, SubscriptionBinding, SubscriptionState, Time,
};

const OWN: EntityId = EntityId::from_bytes([1; 32]);
const PUBLISHER: EntityId = EntityId::from_bytes([2; 32]);

fn birds() -> ChannelName {
    ChannelName::new("birds").unwrap()
}

fn binding() -> SubscriptionBinding {
    SubscriptionBinding { publisher: PUBLISHER, channel: birds() }
}

fn take(host: &mut Host, origin: InputOrigin, payload: Bytes) -> Result<Turned, HostError> {
    let event = CausalEvent::unchained(OriginHash::new(0), 1, payload);
    host.turn(host.epoch(), Time::ZERO, &origin, &event)
}

fn from(sender: Sender) -> InputOrigin {
    InputOrigin::Event { sender, number: 1, answered: 0 }
}

fn message(number: u64, text: &str) -> Bytes {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    ChannelWord::Message { channel: birds(), number, omitted: 0, payload }.to_payload()
}

fn words(turned: &Turned) -> Vec<ChannelWord> {
    turned.sent.iter().map(|(_, event)| ChannelWord::of(&event.payload).unwrap()).collect()
}

/// A host that listens and tells the publisher of each message.
fn listening() -> Host {
    let kind = Kind::new("counting").unwrap();
    let mut host = Host::born(OWN, kind, Native::boxed(Counting::new()), [3; 32], &Digest::ZERO);
    let hearing = Hearing::Recent { window: 2 };
    let (publisher, channel, start) = (PUBLISHER, birds(), Start::Next);
    let join = ChannelWord::Join { publisher, channel, hearing, start };
    let asked = take(&mut host, from(Sender::Host), join.to_payload()).unwrap();
    assert_eq!(asked.sent.len(), 1);
    let word = ChannelWord::Subscribed { channel: birds(), subscription: 1, next: 1 };
    take(&mut host, from(Sender::Daemon(PUBLISHER)), word.to_payload()).unwrap();
    host
}

fn next(host: &Host) -> u64 {
    let state = host.subscription(&binding());
    let SubscriptionState::Live { next } = state else { panic!("{state:?}") };
    next
}

#[test]
fn a_message_counts_once_whatever_the_body_makes_of_it() {
    let mut host = listening();
    let publisher = Sender::Daemon(PUBLISHER);
    let heard = ChannelWord::Heard { channel: birds(), count: 1 };
    let taken = take(&mut host, from(publisher), message(1, "wren")).unwrap();
    assert_eq!((taken.answer.failure.clone(), words(&taken)), (None, vec![heard.clone()]));
    // Declined: the daemon changed nothing, and the message was heard nevertheless.
    let declined = take(&mut host, from(publisher), message(2, "!wren")).unwrap();
    assert!(declined.answer.failure.is_some());
    assert_eq!(words(&declined), vec![heard.clone()]);
    assert_eq!(declined.head, host.head());
    assert_eq!(next(&host), 3);
    // A double is passed over.
    let double = take(&mut host, from(publisher), message(2, "wren")).unwrap();
    assert_eq!((double.answer.failure, double.sent.len()), (None, 0));
    // It panics: the host is of no use; the one that is built anew is told that it was poisoned.
    let mut rebuilt = StateSnapshot::of(host.capture().unwrap(), Ledger::default())
        .unwrap()
        .host(&Kind::new("counting").unwrap(), Native::boxed(Counting::new()))
        .unwrap();
    let panicked = take(&mut host, from(publisher), message(3, "#wren"));
    assert!(matches!(panicked, Err(HostError::Panicked(_))));
    let poisoned = InputOrigin::Poisoned { sender: publisher, number: 1, answered: 0 };
    let passed = take(&mut rebuilt, poisoned, message(3, "#wren")).unwrap();
    assert!(passed.answer.failure.is_some());
    assert_eq!(words(&passed), [heard]);
    assert_eq!(next(&rebuilt), 4);
}

#[test]
fn the_ledger_travels_in_the_snapshot_and_not_into_a_copy_with_another_name() {
    let mut host = listening();
    take(&mut host, from(Sender::Daemon(PUBLISHER)), message(1, "wren")).unwrap();
    let snapshot = StateSnapshot::of(host.capture().unwrap(), Ledger::default()).unwrap();
    assert_eq!(snapshot.luggage().subscriptions, [binding()]);
    let snapshot = StateSnapshot::from_bytes(snapshot.to_bytes()).unwrap();
    let kind = Kind::new("counting").unwrap();
    let mut back = snapshot.host(&kind, Native::boxed(Counting::new())).unwrap();
    assert_eq!(back.subscriptions(), [binding()]);
    assert_eq!(next(&back), 2);
    assert_eq!(back.fingerprint().unwrap(), host.fingerprint().unwrap());
    let copy = back.reborn(EntityId::from_bytes([9; 32]), &Digest::ZERO);
    assert!(copy.subscriptions().is_empty());
}

#[test]
fn a_daemon_without_channels_is_written_down_as_ever() {
    let kind = Kind::new("counting").unwrap();
    let host = |kind| Host::born(OWN, kind, Native::boxed(Counting::new()), [3; 32], &Digest::ZERO);
    let luggage = host(kind.clone()).capture().unwrap().parts().host.clone();
    assert_eq!(luggage.first(), Some(&1));
    let luggage = listening().capture().unwrap().parts().host.clone();
    assert_eq!(luggage.first(), Some(&2));
    let mut host = host(kind);
    for broken in [&luggage[..luggage.len() - 1], &[&luggage[..], b"x"].concat(), &[3, 0]] {
        let manifest = StateSnapshot::of(host.capture().unwrap(), Ledger::default()).unwrap();
        let body = Native::boxed(Counting::new());
        let mut chunks = manifest.chunks().clone();
        let kind = Kind::new("counting").unwrap();
        assert!(Host::restore(&kind, manifest.manifest(), broken, body, &mut chunks).is_err());
    }
}

#[test]
fn clients_do_not_speak_about_channels_and_nobody_speaks_out_of_turn() {
    let mut host = listening();
    let open = ChannelWord::Open { channel: birds(), retained: 1 }.to_payload();
    let client = Sender::Client { client: ClientId::new(1), session: Position::FIRST };
    let taken = take(&mut host, from(client), open.clone()).unwrap();
    assert!(taken.answer.failure.is_none(), "an event like any other");
    let refused = take(&mut host, from(Sender::Daemon(PUBLISHER)), open.clone()).unwrap();
    assert!(refused.answer.failure.is_some());
    assert!(host.publications().is_empty());
    // What is marked and broken is declined; what is wrapped is what was sent.
    let broken = take(&mut host, from(Sender::Daemon(PUBLISHER)), open.slice(..10)).unwrap();
    assert!(broken.answer.failure.is_some());
    let wrapped = ChannelWord::escape(open);
    let taken = take(&mut host, from(Sender::Daemon(PUBLISHER)), wrapped).unwrap();
    assert!(taken.answer.failure.is_none());
    assert!(host.publications().is_empty());
}
