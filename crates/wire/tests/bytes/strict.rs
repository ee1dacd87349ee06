//! Strict bytes: every word comes back as it was; all other bytes are a typed error.

use std::fmt::{self, Debug};
use std::marker::PhantomData;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use whimbrel_wire::limits::{CHANNEL_NAME_BYTES_MAX, FRAME_BYTES_MAX, KIND_BYTES_MAX};
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelWord, ChunkList, ChunkRef, DeliveryMessage, EvolutionWord,
    FrameError, Kind, Ledger, Luggage, Manifest, Message, MigrationMessage, SignedDeed, Stamp,
    TitleMessage, Turn, Write, decode, decode_frame, encode, encode_frame,
};

use crate::words::{Random, Word};

/// A word comes back from its bytes; with fewer or more of them it is a typed error.
fn strict_bytes_of<T>(seed: u64)
where
    T: Word + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let word: T = Random(seed).any();
    let bytes = encode(&word);
    assert_eq!(decode::<T>(&bytes), Ok(word));
    let mut cuts = Random(seed);
    for _ in 0..8 {
        let cut = cuts.below(bytes.len() as u64) as usize;
        assert_eq!(decode::<T>(&bytes[..cut]), Err(FrameError::Malformed), "cut at {cut}");
    }
    for more in [1, 2, 300] {
        let longer = [bytes.as_slice(), &vec![cuts.any::<u8>(); more]].concat();
        assert_eq!(decode::<T>(&longer), Err(FrameError::Trailing { bytes: more }));
    }
}

/// Bytes are a word, which then is the same word for ever, or a typed error.
fn judged<T>(bytes: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    match decode::<T>(bytes) {
        Ok(word) => assert_eq!(decode::<T>(&encode(&word)), Ok(word)),
        Err(FrameError::Malformed) => {}
        Err(FrameError::Trailing { bytes: more }) => assert!(0 < more && more < bytes.len()),
        Err(error) => panic!("{error:?} is about frames"),
    }
}

fn judge_all(bytes: &[u8]) {
    judged::<Message>(bytes);
    judged::<Write>(bytes);
    judged::<Manifest>(bytes);
    judged::<Luggage>(bytes);
    judged::<ChunkList>(bytes);
    judged::<Ledger>(bytes);
    judged::<Turn>(bytes);
    judged::<SignedDeed>(bytes);
    judged::<Kind>(bytes);
    judged::<ChannelWord>(bytes);
    judged::<EvolutionWord>(bytes);
}

/// How many lives each property has; an interpreter takes a thousand times as long for one.
const CASES: u32 = if cfg!(miri) { 3 } else { 256 };

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: CASES,
        ..ProptestConfig::default()
    })]

    #[test]
    fn strict_bytes_give_back_every_word_and_nothing_else(seed: u64) {
        strict_bytes_of::<Message>(seed);
        strict_bytes_of::<MigrationMessage>(seed);
        strict_bytes_of::<DeliveryMessage>(seed);
        strict_bytes_of::<TitleMessage>(seed);
        strict_bytes_of::<Write>(seed);
        strict_bytes_of::<Manifest>(seed);
        strict_bytes_of::<Luggage>(seed);
        strict_bytes_of::<ChunkList>(seed);
        strict_bytes_of::<Turn>(seed);
        strict_bytes_of::<SignedDeed>(seed);
        strict_bytes_of::<Kind>(seed);
        strict_bytes_of::<ChannelWord>(seed);
        strict_bytes_of::<EvolutionWord>(seed);
    }

    #[test]
    fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        judge_all(&bytes);
        match decode_frame(&bytes) {
            Ok(_) | Err(FrameError::Malformed | FrameError::Trailing { .. }) => {
                prop_assert_eq!(bytes.first(), Some(&1));
            }
            Err(FrameError::Empty) => prop_assert!(bytes.is_empty()),
            Err(FrameError::Version { version }) => {
                prop_assert_ne!(version, 1);
                prop_assert_eq!(bytes.first(), Some(&version));
            }
            Err(error) => prop_assert!(false, "{:?}", error),
        }
    }

    /// Nearly right bytes go deeper into a decoder than random ones.
    #[test]
    fn a_word_with_some_bytes_changed_is_never_a_panic(seed: u64) {
        let mut random = Random(seed);
        let mut bytes = match random.below(3) {
            0 => encode(&random.any::<Message>()),
            1 => encode(&random.any::<Write>()),
            _ => encode(&random.any::<Luggage>()),
        };
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = if random.any() { 0xff } else { random.any() };
        }
        judge_all(&bytes);
    }

    #[test]
    fn a_frame_carries_every_message(seed: u64) {
        let message: Message = Random(seed).any();
        let frame = encode_frame(&message).unwrap();
        prop_assert_eq!(frame[0], 1);
        prop_assert_eq!(decode_frame(&frame), Ok(message));
        let cut = Random(seed).below(frame.len() as u64 - 1) as usize + 1;
        prop_assert_eq!(decode_frame(&frame[..cut]), Err(FrameError::Malformed));
        let longer = [&frame, &[0_u8, 0][..]].concat();
        prop_assert_eq!(decode_frame(&longer), Err(FrameError::Trailing { bytes: 2 }));
        let newer = [&[2], &frame[1..]].concat();
        prop_assert_eq!(decode_frame(&newer), Err(FrameError::Version { version: 2 }));
    }
}

