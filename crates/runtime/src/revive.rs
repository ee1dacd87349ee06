//! Decides how a daemon is brought back from an exported snapshot when its owner is lost for good.
//!
//! Whoever has the daemon's key has it sign a deed that follows the last one that the mesh knows: the epoch moves,
//! the owner before is fenced wherever the deed is heard, and the fork stands in the title for all to see
//! ([`ForkRecord`](whimbrel_daemon::ForkRecord)). What that owner took in since the snapshot is lost.

use std::sync::Arc;

use tokio::sync::oneshot;
use whimbrel_daemon::{Body, StateSnapshot};
use whimbrel_members::Seems;
use whimbrel_protocol::Input;
use whimbrel_wire::{
    AttemptId, Deed, EntityId, Identity, Manifest, Message, SignedDeed, TitleMessage,
};

use crate::bulk;
use crate::cell::{Cell, Reply, Work};
use crate::clock::Clock;
use crate::config::DaemonHostConfig;
use crate::core::Core;
use crate::error::DaemonError;
use crate::handle::DaemonHandle;
use crate::mesh::random;
use crate::runtime::{DaemonRuntime, same_identity};
use crate::spawn;

impl DaemonRuntime {
    /// Brings a daemon back from `snapshot` because the node that owns it is lost with its disk. It goes on here, in a
    /// new epoch, with what the snapshot holds: sessions, timers and channels too. Tokens do not travel in a snapshot.
    /// Before, all members are asked for what they know of it, for the time of a search.
    ///
    /// **All that the daemon took in since the snapshot is lost.** An owner that comes back stands down as soon as it
    /// hears of this, and says what it loses; until then both serve. An owner that is cut off and hands the daemon on
    /// meanwhile makes a second title: its heir stops when the two meet.
    ///
    /// # Errors
    ///
    /// [`DaemonError::SnapshotIdentityMismatch`] before anything else. [`DaemonError::OwnerUp`] when another node owns
    /// it and seems alive: nothing is brought back from under a living owner. [`DaemonError::Unknown`] when no member
    /// knows the daemon up to the epoch of the snapshot: one that nobody knows is not brought back, but
    /// [spawned](Self::spawn_from_snapshot). [`DaemonError::Spawn`] when it lives or was deleted here.
    pub async fn revive(
        &self,
        identity: Identity,
        snapshot: StateSnapshot,
        config: DaemonHostConfig,
    ) -> Result<DaemonHandle, DaemonError> {
        same_identity(&identity, &snapshot)?;
        let body = self.body_for(&identity, snapshot.kind())?;
        let core = self.core();
        let entity = identity.entity_id();
        let cell = core.cell_in(entity, config);
        search(core, &cell).await;
        let last = cell.look(|inner| inner.seat.title().last().cloned());
        let last = last.filter(|last| last.deed.epoch >= snapshot.manifest().epoch);
        let last = last.ok_or(DaemonError::Unknown)?;
        let owner = last.deed.owner();
        let seems = self.neighbour(owner).map(|neighbour| neighbour.seems);
        if owner != core.node() && seems == Some(Seems::Alive) {
            return Err(DaemonError::OwnerUp(owner));
        }
        bring_back(core, &cell, Coming { identity, snapshot, body, last }, config).await?;
        Ok(DaemonHandle::new(self.clone(), entity))
    }
}

/// Asks all members for the title of a daemon, until the time of a search is over.
async fn search(core: &Core, cell: &Cell) {
    let settings = &core.station.settings;
    let begun = core.clock.now();
    let entity: EntityId = cell.entity();
    let mut rest = tokio::time::interval(settings.resend_after);
    while core.clock.now().since(begun) < settings.search_max {
        rest.tick().await;
        let after = cell.look(|inner| inner.seat.title().known());
        let message = TitleMessage::DeedAsked { after, attempt: None };
        core.broadcast(&Message::Title { entity, message });
    }
}

/// What is to live again.
struct Coming {
    identity: Identity,
    snapshot: StateSnapshot,
    body: Box<dyn Body>,
    last: SignedDeed,
}

async fn bring_back(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    coming: Coming,
    config: DaemonHostConfig,
) -> Result<(), DaemonError> {
    let entity = cell.entity();
    let attempt = AttemptId::new(random().map_err(|_| DaemonError::Randomness)?);
    let hold = cell.store.chunks.hold();
    let (shared, own) = (Arc::clone(core), Arc::clone(cell));
    let made = tokio::task::spawn_blocking(move || {
        let Coming { identity, snapshot, body, last } = coming;
        let manifest = keep(&shared, &own, &snapshot, body, &last)?;
        spawn::keep_config(&own, config)?;
        let here = (shared.station.public(), shared.station.store());
        let deed = Deed::revival(&identity, &last, here, attempt, &manifest);
        Ok::<_, DaemonError>((identity, manifest, deed))
    });
    let made = made.await.map_err(|_| DaemonError::ShuttingDown)?;
    let (identity, manifest, deed) = made.inspect_err(|_| core.claims.release(&entity))?;
    // The save takes the key along.
    cell.adjust(|inner| inner.arriving.insert(attempt, identity.into()));
    let (tell, told) = oneshot::channel();
    let ask = move |ticket| Input::Spawn {
        ticket,
        birth: Box::new(deed),
        catch_up: whimbrel_wire::CatchUp::Replay,
        manifest: Box::new(manifest),
        wall: Clock::wall(),
        next_timer: None,
    };
    core.post(cell, Work::Ask { ask: Box::new(ask), reply: Reply::Spawned(tell) });
    let result = told.await.map_err(|_| DaemonError::ShuttingDown)?;
    drop(hold);
    if result.is_err() {
        cell.adjust(|inner| inner.arriving.remove(&attempt));
        core.claims.release(&entity);
    }
    result.map_err(DaemonError::Spawn)
}

/// Keeps the chunks of a snapshot, and gives its manifest as one of the last epoch: that is where the new deed goes on.
fn keep(
    core: &Core,
    cell: &Cell,
    snapshot: &StateSnapshot,
    body: Box<dyn Body>,
    last: &SignedDeed,
) -> Result<Manifest, DaemonError> {
    let broken = |error: &dyn std::fmt::Display| DaemonError::Build(error.to_string());
    let mut host = snapshot.host(snapshot.kind(), body).map_err(|error| broken(&error))?;
    spawn::house(core, cell.entity(), &host)?;
    let frozen = host.capture().map_err(|error| broken(&error))?;
    let ledger = snapshot.luggage().ledger.clone();
    let manifest = bulk::keep_capture(&cell.store.chunks, frozen, ledger);
    let manifest = manifest.map_err(DaemonError::Build)?;
    Ok(Manifest { epoch: last.deed.epoch, ..manifest })
}
