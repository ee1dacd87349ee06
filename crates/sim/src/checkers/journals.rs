//! Decides what really happened to each daemon: the turns that a disk of an owner ever held.
//!
//! A turn counts from the moment when the owner's disk has it, told or not. Two different turns at
//! one position are two histories.

use std::collections::BTreeMap;
use std::rc::Rc;

use whimbrel_protocol::Turned;
use whimbrel_wire::{
    CausalEvent, Digest, EntityId, Epoch, Head, InputOrigin, SignedDeed, Turn, Write,
};

use super::Observed;
use crate::entities::Entities;
use crate::scribe::{AUTHOR_TIMER, Style};

/// All journals.
#[derive(Default)]
pub(crate) struct Journals {
    daemons: Entities<Journal>,
    wiped: bool,
}

/// The true history of one daemon.
pub(crate) struct Journal {
    pub(crate) born: Head,
    pub(crate) style: Style,
    /// What it had written when it was born.
    pub(crate) before: Vec<(u64, u64)>,
    /// By position.
    pub(crate) turns: Turns,
    /// The deed that began each epoch.
    pub(crate) deeds: BTreeMap<Epoch, (Head, Digest)>,
    /// What was made in memory, by position.
    made: BTreeMap<u64, Vec<Rc<Fact>>>,
    /// Up to where snapshots have settled it.
    published: u64,
    pub(crate) deleted: bool,
}

/// The turns after a position, none left out but where something is wrong.
#[derive(Default)]
pub(crate) struct Turns {
    after: u64,
    facts: Vec<Option<Rc<Fact>>>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) epoch: Epoch,
    pub(crate) origin: InputOrigin,
    pub(crate) event: CausalEvent,
    pub(crate) before: Head,
    pub(crate) head: Head,
    pub(crate) outputs: Vec<CausalEvent>,
    /// The daemon declined it, or never saw it.
    pub(crate) failed: bool,
}

impl Turns {
    const fn after(position: u64) -> Self {
        Self { after: position, facts: Vec::new() }
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.after)?.checked_sub(1)?).ok()
    }

    fn get(&self, position: u64) -> Option<&Rc<Fact>> {
        self.facts.get(self.index(position)?)?.as_ref()
    }

    fn insert(&mut self, position: u64, fact: Rc<Fact>) {
        let Some(index) = self.index(position) else { return };
        if self.facts.len() <= index {
            self.facts.resize(index + 1, None);
        }
        self.facts[index] = Some(fact);
    }

    /// By rising positions.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &Rc<Fact>> {
        self.facts.iter().flatten()
    }

    /// By rising positions, with them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Rc<Fact>)> {
        let places = (self.after + 1..).zip(&self.facts);
        places.filter_map(|(position, fact)| Some((position, fact.as_ref()?)))
    }
}

impl Fact {
    fn of(
        epoch: Epoch,
        origin: InputOrigin,
        event: &CausalEvent,
        before: Head,
        turned: &Turned,
    ) -> Self {
        let sent = turned.sent.iter().map(|(_, event)| event);
        let outputs = sent.chain(&turned.answer.outputs).cloned().collect();
        let (head, failed) = (turned.head, turned.answer.failure.is_some());
        Self { epoch, origin, event: event.clone(), before, head, outputs, failed }
    }

    /// Whether it is what [`Self::of`] would make of the same.
    fn is(
        &self,
        epoch: Epoch,
        origin: InputOrigin,
        event: &CausalEvent,
        before: Head,
        turned: &Turned,
    ) -> bool {
        let sent = turned.sent.iter().map(|(_, event)| event);
        self.head == turned.head
            && self.epoch == epoch
            && self.before == before
            && self.failed == turned.answer.failure.is_some()
            && self.origin == origin
            && self.event == *event
            && self.outputs.iter().eq(sent.chain(&turned.answer.outputs))
    }
}

impl Journals {
    pub(crate) fn of(&self, entity: &EntityId) -> Option<&Journal> {
        self.daemons.get(entity)
    }

    pub(super) fn see(&mut self, observed: &Observed<'_>) -> Result<(), String> {
        match observed {
            Observed::Wiped => self.wiped = true,
            Observed::Born { entity, head, style, lines } => {
                self.daemons.insert(*entity, Journal::new(*head, *style, lines.clone()));
            }
            Observed::Turned { entity, epoch, origin, event, before, turned, .. }
            | Observed::Replayed { entity, epoch, origin, event, before, turned } => {
                if let Some(journal) = self.daemons.get_mut(entity) {
                    journal.make(*epoch, *origin, event, *before, turned);
                }
            }
            Observed::Committed { write: Write::Append { entity, turns, .. }, .. } => {
                if let Some(journal) = self.daemons.get_mut(entity) {
                    for turn in turns {
                        journal.commit(turn, self.wiped)?;
                    }
                }
            }
            Observed::Committed { write: Write::Publish { entity, manifest, .. }, .. } => {
                if let Some(journal) = self.daemons.get_mut(entity) {
                    journal.publish(manifest.head)?;
                }
            }
            Observed::Committed { write: Write::Delete { entity, .. }, .. } => {
                if let Some(journal) = self.daemons.get_mut(entity) {
                    journal.deleted = true;
                }
            }
            Observed::Committed {
                write: Write::HandOver { deed } | Write::Reclaim { deed },
                ..
            } => {
                self.begin_epoch(deed)?;
            }
            Observed::Committed { .. }
            | Observed::Offered { .. }
            | Observed::Answered { .. }
            | Observed::TurnFailed
            | Observed::Stepped { .. }
            | Observed::Posted { .. }
            | Observed::Said { .. }
            | Observed::Digested { .. }
            | Observed::Recovered { .. }
            | Observed::Live { .. }
            | Observed::MoveAsked { .. }
            | Observed::Died { .. } => {}
        }
        Ok(())
    }

