//! Decides who seems up, what nodes say of themselves, and which node suits a daemon best.
//!
//! All of it is about hints. Nothing here says who owns a daemon: a node that seems down to everybody goes
//! on owning what it owns, and nobody starts it elsewhere. Nothing here says who may talk, either: that is
//! the list of members, which is given.
//!
//! * [`Detector`]: who seems up, by the gossip protocol SWIM (the crate `foca`), as a pure machine;
//! * [`Report`]: what a node offers and how busy it is, signed by it;
//! * [`place`]: where a daemon fits, and why not elsewhere;
//! * [`Word`]: what nodes say to each other about this.

mod detector;
mod placement;
mod report;
mod words;

pub use detector::{Detector, DetectorSettings, Input, Output, Seems, View};
pub use placement::{Candidate, Place, Placement, Unfit, Wanted, place};
pub use report::{Load, Offer, REPORT_BYTES_MAX, Report, SignedReport};
pub use words::{WORD_MARK, Word, WordError};
