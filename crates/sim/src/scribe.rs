//! Decides what the daemon of the simulator does: it writes down what it is told, in order, so that
//! a model can be compared with it.
//!
//! A scribe is honest in one of six ways (its [`Style`]): it replays; it moves by deltas; it is
//! frozen and copied and really is not deterministic; it claims to replay and drifts, shown in its
//! answers or hidden in its state; or it replays and minds moves in some states.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_daemon::{
    Coming, Context, MeshDaemon, Misfit, News, Objection, ProcessError, RestoreError,
};
use whimbrel_statechart::daemon::Statechart;
use whimbrel_wire::{CatchUp, CausalEvent, ChannelName, EntityId, Kind, TimerId, decode, encode};

use crate::kinds::filler;

/// Authors from here on are daemons: this plus the index of the daemon.
pub(crate) const AUTHOR_DAEMONS: u64 = 1 << 32;
/// The author of what a timer writes.
pub(crate) const AUTHOR_TIMER: u64 = 1 << 33;
/// What a restored copy that drifts counts from.
const DRIFTED: u64 = 1_000_000;

/// A choosy scribe with this rest of lines by four does not want to leave.
const STAYS: usize = 1;
/// And with this one it may not go on elsewhere.
const REFUSES: usize = 3;

/// What a daemon is: a scribe that catches up in one of six ways, or one of the other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Style {
    Replays,
    Deltas,
    Freezes,
    DriftShown,
    DriftHidden,
    /// It replays, does not want to leave in some states, and must not go on elsewhere in others.
    Choosy,
    Kv,
    Tally,
    Counting,
    Churning,
    Chart,
}

/// One event for a scribe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) author: u64,
    pub(crate) number: u64,
    pub(crate) act: Act,
}

/// What an event asks for beside being written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Note,
    Decline,
    Panic,
    Random,
    /// Sets a timer so many nanoseconds from now.
    Timer(u64),
    /// Tells another daemon.
    Send(EntityId),
    /// Adds so many bytes to the state.
    Fill(u32),
    /// Publishes.
    Publish,
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scribe {
    style: Style,
    pub(crate) pages: Pages,
    /// Not in the snapshot.
    since: u64,
}

/// Its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pages {
    /// Who wrote what, in order.
    pub(crate) lines: Vec<(u64, u64)>,
    /// How much it told whom.
    pub(crate) sent: BTreeMap<EntityId, u64>,
    /// Which timers were set.
    pub(crate) timers_set: u64,
    /// A mixture of what it saw.
    pub(crate) mixture: u64,
    /// Which author it is when it tells others.
    pub(crate) author: u64,
    /// How much it published.
    pub(crate) published: u64,
    /// What it heard of whom: the number of each message, and how many were missing before it; for the
    /// beginning of a subscription its first number, and none.
    pub(crate) heard: BTreeMap<EntityId, Vec<(u64, Option<u64>)>>,
    /// What makes it large.
    pub(crate) ballast: Vec<u8>,
}

impl Style {
    pub(crate) const ALL: [Self; 11] = [
        Self::Replays,
        Self::Deltas,
        Self::Freezes,
        Self::DriftShown,
        Self::DriftHidden,
        Self::Choosy,
        Self::Kv,
        Self::Tally,
        Self::Counting,
        Self::Churning,
        Self::Chart,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Replays => "scribe",
            Self::Deltas => "scribe-deltas",
            Self::Freezes => "scribe-freezes",
            Self::DriftShown => "scribe-drifts",
            Self::DriftHidden => "scribe-drifts-hidden",
            Self::Choosy => "scribe-choosy",
            Self::Kv => "kv",
            Self::Tally => "tally",
            Self::Counting => "counting",
            Self::Churning => "churning",
            Self::Chart => Statechart::NAME,
        }
    }

    pub(crate) fn kind(self) -> Kind {
        Kind::new(self.name()).expect("the names of kinds are short")
    }
}

/// The channel on which scribes publish.
pub(crate) fn channel() -> ChannelName {
    ChannelName::new("pages").expect("the name is short")
}

impl Scribe {
    pub(crate) fn new(style: Style, author: u64) -> Self {
        Self { style, pages: Pages { author, ..Pages::default() }, since: 0 }
    }

