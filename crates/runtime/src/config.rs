//! Decides what a node and a daemon can be told when they start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_members::{Contact, DetectorSettings, MeshId, RosterConfig};
use whimbrel_protocol::Settings;
use whimbrel_wire::{NodeId, NodeKey, PublicKey};

use crate::link::{LinkLimits, Member};
use crate::trust::TrustConfig;

/// What a node needs to know to be one.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Who it is.
    pub key: NodeKey,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whom it talks to. The list can change while it runs.
    pub members: Vec<Member>,
    /// What it is called.
    pub name: String,
    /// Where others find it, if not where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The mesh to which nodes can be invited; without one, nobody joins.
    pub mesh: Option<MeshId>,
    /// Whose word counts when others join or are struck off.
    pub inviters: BTreeSet<PublicKey>,
    /// What members are called that are listed here.
    pub names: BTreeMap<NodeId, String>,
    /// The file in which it keeps who has joined and left; without one that is forgotten.
    pub roster: Option<PathBuf>,
    /// Its data folder; without one everything is volatile.
    pub data: Option<PathBuf>,
    /// The waits and bounds of its machines.
    pub settings: Settings,
    /// The waits and bounds of its links.
    pub links: LinkLimits,
    /// The waits by which it finds out who seems up.
    pub detector: DetectorSettings,
    /// Threads that run daemons.
    pub workers: usize,
    /// Threads for the turns of daemons whose turns may take long: isolates.
    pub heavy_workers: usize,
    /// How much work these do in a second, all together, in units of the daemons: looks of isolates. Without it, as
    /// much as they can.
    pub work_per_second: Option<u64>,
    /// Whether this node takes work from others when it has little of that kind, and lets them take of its own.
    pub steals: bool,
    /// What it offers to daemons that have requirements.
    pub tags: BTreeSet<String>,
    /// The file into which the steps of its machines are written, up to
    /// [`TRACE_BYTES_MAX`](crate::trace::TRACE_BYTES_MAX). It holds payloads.
    pub trace: Option<PathBuf>,
    /// The file into which the moments of moves are written when the node ends: at most 2,097,152 lines
    /// `NANOS HOW WHAT`, that is nanoseconds since 1970 and what happened to which message or save.
    pub hops: Option<PathBuf>,
    /// Memory that the daemons here may claim together, by their requirements.
    pub memory_bytes: u64,
    /// Whose tokens it believes, and where it keeps its audit log.
    pub trust: TrustConfig,
    /// Whether it hosts daemons at all. A node that does not sends, and orchestrates moves of others.
    pub hosts: bool,
}

impl MeshConfig {
    /// A node without members and without a data folder.
    #[must_use]
    pub fn new(key: NodeKey, listen: SocketAddr) -> Self {
        let key_name = key.node_id().to_string();
        Self {
            key,
            listen,
            members: Vec::new(),
            name: key_name,
            addresses: Vec::new(),
            mesh: None,
            inviters: BTreeSet::new(),
            names: BTreeMap::new(),
            roster: None,
            data: None,
            settings: Settings::default(),
            links: LinkLimits::default(),
            detector: DetectorSettings::default(),
            workers: 2,
            heavy_workers: 2,
            work_per_second: None,
            steals: false,
            tags: BTreeSet::new(),
            trace: None,
            hops: None,
            memory_bytes: u64::MAX,
            trust: TrustConfig::default(),
            hosts: true,
        }
    }
}

impl MeshConfig {
    /// What its roster begins with.
    #[must_use]
    pub fn roster(&self) -> RosterConfig {
        let fixed = self.members.iter().map(|member| {
            let node = member.key.node_id();
            let name = self.names.get(&node).cloned().unwrap_or_else(|| node.to_string());
            Contact::new(member.key, &name, &member.addresses)
        });
        RosterConfig {
            key: self.key.clone(),
            name: self.name.clone(),
            addresses: self.addresses.clone(),
            mesh: self.mesh,
            inviters: self.inviters.clone(),
            fixed: fixed.collect(),
        }
    }
}

/// How one daemon is hosted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonHostConfig {
    /// Turns between two automatic snapshots; zero leaves it to the size of the journal.
    pub auto_snapshot_interval: u64,
    /// What survives the process.
    pub durability: Durability,
}

/// What survives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was acknowledged: each turn is on disk before its answer leaves.
    Durable,
    /// Nothing: the daemon lives in memory alone. It moves like any other, and a node that dies
    /// takes it along.
    Volatile,
}

impl Default for DaemonHostConfig {
    fn default() -> Self {
        Self { auto_snapshot_interval: 16_384, durability: Durability::Durable }
    }
}

/// How a daemon is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationOpts {
    /// Whether its key travels, sealed to the target.
    pub transport_identity: bool,
    /// How long a target that is still starting is asked again; none gives up at once.
    pub retry_not_ready: Option<Duration>,
    /// Freeze first and copy then, instead of the way of the kind.
    pub freeze_and_copy: bool,
    /// What whoever asks agrees to, in a form of the daemon's kind: for a statechart, a plan of the
    /// gate as JSON. At most 256 KiB. The daemon is told before anything else is done; a kind that knows
    /// of no terms declines, and the move fails.
    pub terms: Option<Bytes>,
}

impl Default for MigrationOpts {
    fn default() -> Self {
        Self {
            transport_identity: true,
            retry_not_ready: Some(Duration::from_secs(30)),
            freeze_and_copy: false,
            terms: None,
        }
    }
}
