//! Decides who is sent which message of which channel.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_mutants::Mutant;
use whimbrel_wire::limits::HEARING_WINDOW_MAX;
use whimbrel_wire::{ChannelName, ChannelWord, EntityId, Hearing, Start, SubscribeRefusal};

use super::{Publication, Words};
use crate::limits::{
    CHANNELS_MAX, MESSAGE_BYTES_MAX, RETAINED_BYTES_MAX, RETAINED_MAX, SUBSCRIBERS_MAX,
};

/// The channels on which a daemon publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publications {
    channels: BTreeMap<ChannelName, Channel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Channel {
    /// The number of the next message.
    next: u64,
    /// How many messages are kept.
    retained_max: u32,
    /// The last ones; the newest has the number `next - 1`.
    retained: VecDeque<Bytes>,
    subscribers: BTreeMap<EntityId, Subscriber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subscriber {
    hearing: Hearing,
    /// The number of the message that it is to get next.
    cursor: u64,
    /// Messages that it did not say it heard; zero for one that hears all.
    under_way: u32,
}

impl Default for Channel {
    fn default() -> Self {
        Self { next: 1, retained_max: 0, retained: VecDeque::new(), subscribers: BTreeMap::new() }
    }
}

impl Publications {
    pub(super) fn has(&self, channel: &ChannelName) -> bool {
        self.channels.contains_key(channel)
    }

    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Opens a channel, or changes what it retains.
    pub(super) fn open(&mut self, channel: &ChannelName, retained: u32) {
        let channel = self.channel(channel);
        channel.retained_max = retained.min(RETAINED_MAX);
        channel.forget_old();
    }

    fn channel(&mut self, name: &ChannelName) -> &mut Channel {
        if !self.channels.contains_key(name) {
            self.channels.insert(name.clone(), Channel::default());
        }
        self.channels.entry(name.clone()).or_default()
    }

    /// Publishes: everyone who may get it is sent it.
    pub(super) fn publish(&mut self, name: &ChannelName, payload: Bytes, words: &mut Words) {
        let channel = self.channel(name);
        let number = channel.next;
        channel.next += 1;
        channel.retained.push_back(payload);
        let mut same = None;
        let Channel { retained, subscribers, next, .. } = channel;
        for (subscriber, state) in subscribers {
            // Most are up to date, and what they are sent is the same bytes.
            if state.cursor == number && state.has_room() {
                let message = same.get_or_insert_with(|| message(name, retained, *next, number, 0));
                state.sent(number);
                words.push((*subscriber, message.clone()));
            } else {
                state.push_on(name, retained, *next, *subscriber, words);
            }
        }
        channel.forget_old();
    }

    /// Somebody wants to listen.
    pub(super) fn subscribe(
        &mut self,
        from: EntityId,
        name: ChannelName,
        subscription: u64,
        (hearing, start): (Hearing, Start),
        words: &mut Words,
    ) {
        let channel = self.channels.get_mut(&name);
        match channel.ok_or(SubscribeRefusal::NoChannel).and_then(|channel| {
            let next = channel.admit(from, hearing, start)?;
            Ok((channel, next))
        }) {
            Ok((channel, next)) => {
                let word = ChannelWord::Subscribed { channel: name.clone(), subscription, next };
                words.push((from, word.to_payload()));
                channel.push_on(&name, from, words);
            }
            Err(refusal) => {
                let word = ChannelWord::Refused { channel: name, subscription, refusal };
                words.push((from, word.to_payload()));
            }
        }
    }

    /// Somebody does not want to listen any more.
    pub(super) fn unsubscribe(
        &mut self,
        from: EntityId,
        name: ChannelName,
        subscription: u64,
        words: &mut Words,
    ) {
        if let Some(channel) = self.channels.get_mut(&name) {
            channel.subscribers.remove(&from);
        }
        let word = ChannelWord::Unsubscribed { channel: name, subscription };
        words.push((from, word.to_payload()));
    }

    /// Somebody is gone for good, from every channel.
    pub(super) fn dismiss(&mut self, subscriber: &EntityId) {
        for channel in self.channels.values_mut() {
            channel.subscribers.remove(subscriber);
        }
    }

    /// Somebody has heard so many more messages.
    pub(super) fn credit(
        &mut self,
        from: EntityId,
        name: &ChannelName,
        count: u32,
        words: &mut Words,
    ) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let Some(subscriber) = channel.subscribers.get_mut(&from) else { return };
        subscriber.under_way = subscriber.under_way.saturating_sub(count);
        channel.push_on(name, from, words);
    }

    /// A bug: nobody listens.
    pub(super) fn forget_rosters(&mut self) {
        self.channels.values_mut().for_each(|channel| channel.subscribers.clear());
    }

    pub(super) fn list(&self) -> Vec<Publication> {
        let list = self.channels.iter().map(|(name, channel)| Publication {
            channel: name.clone(),
            next: channel.next,
            retained: channel.retained.len(),
            subscribers: channel.subscribers.keys().copied().collect(),
        });
        list.collect()
    }

    pub(super) fn is_sound(&self) -> bool {
        self.channels.len() <= CHANNELS_MAX && self.channels.values().all(Channel::is_sound)
    }
}

