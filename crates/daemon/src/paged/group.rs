//! Decides which page holds which key, within a run of pages that is named by one chunk list.
//!
//! Everything here depends on the pages alone and on nothing that does not travel with them, so
//! that a map that was frozen and restored goes on exactly like one that was not.
//!
//! # Invariants
//!
//! * G1 (routed by content): a key belongs to the last page whose first key is not beyond it, and
//!   to the first page if there is none.
//! * G2 (counted): `chunks`, `bytes` and `entries` are the sums over the pages.
//! * G3 (named once): `name` is empty or names exactly this list; every change empties it.
//!
//! # Limits
//!
//! * [`GROUP_CHUNKS_MAX`]: a group with more chunks is cut in two.

use std::sync::{Arc, OnceLock};

use whimbrel_wire::{ChunkList, ChunkRef, encode};

use super::page::{
    INLINE_VALUE_BYTES_MAX, PAGE_BYTES_JOINED_MAX, PAGE_BYTES_MIN, Page, entry_bytes,
};

/// A group of more chunks than this is cut in two. Far below what a chunk list may hold, so that
/// one change costs little to name again.
pub(super) const GROUP_CHUNKS_MAX: usize = 256;

/// A run of pages.
#[derive(Debug, Default)]
pub(super) struct Group {
    pages: Vec<Arc<Page>>,
    chunks: usize,
    bytes: u64,
    entries: u64,
    name: OnceLock<ChunkRef>,
}

impl Clone for Group {
    /// A copy that is about to change: it has no name yet.
    fn clone(&self) -> Self {
        let Self { pages, chunks, bytes, entries, name: _ } = self;
        let (pages, name) = (pages.clone(), OnceLock::new());
        Self { pages, chunks: *chunks, bytes: *bytes, entries: *entries, name }
    }
}

/// What a change did to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether the key was there before.
    pub(super) known: bool,
    /// Whether the first page was involved, so that the first key may be another.
    pub(super) at_front: bool,
}

impl Group {
    /// The group of these restored pages under this name.
    pub(super) fn restored(pages: Vec<Arc<Page>>, name: ChunkRef) -> Self {
        let mut group = Self { pages, ..Self::default() };
        group.count();
        group.name = OnceLock::from(name);
        group
    }

    fn of(pages: Vec<Arc<Page>>) -> Self {
        let mut group = Self { pages, ..Self::default() };
        group.count();
        group
    }

    fn count(&mut self) {
        self.chunks = self.pages.iter().map(|page| page.chunks()).sum();
        self.bytes = self.pages.iter().map(|page| page.bytes() as u64).sum();
        self.entries = self.pages.iter().map(|page| page.len() as u64).sum();
    }

    pub(super) fn pages(&self) -> &[Arc<Page>] {
        &self.pages
    }

    pub(super) fn chunks(&self) -> usize {
        self.chunks
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn first(&self) -> &[u8] {
        self.pages.first().map_or(&[], |page| page.first())
    }

    /// The page to which `key` belongs (G1); zero for a group of nothing.
    pub(super) fn route(&self, key: &[u8]) -> usize {
        self.pages.partition_point(|page| page.first() <= key).saturating_sub(1)
    }

    pub(super) fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let page = self.pages.get(self.route(key))?;
        page.find(key).ok().map(|index| page.entry(index).1)
    }

