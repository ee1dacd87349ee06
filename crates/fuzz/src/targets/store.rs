//! Lists of chunks, and an engine on a disk against the one in memory.

use bytes::Bytes;
use whimbrel_store::vfs::FaultyDisk;
use whimbrel_store::{
    Chunks, Engine, Journal, Marking, Memory, MemoryChunks, Place, Sqlite, Titles, Vault,
};
use whimbrel_wire::{
    AttemptId, CausalEvent, ChunkList, ChunkRef, Deed, Digest, EntityId, Epoch, Head, Holding,
    Identity, InputOrigin, Kind, Manifest, NodeKey, Sender, SignedDeed, Stamp, StateRef,
    StateVersion, StoreId, Time, Turn, Write, decode, encode,
};

use crate::driver::Target;

const STORE: StoreId = StoreId::new(42);
const ELSEWHERE: StoreId = StoreId::new(43);
const DAEMONS: u8 = 2;

/// The bytes of a list that a manifest names: a collection marks through it.
pub(super) const LISTS: Target = Target {
    name: "lists",
    corpus: include_str!("../../corpus/lists.hex"),
    growth_max: Some(1024),
    every: 1,
    run: |input| {
        let chunks = MemoryChunks::new();
        let list = ChunkRef::of(input);
        chunks.put(&[(list, Bytes::copy_from_slice(input))]).expect("memory takes chunks");
        let mut manifest = manifest(1, Epoch::FIRST, Head::newborn(&daemon(1), &Digest::ZERO));
        manifest.state.lists.push(list);
        let marked = Marking::begin(&chunks).mark(&chunks, &manifest);
        assert_eq!(marked.is_ok(), decode::<ChunkList>(input).is_ok());
        if let Ok(marking) = marked {
            let swept = marking.sweep().step(&chunks, 8).expect("memory is swept");
            assert_eq!(swept.removed, 0, "a list that is in use was swept away");
        }
    },
};

/// Writes chosen byte by byte, and now and then one as the bytes have it.
pub(super) const ENGINES: Target = Target {
    name: "engines",
    corpus: include_str!("../../corpus/engines.hex"),
    growth_max: None,
    every: 40,
    run: |input| {
        let disk = FaultyDisk::new().expect("SQLite takes a disk");
        let open = || Sqlite::open(Place::on(disk.name(), "whimbrel.db"), STORE, None);
        let mut engine = open().expect("a good disk opens");
        let mut model = Memory::new(STORE, None);
        let mut rest = input;
        while let Some((&operation, more)) = rest.split_first() {
            rest = more;
            let which = 1 + operation % DAEMONS;
            match operation >> 4 {
                0 => {
                    let length = usize::from(rest.first().copied().unwrap_or(0)).min(rest.len());
                    let (bytes, more) = rest.split_at(length);
                    rest = more;
                    if let Ok(write) = decode::<Write>(bytes.get(1..).unwrap_or_default()) {
                        both(&mut engine, &mut model, &[write]);
                    }
                }
                1 => {
                    drop(std::mem::replace(&mut engine, {
                        disk.kill();
                        open().expect("a good disk opens")
                    }));
                }
                2 => {
                    let _ = engine.tidy().expect("a good disk tidies");
                }
                3 => {
                    let (entity, key) = (daemon(which), [operation; 4]);
                    engine.put_key(&entity, &key).expect("a good disk keeps keys");
                    model.put_key(&entity, &key).expect("memory keeps keys");
                }
                _ => {
                    let writes: Vec<_> =
                        chosen(&mut model, which, operation >> 4).into_iter().collect();
                    both(&mut engine, &mut model, &writes);
                }
            }
        }
        assert_same(&mut engine, &mut model);
    },
};

fn both(engine: &mut Sqlite, model: &mut Memory, writes: &[Write]) {
    let (found, expected) = (engine.commit(writes), model.commit(writes));
    assert_eq!(found, expected, "the engines differ about {writes:?}");
}

fn assert_same(engine: &mut dyn Engine, model: &mut dyn Engine) {
    let entities = model.entities().expect("memory can be read");
    assert_eq!(engine.entities().as_ref(), Ok(&entities));
    for entity in entities {
        let record = model.record(&entity).expect("memory can be read");
        assert_eq!(engine.record(&entity).as_ref(), Ok(&record));
        let live = match &record.holding {
            Holding::Owned(copy) | Holding::HandedOver(copy) => Some(copy),
            Holding::Nothing | Holding::Deleted => None,
        };
        for copy in live.into_iter().chain(&record.waiting) {
            let after = copy.manifest.head.position;
            let turns = |of: &mut dyn Engine| of.turns(&entity, copy.attempt, after, 1000, 1 << 20);
            assert_eq!(turns(engine), turns(model));
        }
        assert_eq!(engine.key(&entity), model.key(&entity));
    }
}

