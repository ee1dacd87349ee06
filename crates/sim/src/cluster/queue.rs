//! Decides what happens next: the earliest, and among those of one moment what was planned first.
//!
//! What is to happen lies still in a slot; only its moment and its number move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Happening;

/// All that is to happen.
#[derive(Default)]
pub(crate) struct Queue {
    /// When, the number of the plan, and in which slot.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Happening>>,
    free: Vec<usize>,
    count: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, happening: Happening) {
        self.count += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(happening);
                slot
            }
            None => {
                self.slots.push(Some(happening));
                self.slots.len() - 1
            }
        };
        self.order.push(Reverse((at, self.count, slot)));
    }

    /// The next one and its moment, if that is no later than `until`.
    pub(crate) fn pop_until(&mut self, until: u64) -> Option<(u64, Happening)> {
        let Reverse((at, _, slot)) = *self.order.peek()?;
        if at > until {
            return None;
        }
        self.order.pop();
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Happening> {
        self.slots.iter().flatten()
    }
}
