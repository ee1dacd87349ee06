//! Decides how an instance is written down, and what is good enough to go on from.
//!
//! A checkpoint says everything by name: states, histories, variables, timers and children by their
//! ids, never by a number of this build or a place in a list. It holds the definition with those of
//! all children, so it can be understood where the chart was never seen. Restoring runs no action
//! and gives no effect: the instance goes on in the middle of where it was, be that a microstep, a
//! delay or a queue.
//!
//! # Invariants
//!
//! * R1 (the same): an instance that was captured and restored does what it would have done.
//! * R2 (legal): what is restored is a legal configuration of its definition; anything else is
//!   refused.
//! * R3 (equal bytes): equal instances have equal checkpoints.

mod capture;
mod compact;
mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{Digest, Purpose, Time, hex};

use crate::chart::ChartError;
use crate::definition::Definition;
use crate::engine::{Above, Event, Invoked, Parent, Phase, SessionId, Spawned, Timer};
use crate::value::Value;

pub use restore::Shift;

/// The newest format of a checkpoint. Written is the oldest one that has the words for what there is
/// to say: 1, 2 where a child that failed began again, and 3 where children were spawned or the parent
/// is another daemon. A newer one is not read.
pub const CHECKPOINT_FORMAT: u32 = 3;

/// Whether a format is read here.
const fn is_read(format: u32) -> bool {
    1 <= format && format <= CHECKPOINT_FORMAT
}

/// The oldest format that says all of these.
fn format_of(sessions: &[Record], above: Option<&Above>) -> u32 {
    let again = |record: &Record| record.sleeps_until.is_some() || !record.restarts.is_empty();
    if above.is_some() || sessions.iter().any(|record| !record.spawned.is_empty()) {
        3
    } else if sessions.iter().any(again) {
        2
    } else {
        1
    }
}

/// An instance, written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The format: [`CHECKPOINT_FORMAT`].
    pub format: u32,
    /// The chart that runs, with those that it invokes.
    pub definition: Arc<Definition>,
    /// The instance's name.
    pub name: Arc<str>,
    /// The number of the next session.
    pub(crate) next_session: u64,
    /// Which session stepped last.
    pub(crate) cursor: SessionId,
    /// Its sessions, the first one first.
    pub(crate) sessions: Vec<Record>,
    /// A parent that is another daemon. Since format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) above: Option<Arc<Above>>,
    /// BLAKE3 over all the rest, in hexadecimal digits.
    pub digest: String,
}

/// A session, written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) id: SessionId,
    /// The names that lead to its chart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chart: Vec<String>,
    pub(crate) phase: Phase,
    pub(crate) configuration: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) history: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) data: BTreeMap<Arc<str>, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) visited: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) internal: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) external: Vec<Event>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) to_invoke: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) invoked: BTreeMap<Arc<str>, Invoked>,
    /// Since format 3.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) spawned: BTreeMap<Arc<str>, Spawned>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) timers: BTreeMap<u64, Timer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Parent>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) given: BTreeMap<Arc<str>, Value>,
    pub(crate) next_id: u64,
    pub(crate) next_timer: u64,
    /// Since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sleeps_until: Option<Time>,
    /// Since format 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) restarts: Vec<Time>,
}

impl Record {
    /// The session as it was when it was invoked.
    pub(crate) fn born_again(&self) -> Self {
        Self {
            phase: Phase::Fresh,
            configuration: Vec::new(),
            history: BTreeMap::new(),
            data: BTreeMap::new(),
            visited: Vec::new(),
            internal: Vec::new(),
            external: Vec::new(),
            event: None,
            to_invoke: Vec::new(),
            invoked: BTreeMap::new(),
            spawned: BTreeMap::new(),
            timers: BTreeMap::new(),
            next_id: 0,
            next_timer: 0,
            sleeps_until: None,
            restarts: Vec::new(),
            ..self.clone()
        }
    }
}