/// A write that may well be possible for what the model holds.
fn chosen(model: &mut Memory, which: u8, operation: u8) -> Option<Write> {
    let entity = daemon(which);
    let record = model.record(&entity).ok()?;
    let Some(last) = record.deeds.last().cloned() else { return Some(birth(which)) };
    let epoch = last.deed.epoch;
    let waiting = record.waiting.first();
    let copy = match &record.holding {
        Holding::Owned(copy) | Holding::HandedOver(copy) => Some(copy),
        Holding::Nothing | Holding::Deleted => waiting,
    };
    let head = copy.map_or(last.deed.head, whimbrel_wire::CopyRecord::head);
    let attempt = AttemptId::new(100 + u128::from(epoch.get()));
    Some(match operation {
        4..=6 => {
            let turns = turns(which, epoch, head, u64::from(operation));
            Write::Append { entity, epoch, after: head.position, turns }
        }
        7 => Write::Publish { entity, epoch, manifest: manifest(which, epoch, head) },
        8 => Write::Compact { entity, epoch, through: copy?.manifest.head.position },
        9 => Write::BeginAttempt { entity, epoch, attempt },
        10 => Write::HandOver { deed: next(&last, ELSEWHERE, attempt, head) },
        11 => Write::SaveCopy { entity, attempt, epoch, manifest: manifest(which, epoch, head) },
        12 => {
            let (attempt, head) = (waiting?.attempt, waiting?.head());
            let turns = turns(which, epoch, head, 3);
            Write::AppendCopy { entity, attempt, after: head.position, turns }
        }
        13 => {
            let (attempt, head) = (waiting?.attempt, waiting?.head());
            Write::Accept { deeds: vec![next(&last, STORE, attempt, head)] }
        }
        14 => Write::DropState { entity, deed: last.digest() },
        _ => Write::DropCopy { entity, attempt },
    })
}

fn identity(which: u8) -> Identity {
    Identity::from_seed(&[which; 32])
}

fn daemon(which: u8) -> EntityId {
    identity(which).entity_id()
}

fn node() -> NodeKey {
    NodeKey::from_seed(&[77; 32])
}

fn birth(which: u8) -> Write {
    let deed = Deed::birth(&identity(which), node().public(), STORE, AttemptId::new(1));
    let head = Head::newborn(&daemon(which), &deed.digest());
    Write::Birth { manifest: manifest(which, Epoch::FIRST, head), deed }
}

fn next(last: &SignedDeed, store: StoreId, attempt: AttemptId, head: Head) -> SignedDeed {
    let key = node();
    let deed = Deed {
        entity: last.deed.entity,
        epoch: last.deed.epoch.next(),
        from: key.public(),
        to: key.public(),
        store,
        attempt,
        head,
        snapshot: Digest::ZERO,
        previous: last.digest(),
    };
    deed.sign(&key)
}

fn manifest(which: u8, epoch: Epoch, head: Head) -> Manifest {
    Manifest {
        entity: daemon(which),
        kind: Kind::new("fuzz").expect("a short name is a kind"),
        version: StateVersion::new(1),
        epoch,
        head,
        last: None,
        time: Time::ZERO,
        state: StateRef { bytes: 0, chunks: 0, lists: Vec::new() },
        luggage: Vec::new(),
    }
}

fn turns(which: u8, epoch: Epoch, after: Head, count: u64) -> Vec<Turn> {
    let mut head = after;
    let turn = |number| {
        let origin = daemon(which).origin_hash();
        let event = CausalEvent::unchained(origin, number, Bytes::from_static(b"input"));
        head.position = head.position.next();
        let origin = InputOrigin::Event { sender: Sender::Host, number, answered: 0 };
        Turn { event, stamp: Stamp { time: Time::ZERO, epoch, origin, head } }
    };
    (1..=count).map(turn).collect()
}

/// Some writes, for the corpus of words.
pub(super) fn writes() -> Vec<Write> {
    let mut model = Memory::new(STORE, None);
    let mut found = Vec::new();
    for operation in [4, 4, 7, 8, 9, 10, 11, 12, 14, 11, 12, 13, 15] {
        let Some(write) = chosen(&mut model, 1, operation) else { continue };
        model.commit(std::slice::from_ref(&write));
        found.push(write);
    }
    found
}

pub(super) fn lists() -> Vec<Vec<u8>> {
    let list = |count: u8| ChunkList((0..count).map(|byte| ChunkRef::of(&[byte])).collect());
    [0, 1, 3, 40].map(|count| encode(&list(count))).to_vec()
}

pub(super) fn engines() -> Vec<Vec<u8>> {
    let raw = |write: &Write| {
        let bytes = encode(write);
        let length = u8::try_from(bytes.len() + 1).ok()?;
        Some([&[0, length], bytes.as_slice()].concat())
    };
    let mut all = vec![
        vec![0x40, 0x41, 0x50, 0x60, 0x70, 0x80, 0x10, 0x90, 0xa0, 0x20, 0xe0, 0x20, 0x10],
        vec![0x40, 0x50, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0x10, 0x40, 0xa0, 0xe0, 0x20],
        vec![0x41, 0x41, 0x30, 0x31, 0x10, 0xb1, 0xc1, 0xf1, 0x20, 0x20, 0xa1, 0xb1, 0xd1],
    ];
    all.extend(writes().iter().filter_map(raw));
    all
}
