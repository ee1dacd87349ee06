//! Decides what a body is told about channels.

use whimbrel_wire::{CausalEvent, ChannelName, EntityId, SubscribeRefusal};

/// Something about a channel that a daemon listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// A message.
    Message {
        /// The daemon that published it.
        publisher: EntityId,
        /// On which channel.
        channel: ChannelName,
        /// Which message of this channel of this publisher; the first is 1.
        number: u64,
        /// How many messages before it were left out: a subscriber that hears all misses none.
        missed: u64,
        /// What was published, with the link of the output that carried it here.
        event: CausalEvent,
    },
    /// A subscription stands: the next message is the first.
    Subscribed {
        /// The daemon that publishes.
        publisher: EntityId,
        /// On which channel.
        channel: ChannelName,
        /// The number of the message that comes first.
        next: u64,
    },
    /// A subscription was refused.
    Refused {
        /// The daemon that publishes.
        publisher: EntityId,
        /// On which channel.
        channel: ChannelName,
        /// Why.
        refusal: SubscribeRefusal,
    },
    /// A subscription has ended: no message comes any more.
    Unsubscribed {
        /// The daemon that publishes.
        publisher: EntityId,
        /// On which channel.
        channel: ChannelName,
    },
}

/// A channel on which a daemon publishes, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its name.
    pub channel: ChannelName,
    /// The number of the next message; the first is 1.
    pub next: u64,
    /// How many of the last messages are kept for those who come late.
    pub retained: usize,
    /// Who listens.
    pub subscribers: Vec<EntityId>,
}
