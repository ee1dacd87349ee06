//! Decides how a turn goes whose event is a word about a channel: first the rosters and ledgers
//! change, then the body is told, then everything leaves in one chain.
//!
//! A word counts as heard whatever the body makes of it; if the body panics on a message, the host
//! is spoilt and the word comes again as a poisoned one, which changes the ledger and is not told.

use whimbrel_wire::{
    CausalEvent, ChannelWord, Hearing, Permit, Sender, SubscriptionBinding, SubscriptionState, Time,
};

use super::{Host, HostError, POISONED, Turned};
use crate::body::Input;
use crate::channels::{Channels, Effect, News, Publication, Wish, Words};

/// What is answered to a word that is none.
const BROKEN: &str = "this is marked as a word about a channel and is none";

impl Host {
    /// Takes a word from `sender`, who is no client. It is `shown` to the body unless that panicked on
    /// it before.
    pub(super) fn hear(
        &mut self,
        now: Time,
        sender: Sender,
        event: &CausalEvent,
        shown: bool,
    ) -> Result<Turned, HostError> {
        let effect = match ChannelWord::of(&event.payload) {
            Some(ChannelWord::Plain(payload)) if shown => {
                let event = CausalEvent { link: event.link, payload };
                return self.give(now, Some(sender), Input::Event(&event));
            }
            Some(ChannelWord::Plain(_)) => return Ok(self.decline(now, POISONED.to_owned())),
            Some(word) => {
                let channels = self.channels.get_or_insert_default();
                match sender {
                    Sender::Daemon(from) => channels.hear(from, word, event),
                    Sender::Host => channels.obey(self.entity, word),
                    Sender::Client { .. } => Err(BROKEN),
                }
            }
            None => Err(BROKEN),
        };
        match effect {
            Ok(Effect { words, news: Some(news), .. }) if shown => self.tell(now, &news, words),
            Ok(Effect { news: Some(_), words, .. }) => {
                let mut turned = self.decline(now, POISONED.to_owned());
                self.chain_words(words, &mut turned);
                Ok(turned)
            }
            Ok(Effect { words, answer, news: None }) => {
                Ok(self.put_out(now, answer.into_iter().collect(), words))
            }
            Err(reason) => Ok(self.decline(now, reason.to_owned())),
        }
    }

    fn tell(&mut self, now: Time, news: &News, words: Words) -> Result<Turned, HostError> {
        match self.process(now, None, Input::News(news)) {
            Ok(Ok(answers)) => {
                self.check(&answers)?;
                Ok(self.put_out(now, answers, words))
            }
            Ok(Err(error)) => {
                self.desk.clear();
                let mut turned = self.decline(now, error.into_reason());
                self.chain_words(words, &mut turned);
                Ok(turned)
            }
            Err(error) => Err(self.spoil(error)),
        }
    }

    /// What the host itself says, in a turn that was declined.
    fn chain_words(&mut self, words: Words, turned: &mut Turned) {
        for (to, payload) in words {
            let event = self.chain(payload);
            turned.sent.push((to, event));
        }
        turned.head = self.head;
    }

    /// Does what the body asked of its channels.
    pub(super) fn grant(&mut self, words: &mut Words) {
        let mut wishes = std::mem::take(&mut self.desk.wishes);
        let channels = self.channels.get_or_insert_default();
        for wish in wishes.drain(..) {
            channels.grant(self.entity, self.time, wish, words);
        }
        self.desk.wishes = wishes;
    }

    /// What the body may listen to by itself; none where that is everything.
    #[must_use]
    pub fn permits(&self) -> Option<&[Permit]> {
        self.channels.as_deref()?.permits.as_deref()
    }

    /// Says so to a newborn, before its first capture. Later it is told by a turn.
    pub fn permit(&mut self, permits: Option<Vec<Permit>>) {
        if permits.is_some() || self.permits().is_some() {
            self.channels.get_or_insert_default().permits = permits;
        }
    }

    pub(super) fn exceeded_channels(&self, wishes: &[Wish]) -> Option<super::Limit> {
        if wishes.is_empty() {
            return None;
        }
        Channels::exceeded(self.channels.as_deref(), wishes)
    }

    /// The channels that it listens to.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionBinding> {
        self.channels.as_deref().map(Channels::subscriptions).unwrap_or_default()
    }

    /// How one subscription stands.
    #[must_use]
    pub fn subscription(&self, binding: &SubscriptionBinding) -> SubscriptionState {
        let channels = self.channels.as_deref();
        channels.map_or(SubscriptionState::Nothing, |channels| channels.subscription(binding))
    }

    /// How it listens to a channel, if it does or asked to.
    #[must_use]
    pub fn hearing(&self, binding: &SubscriptionBinding) -> Option<Hearing> {
        self.channels.as_deref()?.hearing(binding)
    }

    /// The channels on which it publishes.
    #[must_use]
    pub fn publications(&self) -> Vec<Publication> {
        self.channels.as_deref().map(Channels::publications).unwrap_or_default()
    }
}
