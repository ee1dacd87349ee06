//! Decides which stories about single moves are told, each with one disturbance at every place
//! where it can be.

mod clean;

use crate::checkers::Violation;

/// A story: how often it was told, or how it went wrong.
pub type Story = fn() -> Result<u64, Failure>;

/// How a story went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{case}: {violation}")]
pub struct Failure {
    /// Which telling.
    pub case: String,
    /// What was broken.
    pub violation: Violation,
}

/// All stories by name.
pub const STORIES: &[(&str, Story)] = &[("clean-moves", clean::moves)];
