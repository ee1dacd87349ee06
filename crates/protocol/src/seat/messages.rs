//! Decides which machine a message of another node belongs to, and whether its sender may say it.
//!
//! # Invariants
//!
//! * Q1 (role and peer): a message of a move acts only if it comes from the node that plays the
//!   role it needs in that attempt.

use whimbrel_mutants::Mutant;
use whimbrel_wire::limits::{DEEDS_PER_MESSAGE_MAX, PAYLOAD_BYTES_MAX, TERMS_BYTES_MAX};
use whimbrel_wire::{
    AttemptId, DeliveryMessage, Digest, Epoch, Message, MigrationEnvelope, MigrationFailureReason,
    MigrationMessage, NodeId, Refusal, Role, SignedDeed, Time, TitleMessage, Turn,
};

use super::{Seat, Tenure};
use crate::arrival::{self, Arrival};
use crate::courier::Origin;
use crate::departure::{self, Departure, Request};
use crate::desk::Saving;
use crate::port::{DeliverError, Output, Warning};
use crate::tenure::{Arrived, Life, Route, Waiting};

impl Seat {
    pub(super) fn message(
        &mut self,
        now: Time,
        from: NodeId,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        match message {
            Message::Migration(envelope) => self.migration_message(now, from, envelope, out),
            Message::Delivery { message, .. } => self.delivery_message(now, from, message, out),
            Message::Title { message, .. } => self.title_message(now, from, message, out),
        }
    }

    fn migration_message(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: MigrationEnvelope,
        out: &mut Vec<Output>,
    ) {
        if matches!(self.tenure, Tenure::Reading(_)) {
            return;
        }
        self.tell_orchestration(now, from, &envelope, out);
        match envelope.message {
            MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::Cancel { .. } => self.orchestrator_says(now, from, envelope, out),
            MigrationMessage::SnapshotReady { .. } | MigrationMessage::BufferedEvents { .. } => {
                self.source_says(now, from, envelope, out);
            }
            MigrationMessage::RestoreComplete { .. }
            | MigrationMessage::ReplayComplete { .. }
            | MigrationMessage::ChunksWanted { .. } => self.target_says(now, from, envelope, out),
            MigrationMessage::ActivateTarget { deed, .. } => self.deeds(now, from, &[deed], out),
            MigrationMessage::ActivateAck { deed, .. } => self.acknowledged(now, from, deed, out),
            MigrationMessage::MigrationFailed { reason, .. } => {
                self.failed(now, from, envelope.attempt, envelope.role, reason, out);
            }
            // For the orchestration alone, which heard it above.
            MigrationMessage::CleanupComplete { .. } | MigrationMessage::Progressed { .. } => {}
        }
    }

    fn tell_orchestration(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: &MigrationEnvelope,
        out: &mut Vec<Output>,
    ) {
        let asked = self
            .orchestrations
            .values()
            .find(|move_| {
                move_.attempt == envelope.attempt && move_.plays_role(from, envelope.role)
            })
            .map(|move_| move_.asked);
        let Some(asked) = asked else { return };
        if let MigrationMessage::CleanupComplete { deed, .. } = &envelope.message {
            self.deeds(now, from, std::slice::from_ref(deed), out);
            if !self.believes(deed) {
                return;
            }
        }
        self.with_orchestration(now, out, asked, |move_, desk| {
            move_.hear(desk, envelope.role, &envelope.message)
        });
    }

    /// Whether a deed was verified: it is part of the title, or about to be once it is saved here.
    fn believes(&self, deed: &SignedDeed) -> bool {
        self.title.deed(deed.deed.epoch) == Some(deed)
            || self.arrivals.values().any(|arrival| arrival.deeds().last() == Some(deed))
    }

