//! What daemons read: commands, answers, snapshots, states; and the paged map against a plain one.

use std::collections::BTreeMap;

use bytes::Bytes;
use whimbrel_daemon::kinds::{Kv, KvAnswer, KvCommand, Tally};
use whimbrel_daemon::{Body, ChunkShelf, Host, Native, PagedMap, StateSnapshot};
use whimbrel_wire::{
    CausalEvent, ChunkList, ChunkRef, Digest, EntityId, InputOrigin, Kind, Ledger, Luggage,
    Manifest, OriginHash, Purpose, Sender, StateRef, Time, encode,
};

use crate::driver::Target;

const ENTITY: EntityId = EntityId::from_bytes([1; 32]);

pub(super) const COMMANDS: Target = Target {
    name: "commands",
    corpus: include_str!("../../corpus/commands.hex"),
    growth_max: None,
    every: 1,
    run: |input| {
        if let Ok(command) = KvCommand::parse(input) {
            assert_eq!(KvCommand::parse(&command.to_bytes()), Ok(command));
        }
        // A daemon of each kind takes it as an event, and goes on.
        for mut host in
            [host("kv", Native::boxed(Kv::new())), host("tally", Native::boxed(Tally::new()))]
        {
            give(&mut host, input);
            assert!(!host.is_spoilt(), "an event has spoilt its daemon");
        }
    },
};

pub(super) const ANSWERS: Target = Target {
    name: "answers",
    corpus: include_str!("../../corpus/answers.hex"),
    growth_max: Some(1024),
    every: 1,
    run: |input| {
        let Some(answer) = KvAnswer::parse(input) else { return };
        assert_eq!(KvAnswer::parse(&answer.to_bytes()).as_ref(), Some(&answer));
        let _ = answer.to_text();
    },
};

/// A snapshot file. The digest at its end is made right, or nothing would come past it.
pub(super) const SNAPSHOTS: Target = Target {
    name: "snapshots",
    corpus: include_str!("../../corpus/snapshots.hex"),
    growth_max: Some(1024),
    every: 1,
    run: |input| {
        let mut bytes = input.to_vec();
        let end = bytes.len().saturating_sub(32);
        if input.first() == Some(&b'W') && 18 < end {
            bytes.truncate(end);
            let digest = Digest::of(Purpose::Snapshot, &bytes);
            bytes.extend_from_slice(digest.as_bytes());
        }
        let Ok(snapshot) = StateSnapshot::from_bytes(bytes.into()) else { return };
        assert_eq!(StateSnapshot::from_bytes(snapshot.to_bytes()).as_ref(), Ok(&snapshot));
    },
};

/// A state in chunks that are named rightly, whatever is in them: first which kind, then for each
/// chunk its length in two bytes, whose highest bit begins a new list, and the chunk.
pub(super) const RESTORES: Target = Target {
    name: "restores",
    corpus: include_str!("../../corpus/restores.hex"),
    growth_max: None,
    every: 1,
    run: |input| {
        let Some((which, mut rest)) = input.split_first() else { return };
        let mut shelf = ChunkShelf::new();
        let mut lists = vec![Vec::new()];
        while let Some((length, more)) = rest.split_first_chunk::<2>() {
            let length = u16::from_le_bytes(*length);
            let (chunk, more) = more.split_at(usize::from(length & 0x7fff).min(more.len()));
            rest = more;
            if length & 0x8000 != 0 {
                lists.push(Vec::new());
            }
            let name = ChunkRef::of(chunk);
            shelf.insert(name, Bytes::copy_from_slice(chunk));
            lists.last_mut().into_iter().for_each(|list| list.push(name));
        }
        let (kind, body): (_, Box<dyn Body>) = match which % 2 {
            0 => ("kv", Native::boxed(Kv::new())),
            _ => ("tally", Native::boxed(Tally::new())),
        };
        restore(kind, body, shelf, lists);
    },
};

