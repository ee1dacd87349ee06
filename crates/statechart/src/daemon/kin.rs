//! Decides how a statechart daemon is born as the child of another one, and who is told that one is to
//! be born.
//!
//! The engine decides which newborn is the child ([`engine::kin`](crate::Kin)). Here is what goes between
//! it and a node: what a newborn is given, letters as payloads, and the calls of those daemons of a node
//! that want one born or want to live elsewhere. A call is a hint: it may stand there too long or twice, and
//! is repeated when its daemon is restored.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use whimbrel_wire::EntityId;

use super::outputs::daemon;
use crate::definition::Definition;
use crate::engine::{Above, Instance, Kin, Unborn};
use crate::value::Value;

/// What a letter begins with, and what a newborn is given that has a parent.
pub(super) const MARK: &str = "{\"kin\":";

/// What a host says to a child that lives where it is to live.
pub const PLACED: &str = "{\"kin\":\"placed\"}";

/// A letter as a payload.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope {
    pub(super) kin: Kin,
}

/// What a newborn is given that has a parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newborn {
    pub(super) kin: Above,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) given: BTreeMap<Arc<str>, Value>,
    pub(super) definition: Arc<Definition>,
}

impl Newborn {
    /// What bytes say that begin like it; none if they do not.
    pub(super) fn read(given: &[u8]) -> Option<Result<Self, String>> {
        let marked = given.starts_with(MARK.as_bytes());
        marked.then(|| serde_json::from_slice(given).map_err(|error| error.to_string()))
    }
}

/// What a daemon wants of its node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    /// Children that are to be born.
    pub unborn: Vec<Unborn>,
    /// On which node it is to live itself: a name, or `*`.
    pub on: Option<Arc<str>>,
}

impl Calls {
    /// What an instance wants, and who it is; none if its name is that of no daemon.
    pub(super) fn of(instance: &Instance) -> Option<(EntityId, Self)> {
        let entity = daemon(&format!("daemon:{}", instance.name))?;
        let above = instance.above().filter(|_| !instance.is_done());
        let on = above.and_then(|above| above.on.clone());
        Some((entity, Self { unborn: instance.unborn(), on }))
    }

    /// Whether that is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unborn.is_empty() && self.on.is_none()
    }
}

impl Unborn {
    /// What the newborn is to be given.
    ///
    /// # Errors
    ///
    /// That it cannot be written, which is our mistake.
    pub fn given(&self) -> Result<Vec<u8>, String> {
        let newborn = Newborn {
            kin: self.above.clone(),
            given: self.given.clone(),
            definition: Arc::clone(&self.definition),
        };
        serde_json::to_vec(&newborn).map_err(|error| error.to_string())
    }
}
