//! Every decision of Whimbrel: who owns a daemon, how it moves, what is delivered where.
//!
//! The decisions are pure machines. The one that a driver sees is the [`Seat`]: all that one node
//! knows and decides about one daemon. A driver feeds it [`Input`]s and does its [`Output`]s, in
//! order, and reports what became of each. There is no clock, task, socket, file or randomness in
//! here; a machine that must save before it sends asks for the send after it was told that the
//! save is done, so no driver can get the order wrong. A delivery has a short way too, three acts in
//! one step, for an owner at rest and a store that answers at once: [`Seat::at_rest`].
//!
//! * [`title`](Title): who owns the daemon, by verified deeds;
//! * `inbox`: what was taken in from whom;
//! * `tenure`: the owner's side: turns, commits, answers, snapshots, recovery;
//! * `departure`: the source of a move; `arrival`: its target; `orchestration`: who asked for it;
//! * `courier`: a sender's side;
//! * `trace`: what a seat was told and said, and whether the one follows from the other.

mod arrival;
mod courier;
mod departure;
mod desk;
mod inbox;
mod orchestration;
mod port;
mod rarely;
mod replica;
mod seat;
mod settings;
mod tenure;
mod title;
mod trace;

pub use port::{
    Capture, DeliverError, Event, Input, Moment, MoveError, MoveOptions, Output, ReclaimError,
    ReplayStep, Restored, SaveTicket, SendError, SpawnError, Ticket, TurnFailure, Turned,
    Unprepared, Warning,
};
pub use rarely::Rarely;
pub use seat::{Place, Seat, SeatStatus, Standing, Station};
pub use settings::Settings;
pub use tenure::{Append, AtRest, Unsaved};
pub use title::{Learned, Title, TitleError};
pub use trace::{Difference, TRACE_VERSION, TraceHeader, TraceRecord, Witness, signed_in};
