//! Decides how a plan for a cluster is rehearsed: what is done to which node when, and what the report
//! says about it.
//!
//! A plan is text ([`Plan::parse`]); its form is in the guide, `docs/guide/rehearsing.md`. It is played
//! in the same simulated cluster that runs the seeds, by the same machines, with all checkers at work,
//! and without random faults but those that it asks for. When it is over, everything that is down
//! starts, and the promises are asked for once more.
//!
//! ```text
//! plan.rs ── what is wanted      director.rs ── does it, step by step, every 5 ms
//! form.rs ── as text             onlooker.rs  ── sees what became of moves, pauses and events
//! error.rs ─ what is wrong       batch.rs    ── which moves when, and again
//!                                report.rs   ── sums it up
//!                                recording.rs ─ a run as a file: played again, shown
//! ```

mod batch;
mod director;
mod error;
mod form;
mod onlooker;
mod plan;
mod recording;
mod report;
mod reviewed;

pub use error::{PlanError, Problem};
pub(crate) use onlooker::Onlooker;
pub use plan::{Overrides, Plan};
pub use recording::{Difference, Recording, RecordingError};
pub use report::{Expectation, Moves, Rehearsed, Report, Spread, StepReport};
pub use reviewed::compare_all;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checkers::{Seconds, Violation};
use director::Director;

/// Plays a plan. With `keep`, what people see of it is kept as text.
#[must_use]
pub fn rehearse(plan: &Plan, keep: bool) -> Rehearsed {
    let mut director = Director::begin(plan, keep);
    let played = catch_unwind(AssertUnwindSafe(|| director.play()));
    let seconds = Seconds(director.elapsed());
    let panicked = played.err().map(|_| Violation {
        promise: "no-panic",
        what: "a machine panicked; the text is above".to_owned(),
        seconds,
    });
    director.report(panicked)
}
