//! Decides what is said of a daemon whose turns may take long to whoever shares out the threads.

use serde::{Deserialize, Serialize};

/// How much of a node's threads a daemon is given while others want them too.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// One turn in seven, if there are daemons of all priorities.
    Low,
    /// Two turns in seven.
    #[default]
    Normal,
    /// Four turns in seven.
    High,
}

impl Priority {
    /// All of them, the lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];
}

/// How a daemon wants its turns to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// How much of the threads it is given.
    pub priority: Priority,
    /// Whether it stays where it is until somebody moves it by name: no node takes it to share out the
    /// work.
    pub is_pinned: bool,
}
