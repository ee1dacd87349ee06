//! Decides how each output of a seat is done, and on which thread: turns, replays and digests here
//! and now; saves, captures, restores and chunks elsewhere, reported when they are over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use whimbrel_daemon::{Host, HostError};
use whimbrel_protocol::{
    Capture, DeliverError, Event, Input, Output, ReplayStep, SaveTicket, Ticket, TurnFailure,
    Turned,
};
use whimbrel_store::{Journal, Titles, Vault};
use whimbrel_wire::{
    AttemptId, CausalEvent, Digest, EntityId, Epoch, Holding, InputOrigin, Manifest, Message,
    MigrationFailureReason, NodeId, Position, SeatRecord, Time, Write,
};

use crate::bulk;
use crate::cell::{Cell, Inner, Reply, Work};
use crate::core::{Core, lock};
use crate::crash;
use crate::identity::{self, Binding};
use crate::stores::Writer;

/// Does one output.
pub(crate) fn output(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner, output: Output) {
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
            let result = replay(inner, copy, steps);
            bulk::warm(core, inner, copy);
            inner.pending.push_back(Input::Replayed { copy, result });
        }
        Output::Restore { copy, manifest, .. } => bulk::restore(core, cell, copy, *manifest),
        Output::Capture(wanted) => capture(core, cell, inner, *wanted),
        Output::Digest { copy } => {
            let state = inner.hosts.get_mut(&copy).and_then(|host| host.digest().ok());
            let state = state.unwrap_or(Digest::ZERO);
            inner.pending.push_back(Input::Digested { copy, state });
        }
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
        Output::DropCopy { copy } => drop_copy(core, inner, copy),
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
            if let Some(Reply::Snapshot(tell)) = inner.replies.remove(&ticket) {
                drop(tell.send(result));
            }
        }
        Output::Stopped { ticket, result } => {
            if let Some(Reply::Stopped(tell)) = inner.replies.remove(&ticket) {
                drop(tell.send(result));
            }
        }
        Output::Event(event) => {
            if matches!(event, Event::Live { .. }) {
                // The keys that came with copies are in the vault, or of no use.
                inner.arriving.clear();
            }
            core.tell(cell.entity(), event);
        }
    }
}

fn drop_copy(core: &Core, inner: &mut Inner, copy: AttemptId) {
    // Freeing a large state takes long, and the cell has better things to do.
    let host = inner.hosts.remove(&copy);
    core.bulk.run(move || drop(host));
    inner.arriving.remove(&copy);
    inner.holds.remove(&copy);
    inner.warming.remove(&copy);
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
        Some(Reply::Sent(_) | Reply::Spawned(_) | Reply::Snapshot(_) | Reply::Stopped(_)) => {}
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
    host_turn(host, epoch, time, origin, event)
}

fn host_turn(
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
    TurnFailure::Panicked(error.to_string())
}

fn replay(
    inner: &mut Inner,
    copy: AttemptId,
    steps: Vec<ReplayStep>,
) -> Result<Vec<Turned>, TurnFailure> {
    let host = inner.hosts.get_mut(&copy).ok_or(TurnFailure::NoCopy)?;
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
        inner.pending.push_back(Input::Message { from: to, message });
    } else {
        core.send(to, &message);
    }
}

fn post(core: &Core, entity: EntityId, input: Input) {
    let cell = core.cell(entity);
    core.post(&cell, Work::Input(input));
}

fn save(core: &Arc<Core>, cell: &Arc<Cell>, inner: &mut Inner, ticket: SaveTicket, write: Write) {
    let key = key_change(core, cell, inner, &write);
    // What the write names is protected until it is on disk; then the record protects it.
    let hold = if let Write::SaveCopy { attempt, .. } = &write {
        inner.holds.remove(attempt)
    } else if matches!(write, Write::Publish { .. }) {
        inner.captured.take()
    } else {
        None
    };
    core.chores.note(&write);
    let writer = cell.store.writer.clone();
    match writer {
        Writer::Direct(memory) => {
            let mut memory = lock(&memory);
            let result = key.apply(&mut *memory).and_then(|()| one(memory.commit(&[write])));
            inner.pending.push_back(Input::Saved { ticket, result });
            drop(hold);
        }
        Writer::Queued(saver) => {
            let (core, cell) = (Arc::clone(core), Arc::clone(cell));
            let saved = crash::saved(&write);
            let report = move |result| {
                crash::here(saved);
                drop(hold);
                core.post(&cell, Work::Input(Input::Saved { ticket, result }));
            };
            if matches!(key, KeyChange::None) {
                return saver.save(write, Box::new(report));
            }
            saver.ask(Box::new(move |engine| {
                report(key.apply(engine).and_then(|()| one(engine.commit(&[write]))));
            }));
        }
    }
}

