//! WebAssembly programs that are stopped anywhere and resumed elsewhere.
//!
//! A [`Module`] gives coordinates that do not depend on how it is run. A [`VmState`] is everything
//! that a program knows between two instructions, in these coordinates. Tiers run programs, stop
//! them, write down their state and go on from one that another tier wrote: [`mod@reference`] is an
//! interpreter that can stop before every instruction, [`fast`] runs compiled code that looks now
//! and then whether it should stop. A [`VmIsolate`] is one running program on either.
//!
//! How one is a daemon says [`daemon`]. This crate knows nothing of nodes, ownership, journals or
//! networks.

pub mod daemon;
pub mod dirty;
pub mod fast;
mod host;
mod isolate;
mod module;
pub mod reference;
mod state;
mod stop;
mod value;
pub mod wasi;

pub use host::{Answer, Environment, Host, NoHost, Supply, Trap};
pub use isolate::{Code, Outcome, RestoreError, VmIsolate};
pub use module::{
    Digest, Export, FUNCTION_OPERATORS_MAX, GlobalType, Import, ItemKind, MODULE_BYTES_MAX,
    MemoryType, Module, ModuleError, Refusal, STACK_SLOTS_MAX, TableType,
};
pub use state::{
    BLOCK_BYTES, CheckError, CheckedState, CreateError, DecodeError, DecodeLimits, Frame, Limits,
    MemoryImage, MemoryTree, NanPolicy, PAGE_BYTES, PagedMemory, PendingHostCall, STATE_FORMAT,
    STATE_MAGIC, TableImage, VmState,
};
pub use stop::StopHandle;
pub use value::{FuncType, ValType, Value};