#[test]
fn a_frame_beyond_the_limit_is_refused_on_both_sides() {
    let mut event = Random(1).any::<CausalEvent>();
    event.payload = vec![0; FRAME_BYTES_MAX].into();
    let message = DeliveryMessage::Deliver {
        sender: whimbrel_wire::Sender::Host,
        number: 1,
        answered: 0,
        event,
        reply_to: whimbrel_wire::NodeId::new(1),
        epoch: whimbrel_wire::Epoch::FIRST,
    };
    let message = Message::Delivery { entity: Random(2).any(), message };
    let long = encode(&message);
    let bytes = long.len() + 1;
    assert_eq!(encode_frame(&message), Err(FrameError::TooLong { bytes }));
    let frame = [&[1], long.as_slice()].concat();
    assert_eq!(decode_frame(&frame), Err(FrameError::TooLong { bytes }));
    assert_eq!(decode_frame(&[]), Err(FrameError::Empty));
    let longest = vec![2; FRAME_BYTES_MAX];
    assert_eq!(decode_frame(&longest), Err(FrameError::Version { version: 2 }));
}

#[test]
fn a_kind_beyond_its_limit_is_no_kind_on_the_wire_either() {
    for length in [0, KIND_BYTES_MAX + 1] {
        let name = "k".repeat(length);
        assert!(Kind::new(name.clone()).is_err());
        assert_eq!(decode::<Kind>(&encode(&name)), Err(FrameError::Malformed));
    }
    let longest = "k".repeat(KIND_BYTES_MAX);
    assert_eq!(decode::<Kind>(&encode(&longest)), Ok(Kind::new(longest).unwrap()));
}

/// Stands where a collection stands, and says how much room it would have been told to make.
struct Told<T>(Option<usize>, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Told<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Ear<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Ear<T> {
            type Value = Told<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a collection")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Told<T>, A::Error> {
                let told = from.size_hint();
                while from.next_element::<T>().is_ok_and(|element| element.is_some()) {}
                Ok(Told(told, PhantomData))
            }

            fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Told<T>, A::Error> {
                Ok(Told(from.size_hint(), PhantomData))
            }
        }
        from.deserialize_seq(Ear(PhantomData))
    }
}

/// A collection makes room for as many elements as it is told of, at most; so what it is told
/// must be no more than the bytes that are there.
#[test]
fn strict_bytes_make_no_room_for_what_is_not_there() {
    let lengths = [0, 1, 5, 100, 1_000, u64::from(u32::MAX), u64::MAX / 2, u64::MAX];
    for there in [0, 1, 5, 64, 1_000] {
        for length in lengths.into_iter().filter(|length| there as u64 <= *length) {
            let bytes = [encode(&length), vec![0; there]].concat();
            let told = decode::<Told<u8>>(&bytes).unwrap();
            assert!(told.0.unwrap_or(0) <= there, "{length} claimed, {there} there: {:?}", told.0);
        }
    }
    // Per byte of input no more than the largest element of any collection: a deed in a list.
    let largest = [
        size_of::<SignedDeed>(),
        size_of::<CausalEvent>(),
        size_of::<Stamp>(),
        size_of::<Turn>(),
        size_of::<ChunkRef>(),
    ];
    assert!(largest.into_iter().all(|bytes| bytes <= 512), "{largest:?}");
}

/// Each place in a word where a length stands, with a length that nothing could hold.
#[test]
fn a_claimed_length_that_nothing_could_hold_is_a_typed_error() {
    let (seeds, places) = if cfg!(miri) { (2, 20) } else { (200, 200) };
    for seed in 0..seeds {
        let bytes = encode(&Random(seed).any::<Message>());
        for at in 0..bytes.len().min(places) {
            let claim = encode(&u64::MAX);
            let forged = [&bytes[..at], &claim, &bytes[at + 1..]].concat();
            judged::<Message>(&forged);
        }
    }
}

#[test]
fn a_channel_has_a_name_that_fits_a_line() {
    for name in ["", "two\nlines", "\0", &"x".repeat(CHANNEL_NAME_BYTES_MAX + 1)] {
        assert!(ChannelName::new(name).is_err(), "{name:?}");
        assert_eq!(decode::<ChannelName>(&encode(&name)), Err(FrameError::Malformed));
    }
    let longest = "x".repeat(CHANNEL_NAME_BYTES_MAX);
    assert_eq!(decode::<ChannelName>(&encode(&longest)), Ok(ChannelName::new(longest).unwrap()));
}

#[test]
fn a_word_about_a_channel_is_told_from_any_other_payload() {
    let word: ChannelWord = Random(1).any();
    let payload = word.to_payload();
    assert_eq!(ChannelWord::of(&payload), Some(word));
    assert_eq!(ChannelWord::of(&payload[1..]), None);
    assert_eq!(ChannelWord::of(&payload[..payload.len() - 1]), None);
    assert_eq!(ChannelWord::of(&[&payload[..], b"more"].concat()), None);
    assert!(!ChannelWord::is_marked(b"a text, or any other payload"));
}
