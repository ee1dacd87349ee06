//! Who may do what, and how it is written down that it was done.
//!
//! A mesh that names root keys demands a [`PermissionToken`] of whoever asks for something; the
//! [`Policy`] of a node judges it against one [`Act`]. What was asked for and what came of it stands in an
//! audit log, whose lines form a [`chain`].
//!
//! Nothing here reads a clock, a file or randomness: the time, the bytes and the seeds are given.
//!
//! * [`Act`] and [`Verb`]: what somebody wants to do; [`Scope`]: what may be done;
//! * [`PermissionToken`]: a scope that a root key signed, and that whoever holds it can narrow;
//! * [`Policy`]: whether a token covers an act now;
//! * [`chain`]: the lines of an audit log, and whether they are all there.

mod act;
pub mod chain;
pub mod limits;
mod policy;
mod refusal;
mod scope;
mod token;

pub use act::{Act, Verb};
pub use policy::{Holder, Policy};
pub use refusal::{MintError, TrustRefusal};
pub use scope::{Among, Scope};
pub use token::{BlockId, PermissionToken};
pub use whimbrel_wire::ChannelPattern;
