//! Decides what a daemon publishes to whom and what it hears from whom: the rosters of its channels
//! and the ledger of its subscriptions.
//!
//! Both are state of the daemon, kept by its host: they change by turns alone, so a replay makes
//! them again and a move takes them along. A message is an output to each subscriber and an event
//! there, so what carries outputs between daemons (numbers, marks, outboxes, redirects) carries it too,
//! once and in order, wherever the two are. Nothing here knows of nodes.
//!
//! ```text
//! subscriber                                             publisher
//!   Join by host or body ── Subscribe{s} ──────────────▶   into the roster
//!   Asked                ◀──────── Subscribed{s, next} ──  (or Refused{s})
//!   Live{next}           ◀──────── Message next, next+1 …  at each publish
//!                        ── Heard{count} ──────────────▶   (only if it hears the recent ones)
//!   Leave                ── Unsubscribe{s} ────────────▶   out of the roster
//!   Leaving              ◀──────── Unsubscribed{s} ──────
//!   (nothing)
//! ```
//!
//! # Invariants
//!
//! * C1 (each once): the numbers of the messages that a body hears on one subscription rise, and what
//!   is missing between two is told with the later one.
//! * C2 (all told): a subscriber that hears all is sent each number from its first one on.
//! * C3 (bounded): to one that hears the recent ones at most its window is under way.
//! * C4 (permitted): on a mesh that gates channels, no body is let onto the roster of one that its permits do not
//!   cover at its own time.
//!
//! # Limits
//!
//! * [`CHANNELS_MAX`], [`SUBSCRIPTIONS_MAX`], [`PUBLISHED_PER_TURN_MAX`], [`MESSAGE_BYTES_MAX`]: a
//!   body that exceeds one has a bug; a host is told.
//! * [`SUBSCRIBERS_MAX`]: further ones are refused as *full*.
//! * [`RETAINED_MAX`], [`RETAINED_BYTES_MAX`]: what is older is forgotten.

mod news;
mod publications;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelWord, EntityId, Hearing, Permit, Start, SubscribeRefusal,
    SubscriptionBinding, SubscriptionState, Time, encode,
};

use crate::limits::{
    CHANNELS_MAX, MESSAGE_BYTES_MAX, PUBLISHED_PER_TURN_MAX, RETAINED_BYTES_MAX, RETAINED_MAX,
    SUBSCRIBERS_MAX, SUBSCRIPTIONS_MAX,
};

pub use news::{News, Publication};
use publications::Publications;
use subscriptions::Subscriptions;

/// What goes to other daemons.
pub(crate) type Words = Vec<(EntityId, Bytes)>;

/// All channels of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Channels {
    published: Publications,
    heard: Subscriptions,
    /// What the body may listen to by itself; all where nothing is gated. It is kept beside the rest: most
    /// daemons have none.
    #[serde(skip)]
    pub(crate) permits: Option<Vec<Permit>>,
}

/// What a body asked for during a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Open { channel: ChannelName, retained: u32 },
    Publish { channel: ChannelName, payload: Bytes },
    Join { publisher: EntityId, channel: ChannelName, hearing: Hearing, start: Start },
    Leave { publisher: EntityId, channel: ChannelName },
}

/// What a word brings about at the daemon that it reached.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) words: Words,
    pub(crate) news: Option<News>,
    /// The answer to a host.
    pub(crate) answer: Option<Bytes>,
}

/// Why a word was declined.
pub(crate) type Declined = &'static str;

const NOT_YOURS: Declined = "this word about a channel is not the sender's to say";

