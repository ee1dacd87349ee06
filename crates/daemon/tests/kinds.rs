//! What `kv` and `tally` answer.

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers of tests")]

use bytes::Bytes;
use whimbrel_daemon::kinds::{KV_SCAN_ENTRIES_MAX, Kv, KvAnswer, KvCommand, Tally};
use whimbrel_daemon::{Host, MeshDaemon, Native};
use whimbrel_wire::{
    CausalEvent, Digest, EntityId, Epoch, InputOrigin, Kind, OriginHash, Sender, Time,
};

struct Asked(Host);

impl Asked {
    fn of(daemon: impl MeshDaemon + 'static) -> Self {
        let entity = EntityId::from_bytes([1; 32]);
        let kind = Kind::new("test").unwrap();
        Self(Host::born(entity, kind, Native::boxed(daemon), [0; 32], &Digest::ZERO))
    }

    fn ask(&mut self, payload: impl Into<Bytes>) -> Result<Bytes, String> {
        let event = CausalEvent::unchained(OriginHash::new(0), 1, payload.into());
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        let mut answer = self.0.turn(Epoch::FIRST, Time::ZERO, &origin, &event).unwrap().answer;
        answer.failure.map_or_else(|| Ok(answer.outputs.remove(0).payload), Err)
    }

    fn words(&mut self, line: &str) -> String {
        let answer = self.ask(line.to_owned());
        answer.map_or_else(
            |failure| format!("declined: {failure}"),
            |bytes| String::from_utf8(bytes.into()).unwrap(),
        )
    }
}

#[test]
fn kv_answers_in_words() {
    let mut kv = Asked::of(Kv::new());
    let talk = [
        ("get a", "(absent)"),
        ("put a one two  three\n", "ok"),
        ("get a", "one two  three"),
        ("add n 5", "5"),
        ("add n -7", "-2"),
        ("add a 1", "declined: the value is not a number"),
        ("put n 9223372036854775807", "ok"),
        ("add n 1", "declined: the sum does not fit 64 bits"),
        ("cas c - first", "ok"),
        ("cas c - second", "no: first"),
        ("cas c first second", "ok"),
        ("cas missing old new", "no: (absent)"),
        ("delete a", "ok"),
        ("delete a", "(absent)"),
        ("put k1 v1", "ok"),
        ("put k2 v2", "ok"),
        ("put k3", "ok"),
        ("scan k 2", "k1 v1\nk2 v2\n… from k3\n"),
        ("scan k 2 k3", "k3 \n"),
        ("scan z", ""),
        ("get", "declined: usage: get KEY"),
        ("get a b", "declined: usage: get KEY"),
        ("add n many", "declined: usage: add KEY NUMBER"),
        ("scan k many", "declined: usage: scan [PREFIX [LIMIT [FROM]]]"),
        ("fly", "declined: the commands are put, get, delete, add, cas and scan"),
        ("", "declined: the commands are put, get, delete, add, cas and scan"),
    ];
    for (line, answer) in talk {
        assert_eq!(kv.words(line), answer, "{line}");
    }
}

#[test]
fn kv_answers_bytes_with_bytes() {
    let mut kv = Asked::of(Kv::new());
    let mut ask = |command: KvCommand<'_>| kv.ask(command.to_bytes()).unwrap();
    let key = b"\0binary key\n".as_slice();
    let put = ask(KvCommand::Put { key, value: b"\xff" });
    assert_eq!(KvAnswer::parse(&put), Some(KvAnswer::Put { replaced: false }));
    let got = ask(KvCommand::Get { key });
    assert_eq!(KvAnswer::parse(&got), Some(KvAnswer::Value(Some(b"\xff"))));
    let swapped = ask(KvCommand::CompareAndSet { key, expected: None, value: b"" });
    assert_eq!(KvAnswer::parse(&swapped), Some(KvAnswer::Differs(Some(b"\xff"))));
    let sum = ask(KvCommand::Add { key: b"n", by: -3 });
    assert_eq!(KvAnswer::parse(&sum), Some(KvAnswer::Sum(-3)));
    let scan = ask(KvCommand::Scan { prefix: b"", from: b"", limit: 1 });
    let entries = vec![(key, b"\xff".as_slice())];
    assert_eq!(KvAnswer::parse(&scan), Some(KvAnswer::Entries { entries, next: Some(b"n") }));
    let deleted = ask(KvCommand::Delete { key });
    assert_eq!(KvAnswer::parse(&deleted), Some(KvAnswer::Deleted(true)));
    assert_eq!(kv.ask(&b"\0\xff\xff"[..]).unwrap_err(), "the bytes after the zero are no command");
    let mut long = KvCommand::Get { key }.to_bytes().to_vec();
    long.push(0);
    assert_eq!(kv.ask(long).unwrap_err(), "the bytes after the zero are no command");
}

#[test]
fn a_scan_is_bounded_and_can_be_continued() {
    let mut kv = Asked::of(Kv::new());
    for index in 0..3000_u32 {
        kv.ask(KvCommand::Put { key: &index.to_be_bytes(), value: b"v" }.to_bytes()).unwrap();
    }
    let (mut from, mut seen) = (Vec::new(), 0);
    loop {
        let command = KvCommand::Scan { prefix: b"", from: &from, limit: u32::MAX }.to_bytes();
        let answer = kv.ask(command).unwrap();
        let Some(KvAnswer::Entries { entries, next }) = KvAnswer::parse(&answer) else { panic!() };
        assert!(entries.len() <= KV_SCAN_ENTRIES_MAX);
        seen += entries.len();
        match next {
            Some(next) => from = next.to_vec(),
            None => break,
        }
    }
    assert_eq!(seen, 3000);
}

#[test]
fn a_value_that_no_answer_could_carry_is_declined() {
    let mut kv = Asked::of(Kv::new());
    let put = KvCommand::Put { key: b"k", value: &vec![0; 400 * 1024] }.to_bytes();
    assert_eq!(kv.ask(put).unwrap_err(), "the value of 409600 bytes is longer than 393216");
    let put = KvCommand::Put { key: &[0; 2000], value: b"" }.to_bytes();
    assert_eq!(kv.ask(put).unwrap_err(), "the key of 2000 bytes is longer than 1024");
}

#[test]
fn tally_counts_words_and_lines() {
    let mut tally = Asked::of(Tally::new());
    let talk = [
        ("?totals", "lines 0 words 0 bytes 0 distinct 0"),
        ("to be or\nnot to be\n", "lines 2 words 6 bytes 19 distinct 4"),
        ("that is", "lines 3 words 8 bytes 26 distinct 6"),
        ("?top 2", "2 be\n2 to\n"),
        ("?count be", "2"),
        ("?count  question", "0"),
        ("?top x", "declined: usage: ?top [NUMBER]"),
        ("?", "declined: the questions are ?totals, ?top [N] and ?count WORD"),
        ("", "lines 3 words 8 bytes 26 distinct 6"),
    ];
    for (line, answer) in talk {
        assert_eq!(tally.words(line), answer, "{line}");
    }
}
