//! What a node keeps of its daemons: their titles, their journals, their snapshots, their keys.
//!
//! This crate decides how the requests of [`whimbrel_wire::Write`] become durable, and nothing
//! about when they are made. There is one trait per duty ([`Journal`], [`Titles`], [`Vault`],
//! [`Chunks`]), all blocking: a driver with threads gives a store its own one, a simulator calls
//! it inline. Two engines implement them, [`Sqlite`] and [`Memory`], and every engine passes
//! [`conformance::battery`].
//!
//! # Invariants
//!
//! * S1 (conditional): a write finds what it names, in the same atomic step, or changes nothing.
//! * S2 (durable): what was answered with `Ok` is found after any crash.
//! * S3 (honest): an answer other than `Unknown` is true of the disk.
//! * S4 (kept for ever): deeds and tombstones are never removed.
//! * S5 (no hole): a chunk is not collected while anything that is kept names it.

mod chunks;
pub mod conformance;
pub mod crashes;
mod engine;
mod error;
mod folder;
mod memory;
mod rules;
mod sqlite;
pub mod vfs;

pub use chunks::{Chunks, Hold, Marking, MemoryChunks, Sweep, Swept};
pub use engine::{Engine, Journal, Titles, Vault};
pub use error::StoreError;
pub use folder::{Folder, FolderError, LastClose};
pub use memory::Memory;
pub use sqlite::{Place, Sqlite, SqliteChunks};
