//! Decides how a daemon begins on this node, and how it is stopped or deleted here.

use super::*;

impl Seat {
    pub(super) fn spawn(&mut self, now: Time, bearing: Bearing, out: &mut Vec<Output>) {
        let fresh = matches!(self.tenure, Tenure::Stranger) && self.title.last().is_none();
        let mut title = Title::unknown(self.entity);
        let deed = &bearing.birth.deed;
        let ours = deed.to == self.station.public() && deed.store == self.station.store();
        let error = if !fresh {
            Some(SpawnError::Exists)
        } else if !ours || title.learn(std::slice::from_ref(&bearing.birth)).is_err() {
            Some(SpawnError::Deed)
        } else {
            None
        };
        if let Some(error) = error {
            return out.push(Output::Spawned { ticket: bearing.ticket, result: Err(error) });
        }
        let (deed, manifest) = (bearing.birth.clone(), bearing.manifest.clone());
        self.tenure = Tenure::Bearing(Box::new(bearing));
        self.own_desk(now, out).save(Saving::Birth, Write::Birth { deed, manifest });
    }

    pub(super) fn born(
        &mut self,
        now: Time,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let Tenure::Bearing(bearing) = std::mem::replace(&mut self.tenure, Tenure::Stranger) else {
            return;
        };
        let ticket = bearing.ticket;
        if let Err(error) = result {
            // The birth may be on disk: the record says.
            self.open(now, out);
            return out.push(Output::Spawned { ticket, result: Err(SpawnError::Store(error)) });
        }
        let Bearing { birth, manifest, wall, catch_up, next_timer, .. } = *bearing;
        let (copy, epoch) = (birth.deed.attempt, birth.deed.epoch);
        if self.title.learn(&[birth]).is_err() {
            return out.push(Output::Spawned { ticket, result: Err(SpawnError::Deed) });
        }
        // Nobody is born as something else.
        let evolves = false;
        let restored = Restored { ledger: Ledger::default(), next_timer, catch_up, evolves };
        let mut replica = Replica::restored(&manifest, restored);
        replica.time = replica.time.max(wall);
        let head = replica.head;
        self.tenure = Tenure::Owner(Box::new(Owner::live(epoch, copy, manifest, replica, now)));
        out.push(Output::Spawned { ticket, result: Ok(()) });
        out.push(Output::Event(Event::Live { epoch, head }));
        self.announce(now, out);
        self.title_grew(now, out);
    }

    /// Tells the members who owns the daemon.
    pub(super) fn announce(&mut self, now: Time, out: &mut Vec<Output>) {
        let entity = self.entity;
        let Some(deed) = self.title.last().cloned() else { return };
        let after = Epoch::new(deed.deed.epoch.get() - 1);
        let message = TitleMessage::DeedAnswered { after, deeds: vec![deed], attempt: None };
        let message = whimbrel_wire::Message::Title { entity, message };
        self.own_desk(now, out).push(Output::Broadcast { message });
    }

    pub(super) fn snapshot(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Output>) {
        match &self.tenure {
            Tenure::Owner(owner) if matches!(owner.life, Life::Live) => {
                self.with_owner(now, out, |owner, desk| owner.want_snapshot(desk, Some(ticket)));
            }
            Tenure::Owner(_) | Tenure::Reading(_) | Tenure::Bearing(_) => {
                out.push(Output::SnapshotTaken { ticket, result: Err(DeliverError::Busy) });
            }
            Tenure::Stranger | Tenure::Departed(_) | Tenure::Deleted => {
                out.push(Output::SnapshotTaken { ticket, result: Err(DeliverError::NotHere) });
            }
        }
    }

    pub(super) fn stop(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &self.tenure else {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::NotHere) });
        };
        if owner.departure.as_ref().is_some_and(Departure::is_committing) {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::Migrating) });
        }
        self.with_owner(now, out, |owner, desk| {
            if owner.departure.is_some() {
                owner.give_up(desk, MigrationFailureReason::ShuttingDown);
            }
            owner.stop(desk, ticket);
        });
    }

    pub(super) fn delete(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Output>) {
        let Tenure::Owner(owner) = &self.tenure else {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::NotHere) });
        };
        if owner.departure.is_some() {
            return out.push(Output::Stopped { ticket, result: Err(DeliverError::Migrating) });
        }
        self.with_owner(now, out, |owner, desk| owner.delete(desk, ticket));
    }

    pub(super) fn deletion_saved(
        &mut self,
        now: Time,
        result: &Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let mut gone = false;
        self.with_owner(now, out, |owner, desk| gone = owner.deleted(desk, result));
        if gone {
            self.tenure = Tenure::Deleted;
            out.push(Output::WipeKey);
        } else if matches!(result, Err(WriteError::Unknown(_))) {
            self.with_owner(now, out, Owner::reopen);
        }
    }
}
