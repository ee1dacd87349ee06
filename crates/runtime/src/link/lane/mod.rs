//! The lanes frames travel on, their queues and their bytes.

mod frames;
mod kinds;
mod queue;

pub(in crate::link) use frames::{Decoder, encode};
pub use kinds::Lane;
pub(in crate::link) use queue::Queue;
