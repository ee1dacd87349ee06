//! Decides how a node comes up: store, links, threads; and how they go down again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use whimbrel_members::{MeshId, Roster};
use whimbrel_protocol::{Station, TRACE_VERSION, TraceHeader};
use whimbrel_wire::{NodeId, PublicKey, StoreId};

use crate::config::MeshConfig;
use crate::core::{Core, Inlet, Parts, lock};
use crate::error::MeshError;
use crate::hops::Hops;
use crate::link::{HandshakeStatistics, LinkStatistics, Links, Member, Members};
use crate::roster::Membership;
use crate::routes::RouteStatistics;
use crate::stores::{Stores, Writer};
use crate::trace::{TRACE_BYTES_MAX, Trace};
use crate::trust::Trust;
use crate::{alarms, chores, neighbours, roster, stealing, workers};

/// A node of the mesh: its key, its links, its data folder. A
/// [`DaemonRuntime`](crate::DaemonRuntime) hosts daemons on it.
pub struct Mesh {
    core: Arc<Core>,
    address: SocketAddr,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Mesh {
    /// Opens the data folder, binds the link and starts the threads. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`MeshError`]; nothing is left running then.
    pub async fn open(config: MeshConfig) -> Result<Arc<Self>, MeshError> {
        let data = config.data.clone();
        let fresh = StoreId::new(random()?);
        let opened = tokio::task::spawn_blocking(move || {
            let stores = Stores::open(data.as_deref(), fresh)?;
            let recorded = match stores.durable().map(|store| &store.writer) {
                Some(Writer::Queued(saver)) => {
                    saver.answer(|engine| engine.entities()).transpose()?.unwrap_or_default()
                }
                Some(Writer::Direct(_)) | None => Vec::new(),
            };
            Ok::<_, MeshError>((stores, recorded))
        });
        let (stores, recorded) = opened.await.map_err(std::io::Error::other)??;
        let (roster, file, asked) = (config.roster(), config.roster.clone(), config.trust.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let membership = Membership::open(roster, file)?;
            let trust = Trust::open(&asked).map_err(MeshError::Trust)?;
            Ok::<_, MeshError>((membership, trust))
        });
        let (membership, trust) = match opened.await.map_err(std::io::Error::other)? {
            Ok(opened) => opened,
            Err(error) => {
                let saver = stores.durable().map(|store| store.writer.clone());
                drop(tokio::task::spawn_blocking(move || close_store(saver.as_ref())).await);
                return Err(error);
            }
        };
        let listed = membership.look(Roster::members);
        let members: Members = listed.values().map(roster::member).collect();
        members.insert(Member { key: config.key.public(), addresses: Vec::new() });
        let station = Station::new(config.key.clone(), stores.id(), config.settings.clone());
        let trace = config.trace.as_deref().map(|path| {
            let header = TraceHeader {
                version: TRACE_VERSION,
                program: env!("CARGO_PKG_VERSION").to_owned(),
                node: station.public(),
                store: station.store(),
                settings: station.settings.clone(),
            };
            Trace::begin(path, &header, TRACE_BYTES_MAX)
        });
        let core = Arc::new(Core::new(Parts {
            station,
            key: config.key.clone(),
            stores,
            members: members.clone(),
            tags: config.tags.clone(),
            memory_bytes: config.memory_bytes,
            hosts: config.hosts,
            recorded: recorded.into_iter().collect(),
            trace: trace.transpose()?,
            hops: config.hops.clone().map(Hops::begin),
            detector: config.detector,
            seed: random()? as u64,
            trust,
            steals: config.steals,
        }));
        match Self::bring_up(&core, &config, members, membership) {
            Ok(mesh) => Ok(Arc::new(mesh)),
            Err(error) => {
                let saver = core.stores.durable().map(|store| store.writer.clone());
                drop(tokio::task::spawn_blocking(move || close_store(saver.as_ref())).await);
                Err(error)
            }
        }
    }

