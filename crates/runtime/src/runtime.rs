//! Decides what people can ask of a node that hosts daemons.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use tokio::sync::{broadcast, oneshot};
use whimbrel_daemon::{Body, ContinuityProof, ForkRecord, MeshDaemon, StateSnapshot, Stats};
use whimbrel_protocol::{DeliverError, Input, MoveOptions};
use whimbrel_wire::limits::TERMS_BYTES_MAX;
use whimbrel_wire::{
    Answer, AttemptId, CausalEvent, ChannelWord, ClientId, EntityId, Identity, Kind, Message,
    MigrationFailureReason, MigrationPhase, NodeId, OriginHash, TitleMessage,
};

use crate::bulk::StoreSource;
use crate::cell::{Cell, Delivery, Reply, Work};
use crate::client::Client;
use crate::config::{DaemonHostConfig, MigrationOpts};
use crate::core::{Core, RuntimeEvent};
use crate::error::DaemonError;
use crate::handle::{DaemonHandle, DaemonStatus};
use crate::kinds::{Expected, Factory};
use crate::mesh::{Mesh, random};
use crate::migration::MigrationHandle;
use crate::neighbours::Target;
use crate::spawn;
use crate::superposition::SuperpositionState;

const REGISTERING: u8 = 0;
const READY: u8 = 1;
const SHUTTING_DOWN: u8 = 2;

/// Hosts daemons on a node. Registering → ready → shutting down, no way back. Cheap to clone;
/// clones share all state.
#[derive(Clone)]
pub struct DaemonRuntime {
    mesh: Arc<Mesh>,
    state: Arc<State>,
}

struct State {
    life: AtomicU8,
    client: ClientId,
}

impl DaemonRuntime {
    /// A runtime on `mesh`. Until [`start`](Self::start) it takes no daemons in: others are told
    /// *not ready* and ask again.
    #[must_use]
    pub fn new(mesh: Arc<Mesh>) -> Self {
        // A client id that could not be drawn at random still differs between nodes and starts.
        let fallback = || u128::from(mesh.node_id().get()) << 64 | u128::from(Self::moment());
        let client = ClientId::new(random().unwrap_or_else(|_| fallback()));
        Self { mesh, state: Arc::new(State { life: AtomicU8::new(REGISTERING), client }) }
    }

    fn moment() -> u64 {
        crate::clock::Clock::wall().as_nanos()
    }

