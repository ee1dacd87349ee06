//! Hostile bytes for every decoder, and sequences of operations against a plain model.
//!
//! A [`Target`] takes bytes and panics if something is wrong: a decoder that is not total, a word
//! that does not come back from its bytes, a store that differs from its model. [`Drive`] runs a
//! target on a committed corpus and on what a seed makes of it, without a special compiler; the
//! folder `fuzz/` of the repository gives the same targets to cargo-fuzz. Decoders that only their
//! own crate can reach have targets in its tests, with this crate's driver.
//!
//! A program that installs [`Counting`] as its allocator also has measured how much a target
//! allocates at once: no decoder may make room for what is only claimed.

mod allocations;
mod corpus;
mod driver;
pub mod targets;

pub use allocations::Counting;
pub use corpus::{read, write};
pub use driver::{Drive, Fault, Ran, Random, Target};
