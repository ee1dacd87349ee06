//! Decides how a statechart is a daemon: the kind `statechart`.
//!
//! A newborn is given a [definition](crate::Definition) as JSON and begins by itself. What it is sent
//! becomes an event of the chart, a delayed `send` a timer of its host, and what it wants of the world
//! outputs of its turn, so all of it happens once, after the commit, wherever the daemon lives.
//!
//! # What it is sent
//!
//! ```text
//! paid                        the event `paid`
//! paid {"amount": 3}          the same with data: any JSON
//! {"event": "paid", "data": {"amount": 3}, "origin": "daemon:…", "send_id": "…"}
//! ?state                      where it is, when it wakes, what waits: nothing changes
//! ?data [NAME]                its data
//! ?definition                 its definition, and its digest
//! ?checkpoint                 all of it, as JSON
//! {"kin": …}                  a letter between parent and child, from a daemon that is one
//! ```
//!
//! Names that begin with `done.`, `error.` or `stopped.invoke.` are the engine's own and declined from
//! outside. An
//! origin is what the sender says of itself.
//!
//! # What it wants of the world
//!
//! ```text
//! send to "daemon:KEY"                       the JSON form above, to the daemon of the 64 digits KEY
//! send to "daemon:KEY" by "host:raw"         the data, a text, byte by byte
//! send by "host:answer"                      an answer to whoever sent the event of this turn
//! send to "NAME" by "host:publish"           a message on the channel NAME
//! log                                        a message on the channel `log`
//! ```
//!
//! A turn in which nothing is answered is answered with the active states: `{"in":["box","label"]}`.
//! A `send` that goes nowhere becomes `error.communication` in the chart, in the same turn.
//!
//! # Invariants
//!
//! * D1 (whole turns): a turn happens completely or not at all.
//! * D2 (one alarm): after each turn the host's timer stands where the next one of the chart is due.
//! * D3 (no entry): a restore runs no action and gives no output.
//!
//! # Limits
//!
//! * [`DEFINITION_BYTES_MAX`]: a longer definition is refused.
//! * [`EVENT_NAME_BYTES_MAX`]: an event with a longer name is declined.
//! * [`REFUSED_SENDS_MAX`] rounds of `send`s that go nowhere, and what a turn may put out at all: beyond
//!   it the turn does not happen. The event is declined; if it was the chart's own timer, the events that
//!   were due are lost, and `log` says so.

mod becoming;
mod kin;
mod kind;
mod outputs;
mod palette;
mod said;
mod state;

pub use kin::{Calls, PLACED};
pub use kind::{Refusal, Statechart};
pub use outputs::REFUSED_SENDS_MAX;
pub use palette::{DEFINITION_BYTES_MAX, Palette, PaletteError};
pub use said::EVENT_NAME_BYTES_MAX;

#[cfg(test)]
mod doors;
#[cfg(test)]
mod tests;
