//! Decides how the outputs of a seat are done, and when their ends are reported.
//!
//! Turns are done at once. Everything that touches a disk or takes long ends after a while, so
//! that a crash can come between the deed and the report.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon as daemon;
use whimbrel_daemon::Budget;
use whimbrel_protocol::{
    Capture, DeliverError, Event, Input, Output, ReplayStep, Restored, SaveTicket, SendError,
    Ticket, TurnFailure, Turned, Unprepared,
};
use whimbrel_store::{Chunks, StoreError};
use whimbrel_wire::{
    Answer, AttemptId, CausalEvent, ChunkList, ChunkRef, Digest, EntityId, Epoch, InputOrigin,
    Manifest, Message, MigrationFailureReason, MigrationMessage, NodeId, Time, Write, decode,
    encode,
};

use super::node::Use;
use super::{Capturing, Cluster, Happening, Inputs, MILLI, Restoring};
use crate::checkers::{Observed, Reply};
use crate::clients::Asker;
use crate::dice::Dice;
use crate::disk::{Disk, Fate, Faults, Finished, Request};
use crate::medium::Medium;
use crate::network::Exchanged;
use crate::scribe::Style;

/// The chunks of a node, as a daemon sees them.
pub(crate) struct Shelf(pub(crate) Arc<dyn Chunks>);

impl daemon::ChunkSink for Shelf {
    fn wants(&mut self, chunk: &ChunkRef) -> Result<bool, daemon::SinkError> {
        let missing = self.0.missing(std::slice::from_ref(chunk));
        Ok(missing.map_err(|error| daemon::SinkError(error.to_string()))?.len() == 1)
    }

    fn put(&mut self, chunk: ChunkRef, bytes: Bytes) -> Result<(), daemon::SinkError> {
        self.0.put(&[(chunk, bytes)]).map_err(|error| daemon::SinkError(error.to_string()))
    }
}

impl daemon::ChunkSource for Shelf {
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, daemon::SourceError> {
        let found = self.0.get(&chunk.digest);
        let found = found.map_err(|error| daemon::SourceError(error.to_string()))?;
        found.ok_or_else(|| daemon::SourceError("it is not there".to_owned()))
    }
}

