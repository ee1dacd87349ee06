//! Decides what daemons do in the crash tests: a seeded life of births, turns, moves and deaths.
//!
//! A model in memory is told the same and says what must be found.

use whimbrel_wire::{
    AttemptId, ChunkRef, CopyRecord, EntityId, Epoch, Head, Holding, SeatRecord, StoreId, Turn,
    Write,
};

use crate::conformance::Harness;
use crate::conformance::story::Story;
use crate::engine::{Engine, Journal};
use crate::error::StoreError;
use crate::memory::Memory;
use crate::vfs::image::Random;

pub(crate) const STORE: StoreId = StoreId::new(42);

const DAEMONS: u64 = 4;

/// A source of groups of writes.
pub(crate) struct Workload {
    random: Random,
    attempts: u128,
}

/// The model, as the writer of stories wants it.
struct Model(Memory);

impl Harness for Model {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.0
    }

    fn reopen(&mut self) {}

    fn lose_answer(&mut self, _: bool) -> bool {
        false
    }
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), attempts: 100 }
    }

    /// The next group, for the state of `model`.
    pub(crate) fn group(&mut self, model: &Memory) -> Vec<Write> {
        let mut model = Model(model.clone());
        let count = 1 + self.random.below(3);
        let mut write = |_| {
            let seed = 10 + self.random.below(DAEMONS) as u8;
            let mut base = Story::new(&mut model);
            let write = self.write(&mut base.of_another(seed));
            model.0.commit(std::slice::from_ref(&write));
            write
        };
        (0..count).map(&mut write).collect()
    }

    /// A snapshot of some daemon that is owned, which names these chunks; none if that one is not.
    pub(crate) fn publish(
        &mut self,
        model: &Memory,
        lists: &[ChunkRef],
        luggage: &[ChunkRef],
    ) -> Option<Write> {
        let mut model = Model(model.clone());
        let seed = 10 + self.random.below(DAEMONS) as u8;
        let mut base = Story::new(&mut model);
        let mut story = base.of_another(seed);
        let record = story.record();
        let (Holding::Owned(copy), Some(last)) = (record.holding, record.deeds.last()) else {
            return None;
        };
        let (entity, epoch) = (story.entity(), last.deed.epoch);
        let mut manifest = story.manifest(epoch, copy.head());
        manifest.state.lists = lists.to_vec();
        manifest.luggage = luggage.to_vec();
        Some(Write::Publish { entity, epoch, manifest })
    }

    fn write(&mut self, story: &mut Story<'_>) -> Write {
        let record = story.record();
        let Some(last) = record.deeds.last().cloned() else { return story.birth() };
        let (entity, epoch) = (story.entity(), last.deed.epoch);
        match &record.holding {
            Holding::Owned(copy) => {
                let head = copy.head();
                match self.random.below(20) {
                    0 | 1 => {
                        let manifest = story.manifest(epoch, head);
                        Write::Publish { entity, epoch, manifest }
                    }
                    2 => Write::Compact { entity, epoch, through: copy.manifest.head.position },
                    3 => Write::BeginAttempt { entity, epoch, attempt: self.attempt() },
                    4 => {
                        let attempt = self.attempt().get();
                        Write::HandOver { deed: story.deed(&last, false, attempt, head) }
                    }
                    5 => self.append(story, epoch.next(), head),
                    _ => self.append(story, epoch, head),
                }
            }
            Holding::HandedOver(_) if self.random.below(2) == 0 => {
                Write::DropState { entity, deed: last.digest() }
            }
            Holding::HandedOver(_) | Holding::Nothing | Holding::Deleted => {
                self.arrive(story, &record)
            }
        }
    }

    /// The daemon is away, and comes back.
    fn arrive(&mut self, story: &mut Story<'_>, record: &SeatRecord) -> Write {
        let entity = story.entity();
        let Some(last) = record.deeds.last() else { return story.birth() };
        let present = record.waiting.iter().find(|copy| copy.epoch == last.deed.epoch);
        let Some(copy) = present else {
            let attempt = self.attempt().get();
            return story.save_copy(attempt, last.deed.epoch, last.deed.head);
        };
        match self.random.below(4) {
            0 => Write::DropCopy { entity, attempt: copy.attempt },
            1 | 2 => {
                let count = 1 + self.random.below(30);
                let turns = story.turns(copy.epoch, copy.head(), count);
                let (attempt, after) = (copy.attempt, copy.head().position);
                Write::AppendCopy { entity, attempt, after, turns }
            }
            _ => {
                let deed = story.deed(last, true, copy.attempt.get(), copy.head());
                Write::Accept { deeds: vec![deed] }
            }
        }
    }

    fn append(&mut self, story: &Story<'_>, epoch: Epoch, head: Head) -> Write {
        let count = if self.random.below(8) == 0 { 300 } else { 1 + self.random.below(9) };
        story.append(epoch, head, count).0
    }

    fn attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId::new(self.attempts)
    }
}

/// Whether an engine holds exactly what the model holds.
pub(crate) fn same(engine: &mut dyn Engine, model: &Memory) -> bool {
    let mut model = model.clone();
    let found = content(engine);
    found.is_ok() && found == content(&mut model)
}

type Content = Vec<(EntityId, SeatRecord, Vec<Vec<Turn>>)>;

/// Every copy that a store holds.
///
/// # Errors
///
/// As [`crate::Titles::record`].
pub(crate) fn copies(engine: &mut dyn Engine) -> Result<Vec<CopyRecord>, StoreError> {
    let mut found = Vec::new();
    for entity in engine.entities()? {
        let record = engine.record(&entity)?;
        match record.holding {
            Holding::Owned(copy) | Holding::HandedOver(copy) => found.push(copy),
            Holding::Nothing | Holding::Deleted => {}
        }
        found.extend(record.waiting);
    }
    Ok(found)
}

/// Everything that is known of daemons.
fn content(engine: &mut dyn Engine) -> Result<Content, StoreError> {
    let entities = engine.entities()?;
    let mut daemon = |entity: EntityId| {
        let record = engine.record(&entity)?;
        let live = match &record.holding {
            Holding::Owned(copy) | Holding::HandedOver(copy) => Some(copy),
            Holding::Nothing | Holding::Deleted => None,
        };
        let copies = live.into_iter().chain(&record.waiting);
        let turns = copies.map(|copy| {
            let after = copy.manifest.head.position;
            engine.turns(&entity, copy.attempt, after, usize::MAX, usize::MAX)
        });
        let turns = turns.collect::<Result<_, _>>()?;
        Ok((entity, record, turns))
    };
    entities.into_iter().map(&mut daemon).collect()
}