impl Channel {
    /// Takes a subscriber into the roster; gives the number of the message that it gets first.
    fn admit(
        &mut self,
        from: EntityId,
        hearing: Hearing,
        start: Start,
    ) -> Result<u64, SubscribeRefusal> {
        if !is_hearing(hearing) {
            return Err(SubscribeRefusal::Window);
        }
        if !self.subscribers.contains_key(&from) && self.subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(SubscribeRefusal::Full);
        }
        let cursor = match start {
            Start::Next => self.next,
            Start::Retained => first(&self.retained, self.next),
            // What is gone is told by where it begins, and not with a message that may never come.
            Start::After(number) => {
                number.saturating_add(1).clamp(first(&self.retained, self.next), self.next)
            }
        };
        self.subscribers.insert(from, Subscriber { hearing, cursor, under_way: 0 });
        Ok(cursor)
    }

    fn push_on(&mut self, name: &ChannelName, to: EntityId, words: &mut Words) {
        let Self { retained, subscribers, next, .. } = self;
        if let Some(subscriber) = subscribers.get_mut(&to) {
            subscriber.push_on(name, retained, *next, to, words);
        }
    }

    fn forget_old(&mut self) {
        let mut bytes: usize = self.retained.iter().map(Bytes::len).sum();
        while self.retained.len() > self.retained_max as usize || bytes > RETAINED_BYTES_MAX {
            let Some(oldest) = self.retained.pop_front() else { break };
            bytes -= oldest.len();
        }
    }

    fn is_sound(&self) -> bool {
        let bytes: usize = self.retained.iter().map(Bytes::len).sum();
        let subscriber = |subscriber: &Subscriber| {
            is_hearing(subscriber.hearing)
                && subscriber.cursor <= self.next
                && subscriber.under_way <= HEARING_WINDOW_MAX
        };
        self.next > self.retained.len() as u64
            && self.retained_max <= RETAINED_MAX
            && self.retained.len() <= self.retained_max as usize
            && self.retained.iter().all(|payload| payload.len() <= MESSAGE_BYTES_MAX)
            && bytes <= RETAINED_BYTES_MAX
            && self.subscribers.len() <= SUBSCRIBERS_MAX
            && self.subscribers.values().all(subscriber)
    }
}

impl Subscriber {
    fn has_room(&self) -> bool {
        match self.hearing {
            Hearing::All => true,
            Hearing::Recent { window } => self.under_way < window,
        }
    }

    fn sent(&mut self, number: u64) {
        self.cursor = number + 1;
        if let Hearing::Recent { .. } = self.hearing {
            self.under_way += 1;
        }
    }

    /// Sends what there is and may be sent. What is not retained is left out.
    fn push_on(
        &mut self,
        name: &ChannelName,
        retained: &VecDeque<Bytes>,
        next: u64,
        to: EntityId,
        words: &mut Words,
    ) {
        let oldest = first(retained, next);
        while self.has_room() {
            let number = self.cursor.max(oldest);
            if number >= next {
                return;
            }
            let omitted = number - self.cursor;
            words.push((to, message(name, retained, next, number, omitted)));
            self.sent(number);
            if Mutant::WindowInNumbers.is_on() && self.hearing != Hearing::All {
                self.under_way = self.under_way.saturating_add(u32::try_from(omitted).unwrap_or(0));
            }
        }
    }
}

const fn is_hearing(hearing: Hearing) -> bool {
    match hearing {
        Hearing::All => true,
        Hearing::Recent { window } => 2 <= window && window <= HEARING_WINDOW_MAX,
    }
}

/// The number of the oldest message that is kept.
fn first(retained: &VecDeque<Bytes>, next: u64) -> u64 {
    next - retained.len() as u64
}

/// The word that carries a message which is kept.
fn message(
    name: &ChannelName,
    retained: &VecDeque<Bytes>,
    next: u64,
    number: u64,
    omitted: u64,
) -> Bytes {
    let place = usize::try_from(number - first(retained, next)).unwrap_or(usize::MAX);
    let payload = retained.get(place).cloned().unwrap_or_default();
    ChannelWord::Message { channel: name.clone(), number, omitted, payload }.to_payload()
}
