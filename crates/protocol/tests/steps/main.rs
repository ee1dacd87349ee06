//! The machines, message by message: what each step asks for, compared as values.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod at_rest;
mod counter;
mod delivery;
mod frame;
mod moves;
mod owner;
mod pace;
mod reasons;
mod reclaim;
mod revive;
mod seat;
mod source;
mod stage;
mod table;
mod target;
mod trace;
