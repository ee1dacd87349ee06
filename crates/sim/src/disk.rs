//! Decides what a disk keeps when a node crashes, and how it lies.
//!
//! Requests are done in order, in groups. Between the start of a group and its report lies time:
//! a crash before the sync leaves some first part of the group, one after it leaves all, reported
//! or not.

use std::collections::VecDeque;

use whimbrel_protocol::{Append, Input, SaveTicket};
use whimbrel_wire::{AttemptId, EntityId, Position, StoreId, Write, WriteError};

use crate::dice::Dice;
use crate::medium::{Files, Medium};

/// The disk of one node.
pub(crate) struct Disk {
    pub(crate) files: Files,
    queue: VecDeque<Request>,
    group: Vec<Request>,
    pub(crate) faults: Faults,
}

/// What a node asks of its disk.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Save { entity: EntityId, ticket: SaveTicket, write: Box<Write> },
    Read { entity: EntityId },
    Turns { entity: EntityId, copy: AttemptId, after: Position, count: usize, bytes: usize },
}

/// How often a disk fails, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    /// How often a group ends with a stop at some call of the file system: for SQLite.
    pub(crate) stopped: u64,
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
    pub(crate) report: Box<Input>,
    /// What is on the disk from here on.
    pub(crate) committed: Option<Box<Write>>,
}

/// What became of a group.
pub(crate) struct Finished {
    /// What is there of earlier writes of which nobody knew.
    pub(crate) found: Vec<Write>,
    pub(crate) dones: Vec<Done>,
}

impl Disk {
    pub(crate) fn new(store: StoreId, medium: Medium) -> Self {
        Self {
            files: Files::new(store, medium),
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

    /// Whether something that was asked for is not done.
    pub(crate) fn is_busy(&self) -> bool {
        !self.group.is_empty()
    }

    /// Begins the next group. False if there is nothing to do.
    pub(crate) fn begin(&mut self) -> bool {
        self.group.extend(self.queue.drain(..));
        !self.group.is_empty()
    }

    /// The group is synced, with the fate that each write has.
    pub(crate) fn finish(
        &mut self,
        dice: &mut Dice,
        mut fate: impl FnMut(&Write, &mut Dice) -> Fate,
    ) -> Finished {
        let found = self.files.decide();
        let group = std::mem::take(&mut self.group);
        let dones = match self.files.medium() {
            Medium::Memory => {
                let mut fate = |write: &Write| fate(write, dice);
                group.into_iter().map(|request| self.perform(request, &mut fate)).collect()
            }
            Medium::Sqlite => {
                if dice.chance(self.faults.stopped) {
                    self.files.stop_somewhere(dice);
                }
                self.perform_together(group, |write| fate(write, dice))
            }
        };
        self.files.tidy();
        Finished { found, dones }
    }

    /// The node crashes: some first part of the group is on the disk, nobody is told. What is
    /// there is said.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> Vec<Write> {
        self.queue.clear();
        let group = std::mem::take(&mut self.group);
        match self.files.medium() {
            Medium::Memory => {
                let kept = dice.index(group.len() + 1);
                let first = group.into_iter().take(kept);
                let dones = first.map(|request| self.perform(request, &mut |_| Fate::Good));
                dones.filter_map(|done| done.committed.map(|write| *write)).collect()
            }
            Medium::Sqlite => {
                self.files.crash(&writes_of(&group), dice);
                self.files.decide()
            }
        }
    }

    /// The node closes: all that was asked for is done. What is there is said.
    pub(crate) fn close(&mut self) -> Vec<Write> {
        self.group.extend(self.queue.drain(..));
        let group = std::mem::take(&mut self.group);
        let mut there = self.files.decide();
        let dones = group.into_iter().map(|request| self.perform(request, &mut |_| Fate::Good));
        there.extend(dones.filter_map(|done| done.committed.map(|write| *write)));
        self.files.close();
        there
    }

    fn perform(&mut self, request: Request, fate: &mut impl FnMut(&Write) -> Fate) -> Done {
        match request {
            Request::Save { entity, ticket, write } => {
                let (result, done) = self.save(&write, fate(&write));
                let report = Box::new(Input::Saved { ticket, result });
                Done { entity, report, committed: done.then_some(write) }
            }
            Request::Read { entity } => {
                let record = self.files.record(&entity).map_err(|error| error.to_string());
                Done { entity, report: Box::new(Input::Read(record)), committed: None }
            }
            Request::Turns { entity, copy, after, count, bytes } => {
                let turns = self
                    .files
                    .engine()
                    .and_then(|engine| engine.turns(&entity, copy, after, count, bytes));
                let result = turns.map_err(|error| error.to_string());
                let report = Box::new(Input::TurnsRead { copy, after, result });
                Done { entity, report, committed: None }
            }
        }
    }

    fn save(&mut self, write: &Write, fate: Fate) -> (Result<(), WriteError>, bool) {
        fate.befall(|| {
            let result = self.files.commit(std::slice::from_ref(write)).pop();
            result.unwrap_or(Ok(()))
        })
    }

    /// Saves one turn at once: what came of it, and whether it is on the disk.
    pub(crate) fn append(&mut self, append: Append, fate: Fate) -> (Result<(), WriteError>, bool) {
        fate.befall(|| self.files.append(append))
    }

    /// All writes of the group by one commit, what is read after them. A fate becomes what makes
    /// SQLite meet it.
    fn perform_together(
        &mut self,
        group: Vec<Request>,
        mut fate: impl FnMut(&Write) -> Fate,
    ) -> Vec<Done> {
        let writes = writes_of(&group);
        for fate in writes.iter().map(&mut fate) {
            match fate {
                Fate::Good => {}
                Fate::Failed => self.files.set_full(true),
                Fate::UnknownDone | Fate::UnknownLost => self.files.fail_syncs(1),
            }
        }
        let mut results = self.files.commit(&writes).into_iter();
        self.files.fail_syncs(0);
        self.files.set_full(self.faults.failed >= 1000);
        let mut dones = Vec::new();
        for request in group {
            let Request::Save { entity, ticket, write } = request else {
                dones.push(self.perform(request, &mut |_| Fate::Good));
                continue;
            };
            let result = results.next().unwrap_or(Ok(()));
            let committed = result.is_ok().then_some(write);
            let report = Box::new(Input::Saved { ticket, result });
            dones.push(Done { entity, report, committed });
        }
        dones
    }
}

impl Fate {
    /// What is said of a save, and whether it happened.
    fn befall(
        self,
        save: impl FnOnce() -> Result<(), WriteError>,
    ) -> (Result<(), WriteError>, bool) {
        let unknown = || Err(WriteError::Unknown("the disk did not answer".to_owned()));
        match self {
            Self::Failed => (Err(WriteError::Failed("the disk is full".to_owned())), false),
            Self::UnknownLost => (unknown(), false),
            Self::Good | Self::UnknownDone => {
                let result = save();
                let done = result.is_ok();
                if self == Self::UnknownDone { (unknown(), done) } else { (result, done) }
            }
        }
    }
}

fn writes_of(group: &[Request]) -> Vec<Write> {
    let write = |request: &Request| match request {
        Request::Save { write, .. } => Some(Write::clone(write)),
        Request::Read { .. } | Request::Turns { .. } => None,
    };
    group.iter().filter_map(write).collect()
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
