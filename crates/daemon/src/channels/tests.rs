//! Two sides of a channel, without hosts between them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use whimbrel_wire::limits::{HEARING_WINDOW_MAX, PERMITS_MAX};
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelPattern, ChannelWord, EntityId, Hearing, OriginHash, Permit,
    Start, SubscribeRefusal, SubscriptionBinding, SubscriptionState, Time, decode, encode,
};

use super::{Channels, News, Wish, Words};
use crate::limits::{CHANNELS_MAX, RETAINED_BYTES_MAX, RETAINED_MAX, SUBSCRIBERS_MAX};

const PUBLISHER: EntityId = EntityId::from_bytes([9; 32]);

fn subscriber(index: u8) -> EntityId {
    EntityId::from_bytes([index; 32])
}

fn name() -> ChannelName {
    ChannelName::new("birds").unwrap()
}

/// A publisher and its subscribers, with a line in order each way between any two.
#[derive(Default)]
struct Aviary {
    sides: BTreeMap<EntityId, Channels>,
    lines: BTreeMap<(EntityId, EntityId), VecDeque<Bytes>>,
    /// What the bodies heard: number, how many were missed, and what.
    heard: BTreeMap<EntityId, Vec<(u64, u64, Bytes)>>,
    /// What else they were told.
    told: BTreeMap<EntityId, Vec<News>>,
    published: u64,
}

impl Aviary {
    fn say(&mut self, to: EntityId, word: ChannelWord) -> Option<SubscriptionState> {
        let side = self.sides.entry(to).or_default();
        let effect = side.obey(to, word).unwrap();
        self.send(to, effect.words);
        effect.answer.map(|answer| decode(&answer).unwrap())
    }

    fn send(&mut self, from: EntityId, words: Words) {
        for (to, payload) in words {
            self.lines.entry((from, to)).or_default().push_back(payload);
        }
    }

    fn open(&mut self, retained: u32) {
        self.say(PUBLISHER, ChannelWord::Open { channel: name(), retained });
    }

    fn publish(&mut self) {
        self.published += 1;
        let payload = self.published.to_string().into();
        self.say(PUBLISHER, ChannelWord::Publish { channel: name(), payload });
    }

    fn join(&mut self, who: EntityId, hearing: Hearing, start: Start) -> SubscriptionState {
        let word = ChannelWord::Join { publisher: PUBLISHER, channel: name(), hearing, start };
        self.say(who, word).unwrap()
    }

    /// The body of `who` wants to listen, at this second of its time.
    fn wish(&mut self, who: EntityId, second: u64) {
        let wish = Wish::Join {
            publisher: PUBLISHER,
            channel: name(),
            hearing: Hearing::All,
            start: Start::Next,
        };
        let mut words = Words::new();
        let now = Time::from_nanos(second * 1_000_000_000);
        self.sides.entry(who).or_default().grant(who, now, wish, &mut words);
        self.send(who, words);
    }

    fn leave(&mut self, who: EntityId) -> SubscriptionState {
        self.say(who, ChannelWord::Leave { publisher: PUBLISHER, channel: name() }).unwrap()
    }

    fn ask(&mut self, who: EntityId) -> SubscriptionState {
        self.say(who, ChannelWord::Ask { publisher: PUBLISHER, channel: name() }).unwrap()
    }

    /// Carries everything, both ways.
    fn carry_between(&mut self, one: EntityId, other: EntityId) {
        while self.carry(one, other) || self.carry(other, one) {}
    }

    /// Carries the oldest word from one to the other. False if there is none.
    fn carry(&mut self, from: EntityId, to: EntityId) -> bool {
        let Some(payload) = self.lines.entry((from, to)).or_default().pop_front() else {
            return false;
        };
        let event = CausalEvent::unchained(OriginHash::new(1), 1, payload);
        let word = ChannelWord::of(&event.payload).unwrap();
        let effect = self.sides.entry(to).or_default().hear(from, word, &event).unwrap();
        match effect.news {
            Some(News::Message { number, missed, event, .. }) => {
                self.heard.entry(to).or_default().push((number, missed, event.payload));
            }
            Some(news) => self.told.entry(to).or_default().push(news),
            None => {}
        }
        self.send(to, effect.words);
        true
    }

    /// Carries everything.
    fn settle(&mut self) {
        loop {
            let full = self.lines.iter().filter(|(_, line)| !line.is_empty());
            let Some((from, to)) = full.map(|(ends, _)| *ends).next() else { return };
            self.carry(from, to);
        }
    }

