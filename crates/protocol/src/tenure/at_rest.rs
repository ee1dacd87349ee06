//! Decides how an owner at rest takes an event of its host when the store answers at once.
//!
//! The long way is three inputs: [`Input::Deliver`](crate::Input::Deliver) asks for the turn,
//! [`Input::Turned`](crate::Input::Turned) for the save, [`Input::Saved`](crate::Input::Saved)
//! answers. Where nothing else waits and the store answers before anything else can happen, they
//! follow each other with nothing between them. Here they are one step in three acts. Each act is
//! a value that only the one before it gives, so the order is the same: turn, save, answer.
//!
//! # States
//!
//! ```text
//! (at rest) ──▶ AtRest ──made──▶ Unsaved ──saved──▶ (at rest, answered)
//!                 │ failed          │ not_saved
//!                 ▼                 ▼
//!              the end of the long way: built anew from the disk
//! ```
//!
//! # Invariants
//!
//! * R1 (same either way): the seat, the store, the answer and what else is asked for are those of
//!   the long way.

use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, EntityId, Epoch, InputOrigin, Position, Sender, Time,
    Turn, Write, WriteError,
};

use crate::desk::Desk;
use crate::port::{Output, Ticket, TurnFailure, Turned};
use crate::rarely::Spot;
use crate::tenure::{Arrived, Making, Owner, Route, Settling, Waiting};

/// What the journal says of an event of the host.
const OF_HOST: InputOrigin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };

/// An owner at rest before an event of its host. Nothing has happened yet.
#[must_use = "the turn is to be made"]
pub struct AtRest<'s> {
    owner: &'s mut Owner,
    desk: Desk<'s>,
    event: &'s CausalEvent,
    time: Time,
}

/// The turn was made and is not durable yet.
#[must_use = "the turn is to be saved, and its end to be said"]
pub struct Unsaved<'s> {
    owner: &'s mut Owner,
    desk: Desk<'s>,
    settling: Settling,
}

/// One turn to save: [`Write::Append`] of this turn alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the turn is to be saved"]
pub struct Append {
    /// Which daemon.
    pub entity: EntityId,
    /// In which epoch the turn was taken.
    pub epoch: Epoch,
    /// The position before it.
    pub after: Position,
    /// The turn.
    pub turn: Turn,
}

impl From<Append> for Write {
    fn from(append: Append) -> Self {
        let Append { entity, epoch, after, turn } = append;
        Self::Append { entity, epoch, after, turns: vec![turn] }
    }
}

impl<'s> AtRest<'s> {
    #[inline]
    pub(crate) fn before(
        owner: &'s mut Owner,
        desk: Desk<'s>,
        event: &'s CausalEvent,
    ) -> Option<Self> {
        if !owner.may_take_at_once(&desk, event) {
            return None;
        }
        let time = owner.time_of_turn(desk.now);
        Some(Self { owner, desk, event, time })
    }

    /// The copy that makes the turn.
    #[inline]
    #[must_use]
    pub fn copy(&self) -> AttemptId {
        self.owner.copy
    }

    /// In which epoch.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.owner.epoch
    }

    /// The daemon's time.
    #[inline]
    #[must_use]
    pub fn time(&self) -> Time {
        self.time
    }

    /// Why.
    #[must_use]
    pub const fn origin(&self) -> InputOrigin {
        OF_HOST
    }

    /// The turn has ended well: what to save, and what is left to say afterwards.
    #[inline]
    pub fn made(self, turned: Turned) -> (Unsaved<'s>, Append) {
        let Self { owner, desk, event, time } = self;
        let event = event.clone();
        // Who asked is only needed if the save fails, and said then.
        let making = Making { origin: OF_HOST, route: Route::Nobody, event, time };
        let (entity, epoch, after) = (desk.entity, owner.epoch, owner.durable);
        let (turn, settling) = owner.enter(&desk, making, turned);
        (Unsaved { owner, desk, settling }, Append { entity, epoch, after, turn })
    }

    /// The turn has failed. What becomes of the event is said under `ticket`.
    pub fn failed(mut self, ticket: Ticket, failure: &TurnFailure) {
        let event = self.event.clone();
        let arrived = Arrived::Event { sender: Sender::Host, number: 0, answered: 0, event };
        let waiting = Waiting::new(arrived, Route::Caller(ticket));
        self.owner.spoilt(&mut self.desk, waiting, failure);
    }
}

impl Unsaved<'_> {
    /// The turn is durable: what to answer.
    #[inline]
    #[must_use = "the answer is for whoever delivered the event"]
    pub fn saved(mut self) -> Answer {
        self.desk.saves.pass();
        let Settling { position, answer, posts, .. } = self.settling;
        self.owner.durable = position;
        for (to, number, event) in posts {
            self.desk.push(Output::Post { to, number, event });
        }
        answer
    }

    /// The turn is not durable, or nobody knows. That is said under `ticket`.
    pub fn not_saved(mut self, ticket: Ticket, error: WriteError) {
        self.desk.saves.pass();
        if Mutant::RestAnswersUnsaved.is_on() {
            let result = Ok(self.settling.answer.clone());
            self.desk.push(Output::Delivered { ticket, result });
        }
        self.owner.settling.push_back(Settling { route: Route::Caller(ticket), ..self.settling });
        self.owner.saved(&mut self.desk, 1, Err(error));
    }
}

impl Owner {
    /// Whether nothing waits and nothing would come between the turn, its save and its answer.
    #[inline]
    fn may_take_at_once(&self, desk: &Desk<'_>, event: &CausalEvent) -> bool {
        let settings = desk.settings();
        self.may_turn(desk)
            && !desk.rarely(Spot::Busy)
            && self.departure.is_none()
            && self.queue.is_empty()
            && self.poisoned.is_none()
            && self.is_settled()
            && self.settling.is_empty()
            && self.stopping.is_empty()
            && self.deleting.tickets.is_empty()
            && self.replica.catch_up == CatchUp::Replay
            && self.snapshots.rest_after(event, &self.replica, settings)
            && self.replica.owed() < settings.outbox_max
    }
}
