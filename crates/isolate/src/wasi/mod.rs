//! WASI preview 1 whose whole state is plain data: arguments, files, streams, clocks, randomness.
//!
//! Nothing of it is the node's: a program sees the files that it was given and those that it made, and
//! they travel with it. Output has numbers, so that whoever takes it gets each byte once. What waits is
//! made again where the program goes on, with the time that is left.
//!
//! There are no sockets, links or signals.

mod calls;
mod clocks;
mod descriptors;
mod errno;
mod files;
mod memory;
mod paths;
mod state;
mod words;

pub(crate) use calls::{IMPORT_MODULE, Known, Served, Wait, find};
pub use state::{BadBeginnings, Beginnings, DESCRIPTORS_MAX, STREAM_BYTES_MAX, WORDS_BYTES_MAX};
pub(crate) use state::{NUMBER_MAX, Wasi};
