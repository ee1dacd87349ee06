//! Decides how each output of a seat is done, and on which thread: turns, replays and digests here
//! and now; saves, captures, restores and chunks elsewhere, reported when they are over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use whimbrel_daemon::{Host, HostError};
use whimbrel_protocol::{
    Capture, DeliverError, Event, Input, Output, ReclaimError, ReplayStep, SaveTicket, Ticket,
    TurnFailure, Turned, Unprepared,
};
use whimbrel_store::{Journal, Titles, Vault};
use whimbrel_wire::{
    AttemptId, CausalEvent, ChannelWord, Digest, EntityId, Epoch, Holding, InputOrigin, Manifest,
    Message, MigrationFailureReason, NodeId, Position, SeatRecord, Time, Write,
};

use crate::bulk;
use crate::cell::{Cell, Inner, Reply, Work};
use crate::core::{Core, lock};
use crate::crash;
use crate::heavy;
use crate::hops::{self, How};
use crate::identity::{self, Binding, Secrets};
use crate::keys::KeyChange;
use crate::permits;
use crate::stores::Writer;

/// Does one output.
pub(crate) fn output(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner, output: Output) {
    let Some(output) = heavy::take_over(core, cell, inner, output) else { return };
    crash::before(&output);
    match output {
        Output::Turn { copy, epoch, time, origin, event } => {
            let result = turn(inner, copy, epoch, time, &origin, &event);
            inner.pending.push_back(Input::Turned { copy, result });
        }
        Output::Save { ticket, write } => save(core, cell, inner, ticket, write),
        Output::Send { to, message } => send(core, inner, to, message),
        Output::Delivered { ticket, result } => delivered(inner, ticket, result),
        Output::Broadcast { message } => core.broadcast(&message),
        Output::SendPiece { to, message, chunk } => {
            bulk::send_piece(core, cell, to, message, chunk);
        }
        Output::Read => read(core, cell, inner),
        Output::Replay { copy, steps } => {
            let host = inner.hosts.get_mut(&copy).ok_or(TurnFailure::NoCopy);
            let result = host.and_then(|host| replay(host, steps));
            bulk::warm(core, inner, copy);
            inner.pending.push_back(Input::Replayed { copy, result });
        }
        Output::Restore { copy, manifest, .. } => bulk::restore(core, cell, copy, *manifest),
        Output::Capture(wanted) => capture(core, cell, inner, *wanted),
        Output::Digest { copy } => digest(inner, copy),
        Output::Judge { copy } => judge(inner, copy),
        Output::Prepare { attempt, copy, target } => prepare(core, inner, attempt, copy, target),
        Output::ReadTurns { copy, after, count, bytes } => {
            bulk::warm(core, inner, copy);
            read_turns(core, cell, inner, (copy, after, count, bytes));
        }
        Output::ReadPieces { attempt, lists } => bulk::read_pieces(core, cell, attempt, lists),
        Output::FindMissing { attempt, chunks } => {
            inner.holds.entry(attempt).or_insert_with(|| cell.store.chunks.hold());
            bulk::find_missing(core, cell, attempt, chunks);
        }
        Output::SaveChunk { attempt, chunk, bytes } => {
            bulk::save_chunk(core, cell, attempt, chunk, bytes);
        }
        Output::Seal { attempt, epoch, to, snapshot } => {
            seal(
                core,
                cell,
                inner,
                to,
                Binding { entity: cell.entity(), attempt, epoch, snapshot },
            );
        }
        Output::Admit { attempt, epoch, manifest, envelope, .. } => {
            let result = admit(core, cell, inner, attempt, epoch, &manifest, envelope.as_deref());
            inner.pending.push_back(Input::Admitted { attempt, result });
        }
        Output::DropCopy { copy } => drop_copy(core, cell, inner, copy),
        // The daemon may be on its way back already: then the key that lies here is the new one.
        Output::WipeKey if inner.arriving.is_empty() => wipe_key(cell),
        Output::WipeKey => {}
        Output::Post { to, number, event } => {
            let from = cell.entity();
            post(core, to, Input::Post { from, number, event });
        }
        Output::Recall { to } => post(core, to, Input::Recall { from: cell.entity() }),
        Output::Posted { from, number } => {
            post(core, from, Input::Posted { to: cell.entity(), number });
        }
        Output::Spawned { ticket, result } => {
            if let Some(Reply::Spawned(tell)) = inner.replies.remove(&ticket) {
                drop(tell.send(result));
            }
        }
        Output::Sent { ticket, result } => {
            if let Some(Reply::Sent(tell)) = inner.replies.remove(&ticket) {
                drop(tell.send(result));
            }
        }
        Output::SnapshotTaken { ticket, result } => {
            snapshot_taken(core, cell, inner, ticket, result);
        }
        Output::Stopped { ticket, result } => stopped(inner, ticket, result),
        Output::Reclaimed { ticket, result } => reclaimed(inner, ticket, result),
        Output::Event(event) => {
            if matches!(event, Event::Live { .. }) {
                went_live(core, cell, inner);
            }
            core.tell(cell.entity(), event);
        }
    }
}