    /// Whether a choosy scribe with so many lines minds a move.
    fn minds(&self, rest: usize) -> Result<(), Misfit> {
        if self.style == Style::Choosy && self.pages.lines.len() % 4 == rest {
            return Err(Misfit("not with so many lines".to_owned()));
        }
        Ok(())
    }

    fn mix(&mut self, number: u64) {
        self.pages.mixture = self.pages.mixture.rotate_left(7) ^ number.wrapping_mul(0x9E37_79B9);
    }

    fn write(&mut self, author: u64, number: u64) {
        self.since += 1;
        self.pages.lines.push((author, number));
        match self.style {
            Style::Replays
            | Style::Deltas
            | Style::Choosy
            | Style::Kv
            | Style::Tally
            | Style::Counting
            | Style::Churning
            | Style::Chart => {}
            Style::Freezes | Style::DriftShown | Style::DriftHidden => self.mix(self.since),
        }
    }
}

impl MeshDaemon for Scribe {
    fn name(&self) -> &str {
        self.style.name()
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let line: Line = decode(&event.payload).map_err(|_| ProcessError::new("no line"))?;
        match &line.act {
            Act::Note => {}
            Act::Decline => return Err(ProcessError::new("asked to decline")),
            Act::Panic => panic!("asked to panic"),
            Act::Random => {
                let random = context.random();
                self.mix(random);
            }
            Act::Timer(nanos) => {
                self.pages.timers_set += 1;
                let at = context.now() + Duration::from_nanos(*nanos);
                context.set_timer(TimerId::new(self.pages.timers_set), at);
            }
            Act::Send(to) => {
                let sent = self.pages.sent.entry(*to).or_insert(0);
                *sent += 1;
                let told = Line { author: self.pages.author, number: *sent, act: Act::Note };
                context.send(*to, encode(&told));
            }
            Act::Publish => {
                self.pages.published += 1;
                let (author, number) = (self.pages.author, self.pages.published);
                context.publish(channel(), encode(&Line { author, number, act: Act::Note }));
            }
            Act::Fill(bytes) => self.pages.ballast.extend(filler(line.number, *bytes)),
        }
        self.write(line.author, line.number);
        self.mix(context.now().as_nanos());
        let shown = match self.style {
            Style::Freezes | Style::DriftShown => self.since,
            Style::Replays
            | Style::Deltas
            | Style::DriftHidden
            | Style::Choosy
            | Style::Kv
            | Style::Tally
            | Style::Counting
            | Style::Churning
            | Style::Chart => self.pages.lines.len() as u64,
        };
        Ok(vec![encode(&(line.author, line.number, shown)).into()])
    }

    fn hear(
        &mut self,
        _context: &mut Context<'_>,
        news: &News,
    ) -> Result<Vec<Bytes>, ProcessError> {
        if let News::Message { publisher, number, missed, event, .. } = news {
            let said: Line = decode(&event.payload).map_err(|_| ProcessError::new("no line"))?;
            if said.number != *number {
                return Err(ProcessError::new("another message than its number says"));
            }
            self.mix(*number);
            self.pages.heard.entry(*publisher).or_default().push((*number, Some(*missed)));
        }
        if let News::Subscribed { publisher, next, .. } = news {
            self.pages.heard.entry(*publisher).or_default().push((*next, None));
        }
        Ok(Vec::new())
    }

    fn on_timer(&mut self, context: &mut Context<'_>, timer: TimerId) {
        self.write(AUTHOR_TIMER, timer.get());
        self.mix(context.random());
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(encode(&self.pages).into())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.pages = decode(state).map_err(|error| RestoreError::declined(error.to_string()))?;
        self.since = DRIFTED;
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Misfit> {
        self.minds(STAYS)
    }

    fn judge(&self, _coming: &Coming) -> Result<Option<Bytes>, Objection> {
        Ok(self.minds(REFUSES).map(|()| None)?)
    }

    fn catch_up(&self) -> CatchUp {
        match self.style {
            Style::Replays
            | Style::DriftShown
            | Style::DriftHidden
            | Style::Choosy
            | Style::Kv
            | Style::Tally
            | Style::Counting
            | Style::Chart => CatchUp::Replay,
            Style::Deltas | Style::Churning => CatchUp::Deltas,
            Style::Freezes => CatchUp::FreezeAndCopy,
        }
    }
}
