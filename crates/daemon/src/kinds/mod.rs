//! The native kinds that come with every node.

mod kv;
mod tally;

pub use kv::{
    KV_SCAN_BYTES_MAX, KV_SCAN_ENTRIES_MAX, KV_VALUE_BYTES_MAX, Kv, KvAnswer, KvCommand,
    KvCommandError,
};
pub use tally::{TALLY_WORD_BYTES_MAX, Tally};

use crate::contract::MeshDaemon;

/// How to build a fresh daemon of a kind.
pub type NativeFactory = fn() -> Box<dyn MeshDaemon>;

/// All native kinds of this crate by name.
#[must_use]
pub fn native_kinds() -> [(&'static str, NativeFactory); 2] {
    [(Kv::NAME, || Box::new(Kv::new())), (Tally::NAME, || Box::new(Tally::new()))]
}