    fn orchestrator_says(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: MigrationEnvelope,
        out: &mut Vec<Output>,
    ) {
        if let Some(request) = Request::of(from, &envelope) {
            if envelope.role != Role::Orchestrator {
                return self.wrong_peer(now, from, envelope.attempt, out);
            }
            return self.take_snapshot(now, envelope.epoch, &request, out);
        }
        let cancel = matches!(envelope.message, MigrationMessage::Cancel { .. });
        if self.answer_departed(now, from, envelope.attempt, out) {
            if cancel {
                let reason = MigrationFailureReason::TooLate;
                self.refuse_move(now, from, &envelope, reason, out);
            }
            return;
        }
        if !self.is_departing(envelope.attempt) {
            let reason = MigrationFailureReason::StaleAttempt;
            return self.refuse_move(now, from, &envelope, reason, out);
        }
        if !self.may_speak(from, &envelope) {
            return self.wrong_peer(now, from, envelope.attempt, out);
        }
        self.with_owner(now, out, |owner, desk| {
            let committing = owner.departure.as_ref().is_some_and(Departure::is_committing);
            if !cancel {
                owner.cutover(desk);
            } else if !committing || Mutant::CancelledInCommit.is_on() {
                owner.give_up(desk, MigrationFailureReason::Cancelled);
            }
        });
    }

    fn may_speak(&self, from: NodeId, envelope: &MigrationEnvelope) -> bool {
        let Tenure::Owner(owner) = &self.tenure else { return false };
        let plays = owner
            .departure
            .as_ref()
            .is_some_and(|departure| departure::plays_role(departure, from, envelope));
        plays || Mutant::AnyPeer.is_on()
    }

    /// A party of a move that is past its commit point is told so.
    fn answer_departed(
        &mut self,
        now: Time,
        from: NodeId,
        attempt: AttemptId,
        out: &mut Vec<Output>,
    ) -> bool {
        let deed = self.title.last().filter(|signed| signed.deed.attempt == attempt).cloned();
        let left = deed.filter(|signed| signed.deed.from == self.station.public());
        let Some(deed) = left else { return false };
        let message = MigrationMessage::CleanupComplete { daemon_origin: self.origin, deed };
        self.migration(now, from, Role::Source, message, out);
        true
    }