/// The keys that came with copies are in the vault, or of no use.
fn went_live(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner) {
    inner.arriving.clear();
    permits::look(core, cell, inner);
}

fn snapshot_taken(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    inner: &mut Inner,
    ticket: Ticket,
    result: Result<Box<Manifest>, DeliverError>,
) {
    // Without one a departure goes on with what there is.
    if let Some(goes_on) = heavy::prepared(inner, ticket) {
        output(core, cell, inner, goes_on);
    }
    if let Some(Reply::Snapshot(tell)) = inner.replies.remove(&ticket) {
        drop(tell.send(result));
    }
}

fn stopped(inner: &mut Inner, ticket: Ticket, result: Result<(), DeliverError>) {
    if let Some(Reply::Stopped(tell)) = inner.replies.remove(&ticket) {
        drop(tell.send(result));
    }
}

fn reclaimed(inner: &mut Inner, ticket: Ticket, result: Result<(), ReclaimError>) {
    if let Some(Reply::Reclaimed(tell)) = inner.replies.remove(&ticket) {
        drop(tell.send(result));
    }
}

fn drop_copy(core: &Core, cell: &Cell, inner: &mut Inner, copy: AttemptId) {
    // Freeing a large state takes long, and the cell has better things to do.
    let host = inner.hosts.remove(&copy);
    core.bulk.run(move || drop(host));
    inner.arriving.remove(&copy);
    inner.holds.remove(&copy);
    inner.warming.remove(&copy);
    inner.wake_listeners();
    if inner.hosts.is_empty() && inner.away.is_empty() && inner.arriving.is_empty() {
        core.claims.release(&cell.entity());
    }
}

fn delivered(
    inner: &mut Inner,
    ticket: Ticket,
    result: Result<whimbrel_wire::Answer, DeliverError>,
) {
    // Whoever was told may have gone away: that is fine.
    match inner.replies.remove(&ticket) {
        Some(Reply::Delivered(tell)) => drop(tell.send(result)),
        Some(Reply::Blocked(tell)) => drop(tell.send(result)),
        Some(
            Reply::Sent(_)
            | Reply::Spawned(_)
            | Reply::Snapshot(_)
            | Reply::Stopped(_)
            | Reply::Reclaimed(_),
        ) => {}
        None => inner.finished = Some((ticket, result)),
    }
}

fn turn(
    inner: &mut Inner,
    copy: AttemptId,
    epoch: Epoch,
    time: Time,
    origin: &InputOrigin,
    event: &CausalEvent,
) -> Result<Turned, TurnFailure> {
    let host = inner.hosts.get_mut(&copy).ok_or(TurnFailure::NoCopy)?;
    let turned = host_turn(host, epoch, time, origin, event);
    if ChannelWord::is_marked(&event.payload) {
        inner.wake_listeners();
    }
    turned
}

/// Makes one turn.
#[inline]
pub(crate) fn host_turn(
    host: &mut Host,
    epoch: Epoch,
    time: Time,
    origin: &InputOrigin,
    event: &CausalEvent,
) -> Result<Turned, TurnFailure> {
    let turned = host.turn(epoch, time, origin, event).map_err(|error| failure(&error))?;
    Ok(Turned {
        head: turned.head,
        last: host.last(),
        answer: turned.answer,
        sent: turned.sent,
        next_timer: host.next_timer(),
    })
}

