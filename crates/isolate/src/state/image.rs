//! A linear memory without the blocks that are all zero.

use crate::module::Digest;
use crate::state::{MemoryTree, PAGE_BYTES};

/// The size of a block.
pub const BLOCK_BYTES: usize = 4 << 10;

/// A linear memory: its size, and its blocks that are not all zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryImage {
    /// Its size, in pages of 64 KiB.
    pub pages: u64,
    /// The largest size that its type allows, in pages; `u64::MAX` if it names none.
    pub pages_max: u64,
    /// The numbers of the blocks, ascending.
    numbers: Vec<u64>,
    /// The blocks, one after the other.
    bytes: Vec<u8>,
}

impl MemoryImage {
    /// The image of a memory with these bytes, which must be whole pages.
    #[must_use]
    pub fn of(bytes: &[u8], pages_max: u64) -> Self {
        let mut image = Self::empty(bytes.len() as u64 / PAGE_BYTES, pages_max);
        image.append(0, bytes);
        image
    }

    /// Adds the blocks of `bytes` that are not all zero. They begin at the address `address`, which
    /// is that of a block after all that were added before, and lie within the pages.
    pub(crate) fn append(&mut self, address: u64, bytes: &[u8]) {
        let first = address / BLOCK_BYTES as u64;
        let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
        let mut run = 0..0;
        for (at, block) in blocks.iter().enumerate() {
            if is_zero(block) {
                continue;
            }
            self.numbers.push(first + at as u64);
            let start = at * BLOCK_BYTES;
            if start != run.end {
                self.bytes.extend_from_slice(&bytes[run]);
                run = start..start;
            }
            run.end = start + BLOCK_BYTES;
        }
        self.bytes.extend_from_slice(&bytes[run]);
    }

    /// An image of these blocks. `None` unless they are ascending, within the pages, complete and not
    /// all zero.
    pub(super) fn from_blocks(
        (pages, pages_max): (u64, u64),
        numbers: Vec<u64>,
        bytes: Vec<u8>,
    ) -> Option<Self> {
        let ascending = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = numbers.last().is_none_or(|last| last / (PAGE_BYTES / 4096) < pages);
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let complete = rest.is_empty() && blocks.len() == numbers.len();
        let no_zero = || !blocks.iter().any(is_zero);
        (ascending && inside && complete && no_zero()).then_some(Self {
            pages,
            pages_max,
            numbers,
            bytes,
        })
    }

    /// The image of a memory that is all zero.
    #[must_use]
    pub fn empty(pages: u64, pages_max: u64) -> Self {
        Self { pages, pages_max, ..Self::default() }
    }

    /// An image of blocks that were kept as they should be.
    pub(super) fn from_kept(
        (pages, pages_max): (u64, u64),
        numbers: Vec<u64>,
        bytes: Vec<u8>,
    ) -> Self {
        Self { pages, pages_max, numbers, bytes }
    }

    /// The numbers of the blocks, ascending.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// The blocks that are not all zero, by their numbers.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &[u8; BLOCK_BYTES])> {
        self.numbers.iter().copied().zip(self.bytes.as_chunks::<BLOCK_BYTES>().0)
    }

    /// All blocks, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the blocks into a memory that is all zero. Blocks beyond its end are left out.
    pub fn place(&self, memory: &mut [u8]) {
        for (number, block) in self.blocks() {
            let start = number as usize * BLOCK_BYTES;
            if let Some(room) = memory.get_mut(start..start + BLOCK_BYTES) {
                room.copy_from_slice(block);
            }
        }
    }

    /// The hash of the memory, see [`MemoryTree`].
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut tree = MemoryTree::new();
        self.blocks().for_each(|(number, block)| tree.set(number, block));
        tree.root()
    }
}

pub(super) fn is_zero(block: &[u8; BLOCK_BYTES]) -> bool {
    let (words, _) = block.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |any, byte| any | byte) == 0)
}
