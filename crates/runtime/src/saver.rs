//! Decides how writes of many daemons share a sync: one thread takes all that wait, commits them as
//! one group, and reports each.
//!
//! # Limits
//!
//! * [`GROUP_WRITES_MAX`] writes share a commit; more wait for the next.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use whimbrel_store::{Engine, StoreError};
use whimbrel_wire::{Write, WriteError};

use crate::core::lock;

/// Writes in one commit.
const GROUP_WRITES_MAX: usize = 256;

/// A report to whoever asked.
pub(crate) type Done = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// Something that reads.
pub(crate) type Question = Box<dyn FnOnce(&mut dyn Engine) + Send>;

/// The way to the thread that owns an engine.
#[derive(Clone)]
pub(crate) struct Saver(Arc<Line>);

#[derive(Default)]
struct Line {
    jobs: Mutex<Jobs>,
    ready: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    closed: bool,
    gone: bool,
}

enum Job {
    Write(Box<Write>, Done),
    Ask(Question),
}

impl Saver {
    /// Starts the thread. At its end the engine is given to `finish`.
    pub(crate) fn start<E: Engine + 'static>(
        engine: E,
        finish: impl FnOnce(E) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let saver = Self(Arc::default());
        let line = Arc::clone(&saver.0);
        std::thread::Builder::new()
            .name("whimbrel-saver".to_owned())
            .spawn(move || line.serve(engine, finish))
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(saver)
    }

    /// Saves `write` and reports.
    pub(crate) fn save(&self, write: Write, done: Done) {
        self.give(Job::Write(Box::new(write), done));
    }

    /// Asks the engine, after all that was asked before.
    pub(crate) fn ask(&self, question: Question) {
        self.give(Job::Ask(question));
    }

    /// Asks and waits for the answer. None when the thread is gone.
    pub(crate) fn answer<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Engine) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.ask(Box::new(move |engine| drop(tell.send(question(engine)))));
        told.recv().ok()
    }

    /// Ends the thread once all is done, and waits until the engine is closed.
    pub(crate) fn close(&self) {
        self.end();
        let mut jobs = lock(&self.0.jobs);
        while !jobs.gone {
            jobs = self.0.ready.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the thread once all is done, without waiting for that.
    pub(crate) fn end(&self) {
        lock(&self.0.jobs).closed = true;
        self.0.ready.notify_all();
    }

    fn give(&self, job: Job) {
        let mut jobs = lock(&self.0.jobs);
        if jobs.closed {
            return;
        }
        jobs.waiting.push_back(job);
        self.0.ready.notify_all();
    }
}

impl Line {
    fn serve<E: Engine>(&self, mut engine: E, finish: impl FnOnce(E)) {
        while let Some(jobs) = self.next() {
            let (writes, dones, question) = jobs;
            if !writes.is_empty() {
                let results = engine.commit(&writes);
                for (done, result) in dones.into_iter().zip(results) {
                    done(result);
                }
            }
            if let Some(question) = question {
                question(&mut engine);
            }
        }
        finish(engine);
        lock(&self.jobs).gone = true;
        self.ready.notify_all();
    }

    /// A group of writes that stand together, and the question that ends it.
    fn next(&self) -> Option<(Vec<Write>, Vec<Done>, Option<Question>)> {
        let mut jobs = lock(&self.jobs);
        while jobs.waiting.is_empty() {
            if jobs.closed {
                return None;
            }
            jobs = self.ready.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut writes, mut dones) = (Vec::new(), Vec::new());
        while writes.len() < GROUP_WRITES_MAX {
            match jobs.waiting.pop_front() {
                Some(Job::Write(write, done)) => {
                    writes.push(*write);
                    dones.push(done);
                }
                Some(Job::Ask(question)) => return Some((writes, dones, Some(question))),
                None => break,
            }
        }
        Some((writes, dones, None))
    }
}