    fn numbers(&self, who: EntityId) -> Vec<u64> {
        let heard = self.heard.get(&who).into_iter().flatten();
        heard.map(|(number, ..)| *number).collect()
    }

    /// What a body heard is what was published, in order, each once, and what is missing is told (C1).
    fn each_once(&self, who: EntityId, first: u64) {
        let mut next = first;
        for (number, missed, payload) in self.heard.get(&who).into_iter().flatten() {
            assert_eq!(*number, next + missed, "after {next}");
            assert_eq!(payload, &number.to_string());
            next = number + 1;
        }
    }

    fn under_way(&self, to: EntityId) -> usize {
        self.lines.get(&(PUBLISHER, to)).map_or(0, |line| {
            let message = |payload: &&Bytes| {
                matches!(ChannelWord::of(payload), Some(ChannelWord::Message { .. }))
            };
            line.iter().filter(message).count()
        })
    }
}

#[test]
fn a_subscription_is_in_the_ledger_once_the_publisher_agreed() {
    let mut aviary = Aviary::default();
    let who = subscriber(1);
    aviary.open(0);
    assert_eq!(aviary.join(who, Hearing::All, Start::Next), SubscriptionState::Asked);
    assert!(aviary.sides[&who].subscriptions().is_empty());
    aviary.settle();
    assert_eq!(aviary.ask(who), SubscriptionState::Live { next: 1 });
    let binding = SubscriptionBinding { publisher: PUBLISHER, channel: name() };
    assert_eq!(aviary.sides[&who].subscriptions(), [binding]);
    assert_eq!(aviary.sides[&PUBLISHER].publications()[0].subscribers, [who]);
    aviary.publish();
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.numbers(who), [1, 2]);
    aviary.each_once(who, 1);
}

#[test]
fn a_refusal_leaves_the_ledger_as_it_was() {
    let mut aviary = Aviary::default();
    let who = subscriber(1);
    aviary.join(who, Hearing::All, Start::Next);
    aviary.settle();
    assert!(aviary.sides[&who].subscriptions().is_empty());
    let refused = SubscriptionState::Refused(SubscribeRefusal::NoChannel);
    assert_eq!(aviary.ask(who), refused);
    assert_eq!(aviary.ask(who), SubscriptionState::Nothing);
    aviary.open(0);
    for (hearing, refusal) in [
        (Hearing::Recent { window: 1 }, SubscribeRefusal::Window),
        (Hearing::Recent { window: HEARING_WINDOW_MAX + 1 }, SubscribeRefusal::Window),
    ] {
        aviary.join(who, hearing, Start::Next);
        aviary.settle();
        assert_eq!(aviary.ask(who), SubscriptionState::Refused(refusal));
    }
    let own = ChannelWord::Join {
        publisher: who,
        channel: name(),
        hearing: Hearing::All,
        start: Start::Next,
    };
    let itself = SubscriptionState::Refused(SubscribeRefusal::Itself);
    assert_eq!(aviary.say(who, own), Some(itself));
}

#[test]
fn a_channel_takes_so_many_subscribers_and_no_more() {
    let mut aviary = Aviary::default();
    aviary.open(0);
    let many = |index: usize| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&u16::try_from(index).unwrap().to_le_bytes());
        EntityId::from_bytes(bytes)
    };
    for index in 0..=SUBSCRIBERS_MAX {
        aviary.join(many(index), Hearing::All, Start::Next);
    }
    aviary.settle();
    let states: Vec<SubscriptionState> =
        (0..=SUBSCRIBERS_MAX).map(|index| aviary.ask(many(index))).collect();
    let full = SubscriptionState::Refused(SubscribeRefusal::Full);
    assert_eq!(states.iter().filter(|state| **state == full).count(), 1);
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.heard.len(), SUBSCRIBERS_MAX);
}

#[test]
fn who_comes_late_hears_what_is_retained() {
    let mut aviary = Aviary::default();
    aviary.open(3);
    for _ in 0..5 {
        aviary.publish();
    }
    aviary.join(subscriber(1), Hearing::All, Start::Retained);
    aviary.join(subscriber(2), Hearing::All, Start::After(3));
    aviary.join(subscriber(3), Hearing::All, Start::After(1));
    aviary.join(subscriber(4), Hearing::All, Start::After(99));
    aviary.settle();
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.numbers(subscriber(1)), [3, 4, 5, 6]);
    assert_eq!(aviary.numbers(subscriber(2)), [4, 5, 6]);
    assert_eq!(aviary.numbers(subscriber(3)), [3, 4, 5, 6]);
    assert_eq!(aviary.heard[&subscriber(3)][0].1, 0, "that 2 is missing was told at the beginning");
    assert_eq!(aviary.numbers(subscriber(4)), [6]);
}