impl Channels {
    /// Another daemon said something.
    pub(crate) fn hear(
        &mut self,
        from: EntityId,
        word: ChannelWord,
        event: &CausalEvent,
    ) -> Result<Effect, Declined> {
        let mut effect = Effect::default();
        match word {
            ChannelWord::Subscribe { channel, subscription, hearing, start } => {
                self.published.subscribe(
                    from,
                    channel,
                    subscription,
                    (hearing, start),
                    &mut effect.words,
                );
            }
            ChannelWord::Unsubscribe { channel, subscription } => {
                self.published.unsubscribe(from, channel, subscription, &mut effect.words);
            }
            ChannelWord::Heard { channel, count } => {
                self.published.credit(from, &channel, count, &mut effect.words);
            }
            ChannelWord::Unpermitted { channel, subscription } => {
                let refusal = SubscribeRefusal::NotPermitted;
                let word = ChannelWord::Refused { channel, subscription, refusal };
                effect.words.push((from, word.to_payload()));
            }
            ChannelWord::Subscribed { channel, subscription, next } => {
                effect.news = self.heard.subscribed(from, channel, subscription, next);
            }
            ChannelWord::Refused { channel, subscription, refusal } => {
                effect.news = self.heard.refused(from, channel, subscription, refusal);
            }
            ChannelWord::Unsubscribed { channel, subscription } => {
                effect.news = self.heard.unsubscribed(from, channel, subscription);
            }
            ChannelWord::Message { channel, number, payload, .. } => {
                let event = CausalEvent { link: event.link, payload };
                effect.news = self.heard.message(from, channel, number, event, &mut effect.words);
            }
            ChannelWord::Plain(_)
            | ChannelWord::Join { .. }
            | ChannelWord::Leave { .. }
            | ChannelWord::Ask { .. }
            | ChannelWord::Open { .. }
            | ChannelWord::Publish { .. }
            | ChannelWord::Dismiss { .. }
            | ChannelWord::Permit { .. } => return Err(NOT_YOURS),
        }
        Ok(effect)
    }

    /// The host of this daemon said something.
    pub(crate) fn obey(&mut self, own: EntityId, word: ChannelWord) -> Result<Effect, Declined> {
        let mut effect = Effect::default();
        match word {
            ChannelWord::Join { publisher, channel, hearing, start } => {
                if self.heard.len() >= SUBSCRIPTIONS_MAX {
                    return Err("the daemon has too many subscriptions");
                }
                let binding = SubscriptionBinding { publisher, channel };
                // The host has judged it.
                self.heard.join(own, &binding, (hearing, start), true, &mut effect.words);
                effect.answer = Some(self.answer(&binding));
            }
            ChannelWord::Leave { publisher, channel } => {
                let binding = SubscriptionBinding { publisher, channel };
                self.heard.leave(&binding, &mut effect.words);
                effect.answer = Some(self.answer(&binding));
            }
            ChannelWord::Ask { publisher, channel } => {
                let binding = SubscriptionBinding { publisher, channel };
                effect.answer = Some(self.answer(&binding));
                self.heard.told(&binding);
            }
            ChannelWord::Open { channel, retained } => {
                self.room_for(&channel)?;
                self.published.open(&channel, retained);
            }
            ChannelWord::Publish { channel, payload } => {
                self.room_for(&channel)?;
                if payload.len() > MESSAGE_BYTES_MAX {
                    return Err("the message is too long");
                }
                self.published.publish(&channel, payload, &mut effect.words);
            }
            ChannelWord::Dismiss { subscriber } => {
                self.published.dismiss(&subscriber);
            }
            ChannelWord::Permit { permits } => {
                if !permits.as_deref().is_none_or(Permit::are_bounded) {
                    return Err("there are too many permits");
                }
                self.permits = permits;
            }
            ChannelWord::Plain(_)
            | ChannelWord::Subscribe { .. }
            | ChannelWord::Subscribed { .. }
            | ChannelWord::Refused { .. }
            | ChannelWord::Unsubscribe { .. }
            | ChannelWord::Unsubscribed { .. }
            | ChannelWord::Message { .. }
            | ChannelWord::Heard { .. }
            | ChannelWord::Unpermitted { .. } => return Err(NOT_YOURS),
        }
        Ok(effect)
    }

    fn room_for(&self, channel: &ChannelName) -> Result<(), Declined> {
        if self.published.has(channel) || self.published.len() < CHANNELS_MAX {
            return Ok(());
        }
        Err("the daemon has too many channels")
    }

    fn answer(&self, binding: &SubscriptionBinding) -> Bytes {
        encode(&self.heard.state(binding)).into()
    }