    fn begin_epoch(&mut self, deed: &SignedDeed) -> Result<(), String> {
        let digest = deed.digest();
        if let Some(journal) = self.daemons.get_mut(&deed.deed.entity) {
            let known = journal.deeds.insert(deed.deed.epoch, (deed.deed.head, digest));
            if known.is_some_and(|(_, known)| known != digest) && !self.wiped {
                return Err(format!("two deeds begin {}", deed.deed.epoch));
            }
        }
        Ok(())
    }
}

impl Journal {
    fn new(born: Head, style: Style, before: Vec<(u64, u64)>) -> Self {
        let turns = Turns::after(born.position.get());
        let (deeds, made) = (BTreeMap::new(), BTreeMap::new());
        Self { born, style, before, turns, deeds, made, published: 0, deleted: false }
    }

    fn make(
        &mut self,
        epoch: Epoch,
        origin: InputOrigin,
        event: &CausalEvent,
        before: Head,
        turned: &Turned,
    ) {
        let position = turned.head.position.get();
        let is = |known: &Rc<Fact>| known.is(epoch, origin, event, before, turned);
        if self.turns.get(position).is_some_and(is) {
            return;
        }
        let made = self.made.entry(position).or_default();
        if !made.iter().any(is) {
            made.push(Rc::new(Fact::of(epoch, origin, event, before, turned)));
        }
    }

    fn commit(&mut self, turn: &Turn, wiped: bool) -> Result<(), String> {
        let position = turn.position().get();
        let same = |fact: &Fact| {
            fact.head == turn.stamp.head
                && fact.epoch == turn.stamp.epoch
                && fact.event == turn.event
                && fact.origin == turn.stamp.origin
        };
        if let Some(known) = self.turns.get(position) {
            if same(known) || wiped {
                return Ok(());
            }
            return Err(format!(
                "two histories at p{position}: {:?} in {} and {:?} in {}",
                known.origin, known.epoch, turn.stamp.origin, turn.stamp.epoch
            ));
        }
        let made = match self.style {
            Style::Freezes => self.made.get(&position).cloned(),
            Style::Replays
            | Style::Deltas
            | Style::DriftShown
            | Style::DriftHidden
            | Style::Choosy
            | Style::Kv
            | Style::Tally
            | Style::Counting
            | Style::Churning
            | Style::Chart => self.made.remove(&position),
        };
        let fact = made.unwrap_or_default().into_iter().find(|fact| same(fact));
        let fact = fact.ok_or_else(|| format!("p{position} was saved and never made"))?;
        self.turns.insert(position, fact);
        Ok(())
    }

    /// A kind that does not replay is settled by its snapshots: they say what happened.
    fn publish(&mut self, head: Head) -> Result<(), String> {
        if self.style != Style::Freezes {
            return Ok(());
        }
        let mut at = head;
        while self.published < at.position.get() {
            let position = at.position.get();
            // What was saved was made again, perhaps to another end.
            let saved = self.turns.get(position);
            let same = |fact: &&Rc<Fact>| {
                fact.head == at
                    && saved.is_some_and(|saved| {
                        saved.origin == fact.origin && saved.event == fact.event
                    })
            };
            let made = self.made.get(&position);
            let fact = made.and_then(|made| made.iter().find(same)).cloned();
            let fact = fact.ok_or_else(|| format!("p{position} was captured and never made"))?;
            at = fact.before;
            self.turns.insert(position, fact);
        }
        self.published = self.published.max(head.position.get());
        Ok(())
    }

    /// The events that the daemon took and did not decline, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = &[u8]> {
        let taken = self.turns.values().filter(|fact| !fact.failed);
        taken.filter_map(|fact| match fact.origin {
            InputOrigin::Event { .. } => Some(&fact.event.payload[..]),
            InputOrigin::Timer(_)
            | InputOrigin::Poisoned { .. }
            | InputOrigin::SessionOpened(_)
            | InputOrigin::Evolution => None,
        })
    }

    /// Who wrote what, in order, timers included.
    pub(crate) fn lines(&self) -> Vec<(u64, u64)> {
        let taken = self.turns.values().filter(|fact| !fact.failed);
        let line = |fact: &Rc<Fact>| match fact.origin {
            InputOrigin::Event { .. } => self.style.read(&fact.event.payload),
            // It has one timer of its host, for all of its own; what came of them its state shows.
            InputOrigin::Timer(_) if self.style == Style::Chart => None,
            InputOrigin::Timer(timer) => Some((AUTHOR_TIMER, timer.get())),
            InputOrigin::Poisoned { .. }
            | InputOrigin::SessionOpened(_)
            | InputOrigin::Evolution => None,
        };
        self.before.iter().copied().chain(taken.filter_map(line)).collect()
    }

    /// Whether an output is part of the history.
    pub(crate) fn holds(&self, output: &CausalEvent) -> bool {
        let sequence = |event: &CausalEvent| event.link.sequence;
        // The last turns are the likely ones; sequences rise.
        let newest =
            self.turns.values().rev().filter_map(|fact| Some((fact, fact.outputs.last()?)));
        let mut reaching = newest.take_while(|(_, last)| sequence(last) >= sequence(output));
        reaching.any(|(fact, _)| fact.outputs.iter().any(|held| held == output))
    }
}