#[test]
fn what_is_missing_is_said_at_once() {
    let mut aviary = Aviary::default();
    aviary.open(0);
    aviary.publish();
    aviary.publish();
    let who = subscriber(1);
    aviary.join(who, Hearing::All, Start::After(0));
    aviary.settle();
    assert_eq!(aviary.ask(who), SubscriptionState::Live { next: 3 });
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.heard[&who], [(3, 0, Bytes::from("3"))]);
}

#[test]
fn a_channel_retains_within_its_bounds() {
    let mut aviary = Aviary::default();
    aviary.open(u32::MAX);
    for _ in 0..RETAINED_MAX + 10 {
        aviary.publish();
    }
    let retained = |aviary: &Aviary| aviary.sides[&PUBLISHER].publications()[0].retained;
    assert_eq!(retained(&aviary), RETAINED_MAX as usize);
    let payload = Bytes::from(vec![0; 30_000]);
    for _ in 0..40 {
        let payload = payload.clone();
        aviary.say(PUBLISHER, ChannelWord::Publish { channel: name(), payload });
    }
    assert_eq!(retained(&aviary), RETAINED_BYTES_MAX / 30_000);
    aviary.open(2);
    assert_eq!(retained(&aviary), 2);
}

#[test]
fn messages_come_until_the_publisher_has_heard_of_the_end() {
    let mut aviary = Aviary::default();
    let who = subscriber(1);
    aviary.open(0);
    aviary.join(who, Hearing::All, Start::Next);
    aviary.settle();
    aviary.publish();
    assert_eq!(aviary.leave(who), SubscriptionState::Leaving { next: Some(1) });
    aviary.publish();
    aviary.settle();
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.numbers(who), [1, 2]);
    assert_eq!(aviary.ask(who), SubscriptionState::Nothing);
    assert!(aviary.sides[&PUBLISHER].publications()[0].subscribers.is_empty());
}

/// The answers to an earlier subscription, and its messages, are not taken for those of a later one.
#[test]
fn a_subscription_that_begins_anew_takes_no_old_news() {
    let mut aviary = Aviary::default();
    let who = subscriber(1);
    aviary.open(8);
    aviary.join(who, Hearing::All, Start::Next);
    aviary.leave(who);
    aviary.join(who, Hearing::All, Start::Next);
    assert_eq!(aviary.ask(who), SubscriptionState::Asked);
    // The publisher hears the first of these, publishes, and hears the others.
    aviary.carry(who, PUBLISHER);
    aviary.publish();
    aviary.settle();
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.ask(who), SubscriptionState::Live { next: 3 });
    assert_eq!(aviary.numbers(who), [2]);
}

#[test]
fn a_slow_subscriber_is_told_what_it_missed() {
    let mut aviary = Aviary::default();
    let who = subscriber(1);
    aviary.open(2);
    aviary.join(who, Hearing::Recent { window: 4 }, Start::Next);
    aviary.settle();
    for _ in 0..10 {
        aviary.publish();
    }
    assert_eq!(aviary.under_way(who), 4);
    aviary.settle();
    // 9 and 10 were retained until there was room, 5 to 8 were not.
    assert_eq!(aviary.numbers(who), [1, 2, 3, 4, 9, 10]);
    aviary.publish();
    aviary.settle();
    assert_eq!(aviary.numbers(who), [1, 2, 3, 4, 9, 10, 11]);
    aviary.each_once(who, 1);
}

#[test]
fn what_a_daemon_says_itself_is_never_a_word() {
    let forged = ChannelWord::Unsubscribe { channel: name(), subscription: 1 }.to_payload();
    let escaped = ChannelWord::escape(forged.clone());
    assert_eq!(ChannelWord::of(&escaped), Some(ChannelWord::Plain(forged)));
    let plain = Bytes::from_static(b"plain");
    assert_eq!(ChannelWord::escape(plain.clone()), plain);
    let mut side = Channels::default();
    let event = CausalEvent::unchained(OriginHash::new(1), 1, plain);
    let open = ChannelWord::Open { channel: name(), retained: 0 };
    assert!(side.hear(PUBLISHER, open, &event).is_err());
    assert!(side.obey(PUBLISHER, ChannelWord::Heard { channel: name(), count: 1 }).is_err());
    assert_eq!(side, Channels::default());
}

