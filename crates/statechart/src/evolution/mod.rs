//! Decides whether a running statechart may go on under another definition, and as what.
//!
//! The gate looks at the *live* instance: its configuration, histories, timers, queues, children and
//! data, and what can still be reached from there. A difference that nothing alive can reach never
//! stops a move. What it finds are hits of [`Rule`]s; the worst of them is the [`Verdict`], and the
//! [`Profile`] says which verdict passes. Beyond it a [`Plan`] says what becomes of what has no place.
//!
//! Judging and planning are pure. The source keeps serving whatever comes out; who asks decides on the
//! frozen state, at the target, before the commit point.
//!
//! # Invariants
//!
//! * V1 (never misread): an instance that passes as identical, equivalent, or compatible without a
//!   hit that [differs later](Rule::differs_later), does what it would have done.
//! * V2 (sound slice): what an instance does and reaches lies within its slice.
//! * V3 (plan is once): a plan leads from one definition to another; on an instance of the latter
//!   there is nothing for it to do.
//!
//! # Limits
//!
//! * [`GATE_BITS_MAX`]: states of a chart times its states and transitions; a larger pair is not judged.

mod bits;
mod carry;
mod differ;
mod dry_run;
mod gate;
mod judge;
mod live;
mod pair;
mod parts;
mod plan;
mod reach;
mod report;
mod rule;
mod versions;
mod witness;

pub use carry::{Carried, CarryError, Moment};
pub use dry_run::{Becomes, Change, DryRun, Proposed, View};
pub use gate::{GATE_BITS_MAX, Gate, GateError, Palette, Settings};
pub use plan::{
    Arming, ChartPlan, ChildPolicy, Due, EventPolicy, HistoryPolicy, PLAN_FORMAT, Plan, PlanError,
    Proposal, RegionPolicy, Settling, TimerPolicy,
};
pub use report::{Finding, IncompatibleMigration, Named, Report};
pub use rule::{Profile, Rule, Verdict};
pub use versions::{Direction, Step, Versions};
pub use witness::{Bounds, Explored, Move, Witness};
