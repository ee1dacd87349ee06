//! Every interleaving of a few nodes, by the machines that ship.
//!
//! The states of the model are the seats of `whimbrel-protocol` themselves, with a disk that obeys
//! the rules of `whimbrel-store` and a daemon of a few lines; its steps are their `handle`. So
//! there is no second description that could differ. What is explored is a [`Story`]; [`explore`]
//! visits all its states, checks the promises in each, and that the whole comes to rest from it.
//!
//! It must never know the runtime, a clock, or chance.

mod atlas;
mod facts;
mod node;
mod prints;
mod rest;
mod search;
mod story;
mod tally;
mod trace;

pub use facts::Broken;
pub use rest::Way;
pub use search::{Plan, Survey, explore};
pub use story::{Limits, Story, stories, story};
