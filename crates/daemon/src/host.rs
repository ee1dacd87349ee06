//! Decides how one daemon takes its turns: what it is told, what becomes of its wishes, and how
//! its outputs form one chain.
//!
//! Words about channels are taken in `hearing`. The host knows neither journals nor networks: a driver gives it turns in the order of the
//! journal and saves and sends what comes out. Marks, answers and outboxes are kept elsewhere.
//!
//! # States
//!
//! ```text
//! born, restored ──▶ sound ──▶ spoilt when the body panicked, got stuck or exceeded a limit
//! ```
//!
//! A spoilt host refuses everything; the driver restores the daemon from its last snapshot and
//! journal, and gives it the fatal event as [`InputOrigin::Poisoned`].
//!
//! # Invariants
//!
//! * H1 (one position): a turn that succeeds takes exactly one position, even if the event was
//!   declined; a turn that does not, changes nothing or spoils the host.
//! * H2 (one chain): each output names the digest before it; a hand-over is a step of the chain.
//! * H3 (time): the daemon's time never goes back.
//!
//! # Limits
//!
//! * [`OUTPUTS_PER_TURN_MAX`], [`ANSWER_BYTES_MAX`], [`SENT_BYTES_MAX`], [`TIMERS_MAX`],
//!   [`YIELDS_PER_TURN_MAX`]: whoever exceeds one has a bug, and the host is spoilt.

mod hearing;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::limits::{PAYLOAD_BYTES_MAX, REASON_BYTES_MAX};
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, CausalLink, ChannelWord, Digest, DigestWriter,
    EntityId, Epoch, EvolutionWord, Head, InputOrigin, Kind, Manifest, OriginHash, Purpose, Sender,
    StateRef, Time, TimerId, decode, encode,
};

use crate::body::{Body, Budget, Coming, Idle, Input, Misfit, Objection, Step};
use crate::capture::{Capture, CaptureParts, state_ref};
use crate::channels::{Channels, Words};
use crate::context::{Context, Desk, Random};
use crate::contract::{ProcessError, Requirements};
use crate::limits::{
    ANSWER_BYTES_MAX, OUTPUTS_PER_TURN_MAX, SENT_BYTES_MAX, TIMERS_MAX, TURN_BUDGET,
    YIELDS_PER_TURN_MAX,
};
use crate::restore::{ChunkSource, RestoreError, StateReader};
use crate::timers::Timers;

/// What the sender of a poisoned event is told.
const POISONED: &str = "the daemon panicked on this event";

/// The format of what a host keeps beside the state.
const LUGGAGE_FORMAT: u8 = 1;

/// The format for a daemon that has channels.
const LUGGAGE_FORMAT_CHANNELS: u8 = 2;

/// The format for a daemon that has been told to what it may listen.
const LUGGAGE_FORMAT_PERMITS: u8 = 3;

/// Runs one daemon.
pub struct Host {
    entity: EntityId,
    origin: OriginHash,
    kind: Kind,
    body: Box<dyn Body>,
    seed: [u8; 32],
    epoch: Epoch,
    head: Head,
    last: Option<CausalLink>,
    time: Time,
    timers: Timers,
    /// Most daemons have none.
    channels: Option<Box<Channels>>,
    desk: Desk,
    stats: Stats,
    spoilt: bool,
    /// The state as it came, while nothing has happened to it, if it came in another format than
    /// this body writes: it would name it differently.
    as_it_came: Option<StateRef>,
}

/// What one turn gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Where the daemon stands after it.
    pub head: Head,
    /// What the sender is told.
    pub answer: Answer,
    /// What goes to other daemons, in the order of the chain and before the answers in it.
    pub sent: Vec<(EntityId, CausalEvent)>,
}

/// What a host has done since it was made here. Not part of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns taken.
    pub events_processed: u64,
    /// Outputs made.
    pub events_emitted: u64,
    /// Events declined.
    pub errors: u64,
    /// Captures taken.
    pub snapshots_taken: u64,
}

