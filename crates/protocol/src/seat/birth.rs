//! Decides how a daemon begins on this node, and how it is stopped or deleted here.
//!
//! It begins by a birth, or is *brought back*: its last owner is lost, and whoever has its key and an older state
//! has the key sign that it goes on from there. That deed follows the last one that is known, so it begins a new
//! epoch, fences the owner that was lost, and is in the title for all to see. What cannot be known here is whether
//! that owner gave the daemon on meanwhile: then two deeds begin one epoch, and the heir stops when it hears.

use super::*;

impl Seat {
    pub(super) fn spawn(&mut self, now: Time, bearing: Bearing, out: &mut Vec<Output>) {
        let deed = &bearing.birth.deed;
        let revives = deed.epoch > Epoch::FIRST;
        let known = self.title.last().is_some();
        let fresh = matches!(self.tenure, Tenure::Stranger) && known == revives;
        let mut title = self.title.clone();
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
        let (saving, write) = if revives {
            let (entity, attempt, epoch) = (self.entity, deed.deed.attempt, manifest.epoch);
            (Saving::Revival, Write::SaveCopy { entity, attempt, epoch, manifest })
        } else {
            (Saving::Birth, Write::Birth { deed, manifest })
        };
        self.own_desk(now, out).save(saving, write);
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
        if bearing.birth.deed.epoch > Epoch::FIRST {
            return self.revived(now, bearing, result, out);
        }
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

    /// The copy of a daemon that is brought back is saved, or not: then the deed is.
    pub(super) fn revival_kept(
        &mut self,
        now: Time,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let Tenure::Bearing(bearing) = &self.tenure else { return };
        let deed = bearing.birth.clone();
        // Another deed may have been heard of meanwhile.
        let follows = self.title.last().is_some_and(|last| deed.follows(last).is_ok());
        let error = match result {
            Ok(()) if follows => {
                let mut deeds = self.title.deeds().to_vec();
                deeds.push(deed);
                return self.own_desk(now, out).save(Saving::Birth, Write::Accept { deeds });
            }
            Ok(()) => SpawnError::Deed,
            Err(error) => SpawnError::Store(error),
        };
        self.not_revived(now, error, out);
    }

    /// The deed by which a daemon is brought back is saved, or not.
    fn revived(
        &mut self,
        now: Time,
        bearing: Box<Bearing>,
        result: Result<(), WriteError>,
        out: &mut Vec<Output>,
    ) {
        let ticket = bearing.ticket;
        let here = self.station.node();
        let deed = bearing.birth.clone();
        match result {
            Ok(()) if self.learn(now, here, &[deed], out).is_ok() => {
                out.push(Output::Spawned { ticket, result: Ok(()) });
                self.announce(now, out);
                self.open(now, out);
            }
            // Two deeds begin one epoch: the record has this one, and is read when the node starts.
            Ok(()) => out.push(Output::Spawned { ticket, result: Err(SpawnError::Deed) }),
            Err(error) => {
                self.tenure = Tenure::Bearing(bearing);
                self.not_revived(now, SpawnError::Store(error), out);
            }
        }
    }

    fn not_revived(&mut self, now: Time, error: SpawnError, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.tenure, Tenure::Stranger);
        let Tenure::Bearing(bearing) = before else { return };
        let (ticket, entity, attempt) = (bearing.ticket, self.entity, bearing.birth.deed.attempt);
        if matches!(error, SpawnError::Store(WriteError::Unknown(_))) {
            // It may be on disk: the record says.
            self.open(now, out);
        } else {
            let write = Write::DropCopy { entity, attempt };
            self.own_desk(now, out).save(Saving::DropCopy(attempt), write);
        }
        out.push(Output::Spawned { ticket, result: Err(error) });
    }

    /// Somebody brought the daemon back while this node owned it by another deed of the same epoch: it acts no more.
    pub(super) fn stop_for_revival(&mut self, now: Time, out: &mut Vec<Output>) {
        self.with_owner(now, out, |owner, desk| {
            if !matches!(owner.life, Life::Parked { .. }) {
                owner.park(desk, "it was brought back elsewhere from an older state".to_owned());
            }
        });
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
