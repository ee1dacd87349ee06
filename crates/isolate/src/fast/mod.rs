//! The fast tier: compiled code that looks now and then whether it should stop.
//!
//! A module is rewritten (`plan`, `emit`) so that it can unwind: every function on the stack
//! leaves its frame in a private memory and returns. Nothing in it is about going on: for that, small
//! modules beside it are made from the module as it was written, for the frames of one state
//! (`build`). A frame there is in the coordinates of the state, so that it can be gone on with by
//! either tier.
//!
//! # Limits
//!
//! * Frames of one stop: 64 MiB and 65,536 references; beyond them the program traps instead of
//!   stopping. The stack is 512 KiB, which is spent sooner.
//! * Handles of the host (`externref`) and fuel are refused here.

mod build;
mod emit;
mod engine;
mod lower;
mod plan;
mod program;
mod types;

pub use engine::{FastCode, Settings, Target};
pub(crate) use program::Fast;
