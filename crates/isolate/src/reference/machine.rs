//! The running program of the interpreter: its frames, memories and tables, and what they cost.

use std::sync::{Arc, OnceLock};

use crate::host::Trap;
use crate::module::Module;
use crate::reference::code::Code;
use crate::reference::translate::translate;
use crate::state::{Limits, PAGE_BYTES};
use crate::value::Value;

/// The code of all functions of a module, translated when they are first called.
#[derive(Debug)]
pub(crate) struct Program {
    module: Arc<Module>,
    codes: Vec<OnceLock<Code>>,
}

impl Program {
    pub(super) fn new(module: &Arc<Module>) -> Self {
        let defined = module.function_count() - module.functions_imported();
        let codes = (0..defined).map(|_| OnceLock::new()).collect();
        Self { module: Arc::clone(module), codes }
    }

    pub(super) fn code(&self, function: u32) -> &Code {
        let index = (function - self.module.functions_imported()) as usize;
        self.codes[index].get_or_init(|| translate(&self.module, function))
    }
}

/// A function that is being executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activation {
    pub(super) function: u32,
    /// The next instruction; of a caller, the call itself.
    pub(super) at: u32,
    /// Where its slots begin.
    pub(super) base: usize,
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) bytes: Vec<u8>,
    /// The most pages by its type, and by its type and the limits.
    pub(super) pages_declared: u64,
    pub(super) pages_max: u64,
    pub(super) memory64: bool,
}

impl Memory {
    /// Grows by this many pages; the size before, or `None` if it may not grow so far.
    pub(super) fn grow(&mut self, pages: u64) -> Option<u64> {
        let before = self.bytes.len() as u64 / PAGE_BYTES;
        let after = before.checked_add(pages).filter(|after| *after <= self.pages_max)?;
        let length = usize::try_from(after.checked_mul(PAGE_BYTES)?).ok()?;
        let more = length - self.bytes.len();
        self.bytes.try_reserve_exact(more).ok()?;
        self.bytes.resize(length, 0);
        Some(before)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    /// References as slots.
    pub(super) elements: Vec<u64>,
    /// The most elements by its type, and by its type and the limits.
    pub(super) elements_declared: u64,
    pub(super) elements_max: u64,
    pub(super) table64: bool,
}

impl Table {
    pub(super) fn grow(&mut self, by: u64, with: u64) -> Option<u64> {
        let before = self.elements.len() as u64;
        let after = before.checked_add(by).filter(|after| *after <= self.elements_max)?;
        self.elements.resize(usize::try_from(after).ok()?, with);
        Some(before)
    }
}

/// A segment as it is used at run time.
#[derive(Debug)]
pub(super) struct Segment<T> {
    pub(super) entries: Vec<T>,
    pub(super) dropped: bool,
}

impl<T> Segment<T> {
    /// What is left of it: nothing once it was dropped.
    pub(super) fn entries(&self) -> &[T] {
        if self.dropped { &[] } else { &self.entries }
    }
}

/// Everything that the program knows, in the form in which it is fast.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) slots: Vec<u64>,
    /// The high halves of the slots, if the module has vectors.
    pub(super) high: Vec<u64>,
    pub(super) vectors: bool,
    pub(super) frames: Vec<Activation>,
    pub(super) globals: Vec<u64>,
    pub(super) globals_high: Vec<u64>,
    pub(super) memories: Vec<Memory>,
    pub(super) tables: Vec<Table>,
    pub(super) elements: Vec<Segment<u64>>,
    pub(super) data: Vec<Segment<u8>>,
    pub(super) limits: Limits,
}

impl Machine {
    /// Begins a call whose arguments lie from `base` on.
    pub(super) fn enter(&mut self, code: &Code, function: u32, base: usize) -> Result<(), Trap> {
        if self.frames.len() >= self.limits.frames_max as usize {
            return Err(Trap::StackOverflow);
        }
        self.reserve(code, base);
        self.frames.push(Activation { function, at: 0, base });
        Ok(())
    }

    /// Makes room for a frame and sets its declared locals to zero.
    pub(super) fn reserve(&mut self, code: &Code, base: usize) {
        let end = base + code.slots as usize;
        self.have_slots(end);
        let declared = base + code.params as usize..base + code.locals as usize;
        self.slots[declared.clone()].fill(0);
        if self.vectors {
            self.high[declared].fill(0);
        }
    }

    /// Makes sure that there are so many slots.
    pub(super) fn have_slots(&mut self, count: usize) {
        if self.slots.len() < count {
            self.slots.resize(count.next_power_of_two(), 0);
        }
        if self.vectors && self.high.len() < self.slots.len() {
            self.high.resize(self.slots.len(), 0);
        }
    }

    /// The two halves of a slot.
    pub(super) fn halves(&self, at: usize) -> (u64, u64) {
        let half = |slots: &[u64]| slots.get(at).copied().unwrap_or(0);
        (half(&self.slots), half(&self.high))
    }

    /// Puts a value into a slot that exists.
    pub(super) fn put(&mut self, at: usize, value: Value) {
        let (low, high) = value.to_slots();
        self.slots[at] = low;
        if self.vectors {
            self.high[at] = high;
        }
    }
}

/// `entries[at..at + count]`, if it exists.
pub(super) fn slice<T>(entries: &[T], at: u64, count: u64) -> Option<&[T]> {
    let at = usize::try_from(at).ok()?;
    entries.get(at..at.checked_add(usize::try_from(count).ok()?)?)
}

/// `entries[at..at + count]`, if it exists.
pub(super) fn slice_mut<T>(entries: &mut [T], at: u64, count: u64) -> Option<&mut [T]> {
    let at = usize::try_from(at).ok()?;
    entries.get_mut(at..at.checked_add(usize::try_from(count).ok()?)?)
}

/// Copies within one list, as if over a third place.
pub(super) fn copy_within<T: Copy>(
    entries: &mut [T],
    to: u64,
    from: u64,
    count: u64,
) -> Option<()> {
    slice(entries, to, count)?;
    slice(entries, from, count)?;
    entries.copy_within(from as usize..(from + count) as usize, to as usize);
    Some(())
}

/// Copies from one list into another.
pub(super) fn copy_between<T: Copy>(
    (into, to): (&mut [T], u64),
    (source, from): (&[T], u64),
    count: u64,
) -> Option<()> {
    let source = slice(source, from, count)?;
    slice_mut(into, to, count)?.copy_from_slice(source);
    Some(())
}