#[test]
fn what_is_kept_is_read_again_and_vetted() {
    let mut aviary = Aviary::default();
    aviary.open(3);
    aviary.join(subscriber(1), Hearing::Recent { window: 8 }, Start::Next);
    aviary.settle();
    for _ in 0..5 {
        aviary.publish();
    }
    aviary.settle();
    for side in aviary.sides.values() {
        let back: Channels = decode(&encode(side)).unwrap();
        assert_eq!(back, *side);
        assert!(back.is_sound());
    }
    let mut crowded = Channels::default();
    for index in 0..=CHANNELS_MAX {
        crowded.published.open(&ChannelName::new(index.to_string()).unwrap(), 0);
    }
    assert!(!crowded.is_sound());
}

proptest! {
    /// Whatever is carried when: all is told to those who hear all (C2), at most a window is under way to
    /// the others (C3), each message comes once and in order, and gaps are stated (C1).
    #[test]
    fn each_once_all_told_and_bounded(
        retained in 0_u32..6,
        window in 2_u32..7,
        steps in proptest::collection::vec(0_u8..8, 1..200),
    ) {
        let mut aviary = Aviary::default();
        let (all, recent) = (subscriber(1), subscriber(2));
        aviary.open(retained);
        aviary.join(all, Hearing::All, Start::Next);
        aviary.join(recent, Hearing::Recent { window }, Start::Next);
        aviary.settle();
        for step in steps {
            match step {
                0..=2 => aviary.publish(),
                3 => drop(aviary.carry(PUBLISHER, all)),
                4 | 5 => drop(aviary.carry(PUBLISHER, recent)),
                6 => drop(aviary.carry(recent, PUBLISHER)),
                _ => {
                    // A move: what is in memory is what was written down.
                    for side in aviary.sides.values_mut() {
                        *side = decode(&encode(side)).unwrap();
                        prop_assert!(side.is_sound());
                    }
                }
            }
            prop_assert!(aviary.under_way(recent) <= window as usize, "more than a window");
        }
        aviary.settle();
        aviary.publish();
        aviary.settle();
        aviary.each_once(all, 1);
        aviary.each_once(recent, 1);
        prop_assert_eq!(aviary.numbers(all), (1..=aviary.published).collect::<Vec<_>>());
        prop_assert_eq!(aviary.numbers(recent).last().copied(), Some(aviary.published), "it never catches up");
    }
}

#[test]
fn a_body_is_let_onto_a_roster_only_as_permitted() {
    let permit = |publisher, channel: &str, until| Permit {
        publishers: vec![publisher],
        channels: vec![ChannelPattern::new(channel).unwrap()],
        until,
    };
    let cases = [
        (None, true),
        (Some(vec![]), false),
        (Some(vec![permit(PUBLISHER, "birds", 10)]), true),
        (Some(vec![permit(PUBLISHER, "fish", 10), permit(PUBLISHER, "bi*", 10)]), true),
        (Some(vec![permit(PUBLISHER, "birds", 9)]), false),
        (Some(vec![permit(PUBLISHER, "fish", 10)]), false),
        (Some(vec![permit(subscriber(3), "birds", 10)]), false),
    ];
    for (permits, may) in cases {
        let mut aviary = Aviary::default();
        let who = subscriber(1);
        aviary.open(0);
        let effect =
            aviary.sides.entry(who).or_default().obey(who, ChannelWord::Permit { permits });
        assert_eq!(effect.unwrap().words, []);
        aviary.wish(who, 10);
        aviary.carry_between(who, PUBLISHER);
        let refusal = SubscribeRefusal::NotPermitted;
        let (publisher, channel) = (PUBLISHER, name());
        let told = if may {
            News::Subscribed { publisher, channel, next: 1 }
        } else {
            News::Refused { publisher, channel, refusal }
        };
        assert_eq!(aviary.told[&who], [told]);
        // Its host judges by itself.
        assert_eq!(aviary.join(who, Hearing::All, Start::Next) == SubscriptionState::Asked, !may);
    }
}

#[test]
fn permits_beyond_their_bounds_are_declined() {
    let permit = Permit { publishers: Vec::new(), channels: Vec::new(), until: 1 };
    let many = ChannelWord::Permit { permits: Some(vec![permit; PERMITS_MAX + 1]) };
    let mut channels = Channels::default();
    channels.obey(subscriber(1), many).unwrap_err();
    assert_eq!(channels.permits, None);
}
