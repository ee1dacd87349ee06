//! Decides when a cell is woken: at the earliest moment that its seat names.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use whimbrel_protocol::Input;
use whimbrel_wire::{EntityId, Time};

use crate::cell::Work;
use crate::core::{Core, lock};

/// The longest sleep: a bound on what a missed notification can cost.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Who wants to be woken when.
#[derive(Default)]
pub(crate) struct Alarms {
    queue: Mutex<Queue>,
    earlier: Condvar,
}

#[derive(Default)]
struct Queue {
    heap: BinaryHeap<Reverse<(Time, EntityId)>>,
    closed: bool,
}

impl Alarms {
    /// Wakes the cell of `entity` at `at`. A cell that is woken too early looks and sleeps on.
    pub(crate) fn set(&self, at: Time, entity: EntityId) {
        let mut queue = lock(&self.queue);
        let first = queue.heap.peek().is_none_or(|Reverse((next, _))| at < *next);
        queue.heap.push(Reverse((at, entity)));
        if first {
            self.earlier.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.earlier.notify_one();
    }

    /// The cells that are due; none once closed.
    fn due(&self, now: impl Fn() -> Time) -> Option<Vec<EntityId>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            let present = now();
            let mut due = Vec::new();
            while let Some(Reverse((at, _))) = queue.heap.peek()
                && *at <= present
            {
                due.extend(queue.heap.pop().map(|Reverse((_, entity))| entity));
            }
            if !due.is_empty() {
                return Some(due);
            }
            let rest = queue.heap.peek().map_or(SLEEP_MAX, |Reverse((at, _))| at.since(present));
            let waited = self.earlier.wait_timeout(queue, rest.min(SLEEP_MAX));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Starts the thread that wakes cells of `core`.
pub(crate) fn start(core: &Arc<Core>) -> std::io::Result<JoinHandle<()>> {
    let alarms = Arc::clone(&core.alarms);
    let clock = core.clock.clone();
    let core = Arc::downgrade(core);
    std::thread::Builder::new().name("whimbrel-alarms".to_owned()).spawn(move || {
        while let Some(due) = alarms.due(|| clock.now()) {
            let Some(core) = Weak::upgrade(&core) else { return };
            for entity in due {
                if let Some(cell) = core.known_cell(&entity) {
                    cell.rang();
                    core.post(&cell, Work::Input(Input::Woke));
                }
            }
        }
    })
}
