//! Where the memories of a running program lie, for whoever reads them while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::state::BLOCK_BYTES;

/// One memory of a program.
#[derive(Debug)]
pub(crate) struct Region {
    start: *const u64,
    length: usize,
}

// SAFETY: what it points to is only read through atomics, and exists while the region is on its ground.
#[allow(unsafe_code, reason = "memories are read while their program runs on another thread")]
unsafe impl Send for Region {}

impl Region {
    /// The memory that begins here. It must begin at a page and keep these bytes mapped for as long as
    /// the region is on its ground: engine memories neither shrink nor give pages back.
    pub(crate) fn new(start: *const u8, length: usize) -> Self {
        Self { start: start.cast(), length }
    }

    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Reads a block that the program may be writing; what is half written is read again later, because
    /// the write is noted.
    pub(super) fn read(&self, at: usize, into: &mut [u8; BLOCK_BYTES]) {
        if at + BLOCK_BYTES > self.length {
            return;
        }
        let (words, _) = into.as_chunks_mut::<8>();
        for (number, word) in words.iter_mut().enumerate() {
            // SAFETY: within the region, aligned because the region begins at a page; others write it
            // at most as plain memory of a program, and every value of it is a number.
            #[allow(unsafe_code, reason = "memories are read while their program runs")]
            let value = unsafe {
                AtomicU64::from_ptr(self.start.cast_mut().add(at / 8 + number))
                    .load(Ordering::Relaxed)
            };
            *word = value.to_ne_bytes();
        }
    }
}

/// The memories of one program, while there is one.
#[derive(Debug, Clone)]
pub(crate) struct Ground(Arc<Mutex<Vec<Region>>>);

impl Ground {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    /// Says where the memories lie from here on, with none when they are about to go.
    pub(crate) fn set(&self, regions: Vec<Region>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = regions;
    }

    /// Does something with the memories, which stay until it is done.
    pub(super) fn with(&self, mut what: impl FnMut(&[Region])) {
        what(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
