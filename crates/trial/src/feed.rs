//! Decides what the clients of a trial send, when, and what they note about it.
//!
//! A feed is one client that sends to one daemon. It sends by the clock, whether or not earlier
//! events were acknowledged, so that a pause is seen and not waited out. Each event carries a word
//! that no other has, `e3-00000017`: the client and the number.
//!
//! # Limits
//!
//! * `UNDER_WAY_MAX` events of a feed are on their way; beyond it the clock has to wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use whimbrel_daemon::kinds::{KvAnswer, KvCommand};
use whimbrel_daemon::limits::KEY_BYTES_MAX;
use whimbrel_protocol::{DeliverError, SendError};
use whimbrel_runtime::{Client, DaemonError};
use whimbrel_wire::{Answer, EntityId};

use crate::ledger::Outcome;

/// Events of one feed that are on their way.
const UNDER_WAY_MAX: usize = 4_000;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(1);

/// How long the last events may take.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How often it is looked whether they are there.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// What events say besides their number.
pub enum Script {
    /// These lines, over and over.
    Lines(Vec<String>),
    /// Words that are made up.
    MadeUp,
}

/// What a feed sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// A `kv`: each event adds one to a key of its own.
    Kv,
    /// A `tally`: each event is a text with a word of its own.
    Tally,
}

/// One client that sends to one daemon.
pub struct Feed {
    /// What its daemon is called.
    pub name: String,
    /// Which feed it is: part of every event.
    pub number: usize,
    /// What it sends to.
    pub kind: FeedKind,
    /// Whom it sends to.
    pub daemon: EntityId,
    script: Arc<Script>,
    begun: Instant,
    under_way: AtomicUsize,
    notes: Mutex<Notes>,
}

/// What a feed knows.
#[derive(Clone, Default)]
pub struct Notes {
    /// By number.
    pub told: Vec<Outcome>,
    /// When acknowledgements came, in microseconds since the clients began.
    pub acknowledged: Vec<u64>,
    /// Answers that a fresh event cannot have.
    pub wrong: u64,
    /// The first error.
    pub error: Option<String>,
}

impl Script {
    /// The text of one event. The same for the same numbers.
    #[must_use]
    pub fn text(&self, feed: usize, number: u64) -> String {
        let token = format!("e{feed}-{number:08}");
        match self {
            Self::Lines(lines) if lines.is_empty() => token,
            Self::Lines(lines) => {
                let at = usize::try_from(number).unwrap_or(0) % lines.len();
                format!("{token} {}", lines[at])
            }
            Self::MadeUp => {
                const WORDS: [&str; 8] =
                    ["tide", "wader", "north", "storm", "shore", "flock", "moon", "salt"];
                let word = |at: u64| WORDS[(number.wrapping_mul(at) >> 3) as usize % WORDS.len()];
                format!("{token} {} {} {}", word(7), word(13), word(29))
            }
        }
    }
}

impl Feed {
    /// A client that has sent nothing yet; `begun` is when times begin.
    #[must_use]
    pub fn new(
        name: String,
        number: usize,
        kind: FeedKind,
        daemon: EntityId,
        script: Arc<Script>,
        begun: Instant,
    ) -> Self {
        let under_way = AtomicUsize::new(0);
        Self { name, number, kind, daemon, script, begun, under_way, notes: Mutex::default() }
    }

    /// The text of one event.
    #[must_use]
    pub fn text(&self, number: u64) -> String {
        self.script.text(self.number, number)
    }

    /// The key that one event adds to, at a `kv`: its text, as far as a key reaches.
    #[must_use]
    pub fn key(&self, number: u64) -> Vec<u8> {
        let mut key = self.text(number).into_bytes();
        key.truncate(KEY_BYTES_MAX);
        key
    }

    fn payload(&self, number: u64) -> Bytes {
        match self.kind {
            FeedKind::Kv => KvCommand::Add { key: &self.key(number), by: 1 }.to_bytes(),
            FeedKind::Tally => self.text(number).into(),
        }
    }

    /// What it knows.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of its events are on their way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Sends `rate` events per second until `stop`, then waits for the last ones.
    pub async fn run(self: Arc<Self>, client: Client, rate: f64, stop: Arc<AtomicBool>) {
        let begun = Instant::now();
        let mut sent = 0;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let due = due(begun.elapsed(), rate);
            while sent < due && self.under_way() < UNDER_WAY_MAX {
                self.send(&client, sent);
                sent += 1;
            }
        }
        let stopped = Instant::now();
        while self.under_way() > 0 && stopped.elapsed() < DRAIN_MAX {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    fn send(self: &Arc<Self>, client: &Client, number: u64) {
        self.notes().told.push(Outcome::Unknown);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        // The event gets its place in the order here, before the next one is sent.
        let answer = client.send(self.daemon, self.payload(number));
        let feed = Arc::clone(self);
        tokio::spawn(async move {
            let answer = answer.await;
            feed.note(number, answer);
            feed.under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn note(&self, number: u64, answer: Result<Answer, DaemonError>) {
        let at = micros(self.begun.elapsed());
        let mut notes = self.notes();
        let outcome = match &answer {
            Ok(answer) => {
                notes.acknowledged.push(at);
                notes.wrong += u64::from(!self.is_first(answer));
                Outcome::Acknowledged
            }
            Err(error) if changed_nothing(error) => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        if let Err(error) = answer {
            notes.error.get_or_insert_with(|| error.to_string());
        }
        if let Some(place) = usize::try_from(number).ok().and_then(|at| notes.told.get_mut(at)) {
            *place = outcome;
        }
    }

    /// Whether a daemon that sees this event for the first time can answer so.
    fn is_first(&self, answer: &Answer) -> bool {
        let [output] = &answer.outputs[..] else { return false };
        let payload = &output.payload;
        answer.failure.is_none()
            && match self.kind {
                FeedKind::Kv => KvAnswer::parse(payload) == Some(KvAnswer::Sum(1)),
                FeedKind::Tally => payload.starts_with(b"lines "),
            }
    }
}

/// Microseconds.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "whole events")]
#[allow(clippy::cast_sign_loss, reason = "time and rate are not negative")]
fn due(elapsed: Duration, rate: f64) -> u64 {
    (elapsed.as_secs_f64() * rate) as u64
}

/// Whether the error says that the event took no effect and never will.
fn changed_nothing(error: &DaemonError) -> bool {
    matches!(
        error,
        DaemonError::Send(SendError::Busy | SendError::TooLarge)
            | DaemonError::Deliver(DeliverError::Busy | DeliverError::TooLarge)
            | DaemonError::NotReady
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_word_of_its_own_and_the_same_text_again() {
        let script = Script::MadeUp;
        let words: std::collections::BTreeSet<String> = (0..500)
            .map(|number| script.text(1, number).split(' ').next().unwrap().to_owned())
            .collect();
        assert_eq!(words.len(), 500);
        assert_eq!(script.text(1, 7), script.text(1, 7));
        assert_ne!(script.text(1, 7), script.text(2, 7));
    }

    #[test]
    fn lines_come_over_and_over() {
        let script = Script::Lines(vec!["one two".to_owned(), "three".to_owned()]);
        assert_eq!(script.text(0, 0), "e0-00000000 one two");
        assert_eq!(script.text(0, 1), "e0-00000001 three");
        assert_eq!(script.text(0, 2), "e0-00000002 one two");
    }

    #[test]
    fn events_are_due_by_the_clock() {
        assert_eq!(due(Duration::from_millis(500), 1_250.0), 625);
        assert_eq!(due(Duration::ZERO, 1_250.0), 0);
    }
}
