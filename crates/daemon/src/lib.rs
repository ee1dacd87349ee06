//! The contract that a daemon signs, and the host that runs one.
//!
//! People implement [`MeshDaemon`]; beneath it, everything that can be hosted is a [`Body`]. A
//! [`Host`] runs one body: it gives it turns, chains its outputs, freezes it ([`Capture`]) and
//! brings it back. [`PagedMap`] is a state whose frozen view costs next to nothing; the built-in
//! [`kinds`] use it. This crate has no clock, thread or network and knows nothing of ownership.

mod body;
mod capture;
mod channels;
pub mod conformance;
mod context;
mod continuity;
mod contract;
pub mod fakes;
mod fork;
mod host;
pub mod kinds;
pub mod limits;
mod native;
mod paged;
mod proof;
mod restore;
mod schedule;
mod shelf;
mod snapshot;
mod timers;

pub use body::{Body, Budget, Coming, Idle, Input, Misfit, Objection, Step};
pub use capture::{
    Capture, CaptureError, CaptureParts, ChunkSink, ChunkVisitor, FrozenList, FrozenState,
    ListVisitor, SinkError, Whole,
};
pub use channels::{News, Publication};
pub use context::Context;
pub use continuity::{ContinuityStatus, Fork, Unverifiable};
pub use contract::{MeshDaemon, Paged, ProcessError, Requirements};
pub use fork::{ForkError, ForkPoint, ForkRecord};
pub use host::{Host, HostError, Limit, Stats, Turned};
pub use native::Native;
pub use paged::{EntryTooLong, PagedMap, Scan};
pub use proof::{ContinuityError, ContinuityProof};
pub use restore::{ChunkSource, RestoreError, SourceError, StateReader, read_luggage};
pub use schedule::{Priority, Schedule};
pub use shelf::ChunkShelf;
pub use snapshot::{SnapshotError, StateSnapshot};
