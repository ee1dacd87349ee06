//! Decides what happens around the commit point: the deed is saved, sent, obeyed and acknowledged.
//!
//! The source side holds the deed until it is acknowledged; the target side acknowledges only what
//! it has saved (rule 4).

use super::*;

impl Seat {
    pub(super) fn hand_over_saved(
        &mut self,
        now: Time,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let error = match result {
            Ok(()) => {
                let Tenure::Owner(owner) = &self.tenure else { return };
                let deed = owner.departure.as_ref().and_then(Departure::deed).cloned();
                let Some(deed) = deed else { return };
                let own = deed.deed.from == self.station.public() && self.title.enter(&deed);
                if own || self.title.learn(std::slice::from_ref(&deed)).is_ok() {
                    self.depart(now, deed, out);
                    self.title_grew(now, out);
                }
                return;
            }
            Err(error) => error,
        };
        self.with_owner(now, out, |owner, desk| match error {
            WriteError::Unknown(_) if !Mutant::UnknownIsRefused.is_on() => {
                owner.reopen(desk);
            }
            error @ (WriteError::Refused(_)
            | WriteError::Failed(_)
            | WriteError::Unknown(_)
            | _) => owner.abandon(desk, MigrationFailureReason::StoreFailed(error.to_string())),
        });
    }

    /// Past the commit point: the daemon is never stepped here again in that epoch.
    pub(super) fn depart(&mut self, now: Time, deed: SignedDeed, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &mut self.tenure else { return };
        let held = owner.take_held();
        let (copy, manifest) = (owner.copy, owner.base().clone());
        let receivers: Vec<EntityId> = owner.replica.ledger.outgoing.keys().copied().collect();
        let frozen = Frozen { head: deed.deed.head, state: Digest::ZERO };
        let departure = owner.departure.take().unwrap_or_else(|| {
            let (attempt, target) = (deed.deed.attempt, deed.deed.owner());
            Departure::committed(attempt, target, manifest, frozen, now)
        });
        let (orchestrator, target) = (departure.orchestrator, departure.target);
        self.tenure = Tenure::Departed(Box::new(Departed {
            deed: deed.clone(),
            departure,
            copy,
            resend_at: now,
            dropping: false,
            reading: false,
            obeyed: false,
            reclaiming: None,
        }));
        self.send_deed(now, out);
        out.push(Output::Event(Event::HandedOver { deed: Box::new(deed.clone()) }));
        for waiting in held {
            self.forward(now, target, waiting, out);
        }
        let done = MigrationMessage::CleanupComplete { daemon_origin: self.origin, deed };
        self.migration(now, orchestrator, Role::Source, done, out);
        if Mutant::StateDroppedEarly.is_on() {
            let deed = self.title.last().map_or(Digest::ZERO, SignedDeed::digest);
            self.acknowledged(now, target, deed, out);
        }
        out.push(Output::DropCopy { copy });
        out.extend(receivers.into_iter().map(|to| Output::Recall { to }));
    }

    /// Held events go to the new owner, who answers their senders.
    pub(super) fn forward(
        &mut self,
        now: Time,
        target: NodeId,
        waiting: Waiting,
        out: &mut Vec<Output>,
    ) {
        match (&waiting.arrived, waiting.route) {
            (
                Arrived::Event { sender, number, answered, event },
                Route::Node { reply_to, epoch },
            ) => {
                let (sender, number, answered) = (*sender, *number, *answered);
                if Mutant::HeldAcked.is_on() {
                    let answer = whimbrel_wire::Answer { outputs: Vec::new(), failure: None };
                    let message = DeliveryMessage::Delivered { sender, number, answer, deed: None };
                    return self.own_desk(now, out).delivery(reply_to, message);
                }
                let event = event.clone();
                let message =
                    DeliveryMessage::Deliver { sender, number, answered, event, reply_to, epoch };
                self.own_desk(now, out).delivery(target, message);
            }
            _ => self.redirect(now, &waiting, out),
        }
    }

