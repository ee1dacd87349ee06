//! The doing: links, threads, timers and disks around the pure machines.
//!
//! Nothing in here decides who owns a daemon or how it moves. A [`DaemonRuntime`] feeds the
//! [`Seat`](whimbrel_protocol::Seat)s of its node and does what they ask, in order, and reports
//! what became of it.
//!
//! * [`link`]: QUIC between nodes, authenticated by their keys;
//! * [`admin`]: what people and programs on the same machine can ask a running node;
//! * `cell`: one daemon's seat and hosts under one lock, and the loop that does its outputs;
//! * `workers`, `saver`, `bulk`, `alarms`: the threads that cells are run, saved, captured and
//!   woken by;
//! * `hops`: the moments of a move, noted for whoever wants to know where a pause goes;
//! * `neighbours`: who seems up and what they offer, and where a daemon fits;
//! * `heavy`, `crew`: turns that may take long, and the threads that make them;
//! * `stealing`: how a node with little of that to do takes some from others;
//! * `roster`: who is a member, and how that is said;
//! * `routes`: how often events were sent on before they were taken;
//! * [`trace`]: the steps of all seats, written down for whoever wants to check them;
//! * `permits`: the tokens that daemons hold, and what they may listen to by them;
//! * `trust`: who may do what at this node, and the audit log of what was done;
//! * `mesh`, `runtime`, `handle`, `client`: what people call.

pub mod admin;
mod alarms;
mod bulk;
mod cell;
mod channels;
mod chores;
mod claims;
mod client;
mod clock;
mod config;
mod core;
mod crash;
mod crew;
mod durable;
mod error;
mod handle;
mod handler;
mod heavy;
mod hops;
mod identity;
mod keys;
mod kinds;
pub mod link;
mod mesh;
mod migration;
mod neighbours;
mod perform;
mod permits;
mod revive;
mod roster;
mod routes;
mod runtime;
mod saver;
mod spawn;
mod stealing;
mod stores;
mod superposition;
pub mod trace;
mod trust;
mod workers;

pub use channels::SubscribeOptions;
pub use client::Client;
pub use config::{DaemonHostConfig, Durability, MeshConfig, MigrationOpts};
pub use core::RuntimeEvent;
pub use error::{DaemonError, MeshError, MigrationError};
pub use handle::{DaemonHandle, DaemonStatus};
pub use handler::{
    FailureCallback, MigrationHandlerHooks, MigrationIdentityContext, MigrationSubprotocolHandler,
    OutboundCallback, OutboundMigrationMessage, PostRestoreCallback, PreCleanupCallback,
    ReadinessCallback,
};
pub use identity::{
    Binding, EnvelopeUnsealFn, IdentityError, Secrets, TOKENS_BYTES_MAX, TOKENS_MAX, TooManyTokens,
    unsealer,
};
pub use mesh::Mesh;
pub use migration::{MigrationHandle, Superpositions};
pub use neighbours::{Neighbour, Target};
pub use permits::TokenError;
pub use roster::{JoinError, LeaveError, join};
pub use routes::{FORWARDS_COUNTED, RouteStatistics};
pub use runtime::DaemonRuntime;
pub use superposition::{SuperpositionPhase, SuperpositionState};
pub use trust::{
    AUDIT_FILE, AuditFile, Caller, SIGHTINGS_FILE, TrustConfig, TrustError, audit_files,
};
pub use whimbrel_members::{
    DetectorSettings, JoinRefusal, Load, MeshId, Offer, Place, Placement, Report, RosterConfig,
    RosterError, Seems, Unfit, Wanted,
};