    /// The node that it stands on.
    #[must_use]
    pub const fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.mesh.core()
    }

    /// Registers how daemons of `kind` are built. With it this node takes daemons of the kind
    /// without announcement: the kind travels in the snapshot.
    ///
    /// # Errors
    ///
    /// [`DaemonError::FactoryAlreadyRegistered`], [`DaemonError::Kind`],
    /// [`DaemonError::ShuttingDown`].
    pub fn register_factory<F>(&self, kind: &str, factory: F) -> Result<(), DaemonError>
    where
        F: Fn() -> Box<dyn MeshDaemon> + Send + Sync + 'static,
    {
        self.register_bodies(kind, move || factory().into())
    }

    /// As [`register_factory`](Self::register_factory), for a kind that is no [`MeshDaemon`]: it says
    /// itself what a host needs.
    ///
    /// # Errors
    ///
    /// As [`register_factory`](Self::register_factory).
    pub fn register_bodies<F>(&self, kind: &str, factory: F) -> Result<(), DaemonError>
    where
        F: Fn() -> Box<dyn Body> + Send + Sync + 'static,
    {
        self.not_down()?;
        let named = Kind::new(kind)?;
        if !self.core().kinds.register(named, Arc::new(factory)) {
            return Err(DaemonError::FactoryAlreadyRegistered(kind.to_owned()));
        }
        Ok(())
    }

    /// Takes daemons from here on, and resumes those on disk. A second call changes nothing. On a mesh that names
    /// roots the members are asked first what was revoked while this node was away, for 3 s at most.
    ///
    /// # Errors
    ///
    /// [`DaemonError::ShuttingDown`].
    pub async fn start(&self) -> Result<(), DaemonError> {
        let life = &self.state.life;
        if life.load(Ordering::Acquire) == REGISTERING {
            crate::trust::spread::ask_first(self.core()).await;
        }
        match life.compare_exchange(REGISTERING, READY, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {}
            Err(READY) => return Ok(()),
            Err(_) => return Err(DaemonError::ShuttingDown),
        }
        self.core().ready.store(true, Ordering::Release);
        self.core().neighbours.stir();
        let recorded: Vec<EntityId> =
            crate::core::lock(&self.core().recorded).iter().copied().collect();
        for entity in recorded {
            let core = Arc::clone(self.core());
            let config = tokio::task::spawn_blocking(move || spawn::config(&core, entity)).await;
            let config = config.unwrap_or_default();
            self.core().cell_in(entity, config).open(self.core());
        }
        Ok(())
    }

    /// Finishes turns, makes them durable, closes links and store. Daemons stay on disk. A second
    /// call changes nothing.
    ///
    /// # Errors
    ///
    /// None at present.
    pub async fn shutdown(&self) -> Result<(), DaemonError> {
        if self.state.life.swap(SHUTTING_DOWN, Ordering::AcqRel) == SHUTTING_DOWN {
            return Ok(());
        }
        self.core().ready.store(false, Ordering::Release);
        let mut stopping = Vec::new();
        for cell in self.core().cells() {
            let (tell, told) = oneshot::channel();
            self.ask(&cell, Reply::Stopped(tell), |ticket| Input::Stop { ticket });
            stopping.push(told);
        }
        for told in stopping {
            // A daemon that lives elsewhere has nothing to stop.
            drop(told.await);
        }
        self.core().kinds.clear();
        self.mesh.close().await;
        Ok(())
    }

    /// Whether [`start`](Self::start) was called and [`shutdown`](Self::shutdown) was not.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.life.load(Ordering::Acquire) == READY
    }

    /// For tests: while set, moves to this node are answered *not ready*, as if it were starting.
    pub fn simulate_not_ready(&self, flag: bool) {
        self.core().unready_on_purpose.store(flag, Ordering::Release);
    }

    /// Spawns a daemon of `kind` under `identity`.
    ///
    /// # Errors
    ///
    /// [`DaemonError::FactoryNotFound`], [`DaemonError::Spawn`] when the identity was ever
    /// spawned, and those of a runtime that is not ready.
    pub async fn spawn(
        &self,
        kind: &str,
        identity: Identity,
        config: DaemonHostConfig,
    ) -> Result<DaemonHandle, DaemonError> {
        self.spawn_given(kind, identity, config, None).await
    }

    /// As [`spawn`](Self::spawn), with what the newborn is given: for a `statechart` its definition.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Given`] when the kind does not take it; then as [`spawn`](Self::spawn).
    pub async fn spawn_given(
        &self,
        kind: &str,
        identity: Identity,
        config: DaemonHostConfig,
        given: Option<Vec<u8>>,
    ) -> Result<DaemonHandle, DaemonError> {
        self.is_up()?;
        let kind = Kind::new(kind)?;
        let body = self.body(&identity, &kind)?;
        self.bear(identity, kind, config, spawn::Origin::Fresh(body, given)).await
    }

    /// Spawns a daemon from an instance that the caller made, with a factory that builds it again
    /// here and that may live outside this language.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub async fn spawn_with_daemon<F>(
        &self,
        identity: Identity,
        config: DaemonHostConfig,
        daemon: Box<dyn MeshDaemon>,
        kind_factory: F,
    ) -> Result<DaemonHandle, DaemonError>
    where
        F: Fn() -> Box<dyn MeshDaemon> + Send + Sync + 'static,
    {
        self.is_up()?;
        let kind = Kind::new(daemon.name())?;
        let origin = spawn::Origin::Fresh(daemon.into(), None);
        self.bear_adopted(identity, kind, config, origin, native(kind_factory)).await
    }

    /// Spawns a daemon of `kind` with the state of `snapshot`, whose identity it must be.
    ///
    /// # Errors
    ///
    /// [`DaemonError::SnapshotIdentityMismatch`] before anything else; then as
    /// [`spawn`](Self::spawn).
    pub async fn spawn_from_snapshot(
        &self,
        kind: &str,
        identity: Identity,
        snapshot: StateSnapshot,
        config: DaemonHostConfig,
    ) -> Result<DaemonHandle, DaemonError> {
        same_identity(&identity, &snapshot)?;
        self.is_up()?;
        let kind = Kind::new(kind)?;
        let body = self.body(&identity, &kind)?;
        self.bear(identity, kind, config, spawn::Origin::Snapshot(body, Box::new(snapshot))).await
    }

    /// Spawns a daemon of the kind of `snapshot` with its state and a name of its own: both go on from
    /// there, each for itself. Timers and randomness are copied; titles, chains and channels are not.
    ///
    /// # Errors
    ///
    /// [`DaemonError::SnapshotIdentityMismatch`] when the name is that of the snapshot; then as
    /// [`spawn`](Self::spawn).
    pub async fn fork(
        &self,
        identity: Identity,
        snapshot: StateSnapshot,
        config: DaemonHostConfig,
    ) -> Result<DaemonHandle, DaemonError> {
        if same_identity(&identity, &snapshot).is_ok() {
            return Err(DaemonError::SnapshotIdentityMismatch);
        }
        self.is_up()?;
        let kind = snapshot.kind().clone();
        let body = self.body(&identity, &kind)?;
        self.bear(identity, kind, config, spawn::Origin::Snapshot(body, Box::new(snapshot))).await
    }

    /// As [`spawn_from_snapshot`](Self::spawn_from_snapshot), with an instance and a factory of
    /// the caller's as in [`spawn_with_daemon`](Self::spawn_with_daemon).
    ///
    /// # Errors
    ///
    /// As [`spawn_from_snapshot`](Self::spawn_from_snapshot).
    pub async fn spawn_from_snapshot_with_daemon<F>(
        &self,
        identity: Identity,
        snapshot: StateSnapshot,
        config: DaemonHostConfig,
        daemon: Box<dyn MeshDaemon>,
        kind_factory: F,
    ) -> Result<DaemonHandle, DaemonError>
    where
        F: Fn() -> Box<dyn MeshDaemon> + Send + Sync + 'static,
    {
        same_identity(&identity, &snapshot)?;
        self.is_up()?;
        let kind = Kind::new(daemon.name())?;
        let origin = spawn::Origin::Snapshot(daemon.into(), Box::new(snapshot));
        self.bear_adopted(identity, kind, config, origin, native(kind_factory)).await
    }

    /// A fresh body, on a runtime that hosts daemons and is up.
    pub(crate) fn body_for(
        &self,
        identity: &Identity,
        kind: &Kind,
    ) -> Result<Box<dyn Body>, DaemonError> {
        self.is_up()?;
        if !self.core().hosts() {
            return Err(DaemonError::HostsNone);
        }
        self.body(identity, kind)
    }

    fn body(&self, identity: &Identity, kind: &Kind) -> Result<Box<dyn Body>, DaemonError> {
        let body = self.core().kinds.build(&identity.entity_id(), kind);
        body.ok_or_else(|| DaemonError::FactoryNotFound(kind.as_str().to_owned()))
    }

    /// As [`bear`](Self::bear), with a factory for this daemon alone. It is known before the
    /// daemon lives, and a refused birth leaves none behind.
    async fn bear_adopted(
        &self,
        identity: Identity,
        kind: Kind,
        config: DaemonHostConfig,
        origin: spawn::Origin,
        factory: Factory,
    ) -> Result<DaemonHandle, DaemonError> {
        let (entity, kinds) = (identity.entity_id(), &self.core().kinds);
        let before = kinds.adopt(entity, (kind.clone(), factory));
        let born = self.bear(identity, kind, config, origin).await;
        if born.is_err() {
            kinds.disown(entity, before);
        }
        born
    }

    async fn bear(
        &self,
        identity: Identity,
        kind: Kind,
        config: DaemonHostConfig,
        origin: spawn::Origin,
    ) -> Result<DaemonHandle, DaemonError> {
        if !self.core().hosts() {
            return Err(DaemonError::HostsNone);
        }
        let entity = identity.entity_id();
        spawn::bear(self.core(), identity, kind, config, origin).await?;
        Ok(DaemonHandle::new(self.clone(), entity))
    }

    /// Stops a daemon that lives here, after its turns are durable. It stays on disk and resumes
    /// at the next start.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NotFound`], [`DaemonError::Deliver`].
    pub async fn stop(&self, origin_hash: impl Into<OriginHash>) -> Result<(), DaemonError> {
        if self.state.life.load(Ordering::Acquire) == SHUTTING_DOWN {
            return Ok(());
        }
        self.is_up()?;
        let cell = self.local(origin_hash.into())?;
        let (tell, told) = oneshot::channel();
        self.ask(&cell, Reply::Stopped(tell), |ticket| Input::Stop { ticket });
        told.await.map_err(|_| DaemonError::ShuttingDown)?.map_err(DaemonError::Deliver)
    }

    /// Deletes a daemon that lives here, for good: a tombstone stays, and its identity can never
    /// be spawned again.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub async fn delete(&self, origin_hash: impl Into<OriginHash>) -> Result<(), DaemonError> {
        self.is_up()?;
        let cell = self.local(origin_hash.into())?;
        let (tell, told) = oneshot::channel();
        self.ask(&cell, Reply::Stopped(tell), |ticket| Input::Delete { ticket });
        told.await.map_err(|_| DaemonError::ShuttingDown)?.map_err(DaemonError::Deliver)
    }

    /// Takes back a daemon that this node handed over to one whose disk was lost before it could
    /// acknowledge that. It goes on here from where it was handed over, in a later epoch.
    ///
    /// **All that the heir took in is lost**, if it took anything: nobody else has it. An heir that
    /// was only cut off and serves is stopped when it hears of this, and says what it loses; until then
    /// both serve. So make sure that it is off for good.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Reclaim`], [`DaemonError::Unknown`].
    pub async fn reclaim(&self, entity: EntityId) -> Result<(), DaemonError> {
        self.is_up()?;
        let cell = self.core().known_cell(&entity).ok_or(DaemonError::Unknown)?;
        let attempt = AttemptId::new(random().map_err(|_| DaemonError::Randomness)?);
        let (tell, told) = oneshot::channel();
        self.ask(&cell, Reply::Reclaimed(tell), move |ticket| Input::Reclaim { ticket, attempt });
        Ok(told.await.map_err(|_| DaemonError::ShuttingDown)??)
    }

    /// Takes a snapshot of a daemon that lives here; none if it has no state.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NotFound`], [`DaemonError::Deliver`], [`DaemonError::Snapshot`].
    pub async fn snapshot(
        &self,
        origin_hash: impl Into<OriginHash>,
    ) -> Result<Option<StateSnapshot>, DaemonError> {
        self.is_up()?;
        let cell = self.local(origin_hash.into())?;
        let hold = cell.store.chunks.hold();
        let (tell, told) = oneshot::channel();
        self.ask(&cell, Reply::Snapshot(tell), |ticket| Input::Snapshot { ticket });
        let manifest = told.await.map_err(|_| DaemonError::ShuttingDown)??;
        if manifest.state.chunks == 0 {
            return Ok(None);
        }
        let gathered = tokio::task::spawn_blocking(move || {
            let snapshot = StateSnapshot::gather(*manifest, &mut StoreSource(&*cell.store.chunks));
            drop(hold);
            snapshot
        });
        Ok(Some(gathered.await.map_err(|_| DaemonError::ShuttingDown)??))
    }

    /// Delivers an event to a daemon that lives here and waits until the turn is durable. Gives
    /// the daemon's answers, as links of its chain.
    ///
    /// # Errors
    ///
    /// [`DaemonError::WouldBlock`] in an async context, unless the daemon is volatile (its turn is
    /// over at once). That is so inside `spawn_blocking` too, where it could wait: tokio does not let
    /// a library tell its threads apart, so use [`deliver_async`](Self::deliver_async) there; [`DaemonError::Declined`]; [`DaemonError::Deliver`].
    pub fn deliver(
        &self,
        origin_hash: impl Into<OriginHash>,
        event: &CausalEvent,
    ) -> Result<Vec<CausalEvent>, DaemonError> {
        self.is_up()?;
        let cell = self.local(origin_hash.into())?;
        let waits = matches!(cell.store.writer, crate::stores::Writer::Queued(_));
        if waits && tokio::runtime::Handle::try_current().is_ok() {
            return Err(DaemonError::WouldBlock);
        }
        let delivery = cell.deliver(self.core(), &escaped(event), || {
            let (tell, told) = std::sync::mpsc::sync_channel(1);
            (Reply::Blocked(tell), told)
        });
        let result = match delivery {
            Delivery::Done(result) => result,
            Delivery::Waiting(told) => told.recv().map_err(|_| DaemonError::ShuttingDown)?,
        };
        answers(result)
    }

    /// As [`deliver`](Self::deliver), for async callers.
    ///
    /// # Errors
    ///
    /// As [`deliver`](Self::deliver), without [`DaemonError::WouldBlock`].
    pub async fn deliver_async(
        &self,
        origin_hash: impl Into<OriginHash>,
        event: &CausalEvent,
    ) -> Result<Vec<CausalEvent>, DaemonError> {
        self.deliver_marked(origin_hash.into(), &escaped(event)).await
    }

    /// As [`deliver_async`](Self::deliver_async), of an event that may be a word of this host.
    pub(crate) async fn deliver_marked(
        &self,
        origin: OriginHash,
        event: &CausalEvent,
    ) -> Result<Vec<CausalEvent>, DaemonError> {
        self.is_up()?;
        let cell = self.local(origin)?;
        let delivery = cell.deliver(self.core(), event, || {
            let (tell, told) = oneshot::channel();
            (Reply::Delivered(tell), told)
        });
        let result = match delivery {
            Delivery::Done(result) => result,
            Delivery::Waiting(told) => told.await.map_err(|_| DaemonError::ShuttingDown)?,
        };
        answers(result)
    }

    /// Sends an event to a daemon wherever it lives, exactly once, and waits until it is durable
    /// there. All callers of this runtime are one sender; for another order use a
    /// [`client`](Self::client) of your own.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Send`].
    pub async fn send(&self, entity: EntityId, payload: Bytes) -> Result<Answer, DaemonError> {
        self.is_up()?;
        Client::new(Arc::clone(self.core()), self.state.client).send(entity, payload).await
    }

    /// A new sender.
    #[must_use]
    pub fn client(&self) -> Client {
        let fallback = u128::from(self.core().ticket().0) << 64 | u128::from(Self::moment());
        let id = ClientId::new(random().unwrap_or(fallback));
        Client::new(Arc::clone(self.core()), id)
    }

    /// How many daemons live here. Those that were stopped do not count.
    #[must_use]
    pub fn daemon_count(&self) -> usize {
        self.core().daemons_here()
    }

    /// Every daemon of which this node knows something, by identity.
    #[must_use]
    pub fn daemons(&self) -> Vec<DaemonStatus> {
        let known = self.core().cells();
        let statuses = known.iter().map(|cell| status(cell));
        statuses.filter(|status| status.epoch.is_some()).collect()
    }

    /// What this node knows of one daemon.
    #[must_use]
    pub fn status(&self, entity: EntityId) -> Option<DaemonStatus> {
        Some(status(&*self.core().known_cell(&entity)?))
    }

    pub(crate) fn stats(&self, entity: EntityId) -> Option<Stats> {
        let cell = self.core().known_cell(&entity)?;
        cell.look(|inner| {
            let (copy, _) = inner.seat.live_copy()?;
            Some(inner.hosts.get(&copy)?.stats())
        })
    }

    /// The owner of a daemon, by its title. The members are asked when this node does not know.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Unknown`] when no member knows within the time of a search.
    pub async fn find(&self, entity: EntityId) -> Result<NodeId, DaemonError> {
        let cell = self.core().cell(entity);
        let asked_at = self.core().clock.now();
        let settings = &self.core().station.settings;
        let mut pause = tokio::time::interval(settings.resend_after / 8);
        let mut rounds = 0_u32;
        loop {
            if let Some(owner) = cell.look(|inner| inner.seat.title().owner()) {
                return Ok(owner);
            }
            if self.core().clock.now().since(asked_at) >= settings.search_max {
                return Err(DaemonError::Unknown);
            }
            if rounds.is_multiple_of(8) {
                let message =
                    TitleMessage::DeedAsked { after: whimbrel_wire::Epoch::new(0), attempt: None };
                self.core().broadcast(&Message::Title { entity, message });
            }
            rounds += 1;
            pause.tick().await;
        }
    }

    /// The phase of a move of this daemon that this node orchestrates; none once it has ended.
    #[must_use]
    pub fn migration_phase(&self, origin_hash: impl Into<OriginHash>) -> Option<MigrationPhase> {
        let cell = self.local(origin_hash.into()).ok()?;
        cell.look(|inner| inner.seat.migration_phase())
    }

    /// Where a daemon is in a move that this node orchestrates; none once that has ended.
    #[must_use]
    pub fn superposition(&self, entity: EntityId) -> Option<SuperpositionState> {
        self.core().moves.superposition(&entity)
    }

    /// Every time that an operator had this daemon taken back from an older state, by its title. The members are
    /// asked when this node does not know it; any member can be asked this.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Unknown`].
    pub async fn forks(&self, entity: EntityId) -> Result<Vec<ForkRecord>, DaemonError> {
        self.find(entity).await?;
        let cell = self.core().known_cell(&entity).ok_or(DaemonError::Unknown)?;
        Ok(cell.look(|inner| ForkRecord::all(entity, inner.seat.title().deeds())))
    }

    /// Announces a daemon whose key will not travel, and gives its key.
    ///
    /// # Errors
    ///
    /// [`DaemonError::FactoryNotFound`], [`DaemonError::Kind`], [`DaemonError::ShuttingDown`].
    pub fn register_migration_target_identity(
        &self,
        kind: &str,
        identity: Identity,
        config: DaemonHostConfig,
    ) -> Result<(), DaemonError> {
        let (origin, entity) = (identity.origin_hash(), identity.entity_id());
        self.announce(kind, origin, config, Some(identity))?;
        if self.idle_stranger(&entity) {
            self.core().forget_cell(&entity);
        }
        Ok(())
    }

    /// Announces a daemon whose key travels with it. Needed only to host it in another way than
    /// the default: a node that has the kind's factory takes it without.
    ///
    /// # Errors
    ///
    /// [`DaemonError::FactoryNotFound`], [`DaemonError::Kind`], [`DaemonError::ShuttingDown`].
    pub fn expect_migration(
        &self,
        kind: &str,
        origin_hash: impl Into<OriginHash>,
        config: DaemonHostConfig,
    ) -> Result<(), DaemonError> {
        let origin = origin_hash.into();
        self.announce(kind, origin, config, None)?;
        for cell in self.core().by_origin(origin) {
            if self.idle_stranger(&cell.entity()) {
                self.core().forget_cell(&cell.entity());
            }
        }
        Ok(())
    }

    fn announce(
        &self,
        kind: &str,
        origin: OriginHash,
        config: DaemonHostConfig,
        identity: Option<Identity>,
    ) -> Result<(), DaemonError> {
        self.not_down()?;
        let kind = Kind::new(kind)?;
        if !self.core().kinds.has(&kind) {
            return Err(DaemonError::FactoryNotFound(kind.as_str().to_owned()));
        }
        self.core().kinds.expect(origin, Expected { kind, config, identity });
        Ok(())
    }

    fn idle_stranger(&self, entity: &EntityId) -> bool {
        self.core().known_cell(entity).is_some_and(|cell| {
            cell.look(|inner| inner.seat.is_idle())
                && !crate::core::lock(&self.core().recorded).contains(entity)
        })
    }

    /// Starts to move a daemon from `source_node` to `target`: a node, or [`Target::Best`]. This node
    /// orchestrates; it may be the source, the target or neither.
    ///
    /// # Errors
    ///
    /// [`DaemonError::UnknownNode`], [`DaemonError::Migration`] when source and target are the
    /// same, [`DaemonError::NotFound`]; [`DaemonError::NodeDown`] at once, and nothing has begun, when the
    /// target seems down; without a target as [`placement`](Self::placement), and
    /// [`DaemonError::NoPlace`].
    pub async fn start_migration(
        &self,
        origin_hash: impl Into<OriginHash>,
        source_node: impl Into<NodeId>,
        target: impl Into<Target>,
    ) -> Result<MigrationHandle, DaemonError> {
        let opts = MigrationOpts::default();
        self.start_migration_with(origin_hash, source_node, target, opts).await
    }

    /// As [`start_migration`](Self::start_migration), with options.
    ///
    /// # Errors
    ///
    /// As [`start_migration`](Self::start_migration).
    pub async fn start_migration_with(
        &self,
        origin_hash: impl Into<OriginHash>,
        source_node: impl Into<NodeId>,
        target: impl Into<Target>,
        opts: MigrationOpts,
    ) -> Result<MigrationHandle, DaemonError> {
        let (origin, source, target) = (origin_hash.into(), source_node.into(), target.into());
        self.is_up()?;
        self.is_member(source)?;
        let entity = self.local(origin)?.entity();
        match target {
            Target::Node(target) => self.begin(entity, Some(source), target, opts),
            Target::Best => {
                let (target, placement) = self.best(entity).await?;
                Ok(self.begin(entity, Some(source), target, opts)?.placed(placement))
            }
        }
    }

    /// Starts to move a daemon to `target` from wherever it lives.
    ///
    /// # Errors
    ///
    /// As [`start_migration`](Self::start_migration).
    pub async fn migrate(
        &self,
        entity: EntityId,
        target: NodeId,
        opts: MigrationOpts,
    ) -> Result<MigrationHandle, DaemonError> {
        self.is_up()?;
        self.find(entity).await?;
        self.begin(entity, None, target, opts)
    }

    fn begin(
        &self,
        entity: EntityId,
        source: Option<NodeId>,
        target: NodeId,
        opts: MigrationOpts,
    ) -> Result<MigrationHandle, DaemonError> {
        self.is_member(target)?;
        self.not_lost(target)?;
        if source == Some(target) {
            return Err(MigrationFailureReason::SameNode.into());
        }
        if opts.terms.as_ref().is_some_and(|terms| terms.len() > TERMS_BYTES_MAX) {
            let what = format!("the terms have more than {TERMS_BYTES_MAX} bytes");
            return Err(MigrationFailureReason::Incompatible(what).into());
        }
        let attempt = AttemptId::new(random().map_err(|_| DaemonError::Randomness)?);
        let state = self.core().moves.follow(entity, attempt, target);
        let options = MoveOptions {
            transport_identity: opts.transport_identity,
            retry_not_ready: opts.retry_not_ready,
            freeze_and_copy: opts.freeze_and_copy,
            terms: opts.terms,
        };
        let cell = self.core().cell(entity);
        let input = Input::Move { attempt, source, target, options };
        self.core().post(&cell, Work::Input(input));
        Ok(MigrationHandle::new(Arc::clone(self.core()), entity, attempt, state))
    }

    /// What happens to daemons on this node from now on. A slow listener misses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.core().events()
    }

    /// The proof of a daemon's outputs since its last snapshot, with its whole title. Made by
    /// replaying the journal, so it also shows that the journal leads to the present state.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Deliver`] when it does not live here, [`DaemonError::Build`] when the journal
    /// does not replay.
    pub async fn lineage(&self, entity: EntityId) -> Result<ContinuityProof, DaemonError> {
        self.is_up()?;
        let cell = self.core().known_cell(&entity).ok_or(DaemonError::Unknown)?;
        let core = Arc::clone(self.core());
        let proved = tokio::task::spawn_blocking(move || spawn::prove(&core, &cell));
        proved.await.map_err(|_| DaemonError::ShuttingDown)?
    }

    fn ask(
        &self,
        cell: &Arc<Cell>,
        reply: Reply,
        ask: impl FnOnce(whimbrel_protocol::Ticket) -> Input + Send + 'static,
    ) {
        self.core().post(cell, Work::Ask { ask: Box::new(ask), reply });
    }

    /// The daemon of an index, among those that this node has heard of.
    pub(crate) fn local(&self, origin: OriginHash) -> Result<Arc<Cell>, DaemonError> {
        self.core().sole(origin).map_err(|count| match count {
            0 => DaemonError::NotFound(origin),
            _ => DaemonError::Ambiguous(origin),
        })
    }

    fn is_member(&self, node: NodeId) -> Result<(), DaemonError> {
        match self.core().members.member(node) {
            Some(_) => Ok(()),
            None => Err(DaemonError::UnknownNode(node)),
        }
    }

    fn is_up(&self) -> Result<(), DaemonError> {
        match self.state.life.load(Ordering::Acquire) {
            REGISTERING => Err(DaemonError::NotReady),
            READY => Ok(()),
            _ => Err(DaemonError::ShuttingDown),
        }
    }

    fn not_down(&self) -> Result<(), DaemonError> {
        match self.state.life.load(Ordering::Acquire) {
            SHUTTING_DOWN => Err(DaemonError::ShuttingDown),
            _ => Ok(()),
        }
    }
}

