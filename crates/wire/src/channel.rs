//! Decides what daemons say to each other about channels, and how that is told from anything else.
//!
//! A word of a channel is the payload of an ordinary event from one daemon to another, or from the
//! host of a daemon to it. It begins with [`MARK`]; whatever a daemon itself sends and begins like
//! that is wrapped as [`ChannelWord::Plain`], so that no daemon can speak as a host
//! ([`ChannelWord::escape`]). What clients send is never read as one.
//!
//! # Limits
//!
//! * [`CHANNEL_NAME_BYTES_MAX`](crate::limits::CHANNEL_NAME_BYTES_MAX).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::frame::{decode, encode};
use crate::id::EntityId;
use crate::limits::CHANNEL_NAME_BYTES_MAX;
use crate::permit::Permit;

/// How a word of a channel begins: a byte that begins no UTF-8 text, the name, the version.
const MARK: &[u8; 9] = b"\xffchannel\x01";

/// The name of a channel: no control characters, so that it fits into a line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

/// A name that cannot be that of a channel.
///
/// Fault: caller. Changed: nothing. Again: with another name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a channel is named by 1 to {CHANNEL_NAME_BYTES_MAX} bytes without control characters")]
pub struct ChannelNameError;

/// What a subscriber wants when it is slower than the publisher.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Hearing {
    /// Every message: the publisher takes no more events once too much is owed.
    #[default]
    All,
    /// At most so many messages on their way; what the channel does not retain until there is room
    /// again is left out, and the next message says how many were.
    Recent {
        /// From 2 to [`HEARING_WINDOW_MAX`](crate::limits::HEARING_WINDOW_MAX).
        window: u32,
    },
}

/// With which message a subscription begins.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Start {
    /// The next that is published.
    #[default]
    Next,
    /// The oldest that the channel retains.
    Retained,
    /// The one after this number, or the oldest after it that the channel retains, or the next; the
    /// answer to the subscription says which, and so what is missing.
    After(u64),
}

/// Why a publisher takes no subscriber.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error,
)]
pub enum SubscribeRefusal {
    /// It has no such channel. Fault: caller. Changed: nothing. Again: after it was opened.
    #[error("the publisher has no such channel")]
    NoChannel,
    /// The channel has as many subscribers as it can have. Fault: nobody. Changed: nothing. Again:
    /// after another one left.
    #[error("the channel is full")]
    Full,
    /// The window is out of bounds. Fault: caller. Changed: nothing. Again: with another.
    #[error("the window is out of bounds")]
    Window,
    /// A daemon does not hear itself. Fault: caller. Changed: nothing. Again: no.
    #[error("a daemon does not hear itself")]
    Itself,
    /// The channel is gated, and the daemon holds no token that covers it. Fault: caller. Changed: nothing.
    /// Again: after it was given one.
    #[error("the daemon holds no token for the channel")]
    NotPermitted,
}

