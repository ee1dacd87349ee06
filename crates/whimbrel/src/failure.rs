//! Decides how a refusal looks and which number the process ends with.
//!
//! ```text
//! error: no daemon "kv-1" is known at this node
//!   next: see whimbrel ps; a daemon of another node is found by all 64 digits of its id
//! ```
//!
//! | exit | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it was tried and did not succeed: a declined event, a failed move, a ledger with losses |
//! | 2 | the words or a file were wrong; nothing was tried |
//! | 3 | no node answers |
//! | 4 | the node declined; nothing changed |
//! | 5 | it is not known whether it was done |

use std::fmt;
use std::process::ExitCode;

use whimbrel::runtime::admin::{AdminClientError, AdminFault, Code, Effect};

use crate::output;

/// It was tried and did not succeed.
pub(crate) const UNSUCCESSFUL: u8 = 1;
const WRONG_WORDS: u8 = 2;
const NO_NODE: u8 = 3;
const DECLINED: u8 = 4;
/// It is not known whether it was done.
pub(crate) const UNKNOWN: u8 = 5;

/// An error that knows what to do next.
#[derive(Debug)]
pub(crate) struct Advice {
    message: String,
    next: String,
    exit: u8,
}

impl Advice {
    /// The words or a file were wrong.
    pub(crate) fn wrong(message: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self { message: message.into(), next: next.into(), exit: WRONG_WORDS }.into()
    }

    /// It was tried and did not succeed.
    pub(crate) fn failed(message: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self { message: message.into(), next: next.into(), exit: UNSUCCESSFUL }.into()
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advice {}

/// Says what went wrong and what to do next.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let (exit, next) = judge(error);
    output::complain(&format!("error: {error:#}"));
    if !next.is_empty() {
        output::complain(&format!("  next: {next}"));
    }
    ExitCode::from(exit)
}

fn judge(error: &anyhow::Error) -> (u8, String) {
    if let Some(advice) = error.downcast_ref::<Advice>() {
        return (advice.exit, advice.next.clone());
    }
    match error.downcast_ref::<AdminClientError>() {
        Some(AdminClientError::Refused(fault)) => (exit_of(fault), fault.next.clone()),
        Some(AdminClientError::Connect { .. }) => (
            NO_NODE,
            "start it with whimbrel node --config FILE; --data DIR or WHIMBREL_DATA names its folder"
                .to_owned(),
        ),
        Some(AdminClientError::Closed) => {
            (UNKNOWN, "see whether the node runs, and whimbrel ps for what was done".to_owned())
        }
        Some(AdminClientError::Malformed(_)) => {
            (UNKNOWN, "use the whimbrel command that belongs to the node".to_owned())
        }
        Some(AdminClientError::TooLong) => (WRONG_WORDS, "send less at a time".to_owned()),
        Some(_) | None => (UNSUCCESSFUL, String::new()),
    }
}

/// The number that stands for a refusal.
pub(crate) fn exit_of(fault: &AdminFault) -> u8 {
    match (fault.effect, fault.code) {
        (Effect::Perhaps, _) => UNKNOWN,
        (_, Code::MoveFailed | Code::Incompatible | Code::Chain) => UNSUCCESSFUL,
        _ => DECLINED,
    }
}
