//! Decides which channels a daemon listens to, and which message it is told next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelWord, EntityId, Hearing, Start, SubscribeRefusal,
    SubscriptionBinding, SubscriptionState,
};

use super::{News, Words};
use crate::limits::SUBSCRIPTIONS_MAX;

/// The ledger of what a daemon listens to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subscriptions {
    /// How often it ever subscribed: the number of its last subscription.
    count: u64,
    by: BTreeMap<SubscriptionBinding, Subscription>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subscription {
    number: u64,
    hearing: Hearing,
    state: SubscriptionState,
    /// Messages heard since the publisher was last told how many.
    untold: u32,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.by.len()
    }

    pub(super) fn state(&self, binding: &SubscriptionBinding) -> SubscriptionState {
        self.by.get(binding).map_or(SubscriptionState::Nothing, |subscription| subscription.state)
    }

    pub(super) fn hearing(&self, binding: &SubscriptionBinding) -> Option<Hearing> {
        self.by.get(binding).map(|subscription| subscription.hearing)
    }

    /// Subscribes, unless that stands or is on its way. Who may not has the publisher refuse it: so a refusal
    /// comes to the body as any other.
    pub(super) fn join(
        &mut self,
        own: EntityId,
        binding: &SubscriptionBinding,
        (hearing, start): (Hearing, Start),
        may: bool,
        words: &mut Words,
    ) {
        match self.state(binding) {
            SubscriptionState::Asked | SubscriptionState::Live { .. } => return,
            SubscriptionState::Leaving { .. }
            | SubscriptionState::Refused(_)
            | SubscriptionState::Nothing => {}
        }
        self.count += 1;
        let number = self.count;
        let state = if binding.publisher == own {
            SubscriptionState::Refused(SubscribeRefusal::Itself)
        } else {
            let channel = binding.channel.clone();
            let word = if may {
                ChannelWord::Subscribe { channel, subscription: number, hearing, start }
            } else {
                ChannelWord::Unpermitted { channel, subscription: number }
            };
            words.push((binding.publisher, word.to_payload()));
            SubscriptionState::Asked
        };
        self.by.insert(binding.clone(), Subscription { number, hearing, state, untold: 0 });
    }

    /// Unsubscribes. Messages still come until the publisher has said that it heard.
    pub(super) fn leave(&mut self, binding: &SubscriptionBinding, words: &mut Words) {
        let Some(subscription) = self.by.get_mut(binding) else { return };
        let next = match subscription.state {
            SubscriptionState::Asked => None,
            SubscriptionState::Live { next } => Some(next),
            SubscriptionState::Leaving { .. } => return,
            SubscriptionState::Refused(_) | SubscriptionState::Nothing => {
                self.by.remove(binding);
                return;
            }
        };
        subscription.state = SubscriptionState::Leaving { next };
        let (channel, subscription) = (binding.channel.clone(), subscription.number);
        let word = ChannelWord::Unsubscribe { channel, subscription };
        words.push((binding.publisher, word.to_payload()));
    }

    /// A refusal was told, and need not be kept.
    pub(super) fn told(&mut self, binding: &SubscriptionBinding) {
        if matches!(self.state(binding), SubscriptionState::Refused(_)) {
            self.by.remove(binding);
        }
    }

    /// The subscription that an answer is about; one to an earlier subscription is old news.
    fn asked(
        &mut self,
        publisher: EntityId,
        channel: &ChannelName,
        number: u64,
    ) -> Option<(SubscriptionBinding, &mut Subscription)> {
        let binding = SubscriptionBinding { publisher, channel: channel.clone() };
        let subscription = self.by.get_mut(&binding)?;
        let present = subscription.number == number || Mutant::OldAnswersBelieved.is_on();
        present.then_some((binding, subscription))
    }

    /// The publisher took the subscription.
    pub(super) fn subscribed(
        &mut self,
        publisher: EntityId,
        channel: ChannelName,
        number: u64,
        next: u64,
    ) -> Option<News> {
        let (_, subscription) = self.asked(publisher, &channel, number)?;
        match subscription.state {
            SubscriptionState::Asked => subscription.state = SubscriptionState::Live { next },
            SubscriptionState::Leaving { next: None } => {
                subscription.state = SubscriptionState::Leaving { next: Some(next) };
            }
            SubscriptionState::Live { .. }
            | SubscriptionState::Leaving { next: Some(_) }
            | SubscriptionState::Refused(_)
            | SubscriptionState::Nothing => return None,
        }
        Some(News::Subscribed { publisher, channel, next })
    }

    /// The publisher refused the subscription.
    pub(super) fn refused(
        &mut self,
        publisher: EntityId,
        channel: ChannelName,
        number: u64,
        refusal: SubscribeRefusal,
    ) -> Option<News> {
        let (_, subscription) = self.asked(publisher, &channel, number)?;
        match subscription.state {
            SubscriptionState::Asked => {
                subscription.state = SubscriptionState::Refused(refusal);
                Some(News::Refused { publisher, channel, refusal })
            }
            // It ends as any other that was left.
            SubscriptionState::Leaving { .. }
            | SubscriptionState::Live { .. }
            | SubscriptionState::Refused(_)
            | SubscriptionState::Nothing => None,
        }
    }

    /// The publisher ended the subscription.
    pub(super) fn unsubscribed(
        &mut self,
        publisher: EntityId,
        channel: ChannelName,
        number: u64,
    ) -> Option<News> {
        let (binding, subscription) = self.asked(publisher, &channel, number)?;
        if !matches!(subscription.state, SubscriptionState::Leaving { .. }) {
            return None;
        }
        self.by.remove(&binding);
        Some(News::Unsubscribed { publisher, channel })
    }

    /// A message came.
    pub(super) fn message(
        &mut self,
        publisher: EntityId,
        channel: ChannelName,
        number: u64,
        event: CausalEvent,
        words: &mut Words,
    ) -> Option<News> {
        let binding = SubscriptionBinding { publisher, channel };
        let subscription = self.by.get_mut(&binding)?;
        let next = match &mut subscription.state {
            SubscriptionState::Live { next } | SubscriptionState::Leaving { next: Some(next) } => {
                next
            }
            SubscriptionState::Asked
            | SubscriptionState::Leaving { next: None }
            | SubscriptionState::Refused(_)
            | SubscriptionState::Nothing => return None,
        };
        let missed = number.checked_sub(*next)?;
        *next = number.checked_add(1)?;
        subscription.tell(&binding, words);
        let SubscriptionBinding { publisher, channel } = binding;
        Some(News::Message { publisher, channel, number, missed, event })
    }

    /// What stands.
    pub(super) fn standing(&self) -> Vec<SubscriptionBinding> {
        let stands = |subscription: &Subscription| match subscription.state {
            SubscriptionState::Live { .. } | SubscriptionState::Leaving { .. } => true,
            SubscriptionState::Asked
            | SubscriptionState::Refused(_)
            | SubscriptionState::Nothing => false,
        };
        let standing = self.by.iter().filter(|(_, subscription)| stands(subscription));
        standing.map(|(binding, _)| binding.clone()).collect()
    }

    pub(super) fn is_sound(&self) -> bool {
        self.by.len() <= SUBSCRIPTIONS_MAX
            && self.by.values().all(|subscription| {
                subscription.number <= self.count
                    && subscription.state != SubscriptionState::Nothing
            })
    }
}

impl Subscription {
    /// Tells the publisher, now and then, how many messages were heard, if it waits for that.
    fn tell(&mut self, binding: &SubscriptionBinding, words: &mut Words) {
        let Hearing::Recent { window } = self.hearing else { return };
        self.untold += 1;
        if self.untold >= window / 2 {
            let channel = binding.channel.clone();
            let word = ChannelWord::Heard { channel, count: self.untold };
            words.push((binding.publisher, word.to_payload()));
            self.untold = 0;
        }
    }
}