/// What is said about a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChannelWord {
    /// Nothing about a channel: what a daemon said itself.
    Plain(Bytes),
    /// Subscriber → publisher: let me hear.
    Subscribe {
        /// Which channel.
        channel: ChannelName,
        /// The subscriber's own number of this subscription: answers to an earlier one are old news.
        subscription: u64,
        /// In which way.
        hearing: Hearing,
        /// From where on.
        start: Start,
    },
    /// Publisher → subscriber: you hear everything from here on.
    Subscribed {
        /// Which channel.
        channel: ChannelName,
        /// Which subscription.
        subscription: u64,
        /// The number of the message that comes first.
        next: u64,
    },
    /// Publisher → subscriber: you do not.
    Refused {
        /// Which channel.
        channel: ChannelName,
        /// Which subscription.
        subscription: u64,
        /// Why.
        refusal: SubscribeRefusal,
    },
    /// Subscriber → publisher: no more.
    Unsubscribe {
        /// Which channel.
        channel: ChannelName,
        /// Which subscription.
        subscription: u64,
    },
    /// Publisher → subscriber: that was the last.
    Unsubscribed {
        /// Which channel.
        channel: ChannelName,
        /// Which subscription.
        subscription: u64,
    },
    /// Publisher → subscriber: a message.
    Message {
        /// Which channel.
        channel: ChannelName,
        /// Which message of this channel of this publisher; the first is 1.
        number: u64,
        /// How many messages before it were left out.
        omitted: u64,
        /// What was published.
        payload: Bytes,
    },
    /// Subscriber → publisher: so many more messages were heard.
    Heard {
        /// Which channel.
        channel: ChannelName,
        /// How many since the last such word.
        count: u32,
    },
    /// Host → subscriber: subscribe.
    Join {
        /// The publisher.
        publisher: EntityId,
        /// Which channel.
        channel: ChannelName,
        /// In which way.
        hearing: Hearing,
        /// From where on.
        start: Start,
    },
    /// Host → subscriber: unsubscribe.
    Leave {
        /// The publisher.
        publisher: EntityId,
        /// Which channel.
        channel: ChannelName,
    },
    /// Host → subscriber: what became of it? The answer is a [`SubscriptionState`].
    Ask {
        /// The publisher.
        publisher: EntityId,
        /// Which channel.
        channel: ChannelName,
    },
    /// Host → publisher: open a channel, or change what it retains.
    Open {
        /// Which channel.
        channel: ChannelName,
        /// How many of the last messages it keeps for those who come late.
        retained: u32,
    },
    /// Host → publisher: publish.
    Publish {
        /// Which channel.
        channel: ChannelName,
        /// What.
        payload: Bytes,
    },
    /// Host → publisher: this subscriber is gone for good; nothing more is for it, on any channel.
    Dismiss {
        /// Who is gone.
        subscriber: EntityId,
    },
    /// Subscriber → publisher: I would hear, and may not. The answer is a refusal.
    Unpermitted {
        /// Which channel.
        channel: ChannelName,
        /// Which subscription.
        subscription: u64,
    },
    /// Host → daemon: from here on you may listen by yourself to these; without permits, to all.
    Permit {
        /// At most [`PERMITS_MAX`](crate::limits::PERMITS_MAX).
        permits: Option<Vec<Permit>>,
    },
}

/// How a subscription stands at the subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubscriptionState {
    /// The publisher was asked and has not answered.
    Asked,
    /// Messages come.
    Live {
        /// The number of the message that comes next.
        next: u64,
    },
    /// The publisher was asked to end it and has not answered; messages may still come.
    Leaving {
        /// The number of the message that would come next, once the publisher said it.
        next: Option<u64>,
    },
    /// The publisher refused.
    Refused(SubscribeRefusal),
    /// There is none.
    Nothing,
}

/// One channel that a daemon listens to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubscriptionBinding {
    /// The daemon that publishes.
    pub publisher: EntityId,
    /// On which channel.
    pub channel: ChannelName,
}

impl ChannelName {
    /// The name, if it can be one.
    ///
    /// # Errors
    ///
    /// [`ChannelNameError`] when it is empty, too long, or has control characters.
    pub fn new(name: impl Into<String>) -> Result<Self, ChannelNameError> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= CHANNEL_NAME_BYTES_MAX;
        if fits && !name.chars().any(char::is_control) {
            return Ok(Self(name));
        }
        Err(ChannelNameError)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ChannelWord {
    /// The payload of this word.
    #[must_use]
    pub fn to_payload(&self) -> Bytes {
        let word = encode(self);
        let mut payload = Vec::with_capacity(MARK.len() + word.len());
        payload.extend_from_slice(MARK);
        payload.extend_from_slice(&word);
        payload.into()
    }

    /// Whether `payload` begins like a word of a channel.
    #[inline]
    #[must_use]
    pub fn is_marked(payload: &[u8]) -> bool {
        payload.starts_with(MARK)
    }

    /// The word that `payload` is; none if it is none. One that is marked and none is broken.
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        decode(payload.strip_prefix(MARK)?).ok()
    }

    /// What carries `payload` as it is, whatever it begins with.
    #[inline]
    #[must_use]
    pub fn escape(payload: Bytes) -> Bytes {
        if Self::is_marked(&payload) { Self::Plain(payload).to_payload() } else { payload }
    }
}

impl TryFrom<String> for ChannelName {
    type Error = ChannelNameError;

    fn try_from(name: String) -> Result<Self, ChannelNameError> {
        Self::new(name)
    }
}

impl From<ChannelName> for String {
    fn from(name: ChannelName) -> Self {
        name.0
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
