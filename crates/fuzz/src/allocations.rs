//! Decides how it is measured what a thread allocates at once.

#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; every call goes on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The allocator of the system, which remembers the largest request of each thread.
#[derive(Debug)]
pub struct Counting;

fn note(bytes: usize) {
    // A thread that is ending has no counter, and nobody asks for it.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

/// The largest request of this thread since it was last asked for; 0 without [`Counting`].
pub(crate) fn take_largest() -> usize {
    LARGEST.with(|largest| largest.replace(0))
}

// SAFETY: all calls go on to `System` as they are; noting a size allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}
