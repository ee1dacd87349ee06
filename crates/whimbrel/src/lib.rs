//! Whimbrel: daemons that keep their state and move between nodes while they work.
//!
//! This is the crate to depend on. It decides nothing; it gathers what a program needs that hosts
//! daemons of its own: a [`Mesh`] to be a node of, a [`DaemonRuntime`] to run daemons on, and the
//! trait [`MeshDaemon`] for what they do. `examples/` of the repository has a node with a daemon
//! of its own in under 60 lines.
//!
//! The other crates are here under their own names, whole: [`wire`], [`daemon`], [`protocol`],
//! [`runtime`], [`statechart`], [`isolate`], [`trust`].

mod nursery;

pub use nursery::Nursery;

pub use whimbrel_daemon as daemon;
pub use whimbrel_isolate as isolate;
pub use whimbrel_protocol as protocol;
pub use whimbrel_runtime as runtime;
pub use whimbrel_statechart as statechart;
pub use whimbrel_trust as trust;
pub use whimbrel_wire as wire;

pub use whimbrel_daemon::kinds::{Kv, KvAnswer, KvCommand, Tally, native_kinds};
pub use whimbrel_daemon::{
    Context, ContinuityProof, ContinuityStatus, Fork, ForkPoint, ForkRecord, MeshDaemon, News,
    PagedMap, ProcessError, Requirements, RestoreError, StateSnapshot,
};
pub use whimbrel_protocol::{Event, Settings, Standing, Warning};
pub use whimbrel_runtime::link::{LinkLimits, LinkStatistics, Member, Members};
pub use whimbrel_runtime::{
    Caller, Client, DaemonError, DaemonHandle, DaemonHostConfig, DaemonRuntime, DaemonStatus,
    Durability, JoinError, LeaveError, Mesh, MeshConfig, MeshError, MeshId, MigrationError,
    MigrationHandle, MigrationOpts, Neighbour, Placement, RosterError, RouteStatistics,
    RuntimeEvent, Seems, SubscribeOptions, SuperpositionPhase, SuperpositionState, Superpositions,
    Target, TrustConfig, TrustError, join,
};
pub use whimbrel_statechart::daemon::{Palette, Statechart};
pub use whimbrel_trust::PermissionToken;
pub use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, CausalLink, ChannelName, EntityId, Epoch, Head,
    Hearing, Identity, Kind, MigrationFailureReason, MigrationPhase, NodeId, NodeKey, OriginHash,
    Position, Progress, PublicKey, Sequence, Start, StoreId, SubscriptionBinding,
};
