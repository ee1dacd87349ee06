//! Decides when an owner tells its daemon what it is to become.
//!
//! It is told in turns like any other, so a journal says under which definition each turn was made.
//! Terms of a move are told before anything of it is shipped. What the gate of the target let pass is
//! told in the first turn of the epoch that the move began: by the word that came with the vote, or,
//! if this node was started again in between, by what the gate says then of the same state. If it
//! says no then, the daemon goes on as what it was.

use bytes::Bytes;
use whimbrel_wire::{Epoch, EvolutionWord, MigrationFailureReason, encode};

use super::{Adoption, Arrived, Owner, Route, Waiting};
use crate::desk::Desk;
use crate::port::{Output, TurnFailure, Warning};

impl Owner {
    /// The daemon has just come: it is told what the gate let pass, before it takes anything else.
    /// A copy that came again after the vote was not judged.
    pub(crate) fn adopt(&mut self, desk: &mut Desk<'_>, word: Option<Bytes>) {
        match word {
            Some(word) => {
                self.tell(word);
                self.pump(desk);
            }
            None => self.ask_what_it_is_to_become(desk),
        }
    }

    fn tell(&mut self, word: Bytes) {
        self.queue.push_front(Waiting::new(Arrived::Evolution(word), Route::Nobody));
    }

    /// The daemon goes live: if nothing happened since it came, it may still have to be told.
    pub(super) fn ask_what_it_is_to_become(&mut self, desk: &mut Desk<'_>) {
        let came = desk.title.deed(self.epoch).is_some_and(|signed| {
            let deed = &signed.deed;
            let handed_over = deed.epoch > Epoch::FIRST && deed.from != deed.to;
            handed_over && deed.head.position == self.replica.head.position
        });
        if self.adoption == Adoption::Broken {
            return;
        }
        self.adoption = Adoption::None;
        if came && self.replica.evolves {
            self.adoption = Adoption::Asked;
            desk.push(Output::Judge { copy: self.copy });
        }
    }

    /// The gate has said what it is to become, if anything.
    pub(crate) fn judged(
        &mut self,
        desk: &mut Desk<'_>,
        verdict: Result<Option<Bytes>, MigrationFailureReason>,
    ) {
        if self.adoption == Adoption::Asked {
            self.adoption = Adoption::None;
            if let Some(word) = verdict.unwrap_or_default() {
                self.tell(word);
            }
            self.pump(desk);
        }
    }

    /// Tells the daemon the terms of a move. They are told again for each attempt.
    pub(crate) fn tell_terms(&mut self, desk: &mut Desk<'_>, word: &EvolutionWord) {
        self.tell(encode(word).into());
        self.pump(desk);
    }

    /// It was told, and may have declined.
    pub(super) fn told(&mut self, desk: &mut Desk<'_>, declined: Option<String>) {
        match (self.agreeing(), declined) {
            (true, None) => self.choose(desk),
            (true, Some(why)) => self.give_up(desk, MigrationFailureReason::Incompatible(why)),
            // What was adopted need not be worked out anew at each start.
            (false, None) => self.snapshots.want(),
            (false, Some(reason)) => desk.warn(Warning::NotAdopted { reason }),
        }
    }

    /// The daemon broke over it: nothing of it has happened, and it is not told again.
    pub(super) fn broke_over_it(&mut self, desk: &mut Desk<'_>, failure: &TurnFailure) {
        if self.agreeing() {
            self.give_up(desk, MigrationFailureReason::StateFailed(failure.to_string()));
        } else {
            self.adoption = Adoption::Broken;
        }
        self.rebuild(desk);
    }
}
