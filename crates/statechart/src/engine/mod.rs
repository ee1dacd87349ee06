//! Decides what a running statechart does next. All of its state is plain data; there is no clock,
//! thread or randomness in here.

mod act;
mod change;
mod effect;
mod event;
mod family;
mod instance;
mod kin;
mod select;
mod session;
mod spawn;
mod travel;

pub(crate) use act::{duration, perform};
pub use effect::Effect;
pub use event::{CHART_PROCESSOR, Event, EventKind};
pub(crate) use family::RESTARTS_MAX;
pub use instance::{Busy, Instance, Limits, Overrun, StepError, Stepped};
pub(crate) use kin::NEVER;
pub use kin::{Above, Kin, KinWord, Kinship, Stranger, Unborn};
pub use session::SessionId;
pub(crate) use session::{Invoked, Parent, Phase, Session, Spawned, Target, Timer};
pub(crate) use travel::domain;

#[cfg(test)]
mod offspring;
#[cfg(test)]
mod tests;
