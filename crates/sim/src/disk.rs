//! Decides what a disk keeps when a node crashes, and how it lies.
//!
//! Requests are done in order, in groups. Between the start of a group and its report lies time:
//! a crash before the sync leaves some first part of the group, one after it leaves all, reported
//! or not.

use std::collections::VecDeque;
use std::sync::Arc;

use whimbrel_protocol::{Input, SaveTicket};
use whimbrel_store::{Chunks, Journal, Memory, MemoryChunks, Titles};
use whimbrel_wire::{AttemptId, EntityId, Position, StoreId, Write, WriteError};

use crate::dice::Dice;

/// The disk of one node.
pub(crate) struct Disk {
    pub(crate) memory: Memory,
    pub(crate) chunks: Arc<MemoryChunks>,
    queue: VecDeque<Request>,
    group: Vec<Request>,
    pub(crate) faults: Faults,
}

/// What a node asks of its disk.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "it lives for one group; a box would cost more")]
pub(crate) enum Request {
    Save { entity: EntityId, ticket: SaveTicket, write: Write },
    Read { entity: EntityId },
    Turns { entity: EntityId, copy: AttemptId, after: Position, count: usize, bytes: usize },
}

/// How often a disk fails, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
}

/// What becomes of one save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    /// The disk is full.
    Failed,
    /// It happened and the report says that nobody knows.
    UnknownDone,
    /// It did not happen and the report says that nobody knows.
    UnknownLost,
}

/// What a disk did.
pub(crate) struct Done {
    pub(crate) entity: EntityId,
    pub(crate) report: Input,
    /// What is on the disk from here on.
    pub(crate) committed: Option<Write>,
}

impl Disk {
    pub(crate) fn new(store: StoreId) -> Self {
        let chunks = Arc::new(MemoryChunks::new());
        let shared: Arc<dyn Chunks> = chunks.clone();
        Self {
            memory: Memory::new(store, Some(shared)),
            chunks,
            queue: VecDeque::new(),
            group: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// Takes a request. True if the disk was idle and has to be started.
    pub(crate) fn ask(&mut self, request: Request) -> bool {
        self.queue.push_back(request);
        self.group.is_empty()
    }

    /// Begins the next group. False if there is nothing to do.
    pub(crate) fn begin(&mut self) -> bool {
        self.group.extend(self.queue.drain(..));
        !self.group.is_empty()
    }

    /// The group is synced.
    pub(crate) fn finish(&mut self, mut fate: impl FnMut(&Write) -> Fate) -> Vec<Done> {
        let group = std::mem::take(&mut self.group);
        group.into_iter().map(|request| self.perform(request, &mut fate)).collect()
    }

    /// The node crashes: some first part of the group is on the disk, nobody is told.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> Vec<Done> {
        self.queue.clear();
        let group = std::mem::take(&mut self.group);
        let kept = dice.index(group.len() + 1);
        let first = group.into_iter().take(kept);
        first.map(|request| self.perform(request, &mut |_| Fate::Good)).collect()
    }

    fn perform(&mut self, request: Request, fate: &mut impl FnMut(&Write) -> Fate) -> Done {
        match request {
            Request::Save { entity, ticket, write } => {
                let (result, done) = self.save(&write, fate(&write));
                let report = Input::Saved { ticket, result };
                Done { entity, report, committed: done.then_some(write) }
            }
            Request::Read { entity } => {
                let record = self.memory.record(&entity).map_err(|error| error.to_string());
                Done { entity, report: Input::Read(record), committed: None }
            }
            Request::Turns { entity, copy, after, count, bytes } => {
                let turns = self.memory.turns(&entity, copy, after, count, bytes);
                let result = turns.map_err(|error| error.to_string());
                let report = Input::TurnsRead { copy, after, result };
                Done { entity, report, committed: None }
            }
        }
    }

    fn save(&mut self, write: &Write, fate: Fate) -> (Result<(), WriteError>, bool) {
        let unknown = || Err(WriteError::Unknown("the disk did not answer".to_owned()));
        match fate {
            Fate::Failed => (Err(WriteError::Failed("the disk is full".to_owned())), false),
            Fate::UnknownLost => (unknown(), false),
            Fate::Good | Fate::UnknownDone => {
                let result = self.memory.commit(std::slice::from_ref(write)).pop();
                let result = result.unwrap_or(Ok(()));
                let done = result.is_ok();
                if fate == Fate::UnknownDone { (unknown(), done) } else { (result, done) }
            }
        }
    }
}

impl Faults {
    pub(crate) fn draw(self, dice: &mut Dice) -> Fate {
        if dice.chance(self.failed) {
            Fate::Failed
        } else if dice.chance(self.unknown) {
            if dice.chance(500) { Fate::UnknownDone } else { Fate::UnknownLost }
        } else {
            Fate::Good
        }
    }
}
