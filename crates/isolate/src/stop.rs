//! Asks a running program to stop, from another thread.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{AsContext, Memory};

/// Asks one program to stop. It stops at its next chance and stays asked until the request is taken
/// back.
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    asked: AtomicBool,
    /// Where compiled code looks, while there is a program of that kind.
    flag: Mutex<Option<Flag>>,
}

/// The first four bytes of the private memory of a program.
#[derive(Debug)]
struct Flag(*const AtomicU32);

// SAFETY: what it points to is only ever accessed atomically, and exists until the program that owns
// the memory has taken the flag out of its lock.
#[allow(unsafe_code, reason = "the request has to reach running code in its memory")]
unsafe impl Send for Flag {}

impl Flag {
    fn set(&self, asked: bool) {
        // SAFETY: see above; the memory neither moves nor shrinks, as its size is fixed, and it begins
        // at a page.
        #[allow(unsafe_code, reason = "the request has to reach running code in its memory")]
        let flag = unsafe { &*self.0 };
        flag.store(u32::from(asked), Ordering::SeqCst);
    }
}

impl StopHandle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { asked: AtomicBool::new(false), flag: Mutex::new(None) }))
    }

    /// Asks.
    pub fn ask(&self) {
        self.set(true);
    }

    /// Takes the request back.
    pub fn clear(&self) {
        self.set(false);
    }

    fn set(&self, asked: bool) {
        let flag = self.0.flag.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.asked.store(asked, Ordering::SeqCst);
        if let Some(flag) = &*flag {
            flag.set(asked);
        }
    }

    pub(crate) fn asked(&self) -> &AtomicBool {
        &self.0.asked
    }

    /// Compiled code looks at the beginning of this memory, whose size is fixed, from here until
    /// [`Self::forget_flag`].
    pub(crate) fn flag_at(&self, store: impl AsContext, memory: Memory) {
        let flag = Flag(memory.data_ptr(store).cast());
        let mut kept = self.0.flag.lock().unwrap_or_else(PoisonError::into_inner);
        flag.set(self.0.asked.load(Ordering::SeqCst));
        *kept = Some(flag);
    }

    /// The memory is about to go.
    pub(crate) fn forget_flag(&self) {
        *self.0.flag.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
