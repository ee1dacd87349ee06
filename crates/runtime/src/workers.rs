//! Decides which thread runs a cell: any of a few, one at a time for each cell.
//!
//! # Limits
//!
//! * The queue holds each cell at most once; what waits for a cell is bounded by its seat.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::cell::Cell;
use crate::core::{Core, lock};

/// The threads that run cells.
#[derive(Default)]
pub(crate) struct Workers {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    cells: VecDeque<Arc<Cell>>,
    closed: bool,
}

impl Workers {
    /// Runs `cell` soon.
    pub(crate) fn schedule(&self, cell: Arc<Cell>) {
        lock(&self.queue).cells.push_back(cell);
        self.ready.notify_one();
    }

    /// Ends the threads once the queue is empty.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.ready.notify_all();
    }

    fn next(&self) -> Option<Arc<Cell>> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(cell) = queue.cells.pop_front() {
                return Some(cell);
            }
            if queue.closed {
                return None;
            }
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts `count` threads that run cells of `core`.
pub(crate) fn start(core: &Arc<Core>, count: usize) -> std::io::Result<Vec<JoinHandle<()>>> {
    (0..count.max(1))
        .map(|index| {
            let workers = Arc::clone(&core.workers);
            let core = Arc::downgrade(core);
            std::thread::Builder::new()
                .name(format!("whimbrel-cell-{index}"))
                .spawn(move || work(&workers, &core))
        })
        .collect()
}

fn work(workers: &Workers, core: &Weak<Core>) {
    while let Some(cell) = workers.next() {
        let Some(core) = core.upgrade() else { return };
        cell.run(&core);
    }
}
