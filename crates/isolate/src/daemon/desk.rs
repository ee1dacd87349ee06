//! Decides what a guest can ask for during a turn, and how much of it.
//!
//! Nothing that is asked for has happened before the turn is over: it is kept on the desk and handed
//! to the context then. A guest that asks for too much, or points outside of its memory, traps, and
//! the turn does not happen.
//!
//! # Limits
//!
//! * [`OUTPUTS_PER_TURN_MAX`], [`ANSWER_BYTES_MAX`], [`SENT_BYTES_MAX`], [`PUBLISHED_PER_TURN_MAX`],
//!   [`CHANNELS_MAX`]: as for every daemon.
//! * [`TIMER_ID_MAX`]: a timer with a higher number is refused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use whimbrel_daemon::Context;
use whimbrel_daemon::limits::{
    ANSWER_BYTES_MAX, CHANNELS_MAX, MESSAGE_BYTES_MAX, OUTPUTS_PER_TURN_MAX,
    PUBLISHED_PER_TURN_MAX, SENT_BYTES_MAX,
};
use whimbrel_wire::limits::{PAYLOAD_BYTES_MAX, REASON_BYTES_MAX};
use whimbrel_wire::{ChannelName, EntityId, Time, TimerId};

use crate::wasi::{Wait, Wasi};

/// The highest number of a timer of a guest. Fewer than a daemon may have, so that a guest never has
/// too many.
pub const TIMER_ID_MAX: u64 = 4095;

/// What a turn knows of the world: all of it is in the journal, or follows from it.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) entity: EntityId,
    pub(super) now: Time,
    /// From which all randomness of the turn grows.
    pub(super) seed: [u8; 32],
}

impl Moment {
    pub(super) fn of(context: &mut Context<'_>) -> Self {
        let mut seed = [0; 32];
        context.fill_random(&mut seed);
        Self { entity: *context.entity(), now: context.now(), seed }
    }
}

/// Something that the guest may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied(pub(super) &'static str);

/// What was asked for in a turn.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) answers: Vec<Bytes>,
    sends: Vec<(EntityId, Bytes)>,
    published: Vec<(ChannelName, Bytes)>,
    timers: Vec<(TimerId, Option<Time>)>,
    answer_bytes: usize,
    sent_bytes: usize,
}

/// What lies between an isolate and its host functions.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) moment: Moment,
    random: blake3::OutputReader,
    pub(super) wishes: Wishes,
    /// On which channels it ever published; part of its state.
    pub(super) channels: BTreeSet<ChannelName>,
    /// Why the guest declines the event.
    pub(super) declined: Option<String>,
    /// What it knows through WASI, if it imports that.
    pub(super) wasi: Option<Wasi>,
    /// Whether it runs by itself: then nobody asked for what it does.
    is_program: bool,
    /// What the program waits for since it was stopped.
    pub(super) wait: Option<Wait>,
    /// The code with which the program ended.
    pub(super) exit: Option<u32>,
}

/// A desk that the isolate and the host of its program share. They never run at the same time.
#[derive(Clone, Debug)]
pub(super) struct SharedDesk(Arc<Mutex<Desk>>);

impl SharedDesk {
    /// That of a reactor.
    pub(super) fn new(channels: BTreeSet<ChannelName>, wasi: Option<Wasi>) -> Self {
        Self::of(channels, wasi, false)
    }

    /// That of a program.
    pub(super) fn of_program(channels: BTreeSet<ChannelName>, wasi: Wasi) -> Self {
        Self::of(channels, Some(wasi), true)
    }

