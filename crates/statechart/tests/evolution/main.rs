//! Shows what the gate says of changes, and what becomes of instances that go on.

mod changes;
mod holes;
mod plans;
mod rules;
mod stage;