    pub(super) fn migration(
        &mut self,
        now: Time,
        to: NodeId,
        role: Role,
        message: MigrationMessage,
        out: &mut Vec<Output>,
    ) {
        let Some(deed) = self.title.last() else { return };
        let (attempt, epoch) = (deed.deed.attempt, Epoch::new(deed.deed.epoch.get() - 1));
        let mut desk = self.own_desk(now, out);
        let message = desk.envelope(attempt, epoch, role, message);
        desk.push(Output::Send { to, message });
    }

    pub(super) fn send_deed(&mut self, now: Time, out: &mut Vec<Output>) {
        let resend_at = now + self.station.settings.resend_after;
        let Tenure::Departed(departed) = &mut self.tenure else { return };
        departed.resend_at = resend_at;
        let (to, deed) = (departed.deed.deed.owner(), departed.deed.clone());
        let message = MigrationMessage::ActivateTarget { daemon_origin: self.origin, deed };
        self.migration(now, to, Role::Source, message, out);
    }

    pub(super) fn tick_departed(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Tenure::Departed(departed) = &mut self.tenure {
            departed.reading = false;
        }
        if !self.tick_reclaim(now, out) {
            self.send_deed(now, out);
        }
    }

    pub(super) fn state_dropped(&mut self, result: &Result<(), WriteError>, out: &mut Vec<Output>) {
        let Tenure::Departed(departed) = &mut self.tenure else { return };
        if result.is_err() {
            departed.dropping = false;
            return;
        }
        let epoch = Epoch::new(departed.deed.deed.epoch.get() - 1);
        self.tenure = Tenure::Stranger;
        out.push(Output::Event(Event::Dropped { epoch }));
    }

    /// The deed that makes this node the owner is saved, or not.
    pub(super) fn accepted(
        &mut self,
        now: Time,
        attempt: AttemptId,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let Some(arrival) = self.arrivals.get_mut(&attempt) else { return };
        if !arrival.is_accepting() {
            return;
        }
        match result {
            Ok(()) => {}
            // It is tried again.
            Err(WriteError::Failed(_)) => return,
            // Earlier deeds were learnt and could not be saved.
            Err(WriteError::Refused(WriteRefusal::DeedGap)) => {
                return arrival.lead_back(self.title.deeds());
            }
            // The copy is gone from the disk: it must come again.
            Err(WriteError::Refused(WriteRefusal::NoCopy | WriteRefusal::Position { .. })) => {
                out.push(Output::DropCopy { copy: attempt });
                let (source, epoch) = (arrival.source, arrival.epoch);
                let heir = Arrival::heir(arrival.deeds().to_vec(), source, epoch, now);
                self.arrivals.extend(heir.map(|heir| (attempt, heir)));
                return self.with_arrival(now, out, attempt, Arrival::vet);
            }
            // The record decides (rule 7).
            Err(WriteError::Unknown(_) | WriteError::Refused(_) | _) => {
                self.arrivals.remove(&attempt);
                out.push(Output::DropCopy { copy: attempt });
                return self.open(now, out);
            }
        }
        let deeds = arrival.deeds().to_vec();
        let (source, orchestrator) = (arrival.source, arrival.orchestrator);
        let on_disk_only = arrival.is_on_disk_only();
        self.inherit_title(now, source, &deeds, out);
        if let Some(last) = deeds.last() {
            self.acknowledge(now, source, last, out);
            if orchestrator != source {
                self.acknowledge(now, orchestrator, last, out);
            }
        }
        if on_disk_only {
            self.arrivals.remove(&attempt);
            self.open(now, out);
        } else {
            self.with_arrival(now, out, attempt, |arrival, desk| arrival.accepted(desk, &result));
        }
    }

