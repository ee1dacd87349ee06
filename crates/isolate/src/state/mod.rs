//! Everything that a program knows between two instructions, as plain data.
//!
//! A [`VmState`] is in the coordinates of the module as it was written, and holds nothing of the
//! tier that wrote it down. Equal states have equal bytes ([`VmState::encode`]); what was decoded is
//! only data, and becomes something that can be run by [`VmState::check`], which holds it against the
//! module.
//!
//! # Limits
//!
//! * [`DecodeLimits`]: beyond them a state is refused before anything is reserved for it.

mod check;
mod decode;
mod encode;
mod image;
mod initial;
mod paged;
mod tree;

pub use check::{CheckError, CheckedState};
pub use decode::{DecodeError, DecodeLimits};
pub use encode::{STATE_FORMAT, STATE_MAGIC};
pub use image::{BLOCK_BYTES, MemoryImage};
pub use initial::CreateError;
pub(crate) use initial::items;
pub use paged::PagedMemory;
pub use tree::MemoryTree;

use serde::{Deserialize, Serialize};

use crate::module::Digest;
use crate::value::{ValType, Value};

/// The size of a page of linear memory.
pub const PAGE_BYTES: u64 = 64 << 10;

/// What becomes of the bits of a NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NanPolicy {
    /// As WebAssembly leaves it open: a program may see other bits after a move to another processor
    /// or tier.
    Open,
    /// Arithmetic gives one NaN only, so that results are the same everywhere. Costs time.
    Canonical,
}

/// What a program may use. Travels with it; the node where it runs may set lower ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// The most bytes of each linear memory; growing beyond them fails as WebAssembly says.
    pub memory_bytes_max: u64,
    /// The most elements of each table; growing beyond them fails as WebAssembly says.
    pub table_elements_max: u64,
    /// The most frames; a call beyond them traps.
    pub frames_max: u32,
}

impl Limits {
    /// 64 MiB for each memory, 1,000,000 elements for each table, 10,000 frames.
    pub const SMALL: Self =
        Self { memory_bytes_max: 64 << 20, table_elements_max: 1_000_000, frames_max: 10_000 };
}

/// A function that is being executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The index of the function.
    pub function: u32,
    /// The number of the operator in its body: of the innermost frame the next to be executed, of
    /// all others the call that is under way.
    pub position: u32,
    /// The locals whose values are still needed, in ascending order.
    pub locals: Vec<(u32, Value)>,
    /// The operand stack, without what a call under way took.
    pub operands: Vec<Value>,
}

/// A table as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableImage {
    /// What it holds.
    pub element: ValType,
    /// The most elements that its type allows; `u64::MAX` if it names none.
    pub elements_max: u64,
    /// Its elements: functions by index, or handles of the host.
    pub elements: Vec<Option<u32>>,
}

/// A host call that has begun and not ended: it is made again where the program goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingHostCall {
    /// The imported function.
    pub function: u32,
    /// What the host noted for itself, for example how long it has still to wait.
    pub note: Vec<u8>,
}

/// Everything that a program knows between two instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmState {
    /// The module that is run.
    pub module: Digest,
    /// What becomes of the bits of a NaN.
    pub nan: NanPolicy,
    /// What the program may use.
    pub limits: Limits,
    /// How many instructions may still be executed, if they are counted.
    pub fuel: Option<u64>,
    /// The functions being executed, the outermost first; none if the program waits to be called.
    pub frames: Vec<Frame>,
    /// A host call that has to be made again by the innermost frame.
    pub pending: Option<PendingHostCall>,
    /// The values of all globals, imported ones first.
    pub globals: Vec<Value>,
    /// The linear memories, imported ones first.
    pub memories: Vec<MemoryImage>,
    /// The tables, imported ones first.
    pub tables: Vec<TableImage>,
    /// Which element segments were dropped.
    pub dropped_elements: Vec<bool>,
    /// Which data segments were dropped.
    pub dropped_data: Vec<bool>,
}