/// If it becomes a daemon, that one has exactly this state, and takes events.
fn restore(kind: &str, body: Box<dyn Body>, mut shelf: ChunkShelf, lists: Vec<Vec<ChunkRef>>) {
    let born = host(kind, Native::boxed(Kv::new())).capture().expect("a newborn is captured");
    let snapshot = StateSnapshot::of(born, Ledger::default()).expect("it is short");
    let chunks = lists.iter().flatten();
    let bytes = chunks.clone().map(|chunk| u64::from(chunk.bytes)).sum();
    let count = u32::try_from(chunks.count()).unwrap_or(u32::MAX);
    let named = lists.into_iter().filter(|list| !list.is_empty()).map(|list| {
        let list = encode(&ChunkList(list));
        let name = ChunkRef::of(&list);
        shelf.insert(name, list.into());
        name
    });
    let lists = named.collect();
    let state = StateRef { bytes, chunks: count, lists };
    let manifest = Manifest { state, ..snapshot.manifest().clone() };
    let Luggage { host: luggage, .. } = snapshot.luggage();
    let name = Kind::new(kind).expect("a short name is a kind");
    let Ok(mut host) = Host::restore(&name, &manifest, luggage, body, &mut shelf) else { return };
    let digest = host.digest().expect("a restored daemon has a digest");
    assert_eq!(digest, manifest.state.digest(), "it was read as another state");
    for payload in [&b"put key value"[..], b"scan", b"add key 1", b"?top", b"some words"] {
        give(&mut host, payload);
    }
}

/// The paged map in a `kv`, against a plain map, with restores in between.
pub(super) const MAPS: Target = Target {
    name: "maps",
    corpus: include_str!("../../corpus/maps.hex"),
    growth_max: None,
    every: 1,
    run: |input| {
        let (mut map, mut plain) = (PagedMap::new(), BTreeMap::new());
        let mut frozen = None;
        for operation in input.chunks_exact(4) {
            let [what, key, more, size] = [operation[0], operation[1], operation[2], operation[3]];
            let key = [key % 16, more];
            match what % 8 {
                0..=3 => {
                    let value = vec![what; usize::from(size) * usize::from(what % 8 + 1)];
                    let replaced = map.insert(&key, &value).expect("short entries are taken");
                    assert_eq!(replaced, plain.insert(key.to_vec(), value).is_some());
                }
                4 => assert_eq!(map.remove(&key), plain.remove(&key[..]).is_some()),
                5 => assert_eq!(map.get(&key), plain.get(&key[..]).map(Vec::as_slice)),
                6 => {
                    let found = map.scan(&key).take(3);
                    let expected = plain.range(key.to_vec()..).take(3);
                    assert!(found.eq(expected.map(|(key, value)| (&key[..], &value[..]))));
                }
                _ => frozen = Some((map.clone(), plain.clone())),
            }
        }
        same(&map, &plain);
        if let Some((map, plain)) = frozen {
            same(&map, &plain);
        }
    },
};

fn same(map: &PagedMap, plain: &BTreeMap<Vec<u8>, Vec<u8>>) {
    assert_eq!(map.len(), plain.len() as u64);
    assert!(map.iter().eq(plain.iter().map(|(key, value)| (&key[..], &value[..]))));
}

fn host(kind: &str, body: Box<dyn Body>) -> Host {
    let kind = Kind::new(kind).expect("a short name is a kind");
    Host::born(ENTITY, kind, body, [0; 32], &Digest::ZERO)
}

fn give(host: &mut Host, payload: &[u8]) {
    let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
    let event = CausalEvent::unchained(OriginHash::new(0), 1, Bytes::copy_from_slice(payload));
    let _ = host.turn(host.epoch(), Time::ZERO, &origin, &event);
}

