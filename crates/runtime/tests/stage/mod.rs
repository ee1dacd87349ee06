//! A mesh of real nodes in one process, on loopback, with data folders of their own.

#![allow(dead_code, reason = "each test program uses its part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use whimbrel_daemon::kinds::native_kinds;
use whimbrel_protocol::Settings;
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{DaemonRuntime, Mesh, MeshConfig};
use whimbrel_wire::{Identity, NodeId, NodeKey};

/// How long any one thing may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One node and its folder.
pub struct Node {
    pub runtime: DaemonRuntime,
    pub folder: Option<TempDir>,
    pub key: NodeKey,
}

impl Node {
    pub fn id(&self) -> NodeId {
        self.runtime.mesh().node_id()
    }
}

/// `count` nodes that know each other, with the kinds that every node has.
pub async fn nodes(count: u8, durable: bool) -> Vec<Node> {
    let mut nodes = Vec::new();
    for seed in 1..=count {
        let key = NodeKey::from_seed(&[seed; 32]);
        let folder = durable.then(|| tempfile::tempdir().unwrap());
        nodes.push(open(key, folder, &[], local()).await);
    }
    introduce(&nodes);
    for node in &nodes {
        node.runtime.start().await.unwrap();
    }
    nodes
}

pub fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub fn member(node: &Node) -> Member {
    let mesh = node.runtime.mesh();
    Member { key: mesh.public_key(), addresses: vec![mesh.local_address()] }
}

pub fn introduce(nodes: &[Node]) {
    for node in nodes {
        for other in nodes {
            node.runtime.mesh().members().insert(member(other));
        }
    }
}

/// A node that is open and not started.
pub async fn open(
    key: NodeKey,
    folder: Option<TempDir>,
    members: &[Member],
    listen: SocketAddr,
) -> Node {
    let mut config = MeshConfig::new(key.clone(), listen);
    config.data = folder.as_ref().map(|folder| folder.path().to_owned());
    config.members = members.to_vec();
    config.settings = Settings::default();
    let mesh: Arc<Mesh> = Mesh::open(config).await.unwrap();
    let runtime = DaemonRuntime::new(mesh);
    for (kind, factory) in native_kinds() {
        runtime.register_factory(kind, factory).unwrap();
    }
    Node { runtime, folder, key }
}

pub fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}
