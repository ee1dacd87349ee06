//! Decides how a daemon is born on this node, and how its past is proved.

use std::sync::Arc;

use tokio::sync::oneshot;
use whimbrel_daemon::{Body, ContinuityProof, Host, StateSnapshot};
use whimbrel_protocol::{Input, SpawnError, Standing};
use whimbrel_store::Engine;
use whimbrel_wire::{
    AttemptId, Deed, DigestWriter, EntityId, Epoch, Holding, Identity, Kind, Ledger, Manifest,
    Position, Purpose, SeatRecord, Turn, decode, encode,
};

use crate::bulk;
use crate::cell::{Cell, Reply, Work};
use crate::clock::Clock;
use crate::config::DaemonHostConfig;
use crate::core::{Core, lock};
use crate::error::DaemonError;
use crate::mesh::random;
use crate::stores::Writer;

/// Turns read at a time for a proof.
const PROOF_TURNS: usize = 1_024;

/// Bytes of turns read at a time for a proof.
const PROOF_BYTES: usize = 4 * 1024 * 1024;

/// Where the state of a newborn comes from.
pub(crate) enum Origin {
    /// With what it is given.
    Fresh(Box<dyn Body>, Option<Vec<u8>>),
    Snapshot(Box<dyn Body>, Box<StateSnapshot>),
}

/// Gives birth: chunks and key first, then the deed, then the seat is live.
pub(crate) async fn bear(
    core: &Arc<Core>,
    identity: Identity,
    kind: Kind,
    config: DaemonHostConfig,
    origin: Origin,
) -> Result<(), DaemonError> {
    let entity = identity.entity_id();
    let cell = core.cell_in(entity, config);
    let known = cell.look(|inner| {
        let status = inner.seat.status();
        status.standing != Standing::Stranger || status.epoch.is_some()
    });
    if known {
        return Err(SpawnError::Exists.into());
    }
    let attempt = AttemptId::new(random().map_err(|_| DaemonError::Randomness)?);
    let birth = Deed::birth(&identity, core.station.public(), core.station.store(), attempt);
    let digest = birth.digest();
    let hold = cell.store.chunks.hold();
    let (shared, own) = (Arc::clone(core), Arc::clone(&cell));
    let made = tokio::task::spawn_blocking(move || {
        let seed = seed(&identity, &digest);
        let mut host = make(&kind, entity, seed, &digest, origin)?;
        // It holds no token yet: where channels are gated it is born with those that are open.
        host.permit(shared.trust.permits(&[]));
        house(&shared, entity, &host)?;
        let frozen = host.capture().map_err(|error| DaemonError::Build(error.to_string()))?;
        let manifest = bulk::keep_capture(&own.store.chunks, frozen, Ledger::default())
            .map_err(DaemonError::Build)?;
        keep_config(&own, config)?;
        Ok::<_, DaemonError>((host, manifest, identity))
    });
    let made = made.await.map_err(|_| DaemonError::ShuttingDown)?;
    let (host, manifest, identity) = made.inspect_err(|_| core.claims.release(&entity))?;
    let (catch_up, next_timer) = (host.catch_up(), host.next_timer());
    // The birth takes the key along, to the disk or to nowhere.
    cell.adjust(|inner| {
        inner.arriving.insert(attempt, identity.into());
        inner.hosts.insert(attempt, host)
    });
    let (tell, told) = oneshot::channel();
    let ask = move |ticket| Input::Spawn {
        ticket,
        birth: Box::new(birth),
        manifest: Box::new(manifest),
        wall: Clock::wall(),
        catch_up,
        next_timer,
    };
    core.post(&cell, Work::Ask { ask: Box::new(ask), reply: Reply::Spawned(tell) });
    let result = told.await.map_err(|_| DaemonError::ShuttingDown)?;
    drop(hold);
    if result.is_err() {
        cell.adjust(|inner| {
            inner.arriving.remove(&attempt);
            inner.hosts.remove(&attempt)
        });
        core.claims.release(&entity);
    }
    result.map_err(DaemonError::Spawn)
}

/// Whether this node offers what the daemon requires.
pub(crate) fn house(core: &Core, entity: EntityId, host: &Host) -> Result<(), DaemonError> {
    let wanted = host.requirements();
    core.carries(&wanted).map_err(DaemonError::Unfit)?;
    let claimed = core.claims.claim(entity, wanted.memory_bytes);
    claimed.map_err(|full| {
        let (wanted, free) = (wanted.memory_bytes, full.free_bytes);
        DaemonError::Unfit(format!("it claims {wanted} bytes and {free} are left"))
    })
}

/// The seed of a daemon's randomness: only who has its key could foretell it.
fn seed(identity: &Identity, birth: &whimbrel_wire::Digest) -> [u8; 32] {
    let mut writer = DigestWriter::new(Purpose::Random);
    writer.write(&*identity.seed()).write(birth.as_bytes());
    *writer.finish().as_bytes()
}

