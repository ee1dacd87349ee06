//! Decides what a node and a daemon can be told when they start.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_members::DetectorSettings;
use whimbrel_protocol::Settings;
use whimbrel_wire::NodeKey;

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
    /// What it offers to daemons that have requirements.
    pub tags: BTreeSet<String>,
    /// The file into which the steps of its machines are written, up to
    /// [`TRACE_BYTES_MAX`](crate::trace::TRACE_BYTES_MAX). It holds payloads.
    pub trace: Option<PathBuf>,
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
        Self {
            key,
            listen,
            members: Vec::new(),
            data: None,
            settings: Settings::default(),
            links: LinkLimits::default(),
            detector: DetectorSettings::default(),
            workers: 2,
            heavy_workers: 2,
            tags: BTreeSet::new(),
            trace: None,
            memory_bytes: u64::MAX,
            trust: TrustConfig::default(),
            hosts: true,
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
