//! Decides how a run of entries lies in one buffer that is its own chunk.
//!
//! A page is kept in exactly the bytes in which it travels, so that freezing one copies nothing
//! and restoring one keeps the layout. Which page holds which key is decided by
//! [`group`](super::group).
//!
//! ```text
//! page  = format u8 (1) ‖ length of the page u32 ‖ entry …       (numbers are little-endian)
//! entry = key length u16 ‖ value length u32 ‖ key ‖ value
//! ```
//!
//! # Invariants
//!
//! * A1 (sorted): the keys of a page rise strictly.
//! * A2 (bounded): a page is at most [`PAGE_BYTES_MAX`] long, or holds one entry.
//! * A3 (named once): `names` is empty or names exactly these bytes; every change empties it.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use whimbrel_wire::ChunkRef;
use whimbrel_wire::limits::CHUNK_BYTES_MAX;

use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A page of several entries is cut in two before it would grow longer than this.
pub(super) const PAGE_BYTES_MAX: usize = 64 * 1024;

/// A page that shrank below this is joined to a neighbour if the two stay small.
pub(super) const PAGE_BYTES_MIN: usize = 8 * 1024;

/// Two neighbours are joined only up to this, so that the next insertion does not cut them again.
pub(super) const PAGE_BYTES_JOINED_MAX: usize = 32 * 1024;

/// A longer value has a page for itself, which travels as a run of chunks.
pub(super) const INLINE_VALUE_BYTES_MAX: usize = 16 * 1024;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 5;
const ENTRY_HEADER_BYTES: usize = 6;

/// The room of a page is a multiple of this: little is wasted, and what one page leaves fits
/// another.
const GROWTH_BYTES: usize = 4 * 1024;

/// Some entries in the order of their keys.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    /// Where each entry starts. A page of several entries is shorter than 64 KiB.
    offsets: Vec<u16>,
    names: OnceLock<Box<[ChunkRef]>>,
}

impl Clone for Page {
    /// A copy that is about to change: it has no names yet.
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), offsets: self.offsets.clone(), names: OnceLock::new() }
    }
}

impl Page {
    pub(super) fn single(key: &[u8], value: &[u8]) -> Self {
        let mut page = Self::with_capacity(HEADER_BYTES + entry_bytes(key, value));
        page.push(key, value);
        page
    }

    fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&[0; 4]);
        let mut page = Self { bytes, offsets: Vec::new(), names: OnceLock::new() };
        page.note_length();
        page
    }

    /// How long the page is whose first chunk starts with `first`: then it is known how many
    /// chunks follow. None if it is no page.
    pub(super) fn length_from(first: &[u8]) -> Option<usize> {
        let (&format, rest) = first.split_first()?;
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let longest = HEADER_BYTES + ENTRY_HEADER_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;
        (format == FORMAT && length <= longest).then_some(length)
    }

    /// The page in `bytes`, whose chunks have these `names`; none if it breaks A1 or A2.
    pub(super) fn parse(bytes: Vec<u8>, names: Box<[ChunkRef]>) -> Option<Self> {
        if Self::length_from(&bytes)? != bytes.len() {
            return None;
        }
        let mut offsets = Vec::new();
        let mut at = HEADER_BYTES;
        let mut before: Option<&[u8]> = None;
        let mut longest = 0;
        while at < bytes.len() {
            let (key, value) = checked_entry(&bytes, at)?;
            if before.is_some_and(|before| before >= key) {
                return None;
            }
            offsets.push(u16::try_from(at).ok()?);
            at += entry_bytes(key, value);
            before = Some(key);
            longest = longest.max(value.len());
        }
        let bounded = offsets.len() == 1
            || (bytes.len() <= PAGE_BYTES_MAX && longest <= INLINE_VALUE_BYTES_MAX);
        if offsets.is_empty() || !bounded {
            return None;
        }
        offsets.shrink_to_fit();
        Some(Self { bytes, offsets, names: OnceLock::from(names) })
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// How many bytes it is long.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many chunks it travels as.
    pub(super) fn chunks(&self) -> usize {
        self.bytes.len().div_ceil(CHUNK_BYTES_MAX)
    }

    /// Whether it belongs to one long value.
    pub(super) fn is_long(&self) -> bool {
        self.len() == 1 && self.entry(0).1.len() > INLINE_VALUE_BYTES_MAX
    }

    /// The first key; empty for a page of nothing.
    pub(super) fn first(&self) -> &[u8] {
        if self.is_empty() { &[] } else { self.key(0) }
    }

    /// The last key; empty for a page of nothing.
    pub(super) fn last(&self) -> &[u8] {
        self.len().checked_sub(1).map_or(&[], |last| self.key(last))
    }

    /// Where `key` is, or where it would be.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.key(middle).cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// The entry at `index`.
    pub(super) fn entry(&self, index: usize) -> (&[u8], &[u8]) {
        let at = self.start(index);
        let (key_length, value_length) = lengths(&self.bytes, at);
        let key_at = at + ENTRY_HEADER_BYTES;
        let value_at = key_at + key_length;
        (&self.bytes[key_at..value_at], &self.bytes[value_at..value_at + value_length])
    }

    fn key(&self, index: usize) -> &[u8] {
        let at = self.start(index);
        let key_length = usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]));
        let key_at = at + ENTRY_HEADER_BYTES;
        &self.bytes[key_at..key_at + key_length]
    }

    fn start(&self, index: usize) -> usize {
        usize::from(self.offsets[index])
    }

    /// Where the entry at `index` lies.
    fn range(&self, index: usize) -> Range<usize> {
        let end = self.offsets.get(index + 1).map_or(self.bytes.len(), |&next| usize::from(next));
        self.start(index)..end
    }

    /// Whether an entry that is `more` bytes longer than what it replaces still fits.
    pub(super) fn fits(&self, more: usize) -> bool {
        self.bytes.len() + more <= PAGE_BYTES_MAX
    }

    /// Gives the entry at `index` another value. The caller made sure that it fits.
    pub(super) fn replace(&mut self, index: usize, value: &[u8]) {
        self.names.take();
        let Range { start, end } = self.range(index);
        let (key_length, old) = lengths(&self.bytes, start);
        let value_at = start + ENTRY_HEADER_BYTES + key_length;
        if old == value.len() {
            self.bytes[value_at..end].copy_from_slice(value);
            return;
        }
        self.make_room(value.len().saturating_sub(old));
        self.bytes[start + 2..start + 6].copy_from_slice(&length_word(value));
        self.resize_gap(value_at, old, value.len());
        self.bytes[value_at..value_at + value.len()].copy_from_slice(value);
        self.shift_offsets(index + 1, old, value.len());
        self.note_length();
    }

    /// Puts a new entry at `index`. The caller made sure that it fits and is in order.
    pub(super) fn insert(&mut self, index: usize, key: &[u8], value: &[u8]) {
        self.names.take();
        if index == self.len() {
            self.push(key, value);
            return;
        }
        let at = self.start(index);
        let more = entry_bytes(key, value);
        self.make_room(more);
        self.resize_gap(at, 0, more);
        write_entry(&mut self.bytes[at..at + more], key, value);
        self.offsets.insert(index, u16::try_from(at).unwrap_or(u16::MAX));
        self.shift_offsets(index + 1, 0, more);
        self.note_length();
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        let at = self.bytes.len();
        let more = entry_bytes(key, value);
        self.make_room(more);
        self.bytes.resize(at + more, 0);
        write_entry(&mut self.bytes[at..], key, value);
        self.offsets.push(u16::try_from(at).unwrap_or(u16::MAX));
        self.note_length();
    }

    /// Takes the entry at `index` out.
    pub(super) fn remove(&mut self, index: usize) {
        self.names.take();
        let range = self.range(index);
        let length = range.len();
        self.bytes.drain(range);
        self.offsets.remove(index);
        self.shift_offsets(index, length, 0);
        self.note_length();
    }

    /// The entries of `range` as a page of their own.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let from = self.offsets.get(range.start).map_or(self.bytes.len(), |&at| usize::from(at));
        let to = self.offsets.get(range.end).map_or(self.bytes.len(), |&at| usize::from(at));
        let mut page =
            Self::with_capacity((HEADER_BYTES + (to - from)).next_multiple_of(GROWTH_BYTES));
        page.bytes.extend_from_slice(&self.bytes[from..to]);
        // Wraps nowhere: each offset of the range is at least `from`.
        page.offsets
            .extend(self.offsets[range].iter().map(|&at| narrow(usize::from(at) - from) + HEADER));
        page.note_length();
        page
    }

    /// Where to cut a full page in two: after the entry that reaches its middle.
    pub(super) fn middle(&self) -> usize {
        let half = self.bytes.len() / 2;
        let index = self.offsets.partition_point(|&at| usize::from(at) < half);
        index.clamp(1, self.len().saturating_sub(1).max(1))
    }

    /// This page and the one after it as one. The caller made sure that they fit.
    pub(super) fn joined(&self, next: &Self) -> Self {
        let mut page = self.part(0..self.len());
        let shift = narrow(page.bytes.len() - HEADER_BYTES);
        page.bytes.extend_from_slice(&next.bytes[HEADER_BYTES..]);
        page.offsets.extend(next.offsets.iter().map(|&at| at + shift));
        page.note_length();
        page
    }

    /// The names of its chunks; computed once.
    pub(super) fn names(&self) -> &[ChunkRef] {
        self.names.get_or_init(|| self.bytes.chunks(CHUNK_BYTES_MAX).map(ChunkRef::of).collect())
    }

    #[cfg(test)]
    pub(super) fn is_named(&self) -> bool {
        self.names.get().is_some()
    }

    /// The bytes of one of its chunks, without a copy.
    pub(super) fn chunk(page: &Arc<Self>, index: usize) -> Bytes {
        let from = (index * CHUNK_BYTES_MAX).min(page.bytes.len());
        let to = (from + CHUNK_BYTES_MAX).min(page.bytes.len());
        Bytes::from_owner(Shared(Arc::clone(page))).slice(from..to)
    }

    fn make_room(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            let room = (self.bytes.len() + more).next_multiple_of(GROWTH_BYTES);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
    }

    /// Makes the gap at `at` grow or shrink from `old` to `new` bytes.
    fn resize_gap(&mut self, at: usize, old: usize, new: usize) {
        let end = self.bytes.len();
        if new > old {
            self.bytes.resize(end + new - old, 0);
        }
        self.bytes.copy_within(at + old..end, at + new);
        self.bytes.truncate(end + new - old);
    }

    fn shift_offsets(&mut self, from: usize, old: usize, new: usize) {
        // A page of one entry may be longer than an offset can say; then nothing is shifted.
        let shift = narrow(new).wrapping_sub(narrow(old));
        for offset in &mut self.offsets[from..] {
            *offset = offset.wrapping_add(shift);
        }
    }

    fn note_length(&mut self) {
        let word = length_word(&self.bytes);
        self.bytes[1..HEADER_BYTES].copy_from_slice(&word);
    }
}