fn make(
    kind: &Kind,
    entity: EntityId,
    seed: [u8; 32],
    birth: &whimbrel_wire::Digest,
    origin: Origin,
) -> Result<Host, DaemonError> {
    match origin {
        Origin::Fresh(body, given) => {
            let mut host = Host::born(entity, kind.clone(), body, seed, birth);
            let founded = host.found(given.as_deref());
            founded.map_err(|misfit| DaemonError::Given(misfit.to_string()))?;
            Ok(host)
        }
        Origin::Snapshot(body, snapshot) => {
            let build =
                |error: whimbrel_daemon::RestoreError| DaemonError::Build(error.to_string());
            Ok(snapshot.host(kind, body).map_err(build)?.reborn(entity, birth))
        }
    }
}

/// Under which name the store keeps how a daemon is hosted.
fn config_note(entity: &EntityId) -> String {
    format!("host.{}", entity.key())
}

/// Writes down how a daemon is hosted, for the next start.
pub(crate) fn keep_config(cell: &Cell, config: DaemonHostConfig) -> Result<(), DaemonError> {
    let Writer::Queued(saver) = &cell.store.writer else { return Ok(()) };
    let name = config_note(&cell.entity());
    // The second number bounded nothing and stands for folders that have it.
    let bytes = encode(&(config.auto_snapshot_interval, 0_u64));
    let kept = saver.answer(move |engine| engine.set_note(&name, &bytes));
    Ok(kept.ok_or(DaemonError::ShuttingDown)??)
}

/// How a daemon on record is hosted; the default if that was never said.
pub(crate) fn config(core: &Core, entity: EntityId) -> DaemonHostConfig {
    let fallback = DaemonHostConfig::default();
    let Some(Writer::Queued(saver)) = core.stores.durable().map(|store| &store.writer) else {
        return fallback;
    };
    let name = config_note(&entity);
    let bytes = saver.answer(move |engine| engine.note(&name).ok().flatten()).flatten();
    match bytes.and_then(|bytes| decode::<(u64, u64)>(&bytes).ok()) {
        Some((auto_snapshot_interval, _)) => {
            DaemonHostConfig { auto_snapshot_interval, ..fallback }
        }
        None => fallback,
    }
}

/// Replays a daemon's journal from its base snapshot and gathers what it put out.
pub(crate) fn prove(core: &Core, cell: &Cell) -> Result<ContinuityProof, DaemonError> {
    let entity = cell.entity();
    let (record, turns) = match &cell.store.writer {
        Writer::Direct(memory) => history(&mut *lock(memory), &entity)?,
        Writer::Queued(saver) => saver
            .answer(move |engine| history(engine, &entity))
            .ok_or(DaemonError::ShuttingDown)??,
    };
    let Holding::Owned(copy) = &record.holding else {
        return Err(whimbrel_protocol::DeliverError::NotHere.into());
    };
    let (mut host, _) = bulk::build(core, cell, &copy.manifest)
        .map_err(|reason| DaemonError::Build(reason.to_string()))?;
    let mut links = Vec::new();
    for turn in &turns {
        pass_deeds(&mut host, &record, turn.stamp.epoch);
        let stamp = &turn.stamp;
        let turned = host
            .turn(stamp.epoch, stamp.time, &stamp.origin, &turn.event)
            .map_err(|error| DaemonError::Build(error.to_string()))?;
        if turned.head != stamp.head {
            let what = format!("the journal does not replay at {}", stamp.head.position);
            return Err(DaemonError::Build(what));
        }
        links.extend(turned.sent.into_iter().map(|(_, event)| event));
        links.extend(turned.answer.outputs);
    }
    let present = record.deeds.last().map_or(Epoch::FIRST, |signed| signed.deed.epoch);
    pass_deeds(&mut host, &record, present);
    let Manifest { head: base, epoch: base_epoch, .. } = copy.manifest.clone();
    let to = host.head();
    Ok(ContinuityProof { entity, deeds: record.deeds, base, base_epoch, links, to })
}

/// Leads the chain through the deeds up to `epoch`.
fn pass_deeds(host: &mut Host, record: &SeatRecord, epoch: Epoch) {
    for signed in &record.deeds {
        if signed.deed.epoch > host.epoch() && signed.deed.epoch <= epoch {
            host.enter_epoch(signed.deed.epoch, &signed.digest());
        }
    }
}

fn history(
    engine: &mut (impl Engine + ?Sized),
    entity: &EntityId,
) -> Result<(SeatRecord, Vec<Turn>), DaemonError> {
    let record = engine.record(entity)?;
    let mut turns: Vec<Turn> = Vec::new();
    if let Holding::Owned(copy) = &record.holding {
        let end = copy.head().position;
        let mut after: Position = copy.manifest.head.position;
        while after < end {
            let more = engine.turns(entity, copy.attempt, after, PROOF_TURNS, PROOF_BYTES)?;
            let Some(last) = more.last() else { break };
            after = last.position();
            turns.extend(more);
        }
    }
    Ok((record, turns))
}
