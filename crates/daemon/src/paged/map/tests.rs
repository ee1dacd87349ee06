//! The map against a plain one, and against itself after a freeze.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use whimbrel_wire::{ChunkList, Digest, StateRef, encode};

use super::super::page::{INLINE_VALUE_BYTES_MAX, PAGE_BYTES_MAX};
use super::*;
use crate::capture::{FrozenState, state_ref};
use crate::shelf::ChunkShelf;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, usize, u8),
    Remove(Vec<u8>),
    /// Removes all keys with this prefix.
    Clear(u8),
    Freeze,
    Restore,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..4, any::<u8>()).prop_map(|(a, b)| vec![a, b]),
        2 => (0u8..4, any::<u16>()).prop_map(|(a, b)| [&[a][..], &b.to_be_bytes(), b"tail"].concat()),
        1 => Just(Vec::new()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![
        6 => 0usize..64,
        6 => 1000usize..9000,
        2 => INLINE_VALUE_BYTES_MAX - 2..INLINE_VALUE_BYTES_MAX + 3,
        1 => Just(300 * 1024),
    ];
    prop_oneof![
        30 => (key(), size, any::<u8>()).prop_map(|(key, size, fill)| Step::Put(key, size, fill)),
        8 => key().prop_map(Step::Remove),
        1 => (0u8..4).prop_map(Step::Clear),
        2 => Just(Step::Freeze),
        2 => Just(Step::Restore),
    ]
}

fn apply(map: &mut PagedMap, step: &Step) {
    match step {
        Step::Put(key, size, fill) => {
            map.insert(key, &vec![*fill; *size]).unwrap();
        }
        Step::Remove(key) => {
            map.remove(key);
        }
        Step::Clear(prefix) => {
            let all = map.scan(&[*prefix]).map(|(key, _)| key.to_vec());
            let keys: Vec<_> = all.take_while(|key| key.starts_with(&[*prefix])).collect();
            keys.iter().for_each(|key| assert!(map.remove(key)));
        }
        Step::Freeze | Step::Restore => {}
    }
}

fn apply_plain(plain: &mut BTreeMap<Vec<u8>, Vec<u8>>, step: &Step) {
    match step {
        Step::Put(key, size, fill) => {
            plain.insert(key.clone(), vec![*fill; *size]);
        }
        Step::Remove(key) => {
            plain.remove(key);
        }
        Step::Clear(prefix) => plain.retain(|key, _| !key.starts_with(&[*prefix])),
        Step::Freeze | Step::Restore => {}
    }
}

/// The state as a capture writes it.
fn written(map: &PagedMap) -> (StateRef, ChunkShelf) {
    let mut shelf = ChunkShelf::new();
    map.visit(&mut |list| {
        list.visit(&mut |name, bytes| {
            let bytes = bytes();
            assert!(name.names(&bytes));
            shelf.insert(name, bytes);
            Ok(())
        })?;
        assert!(list.name().names(&list.encoded()));
        shelf.insert(list.name(), list.encoded());
        Ok(())
    })
    .unwrap();
    (state_ref(map), shelf)
}

fn restored(map: &PagedMap) -> PagedMap {
    let (state, mut shelf) = written(map);
    let mut reader = StateReader::new(&state, &mut shelf);
    let copy = PagedMap::read(&mut reader).unwrap();
    reader.finish().unwrap();
    copy
}

fn digest(map: &PagedMap) -> Digest {
    state_ref(map).digest()
}

/// A digest that trusts no cached name.
fn digest_from_scratch(map: &PagedMap) -> Digest {
    let mut lists = Vec::new();
    for group in map.groups.values() {
        let mut names = Vec::new();
        for page in group.pages() {
            for index in 0..page.chunks() {
                names.push(ChunkRef::of(&Page::chunk(page, index)));
            }
        }
        lists.push(ChunkRef::of(&encode(&ChunkList(names))));
    }
    StateRef { bytes: 0, chunks: 0, lists }.digest()
}