impl Cluster {
    pub(super) fn perform(
        &mut self,
        node: usize,
        entity: EntityId,
        output: Output,
        inputs: &mut Inputs,
    ) {
        self.note_output(node, entity, &output);
        match output {
            Output::Send { to, message } => self.send(node, to, message),
            Output::Broadcast { message } => {
                let from = self.nodes[node].id;
                let others: Vec<NodeId> =
                    self.nodes.iter().map(|other| other.id).filter(|id| *id != from).collect();
                for to in others {
                    self.send(node, to, message.clone());
                }
            }
            Output::SendPiece { to, message, chunk } => self.send_piece(node, to, message, &chunk),
            Output::Read => self.ask_disk(node, Request::Read { entity }),
            Output::Save { ticket, write } => self.save(node, entity, ticket, write),
            Output::ReadTurns { copy, after, count, bytes } => {
                self.ask_disk(node, Request::Turns { entity, copy, after, count, bytes });
            }
            Output::Turn { copy, epoch, time, origin, event } => {
                let result = self.turn(node, entity, copy, epoch, time, origin, &event);
                follow(inputs, entity, Input::Turned { copy, result });
            }
            Output::Replay { copy, steps } => {
                let result = self.replay(node, entity, copy, &steps);
                self.report(node, entity, Input::Replayed { copy, result });
            }
            Output::Restore { copy, manifest, envelope } => {
                let place = &self.nodes[node];
                let drops = place.drops.get(&(entity, copy)).copied().unwrap_or(0);
                let life = place.life;
                let restoring = Restoring { node, life, entity, copy, manifest, envelope, drops };
                let rest = self.rest(node, MILLI / 10, 5 * MILLI);
                self.plan(rest, Happening::Restore(Box::new(restoring)));
            }
            Output::Capture(capture) => self.capture(node, entity, *capture),
            Output::Digest { copy } => {
                let state = self.digest(node, entity, copy);
                follow(inputs, entity, Input::Digested { copy, state });
            }
            Output::Judge { copy } => self.judged(node, entity, copy, inputs),
            Output::Prepare { attempt, copy, target } => {
                let result = self.prepare(node, entity, copy, target);
                follow(inputs, entity, Input::Prepared { attempt, result });
            }
            Output::ReadPieces { attempt, lists } => {
                let result = self.pieces(node, &lists);
                self.report(node, entity, Input::PiecesRead { attempt, result });
            }
            Output::FindMissing { attempt, chunks } => {
                self.find_missing(node, entity, attempt, &chunks);
            }
            Output::SaveChunk { attempt, chunk, bytes } => {
                let put = self.nodes[node].disk.files.chunks.put(&[(chunk, bytes)]);
                let result = put.map_err(|error| error.to_string());
                self.report(node, entity, Input::ChunkSaved { attempt, chunk, result });
            }
            Output::Seal { attempt, to, snapshot, .. } => {
                let result = self.seal(node, entity, &(entity, attempt, to, snapshot));
                self.report(node, entity, Input::Sealed { attempt, result });
            }
            Output::Admit { attempt, manifest, envelope, .. } => {
                let result = self.admit(node, entity, attempt, &manifest, envelope.as_ref());
                self.report(node, entity, Input::Admitted { attempt, result });
            }
            Output::DropCopy { copy } => self.drop_copy(node, entity, copy),
            Output::WipeKey => {
                self.nodes[node].keys.remove(&entity);
            }
            Output::Post { to, number, event } => {
                self.see(&Observed::Posted { entity, event: &event });
                follow(inputs, to, Input::Post { from: entity, number, event });
            }
            Output::Recall { to } => follow(inputs, to, Input::Recall { from: entity }),
            Output::Posted { from, number } => {
                follow(inputs, from, Input::Posted { to: entity, number });
            }
            Output::Spawned { ticket, result } => {
                self.tickets.remove(&ticket);
                if let Err(error) = result {
                    self.broken(("it-ends", format!("a birth failed: {error}")));
                }
            }
            Output::Delivered { ticket, result } => self.delivered(ticket, &result),
            Output::Sent { ticket, result } => self.sent(ticket, &result),
            Output::SnapshotTaken { ticket, result } => self.exported(ticket, result.ok()),
            Output::Stopped { ticket, .. } => self.stopped(ticket),
            Output::Reclaimed { ticket, .. } => drop(self.tickets.remove(&ticket)),
            Output::Event(event) => self.said(node, entity, &event),
        }
    }

    fn find_missing(
        &mut self,
        node: usize,
        entity: EntityId,
        attempt: AttemptId,
        chunks: &[ChunkRef],
    ) {
        let place = &mut self.nodes[node];
        let hold = || place.disk.files.chunks.hold();
        place.holds.entry(Use::Fetched(entity, attempt)).or_insert_with(hold);
        let found = place.disk.files.chunks.missing(chunks);
        let result = found.map_err(|error| error.to_string()).map(|missing| {
            missing.into_iter().filter_map(|index| u32::try_from(index).ok()).collect()
        });
        self.report(node, entity, Input::MissingFound { attempt, result });
    }

    fn save(&mut self, node: usize, entity: EntityId, ticket: SaveTicket, write: Write) {
        self.hold_for_save(node, entity, ticket, &write);
        let write = Box::new(write);
        self.ask_disk(node, Request::Save { entity, ticket, write });
    }

    /// What the write names is protected until it is on disk; then the record protects it.
    fn hold_for_save(&mut self, node: usize, entity: EntityId, ticket: SaveTicket, write: &Write) {
        let holds = &mut self.nodes[node].holds;
        let hold = match write {
            Write::SaveCopy { attempt, .. } => holds.remove(&Use::Fetched(entity, *attempt)),
            Write::Publish { .. } => holds.remove(&Use::Captured(entity)),
            Write::Birth { .. }
            | Write::Append { .. }
            | Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::HandOver { .. }
            | Write::Reclaim { .. }
            | Write::AppendCopy { .. }
            | Write::Accept { .. }
            | Write::Learn { .. }
            | Write::DropCopy { .. }
            | Write::DropState { .. }
            | Write::Delete { .. } => None,
        };
        if let Some(hold) = hold {
            holds.insert(Use::Saved(entity, ticket), hold);
        }
    }