fn failure(error: &HostError) -> TurnFailure {
    match error {
        // It broke before: this event is not to blame.
        HostError::Spoilt => TurnFailure::NoCopy,
        HostError::Panicked(_)
        | HostError::Exceeded(_)
        | HostError::Stuck
        | HostError::Epoch { .. }
        | HostError::UnknownTimer(_)
        | _ => TurnFailure::Panicked(error.to_string()),
    }
}

/// Says the state of a copy.
fn digest(inner: &mut Inner, copy: AttemptId) {
    let state = inner.hosts.get_mut(&copy).and_then(|host| host.digest().ok());
    let state = state.unwrap_or(Digest::ZERO);
    inner.pending.push_back(Input::Digested { copy, state });
}

/// Says whether the daemon may leave for `target`.
fn prepare(core: &Core, inner: &mut Inner, attempt: AttemptId, copy: AttemptId, target: NodeId) {
    let result = may_leave(core, inner, copy, target);
    inner.pending.push_back(Input::Prepared { attempt, result });
}

fn may_leave(
    core: &Core,
    inner: &mut Inner,
    copy: AttemptId,
    target: NodeId,
) -> Result<(), Unprepared> {
    if core.members.member(target).is_none() {
        return Err(Unprepared::Refused(MigrationFailureReason::UnknownNode));
    }
    let host = inner.hosts.get_mut(&copy).ok_or(Unprepared::Broke(TurnFailure::NoCopy))?;
    let prepared = host.prepare().map_err(|error| Unprepared::Broke(failure(&error)))?;
    prepared.map_err(|misfit| Unprepared::Refused(MigrationFailureReason::Incompatible(misfit.0)))
}

/// Says the state of a copy, and whether it may go on here.
fn judge(inner: &mut Inner, copy: AttemptId) {
    let (state, verdict) = match inner.hosts.get_mut(&copy) {
        Some(host) => (host.digest().unwrap_or(Digest::ZERO), host.judge(copy)),
        None => (Digest::ZERO, Err(HostError::Spoilt)),
    };
    let verdict = match verdict {
        Ok(judged) => judged.map_err(MigrationFailureReason::from),
        Err(error) => Err(MigrationFailureReason::StateFailed(error.to_string())),
    };
    inner.pending.push_back(Input::Judged { copy, state, verdict });
}

/// Makes turns again.
pub(crate) fn replay(host: &mut Host, steps: Vec<ReplayStep>) -> Result<Vec<Turned>, TurnFailure> {
    let mut results = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            ReplayStep::Turn(turn) => {
                let stamp = &turn.stamp;
                results.push(host_turn(host, stamp.epoch, stamp.time, &stamp.origin, &turn.event)?);
            }
            ReplayStep::Deed { epoch, deed } => host.enter_epoch(epoch, &deed),
        }
    }
    Ok(results)
}

fn send(core: &Core, inner: &mut Inner, to: NodeId, message: Message) {
    if to == core.node() {
        core.routes.hear(&message);
        if let Message::Migration(envelope) = &message {
            core.moves.listen(to, envelope);
        }
        inner.pending.push_back(Input::Message { from: to, message });
    } else {
        core.send(to, &message);
    }
}

fn post(core: &Core, entity: EntityId, input: Input) {
    let cell = core.cell(entity);
    core.post(&cell, Work::Input(input));
}

/// Tells whoever wants to know that the state of a daemon that has left is about to be dropped.
fn tell_cleanup(core: &Core, cell: &Cell, inner: &Inner, write: &Write) {
    let handler = core.handler();
    if !matches!(write, Write::DropState { .. }) || !handler.minds_cleanup() {
        return;
    }
    let frozen = inner.hosts.values().max_by_key(|host| host.head().position);
    let listened = frozen.map(Host::subscriptions).unwrap_or_default();
    handler.cleaning(cell.entity(), &listened);
}

