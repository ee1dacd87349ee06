//! The lanes frames travel on, their queues and their bytes.

mod frames;
mod kinds;
mod queue;

pub use kinds::Lane;
pub(in crate::link) use frames::{Decoder, FrameTooLong, encode};
pub(in crate::link) use kinds::Channel;
pub(in crate::link) use queue::Queue;
