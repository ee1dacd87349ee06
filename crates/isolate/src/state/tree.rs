//! The hash of a memory as a tree over its blocks, so that only what changed is hashed again.
//!
//! A leaf is the BLAKE3 of a block of 4 KiB, a node the BLAKE3 of the 64 hashes under it. What is all
//! zero has a hash of zeros and costs nothing; it is not kept. The tree is high enough for 2^48
//! bytes, whatever the size of the memory, so growing changes no node.

use std::collections::BTreeMap;

use crate::module::Digest;
use crate::state::BLOCK_BYTES;

/// 64 children to a node.
const FAN_BITS: u32 = 6;

/// Levels above the leaves: 64^6 blocks of 4 KiB.
const LEVELS: usize = 6;

const ZERO: [u8; 32] = [0; 32];

/// The hashes of the blocks of one memory and of the nodes above them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryTree {
    /// By level, leaves first; what is all zero is absent.
    levels: [BTreeMap<u64, [u8; 32]>; LEVELS + 1],
    /// Leaves whose nodes above are not hashed yet.
    stale: Vec<u64>,
}

impl MemoryTree {
    /// The tree of a memory that is all zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what is in a block.
    pub fn set(&mut self, block: u64, bytes: &[u8; BLOCK_BYTES]) {
        if super::image::is_zero(bytes) {
            self.levels[0].remove(&block);
        } else {
            self.levels[0].insert(block, *blake3::hash(bytes).as_bytes());
        }
        self.stale.push(block);
    }

    /// The hash of the whole memory; zeros if it is all zero.
    pub fn root(&mut self) -> Digest {
        let mut stale = std::mem::take(&mut self.stale);
        for level in 1..=LEVELS {
            stale.iter_mut().for_each(|number| *number >>= FAN_BITS);
            stale.sort_unstable();
            stale.dedup();
            for node in &stale {
                self.hash_node(level, *node);
            }
        }
        Digest(self.levels[LEVELS].get(&0).copied().unwrap_or(ZERO))
    }

    fn hash_node(&mut self, level: usize, node: u64) {
        let first = node << FAN_BITS;
        let children = self.levels[level - 1].range(first..first + (1 << FAN_BITS));
        let mut bytes = [0_u8; 32 << FAN_BITS];
        let mut any = false;
        for (number, hash) in children {
            bytes[(number - first) as usize * 32..][..32].copy_from_slice(hash);
            any = true;
        }
        if any {
            // The level is part of what is hashed: a node is never taken for a block.
            let mut hasher = blake3::Hasher::new();
            hasher.update(&[level as u8]).update(&bytes);
            self.levels[level].insert(node, *hasher.finalize().as_bytes());
        } else {
            self.levels[level].remove(&node);
        }
    }
}