    /// The chunk list that names these pages, as it is stored.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let names = self.pages.iter().flat_map(|page| page.names().iter().copied());
        let mut list = Vec::with_capacity(self.chunks);
        list.extend(names);
        encode(&ChunkList(list))
    }

    /// The name of that list; computed once.
    pub(super) fn name(&self) -> ChunkRef {
        if let Some(name) = self.name.get() {
            return *name;
        }
        // Pages first: whoever needs this name at the same moment waits for one page at most.
        for page in &self.pages {
            page.names();
        }
        *self.name.get_or_init(|| ChunkRef::of(&self.encoded()))
    }

    /// Gives `key` a value.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Change {
        self.name.take();
        let at = self.route(key);
        let Some(page) = self.pages.get(at) else {
            self.splice(0, 0, vec![Page::single(key, value)]);
            return Change { known: false, at_front: true };
        };
        let found = page.find(key);
        let long = value.len() > INLINE_VALUE_BYTES_MAX;
        match (found, page.is_long()) {
            (Ok(_), true) => self.splice(at, 1, vec![Page::single(key, value)]),
            (Ok(index), false) if long => self.put_long(at, index, index + 1, key, value),
            (Err(index), false) if long => self.put_long(at, index, index, key, value),
            (Ok(index), false) => self.replace(at, index, key, value),
            (Err(index), false) => self.insert(at, index, key, value),
            (Err(index), true) => self.put_beside(at + index, long, key, value),
        }
        Change { known: found.is_ok(), at_front: at == 0 }
    }

    /// A long value takes the place of the entries from `left` to `right` of an ordinary page.
    fn put_long(&mut self, at: usize, left: usize, right: usize, key: &[u8], value: &[u8]) {
        let page = &self.pages[at];
        let parts = [page.part(0..left), Page::single(key, value), page.part(right..page.len())];
        self.splice(at, 1, parts.into_iter().filter(|part| !part.is_empty()).collect());
    }

    /// A key beside a long value goes to the front of the page at `at` if that one takes it.
    fn put_beside(&mut self, at: usize, long: bool, key: &[u8], value: &[u8]) {
        let welcome = self.pages.get(at).is_some_and(|page| !long && !page.is_long());
        if welcome {
            self.insert(at, 0, key, value);
        } else {
            self.splice(at, 0, vec![Page::single(key, value)]);
        }
    }

    fn replace(&mut self, at: usize, index: usize, key: &[u8], value: &[u8]) {
        let old = self.pages[at].entry(index).1.len();
        if !self.pages[at].fits(value.len().saturating_sub(old)) {
            let at = self.cut(at, key);
            let index = self.pages[at].find(key).unwrap_or_else(|index| index);
            self.replace_in_place(at, index, value);
        } else {
            self.replace_in_place(at, index, value);
        }
    }

    fn replace_in_place(&mut self, at: usize, index: usize, value: &[u8]) {
        let page = Arc::make_mut(&mut self.pages[at]);
        let before = page.bytes() as u64;
        page.replace(index, value);
        self.bytes = self.bytes + page.bytes() as u64 - before;
    }

    fn insert(&mut self, at: usize, index: usize, key: &[u8], value: &[u8]) {
        let page = &self.pages[at];
        if page.fits(entry_bytes(key, value)) {
            self.insert_in_place(at, index, key, value);
        } else if index == page.len() {
            // Keys that come in order leave full pages behind them.
            self.splice(at + 1, 0, vec![Page::single(key, value)]);
        } else {
            let at = self.cut(at, key);
            let index = self.pages[at].find(key).unwrap_or_else(|index| index);
            self.insert_in_place(at, index, key, value);
        }
    }

    fn insert_in_place(&mut self, at: usize, index: usize, key: &[u8], value: &[u8]) {
        let page = Arc::make_mut(&mut self.pages[at]);
        page.insert(index, key, value);
        self.bytes += entry_bytes(key, value) as u64;
        self.entries += 1;
    }

    /// Cuts the page at `at` in two and says which half `key` belongs to.
    fn cut(&mut self, at: usize, key: &[u8]) -> usize {
        let page = &self.pages[at];
        let middle = page.middle();
        let (left, right) = (page.part(0..middle), page.part(middle..page.len()));
        let half = at + usize::from(right.first() <= key);
        self.splice(at, 1, vec![left, right]);
        half
    }

    /// Takes `key` out.
    pub(super) fn remove(&mut self, key: &[u8]) -> Change {
        let at = self.route(key);
        let found = self.pages.get(at).and_then(|page| page.find(key).ok());
        let change = Change { known: found.is_some(), at_front: at == 0 };
        let Some(index) = found else { return change };
        self.name.take();
        if self.pages[at].len() == 1 {
            self.splice(at, 1, Vec::new());
            return change;
        }
        let page = Arc::make_mut(&mut self.pages[at]);
        let before = page.bytes() as u64;
        page.remove(index);
        self.bytes = self.bytes + page.bytes() as u64 - before;
        self.entries -= 1;
        let small = page.bytes() < PAGE_BYTES_MIN;
        // With the page after it or, if that is too large, with the page before it.
        if small && !self.join(at) && at > 0 {
            self.join(at - 1);
        }
        change
    }

    /// Joins the page at `at` to the one after it, if the two stay small.
    fn join(&mut self, at: usize) -> bool {
        let (Some(page), Some(next)) = (self.pages.get(at), self.pages.get(at + 1)) else {
            return false;
        };
        let small = page.bytes() + next.bytes() <= PAGE_BYTES_JOINED_MAX;
        if !small || page.is_long() || next.is_long() {
            return false;
        }
        let joined = page.joined(next);
        self.splice(at, 2, vec![joined]);
        true
    }

    /// Puts `new` pages in the place of `old` ones and counts again.
    fn splice(&mut self, at: usize, old: usize, new: Vec<Page>) {
        for page in &self.pages[at..at + old] {
            self.chunks -= page.chunks();
            self.bytes -= page.bytes() as u64;
            self.entries -= page.len() as u64;
        }
        for page in &new {
            self.chunks += page.chunks();
            self.bytes += page.bytes() as u64;
            self.entries += page.len() as u64;
        }
        self.pages.splice(at..at + old, new.into_iter().map(Arc::new));
    }

    /// The second half of a group that has grown too large; it stays with the first.
    pub(super) fn overflow(&mut self) -> Option<Self> {
        if self.chunks <= GROUP_CHUNKS_MAX || self.pages.len() < 2 {
            return None;
        }
        let (mut at, mut seen) = (0, 0);
        while seen < self.chunks / 2 {
            seen += self.pages[at].chunks();
            at += 1;
        }
        let right = self.pages.split_off(at.clamp(1, self.pages.len() - 1));
        self.name.take();
        self.count();
        Some(Self::of(right))
    }
}
