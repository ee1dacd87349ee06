//! A mesh of real nodes in one process, on loopback, with data folders of their own.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

pub(crate) mod actors;
pub(crate) mod forged;
pub(crate) mod impostor;
pub(crate) mod stallers;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use whimbrel_daemon::kinds::native_kinds;
use whimbrel_protocol::{Event, Settings, Standing, Warning};
use whimbrel_runtime::link::{LinkLimits, Member};
use whimbrel_runtime::{
    DaemonError, DaemonHostConfig, DaemonRuntime, Durability, Mesh, MeshConfig, MigrationError,
    MigrationHandle, MigrationOpts, RuntimeEvent,
};
use whimbrel_wire::{
    Answer, CausalEvent, EntityId, Identity, MigrationFailureReason, NodeId, NodeKey, OriginHash,
};

/// How long any one thing may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that tells nobody of its change.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One node and its folder.
pub(crate) struct Node {
    pub(crate) runtime: DaemonRuntime,
    pub(crate) folder: Option<TempDir>,
    pub(crate) key: NodeKey,
}

impl Node {
    pub(crate) fn id(&self) -> NodeId {
        self.runtime.mesh().node_id()
    }

    /// Sends text to a daemon from this node; gives what it answered.
    pub(crate) async fn send(&self, entity: EntityId, payload: impl Into<String>) -> String {
        said(&self.runtime.send(entity, text(payload)).await.unwrap())
    }

    /// Delivers text to a daemon that lives here; gives what it answered.
    pub(crate) async fn deliver(
        &self,
        origin: OriginHash,
        payload: impl Into<String>,
    ) -> Result<String, DaemonError> {
        let event = CausalEvent::unchained(origin, 1, text(payload));
        let outputs = self.runtime.deliver_async(origin, &event).await?;
        Ok(outputs.iter().map(|event| String::from_utf8_lossy(&event.payload)).collect())
    }

    /// Moves a daemon and waits for the end.
    pub(crate) async fn migrate(
        &self,
        entity: EntityId,
        target: &Self,
        options: MigrationOpts,
    ) -> Result<(), MigrationError> {
        let moving = self.runtime.migrate(entity, target.id(), options).await.unwrap();
        moving.wait_with_timeout(PATIENCE).await
    }

    /// What this node is to a daemon.
    pub(crate) fn standing(&self, entity: EntityId) -> Option<Standing> {
        self.runtime.status(entity).map(|status| status.standing)
    }

    /// Waits until this node has heard who owns a daemon.
    pub(crate) async fn hears_of(&self, entity: EntityId) {
        until("the title is known", || {
            self.runtime.status(entity).is_some_and(|status| status.epoch.is_some())
        })
        .await;
    }

    /// Waits until this node knows that another owns a daemon.
    pub(crate) async fn knows_owner(&self, entity: EntityId, owner: &Self) {
        until("the owner is known", || {
            self.runtime.status(entity).is_some_and(|status| status.owner == Some(owner.id()))
        })
        .await;
    }

    /// Waits until the daemon runs here.
    pub(crate) async fn runs(&self, entity: EntityId) {
        until("the daemon runs", || self.standing(entity) == Some(Standing::Live)).await;
    }

    /// Ends the node in order; gives what it takes to open it again in the same place.
    pub(crate) async fn shut_down(self) -> Leftover {
        let listen = self.runtime.mesh().local_address();
        let members = self.runtime.mesh().members().clone();
        self.runtime.shutdown().await.unwrap();
        let members = members.nodes().into_iter().filter_map(|node| members.member(node));
        Leftover { members: members.collect(), folder: self.folder, key: self.key, listen }
    }

    /// Drops the node without a word.
    pub(crate) fn crash(self) -> Leftover {
        let listen = self.runtime.mesh().local_address();
        let members = self.runtime.mesh().members().clone();
        let members = members.nodes().into_iter().filter_map(|node| members.member(node));
        Leftover { members: members.collect(), folder: self.folder, key: self.key, listen }
    }
}

/// What is left of a node that ended.
pub(crate) struct Leftover {
    members: Vec<Member>,
    pub(crate) folder: Option<TempDir>,
    pub(crate) key: NodeKey,
    listen: SocketAddr,
}

impl Leftover {
    /// Opens the node again in the same place, not started, with the kinds that every node has.
    pub(crate) async fn open(self) -> Node {
        let node = self.open_bare().await;
        register_native(&node.runtime);
        node
    }

    /// As [`open`](Self::open), without kinds.
    pub(crate) async fn open_bare(self) -> Node {
        let Self { members, folder, key, listen } = self;
        let path = folder.as_ref().map(|folder| folder.path().to_owned());
        let config = config(key.clone(), path, &members, listen, quick());
        // The port and the folder are free once the tasks of the node before have noticed.
        let mesh = eventually("the node opens again", || Mesh::open(config.clone())).await;
        Node { runtime: DaemonRuntime::new(mesh), folder, key }
    }
}

/// `count` nodes that know each other, with the kinds that every node has.
pub(crate) async fn nodes(count: u8, durable: bool) -> Vec<Node> {
    let nodes = unstarted(count, durable, Settings::default()).await;
    for node in &nodes {
        node.runtime.start().await.unwrap();
    }
    nodes
}

/// As [`nodes`], with short waits.
pub(crate) async fn quick_nodes(count: u8, durable: bool) -> Vec<Node> {
    let nodes = unstarted(count, durable, quick()).await;
    for node in &nodes {
        node.runtime.start().await.unwrap();
    }
    nodes
}

