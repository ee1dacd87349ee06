//! Decides what two daemons do that only talk on channels: one publishes what it is told, the other
//! writes down what it hears and whether it heard it right.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_wire::{
    CausalEvent, ChannelName, Digest, DigestWriter, EntityId, Purpose, SubscriptionBinding, decode,
    encode,
};

use crate::channels::News;
use crate::context::Context;
use crate::contract::{MeshDaemon, ProcessError};
use crate::restore::RestoreError;

/// Publishes: `CHANNEL TEXT` says the text on that channel. Everybody who publishes says the same
/// digest as whoever heard all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Herald {
    /// By channel: how much was said.
    pub said: BTreeMap<ChannelName, Run>,
}

/// Listens, and keeps a ledger of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ear {
    /// By publisher and channel: what was heard.
    pub heard: BTreeMap<SubscriptionBinding, Heard>,
    /// Events that came by another way than a channel.
    pub told: u64,
}

/// A run of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How many.
    pub count: u64,
    /// The digest of all of them, in order.
    pub digest: Digest,
}

/// What was heard of one channel of one publisher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The messages.
    pub run: Run,
    /// The number of the last.
    pub last: u64,
    /// How many were stated to be missing.
    pub missed: u64,
    /// How many came whose number was not above the one before.
    pub doubles: u64,
    /// How many were missing and not stated.
    pub gaps: u64,
    /// How often a subscription began.
    pub begun: u64,
}

impl Default for Run {
    fn default() -> Self {
        Self { count: 0, digest: Digest::ZERO }
    }
}

impl Run {
    fn add(&mut self, message: &[u8]) {
        let Self { count, digest } = self;
        *count += 1;
        let mut writer = DigestWriter::new(Purpose::State);
        *digest = writer.write(digest.as_bytes()).write(message).finish();
    }
}

impl Herald {
    /// The name of the kind.
    pub const NAME: &str = "herald";

    /// The event that makes it say `text` on `channel`.
    #[must_use]
    pub fn say(channel: &ChannelName, text: &str) -> Bytes {
        format!("{channel} {text}").into()
    }

    /// Its state, from a snapshot.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Declined`].
    pub fn read(state: &[u8]) -> Result<Self, RestoreError> {
        decode(state).map_err(|_| RestoreError::declined("not a herald"))
    }
}

impl Ear {
    /// The name of the kind.
    pub const NAME: &str = "ear";

    /// Its state, from a snapshot.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Declined`].
    pub fn read(state: &[u8]) -> Result<Self, RestoreError> {
        decode(state).map_err(|_| RestoreError::declined("not an ear"))
    }

    fn entry(&mut self, publisher: EntityId, channel: &ChannelName) -> &mut Heard {
        self.heard.entry(SubscriptionBinding { publisher, channel: channel.clone() }).or_default()
    }
}

impl MeshDaemon for Herald {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        if event.payload == "?" {
            return Ok(vec![encode(self).into()]);
        }
        let text = std::str::from_utf8(&event.payload).ok();
        let (channel, text) = text
            .and_then(|text| text.split_once(' '))
            .and_then(|(channel, text)| Some((ChannelName::new(channel).ok()?, text)))
            .ok_or_else(|| ProcessError::new("CHANNEL TEXT"))?;
        self.said.entry(channel.clone()).or_default().add(text.as_bytes());
        context.publish(channel, Bytes::copy_from_slice(text.as_bytes()));
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(encode(self).into())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        *self = Self::read(state)?;
        Ok(())
    }
}

impl MeshDaemon for Ear {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        if event.payload == "?" {
            return Ok(vec![encode(self).into()]);
        }
        self.told += 1;
        Ok(Vec::new())
    }

    fn hear(
        &mut self,
        _context: &mut Context<'_>,
        news: &News,
    ) -> Result<Vec<Bytes>, ProcessError> {
        match news {
            News::Message { publisher, channel, number, missed, event } => {
                let heard = self.entry(*publisher, channel);
                let next = heard.last + 1;
                heard.doubles += u64::from(*number < next);
                heard.gaps += number.saturating_sub(next + missed);
                heard.missed += missed;
                heard.last = *number;
                heard.run.add(&event.payload);
            }
            News::Subscribed { publisher, channel, next } => {
                let heard = self.entry(*publisher, channel);
                heard.begun += 1;
                heard.last = next - 1;
            }
            News::Refused { .. } | News::Unsubscribed { .. } => {}
        }
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(encode(self).into())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        *self = Self::read(state)?;
        Ok(())
    }
}