fn grown(kind: &str, body: Box<dyn Body>, count: u8) -> StateSnapshot {
    let mut host = host(kind, body);
    for index in 0..count {
        let put = KvCommand::Put { key: &[index], value: &[index; 40] };
        let payload =
            if kind == "kv" { put.to_bytes() } else { Bytes::from(format!("word{index}")) };
        give(&mut host, &payload);
    }
    let capture = host.capture().expect("a daemon in order is captured");
    StateSnapshot::of(capture, Ledger::default()).expect("it is short")
}

pub(super) fn commands() -> Vec<Vec<u8>> {
    let words = [
        "put key some value",
        "get key",
        "delete key",
        "add key -12",
        "cas key - new",
        "cas key old new",
        "scan",
        "scan k 10 key",
        "?totals",
        "?top 3",
        "?count word",
        "some words\n",
    ];
    let binary = [
        KvCommand::Put { key: b"key", value: b"value" },
        KvCommand::Get { key: b"key" },
        KvCommand::Delete { key: b"key" },
        KvCommand::Add { key: b"key", by: i64::MIN },
        KvCommand::CompareAndSet { key: b"key", expected: Some(b"old"), value: b"new" },
        KvCommand::Scan { prefix: b"k", from: b"key", limit: u32::MAX },
    ];
    let words = words.iter().map(|line| line.as_bytes().to_vec());
    words.chain(binary.iter().map(|command| command.to_bytes().to_vec())).collect()
}

pub(super) fn answers() -> Vec<Vec<u8>> {
    let entries = vec![(&b"a"[..], &b"1"[..]), (b"b", b"2")];
    let all = [
        KvAnswer::Put { replaced: true },
        KvAnswer::Value(Some(b"value")),
        KvAnswer::Value(None),
        KvAnswer::Deleted(false),
        KvAnswer::Sum(-300),
        KvAnswer::Swapped,
        KvAnswer::Differs(Some(b"other")),
        KvAnswer::Entries { entries, next: Some(b"c") },
    ];
    all.iter().map(|answer| answer.to_bytes().to_vec()).collect()
}

pub(super) fn snapshots() -> Vec<Vec<u8>> {
    let kv = |count| grown("kv", Native::boxed(Kv::new()), count);
    let tally = grown("tally", Native::boxed(Tally::new()), 9);
    [kv(0), kv(3), tally].map(|snapshot| snapshot.to_bytes().to_vec()).to_vec()
}

pub(super) fn restores() -> Vec<Vec<u8>> {
    let input = |which: u8, snapshot: &StateSnapshot| {
        let mut input = vec![which];
        let lists = &snapshot.manifest().state.lists;
        for (index, list) in lists.iter().enumerate() {
            let bytes = snapshot.chunks().get(list).expect("a snapshot is complete");
            let ChunkList(named) = whimbrel_wire::decode(bytes).expect("a list is one");
            for (at, name) in named.iter().enumerate() {
                let chunk = snapshot.chunks().get(name).expect("a snapshot is complete");
                let first = if at == 0 && 0 < index { 0x8000 } else { 0 };
                let length = u16::try_from(chunk.len()).expect("pages are short") | first;
                input.extend_from_slice(&length.to_le_bytes());
                input.extend_from_slice(chunk);
            }
        }
        input
    };
    let kv = |count| grown("kv", Native::boxed(Kv::new()), count);
    let tally = grown("tally", Native::boxed(Tally::new()), 9);
    vec![input(0, &kv(1)), input(0, &kv(60)), input(1, &tally)]
}

pub(super) fn maps() -> Vec<Vec<u8>> {
    let grow = |count: u8, size| (0..count).flat_map(move |at| [at % 4, at, at, size]).collect();
    let mixed = (0..100_u8).flat_map(|at| [at, at.wrapping_mul(37), at / 3, at]).collect();
    vec![grow(60, 200), grow(4, 255), mixed, vec![7, 0, 0, 0, 0, 1, 1, 1, 4, 1, 1, 1]]
}
