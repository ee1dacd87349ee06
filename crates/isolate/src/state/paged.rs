//! A memory kept in blocks that frozen views share.
//!
//! A view is taken by cloning, which costs one count for each 64 blocks; what is written afterwards is
//! copied, block by block. Two views of one memory are compared by which blocks they share.

use std::sync::Arc;

use crate::state::image::is_zero;
use crate::state::{BLOCK_BYTES, MemoryImage, PAGE_BYTES};

type Block = [u8; BLOCK_BYTES];

/// How many blocks share one count.
const GROUP_BLOCKS: usize = 64;

type Group = [Option<Arc<Block>>; GROUP_BLOCKS];

const BLOCKS_TO_A_PAGE: u64 = PAGE_BYTES / BLOCK_BYTES as u64;

/// A linear memory in blocks of 4 KiB; what is all zero is not kept.
#[derive(Debug, Clone, Default)]
pub struct PagedMemory {
    /// Its size, in pages of 64 KiB.
    pub pages: u64,
    /// The largest size that its type allows, in pages; `u64::MAX` if it names none.
    pub pages_max: u64,
    groups: Vec<Arc<Group>>,
}

impl PagedMemory {
    /// A memory that is all zero.
    #[must_use]
    pub fn new(pages: u64, pages_max: u64) -> Self {
        let mut memory = Self { pages_max, ..Self::default() };
        memory.grow(pages);
        memory
    }

    /// Makes it this large; memories do not shrink.
    pub(crate) fn grow(&mut self, pages: u64) {
        self.pages = self.pages.max(pages);
        let groups = self.blocks().div_ceil(GROUP_BLOCKS as u64) as usize;
        while self.groups.len() < groups {
            self.groups.push(Arc::new([const { None }; GROUP_BLOCKS]));
        }
    }

    /// How many blocks there are, with those that are all zero.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.pages * BLOCKS_TO_A_PAGE
    }

    /// What is in a block; `None` if it is all zero.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Block> {
        let (group, at) = place(number);
        self.groups.get(group)?[at].as_deref()
    }

    /// Puts a block in place of what was there. Beyond the end nothing is kept.
    pub fn set(&mut self, number: u64, bytes: &Block) {
        let (group, at) = place(number);
        let Some(group) = self.groups.get_mut(group) else { return };
        let kept = &mut Arc::make_mut(group)[at];
        if is_zero(bytes) {
            *kept = None;
        } else {
            match kept.as_mut().and_then(Arc::get_mut) {
                Some(room) => *room = *bytes,
                None => *kept = Some(Arc::new(*bytes)),
            }
        }
    }

    /// Whether a block holds exactly this.
    #[must_use]
    pub fn holds(&self, number: u64, bytes: &Block) -> bool {
        self.block(number).map_or_else(|| is_zero(bytes), |kept| kept == bytes)
    }

    /// The numbers of the blocks that are not shared with an earlier view of this memory: at least
    /// those that differ.
    #[must_use]
    pub fn changed_since(&self, earlier: &Self) -> Vec<u64> {
        let mut changed = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            let first = (number * GROUP_BLOCKS) as u64;
            match earlier.groups.get(number) {
                Some(before) if Arc::ptr_eq(before, group) => {}
                Some(before) => {
                    let pairs = group.iter().zip(before.iter()).enumerate();
                    let differ = pairs.filter(|(_, (one, two))| match (one, two) {
                        (None, None) => false,
                        (Some(one), Some(two)) => !Arc::ptr_eq(one, two),
                        _ => true,
                    });
                    changed.extend(differ.map(|(at, _)| first + at as u64));
                }
                None => {
                    let kept = group.iter().enumerate().filter(|(_, block)| block.is_some());
                    changed.extend(kept.map(|(at, _)| first + at as u64));
                }
            }
        }
        changed
    }

    /// The memory as an image, for a state.
    #[must_use]
    pub fn image(&self) -> MemoryImage {
        let mut numbers = Vec::new();
        let mut bytes = Vec::new();
        for number in 0..self.blocks() {
            if let Some(block) = self.block(number) {
                numbers.push(number);
                bytes.extend_from_slice(block);
            }
        }
        MemoryImage::from_kept((self.pages, self.pages_max), numbers, bytes)
    }
}

fn place(number: u64) -> (usize, usize) {
    (number as usize / GROUP_BLOCKS, number as usize % GROUP_BLOCKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_what_was_and_says_what_changed() {
        let mut memory = PagedMemory::new(8, u64::MAX);
        memory.set(3, &[1; BLOCK_BYTES]);
        memory.set(100, &[2; BLOCK_BYTES]);
        let before = memory.clone();
        memory.set(3, &[3; BLOCK_BYTES]);
        memory.set(100, &[0; BLOCK_BYTES]);
        memory.grow(9);
        memory.set(143, &[4; BLOCK_BYTES]);
        assert_eq!(memory.changed_since(&before), [3, 100, 143]);
        assert_eq!(before.block(3), Some(&[1; BLOCK_BYTES]));
        assert!(before.block(100).is_some() && memory.block(100).is_none());
        assert!(memory.holds(0, &[0; BLOCK_BYTES]) && !memory.holds(143, &[0; BLOCK_BYTES]));
        assert_eq!(memory.image().numbers(), [3, 143]);
    }
}