    /// How long something takes on a node.
    pub(super) fn rest(&mut self, node: usize, low: u64, high: u64) -> u64 {
        self.dice.between(low, high) * self.nodes[node].slow
    }

    /// Reports an end after a short while.
    fn report(&mut self, node: usize, entity: EntityId, input: Input) {
        let (life, rest) = (self.nodes[node].life, self.rest(node, 10_000, MILLI));
        let input = Box::new(input);
        self.plan(rest, Happening::Report { node, life, entity, input });
    }

    fn send(&mut self, node: usize, to: NodeId, message: Message) {
        let Some(&target) = self.by_id.get(&to) else { return };
        let from = self.nodes[node].id;
        if let Some(kept) = &mut self.kept {
            kept.push((target, from, message.clone()));
        }
        if target == node {
            return self.plan(1_000, Happening::arrive(target, from, message));
        }
        let mut overtaken = None;
        if let Some(exchange) = &mut self.network.exchange
            && matches!(message, Message::Migration(_))
        {
            match exchange.take(target, from, &message) {
                Exchanged::HeldBack => return,
                Exchanged::Passes(held) => overtaken = held,
            }
        }
        let paced = self.network.rate.is_some();
        let bytes = self.onlooker.as_mut().map_or(0, |onlooker| onlooker.carried(&message, paced));
        let wait = self.network.pace(node, target, bytes, self.now);
        let delays = self.network.carry(&mut self.dice, node, target);
        if delays.is_disturbed {
            let hit = self.is_exposed(message.entity());
            self.count_fault(hit);
        }
        let entity = message.entity();
        let mut input = Some(Box::new(Input::Message { from, message }));
        let last = delays.arrivals().len().saturating_sub(1);
        for (index, delay) in delays.arrivals().iter().enumerate() {
            let input = if index == last { input.take() } else { input.clone() };
            let Some(input) = input else { break };
            let delay = delay + wait;
            self.plan(delay, Happening::Arrive { to: target, entity, input });
            if let Some(held) = overtaken.take() {
                let (to, from, message) = *held;
                self.plan(delay + 1, Happening::arrive(to, from, message));
            }
        }
    }

    /// What was held back for an exchange that never came about arrives after all.
    pub(crate) fn end_exchange(&mut self) -> u64 {
        let Some(exchange) = self.network.exchange.take() else { return 0 };
        if let Some(held) = exchange.held {
            self.send_again(held);
        }
        exchange.seen
    }

    /// Delivers a message that was kept, once more.
    pub(crate) fn send_again(&mut self, (to, from, message): (usize, NodeId, Message)) {
        let rest = self.dice.between(1, 50 * MILLI);
        self.plan(rest, Happening::arrive(to, from, message));
    }

    fn send_piece(&mut self, node: usize, to: NodeId, message: Message, chunk: &ChunkRef) {
        let Ok(Some(bytes)) = self.nodes[node].disk.files.chunks.get(&chunk.digest) else { return };
        let mut message = message;
        if let Message::Migration(envelope) = &mut message
            && let MigrationMessage::SnapshotReady { snapshot_bytes, .. } = &mut envelope.message
        {
            *snapshot_bytes = bytes;
        }
        self.send(node, to, message);
    }

    fn ask_disk(&mut self, node: usize, request: Request) {
        if self.nodes[node].disk.ask(request) {
            self.start_disk(node);
        }
    }

    fn start_disk(&mut self, node: usize) {
        if self.nodes[node].disk.begin() {
            let (low, high) = self.commit;
            let (life, rest) = (self.nodes[node].life, self.rest(node, low, high));
            self.plan(rest, Happening::Disk { node, life });
        }
    }

