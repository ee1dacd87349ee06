//! Shows what the gate says of changes, and what becomes of instances that go on.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod changes;
mod children;
mod holes;
mod plans;
mod rules;
mod stage;
