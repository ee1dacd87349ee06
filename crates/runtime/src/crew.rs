//! Decides which thread makes which of the turns that may take long, and when.
//!
//! A fixed number of threads take turns from lock-free queues, one for each priority, each first in,
//! first out: a daemon that made a turn waits behind all others of its priority, so the slices of programs
//! go round. What a move waits for goes before all.
//!
//! # Limits
//!
//! * A daemon has at most one turn here, so the queues hold at most one for each daemon of the node.
//! * Of [`ROUND`] turns, each priority has its share as long as it has daemons: nobody waits for ever.
//! * `pace`: so much work each thread does in a second, if the node is held to it. A thread that woke up late
//!   catches up with at most [`SLACK`].

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_deque::{Injector, Steal};
use whimbrel_daemon::Priority;
use whimbrel_members::Burden;

use crate::core::lock;

type Job = Box<dyn FnOnce() + Send>;

/// Who comes first in each of so many turns: four of high priority, two of normal, one of low.
const ROUND: [Priority; 7] = [
    Priority::High,
    Priority::Normal,
    Priority::High,
    Priority::Low,
    Priority::High,
    Priority::Normal,
    Priority::High,
];

/// How much a thread that woke up late may catch up with.
const SLACK: Duration = Duration::from_millis(50);