    /// Links and threads. What was started of them ends with the mesh that is dropped on an error.
    fn bring_up(
        core: &Arc<Core>,
        config: &MeshConfig,
        members: Members,
        mut membership: Membership,
    ) -> Result<Self, MeshError> {
        let inlet = Arc::new(Inlet(Arc::downgrade(core)));
        let links = Links::bind(&config.key, config.listen, members, config.links.clone(), inlet)?;
        let address = links.local_address();
        if config.addresses.is_empty() {
            membership.found_at(vec![address]);
        }
        drop(core.membership.set(membership));
        core.set_links(Some(links));
        drop(core.tokio.set(tokio::runtime::Handle::current()));
        let mesh = Self { core: Arc::clone(core), address, threads: Mutex::default() };
        let mut threads = workers::start(core, config.workers)?;
        threads.push(alarms::start(core)?);
        threads.extend(core.bulk.start()?);
        threads.extend(core.heavy.start(config.heavy_workers, config.work_per_second)?);
        threads.push(chores::start(core)?);
        *lock(&mesh.threads) = threads;
        tokio::spawn(neighbours::run(Arc::downgrade(core)));
        if config.steals {
            tokio::spawn(stealing::run(Arc::downgrade(core)));
        }
        Ok(mesh)
    }

    /// Which node it is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.core.node()
    }

    /// The key that others must know it by.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.core.station.public()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Whom it talks to; changes take effect at once.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.core.members
    }

    /// Its data folder.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.core.station.store()
    }

    /// The figures of its link to `node`.
    #[must_use]
    pub fn link_statistics(&self, node: NodeId) -> Option<LinkStatistics> {
        self.core.links()?.statistics(node)
    }

    /// What became of those that called, members and strangers.
    #[must_use]
    pub fn handshakes(&self) -> Option<HandshakeStatistics> {
        self.core.links().map(|links| links.handshakes())
    }

    /// What a member is called; none if it was not said.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<String> {
        self.core.membership()?.name_of(node)
    }

    /// Where a member, this node included, keeps who joined: the mesh, if it has one.
    #[must_use]
    pub fn mesh_id(&self) -> Option<MeshId> {
        self.core.membership()?.look(Roster::mesh)
    }

    /// How often events of this node were sent on until they were taken.
    #[must_use]
    pub fn route_statistics(&self) -> RouteStatistics {
        self.core.routes.statistics()
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Closes links, store and threads. What was acknowledged is on disk before.
    pub(crate) async fn close(&self) {
        self.core.neighbours.stop(&self.core);
        if let Some(links) = self.core.set_links(None) {
            links.close().await;
        }
        self.core.alarms.close();
        self.core.workers.close();
        self.core.bulk.close();
        self.core.heavy.close();
        self.core.chores.close();
        let saver = self.core.stores.durable().map(|store| store.writer.clone());
        let threads = std::mem::take(&mut *lock(&self.threads));
        let core = Arc::clone(&self.core);
        let ended = tokio::task::spawn_blocking(move || {
            core.trust.close();
            for thread in threads {
                drop(thread.join());
            }
            close_store(saver.as_ref());
        });
        drop(ended.await);
        self.core.end_trace();
        self.core.abandon();
    }
}

/// Closes a store once all that waits for it is done.
fn close_store(writer: Option<&Writer>) {
    if let Some(Writer::Queued(saver)) = writer {
        saver.close();
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.core.alarms.close();
        self.core.workers.close();
        self.core.bulk.close();
        self.core.heavy.close();
        self.core.chores.close();
        // Without a shutdown nothing is finished and nobody is told, as in a crash; but what the
        // node held of its machine is free.
        drop(self.core.set_links(None));
        if let Some(Writer::Queued(saver)) = self.core.stores.durable().map(|store| &store.writer) {
            saver.end();
        }
        self.core.end_trace();
        self.core.abandon();
    }
}

/// 128 random bits.
pub(crate) fn random() -> Result<u128, MeshError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| MeshError::Randomness)?;
    Ok(u128::from_le_bytes(bytes))
}
