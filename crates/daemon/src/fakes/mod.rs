//! Small daemons for tests and for the simulator, one for each way of catching up.
//!
//! * [`Counting`] replays: it uses all that a context offers and is deterministic.
//! * [`Herald`] and [`Ear`] replay: the one publishes on channels, the other listens and keeps a ledger.
//! * [`Churning`] moves by deltas: its memory changes by itself between events.
//! * [`Drifting`] says that it replays and does not: the divergence must be found.
//! * [`Stubborn`] is as little deterministic as that, and says so: freeze and copy.

mod chatting;
mod churning;
mod counting;
mod drifting;

pub use chatting::{Ear, Heard, Herald, Run};
pub use churning::Churning;
pub use counting::Counting;
pub use drifting::{Drift, Drifting, Stubborn};
