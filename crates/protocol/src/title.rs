//! Decides who owns a daemon, from deeds alone.
//!
//! A title is the chain of deeds from the birth on. It only ever grows, and only by deeds that
//! were verified link by link: a number heard in a message changes nothing (rule 4). Whoever
//! signed two deeds of one epoch is found out, and the first one that was learnt stands.
//!
//! # Invariants
//!
//! * T1 (verified title): every deed in a title verifies after the one before it, the first as a
//!   birth.

use thiserror::Error;
use whimbrel_mutants::Mutant;
use whimbrel_wire::{DeedError, EntityId, Epoch, NodeId, SignedDeed};

/// The verified chain of deeds of one daemon, as far as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Title {
    entity: EntityId,
    deeds: Vec<SignedDeed>,
    /// The owner by the newest deed, which is asked for at each message and costs a hash to make.
    owner: Option<NodeId>,
}

/// What came of deeds that were heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Those that were new, in order.
    pub news: Vec<SignedDeed>,
}

/// Why deeds were not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TitleError {
    /// They do not reach back to what is known here. Fault: nobody. Changed: nothing. Again:
    /// with the deeds between.
    #[error("the deeds do not reach back to {known}")]
    Gap {
        /// The last epoch that is known; epoch zero when none is.
        known: Epoch,
    },
    /// One is malformed or forged. Fault: peer. Changed: nothing. Again: no.
    #[error(transparent)]
    Deed(#[from] DeedError),
    /// A valid deed contradicts a known one: its signer signed twice. Fault: the signer. Changed:
    /// nothing. Again: no.
    #[error("two valid deeds begin {}", second.deed.epoch)]
    Conflict {
        /// The one that was heard second.
        second: Box<SignedDeed>,
    },
}

impl Title {
    /// No deed yet.
    #[must_use]
    pub const fn unknown(entity: EntityId) -> Self {
        Self { entity, deeds: Vec::new(), owner: None }
    }

    /// The title made of deeds that this node verified before it saved them.
    ///
    /// # Errors
    ///
    /// [`TitleError`] if they are no chain: then the disk is damaged.
    pub fn from_saved(entity: EntityId, deeds: Vec<SignedDeed>) -> Result<Self, TitleError> {
        let mut title = Self::unknown(entity);
        title.learn(&deeds)?;
        Ok(title)
    }

    /// The newest deed.
    #[must_use]
    pub fn last(&self) -> Option<&SignedDeed> {
        self.deeds.last()
    }

    /// The newest epoch; none before a birth is known.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.last().map(|signed| signed.deed.epoch)
    }

    /// The owner by the newest deed.
    #[must_use]
    pub const fn owner(&self) -> Option<NodeId> {
        self.owner
    }

    /// The epoch up to which deeds are known, zero for none: what a question names.
    #[must_use]
    pub fn known(&self) -> Epoch {
        self.epoch().unwrap_or(Epoch::new(0))
    }

    /// The deed that began `epoch`.
    #[must_use]
    pub fn deed(&self, epoch: Epoch) -> Option<&SignedDeed> {
        let index = usize::try_from(epoch.get().checked_sub(1)?).ok()?;
        self.deeds.get(index)
    }

    /// Whether the deed that began `epoch` brought the daemon back from an older state.
    #[must_use]
    pub fn is_revival(&self, epoch: Epoch) -> bool {
        self.revives(self.deed(epoch))
    }

    /// Whether a deed, known or not, would bring the daemon back after the deed that is known before it.
    #[must_use]
    pub fn revives(&self, deed: Option<&SignedDeed>) -> bool {
        deed.is_some_and(|signed| {
            let before = self.deed(Epoch::new(signed.deed.epoch.get().saturating_sub(1)));
            before.is_some_and(|before| signed.deed.revives(&before.deed))
        })
    }

    /// The deeds after `epoch`, at most `count` of them.
    #[must_use]
    pub fn after(&self, epoch: Epoch, count: usize) -> &[SignedDeed] {
        let start = usize::try_from(epoch.get()).unwrap_or(usize::MAX).min(self.deeds.len());
        let end = start.saturating_add(count).min(self.deeds.len());
        &self.deeds[start..end]
    }

    /// All deeds.
    #[must_use]
    pub fn deeds(&self) -> &[SignedDeed] {
        &self.deeds
    }

    /// Adds what is new in `heard`. Either all of it is believed or nothing changes.
    ///
    /// # Errors
    ///
    /// [`TitleError`] says why it is not believed.
    pub fn learn(&mut self, heard: &[SignedDeed]) -> Result<Learned, TitleError> {
        let mut news: Vec<SignedDeed> = Vec::new();
        for signed in heard {
            if let Some(known) = self.deed(signed.deed.epoch) {
                self.compare(known, signed)?;
                continue;
            }
            match news.last().or_else(|| self.deeds.last()) {
                None if signed.deed.epoch == Epoch::FIRST => signed.verify_birth(&self.entity)?,
                Some(last) if signed.deed.epoch == last.deed.epoch.next() => {
                    signed.verify_after(last).or_else(believed)?;
                }
                None | Some(_) => return Err(TitleError::Gap { known: self.known() }),
            }
            news.push(signed.clone());
        }
        if let Some(newest) = news.last() {
            self.owner = Some(newest.deed.owner());
        }
        self.deeds.extend_from_slice(&news);
        Ok(Learned { news })
    }

    /// Adds a deed that this node itself has signed, whose signature needs no check. False, and
    /// nothing is added, if it is not the next one.
    pub(crate) fn enter(&mut self, own: &SignedDeed) -> bool {
        let next = self.last().is_some_and(|last| own.follows(last).is_ok());
        if next {
            self.owner = Some(own.deed.owner());
            self.deeds.push(own.clone());
        }
        next
    }

    /// Becomes `grown`, whose deeds were verified when it learnt them. False, and nothing changes,
    /// if that does not go on from this.
    pub(crate) fn grow(&mut self, grown: Self) -> bool {
        let continues = grown.entity == self.entity
            && self.deeds.len() < grown.deeds.len()
            && grown.deeds.starts_with(&self.deeds);
        if continues {
            *self = grown;
        }
        continues
    }

    /// A deed of a known epoch is either the known one or proof that its signer signed twice.
    fn compare(&self, known: &SignedDeed, heard: &SignedDeed) -> Result<(), TitleError> {
        if known.deed == heard.deed {
            return Ok(());
        }
        match self.deed(Epoch::new(heard.deed.epoch.get() - 1)) {
            Some(before) => heard.verify_after(before)?,
            None => heard.verify_birth(&self.entity)?,
        }
        Err(TitleError::Conflict { second: Box::new(heard.clone()) })
    }
}

/// What comes of a deed that does not verify.
fn believed(error: DeedError) -> Result<(), DeedError> {
    if Mutant::DeedUnverified.is_on() { Ok(()) } else { Err(error) }
}