/// Why a host did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostError {
    /// It failed before. Fault: the daemon. Changed: nothing. Again: after it was restored.
    #[error("the daemon failed before and has to be restored")]
    Spoilt,
    /// The body panicked. Fault: the daemon. Changed: the host is spoilt, no position is taken.
    /// Again: after it was restored; the event will do it again.
    #[error("the daemon panicked: {0}")]
    Panicked(String),
    /// The body asked for more than a turn may bring. Fault: the daemon. Changed: the host is
    /// spoilt, no position is taken. Again: as for a panic.
    #[error("the daemon exceeded its limit of {0}")]
    Exceeded(Limit),
    /// The body yielded for ever. Fault: the daemon. Changed: the host is spoilt, no position is
    /// taken. Again: as for a panic.
    #[error("the daemon did not finish its turn")]
    Stuck,
    /// The turn belongs to another epoch. Fault: caller. Changed: nothing. Again: in the epoch of
    /// the host.
    #[error("the turn is of {found}, the daemon is in {expected}")]
    Epoch {
        /// The epoch of the host.
        expected: Epoch,
        /// The epoch of the turn.
        found: Epoch,
    },
    /// The timer is not set. Fault: caller; during a replay it means that the daemon diverged.
    /// Changed: nothing. Again: no.
    #[error("the daemon has no timer {0}")]
    UnknownTimer(TimerId),
}

/// What a turn can have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Limit {
    /// See [`OUTPUTS_PER_TURN_MAX`].
    #[error("outputs")]
    Outputs,
    /// See [`PAYLOAD_BYTES_MAX`].
    #[error("bytes in one output")]
    PayloadBytes,
    /// See [`ANSWER_BYTES_MAX`].
    #[error("bytes in the answers of a turn")]
    AnswerBytes,
    /// See [`SENT_BYTES_MAX`].
    #[error("bytes sent in a turn")]
    SentBytes,
    /// See [`TIMERS_MAX`].
    #[error("timers")]
    Timers,
    /// See [`PUBLISHED_PER_TURN_MAX`](crate::limits::PUBLISHED_PER_TURN_MAX).
    #[error("messages published in a turn")]
    Published,
    /// See [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX).
    #[error("bytes in one message")]
    MessageBytes,
    /// See [`CHANNELS_MAX`](crate::limits::CHANNELS_MAX).
    #[error("channels")]
    Channels,
    /// See [`SUBSCRIPTIONS_MAX`](crate::limits::SUBSCRIPTIONS_MAX).
    #[error("subscriptions")]
    Subscriptions,
}

/// What a host keeps beside the state, as it travels.
#[derive(Serialize, Deserialize)]
struct HostLuggage {
    format: u8,
    seed: [u8; 32],
    /// By id.
    timers: Vec<(TimerId, Time)>,
}

/// What was kept, as it is read.
struct Kept {
    seed: [u8; 32],
    timers: Timers,
    channels: Option<Box<Channels>>,
}

impl Host {
    /// The host of a daemon that was just born under the deed with the digest `birth`.
    #[must_use]
    pub fn born(
        entity: EntityId,
        kind: Kind,
        body: Box<dyn Body>,
        seed: [u8; 32],
        birth: &Digest,
    ) -> Self {
        Self {
            entity,
            origin: entity.origin_hash(),
            kind,
            body,
            seed,
            epoch: Epoch::FIRST,
            head: Head::newborn(&entity, birth),
            last: None,
            time: Time::ZERO,
            timers: Timers::default(),
            channels: None,
            desk: Desk::default(),
            stats: Stats::default(),
            spoilt: false,
            as_it_came: None,
        }
    }

    /// The host of the daemon of a snapshot. `kind` is the one under which `body` was built, fresh
    /// and for this; `luggage` is [`Luggage::host`](whimbrel_wire::Luggage::host).
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; no host exists then.
    pub fn restore(
        kind: &Kind,
        manifest: &Manifest,
        luggage: &[u8],
        mut body: Box<dyn Body>,
        chunks: &mut dyn ChunkSource,
    ) -> Result<Self, RestoreError> {
        if manifest.kind != *kind {
            return Err(RestoreError::Kind { found: manifest.kind.clone() });
        }
        if !manifest.is_sound() {
            return Err(RestoreError::Sizes);
        }
        let Kept { seed, timers, channels } = read_luggage(luggage)?;
        let origin = manifest.entity.origin_hash();
        check_last(manifest, origin)?;
        let mut reader = StateReader::new(&manifest.state, chunks);
        catch_unwind(AssertUnwindSafe(|| {
            if !body.reads().contains(&manifest.version) || body.admit(manifest).is_err() {
                return Err(RestoreError::Version { found: manifest.version });
            }
            body.restore(manifest.version, &mut reader)?;
            reader.finish()
        }))
        .unwrap_or_else(|panic| Err(RestoreError::Panicked(message(&*panic))))?;
        let foreign = manifest.version != body.version();
        Ok(Self {
            entity: manifest.entity,
            origin,
            kind: kind.clone(),
            as_it_came: foreign.then(|| manifest.state.clone()),
            body,
            seed,
            epoch: manifest.epoch,
            head: manifest.head,
            last: manifest.last,
            time: manifest.time,
            timers,
            channels,
            desk: Desk::default(),
            stats: Stats::default(),
            spoilt: false,
        })
    }