/// What a save does to the daemon's key, in the same breath: a copy that is bound to go live must
/// not lose it, and one that is thrown away must not leave it.
enum KeyChange {
    None,
    Put(EntityId, Vec<u8>),
    Drop(EntityId),
    /// The key that must be put is not at hand: then the save must not happen either.
    Missing(String),
}

impl KeyChange {
    fn apply(&self, vault: &mut (impl Vault + ?Sized)) -> Result<(), whimbrel_wire::WriteError> {
        let done = match self {
            Self::None => Ok(()),
            Self::Put(entity, sealed) => vault.put_key(entity, sealed),
            Self::Drop(entity) => vault.drop_key(entity),
            Self::Missing(why) => return Err(whimbrel_wire::WriteError::Failed(why.clone())),
        };
        done.map_err(|error| whimbrel_wire::WriteError::Failed(error.to_string()))
    }
}

fn key_change(core: &Core, cell: &Cell, inner: &Inner, write: &Write) -> KeyChange {
    let entity = cell.entity();
    match write {
        Write::SaveCopy { attempt, .. } => match inner.arriving.get(attempt) {
            Some(key) => match identity::lock(&core.key, key) {
                Ok(sealed) => KeyChange::Put(entity, sealed),
                Err(error) => KeyChange::Missing(error.to_string()),
            },
            None => KeyChange::Missing("the key of the copy is not here".to_owned()),
        },
        // Another copy of the same daemon may wait or have gone live here: then the key stays.
        Write::DropCopy { .. }
            if inner.seat.waiting_copies() == 0
                && inner.seat.title().owner() != Some(core.node()) =>
        {
            KeyChange::Drop(entity)
        }
        Write::DropCopy { .. }
        | Write::Birth { .. }
        | Write::Append { .. }
        | Write::Publish { .. }
        | Write::Compact { .. }
        | Write::BeginAttempt { .. }
        | Write::HandOver { .. }
        | Write::AppendCopy { .. }
        | Write::Accept { .. }
        | Write::Learn { .. }
        | Write::DropState { .. }
        | Write::Delete { .. } => KeyChange::None,
    }
}

/// The answer to one write.
fn one(
    mut results: Vec<Result<(), whimbrel_wire::WriteError>>,
) -> Result<(), whimbrel_wire::WriteError> {
    let nothing = || Err(whimbrel_wire::WriteError::Unknown("the store did not answer".to_owned()));
    results.pop().unwrap_or_else(nothing)
}

/// The key of a daemon that lies in the vault of this node, if it does.
fn kept_key(core: &Core, cell: &Cell) -> Option<whimbrel_wire::Identity> {
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
        let identity = identity::unlock(&key, &bound.entity, &locked);
        let identity = identity.map_err(|error| error.to_string())?;
        identity::seal(&key, &member.key, &identity, &bound).map_err(|error| error.to_string())
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
    if !core.ready.load(Ordering::Acquire) || core.unready_on_purpose.load(Ordering::Acquire) {
        return Err(MigrationFailureReason::NotReady);
    }
    let expected = core.kinds.expected(cell.origin());
    if expected.as_ref().is_some_and(|known| known.kind != manifest.kind) {
        let what = format!("another kind was announced than {}", manifest.kind);
        return Err(MigrationFailureReason::Incompatible(what));
    }
    let body = core.kinds.build(&cell.entity(), &manifest.kind);
    let body = body.ok_or(MigrationFailureReason::FactoryNotFound)?;
    body.admit(manifest).map_err(|misfit| MigrationFailureReason::Incompatible(misfit.0))?;
    let missing: Vec<String> = body.requirements().tags.difference(&core.tags).cloned().collect();
    if !missing.is_empty() {
        let what = format!("this node lacks {}", missing.join(", "));
        return Err(MigrationFailureReason::Incompatible(what));
    }
    let failed = |what: &str| MigrationFailureReason::IdentityTransportFailed(what.to_owned());
    let identity = match (envelope, expected.and_then(|known| known.identity)) {
        (Some(envelope), _) => {
            let source = inner.seat.title().deed(epoch).map(|signed| signed.deed.to);
            let source = source.ok_or_else(|| failed("the source is not known"))?;
            let snapshot = manifest.digest();
            let bound = Binding { entity: cell.entity(), attempt, epoch, snapshot };
            identity::open(&core.key, &source, envelope, &bound)
                .map_err(|error| failed(&error.to_string()))?
        }
        (None, Some(identity)) if identity.entity_id() == cell.entity() => identity,
        (None, Some(_)) => return Err(failed("the identity that was given is of another daemon")),
        // A copy that has to come again finds the key where the first one left it.
        (None, None) => match kept_key(core, cell) {
            Some(identity) => identity,
            None => return Err(failed("no envelope came and no identity was given")),
        },
    };
    inner.arriving.insert(attempt, identity);
    Ok(())
}