thread_local! {
    /// Until when this thread has done what it may.
    static BUSY_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A turn that waits for a thread, or had one.
pub(crate) struct Shift {
    number: u64,
    job: Mutex<Option<Job>>,
}

impl Shift {
    /// Whether no thread has taken it yet.
    pub(crate) fn is_waiting(&self) -> bool {
        lock(&self.job).is_some()
    }

    /// Its place in the order in which all came.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

/// The threads, and what waits for them.
#[derive(Default)]
pub(crate) struct Crew(Arc<Shared>);

#[derive(Default)]
struct Shared {
    first: Injector<Arc<Shift>>,
    queues: [Injector<Arc<Shift>>; Priority::ALL.len()],
    numbers: AtomicU64,
    rounds: AtomicUsize,
    turns: AtomicU64,
    threads: AtomicUsize,
    /// Work of all threads together in a second; zero if there is no bound.
    work_per_second: AtomicU64,
    /// Held by whoever is about to sleep.
    resting: Mutex<()>,
    stirred: Condvar,
    closed: AtomicBool,
}

impl Crew {
    /// Starts so many threads, which do at most so much work in a second together.
    pub(crate) fn start(
        &self,
        count: usize,
        work_per_second: Option<u64>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let count = count.max(1);
        self.0.threads.store(count, Ordering::Relaxed);
        self.0.work_per_second.store(work_per_second.unwrap_or(0), Ordering::Relaxed);
        (0..count)
            .map(|index| {
                let shared = Arc::clone(&self.0);
                std::thread::Builder::new()
                    .name(format!("whimbrel-heavy-{index}"))
                    .spawn(move || shared.work())
            })
            .collect()
    }

    /// Has `job` done when it is its turn.
    pub(crate) fn run(
        &self,
        priority: Priority,
        job: impl FnOnce() + Send + 'static,
    ) -> Arc<Shift> {
        let shift = self.shift(Box::new(job));
        self.0.queue(priority).push(Arc::clone(&shift));
        self.0.stir();
        shift
    }

    /// Has `job` done before all that waits.
    pub(crate) fn run_first(&self, job: impl FnOnce() + Send + 'static) -> Arc<Shift> {
        let shift = self.shift(Box::new(job));
        self.hasten(&shift);
        shift
    }

    /// Has a turn made before all others, if it still waits.
    pub(crate) fn hasten(&self, shift: &Arc<Shift>) {
        self.0.first.push(Arc::clone(shift));
        self.0.stir();
    }

    fn shift(&self, job: Job) -> Arc<Shift> {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Shift { number, job: Mutex::new(Some(job)) })
    }

    /// How much there is to do.
    pub(crate) fn burden(&self) -> Burden {
        let turns = self.0.turns.load(Ordering::Relaxed);
        let threads = self.0.threads.load(Ordering::Relaxed).max(1);
        Burden {
            turns: u32::try_from(turns).unwrap_or(u32::MAX),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
        }
    }

    /// Keeps this thread from doing more than it may, after it did so much.
    pub(crate) fn pace(&self, begun: Instant, work: u64) {
        let all = self.0.work_per_second.load(Ordering::Relaxed);
        if all == 0 || work == 0 {
            return;
        }
        let each = all as f64 / self.0.threads.load(Ordering::Relaxed).max(1) as f64;
        let takes = Duration::from_secs_f64(work as f64 / each);
        let free = BUSY_UNTIL.get().map_or(begun, |until| until.max(begun - SLACK.min(takes)));
        let until = free + takes;
        BUSY_UNTIL.set(Some(until));
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    /// Ends the threads once nothing waits.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        let resting = lock(&self.0.resting);
        self.0.stirred.notify_all();
        drop(resting);
    }
}

impl Shared {
    fn queue(&self, priority: Priority) -> &Injector<Arc<Shift>> {
        match priority {
            Priority::Low => &self.queues[0],
            Priority::Normal => &self.queues[1],
            Priority::High => &self.queues[2],
        }
    }

    /// Wakes a thread: what was pushed before is seen by whoever is about to sleep.
    fn stir(&self) {
        let resting = lock(&self.resting);
        self.stirred.notify_one();
        drop(resting);
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
            self.turns.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn next(&self) -> Option<Job> {
        if let Some(job) = self.take() {
            return Some(job);
        }
        let mut resting = lock(&self.resting);
        loop {
            if let Some(job) = self.take() {
                return Some(job);
            }
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            resting = self.stirred.wait(resting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is to be done next, if anything is.
    fn take(&self) -> Option<Job> {
        if let Some(job) = take_from(&self.first) {
            return Some(job);
        }
        let round = self.rounds.fetch_add(1, Ordering::Relaxed) % ROUND.len();
        let favoured = take_from(self.queue(ROUND[round]));
        favoured.or_else(|| {
            Priority::ALL.iter().rev().find_map(|&priority| take_from(self.queue(priority)))
        })
    }
}

/// The first of a queue that nobody has taken.
fn take_from(queue: &Injector<Arc<Shift>>) -> Option<Job> {
    loop {
        match queue.steal() {
            Steal::Success(shift) => {
                if let Some(job) = lock(&shift.job).take() {
                    return Some(job);
                }
            }
            Steal::Retry => {}
            Steal::Empty => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// What was done, in order, by a crew of one thread that had all of it before it began.
    fn done(give: impl FnOnce(&Crew, &dyn Fn(&'static str) -> Job)) -> Vec<&'static str> {
        let crew = Crew::default();
        let (tell, told) = mpsc::channel();
        give(&crew, &|name| {
            let tell = tell.clone();
            Box::new(move || {
                let _ = tell.send(name);
            })
        });
        crew.close();
        let threads = crew.start(1, None).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(tell);
        assert_eq!(crew.burden(), Burden { turns: 0, threads: 1 });
        told.into_iter().collect()
    }

    #[test]
    fn each_priority_has_its_share_and_each_daemon_its_turn() {
        let order = done(|crew, job| {
            for name in ["l1", "l2"] {
                drop(crew.run(Priority::Low, job(name)));
            }
            for name in ["n1", "n2", "n3"] {
                drop(crew.run(Priority::Normal, job(name)));
            }
            for name in ["h1", "h2", "h3", "h4", "h5"] {
                drop(crew.run(Priority::High, job(name)));
            }
        });
        assert_eq!(order, ["h1", "n1", "h2", "l1", "h3", "n2", "h4", "h5", "n3", "l2"]);
    }

    #[test]
    fn what_is_hastened_comes_first_and_once() {
        let order = done(|crew, job| {
            let first = crew.run(Priority::High, job("a"));
            let last = crew.run(Priority::Low, job("b"));
            assert!(first.number() < last.number() && last.is_waiting());
            crew.hasten(&last);
            drop(crew.run_first(job("c")));
        });
        assert_eq!(order, ["b", "c", "a"]);
    }
}