    /// Takes the next turn of the daemon, at `time` or at the daemon's own time if that is later:
    /// the time to write down is [`time`](Self::time) afterwards.
    ///
    /// # Errors
    ///
    /// [`HostError`]; no position is taken then.
    #[inline]
    pub fn turn(
        &mut self,
        epoch: Epoch,
        time: Time,
        origin: &InputOrigin,
        event: &CausalEvent,
    ) -> Result<Turned, HostError> {
        if self.spoilt {
            return Err(HostError::Spoilt);
        }
        if epoch != self.epoch {
            return Err(HostError::Epoch { expected: self.epoch, found: epoch });
        }
        let now = time.max(self.time);
        match origin {
            InputOrigin::Event { sender, .. } if speaks_of_channels(sender, event) => {
                self.hear(now, *sender, event, true)
            }
            InputOrigin::Poisoned { sender, .. } if speaks_of_channels(sender, event) => {
                self.hear(now, *sender, event, false)
            }
            InputOrigin::Event { sender, .. } => self.give(now, Some(*sender), Input::Event(event)),
            InputOrigin::Timer(timer) if !self.timers.contains(*timer) => {
                Err(HostError::UnknownTimer(*timer))
            }
            InputOrigin::Timer(timer) => {
                self.timers.cancel(*timer);
                self.give(now, None, Input::Timer(*timer))
            }
            InputOrigin::Poisoned { .. } => Ok(self.decline(now, POISONED.to_owned())),
            InputOrigin::SessionOpened(_) => Ok(self.pass(now)),
            InputOrigin::Evolution => match decode(&event.payload) {
                Ok(word) => self.give(now, None, Input::Evolution(&word)),
                Err(_) => Ok(self.decline(now, "not a word about a definition".to_owned())),
            },
        }
    }

    /// A turn that the body takes.
    #[inline]
    fn give(
        &mut self,
        now: Time,
        sender: Option<Sender>,
        input: Input<'_>,
    ) -> Result<Turned, HostError> {
        match self.process(now, sender, input) {
            Ok(Ok(answers)) => {
                self.check(&answers)?;
                Ok(self.put_out(now, answers, Words::new()))
            }
            Ok(Err(error)) => {
                self.desk.clear();
                Ok(self.decline(now, error.into_reason()))
            }
            Err(error) => Err(self.spoil(error)),
        }
    }

    /// What the body makes of `input`.
    fn process(
        &mut self,
        now: Time,
        sender: Option<Sender>,
        input: Input<'_>,
    ) -> Result<Result<Vec<Bytes>, ProcessError>, HostError> {
        let Self { entity, seed, desk, body, head, .. } = self;
        let (position, random) = (head.position.next(), Random::default());
        let mut context = Context { entity, now, position, sender, seed, random, desk };
        let run = AssertUnwindSafe(|| {
            let mut input = input;
            for _ in 0..YIELDS_PER_TURN_MAX {
                match body.turn(&mut context, input, Budget(TURN_BUDGET)) {
                    Ok(Step::Done(answers) | Step::Blocked(answers)) => return Ok(Ok(answers)),
                    Ok(Step::Yield) => input = Input::More,
                    Err(error) => return Ok(Err(error)),
                }
            }
            Err(HostError::Stuck)
        });
        catch_unwind(run).unwrap_or_else(|panic| Err(HostError::Panicked(message(&*panic))))
    }

    /// Spoils the host if the body asked for too much.
    fn check(&mut self, answers: &[Bytes]) -> Result<(), HostError> {
        let limit = exceeded(answers, &self.desk, self.timers.len());
        match limit.or_else(|| self.exceeded_channels(&self.desk.wishes)) {
            None => Ok(()),
            Some(limit) => Err(self.spoil(HostError::Exceeded(limit))),
        }
    }

    fn spoil(&mut self, error: HostError) -> HostError {
        self.spoilt = true;
        self.desk.clear();
        error
    }