/// A page that lends its bytes.
struct Shared(Arc<Page>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

const HEADER: u16 = HEADER_BYTES as u16;

/// An offset inside a page of several entries. Such a page is shorter than 64 KiB.
#[allow(clippy::cast_possible_truncation, reason = "a page of several entries is bounded by A2")]
const fn narrow(offset: usize) -> u16 {
    offset as u16
}

/// How long the entry of `key` and `value` is in a page.
pub(super) const fn entry_bytes(key: &[u8], value: &[u8]) -> usize {
    ENTRY_HEADER_BYTES + key.len() + value.len()
}

fn length_word(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

fn write_entry(room: &mut [u8], key: &[u8], value: &[u8]) {
    let key_length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    room[..2].copy_from_slice(&key_length.to_le_bytes());
    room[2..6].copy_from_slice(&length_word(value));
    room[6..6 + key.len()].copy_from_slice(key);
    room[6 + key.len()..].copy_from_slice(value);
}

fn lengths(bytes: &[u8], at: usize) -> (usize, usize) {
    let word = &bytes[at..at + ENTRY_HEADER_BYTES];
    let key = usize::from(u16::from_le_bytes([word[0], word[1]]));
    (key, u32::from_le_bytes([word[2], word[3], word[4], word[5]]) as usize)
}

/// The entry at `at` of bytes that may be anything.
fn checked_entry(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let rest = bytes.get(at..)?;
    let (word, rest) = rest.split_at_checked(ENTRY_HEADER_BYTES)?;
    let (key_length, value_length) = lengths(word, 0);
    let (key, rest) = rest.split_at_checked(key_length)?;
    let value = rest.get(..value_length)?;
    (key_length <= KEY_BYTES_MAX && value_length <= VALUE_BYTES_MAX).then_some((key, value))
}
