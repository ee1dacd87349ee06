//! Copies the memories of a program while it runs, so that at a stop only little is left to copy.
//!
//! [`Rounds`] keep a copy of each memory. A round takes over what was written since the one before;
//! the last one is made while the program stands still ([`crate::VmIsolate::capture_rounds`]), and then
//! the copy is the memory. What was written is told by the kernel where it can, and found by comparing
//! with the copy elsewhere; which of the two is found out when rounds begin.
//!
//! Nothing is missed, because the kernel protects a page again in the step in which it tells of it, and
//! only then is the page read: a block that differs from its copy was written after the kernel was last
//! asked, or lies where the kernel is not asked and everything is compared.
//!
//! # Limits
//!
//! * A copy costs as much memory as the program has, without what is all zero.

mod ground;
#[cfg(target_os = "linux")]
mod protect;

use crate::module::Digest;
use crate::state::{BLOCK_BYTES, MemoryImage, MemoryTree, PAGE_BYTES, PagedMemory, VmState};

pub(crate) use ground::{Ground, Region};
#[cfg(target_os = "linux")]
use protect::Protected;

/// How it is known what a program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// The kernel tells: pages are write-protected, and a write is noted without a signal.
    Kernel,
    /// Every block is compared with its copy.
    Comparison,
}

/// Everything that a program knows, with memories that later views share.
#[derive(Debug, Clone)]
pub struct PagedState {
    /// All but the memories, of which there are only the sizes.
    pub rest: VmState,
    /// The memories.
    pub memories: Vec<PagedMemory>,
    /// The hash of each memory, see [`MemoryTree`].
    pub roots: Vec<Digest>,
}

impl PagedState {
    /// The state in one piece.
    #[must_use]
    pub fn into_state(self) -> VmState {
        let memories = self.memories.iter().map(PagedMemory::image).collect();
        VmState { memories, ..self.rest }
    }
}

/// What one round took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    /// Blocks that were looked at.
    pub looked_at: u64,
    /// Blocks that had changed.
    pub changed: u64,
}

/// One memory and its copy.
#[derive(Debug)]
struct Copied {
    memory: PagedMemory,
    tree: MemoryTree,
    /// What of it the kernel watches; none if it does not.
    #[cfg(target_os = "linux")]
    protected: Option<Protected>,
}

/// Copies of the memories of one program, brought up to date in rounds.
///
/// They belong to the isolate that made them: what they keep of it goes into the state of any other.
#[derive(Debug)]
pub struct Rounds {
    ground: Option<Ground>,
    copies: Vec<Copied>,
}

impl Rounds {
    /// Begins with nothing copied. On this ground the memories can be read while the program runs.
    pub(crate) fn new(ground: Option<Ground>, maxima: &[u64]) -> Self {
        let copy = |pages_max: &u64| Copied {
            memory: PagedMemory::new(0, *pages_max),
            tree: MemoryTree::new(),
            #[cfg(target_os = "linux")]
            protected: None,
        };
        Self { ground, copies: maxima.iter().map(copy).collect() }
    }

    /// How it is known what was written; the weakest of all memories.
    #[must_use]
    pub fn tracking(&self) -> Tracking {
        #[cfg(target_os = "linux")]
        if !self.copies.is_empty() && self.copies.iter().all(|copied| copied.protected.is_some()) {
            return Tracking::Kernel;
        }
        Tracking::Comparison
    }

    /// Takes over what was written since the last round, while the program runs. On the reference
    /// tier, and after the program is gone, there is nothing to read and nothing is taken over.
    pub fn round(&mut self) -> Round {
        let Some(ground) = self.ground.clone() else { return Round::default() };
        let mut sum = Round::default();
        ground.with(|regions| {
            for (copied, region) in self.copies.iter_mut().zip(regions) {
                let (start, length) = (region.start(), region.length());
                let round = copied.take((start, length), |at, into| region.read(at, into));
                sum.looked_at += round.looked_at;
                sum.changed += round.changed;
            }
        });
        sum
    }

    /// The last round of the memories, which stand still; images of their sizes, without blocks.
    pub(crate) fn last<'a>(
        &mut self,
        memories: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<MemoryImage> {
        let watched = self.ground.is_some();
        let last = |(copied, bytes): (&mut Copied, &[u8])| {
            let place = if watched { bytes.as_ptr() as usize } else { 0 };
            copied.take((place, bytes.len()), |at, into| {
                if let Some(block) = bytes.get(at..at + BLOCK_BYTES) {
                    into.copy_from_slice(block);
                }
            });
            MemoryImage::empty(copied.memory.pages, copied.memory.pages_max)
        };
        self.copies.iter_mut().zip(memories).map(last).collect()
    }

    /// The state of a program that stands still, of which `rest` is all but the memories.
    pub(crate) fn state(&mut self, rest: VmState) -> PagedState {
        let memories = self.copies.iter().map(|copied| copied.memory.clone()).collect();
        let roots = self.copies.iter_mut().map(|copied| copied.tree.root()).collect();
        PagedState { rest, memories, roots }
    }
}

impl Copied {
    /// Takes over what was written; `place` is where the memory lies and how long it is, at address 0
    /// if the kernel is not to be asked.
    fn take(
        &mut self,
        place: (usize, usize),
        read: impl Fn(usize, &mut [u8; BLOCK_BYTES]),
    ) -> Round {
        let blocks = (place.1 / BLOCK_BYTES) as u64;
        self.memory.grow(place.1 as u64 / PAGE_BYTES);
        let (written, compared_from) = self.written(place);
        let mut round = Round::default();
        let mut block = [0; BLOCK_BYTES];
        let ranges = written.into_iter().chain(std::iter::once(compared_from..blocks));
        for number in ranges.flatten() {
            read(number as usize * BLOCK_BYTES, &mut block);
            round.looked_at += 1;
            if !self.memory.holds(number, &block) {
                round.changed += 1;
                self.memory.set(number, &block);
                self.tree.set(number, &block);
            }
        }
        round
    }

    /// The blocks that the kernel says were written, and from where on all have to be compared. From
    /// here on the kernel notes what is written next.
    #[cfg(target_os = "linux")]
    fn written(&mut self, (start, length): (usize, usize)) -> (Vec<std::ops::Range<u64>>, u64) {
        if start == 0 || length == 0 {
            return (Vec::new(), 0);
        }
        if let Some(protected) = &mut self.protected
            && protected.covers(start, length)
            && let Ok(ranges) = protected.written()
        {
            return (ranges, (length / BLOCK_BYTES) as u64);
        }
        // Not protected yet, or it has moved or grown: first protect, then look at everything. The
        // old protection goes first, because a page has only one.
        self.protected = None;
        self.protected = Protected::new(start, length);
        (Vec::new(), 0)
    }

    #[cfg(not(target_os = "linux"))]
    fn written(&mut self, _: (usize, usize)) -> (Vec<std::ops::Range<u64>>, u64) {
        (Vec::new(), 0)
    }
}