/// Nodes that know each other and are not started.
pub(crate) async fn unstarted(count: u8, durable: bool, settings: Settings) -> Vec<Node> {
    let mut nodes = Vec::new();
    for seed in 1..=count {
        let key = NodeKey::from_seed(&[seed; 32]);
        let folder = durable.then(|| tempfile::tempdir().unwrap());
        nodes.push(open_with(key, folder, &[], local(), settings.clone()).await);
    }
    introduce(&nodes);
    nodes
}

/// Waits short enough that a test which runs into one does not take long.
pub(crate) fn quick() -> Settings {
    Settings {
        search_max: Duration::from_millis(800),
        ask_first: Duration::from_millis(300),
        not_ready_after: Duration::from_millis(50),
        ..Settings::default()
    }
}

pub(crate) fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(crate) fn member(node: &Node) -> Member {
    let mesh = node.runtime.mesh();
    Member { key: mesh.public_key(), addresses: vec![mesh.local_address()] }
}

pub(crate) fn introduce(nodes: &[Node]) {
    for node in nodes {
        for other in nodes {
            node.runtime.mesh().members().insert(member(other));
        }
    }
}

/// A node that is open and not started.
pub(crate) async fn open(
    key: NodeKey,
    folder: Option<TempDir>,
    members: &[Member],
    listen: SocketAddr,
) -> Node {
    open_with(key, folder, members, listen, Settings::default()).await
}

async fn open_with(
    key: NodeKey,
    folder: Option<TempDir>,
    members: &[Member],
    listen: SocketAddr,
    settings: Settings,
) -> Node {
    let path = folder.as_ref().map(|folder| folder.path().to_owned());
    let config = config(key.clone(), path, members, listen, settings);
    Node { folder, ..open_as(key, config).await }
}

/// A node that is opened like this, without a folder of the test's.
pub(crate) async fn open_as(key: NodeKey, config: MeshConfig) -> Node {
    let mesh: Arc<Mesh> = Mesh::open(config).await.unwrap();
    let runtime = DaemonRuntime::new(mesh);
    register_native(&runtime);
    Node { runtime, folder: None, key }
}

/// How the node of these tests is opened.
pub(crate) fn config(
    key: NodeKey,
    data: Option<PathBuf>,
    members: &[Member],
    listen: SocketAddr,
    settings: Settings,
) -> MeshConfig {
    let mut config = MeshConfig::new(key, listen);
    config.data = data;
    config.members = members.to_vec();
    config.settings = settings;
    config.links =
        LinkLimits { close_time_max: Duration::from_millis(100), ..LinkLimits::default() };
    config
}

fn register_native(runtime: &DaemonRuntime) {
    for (kind, factory) in native_kinds() {
        runtime.register_factory(kind, factory).unwrap();
    }
}

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

/// Hosted in memory alone.
pub(crate) fn volatile() -> DaemonHostConfig {
    DaemonHostConfig { durability: Durability::Volatile, ..DaemonHostConfig::default() }
}

pub(crate) fn text(payload: impl Into<String>) -> Bytes {
    Bytes::from(payload.into())
}

/// What a daemon answered.
pub(crate) fn said(answer: &Answer) -> String {
    assert_eq!(answer.failure, None);
    answer.outputs.iter().map(|event| String::from_utf8_lossy(&event.payload)).collect()
}

/// Waits for a move that must fail; gives why.
pub(crate) async fn why_not(moving: &MigrationHandle) -> MigrationFailureReason {
    match moving.wait_with_timeout(PATIENCE).await {
        Err(MigrationError::Failed(reason)) => reason,
        other => panic!("the move should have failed: {other:?}"),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            // bounded wait: by PATIENCE, and it ends as soon as it is so.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

/// Tries until it works.
pub(crate) async fn eventually<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut tried: impl FnMut() -> F,
) -> T {
    let started = tokio::time::Instant::now();
    loop {
        match tried().await {
            Ok(done) => return done,
            Err(error) if started.elapsed() > PATIENCE => {
                panic!("waited in vain: {what}: {error:?}")
            }
            // bounded wait: by PATIENCE, and it ends as soon as it is so.
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// What happened on a node since this was made.
pub(crate) struct Diary {
    events: broadcast::Receiver<RuntimeEvent>,
    pub(crate) seen: Vec<RuntimeEvent>,
}

impl Diary {
    pub(crate) fn of(node: &Node) -> Self {
        Self { events: node.runtime.events(), seen: Vec::new() }
    }

    /// All that has happened so far.
    pub(crate) fn so_far(&mut self) -> Vec<Event> {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.seen.push(event),
                Err(TryRecvError::Lagged(_)) => panic!("the test listens too slowly"),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.seen.iter().map(|event| event.event.clone()).collect()
    }

    /// Waits for an event; those before it are kept.
    pub(crate) async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        if let Some(seen) = self.so_far().into_iter().find(|event| is_it(event)) {
            return seen;
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("no event: {what}; only {:?}", self.seen));
            let next = next.unwrap();
            self.seen.push(next.clone());
            if is_it(&next.event) {
                return next.event;
            }
        }
    }

    pub(crate) async fn wait_for_warning(
        &mut self,
        what: &str,
        is_it: impl Fn(&Warning) -> bool,
    ) -> Event {
        self.wait_for(what, |event| matches!(event, Event::Warning(warning) if is_it(warning)))
            .await
    }

    pub(crate) fn warnings(&mut self) -> Vec<Warning> {
        let warnings = self.so_far().into_iter().filter_map(|event| match event {
            Event::Warning(warning) => Some(warning),
            _ => None,
        });
        warnings.collect()
    }
}

/// Copies a data folder as it is.
pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &into);
        } else {
            std::fs::copy(entry.path(), into).unwrap();
        }
    }
}
