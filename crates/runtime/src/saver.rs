//! Decides how writes of many daemons share a sync: one thread takes all that wait, commits them as
//! one group, and reports each. When none waits it tidies the store, a slice at a time: that also
//! does what commits put off.
//!
//! # Limits
//!
//! * [`GROUP_WRITES_MAX`] writes share a commit; more wait for the next.
//! * A write waits for at most one slice of tidying: there is one whenever nothing waits, and one
//!   after every [`GROUPS_UNTIDY_MAX`] groups when writes never cease.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use whimbrel_store::{Engine, StoreError};
use whimbrel_wire::{Write, WriteError};

use crate::core::lock;

/// Writes in one commit.
const GROUP_WRITES_MAX: usize = 256;

/// Commits after which a slice is tidied even if more writes wait.
const GROUPS_UNTIDY_MAX: u32 = 64;

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
        // What an earlier process forgot may still lie there.
        let (mut untidy, mut groups) = (true, 0);
        loop {
            let idle = self.is_idle();
            if untidy && (idle || groups >= GROUPS_UNTIDY_MAX) {
                // A failure is not tried again before there is something new to tidy.
                untidy = engine.tidy().unwrap_or(false);
                groups = 0;
                if idle {
                    continue;
                }
            }
            groups += 1;
            let Some((writes, dones, question)) = self.next() else { break };
            if !writes.is_empty() {
                let results = engine.commit(&writes);
                untidy = true;
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

    /// Whether nothing waits, nor the end.
    fn is_idle(&self) -> bool {
        let jobs = lock(&self.jobs);
        jobs.waiting.is_empty() && !jobs.closed
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use whimbrel_store::{Journal, Memory, Titles, Vault};
    use whimbrel_wire::{AttemptId, EntityId, Epoch, Position, SeatRecord, StoreId, Turn};
    use zeroize::Zeroizing;

    use super::*;

    /// What the engine was asked, in order.
    #[derive(Debug, PartialEq, Eq)]
    enum Asked {
        Commit(usize),
        Tidy,
    }

    /// An engine in memory that says what it is asked, and ends a slice only when it is told
    /// whether more is left.
    struct Watched {
        memory: Memory,
        asked: Sender<Asked>,
        more: Receiver<Result<bool, StoreError>>,
    }

    impl Journal for Watched {
        fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>> {
            self.asked.send(Asked::Commit(writes.len())).unwrap();
            self.memory.commit(writes)
        }

        fn turns(
            &mut self,
            entity: &EntityId,
            attempt: AttemptId,
            after: Position,
            count_max: usize,
            bytes_max: usize,
        ) -> Result<Vec<Turn>, StoreError> {
            self.memory.turns(entity, attempt, after, count_max, bytes_max)
        }

        fn tidy(&mut self) -> Result<bool, StoreError> {
            let _ = self.asked.send(Asked::Tidy);
            self.more.recv().map_err(|error| StoreError::Failed(error.to_string()))?
        }
    }

    impl Titles for Watched {
        fn store_id(&self) -> StoreId {
            self.memory.store_id()
        }

        fn entities(&mut self) -> Result<Vec<EntityId>, StoreError> {
            self.memory.entities()
        }

        fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError> {
            self.memory.record(entity)
        }
    }

    impl Vault for Watched {
        fn put_key(&mut self, entity: &EntityId, sealed: &[u8]) -> Result<(), StoreError> {
            self.memory.put_key(entity, sealed)
        }

        fn key(&mut self, entity: &EntityId) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            self.memory.key(entity)
        }

        fn drop_key(&mut self, entity: &EntityId) -> Result<(), StoreError> {
            self.memory.drop_key(entity)
        }

        fn set_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.memory.set_note(name, bytes)
        }

        fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.memory.note(name)
        }
    }

    #[test]
    fn the_store_is_tidied_a_slice_at_a_time_and_only_when_nothing_waits() {
        let (asked, heard) = channel();
        let (tell, more) = channel();
        let memory = Memory::new(StoreId::new(1), None);
        let saver = Saver::start(Watched { memory, asked, more }, drop).unwrap();
        let (entity, epoch) = (EntityId::from_bytes([1; 32]), Epoch::FIRST);
        let append = || Write::Append { entity, epoch, after: Position::FIRST, turns: vec![] };
        let next = || heard.recv().unwrap();
        assert_eq!(next(), Asked::Tidy, "what an earlier process left");
        saver.save(append(), Box::new(drop));
        saver.save(append(), Box::new(drop));
        tell.send(Ok(true)).unwrap();
        assert_eq!(next(), Asked::Commit(2), "those that wait go before the next slice");
        assert_eq!(next(), Asked::Tidy);
        tell.send(Ok(false)).unwrap();
        saver.save(append(), Box::new(drop));
        assert_eq!(next(), Asked::Commit(1), "nothing was to be tidied between");
        assert_eq!(next(), Asked::Tidy, "each commit leaves something");
        tell.send(Err(StoreError::Failed("full".to_owned()))).unwrap();
        saver.save(Write::Delete { entity, epoch }, Box::new(drop));
        assert_eq!(next(), Asked::Commit(1), "a failure is not tried again by itself");
        assert_eq!(next(), Asked::Tidy);
        saver.end();
        tell.send(Ok(true)).unwrap();
        saver.close();
        assert!(heard.recv().is_err(), "the end does not wait for what is left");
    }
}