fn check(map: &PagedMap) {
    check_routed_by_content(map);
    check_sorted(map);
    check_counted(map);
    for group in map.groups.values() {
        assert!(group.chunks() <= GROUP_CHUNKS_MAX);
        group.pages().iter().for_each(|page| check_bounded(page));
    }
    check_named_once(map);
}

fn check_routed_by_content(map: &PagedMap) {
    for (first, group) in &map.groups {
        assert_eq!(group.first(), &**first);
        for (at, page) in group.pages().iter().enumerate() {
            assert_eq!((group.route(page.first()), group.route(page.last())), (at, at));
        }
    }
}

fn check_sorted(map: &PagedMap) {
    let mut last: Option<&[u8]> = None;
    for (key, _) in map.iter() {
        assert!(last.is_none_or(|last| last < key));
        last = Some(key);
    }
}

fn check_bounded(page: &Page) {
    let short = (0..page.len()).all(|at| page.entry(at).1.len() <= INLINE_VALUE_BYTES_MAX);
    assert!(!page.is_empty());
    assert!(page.len() == 1 || (short && page.bytes() <= PAGE_BYTES_MAX));
}

fn check_counted(map: &PagedMap) {
    for group in map.groups.values() {
        let sum = |count: fn(&Page) -> usize| -> usize {
            group.pages().iter().map(|page| count(page)).sum()
        };
        assert_eq!(group.chunks(), sum(Page::chunks));
        assert_eq!(group.bytes(), sum(Page::bytes) as u64);
        assert_eq!(group.entries(), sum(Page::len) as u64);
    }
    assert_eq!(map.len(), map.iter().count() as u64);
}

fn check_named_once(map: &PagedMap) {
    assert_eq!(digest(map), digest_from_scratch(map));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layout_is_state_and_a_map_is_a_map_through_every_freeze(
        steps in vec(step(), 1..250),
        probes in vec(key(), 8),
    ) {
        let mut plain = BTreeMap::new();
        let mut left_alone = PagedMap::new();
        let mut moved = PagedMap::new();
        let mut frozen: Vec<(PagedMap, Digest)> = Vec::new();
        for step in &steps {
            apply(&mut left_alone, step);
            apply(&mut moved, step);
            apply_plain(&mut plain, step);
            match step {
                Step::Freeze => frozen.push((moved.clone(), digest(&moved))),
                Step::Restore => moved = restored(&moved),
                Step::Put(..) | Step::Remove(_) | Step::Clear(_) => {}
            }
        }
        check(&left_alone);
        check(&moved);
        prop_assert_eq!(digest(&left_alone), digest(&moved));
        prop_assert!(moved.iter().eq(plain.iter().map(|(key, value)| (&key[..], &value[..]))));
        for probe in &probes {
            prop_assert_eq!(moved.get(probe), plain.get(probe).map(|value| &value[..]));
            let expected = plain.range(probe.clone()..).map(|(key, value)| (&key[..], &value[..]));
            prop_assert!(moved.scan(probe).eq(expected));
        }
        for (view, then) in frozen {
            prop_assert_eq!(digest_from_scratch(&view), then);
        }
    }
}

/// Numbers that look random and are not.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|index| (index ^ 0x5bd1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn a_map_of_many_groups_keeps_its_layout_through_a_freeze() {
    let mut left_alone = PagedMap::new();
    let mut moved = PagedMap::new();
    let value = [1; 2500];
    for (index, number) in scattered(24_000).enumerate() {
        let key = number.to_be_bytes();
        left_alone.insert(&key, &value).unwrap();
        moved.insert(&key, &value).unwrap();
        if index % 6000 == 5999 {
            moved = restored(&moved);
        }
        if index % 5 == 4 {
            let gone = (number ^ 1).to_be_bytes();
            assert!(!left_alone.remove(&gone));
            assert!(left_alone.remove(&key) && moved.remove(&key));
        }
    }
    assert!(left_alone.groups.len() > 2);
    check(&left_alone);
    check(&moved);
    assert_eq!(digest(&left_alone), digest(&moved));
}

