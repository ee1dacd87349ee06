//! Statecharts as data, and the engine that runs them.
//!
//! A [`Definition`] is written down as JSON (or read from SCXML), becomes a legal [`Chart`], and an
//! [`Instance`] of it takes [`Event`]s and gives [`Effect`]s. The semantics are those of SCXML (W3C
//! Recommendation, 1 September 2015). All that an instance knows is plain data, so it can be written
//! down between any two steps and go on elsewhere.
//!
//! This crate has no clock, thread, network or file, and knows nothing of ownership or moves.

pub mod cases;
mod chart;
mod checkpoint;
pub mod daemon;
mod definition;
mod engine;
pub mod evolution;
pub mod expression;
pub mod lint;
mod schema;
pub mod scxml;
mod source;
mod value;

pub use chart::{Chart, ChartError};
pub use checkpoint::{CHECKPOINT_FORMAT, Checkpoint, CheckpointError, Shift};
pub use definition::{
    Action, Binding, Branch, Datum, Definition, Expressions, FORMAT, Given, Invoke, Message,
    OnFailure, Origin, Param, Placed, Send, Spawn, State, StateKind, Supervise, Text, Transition,
};
pub use engine::{
    Above, Busy, CHART_PROCESSOR, Effect, Event, EventKind, Instance, Kin, KinWord, Kinship,
    Limits, Overrun, SessionId, StepError, Stepped, Stranger, Unborn,
};
pub use schema::Type;
pub use source::{Position, Source};
pub use value::{DEPTH_MAX, Float, List, Map, TooLarge, Value, WEIGHT_MAX};
