//! Every kind of this crate passes the battery, and the battery can fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use bytes::Bytes;
use whimbrel_daemon::conformance::{self, Subject};
use whimbrel_daemon::fakes::{Churning, Counting, Drift, Drifting, Stubborn};
use whimbrel_daemon::kinds::{Kv, KvCommand, Tally, native_kinds};
use whimbrel_daemon::{Body, Native};
use whimbrel_wire::Kind;

fn subject<'a>(
    name: &str,
    fresh: &'a dyn Fn() -> Box<dyn Body>,
    events: Vec<Bytes>,
) -> Subject<'a> {
    Subject { kind: Kind::new(name).unwrap(), fresh, given: None, events }
}

fn plain_events() -> Vec<Bytes> {
    (0..40_u8).map(|index| Bytes::copy_from_slice(&[index + 64, index])).collect()
}

fn counting_events() -> Vec<Bytes> {
    let timer = [b"@".as_slice(), &2_500_000_u64.to_le_bytes()].concat();
    let send = [b">".as_slice(), &[5; 32], b"hello"].concat();
    let round: [&[u8]; 7] = [b"plain", b"?", &timer, b"!", &send, b"", b"more"];
    round.iter().cycle().take(35).map(|payload| Bytes::copy_from_slice(payload)).collect()
}

fn kv_events() -> Vec<Bytes> {
    let mut events: Vec<Bytes> = Vec::new();
    for index in 0..120_u32 {
        let key = index.wrapping_mul(2_654_435_761).to_be_bytes();
        let value = vec![index as u8; 100 + (index as usize * 977) % 9000];
        events.push(KvCommand::Put { key: &key, value: &value }.to_bytes());
        if index % 7 == 0 {
            events.push(Bytes::from_static(b"add visits 3"));
            events.push(Bytes::from_static(b"put visits not a number"));
            events.push(Bytes::from_static(b"add visits 3"));
            events.push(Bytes::from_static(b"delete visits"));
            events.push(Bytes::from_static(b"nonsense"));
            events.push(KvCommand::Put { key: b"long", value: &vec![1; 300_000] }.to_bytes());
        }
        if index % 5 == 0 {
            events.push(KvCommand::Delete { key: &key }.to_bytes());
            events.push(KvCommand::Scan { prefix: b"", from: &key, limit: 3 }.to_bytes());
        }
    }
    events
}

fn tally_events() -> Vec<Bytes> {
    let text = "the whimbrel flies\nfar and the storm is wide\n\nunended \u{fe}";
    let mut events: Vec<Bytes> =
        (0..30).map(|index| format!("{text} word{index}").into()).collect();
    events.push(Bytes::from_static(b"?top 3"));
    events.push(Bytes::from_static(b"?what"));
    events.push(Bytes::from_static(b"\xff\xfe bytes"));
    events
}

#[test]
fn counting_conforms() {
    let fresh = || Native::boxed(Counting::new());
    conformance::check(&subject("counting", &fresh, counting_events())).unwrap();
}

#[test]
fn churning_conforms() {
    let fresh = || -> Box<dyn Body> { Box::new(Churning::new()) };
    conformance::check(&subject("churning", &fresh, plain_events())).unwrap();
}

#[test]
fn stubborn_conforms_because_it_says_what_it_is() {
    let fresh = || Native::boxed(Stubborn::new());
    conformance::check(&subject("stubborn", &fresh, plain_events())).unwrap();
}

#[test]
fn kv_conforms() {
    let fresh = || Native::boxed(Kv::new());
    conformance::check(&subject("kv", &fresh, kv_events())).unwrap();
}

#[test]
fn tally_conforms() {
    let fresh = || Native::boxed(Tally::new());
    conformance::check(&subject("tally", &fresh, tally_events())).unwrap();
}

#[test]
fn every_native_kind_is_built_under_its_name() {
    for (name, build) in native_kinds() {
        assert_eq!(build().name(), name);
    }
}

#[test]
fn a_daemon_that_drifts_is_found_whether_it_shows_or_not() {
    for drift in [Drift::Shown, Drift::Hidden] {
        let fresh = || Native::boxed(Drifting::new(drift));
        let drifting = subject("drifting", &fresh, plain_events());
        conformance::a_replay_comes_out_equal(&drifting).unwrap_err();
        conformance::a_daemon_that_was_frozen_goes_on_like_one_that_was_not(&drifting).unwrap_err();
        conformance::a_capture_changes_nothing_and_nothing_changes_it(&drifting).unwrap();
    }
}
