//! Decides who is a member, who seems up, what nodes say of themselves, and which node suits a daemon best.
//!
//! The [`Roster`] says who may talk. All else is a hint, and nothing here says who owns a daemon: a node that
//! seems down to everybody goes on owning what it owns, and nobody starts it elsewhere.
//!
//! * [`Detector`]: who seems up, by the gossip protocol SWIM (the crate `foca`), as a pure machine;
//! * [`Roster`]: who is a member, by the config and by what was said since, as a pure machine;
//! * [`Report`]: what a node offers and how busy it is, signed by it;
//! * [`place`]: where a daemon fits, and why not elsewhere;
//! * [`Burden`]: how much work there is, and how much of it another node should have;
//! * [`Word`]: what nodes say to each other about this.

mod detector;
mod placement;
mod report;
mod roster;
mod sharing;
mod words;

pub use detector::{Detector, DetectorSettings, Input, Output, Seems, View};
pub use placement::{Candidate, Place, Placement, Unfit, Wanted, place};
pub use report::{Load, Offer, REPORT_BYTES_MAX, Report, SignedReport};
pub use roster::{
    ADDRESSES_MAX, Contact, FACTS_MAX, Fact, Invitation, JoinRefusal, JoinRequest, MeshId,
    NAME_BYTES_MAX, Roster, RosterConfig, RosterError, Says, SignedFact, SignedInvitation, Step,
    TOLD_MAX, Telling, Welcome,
};
pub use sharing::Burden;
pub use words::{REVOKED_TOLD_MAX, WORD_MARK, Word, WordError};
