//! Decides what a seat is after it has read its record: at a start, and whenever memory could not be
//! trusted (rule 7).

use super::*;

impl Seat {
    /// The record was read: at the start, or because memory could not be trusted.
    pub(super) fn read(
        &mut self,
        now: Time,
        result: Result<SeatRecord, String>,
        out: &mut Vec<Output>,
    ) {
        let wanted = match &self.tenure {
            Tenure::Reading(_) => true,
            Tenure::Owner(owner) => owner.is_reading(),
            Tenure::Stranger | Tenure::Bearing(_) | Tenure::Departed(_) | Tenure::Deleted => false,
        };
        // An earlier question may be answered late, after it was asked again.
        let Some(record) = result.ok().filter(|_| wanted) else { return };
        match Title::from_saved(self.entity, record.deeds.clone()) {
            // What was verified stays known, even if it could not be saved (rule 2).
            Ok(title) if title.known() >= self.title.known() => self.title = title,
            Ok(_) => {}
            Err(error) => {
                let error = error.to_string();
                return out.push(Output::Event(Event::Warning(Warning::Store { error })));
            }
        }
        if matches!(self.tenure, Tenure::Owner(_)) {
            self.reread(now, record, out);
        } else {
            self.start(now, record, out);
        }
        self.title_grew(now, out);
    }

    pub(super) fn start(&mut self, now: Time, record: SeatRecord, out: &mut Vec<Output>) {
        self.tenure = match record.holding {
            Holding::Nothing => Tenure::Stranger,
            Holding::Deleted => Tenure::Deleted,
            Holding::Owned(copy) => {
                let epoch = self.title.known();
                let owner = Owner::from_record(&self.own_desk(now, out), epoch, &copy, true);
                Tenure::Owner(Box::new(owner))
            }
            Holding::HandedOver(copy) => self.departed_again(now, copy.attempt, copy.manifest),
        };
        for copy in record.waiting {
            let source = self.title.deed(copy.epoch).map(|signed| signed.deed.owner());
            let arrival = Arrival::orphan(copy.attempt, copy.epoch, source.unwrap_or(NOBODY), now);
            self.arrivals.entry(copy.attempt).or_insert(arrival);
        }
        let attempts: Vec<AttemptId> = self.arrivals.keys().copied().collect();
        for attempt in attempts {
            self.with_arrival(now, out, attempt, Arrival::tick);
        }
        if matches!(self.tenure, Tenure::Owner(_)) {
            // From the first deed on, so that a twin shows itself too.
            let entity = self.entity;
            let message = TitleMessage::DeedAsked { after: Epoch::new(0), attempt: None };
            let message = whimbrel_wire::Message::Title { entity, message };
            self.own_desk(now, out).push(Output::Broadcast { message });
            // Nobody asks for a deed to oneself, and the heir that it fences must hear of it.
            let last = self.title.last();
            if last.is_some_and(|signed| signed.deed.from == signed.deed.to) {
                self.announce(now, out);
            }
        }
    }

    pub(super) fn departed_again(&self, now: Time, copy: AttemptId, manifest: Manifest) -> Tenure {
        let Some(deed) = self.title.last().cloned() else { return Tenure::Stranger };
        let frozen = Frozen { head: deed.deed.head, state: Digest::ZERO };
        let (attempt, target) = (deed.deed.attempt, deed.deed.owner());
        let departure = Departure::committed(attempt, target, manifest, frozen, now);
        Tenure::Departed(Box::new(Departed {
            deed,
            departure,
            copy,
            resend_at: now,
            dropping: false,
            reading: false,
            obeyed: false,
            reclaiming: None,
        }))
    }

    /// Obeys the record after a save of unknown outcome (rule 7).
    pub(super) fn reread(&mut self, now: Time, record: SeatRecord, out: &mut Vec<Output>) {
        match record.holding {
            Holding::Owned(copy) => self.with_owner(now, out, |owner, desk| {
                if owner.departure.is_some() {
                    let what = "the store had to be opened again".to_owned();
                    owner.reread(desk, &copy);
                    owner.abandon(desk, MigrationFailureReason::StoreFailed(what));
                } else {
                    owner.reread(desk, &copy);
                }
            }),
            Holding::HandedOver(_) => {
                let deed = self.title.last().cloned();
                if let Some(deed) = deed {
                    self.depart(now, deed, out);
                }
            }
            Holding::Nothing => self.leave(now, out),
            Holding::Deleted => self.tenure = Tenure::Deleted,
        }
    }

    /// Someone else owns the daemon: what waits here is sent on by its senders.
    pub(super) fn leave(&mut self, now: Time, out: &mut Vec<Output>) {
        self.with_owner(now, out, |owner, desk| owner.forsake(desk));
        if let Tenure::Owner(owner) = &mut self.tenure {
            let held = owner.take_held();
            let copy = owner.copy;
            let receivers = owner.replica.ledger.outgoing.keys();
            out.extend(receivers.map(|to| Output::Recall { to: *to }));
            self.tenure = Tenure::Stranger;
            out.push(Output::DropCopy { copy });
            for waiting in held {
                self.redirect(now, &waiting, out);
            }
        }
    }
}
