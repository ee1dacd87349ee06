//! Decides how often events that this node sent were sent on to another node before they were taken.
//!
//! An event is sent on when its receiver has moved: the node that it came to says who owns the daemon by
//! which deed, and it goes out again; or that node held it while the daemon left, and passes it on itself. In
//! that case the answer carries the deed that the sender did not know.
//!
//! # Limits
//!
//! * [`UNDER_WAY_MAX`] events that were sent on are followed at a time. Further ones are counted in
//!   [`RouteStatistics::untold`] and not followed.
//! * [`FORWARDS_COUNTED`]: more often than this is counted as this often.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use whimbrel_wire::{DeliveryMessage, EntityId, Message, Refusal, Sender};

use crate::core::lock;

/// The last column of the distribution.
pub const FORWARDS_COUNTED: usize = 7;

/// Events that are followed at a time.
const UNDER_WAY_MAX: usize = 65_536;

/// How often events of this node were sent on until they were taken, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteStatistics {
    /// Answers to events, by how often the event was sent on; the last one stands for more, too. An event
    /// that is answered twice is counted twice, the second time as not sent on.
    pub delivered: [u64; FORWARDS_COUNTED + 1],
    /// Times that an event was sent on and not followed.
    pub untold: u64,
}

/// One event of one sender.
type Letter = (EntityId, Sender, u64);

/// Events on their way.
#[derive(Default)]
pub(crate) struct Routes {
    delivered: [AtomicU64; FORWARDS_COUNTED + 1],
    untold: AtomicU64,
    /// How many there are below, so that most answers need no lock.
    astray: AtomicUsize,
    forwards: Mutex<HashMap<Letter, usize>>,
}

impl Routes {
    /// Takes note of what this node is told about its events.
    pub(crate) fn hear(&self, message: &Message) {
        let Message::Delivery { entity, message } = message else { return };
        match message {
            DeliveryMessage::Refused { sender, number, refusal } if is_redirect(refusal) => {
                self.sent_on((*entity, *sender, *number));
            }
            DeliveryMessage::Delivered { sender, number, deed, .. } => {
                self.taken(&(*entity, *sender, *number), deed.is_some());
            }
            DeliveryMessage::Refused { .. }
            | DeliveryMessage::OpenSession { .. }
            | DeliveryMessage::SessionOpened { .. }
            | DeliveryMessage::SessionRefused { .. }
            | DeliveryMessage::Deliver { .. } => {}
        }
    }

    fn sent_on(&self, letter: Letter) {
        let mut forwards = lock(&self.forwards);
        if forwards.len() >= UNDER_WAY_MAX && !forwards.contains_key(&letter) {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *forwards.entry(letter).or_insert(0) += 1;
        self.astray.store(forwards.len(), Ordering::Release);
    }

    fn taken(&self, letter: &Letter, was_held: bool) {
        let mut count = usize::from(was_held);
        if self.astray.load(Ordering::Acquire) > 0 {
            let mut forwards = lock(&self.forwards);
            count += forwards.remove(letter).unwrap_or(0);
            self.astray.store(forwards.len(), Ordering::Release);
        }
        self.delivered[count.min(FORWARDS_COUNTED)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> RouteStatistics {
        let mut delivered = [0; FORWARDS_COUNTED + 1];
        for (count, counter) in delivered.iter_mut().zip(&self.delivered) {
            *count = counter.load(Ordering::Relaxed);
        }
        RouteStatistics { delivered, untold: self.untold.load(Ordering::Relaxed) }
    }
}

const fn is_redirect(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Moved(_) | Refusal::NotHere)
}

#[cfg(test)]
mod tests {
    use whimbrel_wire::Answer;

    use super::*;

    fn hear(routes: &Routes, message: DeliveryMessage) {
        routes.hear(&Message::Delivery { entity: EntityId::from_bytes([1; 32]), message });
    }

    fn refused(number: u64, refusal: Refusal) -> DeliveryMessage {
        DeliveryMessage::Refused { sender: Sender::Host, number, refusal }
    }

    fn delivered(number: u64) -> DeliveryMessage {
        let answer = Answer { outputs: Vec::new(), failure: None };
        DeliveryMessage::Delivered { sender: Sender::Host, number, answer, deed: None }
    }

    #[test]
    fn an_event_counts_by_how_often_it_was_sent_on() {
        let routes = Routes::default();
        for _ in 0..2 {
            hear(&routes, refused(2, Refusal::NotHere));
            hear(&routes, refused(3, Refusal::Busy));
        }
        for _ in 0..20 {
            hear(&routes, refused(4, Refusal::NotHere));
        }
        for number in 1..=4 {
            hear(&routes, delivered(number));
        }
        let RouteStatistics { delivered, untold } = routes.statistics();
        assert_eq!((delivered, untold), ([2, 0, 1, 0, 0, 0, 0, 1], 0));
        assert!(lock(&routes.forwards).is_empty());
    }
}
