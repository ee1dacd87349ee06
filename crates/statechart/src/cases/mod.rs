//! Decides what a chart was told and what is expected of it: tests of charts, written as text.
//!
//! ```text
//! # from here to the end of the line nothing is read; so is an empty line
//! case half an hour is enough to wait
//!   in unpaid                           before anything happened
//!   send pay {"amount": 15}             an event comes, perhaps with data
//!     data paid 15
//!     timer in 30m
//!   move                                it is written down and gone on from
//!   after 30m                           time passes
//!     in cancelled
//!     done {"paid": 15}
//! ```
//!
//! A line is an input or what is expected after the last one; how far it stands to the right means
//! nothing.
//!
//! | line | expects |
//! |---|---|
//! | `in A B` | the active states without active states in them are these, in any order |
//! | `child ID in A B` | the same of the child with this id; `child ID gone` |
//! | `data NAME JSON` | the value of a variable; `data NAME none` |
//! | `sends EVENT [to WHERE] [JSON]` | an event went out |
//! | `logs [LABEL] JSON` | something was said |
//! | `done [JSON]` | the chart came to its end, and said this |
//! | `nothing` | nothing went out, was said or ended |
//! | `timer in SPAN`, `no timer` | how long until the next timer of it or a child is due |
//!
//! `sends`, `logs` and `done` look for what the last input put out, each after the one before; what
//! they pass over may be there.
//!
//! # Limits
//!
//! * [`TEXT_BYTES_MAX`] of text; what is longer is not read.

mod parse;
mod play;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::value::Value;

pub use play::Moves;

/// How long a text may be.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Tests of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Cases(Vec<Case>);

/// One test: an instance of the chart, from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it shows.
    pub name: Arc<str>,
    /// Where it begins in the text.
    pub line: usize,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    number: usize,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Send(Arc<str>, Value),
    After(std::time::Duration),
    Move,
    In(Vec<String>),
    Child(String, Option<Vec<String>>),
    Datum(String, Option<Value>),
    Sends { event: String, to: Option<String>, data: Option<Value> },
    Logs { label: Option<String>, value: Value },
    Done(Option<Value>),
    Nothing,
    Timer(Option<std::time::Duration>),
}

/// Text that is no test.
///
/// Fault: whoever wrote it. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct CaseError {
    /// Where.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// How a test came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it shows.
    pub name: Arc<str>,
    /// Where it went wrong, and how; none if it did not.
    pub failure: Option<CaseError>,
    /// How often the instance was written down and gone on from.
    pub moves: u32,
}

impl Outcome {
    /// Whether all that was expected came.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "passed: {}", self.name),
            Some(failure) => write!(f, "FAILED: {}\n    {failure}", self.name),
        }
    }
}

impl Cases {
    /// Reads tests.
    ///
    /// # Errors
    ///
    /// [`CaseError`] when a line is none of a test.
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        parse::cases(text).map(Self)
    }

    /// The tests, in order.
    #[must_use]
    pub fn all(&self) -> &[Case] {
        &self.0
    }
}
