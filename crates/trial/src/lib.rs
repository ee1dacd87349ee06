//! What trials on real processes share.
//!
//! A trial lets clients send numbered events to daemons while these are moved and disturbed, and
//! then compares what the clients were told with what the daemons hold. This crate decides how
//! that is done; which processes there are, and what is done to them, is left to the trial: the
//! demo of the command, `whimbrel-chaos`, the measurements.
//!
//! * [`feed`]: what clients send and note; [`readback`]: what daemons hold; [`ledger`]: whether
//!   the two agree;
//! * [`relay`]: a disturbed way between two nodes; [`steps`]: the steps of a move at which a node can
//!   be made to stop; [`dice`]: chance that can be had again.

pub mod dice;
pub mod feed;
pub mod ledger;
pub mod readback;
pub mod relay;
pub mod steps;

pub use dice::Dice;
pub use feed::{Feed, FeedKind, Script};
