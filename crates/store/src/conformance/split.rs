//! Decides how an engine works whose titles lie on one backend and whose copies on another.
//!
//! No transaction spans the two. The journal's conditional write is the commit point: together
//! with what it changes it notes the title as it shall be (an *intent*), and the title is written
//! after it. Whoever next asks about the daemon finishes what is noted first. Either backend can
//! lose an answer; then the caller is told `Unknown`.
//!
//! It is a model in memory and stands for an authority and a journal on servers.

use std::collections::BTreeMap;

use whimbrel_wire::{AttemptId, EntityId, Position, SeatRecord, StoreId, Turn, Write, WriteError};
use zeroize::Zeroizing;

use crate::engine::{Journal, Titles, Vault};
use crate::error::StoreError;
use crate::memory::{Copies, Halves, Memory, Title, empty, refused};
use crate::rules::decide;

/// An engine on two backends, with answers that get lost.
#[derive(Clone)]
pub struct Split {
    store: StoreId,
    authority: BTreeMap<EntityId, Title>,
    journals: BTreeMap<EntityId, Log>,
    vault: Memory,
    loss: Option<Loss>,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Keeps titles.
    Authority,
    /// Keeps copies and turns.
    Journal,
}

/// An answer that gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whose next answer.
    pub backend: Backend,
    /// Whether it did what it was asked.
    pub done: bool,
}

/// What the journal keeps of one daemon.
#[derive(Clone, Default)]
struct Log {
    copies: Copies,
    intent: Option<Title>,
}

impl Split {
    /// An empty engine.
    #[must_use]
    pub fn new(store: StoreId) -> Self {
        let (authority, journals) = (BTreeMap::new(), BTreeMap::new());
        Self { store, authority, journals, vault: Memory::new(store, None), loss: None }
    }

    /// The next answer of this backend gets lost.
    pub fn lose(&mut self, loss: Loss) {
        self.loss = Some(loss);
    }

    /// One call to one backend.
    fn call(&mut self, backend: Backend, action: impl FnOnce(&mut Self)) -> Result<(), WriteError> {
        let loss = self.loss.take_if(|loss| loss.backend == backend);
        if loss.is_none_or(|loss| loss.done) {
            action(self);
        }
        match loss {
            None => Ok(()),
            Some(_) => Err(WriteError::Unknown(format!("{backend:?} did not answer"))),
        }
    }

    /// Finishes what the journal noted.
    fn settle(&mut self, entity: EntityId) -> Result<(), WriteError> {
        let Some(title) = self.journals.get(&entity).and_then(|log| log.intent.clone()) else {
            return Ok(());
        };
        self.call(Backend::Authority, |split| {
            split.authority.insert(entity, title);
        })?;
        self.call(Backend::Journal, |split| {
            if let Some(log) = split.journals.get_mut(&entity) {
                log.intent = None;
            }
        })
    }

    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Some(entity) = write.entity() else { return empty(write) };
        if let Err(error) = self.settle(entity) {
            // An earlier write could not be finished; this one was not begun.
            return Err(WriteError::Failed(error.to_string()));
        }
        let mut title = self.authority.get(&entity).cloned().unwrap_or_default();
        let mut copies = self.journals.get(&entity).cloned().unwrap_or_default().copies;
        let mut view = Halves { store: self.store, chunks: None, title: &title, copies: &copies };
        let changes = decide(&mut view, write).map_err(refused)?;
        let before = title.clone();
        for change in &changes {
            title.apply(change);
            copies.apply(change);
        }
        let intent = (title != before).then_some(title);
        self.call(Backend::Journal, |split| {
            split.journals.insert(entity, Log { copies, intent });
        })?;
        self.settle(entity)
    }

    fn settled(&mut self, entity: &EntityId) -> Result<(), StoreError> {
        self.settle(*entity).map_err(|error| StoreError::Failed(error.to_string()))
    }
}

impl Journal for Split {
    fn commit(&mut self, writes: &[Write]) -> Vec<Result<(), WriteError>> {
        writes.iter().map(|write| self.write(write)).collect()
    }

    fn turns(
        &mut self,
        entity: &EntityId,
        attempt: AttemptId,
        after: Position,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        self.settled(entity)?;
        let log = self.journals.get(entity).ok_or(StoreError::NoCopy)?;
        log.copies.turns(attempt, after, count_max, bytes_max)
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        // Copies are values in memory here, as in the vault's engine: it answers for both.
        self.vault.tidy()
    }
}

impl Titles for Split {
    fn store_id(&self) -> StoreId {
        self.store
    }

    fn entities(&mut self) -> Result<Vec<EntityId>, StoreError> {
        let known: Vec<_> = self.journals.keys().copied().collect();
        known.iter().try_for_each(|entity| self.settled(entity))?;
        let stranger = Title::default();
        let title = |entity: &EntityId| self.authority.get(entity).unwrap_or(&stranger);
        let kept = |entity: &EntityId| {
            let copies = self.journals.get(entity).is_some_and(|log| !log.copies.is_empty());
            copies || *title(entity) != stranger
        };
        Ok(known.into_iter().filter(kept).collect())
    }

    fn record(&mut self, entity: &EntityId) -> Result<SeatRecord, StoreError> {
        self.settled(entity)?;
        let title = self.authority.get(entity).cloned().unwrap_or_default();
        title.record(&self.journals.get(entity).cloned().unwrap_or_default().copies)
    }
}

impl Vault for Split {
    fn put_key(&mut self, entity: &EntityId, sealed: &[u8]) -> Result<(), StoreError> {
        self.vault.put_key(entity, sealed)
    }

    fn key(&mut self, entity: &EntityId) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.vault.key(entity)
    }

    fn drop_key(&mut self, entity: &EntityId) -> Result<(), StoreError> {
        self.vault.drop_key(entity)
    }

    fn set_note(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.vault.set_note(name, bytes)
    }

    fn note(&mut self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.vault.note(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Harness;
    use crate::conformance::story::Story;
    use crate::engine::Engine;

    struct OnTwo(Split);

    impl Harness for OnTwo {
        fn engine(&mut self) -> &mut dyn Engine {
            &mut self.0
        }

        fn reopen(&mut self) {}

        fn lose_answer(&mut self, done: bool) -> bool {
            self.0.lose(Loss { backend: Backend::Authority, done });
            true
        }
    }

    #[test]
    fn a_hand_over_that_the_journal_noted_happens_whatever_the_authority_answers() {
        for done in [true, false] {
            let mut harness = OnTwo(Split::new(StoreId::new(42)));
            let mut story = Story::new(&mut harness);
            let (birth, head) = story.started(2);
            let deed = story.deed(&birth, false, 5, head);
            story.harness.lose_answer(done);
            let answer = story.commit(&Write::HandOver { deed: deed.clone() });
            assert!(matches!(answer, Err(WriteError::Unknown(_))), "{answer:?}");
            assert_eq!(story.record().deeds, [birth, deed]);
        }
    }
}
