//! Decides how it is said to a daemon what it may listen to by itself.
//!
//! The host of a daemon says it, from the tokens that the daemon holds; the daemon's own code is held to it in
//! every turn, and so in every replay.
//!
//! # Limits
//!
//! * [`CHANNEL_NAME_BYTES_MAX`], [`PERMITS_MAX`], [`PERMIT_NAMES_MAX`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::channel::ChannelName;
use crate::id::EntityId;
use crate::limits::{CHANNEL_NAME_BYTES_MAX, PERMIT_NAMES_MAX, PERMITS_MAX};
use crate::time::Time;

/// The name of a channel, or how the names of several begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelPattern(String);

/// Some channels that a daemon may listen to, until some time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Permit {
    /// Of which publishers; none for any.
    pub publishers: Vec<EntityId>,
    /// Which channels; none for any.
    pub channels: Vec<ChannelPattern>,
    /// The second after which it says nothing, since the Unix epoch, by the daemon's own time.
    pub until: u64,
}

impl ChannelPattern {
    /// The pattern of a text: a name, or the beginning of names and `*`. None if it can be neither.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let begins = text.strip_suffix('*').unwrap_or(&text);
        let fits = text.len() <= CHANNEL_NAME_BYTES_MAX && !text.is_empty();
        (fits && !begins.contains('*') && !text.chars().any(char::is_control)).then_some(Self(text))
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means this channel.
    #[must_use]
    pub fn covers(&self, channel: &ChannelName) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => channel.as_str().starts_with(beginning),
            None => channel.as_str() == self.0,
        }
    }

    /// Whether it means every channel that `other` means.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => other.0.strip_suffix('*').unwrap_or(&other.0).starts_with(beginning),
            None => self == other,
        }
    }
}

impl Permit {
    /// Whether it covers this channel of this publisher at `now`.
    #[must_use]
    pub fn covers(&self, publisher: &EntityId, channel: &ChannelName, now: Time) -> bool {
        let is_one = self.publishers.is_empty() || self.publishers.contains(publisher);
        let is_named =
            self.channels.is_empty() || self.channels.iter().any(|it| it.covers(channel));
        is_one && is_named && now.as_nanos() / 1_000_000_000 <= self.until
    }

    /// Whether so many permits, and each by itself, keep within their bounds.
    #[must_use]
    pub fn are_bounded(permits: &[Self]) -> bool {
        let named = |it: &Self| it.publishers.len().max(it.channels.len());
        permits.len() <= PERMITS_MAX && permits.iter().all(|it| named(it) <= PERMIT_NAMES_MAX)
    }
}

impl TryFrom<String> for ChannelPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::new(text).ok_or("this is neither the name of a channel nor the beginning of names")
    }
}

impl From<ChannelPattern> for String {
    fn from(pattern: ChannelPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