fn save(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner, ticket: SaveTicket, write: Write) {
    let key = KeyChange::of(core, cell.entity(), inner, &write);
    // What the write names is protected until it is on disk; then the record protects it.
    let hold = if let Write::SaveCopy { attempt, .. } = &write {
        inner.holds.remove(attempt)
    } else if matches!(write, Write::Publish { .. }) {
        inner.captured.take()
    } else {
        None
    };
    core.chores.note(&write);
    let named = hops::write(&write);
    core.hop(How::Asked, || named);
    tell_cleanup(core, cell, inner, &write);
    let writer = cell.store.writer.clone();
    match writer {
        Writer::Direct(memory) => {
            let mut memory = lock(&memory);
            let result = key.commit(&mut *memory, write);
            inner.pending.push_back(Input::Saved { ticket, result });
            drop(hold);
        }
        Writer::Queued(saver) => {
            let (core, cell) = (Arc::clone(core), Arc::clone(cell));
            let saved = crash::saved(&write);
            let report = move |result| {
                crash::here(saved);
                core.hop(How::Saved, || named);
                drop(hold);
                core.post(&cell, Work::Input(Input::Saved { ticket, result }));
            };
            if matches!(key, KeyChange::None) {
                return saver.save(write, Box::new(report));
            }
            saver.ask(Box::new(move |engine| {
                report(key.commit(engine, write));
            }));
        }
    }
}

/// The secrets of a daemon that lie in the vault of this node, if they do.
pub(crate) fn kept_secrets(core: &Core, cell: &Cell) -> Option<Secrets> {
    let entity = cell.entity();
    let locked = match &cell.store.writer {
        Writer::Direct(memory) => lock(memory).key(&entity).ok().flatten(),
        Writer::Queued(saver) => {
            saver.answer(move |engine| engine.key(&entity).ok().flatten()).flatten()
        }
    };
    identity::unlock(&core.key, &entity, &locked?).ok()
}

fn wipe_key(cell: &Cell) {
    let entity = cell.entity();
    let wipe = move |vault: &mut dyn Vault| {
        if let Err(error) = vault.drop_key(&entity) {
            tracing::error!(%entity, %error, "the key could not be wiped");
        }
    };
    match &cell.store.writer {
        Writer::Direct(memory) => wipe(&mut *lock(memory)),
        Writer::Queued(saver) => saver.ask(Box::new(move |engine| {
            if let Err(error) = engine.drop_key(&entity) {
                tracing::error!(%entity, %error, "the key could not be wiped");
            }
        })),
    }
}

fn read(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner) {
    let entity = cell.entity();
    match &cell.store.writer {
        Writer::Direct(memory) => {
            let record = lock(memory).record(&entity).map_err(|error| error.to_string());
            inner.pending.push_back(Input::Read(record));
        }
        Writer::Queued(saver) => {
            let (core, cell) = (Arc::clone(core), Arc::clone(cell));
            saver.ask(Box::new(move |engine| {
                let record = engine.record(&entity).map_err(|error| error.to_string());
                // Before the start not all kinds need be known: the seat asks again.
                if core.ready.load(Ordering::Acquire) || !record.as_ref().is_ok_and(is_owned) {
                    core.post(&cell, Work::Input(Input::Read(record)));
                }
            }));
        }
    }
}

const fn is_owned(record: &SeatRecord) -> bool {
    matches!(record.holding, Holding::Owned(_))
}

fn read_turns(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    inner: &mut Inner,
    (copy, after, count, bytes): (AttemptId, Position, usize, usize),
) {
    let entity = cell.entity();
    match &cell.store.writer {
        Writer::Direct(memory) => {
            let result = lock(memory).turns(&entity, copy, after, count, bytes);
            let result = result.map_err(|error| error.to_string());
            inner.pending.push_back(Input::TurnsRead { copy, after, result });
        }
        Writer::Queued(saver) => {
            let (core, cell) = (Arc::clone(core), Arc::clone(cell));
            saver.ask(Box::new(move |engine| {
                let result = engine.turns(&entity, copy, after, count, bytes);
                let result = result.map_err(|error| error.to_string());
                core.post(&cell, Work::Input(Input::TurnsRead { copy, after, result }));
            }));
        }
    }
}

fn capture(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner, wanted: Capture) {
    let copy = wanted.copy;
    let captured = inner.hosts.get_mut(&copy).map(Host::capture);
    match captured {
        Some(Ok(frozen)) => {
            inner.captured = Some(cell.store.chunks.hold());
            bulk::write_capture(core, cell, copy, frozen, wanted.ledger);
        }
        Some(Err(error)) => {
            let result = Err(error.to_string());
            inner.pending.push_back(Input::Captured { copy, result });
        }
        None => {
            let result = Err("the copy is not in memory".to_owned());
            inner.pending.push_back(Input::Captured { copy, result });
        }
    }
}

