//! Decides what is said about a plan that makes no sense: where, what, and what to do.

/// A plan that cannot be played.
///
/// Fault: caller. Changed: nothing. Again: with another plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PlanError {
    /// In which line of the plan, counted from one.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is no TOML, or has a name that a plan does not have.
    #[error("{0}")]
    Syntax(String),
    /// A step of no known kind.
    #[error("there is no step `{0}`; use one of {known}", known = super::plan::Verb::names())]
    UnknownStep(String),
    /// A step lacks something.
    #[error("the step `{verb}` needs `{field}`; add it")]
    Missing {
        /// Which kind of step.
        verb: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// A step has something that means nothing to it.
    #[error("the step `{verb}` has no `{field}`; remove it")]
    Misplaced {
        /// Which kind of step.
        verb: &'static str,
        /// What it has.
        field: &'static str,
    },
    /// No node has this name.
    #[error("there is no node `{name}`; with {nodes} nodes they are A to {last}")]
    NoSuchNode {
        /// The name.
        name: String,
        /// How many nodes there are.
        nodes: usize,
        /// The name of the last.
        last: char,
    },
    /// No daemons have this name.
    #[error("there are no daemons `{0}`; use `all`, the name of a group, or D0, D1, …")]
    NoSuchDaemons(String),
    /// Two groups have one name.
    #[error("a second group is called `{0}`; give it another name")]
    NameTaken(String),
    /// A number out of its bounds.
    #[error("`{field}` is {found}; it may be {low} to {high}")]
    OutOfBounds {
        /// What it is.
        field: &'static str,
        /// What it says.
        found: String,
        /// The least.
        low: String,
        /// The most.
        high: String,
    },
    /// No time.
    #[error("`{field}` is {found:?}, which is no time; write 300us, 20ms, 5s, 2m or 1h")]
    NoTime {
        /// What it is.
        field: &'static str,
        /// What it says.
        found: String,
    },
    /// No range of times.
    #[error("`{field}` is {found:?}; write the least and the most as in 300us..2ms")]
    NoRange {
        /// What it is.
        field: &'static str,
        /// What it says.
        found: String,
    },
    /// No size.
    #[error("`{field}` is {found:?}, which is no size; write 1000, 64KiB or 4MiB")]
    NoSize {
        /// What it is.
        field: &'static str,
        /// What it says.
        found: String,
    },
    /// No kind.
    #[error("there is no kind `{0}`; use scribe, kv or tally")]
    NoKind(String),
    /// No way to catch up.
    #[error("a {kind} cannot move by `{way}`; a scribe can by replay, deltas or freeze-and-copy")]
    NoWay {
        /// The kind.
        kind: &'static str,
        /// The way.
        way: String,
    },
    /// A kind whose state cannot be given a size.
    #[error("a tally cannot be given a `state`; use a scribe or a kv")]
    NoState,
    /// States that would not fit into the memory of the rehearsal.
    #[error("the states are {0} MiB together; at most {max} MiB can be rehearsed", max = super::plan::STATES_MIB_MAX)]
    TooLarge(u64),
    /// Nothing to run.
    #[error("there are no daemons; add [[daemons]] with a count")]
    NoDaemons,
}