#[test]
fn keys_that_come_in_order_leave_full_pages() {
    let mut map = PagedMap::new();
    for index in 0..10_000_u32 {
        map.insert(&index.to_be_bytes(), &[0; 100]).unwrap();
    }
    let pages: usize = map.groups.values().map(|group| group.pages().len()).sum();
    assert!(map.bytes() / pages as u64 > 60_000);
}

#[test]
fn an_emptied_map_is_like_a_new_one() {
    let mut map = PagedMap::new();
    for number in scattered(5000) {
        map.insert(&number.to_be_bytes(), &[0; 500]).unwrap();
    }
    for number in scattered(5000) {
        assert!(map.remove(&number.to_be_bytes()));
    }
    assert!(map.is_empty());
    assert_eq!(digest(&map), digest(&PagedMap::new()));
}

#[test]
fn a_long_entry_is_refused_and_changes_nothing() {
    let mut map = PagedMap::new();
    map.insert(b"key", b"value").unwrap();
    let before = digest(&map);
    let key = vec![0; KEY_BYTES_MAX + 1];
    assert_eq!(map.insert(&key, b""), Err(EntryTooLong::Key { bytes: KEY_BYTES_MAX + 1 }));
    let value = vec![0; VALUE_BYTES_MAX + 1];
    let error = EntryTooLong::Value { bytes: VALUE_BYTES_MAX + 1 };
    assert_eq!(map.insert(b"key", &value), Err(error));
    assert_eq!(digest(&map), before);
}

#[test]
fn the_longest_entry_survives_a_freeze() {
    let mut map = PagedMap::new();
    map.insert(&[7; KEY_BYTES_MAX], &vec![3; VALUE_BYTES_MAX]).unwrap();
    let copy = restored(&map);
    assert_eq!(copy.get(&[7; KEY_BYTES_MAX]).unwrap().len(), VALUE_BYTES_MAX);
    assert_eq!(digest(&copy), digest(&map));
}

#[test]
fn only_what_changed_is_named_again() {
    let mut map = PagedMap::new();
    for number in scattered(20_000) {
        map.insert(&number.to_be_bytes(), &[0; 500]).unwrap();
    }
    let unnamed = |map: &PagedMap| -> usize {
        let pages = map.groups.values().flat_map(|group| group.pages());
        pages.filter(|page| !page.is_named()).count()
    };
    let _ = digest(&map);
    assert_eq!(unnamed(&map), 0);
    let view = map.clone();
    map.insert(b"one", b"change").unwrap();
    assert_eq!(unnamed(&map), 1);
    assert_eq!(unnamed(&view), 0);
    // Warming a view names the shared pages for the living map too.
    let view = map.clone();
    let _ = digest(&view);
    assert_eq!(unnamed(&map), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes of a page, changed anywhere, are refused or are another valid page; never a panic.
    #[test]
    fn a_changed_page_is_refused_or_sound(at in 0usize..600, byte in any::<u8>(), cut in 0usize..600) {
        let mut map = PagedMap::new();
        for index in 0..10_u8 {
            map.insert(&[index; 5], &[index; 40]).unwrap();
        }
        let page = Arc::clone(&map.groups.values().next().unwrap().pages()[0]);
        let mut bytes = Page::chunk(&page, 0).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % 3);
        let bytes = Bytes::from(bytes);
        let name = ChunkRef::of(&bytes);
        let list = Bytes::from(encode(&ChunkList(vec![name])));
        let mut shelf = ChunkShelf::new();
        let lists = vec![ChunkRef::of(&list)];
        shelf.insert(lists[0], list);
        shelf.insert(name, bytes.clone());
        let state = StateRef { bytes: bytes.len() as u64, chunks: 1, lists };
        if let Ok(read) = PagedMap::read(&mut StateReader::new(&state, &mut shelf)) {
            check(&read);
            prop_assert_eq!(digest(&read), state.digest());
        }
    }
}