    /// Which limit the wishes of a body exceed, if any.
    pub(crate) fn exceeded(channels: Option<&Self>, wishes: &[Wish]) -> Option<crate::host::Limit> {
        use crate::host::Limit;
        let published = wishes.iter().filter_map(|wish| match wish {
            Wish::Publish { payload, .. } => Some(payload.len()),
            Wish::Open { .. } | Wish::Join { .. } | Wish::Leave { .. } => None,
        });
        if published.clone().count() > PUBLISHED_PER_TURN_MAX {
            return Some(Limit::Published);
        }
        if published.max().is_some_and(|longest| longest > MESSAGE_BYTES_MAX) {
            return Some(Limit::MessageBytes);
        }
        let mut fresh: Vec<&ChannelName> = wishes
            .iter()
            .filter_map(|wish| match wish {
                Wish::Publish { channel, .. } | Wish::Open { channel, .. } => Some(channel),
                Wish::Join { .. } | Wish::Leave { .. } => None,
            })
            .filter(|channel| !channels.is_some_and(|channels| channels.published.has(channel)))
            .collect();
        fresh.sort_unstable();
        fresh.dedup();
        if fresh.len() + channels.map_or(0, |channels| channels.published.len()) > CHANNELS_MAX {
            return Some(Limit::Channels);
        }
        let joins = wishes.iter().filter(|wish| matches!(wish, Wish::Join { .. })).count();
        let heard = channels.map_or(0, |channels| channels.heard.len());
        (joins > 0 && joins + heard > SUBSCRIPTIONS_MAX).then_some(Limit::Subscriptions)
    }

    /// Whether the body may listen to this by itself.
    fn may_join(&self, binding: &SubscriptionBinding, now: Time) -> bool {
        let SubscriptionBinding { publisher, channel } = binding;
        self.permits.as_ref().is_none_or(|permits| {
            permits.iter().any(|permit| permit.covers(publisher, channel, now))
        })
    }

    /// Does what a body asked for, at its own time `now`.
    pub(crate) fn grant(&mut self, own: EntityId, now: Time, wish: Wish, words: &mut Words) {
        match wish {
            Wish::Open { channel, retained } => self.published.open(&channel, retained),
            Wish::Publish { channel, payload } => self.published.publish(&channel, payload, words),
            Wish::Join { publisher, channel, hearing, start } => {
                let binding = SubscriptionBinding { publisher, channel };
                let may = self.may_join(&binding, now);
                self.heard.join(own, &binding, (hearing, start), may, words);
            }
            Wish::Leave { publisher, channel } => {
                self.heard.leave(&SubscriptionBinding { publisher, channel }, words);
            }
        }
    }

    /// The subscriptions that stand.
    pub(crate) fn subscriptions(&self) -> Vec<SubscriptionBinding> {
        self.heard.standing()
    }

    /// How one subscription stands.
    pub(crate) fn subscription(&self, binding: &SubscriptionBinding) -> SubscriptionState {
        self.heard.state(binding)
    }

    /// How it listens.
    pub(crate) fn hearing(&self, binding: &SubscriptionBinding) -> Option<Hearing> {
        self.heard.hearing(binding)
    }

    /// The channels on which it publishes.
    pub(crate) fn publications(&self) -> Vec<Publication> {
        self.published.list()
    }

    /// What of it is written down: all, but for a bug.
    pub(crate) fn written(&self) -> Cow<'_, Self> {
        let mut written = Cow::Borrowed(self);
        if Mutant::RosterLeftBehind.is_on() {
            written.to_mut().published.forget_rosters();
        }
        if Mutant::LedgerLeftBehind.is_on() {
            written.to_mut().heard = Subscriptions::default();
        }
        written
    }

    /// Whether what came from a peer or a disk is within the limits and agrees with itself.
    pub(crate) fn is_sound(&self) -> bool {
        let bounded = self.permits.as_deref().is_none_or(Permit::are_bounded);
        self.published.is_sound() && self.heard.is_sound() && bounded
    }
}

const _: () = assert!(RETAINED_BYTES_MAX >= MESSAGE_BYTES_MAX);
const _: () = assert!(RETAINED_MAX > 0 && SUBSCRIBERS_MAX > 0);
