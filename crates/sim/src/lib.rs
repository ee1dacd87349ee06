//! A whole cluster in one thread from one seed, and the checkers of what we promise.
//!
//! The decisions (`protocol`), the hosts (`daemon`) and the store are the real ones. Network, disk
//! and clocks are fakes that do the worst: messages are lost, repeated, late and overtaken, nodes
//! crash between any two outputs, disks do not know what they did. One seed gives one run, byte
//! for byte.
//!
//! * [`run_seed`]: one run, its tally and its trace;
//! * [`Coverage`]: what the machines met in it;
//! * [`Violation`]: a promise that was broken; the checkers carry the names of the promises;
//! * [`directed`]: stories about one move, each with one disturbance everywhere it can be;
//! * [`rehearsal`]: plans for a cluster, as text, and the report of what would happen;
//! * [`scenario`]: stories as text, with the trace that is expected.

mod chart;
mod checkers;
mod clients;
mod cluster;
mod coverage;
mod dice;
pub mod directed;
mod disk;
mod entities;
mod hosts;
mod kinds;
mod medium;
mod network;
pub mod rehearsal;
mod run;
pub mod scenario;
mod scribe;
mod speed;
mod trace;

pub use checkers::{Seconds, Violation};
pub use cluster::Tally;
pub use coverage::Coverage;
pub use run::{Ran, run_seed, run_seed_counted};
pub use speed::Speed;
