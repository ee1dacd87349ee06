//! Decides how an ordered map of byte keys is kept so that freezing it costs next to nothing.
//!
//! A [`PagedMap`] is a persistent index of groups of pages. A clone shares all of them; whoever
//! changes a shared page copies that page first. The names of pages and of their lists are
//! computed once and shared too, so that naming the whole state costs in proportion to what
//! changed.
//!
//! # Invariants
//!
//! * P1 (layout is state): where pages and groups begin is a function of the operations since
//!   birth, travels as the cuts between chunks and lists, and is all that later operations look
//!   at. A restored map therefore goes on to the same digests as one that never stopped.
//! * P2 (routed by content): the index key of a group is its first key.
//!
//! # Limits
//!
//! * [`KEY_BYTES_MAX`], [`VALUE_BYTES_MAX`]: longer entries are refused and nothing changes.

use bytes::Bytes;
use imbl::OrdMap;
use std::sync::Arc;
use thiserror::Error;
use whimbrel_wire::ChunkRef;

use super::group::{Change, GROUP_CHUNKS_MAX, Group};
use super::page::Page;
use crate::capture::{ChunkVisitor, FrozenList, FrozenState, ListVisitor, SinkError};
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::restore::{RestoreError, StateReader};

/// An ordered map of byte keys whose clones are frozen views.
#[derive(Clone, Debug, Default)]
pub struct PagedMap {
    /// By first key.
    groups: OrdMap<Bytes, Arc<Group>>,
    entries: u64,
}

/// An entry that a map does not take.
///
/// Fault: caller. Changed: nothing. Again: with a shorter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryTooLong {
    /// The key is longer than [`KEY_BYTES_MAX`].
    #[error("the key of {bytes} bytes is longer than {KEY_BYTES_MAX}")]
    Key {
        /// How long.
        bytes: usize,
    },
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value of {bytes} bytes is longer than {VALUE_BYTES_MAX}")]
    Value {
        /// How long.
        bytes: usize,
    },
}

/// Entries in order; see [`PagedMap::scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    groups: imbl::ordmap::RangedIter<'a, Bytes, Arc<Group>, imbl::shared_ptr::DefaultSharedPtr>,
    pages: std::slice::Iter<'a, Arc<Page>>,
    page: Option<&'a Page>,
    index: usize,
}

impl PagedMap {
    /// A map of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// How many bytes all pages hold: the size of a snapshot. Costs in proportion to the number of
    /// groups, which is small.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.groups.values().map(|group| group.bytes()).sum()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.groups.get_prev(key)?.1.value(key)
    }

    /// Gives `key` a value and says whether it had one before.
    ///
    /// # Errors
    ///
    /// [`EntryTooLong`]; nothing has changed.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<bool, EntryTooLong> {
        if key.len() > KEY_BYTES_MAX {
            return Err(EntryTooLong::Key { bytes: key.len() });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(EntryTooLong::Value { bytes: value.len() });
        }
        let Some(index) = self.route(key) else {
            let mut group = Group::default();
            group.put(key, value);
            self.groups.insert(Bytes::copy_from_slice(key), Arc::new(group));
            self.entries = 1;
            return Ok(false);
        };
        let Some(group) = self.groups.get_mut(&index) else { return Ok(false) };
        let group = Arc::make_mut(group);
        let change = group.put(key, value);
        self.entries += u64::from(!change.known);
        if let Some(right) = group.overflow() {
            self.groups.insert(Bytes::copy_from_slice(right.first()), Arc::new(right));
        }
        self.settle(index, change);
        Ok(change.known)
    }

    /// Takes `key` out and says whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        // A key that is not there must not cost a copy of a shared group.
        if self.get(key).is_none() {
            return false;
        }
        let Some(index) = self.route(key) else { return false };
        let Some(group) = self.groups.get_mut(&index) else { return false };
        let change = Arc::make_mut(group).remove(key);
        self.entries -= u64::from(change.known);
        self.settle(index, change);
        change.known
    }

    /// All entries whose keys are not before `from`, in order.
    #[must_use]
    pub fn scan<'a>(&'a self, from: &[u8]) -> Scan<'a> {
        let start = self.groups.get_prev(from).map(|(first, _)| first.clone());
        let mut groups = match &start {
            Some(first) => self.groups.range(first.clone()..),
            None => self.groups.range(Bytes::new()..),
        };
        let Some((_, group)) = groups.next() else {
            return Scan { groups, pages: [].iter(), page: None, index: 0 };
        };
        let mut pages = group.pages()[group.route(from)..].iter();
        let page = pages.next().map(|page| &**page);
        let index = page.map_or(0, |page| page.find(from).unwrap_or_else(|index| index));
        Scan { groups, pages, page, index }
    }

    /// All entries in order.
    #[must_use]
    pub fn iter(&self) -> Scan<'_> {
        self.scan(&[])
    }

    /// The index key of the group to which `key` belongs.
    fn route(&self, key: &[u8]) -> Option<Bytes> {
        let found = self.groups.get_prev(key).or_else(|| self.groups.get_next(key));
        found.map(|(first, _)| first.clone())
    }

    /// Restores P2 after a change to the group under `index`.
    fn settle(&mut self, index: Bytes, change: Change) {
        if !change.at_front {
            return;
        }
        let Some(group) = self.groups.get(&index) else { return };
        if group.first() == &*index && group.entries() > 0 {
            return;
        }
        let Some(group) = self.groups.remove(&index) else { return };
        if group.entries() > 0 {
            self.groups.insert(Bytes::copy_from_slice(group.first()), group);
        }
    }

    /// The map that `state` describes, page by page.
    pub(crate) fn read(state: &mut StateReader<'_>) -> Result<Self, RestoreError> {
        let mut map = Self::new();
        let mut last: Option<Bytes> = None;
        while let Some(list) = state.next_list()? {
            let mut pages = Vec::new();
            while let Some((name, first)) = state.next_chunk()? {
                let page = Arc::new(read_page(state, name, first)?);
                if last.as_ref().is_some_and(|last| **last >= *page.first()) {
                    return Err(RestoreError::Malformed("the pages are not in order"));
                }
                last = Some(Bytes::copy_from_slice(page.last()));
                pages.push(page);
            }
            let group = Group::restored(pages, list);
            if group.entries() == 0 {
                return Err(RestoreError::Malformed("a list of pages is empty"));
            }
            map.entries += group.entries();
            map.groups.insert(Bytes::copy_from_slice(group.first()), Arc::new(group));
        }
        Ok(map)
    }
}