fn answers(result: Result<Answer, DeliverError>) -> Result<Vec<CausalEvent>, DaemonError> {
    match result? {
        Answer { failure: Some(reason), .. } => Err(DaemonError::Declined(reason)),
        Answer { outputs, failure: None } => Ok(outputs),
    }
}

/// The event as the daemon is to see it: nobody but the host itself says words about channels.
fn escaped(event: &CausalEvent) -> Cow<'_, CausalEvent> {
    if !ChannelWord::is_marked(&event.payload) {
        return Cow::Borrowed(event);
    }
    let payload = ChannelWord::escape(event.payload.clone());
    Cow::Owned(CausalEvent { payload, ..event.clone() })
}

/// A factory of native daemons, as one of bodies.
fn native(factory: impl Fn() -> Box<dyn MeshDaemon> + Send + Sync + 'static) -> Factory {
    Arc::new(move || factory().into())
}

pub(crate) fn same_identity(
    identity: &Identity,
    snapshot: &StateSnapshot,
) -> Result<(), DaemonError> {
    if identity.entity_id() == snapshot.entity_id() {
        Ok(())
    } else {
        Err(DaemonError::SnapshotIdentityMismatch)
    }
}

fn status(cell: &Cell) -> DaemonStatus {
    cell.look(|inner| {
        let seat = inner.seat.status();
        let known = inner.seat.live_copy().and_then(|(copy, _)| inner.known(copy));
        let (kind, particulars) =
            known.map_or((None, None), |known| (Some(known.kind), known.particulars));
        DaemonStatus {
            entity: cell.entity(),
            origin_hash: cell.origin(),
            kind,
            particulars,
            standing: seat.standing,
            owner: seat.owner,
            epoch: seat.epoch,
            head: seat.head,
            snapshot: seat.snapshot,
            held: seat.held,
        }
    })
}