    /// The turn is taken; its wishes are done. The host's own words come first, then what the body
    /// sends, then what it publishes.
    #[inline]
    fn put_out(&mut self, now: Time, answers: Vec<Bytes>, words: Words) -> Turned {
        self.step(now);
        for (timer, at) in self.desk.timers.drain(..) {
            match at {
                Some(at) => self.timers.set(timer, at),
                None => drop(self.timers.cancel(timer)),
            }
        }
        let sent = if !words.is_empty() || !self.desk.wishes.is_empty() {
            self.chain_words_and_wishes(words)
        } else if self.desk.sends.is_empty() {
            Vec::new()
        } else {
            self.chain_sends()
        };
        let outputs = if answers.is_empty() { Vec::new() } else { self.chain_all(answers) };
        Turned { head: self.head, answer: Answer { outputs, failure: None }, sent }
    }

    fn chain_all(&mut self, answers: Vec<Bytes>) -> Vec<CausalEvent> {
        answers.into_iter().map(|payload| self.chain(payload)).collect()
    }

    fn chain_sends(&mut self) -> Vec<(EntityId, CausalEvent)> {
        let mut sends = std::mem::take(&mut self.desk.sends);
        let sent = sends.drain(..).map(|(to, payload)| (to, self.chain(payload))).collect();
        self.desk.sends = sends;
        sent
    }

    fn chain_words_and_wishes(&mut self, mut words: Words) -> Vec<(EntityId, CausalEvent)> {
        words.append(&mut self.desk.sends);
        if !self.desk.wishes.is_empty() {
            self.grant(&mut words);
        }
        words.into_iter().map(|(to, payload)| (to, self.chain(payload))).collect()
    }

    fn chain(&mut self, payload: Bytes) -> CausalEvent {
        let (head, event) = self.head.put_out(self.origin, self.epoch, payload);
        self.head = head;
        self.last = Some(event.link);
        self.stats.events_emitted += 1;
        event
    }

    /// The turn is taken and was declined.
    fn decline(&mut self, now: Time, mut reason: String) -> Turned {
        self.step(now);
        self.stats.errors += 1;
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let answer = Answer { outputs: Vec::new(), failure: Some(reason) };
        Turned { head: self.head, answer, sent: Vec::new() }
    }

    /// The turn is taken and means nothing to the body.
    fn pass(&mut self, now: Time) -> Turned {
        self.step(now);
        Turned { head: self.head, answer: Answer::default(), sent: Vec::new() }
    }

    fn step(&mut self, now: Time) {
        self.as_it_came = None;
        self.time = now;
        self.head.position = self.head.position.next();
        self.stats.events_processed += 1;
    }

