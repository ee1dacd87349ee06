//! Decides how it is said what somebody wants to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use whimbrel_wire::{ChannelName, EntityId, NodeId};

/// A kind of act. A token names those that it allows, each by itself: none includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Look at nodes, daemons, events and the audit log.
    Observe,
    /// Send an event to a daemon.
    Deliver,
    /// Publish on a channel, or open one.
    Publish,
    /// Let a daemon listen to a channel, or listen no more.
    Subscribe,
    /// Move a daemon, or call a move off.
    Migrate,
    /// Everything else: spawn, stop, delete, export, import, reclaim, revoke, dismiss.
    Admin,
}

/// What somebody wants to do, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Of which kind.
    pub verb: Verb,
    /// To which daemon; none for what concerns no single one.
    pub daemon: Option<EntityId>,
    /// On which channel, if on any.
    pub channel: Option<ChannelName>,
    /// With which node as target, if with any.
    pub node: Option<NodeId>,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 6] =
        [Self::Observe, Self::Deliver, Self::Publish, Self::Subscribe, Self::Migrate, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Deliver => "deliver",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Migrate => "migrate",
            Self::Admin => "admin",
        }
    }

    /// The verb of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

impl Act {
    fn new(verb: Verb, daemon: Option<EntityId>) -> Self {
        Self { verb, daemon, channel: None, node: None }
    }

    /// Look at one daemon, or at everything.
    #[must_use]
    pub fn observe(daemon: Option<EntityId>) -> Self {
        Self::new(Verb::Observe, daemon)
    }

    /// Send an event to a daemon.
    #[must_use]
    pub fn deliver(daemon: EntityId) -> Self {
        Self::new(Verb::Deliver, Some(daemon))
    }

    /// Publish as a daemon on its channel.
    #[must_use]
    pub fn publish(daemon: EntityId, channel: ChannelName) -> Self {
        Self { channel: Some(channel), ..Self::new(Verb::Publish, Some(daemon)) }
    }

    /// Listen to a channel of this publisher.
    #[must_use]
    pub fn subscribe(publisher: EntityId, channel: ChannelName) -> Self {
        Self { channel: Some(channel), ..Self::new(Verb::Subscribe, Some(publisher)) }
    }

    /// Move a daemon to a node; without one, call its move off.
    #[must_use]
    pub fn migrate(daemon: EntityId, to: Option<NodeId>) -> Self {
        Self { node: to, ..Self::new(Verb::Migrate, Some(daemon)) }
    }

    /// Administer one daemon, or the node.
    #[must_use]
    pub fn admin(daemon: Option<EntityId>) -> Self {
        Self::new(Verb::Admin, daemon)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb)?;
        if let Some(channel) = &self.channel {
            write!(f, " on {channel}")?;
        }
        if let Some(daemon) = &self.daemon {
            write!(f, " of {daemon}")?;
        }
        if let Some(node) = &self.node {
            write!(f, " to {node}")?;
        }
        Ok(())
    }
}
