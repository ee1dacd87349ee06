//! Decides what an event is inside an instance.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// The processor of statecharts: the default of `send`.
pub const CHART_PROCESSOR: &str = "http://www.w3.org/TR/scxml/#SCXMLEventProcessor";

/// Something that happened, with what it brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its name: words with dots between them.
    pub name: Arc<str>,
    /// Who made it.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The id of the `send` that made it, if its author named one, or that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_id: Option<Arc<str>>,
    /// Where an answer goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// By which processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_type: Option<Arc<str>>,
    /// Of which invocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoke_id: Option<Arc<str>>,
    /// What it brings.
    pub data: Value,
}

/// Who made an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The engine.
    Platform,
    /// The chart itself.
    Internal,
    /// Somebody else, or the chart by `send`.
    External,
}

impl Event {
    /// An event from outside.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, data: Value) -> Self {
        Self::of(EventKind::External, name.into(), data)
    }

    pub(crate) const fn of(kind: EventKind, name: Arc<str>, data: Value) -> Self {
        Self { name, kind, send_id: None, origin: None, origin_type: None, invoke_id: None, data }
    }

    /// The event of an error; what went wrong is its data.
    pub(crate) fn error(name: &str, what: &str) -> Self {
        Self::of(EventKind::Platform, name.into(), Value::text(what))
    }
}

impl EventKind {
    /// As `_event.type` says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}