    /// The deeds that make this node the owner are saved. They were verified when they came, unless
    /// another title came after them.
    fn inherit_title(
        &mut self,
        now: Time,
        source: NodeId,
        deeds: &[SignedDeed],
        out: &mut Vec<Output>,
    ) {
        let prospect = self.prospect.take().filter(|title| title.last() == deeds.last());
        if prospect.is_some_and(|title| self.title.grow(title)) {
            self.title_grew(now, out);
        } else {
            let _ = self.learn(now, source, deeds, out);
        }
    }

    /// Tells the source that its deed is obeyed. Only what is saved is acknowledged (rule 4).
    pub(super) fn acknowledge(
        &mut self,
        now: Time,
        to: NodeId,
        deed: &SignedDeed,
        out: &mut Vec<Output>,
    ) {
        let message = MigrationMessage::ActivateAck {
            daemon_origin: self.origin,
            replayed_seq: deed.deed.head.position.get(),
            deed: deed.digest(),
        };
        let (attempt, epoch) = (deed.deed.attempt, Epoch::new(deed.deed.epoch.get() - 1));
        let mut desk = self.own_desk(now, out);
        let message = desk.envelope(attempt, epoch, Role::Target, message);
        desk.push(Output::Send { to, message });
    }

    /// A copy went live: this node owns the daemon.
    pub(super) fn arrive(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        let Some(mut arrival) = self.arrivals.remove(&attempt) else { return };
        let (Some(replica), Some(manifest)) = (arrival.replica.take(), arrival.manifest().cloned())
        else {
            return self.open(now, out);
        };
        let (epoch, head) = (self.title.known(), replica.head);
        self.tenure = Tenure::Owner(Box::new(Owner::live(epoch, attempt, manifest, replica, now)));
        out.push(Output::Event(Event::Live { epoch, head }));
        let word = arrival.word.take();
        self.with_owner(now, out, |owner, desk| owner.adopt(desk, word));
        for waiting in arrival.held.drain(..) {
            self.with_owner(now, out, |owner, desk| {
                owner.offer(desk, waiting.arrived, waiting.route);
            });
        }
        if !Mutant::OutboxNotResent.is_on() {
            self.with_owner(now, out, |owner, desk| owner.post_all(desk));
        }
        let others: Vec<AttemptId> = self.arrivals.keys().copied().collect();
        for other in others {
            self.drop_arrival(now, other, out);
        }
        self.announce(now, out);
        self.title_grew(now, out);
    }

    pub(super) fn drop_arrival(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        let Some(arrival) = self.arrivals.remove(&attempt) else { return };
        let entity = self.entity;
        for waiting in arrival.held {
            self.redirect(now, &waiting, out);
        }
        let mut desk = self.own_desk(now, out);
        desk.forget_saves(attempt);
        desk.push(Output::DropCopy { copy: attempt });
        desk.save(Saving::DropCopy(attempt), Write::DropCopy { entity, attempt });
    }

    /// A copy that could not be thrown away: it is tried again, for it has a daemon's key.
    pub(super) fn copy_dropped(
        &mut self,
        now: Time,
        attempt: AttemptId,
        result: &Result<(), WriteError>,
    ) {
        if result.is_err() {
            self.litter.insert(attempt, now + self.station.settings.resend_max);
        }
    }

    pub(super) fn sweep(&mut self, now: Time, out: &mut Vec<Output>) {
        let due = self.litter.iter().filter(|(_, at)| **at <= now);
        let due: Vec<AttemptId> = due.map(|(attempt, _)| *attempt).collect();
        for attempt in due {
            self.litter.remove(&attempt);
            // The same attempt may have brought another copy since.
            if self.arrivals.contains_key(&attempt) || self.owns_copy(attempt) {
                continue;
            }
            let entity = self.entity;
            let write = Write::DropCopy { entity, attempt };
            self.own_desk(now, out).save(Saving::DropCopy(attempt), write);
        }
    }
}