fn seal(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner, to: NodeId, bound: Binding) {
    let attempt = bound.attempt;
    let Some(member) = core.members.member(to) else {
        let result = Err("the target is no member".to_owned());
        return inner.pending.push_back(Input::Sealed { attempt, result });
    };
    let key = core.key.clone();
    let seal = move |vault: &mut dyn Vault| {
        let locked = vault.key(&bound.entity).map_err(|error| error.to_string())?;
        let locked = locked.ok_or_else(|| "this node does not hold the key".to_owned())?;
        let secrets = identity::unlock(&key, &bound.entity, &locked);
        let secrets = secrets.map_err(|error| error.to_string())?;
        identity::seal(&key, &member.key, &secrets, &bound).map_err(|error| error.to_string())
    };
    match &cell.store.writer {
        Writer::Direct(memory) => {
            let result = seal(&mut *lock(memory));
            inner.pending.push_back(Input::Sealed { attempt, result });
        }
        Writer::Queued(saver) => {
            let (core, cell) = (Arc::clone(core), Arc::clone(cell));
            saver.ask(Box::new(move |engine| {
                let result = seal(engine);
                core.post(&cell, Work::Input(Input::Sealed { attempt, result }));
            }));
        }
    }
}

/// Whether this node may run the daemon of `manifest`: everything that can be refused is refused
/// here, long before the commit point.
fn admit(
    core: &Core,
    cell: &Cell,
    inner: &mut Inner,
    attempt: AttemptId,
    epoch: Epoch,
    manifest: &Manifest,
    envelope: Option<&[u8]>,
) -> Result<(), MigrationFailureReason> {
    if !core.hosts() {
        return Err(MigrationFailureReason::ComputeNotSupported);
    }
    let handler = core.handler();
    let started = core.ready.load(Ordering::Acquire);
    if !started || core.unready_on_purpose.load(Ordering::Acquire) || !handler.is_ready() {
        return Err(MigrationFailureReason::NotReady);
    }
    let expected = core.kinds.expected(cell.origin());
    if expected.as_ref().is_some_and(|known| known.kind != manifest.kind) {
        let what = format!("another kind was announced than {}", manifest.kind);
        return Err(MigrationFailureReason::Incompatible(what));
    }
    let body = core.body(&cell.entity(), &manifest.kind)?;
    let reads = body.reads();
    if !reads.contains(&manifest.version) {
        let (first, last) = (*reads.start(), *reads.end());
        return Err(MigrationFailureReason::VersionNotRead {
            found: manifest.version,
            first,
            last,
        });
    }
    body.admit(manifest).map_err(|misfit| MigrationFailureReason::Incompatible(misfit.0))?;
    let wanted = body.requirements();
    core.carries(&wanted).map_err(MigrationFailureReason::Incompatible)?;
    let failed = |what: &str| MigrationFailureReason::IdentityTransportFailed(what.to_owned());
    let secrets = match (envelope, expected.and_then(|known| known.identity)) {
        (Some(envelope), _) => {
            let source = inner.seat.title().deed(epoch).map(|signed| signed.deed.to);
            let source = source.ok_or_else(|| failed("the source is not known"))?;
            let snapshot = manifest.digest();
            let bound = Binding { entity: cell.entity(), attempt, epoch, snapshot };
            handler.open(core, envelope, &bound, &source).map_err(|error| failed(&error))?
        }
        (None, Some(identity)) if identity.entity_id() == cell.entity() => identity.into(),
        (None, Some(_)) => return Err(failed("the identity that was given is of another daemon")),
        // A copy that has to come again finds the key where the first one left it.
        (None, None) => match kept_secrets(core, cell) {
            Some(secrets) => secrets,
            None => return Err(failed("no envelope came and no identity was given")),
        },
    };
    let claimed = core.claims.claim(cell.entity(), wanted.memory_bytes);
    claimed.map_err(|_| MigrationFailureReason::CapacityExceeded)?;
    inner.arriving.insert(attempt, secrets);
    Ok(())
}