/// The page that begins with the chunk `first`.
fn read_page(
    state: &mut StateReader<'_>,
    name: ChunkRef,
    first: Bytes,
) -> Result<Page, RestoreError> {
    const BROKEN: RestoreError = RestoreError::Malformed("a page is broken");
    let length = Page::length_from(&first).ok_or(BROKEN)?;
    let mut names = vec![name];
    let mut bytes = Vec::from(first);
    while bytes.len() < length {
        let (name, more) = state.next_chunk()?.ok_or(BROKEN)?;
        names.push(name);
        bytes.extend_from_slice(&more);
    }
    let page = Page::parse(bytes, names.into_boxed_slice()).ok_or(BROKEN)?;
    // The cuts between chunks are part of the layout: a run that is cut otherwise is not ours.
    if page.chunks() == page.names().len() { Ok(page) } else { Err(BROKEN) }
}

impl<'a> Iterator for Scan<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let page = self.page?;
            if self.index < page.len() {
                self.index += 1;
                return Some(page.entry(self.index - 1));
            }
            self.index = 0;
            self.page = self.pages.next().map(|page| &**page);
            if self.page.is_none() {
                let (_, group) = self.groups.next()?;
                self.pages = group.pages().iter();
                self.page = self.pages.next().map(|page| &**page);
            }
        }
    }
}

impl FrozenState for PagedMap {
    fn visit(&self, visitor: &mut ListVisitor<'_>) -> Result<(), SinkError> {
        self.groups.values().try_for_each(|group| visitor(&**group))
    }
}

impl FrozenList for Group {
    fn name(&self) -> ChunkRef {
        Self::name(self)
    }

    fn encoded(&self) -> Bytes {
        Self::encoded(self).into()
    }

    fn chunks(&self) -> u64 {
        Self::chunks(self) as u64
    }

    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn visit(&self, visitor: &mut ChunkVisitor<'_>) -> Result<(), SinkError> {
        for page in self.pages() {
            for (index, name) in page.names().iter().enumerate() {
                visitor(*name, &|| Page::chunk(page, index))?;
            }
        }
        Ok(())
    }
}

// A list must be a valid chunk list whatever one insertion adds to a full group.
const _: () = {
    let longest = VALUE_BYTES_MAX.div_ceil(whimbrel_wire::limits::CHUNK_BYTES_MAX) + 3;
    assert!(GROUP_CHUNKS_MAX + longest <= whimbrel_wire::limits::CHUNK_LIST_LENGTH_MAX);
};

#[cfg(test)]
mod tests;