    fn take_snapshot(&mut self, now: Time, epoch: Epoch, request: &Request, out: &mut Vec<Output>) {
        if self.is_departing(request.attempt) {
            return self.with_owner(now, out, |owner, desk| {
                let departure = owner.departure.as_ref();
                let same = departure
                    .is_some_and(|departure| departure.orchestrator == request.orchestrator);
                if same {
                    owner.still_wanted(desk.now);
                }
            });
        }
        if self.answer_departed(now, request.orchestrator, request.attempt, out) {
            return;
        }
        let here = self.station.node();
        let reason = match &self.tenure {
            Tenure::Owner(owner) => match &owner.life {
                _ if owner.epoch != epoch && !Mutant::AttemptRestarts.is_on() => {
                    Some(MigrationFailureReason::StaleAttempt)
                }
                _ if request.target == here => Some(MigrationFailureReason::SameNode),
                // They become a turn, which has to fit into a frame when it is sent to the target.
                _ if request.terms.as_ref().is_some_and(|it| it.len() > TERMS_BYTES_MAX) => {
                    let what = format!("the terms have more than {TERMS_BYTES_MAX} bytes");
                    Some(MigrationFailureReason::Incompatible(what))
                }
                _ if owner.departure.is_some() && !Mutant::TwoMovesAtOnce.is_on() => {
                    Some(MigrationFailureReason::AlreadyMigrating)
                }
                Life::Live => None,
                // It will run, or say why not: whoever asks comes again.
                Life::Opening(_) => Some(MigrationFailureReason::NotReady),
                Life::Parked { .. } | Life::Stopped => {
                    let what = "the daemon does not run here at the moment".to_owned();
                    Some(MigrationFailureReason::StateFailed(what))
                }
            },
            Tenure::Reading(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Departed(_)
            | Tenure::Deleted => Some(MigrationFailureReason::NotOwner),
        };
        match reason {
            None => self.with_owner(now, out, |owner, desk| owner.depart(desk, request)),
            Some(reason) => {
                let (to, attempt) = (request.orchestrator, request.attempt);
                self.own_desk(now, out).say_failed(to, attempt, epoch, Role::Source, reason);
            }
        }
    }

    fn source_says(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: MigrationEnvelope,
        out: &mut Vec<Output>,
    ) {
        let attempt = envelope.attempt;
        if envelope.role != Role::Source {
            return self.wrong_peer(now, from, attempt, out);
        }
        if let Some(arrival) = self.arrivals.get(&attempt) {
            let plays = arrival.source == from && arrival.epoch == envelope.epoch;
            if !plays && !Mutant::AnyPeer.is_on() {
                return self.wrong_peer(now, from, attempt, out);
            }
        }
        match envelope.message {
            MigrationMessage::SnapshotReady {
                snapshot_bytes,
                chunk_index: 0,
                snapshot,
                offer: Some(offer),
                ..
            } => {
                let read =
                    arrival::read_manifest(&self.own_desk(now, out), &snapshot_bytes, &snapshot);
                match read {
                    Ok(manifest) => {
                        self.offered(now, from, envelope.epoch, attempt, manifest, offer, out);
                    }
                    Err(reason) => {
                        self.answer_failed(now, from, attempt, envelope.epoch, reason, out)
                    }
                }
            }
            MigrationMessage::SnapshotReady { snapshot_bytes, chunk_index, snapshot, .. } => {
                let other = self.arrivals.keys().find(|_| Mutant::SnapshotsMixed.is_on());
                let attempt = other.copied().unwrap_or(attempt);
                self.with_arrival(now, out, attempt, |arrival, desk| {
                    arrival.piece(desk, &snapshot, chunk_index, snapshot_bytes)
                });
            }
            MigrationMessage::BufferedEvents { events, stamps, frozen, .. } => {
                if !self.arrivals.contains_key(&attempt) {
                    let reason = MigrationFailureReason::StaleAttempt;
                    return self.answer_failed(now, from, attempt, envelope.epoch, reason, out);
                }
                self.with_arrival(now, out, attempt, |arrival, desk| {
                    arrival.events(desk, events, stamps, frozen)
                });
            }
            // Sorted out by the caller.
            MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::RestoreComplete { .. }
            | MigrationMessage::ReplayComplete { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::CleanupComplete { .. }
            | MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::ActivateTarget { .. }
            | MigrationMessage::ActivateAck { .. }
            | MigrationMessage::ChunksWanted { .. }
            | MigrationMessage::Progressed { .. }
            | MigrationMessage::Cancel { .. } => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different word of one message")]
    fn offered(
        &mut self,
        now: Time,
        from: NodeId,
        epoch: Epoch,
        attempt: AttemptId,
        manifest: whimbrel_wire::Manifest,
        offer: whimbrel_wire::Offer,
        out: &mut Vec<Output>,
    ) {
        if self.arrivals.contains_key(&attempt) {
            return self.with_arrival(now, out, attempt, |arrival, desk| {
                arrival.offer(desk, manifest, offer)
            });
        }
        // Chunks at or below what the title has passed are refused (rule 2).
        let past = self.title.epoch() > Some(epoch) && !Mutant::TombstonesIgnored.is_on();
        let reason = match &self.tenure {
            _ if past => Some(MigrationFailureReason::StaleAttempt),
            Tenure::Owner(_) | Tenure::Bearing(_) => Some(MigrationFailureReason::WrongPeer),
            _ if self.arrivals.len() >= self.station.settings.arrivals_max => {
                Some(MigrationFailureReason::CapacityExceeded)
            }
            // Whoever owns it in the epoch that began here has let this node off, even if the
            // acknowledgement is still on its way to the disk.
            Tenure::Reading(_) | Tenure::Stranger | Tenure::Departed(_) | Tenure::Deleted => None,
        };
        if let Some(reason) = reason {
            return self.answer_failed(now, from, attempt, epoch, reason, out);
        }
        // An offer in the epoch that the hand-over began acknowledges it; the old key goes before the
        // new one comes.
        if let Tenure::Departed(departed) = &self.tenure
            && departed.deed.deed.epoch == epoch
        {
            let deed = departed.deed.digest();
            self.acknowledged(now, from, deed, out);
        }
        let arrival = Arrival::offered(attempt, epoch, from, manifest, offer, now);
        self.arrivals.insert(attempt, arrival);
        self.with_arrival(now, out, attempt, Arrival::vet);
    }

    fn target_says(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: MigrationEnvelope,
        out: &mut Vec<Output>,
    ) {
        if self.serve_heir(now, from, &envelope, out) {
            return;
        }
        if !self.is_departing(envelope.attempt) {
            // The orchestrator hears copies of these; they are not for the source then.
            let mine = self.orchestrations.values().any(|move_| move_.attempt == envelope.attempt);
            if !mine && !self.answer_departed(now, from, envelope.attempt, out) {
                let reason = MigrationFailureReason::StaleAttempt;
                self.refuse_move(now, from, &envelope, reason, out);
            }
            return;
        }
        if !self.may_speak(from, &envelope) {
            return self.wrong_peer(now, from, envelope.attempt, out);
        }
        let epoch = envelope.epoch;
        self.with_owner(now, out, |owner, desk| match envelope.message {
            MigrationMessage::RestoreComplete { snapshot, head, store, key, .. }
                if key.node_id() == from =>
            {
                owner.restore_complete(desk, &snapshot, head, store, key);
            }
            MigrationMessage::ReplayComplete { head, state, store, key, .. }
                if key.node_id() == from =>
            {
                owner.replay_complete(desk, head, state, store, key);
            }
            MigrationMessage::ChunksWanted { snapshot, ranges, .. } => {
                if let Some(departure) = &mut owner.departure {
                    departure.serve(desk, epoch, &snapshot, &ranges);
                }
            }
            MigrationMessage::RestoreComplete { .. }
            | MigrationMessage::ReplayComplete { .. }
            | MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::SnapshotReady { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::CleanupComplete { .. }
            | MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::BufferedEvents { .. }
            | MigrationMessage::ActivateTarget { .. }
            | MigrationMessage::ActivateAck { .. }
            | MigrationMessage::Progressed { .. }
            | MigrationMessage::Cancel { .. } => {}
        });
    }

    /// An heir lost its copy: the frozen one is sent again, under the deed (rule 5).
    fn serve_heir(
        &mut self,
        now: Time,
        from: NodeId,
        envelope: &MigrationEnvelope,
        out: &mut Vec<Output>,
    ) -> bool {
        let Self { station, entity, origin, title, tenure, saves, .. } = self;
        let Tenure::Departed(departed) = tenure else { return false };
        let heir =
            departed.deed.deed.owner() == from && departed.deed.deed.attempt == envelope.attempt;
        if !heir || Mutant::CopyTimesOut.is_on() {
            return false;
        }
        let mut desk = Self::desk(station, *entity, *origin, title, saves, now, out);
        match &envelope.message {
            MigrationMessage::ChunksWanted { snapshot, ranges, .. } => {
                departed.departure.serve_again(&mut desk, envelope.epoch, snapshot, ranges);
            }
            MigrationMessage::RestoreComplete { head, .. }
            | MigrationMessage::ReplayComplete { head, .. }
                if !departed.reading && head.position < departed.deed.deed.head.position =>
            {
                departed.reading = true;
                desk.push(Output::ReadTurns {
                    copy: departed.copy,
                    after: head.position,
                    count: desk.settings().round_turns_max,
                    bytes: desk.settings().round_bytes_max,
                });
            }
            MigrationMessage::RestoreComplete { .. }
            | MigrationMessage::ReplayComplete { .. }
            | MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::SnapshotReady { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::CleanupComplete { .. }
            | MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::BufferedEvents { .. }
            | MigrationMessage::ActivateTarget { .. }
            | MigrationMessage::ActivateAck { .. }
            | MigrationMessage::Progressed { .. }
            | MigrationMessage::Cancel { .. } => {}
        }
        true
    }

    /// Turns for an heir that lost its copy.
    pub(super) fn resend_turns(
        &mut self,
        now: Time,
        result: Result<Vec<Turn>, String>,
        out: &mut Vec<Output>,
    ) {
        let Tenure::Departed(departed) = &mut self.tenure else { return };
        departed.reading = false;
        let Ok(turns) = result else { return };
        let to = departed.deed.deed.owner();
        let (events, stamps) = turns.into_iter().map(|turn| (turn.event, turn.stamp)).unzip();
        let daemon_origin = self.origin;
        let message =
            MigrationMessage::BufferedEvents { daemon_origin, events, stamps, frozen: None };
        self.migration(now, to, Role::Source, message, out);
    }

    /// Deeds were heard: they are verified, learnt, and obeyed if they make this node the owner.
    pub(super) fn deeds(
        &mut self,
        now: Time,
        from: NodeId,
        deeds: &[SignedDeed],
        out: &mut Vec<Output>,
    ) {
        let Some(last) = deeds.last() else { return };
        let mut title = self.title.clone();
        let news = match title.learn(deeds) {
            Ok(learned) => learned.news,
            Err(error) => return self.disbelieve(now, from, &error, out),
        };
        if news.is_empty() {
            return self.known_deed(now, from, last, out);
        }
        let newest = title.last().cloned();
        match newest {
            Some(newest) if newest.deed.owner() == self.station.node() => {
                self.prospect = Some(title);
                self.inherit(now, from, newest, news, out);
            }
            Some(_) | None => {
                self.title = title;
                self.own_desk(now, out).save(Saving::Housekeeping, crate::desk::learn(news));
                self.passed_by(now, out);
                self.title_grew(now, out);
            }
        }
    }

    /// A deed that is known already is acknowledged again, if it was obeyed. One that a later deed
    /// follows was obeyed too: only its owner can have signed that one.
    fn known_deed(&mut self, now: Time, from: NodeId, deed: &SignedDeed, out: &mut Vec<Output>) {
        let known = self.title.deed(deed.deed.epoch) == Some(deed);
        let mine = deed.deed.to == self.station.public() && deed.deed.store == self.station.store();
        if mine && known && deed.deed.epoch > Epoch::FIRST {
            let deed = deed.clone();
            self.acknowledge(now, from, &deed, out);
            let source = deed.deed.from.node_id();
            if source != from {
                self.acknowledge(now, source, &deed, out);
            }
        }
    }

    /// A verified deed names this node.
    fn inherit(
        &mut self,
        now: Time,
        from: NodeId,
        newest: SignedDeed,
        news: Vec<SignedDeed>,
        out: &mut Vec<Output>,
    ) {
        let epoch = newest.deed.epoch;
        let kept = newest.deed.store == self.station.store();
        if !kept && !Mutant::AnyStore.is_on() {
            return self.own_desk(now, out).warn(Warning::LostTitle { epoch });
        }
        // This node made it, and lost what it had then: nobody else has the copy.
        if self.prospect.as_ref().is_some_and(|title| title.is_revival(epoch)) {
            return self.own_desk(now, out).warn(Warning::LostTitle { epoch });
        }
        if newest.deed.from == self.station.public() || epoch == Epoch::FIRST {
            return;
        }
        if Mutant::AckBeforeAccept.is_on() {
            self.acknowledge(now, newest.deed.from.node_id(), &newest, out);
        }
        let attempt = newest.deed.attempt;
        if !self.arrivals.contains_key(&attempt) {
            let before = Epoch::new(epoch.get() - 1);
            let source = newest.deed.from.node_id();
            let heir = Arrival::heir(news.clone(), source, before, now);
            self.arrivals.extend(heir.map(|heir| (attempt, heir)));
            let earlier: Vec<SignedDeed> =
                news.iter().filter(|signed| signed.deed.epoch < epoch).cloned().collect();
            let _ = self.learn(now, from, &earlier, out);
            return self.with_arrival(now, out, attempt, Arrival::vet);
        }
        self.with_arrival(now, out, attempt, |arrival, desk| arrival.inherit(desk, news));
    }

    /// The daemon has a newer owner elsewhere: what this node held of it is past.
    fn passed_by(&mut self, now: Time, out: &mut Vec<Output>) {
        let epoch = self.title.epoch();
        if let Tenure::Owner(owner) = &self.tenure
            && Some(owner.epoch) < epoch
            && !Mutant::OldEpochAccepted.is_on()
        {
            let is_revived = self.title.is_revival(owner.epoch.next());
            self.tell_taken_back(now, out);
            self.leave(now, out);
            if is_revived {
                // What it kept goes as after any hand-over: when the new owner says that it has the deed.
                self.open(now, out);
            }
        }
        self.overtaken(now, out);
        let over: Vec<AttemptId> = self
            .arrivals
            .values()
            .filter(|arrival| Some(arrival.epoch) < epoch)
            .map(|arrival| arrival.attempt)
            .collect();
        for attempt in over {
            self.drop_arrival(now, attempt, out);
        }
    }

    /// The target has saved the deed: the state may go (rule 3).
    pub(super) fn acknowledged(
        &mut self,
        now: Time,
        from: NodeId,
        deed: Digest,
        out: &mut Vec<Output>,
    ) {
        let Self { station, entity, origin, title, tenure, saves, arrivals, .. } = self;
        let Tenure::Departed(departed) = tenure else { return };
        // A copy that comes back has brought the key again.
        let returns = arrivals.values().any(|arrival| arrival.epoch >= departed.deed.deed.epoch);
        let named = departed.deed.digest() == deed || Mutant::AnyAck.is_on();
        let heir = departed.deed.deed.owner() == from;
        if !named || !heir || departed.dropping || departed.is_taken_back() {
            return;
        }
        departed.obey(out);
        departed.dropping = true;
        let deed = departed.deed.digest();
        let mut desk = Self::desk(station, *entity, *origin, title, saves, now, out);
        let entity = desk.entity;
        // The key goes first: after a crash in between, the acknowledgement comes again.
        if !returns && !Mutant::KeyStays.is_on() {
            desk.push(Output::WipeKey);
        }
        desk.save(Saving::DropState, whimbrel_wire::Write::DropState { entity, deed });
    }

    /// A later deed proves that the hand-over was obeyed: only the heir can have signed it.
    fn overtaken(&mut self, now: Time, out: &mut Vec<Output>) {
        let Tenure::Departed(departed) = &self.tenure else { return };
        let (heir, deed) = (departed.deed.deed.owner(), departed.deed.digest());
        if self.title.epoch() > Some(departed.deed.deed.epoch) {
            self.acknowledged(now, heir, deed, out);
        }
    }

    fn failed(
        &mut self,
        now: Time,
        from: NodeId,
        attempt: AttemptId,
        role: Role,
        reason: MigrationFailureReason,
        out: &mut Vec<Output>,
    ) {
        // Said to whoever wanted to give the move up; it ends nothing.
        if reason == MigrationFailureReason::TooLate {
            return;
        }
        if role == Role::Source && self.arrivals.contains_key(&attempt) {
            return self.with_arrival(now, out, attempt, |arrival, _| arrival.ended(from));
        }
        if role != Role::Target || !self.is_departing(attempt) {
            return;
        }
        self.with_owner(now, out, |owner, desk| {
            let heard = owner
                .departure
                .as_ref()
                .is_some_and(|departure| departure.target == from && !departure.is_committing());
            if heard {
                owner.give_up(desk, reason);
            }
        });
    }

    fn wrong_peer(&mut self, now: Time, from: NodeId, attempt: AttemptId, out: &mut Vec<Output>) {
        self.own_desk(now, out).warn(Warning::WrongPeer { from, attempt });
    }

    /// Tells a target or an orchestrator that this node knows no such attempt.
    fn refuse_move(
        &mut self,
        now: Time,
        to: NodeId,
        envelope: &MigrationEnvelope,
        reason: MigrationFailureReason,
        out: &mut Vec<Output>,
    ) {
        let (attempt, epoch) = (envelope.attempt, envelope.epoch);
        self.own_desk(now, out).say_failed(to, attempt, epoch, Role::Source, reason);
    }

    /// Tells a source that its offer is not taken.
    fn answer_failed(
        &mut self,
        now: Time,
        to: NodeId,
        attempt: AttemptId,
        epoch: Epoch,
        reason: MigrationFailureReason,
        out: &mut Vec<Output>,
    ) {
        self.own_desk(now, out).say_failed(to, attempt, epoch, Role::Target, reason);
    }

    fn title_message(
        &mut self,
        now: Time,
        from: NodeId,
        message: TitleMessage,
        out: &mut Vec<Output>,
    ) {
        if matches!(self.tenure, Tenure::Reading(_)) {
            return;
        }
        match message {
            TitleMessage::DeedAsked { after, attempt } => {
                let deeds = self.title.after(after, DEEDS_PER_MESSAGE_MAX).to_vec();
                let attempt = attempt.map(|attempt| (attempt, self.is_departing(attempt)));
                if deeds.is_empty() && attempt.is_none() {
                    return;
                }
                let message = TitleMessage::DeedAnswered { after, deeds, attempt };
                self.own_desk(now, out).title_message(from, message);
            }
            TitleMessage::DeedAnswered { deeds, attempt, .. } => {
                let full = deeds.len() >= DEEDS_PER_MESSAGE_MAX;
                self.deeds(now, from, &deeds, out);
                if full {
                    self.own_desk(now, out).ask(from, None);
                }
                if let Some((attempt, false)) = attempt {
                    self.unknown_attempt(now, from, attempt, out);
                }
            }
        }
    }

    /// The source knows no such attempt, and its deeds were heard before: it is over (rule 9).
    fn unknown_attempt(
        &mut self,
        now: Time,
        from: NodeId,
        attempt: AttemptId,
        out: &mut Vec<Output>,
    ) {
        let inherits =
            self.arrivals.get(&attempt).is_some_and(|arrival| !arrival.deeds().is_empty());
        let asked = self
            .orchestrations
            .values()
            .find(|move_| move_.attempt == attempt && !inherits)
            .map(|move_| move_.asked);
        if let Some(asked) = asked {
            self.with_orchestration(now, out, asked, |move_, desk| {
                move_.unknown_at_source(desk, from)
            });
        }
        self.with_arrival(now, out, attempt, |arrival, _| arrival.ended(from));
    }

    fn delivery_message(
        &mut self,
        now: Time,
        from: NodeId,
        message: DeliveryMessage,
        out: &mut Vec<Output>,
    ) {
        match message {
            DeliveryMessage::Deliver { sender, number, answered, event, reply_to, epoch } => {
                let large = event.payload.len() > PAYLOAD_BYTES_MAX;
                let arrived = Arrived::Event { sender, number, answered, event };
                let waiting = Waiting::new(arrived, Route::Node { reply_to, epoch });
                if large {
                    let mut desk = self.own_desk(now, out);
                    let error = DeliverError::TooLarge;
                    return crate::tenure::refuse(&mut desk, &waiting, Refusal::TooLarge, error);
                }
                self.gate(now, waiting, epoch, out);
            }
            DeliveryMessage::OpenSession { client, reply_to } => {
                let epoch = crate::courier::UNKNOWN;
                let route = Route::Node { reply_to, epoch };
                self.gate(now, Waiting::new(Arrived::Session(client), route), epoch, out);
            }
            DeliveryMessage::SessionOpened { client, session } if self.is_owner(from) => {
                self.with_known_courier(now, out, Origin::Client(client), |courier, desk| {
                    courier.opened(desk, session);
                });
            }
            DeliveryMessage::Delivered { sender, number, answer, deed } => {
                if let Some(deed) = deed {
                    self.deeds(now, from, &[*deed], out);
                }
                if let Some(origin) = origin_of(sender).filter(|_| self.is_owner(from)) {
                    self.with_known_courier(now, out, origin, |courier, desk| {
                        courier.delivered(desk, sender, number, answer);
                    });
                }
            }
            // An owner of the past answers for nothing: the event goes out again.
            DeliveryMessage::SessionOpened { .. } => {}
            DeliveryMessage::Refused { refusal, .. }
            | DeliveryMessage::SessionRefused { refusal, .. }
                if is_final(&refusal) && !self.is_owner(from) => {}
            DeliveryMessage::Refused { sender, number, refusal } => {
                if let Refusal::Moved(deed) = &refusal {
                    self.deeds(now, from, std::slice::from_ref(deed), out);
                }
                let heard = !is_redirect(&refusal) || self.is_owner(from);
                if let Some(origin) = origin_of(sender).filter(|_| heard) {
                    self.with_known_courier(now, out, origin, |courier, desk| {
                        courier.refused(desk, sender, number, &refusal);
                    });
                }
            }
            DeliveryMessage::SessionRefused { client, refusal } => {
                if let Refusal::Moved(deed) = &refusal {
                    self.deeds(now, from, std::slice::from_ref(deed), out);
                }
                if is_redirect(&refusal) && !self.is_owner(from) {
                    return;
                }
                self.with_known_courier(now, out, Origin::Client(client), |courier, desk| {
                    courier.session_refused(desk, &refusal);
                });
            }
        }
    }

    /// Whether `from` owns the daemon by its title: only the owner says what was taken.
    fn is_owner(&self, from: NodeId) -> bool {
        self.title.owner() == Some(from)
    }

    fn with_known_courier(
        &mut self,
        now: Time,
        out: &mut Vec<Output>,
        origin: Origin,
        step: impl FnOnce(&mut crate::courier::Courier, &mut crate::desk::Desk<'_>),
    ) {
        if self.couriers.contains_key(&origin) {
            self.with_courier(now, out, origin, step);
        }
    }

    /// The one gate through which every event enters: taken, held, refused or redirected.
    fn gate(&mut self, now: Time, waiting: Waiting, epoch: Epoch, out: &mut Vec<Output>) {
        let held_max = self.station.settings.held_max;
        if matches!(self.tenure, Tenure::Owner(_)) {
            return self.with_owner(now, out, |owner, desk| {
                owner.offer(desk, waiting.arrived, waiting.route);
            });
        }
        let close = self.arrivals.values_mut().find(|arrival| arrival.is_close());
        if let Some(arrival) = close
            && arrival.held.len() < held_max
        {
            arrival.held.push_back(waiting);
            return;
        }
        // Asked under a higher epoch than it knows, a node never redirects downwards (rule 19).
        let behind = Some(epoch) > self.title.epoch();
        let refusal = match &self.tenure {
            Tenure::Deleted => Refusal::Deleted,
            Tenure::Reading(_) | Tenure::Bearing(_) => Refusal::Busy,
            _ if behind => {
                self.own_desk(now, out).ask_all(None);
                Refusal::Busy
            }
            Tenure::Stranger | Tenure::Departed(_) | Tenure::Owner(_) => match self.title.last() {
                Some(deed) if deed.deed.owner() != self.station.node() => {
                    Refusal::Moved(Box::new(deed.clone()))
                }
                Some(_) => Refusal::Busy,
                None => Refusal::NotHere,
            },
        };
        crate::tenure::refuse(
            &mut self.own_desk(now, out),
            &waiting,
            refusal,
            DeliverError::NotHere,
        );
    }
}

/// Whether a sender gives events up because of this refusal.
const fn is_final(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Expected(_)
        | Refusal::UnknownSession
        | Refusal::Deleted
        | Refusal::TooLarge
        | Refusal::Forked => true,
        Refusal::Busy | Refusal::Moved(_) | Refusal::NotHere | Refusal::NotRunnable => false,
    }
}

/// Whether a refusal names another owner. From anybody but the owner by the title it is old news:
/// when the title grew, everything went to the present one.
const fn is_redirect(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Moved(_) | Refusal::NotHere)
}

const fn origin_of(sender: whimbrel_wire::Sender) -> Option<Origin> {
    match sender {
        whimbrel_wire::Sender::Host => None,
        whimbrel_wire::Sender::Client { client, .. } => Some(Origin::Client(client)),
        whimbrel_wire::Sender::Daemon(entity) => Some(Origin::Daemon(entity)),
    }
}
