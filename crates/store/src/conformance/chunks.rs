//! Checks about chunks: kept once, checked when read, collected only when nothing names them.

use bytes::Bytes;
use whimbrel_wire::{
    ChunkList, ChunkRef, Digest, EntityId, Epoch, Head, Kind, Manifest, Position, Sequence,
    StateRef, StateVersion, Time, encode,
};

use crate::chunks::{Chunks, Marking, Swept};
use crate::error::StoreError;

type Check = (&'static str, fn(&dyn Chunks, &mut dyn FnMut()));

const CHECKS: &[Check] = &[
    ("chunks come back after a crash", chunks_come_back_after_a_crash),
    ("the same chunk is kept once", the_same_chunk_is_kept_once),
    ("a wrong chunk is refused with its whole batch", a_wrong_chunk_is_refused),
    (
        "only what nothing names is collected",
        a_collection_leaves_no_hole_and_takes_what_nothing_names,
    ),
    ("a hold protects what was touched", a_hold_protects_what_was_touched),
    ("a missing list stops a collection", a_missing_list_stops_a_collection),
];

/// A store of chunks under test, and what crashes it and opens it again.
pub type ChunksHarness = (Box<dyn Chunks>, Box<dyn FnMut()>);

/// Runs every check on a fresh store of chunks.
///
/// # Panics
///
/// When the store does not pass; the message names the check.
pub fn chunks_battery(make: &mut dyn FnMut() -> ChunksHarness) {
    for (name, check) in CHECKS {
        let (chunks, mut reopen) = make();
        let run = std::panic::AssertUnwindSafe(|| check(chunks.as_ref(), reopen.as_mut()));
        assert!(std::panic::catch_unwind(run).is_ok(), "the chunks do not pass: {name}");
    }
}

fn chunk(seed: u64, length: usize) -> (ChunkRef, Bytes) {
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(length).collect();
    (ChunkRef::of(&bytes), bytes.into())
}

fn batch(seeds: std::ops::Range<u64>) -> Vec<(ChunkRef, Bytes)> {
    seeds.map(|seed| chunk(seed, 1_000 + 40_000 * (seed as usize % 3))).collect()
}

fn names(batch: &[(ChunkRef, Bytes)]) -> Vec<ChunkRef> {
    batch.iter().map(|(chunk, _)| *chunk).collect()
}

/// A snapshot of these chunks: its manifest, and its list as a chunk.
fn snapshot(chunks: &[(ChunkRef, Bytes)]) -> (Manifest, (ChunkRef, Bytes)) {
    let list = encode(&ChunkList(names(chunks)));
    let list = (ChunkRef::of(&list), Bytes::from(list));
    let hash = Digest::ZERO;
    let head = Head { position: Position::FIRST, sequence: Sequence::FIRST, hash };
    let manifest = Manifest {
        entity: EntityId::from_bytes([1; 32]),
        kind: Kind::new("story").expect("a short name is a kind"),
        version: StateVersion::new(1),
        epoch: Epoch::FIRST,
        head,
        last: None,
        time: Time::ZERO,
        state: StateRef { bytes: 0, chunks: 0, lists: vec![list.0] },
        luggage: Vec::new(),
    };
    (manifest, list)
}

fn sweep(chunks: &dyn Chunks, marking: Marking, step: usize) -> usize {
    let (mut sweep, mut removed) = (marking.sweep(), 0);
    loop {
        let swept = sweep.step(chunks, step).expect("a store in order can be swept");
        removed += swept.removed;
        if swept == (Swept { removed: 0, last: None }) {
            return removed;
        }
    }
}

fn chunks_come_back_after_a_crash(chunks: &dyn Chunks, reopen: &mut dyn FnMut()) {
    let batch = batch(0..20);
    let absent = chunk(99, 10);
    assert_eq!(chunks.missing(&names(&batch)), Ok((0..20).collect()));
    assert_eq!(chunks.put(&batch), Ok(()));
    assert_eq!(chunks.put(&[]), Ok(()));
    reopen();
    for (chunk, bytes) in &batch {
        assert_eq!(chunks.get(&chunk.digest), Ok(Some(bytes.clone())));
    }
    assert_eq!(chunks.get(&absent.0.digest), Ok(None));
    assert_eq!(chunks.missing(&[batch[3].0, absent.0, batch[4].0]), Ok(vec![1]));
}

fn the_same_chunk_is_kept_once(chunks: &dyn Chunks, reopen: &mut dyn FnMut()) {
    let batch = batch(0..4);
    assert_eq!(chunks.put(&batch), Ok(()));
    assert_eq!(chunks.put(&batch[1..]), Ok(()));
    reopen();
    assert_eq!(sweep(chunks, Marking::begin(chunks), 3), 4);
}

fn a_wrong_chunk_is_refused(chunks: &dyn Chunks, reopen: &mut dyn FnMut()) {
    let mut batch = batch(0..3);
    batch[2].1 = Bytes::from_static(b"other bytes");
    assert_eq!(chunks.put(&batch), Err(StoreError::WrongChunk { index: 2 }));
    reopen();
    assert_eq!(chunks.missing(&names(&batch)), Ok(vec![0, 1, 2]));
}

fn a_collection_leaves_no_hole_and_takes_what_nothing_names(
    chunks: &dyn Chunks,
    reopen: &mut dyn FnMut(),
) {
    let (kept, dead, pinned) = (batch(0..20), batch(20..50), batch(50..52));
    let (manifest, list) = snapshot(&kept);
    for part in [&kept[..], &dead[..], &pinned[..], std::slice::from_ref(&list)] {
        assert_eq!(chunks.put(part), Ok(()));
    }
    let mut marking = Marking::begin(chunks).mark(chunks, &manifest).expect("its list is there");
    pinned.iter().for_each(|(chunk, _)| marking.pin(&chunk.digest));
    assert_eq!(sweep(chunks, marking, 7), dead.len());
    reopen();
    assert_eq!(chunks.missing(&names(&dead)), Ok((0..dead.len()).collect()));
    assert_eq!(chunks.missing(&names(&kept)), Ok(vec![]));
    assert_eq!(chunks.missing(&names(&pinned)), Ok(vec![]));
    assert_eq!(chunks.missing(&[list.0]), Ok(vec![]));
}

fn a_hold_protects_what_was_touched(chunks: &dyn Chunks, _: &mut dyn FnMut()) {
    let (old, asked, before, during) = (batch(0..3), batch(3..5), batch(5..8), batch(8..11));
    assert_eq!(chunks.put(&old), Ok(()));
    assert_eq!(chunks.put(&asked), Ok(()));
    let hold = chunks.hold();
    assert_eq!(chunks.put(&before), Ok(()));
    assert_eq!(chunks.missing(&names(&asked)), Ok(vec![]));
    let marking = Marking::begin(chunks);
    drop(hold);
    assert_eq!(chunks.put(&during), Ok(()));
    assert_eq!(sweep(chunks, marking, 2), old.len());
    for part in [&asked, &before, &during] {
        assert_eq!(chunks.missing(&names(part)), Ok(vec![]));
    }
    assert_eq!(sweep(chunks, Marking::begin(chunks), 100), 8, "nobody holds them any more");
}

fn a_missing_list_stops_a_collection(chunks: &dyn Chunks, _: &mut dyn FnMut()) {
    let (manifest, _) = snapshot(&batch(0..2));
    let marked = Marking::begin(chunks).mark(chunks, &manifest);
    assert!(matches!(marked, Err(StoreError::Damaged(_))));
}