    /// Lets the body go on by itself between turns; see [`Body::idle`].
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`].
    pub fn idle(&mut self, budget: Budget) -> Result<Idle, HostError> {
        self.guard(|body| body.idle(budget))
    }

    /// What a node must offer to run it.
    #[must_use]
    pub fn requirements(&self) -> Requirements {
        self.body.requirements()
    }

    /// Lets the body get ready to be frozen; see [`Body::prepare`].
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`]; inside, what the body says.
    pub fn prepare(&mut self) -> Result<Result<(), Misfit>, HostError> {
        self.guard(|body| body.prepare())
    }

    /// Asks what no later event can change; see [`Body::foresee`].
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`]; inside, what the body says.
    pub fn foresee(&mut self, attempt: AttemptId) -> Result<Result<(), Objection>, HostError> {
        let coming = Coming { attempt, now: self.time };
        self.guard(|body| body.foresee(&coming))
    }

    /// Asks the gate, for the copy that came by `attempt`; see [`Body::judge`]. If the daemon is to
    /// go on under another definition, gives the payload of the turn that tells it so.
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`]; inside, what the body says.
    pub fn judge(
        &mut self,
        attempt: AttemptId,
    ) -> Result<Result<Option<Bytes>, Objection>, HostError> {
        let coming = Coming { attempt, now: self.time };
        let judged = self.guard(|body| body.judge(&coming))?;
        Ok(judged.and_then(|definition| {
            let word = definition
                .map(|definition| encode(&EvolutionWord::Adopted { attempt, definition }));
            if word.as_ref().is_some_and(|word| word.len() > PAYLOAD_BYTES_MAX) {
                let what = format!("the definition has more than {PAYLOAD_BYTES_MAX} bytes");
                return Err(Misfit(what).into());
            }
            Ok(word.map(Bytes::from))
        }))
    }

    /// Whether it may come to live under another definition; see [`Body::evolves`].
    #[must_use]
    pub fn evolves(&self) -> bool {
        self.body.evolves()
    }

    /// Calls the body; a panic spoils the host.
    fn guard<T>(&mut self, call: impl FnOnce(&mut dyn Body) -> T) -> Result<T, HostError> {
        if self.spoilt {
            return Err(HostError::Spoilt);
        }
        let body = &mut *self.body;
        let called = catch_unwind(AssertUnwindSafe(|| call(body)));
        called.map_err(|panic| self.spoil(HostError::Panicked(message(&*panic))))
    }

    /// Gives a newborn what it is founded on, before its first capture.
    ///
    /// # Errors
    ///
    /// [`Misfit`] when the body refuses it, or panics; this host is then of no use.
    pub fn found(&mut self, given: Option<&[u8]>) -> Result<(), Misfit> {
        let entity = self.entity;
        let founded = self.guard(|body| body.found(&entity, given));
        if let Some(timer) = founded.map_err(|error| Misfit(error.to_string()))?? {
            self.timers.set(timer, self.time);
        }
        Ok(())
    }

    /// The daemon goes on in `epoch`, by the deed with this digest, which the caller verified.
    pub fn enter_epoch(&mut self, epoch: Epoch, deed: &Digest) {
        self.epoch = epoch;
        self.head = self.head.through_deed(deed);
    }

    /// The same state as a daemon of its own, born under the deed with the digest `birth`: a copy
    /// carries no title, so its chain starts anew. Timers and randomness go on; its channels do not,
    /// since those who publish to it and those who listen know another daemon.
    #[must_use]
    pub fn reborn(mut self, entity: EntityId, birth: &Digest) -> Self {
        self.entity = entity;
        self.origin = entity.origin_hash();
        self.epoch = Epoch::FIRST;
        self.head = Head::newborn(&entity, birth);
        self.last = None;
        self.channels = None;
        self
    }

    /// A frozen view of the daemon. Cheap for bodies in pages; for others in proportion to their
    /// state.
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`].
    pub fn capture(&mut self) -> Result<Capture, HostError> {
        let state = self.guard(|body| body.capture())?;
        self.stats.snapshots_taken += 1;
        let parts = CaptureParts {
            entity: self.entity,
            kind: self.kind.clone(),
            version: self.body.version(),
            epoch: self.epoch,
            head: self.head,
            last: self.last,
            time: self.time,
            state: StateRef { bytes: 0, chunks: 0, lists: Vec::new() },
            host: self.luggage(),
            subscriptions: self.subscriptions(),
        };
        Ok(Capture { state, parts })
    }

    /// The digest of the state of the body: [`StateRef::digest`]. Costs in proportion to what
    /// changed since it was last named, for bodies in pages.
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`].
    pub fn digest(&mut self) -> Result<Digest, HostError> {
        if let Some(state) = &self.as_it_came {
            return Ok(state.digest());
        }
        self.guard(|body| state_ref(&*body.capture()).digest())
    }

    /// The digest of all that decides how the daemon goes on: state, time, timers and seed. It
    /// shows a difference that [`digest`](Self::digest) cannot: a timer set from hidden state.
    ///
    /// # Errors
    ///
    /// [`HostError::Spoilt`], [`HostError::Panicked`].
    pub fn fingerprint(&mut self) -> Result<Digest, HostError> {
        let state = self.digest()?;
        Ok(DigestWriter::new(Purpose::State)
            .write(state.as_bytes())
            .write(&self.time.as_nanos().to_le_bytes())
            .write(&self.luggage())
            .finish())
    }

    fn luggage(&self) -> Bytes {
        let timers = self.timers.iter().collect();
        let (seed, format) = (self.seed, LUGGAGE_FORMAT);
        let Some(channels) = &self.channels else {
            return encode(&HostLuggage { format, seed, timers }).into();
        };
        let written = channels.written();
        let Some(permits) = &channels.permits else {
            let format = LUGGAGE_FORMAT_CHANNELS;
            return encode(&(HostLuggage { format, seed, timers }, written)).into();
        };
        let format = LUGGAGE_FORMAT_PERMITS;
        encode(&(HostLuggage { format, seed, timers }, written, permits)).into()
    }

    /// Who the daemon is.
    #[must_use]
    pub fn entity(&self) -> EntityId {
        self.entity
    }

    /// Of which kind.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// In which epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where it stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The link of its last output.
    #[must_use]
    #[inline]
    pub fn last(&self) -> Option<CausalLink> {
        self.last
    }

    /// Its own time.
    #[must_use]
    pub fn time(&self) -> Time {
        self.time
    }

    /// The timer that is due first.
    #[must_use]
    #[inline]
    pub fn next_timer(&self) -> Option<(Time, TimerId)> {
        self.timers.next()
    }

    /// How a copy of it catches up.
    #[must_use]
    pub fn catch_up(&self) -> CatchUp {
        self.body.catch_up()
    }

    /// The body that it runs, to ask for its name and needs.
    #[must_use]
    pub fn body(&self) -> &dyn Body {
        &*self.body
    }

    /// Whether its turns may take long; see [`Body::is_heavy`].
    #[must_use]
    #[inline]
    pub fn is_heavy(&self) -> bool {
        self.body.is_heavy()
    }

    /// Whether it failed and has to be restored.
    #[must_use]
    pub fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// What it has done here.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }
}

