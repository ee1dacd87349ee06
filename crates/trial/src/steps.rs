//! Decides which steps of a move a trial disturbs, and who does each.
//!
//! The names are those of the feature `crash-points`; a step with another name is never reached,
//! and the table of crashes fails then.

/// Who does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The node from which the daemon moves.
    Source,
    /// The node to which it moves.
    Target,
    /// The node that was asked to move it, neither of the two.
    Orchestrator,
}

impl Part {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Orchestrator => "orchestrator",
        }
    }
}

/// A step of a move.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Who does it.
    pub who: Part,
    /// What it is called.
    pub name: &'static str,
    /// Whether a sample of the steps has it.
    pub sampled: bool,
}

impl Step {
    const fn of(who: Part, name: &'static str, sampled: bool) -> Self {
        Self { who, name, sampled }
    }
}

/// All of them.
pub const STEPS: &[Step] = &[
    Step::of(Part::Source, "before-save-attempt", false),
    Step::of(Part::Source, "after-save-attempt", false),
    Step::of(Part::Source, "before-seal", false),
    Step::of(Part::Source, "before-send-snapshot-ready", false),
    Step::of(Part::Source, "before-send-piece", false),
    Step::of(Part::Source, "before-send-buffered-events", false),
    Step::of(Part::Source, "before-digest", false),
    Step::of(Part::Source, "before-save-hand-over", true),
    Step::of(Part::Source, "after-save-hand-over", true),
    Step::of(Part::Source, "before-send-activate-target", false),
    Step::of(Part::Source, "before-send-cleanup-complete", false),
    Step::of(Part::Source, "before-save-drop-state", false),
    Step::of(Part::Source, "after-save-drop-state", false),
    Step::of(Part::Source, "before-wipe-key", false),
    Step::of(Part::Target, "before-admit", false),
    Step::of(Part::Target, "before-send-chunks-wanted", false),
    Step::of(Part::Target, "before-save-chunk", false),
    Step::of(Part::Target, "before-save-copy", false),
    Step::of(Part::Target, "after-save-copy", false),
    Step::of(Part::Target, "before-restore", true),
    Step::of(Part::Target, "before-send-restore-complete", false),
    Step::of(Part::Target, "before-replay", false),
    Step::of(Part::Target, "before-save-copy-turns", false),
    Step::of(Part::Target, "after-save-copy-turns", false),
    Step::of(Part::Target, "before-digest", false),
    Step::of(Part::Target, "before-send-replay-complete", true),
    Step::of(Part::Target, "before-save-accept", false),
    Step::of(Part::Target, "after-save-accept", true),
    Step::of(Part::Target, "before-send-activate-ack", false),
    Step::of(Part::Orchestrator, "before-send-take-snapshot", false),
    Step::of(Part::Orchestrator, "before-send-cutover-notify", true),
    // A target and an orchestrator that are no source never come here: the source does, as its
    // own orchestrator.
    Step::of(Part::Source, "before-send-take-snapshot", false),
    Step::of(Part::Source, "before-send-cutover-notify", false),
    Step::of(Part::Target, "before-send-take-snapshot", false),
];
