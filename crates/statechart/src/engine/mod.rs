//! Decides what a running statechart does next. All of its state is plain data; there is no clock,
//! thread or randomness in here.

mod act;
mod change;
mod effect;
mod event;
mod family;
mod instance;
mod select;
mod session;
mod travel;

pub(crate) use act::{duration, perform};
pub use effect::Effect;
pub use event::{CHART_PROCESSOR, Event, EventKind};
pub(crate) use family::RESTARTS_MAX;
pub use instance::{Busy, Instance, Limits, Overrun, StepError, Stepped};
pub use session::SessionId;
pub(crate) use session::{Invoked, Parent, Phase, Session, Target, Timer};
pub(crate) use travel::domain;

#[cfg(test)]
mod tests;