    fn of(channels: BTreeSet<ChannelName>, wasi: Option<Wasi>, is_program: bool) -> Self {
        let moment =
            Moment { entity: EntityId::from_bytes([0; 32]), now: Time::ZERO, seed: [0; 32] };
        Self(Arc::new(Mutex::new(Desk {
            random: stream(&moment.seed),
            moment,
            wishes: Wishes::default(),
            channels,
            declined: None,
            wasi,
            is_program,
            wait: None,
            exit: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stream(seed: &[u8; 32]) -> blake3::OutputReader {
    blake3::Hasher::new_keyed(seed).finalize_xof()
}

impl Desk {
    /// A turn begins.
    pub(super) fn begin(&mut self, moment: &Moment) {
        self.moment = moment.clone();
        self.random = stream(&moment.seed);
        self.wishes = Wishes::default();
        self.declined = None;
        (self.wait, self.exit) = (None, None);
        if let Some(wasi) = &mut self.wasi {
            wasi.begin(moment.now.as_nanos(), &moment.seed);
        }
    }

    pub(super) fn is_program(&self) -> bool {
        self.is_program
    }

    /// Refuses what only makes sense while an event is answered.
    fn answering(&self) -> Result<(), Denied> {
        if self.is_program {
            return Err(Denied("a program has nobody to answer and no timers: it runs by itself"));
        }
        Ok(())
    }

    pub(super) fn fill_random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    pub(super) fn answer(&mut self, payload: &[u8]) -> Result<(), Denied> {
        self.answering()?;
        self.wishes.answer(payload)
    }

    pub(super) fn send(&mut self, to: &[u8; 32], payload: &[u8]) -> Result<(), Denied> {
        let wishes = &mut self.wishes;
        wishes.count()?;
        wishes.sent_bytes += payload.len();
        if payload.len() > PAYLOAD_BYTES_MAX || wishes.sent_bytes > SENT_BYTES_MAX {
            return Err(Denied("the turn sends more bytes than it may"));
        }
        wishes.sends.push((EntityId::from_bytes(*to), Bytes::copy_from_slice(payload)));
        Ok(())
    }

    pub(super) fn publish(&mut self, channel: &[u8], payload: &[u8]) -> Result<(), Denied> {
        const NO_NAME: Denied = Denied("the name of a channel cannot be one");
        let channel = std::str::from_utf8(channel).map_err(|_| NO_NAME)?;
        let channel = ChannelName::new(channel).map_err(|_| NO_NAME)?;
        let published = &mut self.wishes.published;
        if published.len() >= PUBLISHED_PER_TURN_MAX || payload.len() > MESSAGE_BYTES_MAX {
            return Err(Denied("the turn publishes more than it may"));
        }
        self.channels.insert(channel.clone());
        if self.channels.len() > CHANNELS_MAX {
            return Err(Denied("it publishes on more channels than it may"));
        }
        published.push((channel, Bytes::copy_from_slice(payload)));
        Ok(())
    }

    /// Sets a timer, or forgets it.
    pub(super) fn timer(&mut self, timer: u64, at: Option<u64>) -> Result<(), Denied> {
        self.answering()?;
        if timer > TIMER_ID_MAX {
            return Err(Denied("the number of a timer is above 4095"));
        }
        let timers = &mut self.wishes.timers;
        timers.retain(|(known, _)| known.get() != timer);
        timers.push((TimerId::new(timer), at.map(Time::from_nanos)));
        Ok(())
    }

    pub(super) fn decline(&mut self, reason: &[u8]) -> Denied {
        if let Err(denied) = self.answering() {
            return denied;
        }
        let reason = &reason[..reason.len().min(REASON_BYTES_MAX)];
        self.declined = Some(String::from_utf8_lossy(reason).into_owned());
        Denied("declined")
    }
}

impl Wishes {
    fn count(&self) -> Result<(), Denied> {
        if self.answers.len() + self.sends.len() >= OUTPUTS_PER_TURN_MAX {
            return Err(Denied("the turn puts out more than it may"));
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, payload: &[u8]) -> Result<(), Denied> {
        self.count()?;
        self.answer_bytes += payload.len();
        if self.answer_bytes > ANSWER_BYTES_MAX {
            return Err(Denied("the turn answers with more bytes than it may"));
        }
        self.answers.push(Bytes::copy_from_slice(payload));
        Ok(())
    }

    /// Asks the context for all of it; gives the answers.
    pub(super) fn ask(self, context: &mut Context<'_>) -> Vec<Bytes> {
        for (to, payload) in self.sends {
            context.send(to, payload);
        }
        for (channel, payload) in self.published {
            context.publish(channel, payload);
        }
        for (timer, at) in self.timers {
            match at {
                Some(at) => context.set_timer(timer, at),
                None => context.cancel_timer(timer),
            }
        }
        self.answers
    }
}
