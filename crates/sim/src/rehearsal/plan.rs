//! Decides what a plan may ask for, and within which bounds.
//!
//! # Limits
//!
//! * 2 to 26 nodes, named by a letter; 1 to 10,000 daemons; states of 1 GiB together;
//! * 1 to 3,600 seconds, of which one costs about what a tenth costs at half the load;
//! * 200 events a second for one daemon: beyond it the simulator takes a loop for a spin.

use super::error::PlanError;
use super::form;
use crate::scribe::Style;

/// The most nodes: they are named by one letter.
pub(super) const NODES_MAX: u64 = 26;
pub(super) const DAEMONS_MAX: u64 = 10_000;
pub(super) const SECONDS_MAX: u64 = 3_600;
pub(super) const RATE_MAX: u64 = 200;
pub(super) const STATES_MIB_MAX: u64 = 1024;
/// Moves of one step that are under way together, unless it says otherwise.
pub(super) const AT_ONCE: usize = 4;
/// How often a step asks for a move before it gives the daemon up, unless it says otherwise.
pub(super) const TRIES: u32 = 3;

/// What is to be rehearsed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is called.
    pub(super) title: String,
    pub(super) nodes: usize,
    pub(super) seed: u64,
    /// Nanoseconds.
    pub(super) length: u64,
    pub(super) groups: Vec<Group>,
    pub(super) network: Line,
    /// Nanoseconds that a commit takes.
    pub(super) commit: (u64, u64),
    pub(super) steps: Vec<Step>,
    pub(super) expect: Expect,
    /// As it was written, and what was said instead.
    pub(super) text: String,
    pub(super) overrides: Overrides,
}

/// What is said beside a plan and goes before what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// How many nodes.
    pub nodes: Option<u64>,
    /// How many daemons: groups keep their shares.
    pub daemons: Option<u64>,
    /// Which seed.
    pub seed: Option<u64>,
}

/// Daemons that are alike.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) count: usize,
    pub(super) style: Style,
    /// Bytes.
    pub(super) state: u64,
    pub(super) rate: u64,
    /// Where they are born, in turn.
    pub(super) on: Vec<usize>,
}

/// How messages travel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Nanoseconds.
    pub(super) delay: (u64, u64),
    /// Thousandths.
    pub(super) loss: u64,
    pub(super) twice: u64,
    /// Bytes in a second from one node to another; none if that is no matter.
    pub(super) rate: Option<u64>,
}

/// What must come out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expect {
    /// Nanoseconds.
    pub(super) pause_max: Option<u64>,
    pub(super) not_moved_max: Option<u64>,
    pub(super) unserved_max: Option<u64>,
}

/// One thing that is done.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Nanoseconds after the beginning.
    pub(super) at: u64,
    /// As the report calls it.
    pub(super) name: String,
    pub(super) what: What,
}

/// How the moves of a step are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) at_once: usize,
    pub(super) tries: u32,
    pub(super) freeze_and_copy: bool,
    /// At which node; none is where the daemon runs.
    pub(super) asked_at: Option<usize>,
}

/// What is done.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Everything leaves a node, which dies at the deadline if there is one.
    Drain {
        node: usize,
        to: Option<usize>,
        manner: Manner,
        deadline: Option<u64>,
    },
    Move {
        daemons: Vec<usize>,
        to: usize,
        manner: Manner,
    },
    /// A node has more than its share, and gives that away.
    Spread {
        node: usize,
        manner: Manner,
    },
    Follow {
        daemons: Vec<usize>,
        along: Vec<usize>,
        every: u64,
        times: u64,
    },
    RollingRestart {
        nodes: Vec<usize>,
        down: u64,
        manner: Manner,
    },
    Restart {
        node: usize,
        down: u64,
    },
    Crash {
        node: usize,
        down: Option<u64>,
    },
    Partition {
        nodes: Vec<usize>,
        one_way: bool,
        rest: u64,
    },
    Slow {
        node: usize,
        factor: u64,
        rest: u64,
    },
    Pause {
        node: usize,
        rest: u64,
    },
    Flaky {
        loss: u64,
        twice: u64,
        late: u64,
        rest: u64,
    },
    FullDisk {
        node: usize,
        rest: u64,
    },
    ClockJump {
        node: usize,
        by: u64,
    },
    Cancel {
        daemons: Vec<usize>,
    },
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Drain,
    Move,
    Spread,
    Follow,
    RollingRestart,
    Restart,
    Crash,
    Partition,
    Slow,
    Pause,
    Flaky,
    FullDisk,
    ClockJump,
    Cancel,
}

impl Verb {
    pub(super) const ALL: [Self; 14] = [
        Self::Drain,
        Self::Move,
        Self::Spread,
        Self::Follow,
        Self::RollingRestart,
        Self::Restart,
        Self::Crash,
        Self::Partition,
        Self::Slow,
        Self::Pause,
        Self::Flaky,
        Self::FullDisk,
        Self::ClockJump,
        Self::Cancel,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Move => "move",
            Self::Spread => "spread",
            Self::Follow => "follow",
            Self::RollingRestart => "rolling-restart",
            Self::Restart => "restart",
            Self::Crash => "crash",
            Self::Partition => "partition",
            Self::Slow => "slow",
            Self::Pause => "pause",
            Self::Flaky => "flaky",
            Self::FullDisk => "full-disk",
            Self::ClockJump => "clock-jump",
            Self::Cancel => "cancel",
        }
    }

    /// All of them, for people.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// What a step of this kind may have beside `at` and `do`.
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Drain => &["node", "to", "at_once", "tries", "asked_at", "deadline"],
            Self::Move => &["daemons", "to", "at_once", "tries", "asked_at", "freeze_and_copy"],
            Self::Spread => &["node", "at_once", "tries", "asked_at"],
            Self::Follow => &["daemons", "along", "every", "times"],
            Self::RollingRestart => &["nodes", "down", "at_once", "tries"],
            Self::Restart => &["node", "down"],
            Self::Crash => &["node", "for"],
            Self::Partition => &["nodes", "one_way", "for"],
            Self::Slow => &["node", "factor", "for"],
            Self::Pause | Self::FullDisk => &["node", "for"],
            Self::Flaky => &["loss", "duplicate", "late", "for"],
            Self::ClockJump => &["node", "by"],
            Self::Cancel => &["daemons"],
        }
    }
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which line. What [`Overrides`] say is taken as said in line 1.
    pub fn parse(text: &str, overrides: Overrides) -> Result<Self, PlanError> {
        form::read(text, overrides)
    }

    /// What it is called.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How many daemons there are.
    pub(super) fn daemons(&self) -> usize {
        self.groups.iter().map(|group| group.count).sum()
    }
}