/// Which limit the wishes of a turn exceed, if any.
fn exceeded(answers: &[Bytes], desk: &Desk, timers: usize) -> Option<Limit> {
    let set = desk.timers.iter().filter(|(_, at)| at.is_some()).count();
    let answer_bytes: usize = answers.iter().map(Bytes::len).sum();
    let sent_bytes: usize = desk.sends.iter().map(|(_, payload)| payload.len()).sum();
    let longest = desk.sends.iter().map(|(_, payload)| payload.len()).max();
    if answers.len() + desk.sends.len() > OUTPUTS_PER_TURN_MAX {
        Some(Limit::Outputs)
    } else if longest.is_some_and(|longest| longest > PAYLOAD_BYTES_MAX) {
        Some(Limit::PayloadBytes)
    } else if answer_bytes > ANSWER_BYTES_MAX {
        Some(Limit::AnswerBytes)
    } else if sent_bytes > SENT_BYTES_MAX {
        Some(Limit::SentBytes)
    } else if set > 0 && timers + set > TIMERS_MAX {
        Some(Limit::Timers)
    } else {
        None
    }
}

fn read_luggage(bytes: &[u8]) -> Result<Kept, RestoreError> {
    const BROKEN: RestoreError = RestoreError::Malformed("what the host kept is broken");
    let (luggage, channels) = match bytes.first() {
        Some(&LUGGAGE_FORMAT) => (decode::<HostLuggage>(bytes).map_err(|_| BROKEN)?, None),
        Some(&LUGGAGE_FORMAT_CHANNELS) => {
            let (luggage, channels) = decode(bytes).map_err(|_| BROKEN)?;
            (luggage, Some(channels))
        }
        Some(&LUGGAGE_FORMAT_PERMITS) => {
            let (luggage, mut channels, permits): (_, Box<Channels>, _) =
                decode(bytes).map_err(|_| BROKEN)?;
            channels.permits = Some(permits);
            (luggage, Some(channels))
        }
        Some(_) | None => return Err(BROKEN),
    };
    let HostLuggage { seed, timers, .. } = luggage;
    let sorted = timers.is_sorted_by(|(a, _), (b, _)| a < b);
    let sound = channels.as_ref().is_none_or(|channels| channels.is_sound());
    if timers.len() > TIMERS_MAX || !sorted || !sound {
        return Err(BROKEN);
    }
    let mut set = Timers::default();
    for (timer, at) in timers {
        set.set(timer, at);
    }
    Ok(Kept { seed, timers: set, channels })
}

/// Whether an event is a word about a channel, from one who may say such. Clients may not.
#[inline]
fn speaks_of_channels(sender: &Sender, event: &CausalEvent) -> bool {
    let may = match sender {
        Sender::Host | Sender::Daemon(_) => true,
        Sender::Client { .. } => false,
    };
    may && ChannelWord::is_marked(&event.payload)
}

/// Whether the last link of a manifest is that of its head.
fn check_last(manifest: &Manifest, origin: OriginHash) -> Result<(), RestoreError> {
    let sequence = manifest.head.sequence;
    let sound = match manifest.last {
        None => sequence.get() == 0,
        Some(last) => {
            last.sequence == sequence && last.origin == origin && last.epoch <= manifest.epoch
        }
    };
    if sound {
        Ok(())
    } else {
        Err(RestoreError::Malformed("the last output is not that of the head"))
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let mut text = text.unwrap_or_else(|| "no message".to_owned());
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}