/// Why a checkpoint is not gone on from.
///
/// Fault: whoever sent it. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is no checkpoint.
    #[error("not a checkpoint: {0}")]
    Malformed(String),
    /// It is of another format.
    #[error("the format {0} is not read here")]
    Format(u32),
    /// Its bytes were altered.
    #[error("the checkpoint was altered: its digest does not fit")]
    Altered,
    /// It is of another definition.
    #[error("it is of the definition {found} and not of {expected}")]
    OtherDefinition {
        /// The digest that it names.
        found: String,
        /// The digest of what it was to go on under.
        expected: String,
    },
    /// Its definition is no chart.
    #[error("its definition is not legal: {0}")]
    Definition(#[from] ChartError),
    /// It names what its chart has not.
    #[error("{session}: there is no {what} {id}")]
    Unknown {
        /// In which session.
        session: SessionId,
        /// What it is.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// Its states cannot be active together.
    #[error("{session}: {what}")]
    Illegal {
        /// In which session.
        session: SessionId,
        /// What is wrong.
        what: String,
    },
    /// It holds more than an instance may.
    #[error("the instance holds too much: {0}")]
    TooLarge(&'static str),
}

impl Checkpoint {
    /// As JSON, for people and tools.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] if it cannot be written: that is our mistake.
    pub fn to_json(&self) -> Result<String, CheckpointError> {
        serde_json::to_string(self).map_err(|error| CheckpointError::Malformed(error.to_string()))
    }

    /// From JSON. That it is whole and legal is found out when it is restored.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`].
    pub fn from_json(text: &str) -> Result<Self, CheckpointError> {
        serde_json::from_str(text).map_err(|error| CheckpointError::Malformed(error.to_string()))
    }

    /// Whether its bytes are those that were written.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Format`], [`CheckpointError::Altered`].
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.verify_of(&self.definition.digest())
    }

    /// The same with a digest that fits, for tools that changed it on purpose.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] if it cannot be written: that is our mistake.
    pub fn sealed(mut self) -> Result<Self, CheckpointError> {
        self.digest = self.digest_of_rest(&self.definition.digest())?;
        Ok(self)
    }

    /// The same, where the digest of its definition is known.
    pub(crate) fn verify_of(&self, definition: &str) -> Result<(), CheckpointError> {
        if !is_read(self.format) || self.format != format_of(&self.sessions, self.above.as_deref())
        {
            return Err(CheckpointError::Format(self.format));
        }
        if self.digest != self.digest_of_rest(definition)? {
            return Err(CheckpointError::Altered);
        }
        Ok(())
    }

    /// The digest of all but the digest. The definition is in it by its own.
    fn digest_of_rest(&self, definition: &str) -> Result<String, CheckpointError> {
        let rest = Rest {
            format: self.format,
            definition,
            name: &self.name,
            next_session: self.next_session,
            cursor: self.cursor,
            sessions: &self.sessions,
            above: self.above.as_deref(),
        };
        let text = serde_json::to_vec(&rest);
        let text = text.map_err(|error| CheckpointError::Malformed(error.to_string()))?;
        Ok(hex(Digest::of(Purpose::Checkpoint, &text).as_bytes()))
    }
}

/// What the digest of a checkpoint covers.
#[derive(Serialize)]
struct Rest<'a> {
    format: u32,
    definition: &'a str,
    name: &'a str,
    next_session: u64,
    cursor: SessionId,
    sessions: &'a [Record],
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<&'a Above>,
}

impl Definition {
    /// What names this definition, with all of its children: BLAKE3 over its JSON form with every
    /// id, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        self.clone().with_ids().digest_as_it_is()
    }

    /// The digest of a definition that has every id.
    pub(crate) fn digest_as_it_is(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex(Digest::of(Purpose::Definition, &text).as_bytes())
    }
}

#[cfg(test)]
mod tests;