    /// The disk has done a group.
    pub(super) fn disk_done(&mut self, node: usize) {
        let Self { nodes, dice, save_fate, saves, .. } = self;
        let mut lies = 0;
        let faults = nodes[node].disk.faults;
        let Finished { found, dones } = nodes[node].disk.finish(dice, |_, dice| {
            let fate = fate(faults, *save_fate, saves, dice);
            lies += u64::from(fate != Fate::Good);
            fate
        });
        for _ in 0..lies {
            self.count_node_fault();
        }
        for write in found {
            self.committed(node, &write);
        }
        let rest = self.rest(node, 10_000, MILLI / 2);
        let life = self.nodes[node].life;
        for done in dones {
            if let Input::Saved { ticket, .. } = &*done.report {
                self.nodes[node].holds.remove(&Use::Saved(done.entity, *ticket));
            }
            if let Some(write) = &done.committed {
                self.committed(node, write);
            }
            let (entity, input) = (done.entity, done.report);
            self.plan(rest, Happening::Report { node, life, entity, input });
        }
        self.start_disk(node);
    }

    /// A write is on a disk.
    pub(super) fn committed(&mut self, node: usize, write: &Write) {
        self.note_epoch(node, write);
        match write {
            Write::HandOver { .. } => self.tally.hand_overs += 1,
            // A key that came with a copy goes with it.
            Write::DropCopy { entity, attempt }
                if self.nodes[node].keys.get(entity) == Some(attempt) =>
            {
                self.nodes[node].keys.remove(entity);
            }
            Write::Birth { .. }
            | Write::Append { .. }
            | Write::Publish { .. }
            | Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::SaveCopy { .. }
            | Write::AppendCopy { .. }
            | Write::Accept { .. }
            | Write::Learn { .. }
            | Write::Reclaim { .. }
            | Write::DropCopy { .. }
            | Write::DropState { .. }
            | Write::Delete { .. } => {}
        }
        self.say_write(node, write);
        self.see(&Observed::Committed { node, write });
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different part of one output")]
    pub(super) fn turn(
        &mut self,
        node: usize,
        entity: EntityId,
        copy: AttemptId,
        epoch: Epoch,
        time: Time,
        origin: InputOrigin,
        event: &CausalEvent,
    ) -> Result<Turned, TurnFailure> {
        let place = &mut self.nodes[node];
        let known = place.on_disk.get(&entity).copied();
        let standing = place.seats.get(&entity).map(|seat| seat.status().standing);
        let frozen = standing == Some(whimbrel_protocol::Standing::Frozen);
        let host = place.hosts.get_mut(&entity, copy).ok_or(TurnFailure::NoCopy)?;
        let before = host.head();
        let churns = self.styles.get(&entity) == Some(&Style::Churning);
        match take_turn(host, epoch, time, &origin, event) {
            Ok(turned) => {
                if churns {
                    // Its memory goes on changing by itself.
                    let _ = host.idle(Budget(self.dice.below(4)));
                }
                self.see(&Observed::Turned {
                    node,
                    entity,
                    epoch,
                    frozen,
                    known,
                    origin,
                    event,
                    before,
                    turned: &turned,
                });
                Ok(turned)
            }
            Err(failure) => {
                self.see(&Observed::TurnFailed);
                Err(failure)
            }
        }
    }

    fn replay(
        &mut self,
        node: usize,
        entity: EntityId,
        copy: AttemptId,
        steps: &[ReplayStep],
    ) -> Result<Vec<Turned>, TurnFailure> {
        let mut results = Vec::new();
        for step in steps {
            let host = self.nodes[node].hosts.get_mut(&entity, copy);
            let host = host.ok_or(TurnFailure::NoCopy)?;
            match step {
                ReplayStep::Deed { epoch, deed } => host.enter_epoch(*epoch, deed),
                ReplayStep::Turn(turn) => {
                    let (epoch, origin) = (turn.stamp.epoch, turn.stamp.origin);
                    let (event, before) = (&turn.event, host.head());
                    let turned = take_turn(host, epoch, turn.stamp.time, &origin, event)?;
                    self.see(&Observed::Replayed {
                        entity,
                        epoch,
                        origin,
                        event,
                        before,
                        turned: &turned,
                    });
                    results.push(turned);
                }
            }
        }
        Ok(results)
    }

    fn capture(&mut self, node: usize, entity: EntityId, capture: Capture) {
        let Capture { copy, head, ledger, .. } = capture;
        let host = self.nodes[node].hosts.get_mut(&entity, copy);
        let frozen = host.and_then(|host| host.capture().ok());
        let Some(frozen) = frozen else {
            let result = Err("the copy cannot be captured".to_owned());
            return self.report(node, entity, Input::Captured { copy, result });
        };
        if frozen.head() != head {
            let (found, name) = (frozen.head(), self.name_of(entity));
            let what = format!("D{name} stands at {found:?} and was to be captured at {head:?}");
            return self.broken(("same-meaning", what));
        }
        let hold = self.nodes[node].disk.files.chunks.hold();
        self.nodes[node].holds.insert(Use::Captured(entity), hold);
        let life = self.nodes[node].life;
        let rest = self.rest(node, MILLI / 10, 8 * MILLI);
        let capturing = Capturing { node, life, entity, copy, frozen, ledger };
        self.plan(rest, Happening::Capture(Box::new(capturing)));
    }

    pub(super) fn captured(&mut self, capturing: Capturing) {
        let Capturing { node, life, entity, copy, frozen, ledger } = capturing;
        if !self.lives(node, life) {
            return;
        }
        if self.no_room_to_capture(node) {
            let result = Err("the disk is full".to_owned());
            return self.report(node, entity, Input::Captured { copy, result });
        }
        let mut shelf = Shelf(self.nodes[node].disk.files.chunks.clone());
        let written = frozen.write(&mut shelf);
        let manifest = written.and_then(|parts| parts.manifest(ledger, &mut shelf));
        let result = manifest.map_err(|error| error.to_string());
        self.report(node, entity, Input::Captured { copy, result });
    }

    /// Whether a capture fails. Chunks in files fail by themselves, where the disk does.
    fn no_room_to_capture(&mut self, node: usize) -> bool {
        let number = self.captures;
        self.captures += 1;
        let Disk { faults, files, .. } = &self.nodes[node].disk;
        let by_chance = matches!(files.medium(), Medium::Memory) && self.dice.chance(faults.failed);
        let fails = by_chance || self.capture_fails == Some(number);
        if fails {
            self.count_node_fault();
        }
        fails
    }

    pub(super) fn restored(&mut self, restoring: Restoring) {
        let Restoring { node, life, entity, copy, manifest, envelope, drops } = restoring;
        if !self.lives(node, life) {
            return;
        }
        let result = self.rebuild(node, &manifest);
        let place = &mut self.nodes[node];
        let result = result.map(|(host, restored)| {
            // What was dropped in the meantime does not come back, its key neither.
            if place.drops.get(&(entity, copy)).copied().unwrap_or(0) == drops {
                place.hosts.insert(entity, copy, host);
                if envelope.is_some() {
                    place.keys.insert(entity, copy);
                }
            }
            restored
        });
        self.feed(node, entity, Input::Restored { copy, result });
    }

    fn rebuild(
        &self,
        node: usize,
        manifest: &Manifest,
    ) -> Result<(daemon::Host, Restored), MigrationFailureReason> {
        let invalid = |what: String| MigrationFailureReason::SnapshotInvalid(what);
        let style = Style::of(&manifest.kind).ok_or(MigrationFailureReason::FactoryNotFound)?;
        let files = &self.nodes[node].disk.files;
        let mut shelf = Shelf(files.chunks.clone());
        // A disk that does not answer is not the fault of what it holds.
        let invalid = |what: String| match files.chunks.missing(&manifest.luggage) {
            Err(StoreError::Failed(error)) => MigrationFailureReason::StoreFailed(error),
            Ok(_) | Err(_) => invalid(what),
        };
        let luggage = daemon::read_luggage(manifest, &mut shelf)
            .map_err(|error| invalid(error.to_string()))?;
        let body = style.body(0, &self.nodes[node].charts);
        let host = daemon::Host::restore(&manifest.kind, manifest, &luggage.host, body, &mut shelf)
            .map_err(|error| invalid(error.to_string()))?;
        let restored = Restored {
            ledger: luggage.ledger,
            next_timer: host.next_timer(),
            catch_up: host.catch_up(),
            evolves: host.evolves(),
        };
        Ok((host, restored))
    }

    fn digest(&mut self, node: usize, entity: EntityId, copy: AttemptId) -> Digest {
        let place = &mut self.nodes[node];
        let live = place.seats.get(&entity).and_then(|seat| seat.live_copy());
        let Some(host) = place.hosts.get_mut(&entity, copy) else { return Digest::ZERO };
        let state = host.digest().unwrap_or(Digest::ZERO);
        let (head, epoch) = (host.head(), host.epoch());
        if live.is_some_and(|(live, _)| live == copy) {
            self.see(&Observed::Digested { entity, epoch, head, state });
        }
        state
    }

    fn drop_copy(&mut self, node: usize, entity: EntityId, copy: AttemptId) {
        let place = &mut self.nodes[node];
        place.hosts.remove(&entity, copy);
        place.holds.remove(&Use::Fetched(entity, copy));
        *place.drops.entry((entity, copy)).or_insert(0) += 1;
    }

    fn seal(
        &self,
        node: usize,
        entity: EntityId,
        bound: &(EntityId, AttemptId, NodeId, Digest),
    ) -> Result<Bytes, String> {
        let held = self.nodes[node].keys.contains_key(&entity);
        if held { Ok(encode(bound).into()) } else { Err("the key is not here".to_owned()) }
    }

    fn judged(&mut self, node: usize, entity: EntityId, copy: AttemptId, inputs: &mut Inputs) {
        let state = self.digest(node, entity, copy);
        let verdict = self.judge(node, entity, copy);
        follow(inputs, entity, Input::Judged { copy, state, verdict });
    }

    fn judge(
        &mut self,
        node: usize,
        entity: EntityId,
        copy: AttemptId,
    ) -> Result<Option<Bytes>, MigrationFailureReason> {
        let failed = |why: String| MigrationFailureReason::StateFailed(why);
        let host = self.nodes[node].hosts.get_mut(&entity, copy);
        let host = host.ok_or_else(|| failed("there is no copy".to_owned()))?;
        let judged = host.judge(copy).map_err(|error| failed(error.to_string()))?;
        judged.map_err(MigrationFailureReason::from)
    }

    fn prepare(
        &mut self,
        node: usize,
        entity: EntityId,
        copy: AttemptId,
        target: NodeId,
    ) -> Result<(), Unprepared> {
        if !self.by_id.contains_key(&target) {
            return Err(Unprepared::Refused(MigrationFailureReason::UnknownNode));
        }
        let host = self.nodes[node].hosts.get_mut(&entity, copy);
        let host = host.ok_or(Unprepared::Broke(TurnFailure::NoCopy))?;
        let broke =
            |error: daemon::HostError| Unprepared::Broke(TurnFailure::Panicked(error.to_string()));
        let refused = |misfit: daemon::Misfit| {
            Unprepared::Refused(MigrationFailureReason::Incompatible(misfit.0))
        };
        host.prepare().map_err(broke)?.map_err(refused)
    }

    fn pieces(&self, node: usize, lists: &[ChunkRef]) -> Result<Vec<ChunkRef>, String> {
        let mut all = Vec::new();
        for list in lists {
            let bytes = self.nodes[node].disk.files.chunks.get(&list.digest);
            let bytes = bytes.map_err(|error| error.to_string())?;
            let bytes = bytes.ok_or_else(|| "a list is missing".to_owned())?;
            let ChunkList(named) = decode(&bytes).map_err(|error| error.to_string())?;
            all.extend(named);
        }
        Ok(all)
    }

    fn admit(
        &self,
        node: usize,
        entity: EntityId,
        attempt: AttemptId,
        manifest: &Manifest,
        envelope: Option<&Bytes>,
    ) -> Result<(), MigrationFailureReason> {
        if self.now < self.nodes[node].ready_at {
            return Err(MigrationFailureReason::NotReady);
        }
        let style = Style::of(&manifest.kind);
        if style.is_none() || style == self.nodes[node].lacks {
            return Err(MigrationFailureReason::FactoryNotFound);
        }
        let here = self.nodes[node].id;
        let good = match envelope {
            Some(bytes) => decode(bytes) == Ok((entity, attempt, here, manifest.digest())),
            None => self.provisioned || self.nodes[node].keys.contains_key(&entity),
        };
        if good {
            return Ok(());
        }
        let what = "the envelope does not open".to_owned();
        Err(MigrationFailureReason::IdentityTransportFailed(what))
    }

    fn delivered(&mut self, ticket: Ticket, result: &Result<Answer, DeliverError>) {
        let Some(Asker::Caller { entity, author, number, .. }) = self.tickets.remove(&ticket)
        else {
            return;
        };
        let reply = match result {
            Ok(answer) => {
                self.tally.acknowledged += 1;
                Reply::Taken(answer)
            }
            Err(DeliverError::OutcomeUnknown) => Reply::Unknown,
            Err(error) => Reply::Never(error.to_string()),
        };
        self.see(&Observed::Answered { entity, author, number, reply });
    }

    fn sent(&mut self, ticket: Ticket, result: &Result<Answer, SendError>) {
        let Some(Asker::Client(index)) = self.tickets.remove(&ticket) else { return };
        if let Some(onlooker) = &mut self.onlooker {
            onlooker.answered(self.now, ticket, result.is_ok());
        }
        let client = &mut self.clients[index];
        let Some(number) = client.under_way.remove(&ticket) else { return };
        let (entity, author) = (client.entity, client.author);
        let reply = match result {
            Ok(answer) => {
                client.taken += 1;
                self.tally.acknowledged += 1;
                Reply::Taken(answer)
            }
            Err(SendError::SessionLost | SendError::ReceiverRegressed) => Reply::Unknown,
            Err(error) => Reply::Never(error.to_string()),
        };
        self.see(&Observed::Answered { entity, author, number, reply });
        self.client_has_room(index);
    }

    fn said(&mut self, node: usize, entity: EntityId, event: &Event) {
        self.see(&Observed::Said { node, entity, event });
        if let Some(onlooker) = &mut self.onlooker {
            onlooker.said(self.now, node, entity, event);
        }
        if matches!(event, Event::Warning(_)) && self.warnings.len() < super::WARNINGS_MAX {
            self.warnings.push(event.clone());
        }
        if let (Event::MoveEnded { result: Err(error), .. }, Some(coverage)) =
            (event, &mut self.coverage)
        {
            coverage.failed(&error.reason);
        }
        if let Event::Live { epoch, head } = event {
            self.see_live(node, entity, *epoch, *head);
        }
    }

    fn see_live(&mut self, node: usize, entity: EntityId, epoch: Epoch, head: whimbrel_wire::Head) {
        let place = &mut self.nodes[node];
        let has_key = place.keys.contains_key(&entity) || self.provisioned;
        let copy = place.seats.get(&entity).and_then(|seat| seat.live_copy());
        let Some((copy, _)) = copy else { return };
        let Some(host) = place.hosts.get_mut(&entity, copy) else { return };
        // A turn may have begun in the same step; then the state is not that of the head.
        if host.head() != head {
            return;
        }
        let state = host.digest().unwrap_or(Digest::ZERO);
        let fit = host.judge(copy).is_ok_and(|judged| judged.is_ok());
        self.see(&Observed::Live { node, entity, epoch, head, state, fit, has_key });
    }
}

/// An input that follows at once.
fn follow(inputs: &mut Inputs, entity: EntityId, input: Input) {
    inputs.push_back((entity, Box::new(input)));
}

/// What becomes of the next save.
pub(super) fn fate(
    faults: Faults,
    chosen: Option<(u64, Fate)>,
    saves: &mut u64,
    dice: &mut Dice,
) -> Fate {
    let number = *saves;
    *saves += 1;
    match chosen {
        Some((which, fate)) if which == number => fate,
        Some(_) | None => faults.draw(dice),
    }
}

fn take_turn(
    host: &mut daemon::Host,
    epoch: Epoch,
    time: Time,
    origin: &InputOrigin,
    event: &CausalEvent,
) -> Result<Turned, TurnFailure> {
    let turned = host.turn(epoch, time, origin, event);
    let daemon::Turned { head, answer, sent } =
        turned.map_err(|error| TurnFailure::Panicked(error.to_string()))?;
    Ok(Turned { head, last: host.last(), answer, sent, next_timer: host.next_timer() })
}
