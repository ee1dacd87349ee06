//! Decides how a daemon comes back whose heir lost its disk (rule 10): at the source, which still has
//! the frozen state, by a deed to itself, on the word of an operator.
//!
//! Nothing here can know that the heir never went live: it may have taken events in and be cut off.
//! So the heir and all members are asked first, for `search_max`, and an acknowledgement in that time
//! ends it. After it the deed of the next epoch fences the heir wherever it is heard: what the heir
//! took is lost, and it says so.

use super::*;
use crate::port::ReclaimError;

/// An operator's wish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reclaiming {
    ticket: Ticket,
    attempt: AttemptId,
    /// Until then the heir may still answer.
    pub(super) until: Time,
    /// The deed that is being saved.
    deed: Option<Box<SignedDeed>>,
}

impl Departed {
    /// Whether the deed that takes the daemon back is on its way to the disk: the acknowledgement of
    /// the one before comes too late.
    pub(super) fn is_taken_back(&self) -> bool {
        self.reclaiming.as_ref().is_some_and(|reclaiming| reclaiming.deed.is_some())
    }

    /// The heir has it: whoever wanted it back is told.
    pub(super) fn obey(&mut self, out: &mut Vec<Output>) {
        self.obeyed = true;
        if let Some(Reclaiming { ticket, .. }) = self.reclaiming.take() {
            out.push(Output::Reclaimed { ticket, result: Err(ReclaimError::Obeyed) });
        }
    }
}

impl Seat {
    pub(super) fn reclaim(
        &mut self,
        now: Time,
        ticket: Ticket,
        attempt: AttemptId,
        out: &mut Vec<Output>,
    ) {
        let until = now + self.station.settings.search_max;
        let error = match &mut self.tenure {
            Tenure::Departed(departed) if departed.obeyed => ReclaimError::Obeyed,
            // It was brought back elsewhere: that was not given by this node.
            Tenure::Departed(departed) if self.title.is_revival(departed.deed.deed.epoch) => {
                ReclaimError::NotDeparted
            }
            Tenure::Departed(departed) if departed.reclaiming.is_some() => ReclaimError::Busy,
            Tenure::Departed(departed) => {
                departed.reclaiming = Some(Reclaiming { ticket, attempt, until, deed: None });
                departed.resend_at = now;
                return;
            }
            Tenure::Reading(_) => ReclaimError::Busy,
            Tenure::Stranger | Tenure::Bearing(_) | Tenure::Owner(_) | Tenure::Deleted => {
                ReclaimError::NotDeparted
            }
        };
        out.push(Output::Reclaimed { ticket, result: Err(error) });
    }

    /// Time has passed. True if the old deed is not to be sent any more.
    pub(super) fn tick_reclaim(&mut self, now: Time, out: &mut Vec<Output>) -> bool {
        let rest = self.station.settings.resend_after;
        let (own, store, entity) = (self.station.public(), self.station.store(), self.entity);
        let Tenure::Departed(departed) = &mut self.tenure else { return false };
        let Some(reclaiming) = &mut departed.reclaiming else { return false };
        departed.resend_at = now + rest;
        if reclaiming.deed.is_some() {
            return true;
        }
        if now < reclaiming.until && !Mutant::TakenBackUnasked.is_on() {
            self.own_desk(now, out).ask_all(None);
            return false;
        }
        let given = &departed.deed;
        let deed = Deed {
            entity,
            epoch: given.deed.epoch.next(),
            from: own,
            to: own,
            store,
            attempt: reclaiming.attempt,
            head: given.deed.head.through_deed(&given.digest()),
            snapshot: given.deed.snapshot,
            previous: given.digest(),
        };
        let deed = self.station.sign(deed);
        reclaiming.deed = Some(Box::new(deed.clone()));
        self.own_desk(now, out).save(Saving::Reclaim, Write::Reclaim { deed });
        true
    }

    /// The deed that takes the daemon back is saved, or not.
    pub(super) fn reclaimed(
        &mut self,
        now: Time,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let Tenure::Departed(departed) = &mut self.tenure else { return };
        let Some(Reclaiming { ticket, deed: Some(deed), .. }) = departed.reclaiming.take() else {
            return;
        };
        if let Err(error) = result {
            let unknown = matches!(error, WriteError::Unknown(_));
            let result = Err(ReclaimError::Store(error));
            out.push(Output::Reclaimed { ticket, result });
            if unknown {
                self.open(now, out);
            }
            return;
        }
        out.push(Output::Reclaimed { ticket, result: Ok(()) });
        let here = self.station.node();
        let _ = self.learn(now, here, std::slice::from_ref(&*deed), out);
        self.announce(now, out);
        self.open(now, out);
    }

    /// This node owned what its giver took back: what it took in since is lost, and is told.
    pub(super) fn tell_taken_back(&mut self, now: Time, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &self.tenure else { return };
        let (durable, given) = (owner.durable, self.title.deed(owner.epoch));
        let back = self.title.deed(owner.epoch.next());
        let Some((given, back)) = given.zip(back) else { return };
        if back.deed.forks_from(&given.deed) {
            let turns = durable.get().saturating_sub(back.deed.head.position.get());
            let warning = Warning::TakenBack { epoch: back.deed.epoch, turns };
            self.own_desk(now, out).warn(warning);
        }
    }
}
