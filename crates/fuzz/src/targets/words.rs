//! What crosses the network or lies on a disk: frames, words, deeds, names.

use std::fmt::Debug;

use whimbrel_wire::{
    Answer, ChunkList, Deed, DeedError, Head, Identity, Kind, Ledger, Luggage, Manifest, Message,
    MigrationMessage, NodeKey, SignedDeed, Stamp, StoreId, Turn, Write, decode, decode_frame,
    encode, encode_frame,
};

use crate::driver::Target;

/// Per byte of input no more than the largest element of any collection, twice: a list that grows
/// doubles.
const GROWTH_MAX: usize = 1024;

pub(super) const FRAMES: Target = Target {
    name: "frames",
    corpus: include_str!("../../corpus/frames.hex"),
    growth_max: Some(GROWTH_MAX),
    every: 1,
    run: |input| {
        let Ok(message) = decode_frame(input) else { return };
        // A number may be written longer than it need be; once read, it has one encoding. Only a
        // message at the very limit may grow out of its frame by that, and none shrinks by it.
        let Ok(frame) = encode_frame(&message) else { return };
        assert!(frame.len() <= input.len(), "a message is longer than what it was read from");
        assert_eq!(decode_frame(&frame).as_ref(), Ok(&message));
    },
};

/// The first byte says which word the others should be.
pub(super) const WORDS: Target = Target {
    name: "words",
    corpus: include_str!("../../corpus/words.hex"),
    growth_max: Some(GROWTH_MAX),
    every: 1,
    run: |input| {
        let Some((which, bytes)) = input.split_first() else { return };
        match which % 12 {
            0 => judge::<Message>(bytes),
            1 => judge::<Write>(bytes),
            2 => judge::<Manifest>(bytes),
            3 => judge::<Luggage>(bytes),
            4 => judge::<ChunkList>(bytes),
            5 => judge::<Ledger>(bytes),
            6 => judge::<Turn>(bytes),
            7 => judge::<SignedDeed>(bytes),
            8 => judge::<MigrationMessage>(bytes),
            9 => judge::<Stamp>(bytes),
            10 => judge::<Answer>(bytes),
            _ => judge::<Head>(bytes),
        }
    },
};

/// Bytes are a word, which is then the same word for ever, or a typed error.
fn judge<T>(bytes: &[u8])
where
    T: Word,
{
    if let Ok(word) = decode::<T>(bytes) {
        assert_eq!(decode::<T>(&encode(&word)).as_ref(), Ok(&word));
    }
}

/// A deed is believed only if it is one of the two that were signed.
pub(super) const DEEDS: Target = Target {
    name: "deeds",
    corpus: include_str!("../../corpus/deeds.hex"),
    growth_max: Some(GROWTH_MAX),
    every: 1,
    run: |input| {
        let Ok(found) = decode::<SignedDeed>(input) else { return };
        let (birth, next) = signed();
        let entity = birth.deed.entity;
        let believed: Result<(), DeedError> = found.verify_birth(&entity);
        assert!(believed.is_err() || found == birth, "a birth that nobody signed");
        assert!(found.verify_after(&birth).is_err() || found == next, "a deed that nobody signed");
    },
};

pub(super) const KINDS: Target = Target {
    name: "kinds",
    corpus: include_str!("../../corpus/kinds.hex"),
    growth_max: Some(GROWTH_MAX),
    every: 1,
    run: |input| {
        let Ok(kind) = decode::<Kind>(input) else { return };
        assert_eq!(Kind::new(kind.as_str()).as_ref(), Ok(&kind));
    },
};

/// What a word of the wire can do.
trait Word: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug {}

impl<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug> Word for T {}

/// A birth, and the hand-over that follows it.
fn signed() -> (SignedDeed, SignedDeed) {
    let (daemon, from) = (Identity::from_seed(&[8; 32]), NodeKey::from_seed(&[7; 32]));
    let attempt = whimbrel_wire::AttemptId::new(2);
    let birth = Deed::birth(&daemon, from.public(), StoreId::new(1), attempt);
    let next = Deed {
        entity: birth.deed.entity,
        epoch: birth.deed.epoch.next(),
        from: from.public(),
        to: NodeKey::from_seed(&[9; 32]).public(),
        store: StoreId::new(3),
        attempt: whimbrel_wire::AttemptId::new(4),
        head: Head::newborn(&birth.deed.entity, &birth.digest()),
        snapshot: whimbrel_wire::Digest::ZERO,
        previous: birth.digest(),
    };
    (birth, next.sign(&from))
}

/// The words that are kept for later versions, by the name before the colon.
fn golden(prefix: &str) -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("../../../wire/tests/bytes/golden.txt").lines();
    let lines = lines.filter(|line| line.starts_with(prefix));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs
        .flat_map(|(name, digits)| crate::read(digits).into_iter().map(move |it| (name, it)))
        .collect()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    golden("frame ").into_iter().map(|(_, bytes)| bytes).collect()
}

pub(super) fn words() -> Vec<Vec<u8>> {
    let which = |name: &str| match name {
        "kept turn" => 6,
        "kept manifest" => 2,
        "kept luggage" => 3,
        "kept chunk-list" => 4,
        "kept signed-deed" => 7,
        "kept answer" => 10,
        _ => 11,
    };
    let kept = golden("kept ").into_iter().map(|(name, bytes)| (which(name), bytes));
    let writes = super::store::writes().into_iter().map(|write| (1, encode(&write)));
    let head = signed().1.deed.head;
    let ledger = golden("kept luggage")
        .into_iter()
        .filter_map(|(_, bytes)| Some((5, encode(&decode::<Luggage>(&bytes).ok()?.ledger))));
    let all = kept.chain(writes).chain(ledger).chain([(11, encode(&head))]);
    all.map(|(which, bytes)| [&[which], bytes.as_slice()].concat()).collect()
}

pub(super) fn deeds() -> Vec<Vec<u8>> {
    let (birth, next) = signed();
    vec![encode(&birth), encode(&next)]
}

pub(super) fn kinds() -> Vec<Vec<u8>> {
    ["kv", "tally", "ü"].iter().map(encode).collect()
}
