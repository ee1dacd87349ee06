//! Decides what every kind of daemon must be able to do: a battery that each body passes.
//!
//! A kind is checked with [`check`] on a [`Subject`]: how to build it, and events that bring it
//! into interesting states. What a kind promises depends on how it says that it catches up: only
//! one that replays has to be deterministic.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use whimbrel_wire::{
    CatchUp, CausalEvent, ChunkRef, Digest, EntityId, Epoch, InputOrigin, Kind, Ledger, Manifest,
    OriginHash, Sender, StateVersion, Time,
};

use crate::body::{Body, Budget, Idle, Input, Misfit, Step};
use crate::capture::{Capture, FrozenState};
use crate::context::Context;
use crate::contract::{ProcessError, Requirements};
use crate::host::{Host, HostError, Turned};
use crate::restore::{ChunkSource, RestoreError, SourceError, StateReader};
use crate::shelf::ChunkShelf;
use crate::snapshot::StateSnapshot;

/// What is checked.
pub struct Subject<'a> {
    /// The name of the kind.
    pub kind: Kind,
    /// How to build a fresh body of it.
    pub fresh: &'a dyn Fn() -> Box<dyn Body>,
    /// What a newborn is given, if the kind asks for it.
    pub given: Option<&'a [u8]>,
    /// Payloads of events that it understands; declined ones may be among them.
    pub events: Vec<Bytes>,
}

/// A promise that a kind does not keep.
///
/// Fault: the kind. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{promise}: {found}")]
pub struct Broken {
    /// What was promised.
    pub promise: &'static str,
    /// What was found instead.
    pub found: String,
}

/// How much time passes from event to event.
const PACE: Duration = Duration::from_millis(1);

/// Whether the kind keeps all promises.
///
/// # Errors
///
/// The first one that it breaks.
pub fn check(subject: &Subject<'_>) -> Result<(), Broken> {
    a_daemon_that_was_frozen_goes_on_like_one_that_was_not(subject)?;
    a_capture_changes_nothing_and_nothing_changes_it(subject)?;
    a_replay_comes_out_equal(subject)?;
    a_restore_refuses_what_is_wrong(subject)?;
    a_panic_spoils_the_host(subject)
}

/// Freezes a daemon after each of its events, brings it back, and feeds both the rest.
///
/// # Errors
///
/// The first difference.
pub fn a_daemon_that_was_frozen_goes_on_like_one_that_was_not(
    subject: &Subject<'_>,
) -> Result<(), Broken> {
    const PROMISE: &str = "a daemon that was frozen goes on like one that was not";
    let cuts = cuts(subject);
    for &cut in &cuts {
        let mut original = subject.born()?;
        subject.feed(&mut original, 0..cut, PROMISE)?;
        let mut copy = subject.copy(&mut original, PROMISE)?;
        alike(PROMISE, &mut original, &mut copy)?;
        if original.catch_up() == CatchUp::FreezeAndCopy {
            continue;
        }
        for index in cut..subject.events.len() {
            let before = subject.feed(&mut original, index..index + 1, PROMISE)?;
            let after = subject.feed(&mut copy, index..index + 1, PROMISE)?;
            same(PROMISE, &before, &after)?;
        }
        alike(PROMISE, &mut original, &mut copy)?;
    }
    Ok(())
}

/// Captures after each event, and writes all captures at the end.
///
/// # Errors
///
/// The first difference.
pub fn a_capture_changes_nothing_and_nothing_changes_it(
    subject: &Subject<'_>,
) -> Result<(), Broken> {
    const PROMISE: &str = "a capture changes nothing, and nothing changes it";
    let (mut disturbed, mut left_alone) = (subject.born()?, subject.born()?);
    let mut captures: Vec<(Capture, Digest)> = Vec::new();
    for index in 0..subject.events.len() {
        let before = subject.feed(&mut disturbed, index..index + 1, PROMISE)?;
        let after = subject.feed(&mut left_alone, index..index + 1, PROMISE)?;
        same(PROMISE, &before, &after)?;
        let digest = said(PROMISE, disturbed.digest())?;
        same(PROMISE, &digest, &said(PROMISE, left_alone.digest())?)?;
        captures.push((said(PROMISE, disturbed.capture())?, digest));
    }
    for (capture, digest) in captures {
        capture.warm();
        let parts = said(PROMISE, capture.write(&mut ChunkShelf::new()))?;
        same(PROMISE, &parts.state.digest(), &digest)?;
    }
    Ok(())
}

/// Replays the second half of the events on a copy taken in the middle. Asks nothing of kinds that
/// do not replay.
///
/// # Errors
///
/// The first difference.
pub fn a_replay_comes_out_equal(subject: &Subject<'_>) -> Result<(), Broken> {
    const PROMISE: &str = "a replay comes out equal";
    let mut original = subject.born()?;
    if original.catch_up() != CatchUp::Replay {
        return Ok(());
    }
    let middle = subject.events.len() / 2;
    subject.feed(&mut original, 0..middle, PROMISE)?;
    let capture = said(PROMISE, original.capture())?;
    subject.feed(&mut original, middle..subject.events.len(), PROMISE)?;
    let snapshot = said(PROMISE, StateSnapshot::of(capture, Ledger::default()))?;
    let mut copy = said(PROMISE, snapshot.host(&subject.kind, (subject.fresh)()))?;
    subject.feed(&mut copy, middle..subject.events.len(), PROMISE)?;
    alike(PROMISE, &mut original, &mut copy)
}

/// Offers snapshots with every kind of damage.
///
/// # Errors
///
/// The first that was taken.
pub fn a_restore_refuses_what_is_wrong(subject: &Subject<'_>) -> Result<(), Broken> {
    const PROMISE: &str = "a restore refuses what is wrong";
    let mut host = subject.born()?;
    subject.feed(&mut host, 0..subject.events.len(), PROMISE)?;
    let capture = said(PROMISE, host.capture())?;
    let snapshot = said(PROMISE, StateSnapshot::of(capture, Ledger::default()))?;
    let good = snapshot.manifest().clone();
    for (what, kind, manifest, luggage) in damaged(subject, &snapshot)? {
        let mut chunks = snapshot.chunks().clone();
        let tried =
            Host::restore(&kind, &manifest, &luggage, (subject.fresh)(), &mut chunks).map(drop);
        refused(what, tried)?;
    }
    if good.state.chunks == 0 {
        return Ok(());
    }
    for damage in [Damage::Flipped, Damage::Truncated, Damage::Empty, Damage::Missing] {
        for list in &good.state.lists {
            let mut source = Damaged { chunks: snapshot.chunks().clone(), chunk: *list, damage };
            let luggage = &snapshot.luggage().host;
            let body = (subject.fresh)();
            let tried = Host::restore(&subject.kind, &good, luggage, body, &mut source).map(drop);
            refused("a damaged list", tried)?;
        }
        for (name, _) in snapshot.chunks().iter().filter(|(name, _)| !good.luggage.contains(name)) {
            let mut source = Damaged { chunks: snapshot.chunks().clone(), chunk: *name, damage };
            let luggage = &snapshot.luggage().host;
            let body = (subject.fresh)();
            let tried = Host::restore(&subject.kind, &good, luggage, body, &mut source).map(drop);
            refused("a damaged chunk", tried)?;
        }
    }
    Ok(())
}

/// Lets the body panic in each of its turns in turn.
///
/// # Errors
///
/// The first time that the host goes on.
pub fn a_panic_spoils_the_host(subject: &Subject<'_>) -> Result<(), Broken> {
    const PROMISE: &str = "a panic spoils the host";
    let body = Box::new(Panicking { body: (subject.fresh)() });
    let mut host = Host::born(ENTITY, subject.kind.clone(), body, SEED, &Digest::ZERO);
    let (head, time) = (host.head(), host.time());
    let event = CausalEvent::unchained(OriginHash::new(0), 1, Bytes::new());
    let turned = host.turn(Epoch::FIRST, Time::ZERO, &ARRIVAL, &event);
    if !matches!(turned, Err(HostError::Panicked(_))) {
        return Err(Broken { promise: PROMISE, found: format!("{turned:?}") });
    }
    same(PROMISE, &(head, time), &(host.head(), host.time()))?;
    let again = host.turn(Epoch::FIRST, Time::ZERO, &ARRIVAL, &event);
    same(PROMISE, &again, &Err(HostError::Spoilt))?;
    same(PROMISE, &host.digest(), &Err(HostError::Spoilt))?;
    same(PROMISE, &host.capture().map(drop), &Err(HostError::Spoilt))
}

const SEED: [u8; 32] = [7; 32];
const ENTITY: EntityId = EntityId::from_bytes([9; 32]);
const ARRIVAL: InputOrigin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };

impl Subject<'_> {
    fn born(&self) -> Result<Host, Broken> {
        let body = (self.fresh)();
        let mut host = Host::born(ENTITY, self.kind.clone(), body, SEED, &Digest::ZERO);
        said("a newborn takes what it is given", host.found(self.given))?;
        Ok(host)
    }

    /// Gives the events of this range, each after the timers that are due by then.
    fn feed(
        &self,
        host: &mut Host,
        range: std::ops::Range<usize>,
        promise: &'static str,
    ) -> Result<Vec<Turned>, Broken> {
        let mut turns = Vec::new();
        for index in range {
            let now = Time::ZERO + PACE * u32::try_from(index + 1).unwrap_or(u32::MAX);
            while let Some((at, timer)) = host.next_timer().filter(|(at, _)| *at <= now) {
                let event = CausalEvent::unchained(OriginHash::new(0), 0, Bytes::new());
                let turned = host.turn(host.epoch(), at, &InputOrigin::Timer(timer), &event);
                turns.push(said(promise, turned)?);
            }
            let payload = self.events[index].clone();
            let event = CausalEvent::unchained(OriginHash::new(0), index as u64 + 1, payload);
            turns.push(said(promise, host.turn(host.epoch(), now, &ARRIVAL, &event))?);
        }
        Ok(turns)
    }

    /// A daemon that went through a snapshot in bytes.
    fn copy(&self, host: &mut Host, promise: &'static str) -> Result<Host, Broken> {
        let capture = said(promise, host.capture())?;
        let snapshot = said(promise, StateSnapshot::of(capture, Ledger::default()))?;
        let snapshot = said(promise, StateSnapshot::from_bytes(snapshot.to_bytes()))?;
        said(promise, snapshot.host(&self.kind, (self.fresh)()))
    }
}

/// Where to freeze: everywhere in a short run, else at some places.
fn cuts(subject: &Subject<'_>) -> Vec<usize> {
    let step = (subject.events.len() / 16).max(1);
    (0..=subject.events.len()).step_by(step).collect()
}

/// Manifests and luggage that are wrong in one way each.
fn damaged(
    subject: &Subject<'_>,
    snapshot: &StateSnapshot,
) -> Result<Vec<(&'static str, Kind, Manifest, Bytes)>, Broken> {
    let good = snapshot.manifest();
    let luggage = snapshot.luggage().host.clone();
    let other = said("a kind has a name", Kind::new("another kind"))?;
    let mut version = good.clone();
    version.version = StateVersion::new(u32::MAX);
    let mut bytes = good.clone();
    bytes.state.bytes += 1;
    let mut chunks = good.clone();
    chunks.state.chunks += 1;
    let mut list = good.clone();
    list.state.lists.push(ChunkRef::of(b"not there"));
    let mut last = good.clone();
    last.head.sequence = last.head.sequence.next();
    let short = luggage.slice(..luggage.len() / 2);
    let kind = &subject.kind;
    Ok(vec![
        ("another kind", other, good.clone(), luggage.clone()),
        ("another version", kind.clone(), version, luggage.clone()),
        ("another size", kind.clone(), bytes, luggage.clone()),
        ("another count", kind.clone(), chunks, luggage.clone()),
        ("a list too many", kind.clone(), list, luggage.clone()),
        ("another last output", kind.clone(), last, luggage),
        ("half of the luggage", kind.clone(), good.clone(), short),
        ("no luggage", kind.clone(), good.clone(), Bytes::new()),
    ])
}

fn refused(what: &'static str, tried: Result<(), RestoreError>) -> Result<(), Broken> {
    const PROMISE: &str = "a restore refuses what is wrong";
    match tried {
        Ok(()) => Err(Broken { promise: PROMISE, found: format!("{what} was taken") }),
        Err(RestoreError::Panicked(said)) => {
            Err(Broken { promise: PROMISE, found: format!("{what} made it panic: {said}") })
        }
        Err(_) => Ok(()),
    }
}

fn alike(promise: &'static str, one: &mut Host, other: &mut Host) -> Result<(), Broken> {
    same(promise, &one.head(), &other.head())?;
    same(promise, &one.last(), &other.last())?;
    same(promise, &one.time(), &other.time())?;
    same(promise, &one.next_timer(), &other.next_timer())?;
    same(promise, &said(promise, one.digest())?, &said(promise, other.digest())?)?;
    same(promise, &said(promise, one.fingerprint())?, &said(promise, other.fingerprint())?)
}

fn same<T: PartialEq + std::fmt::Debug>(
    promise: &'static str,
    one: &T,
    other: &T,
) -> Result<(), Broken> {
    if one == other {
        return Ok(());
    }
    Err(Broken { promise, found: format!("{one:?} and {other:?}") })
}

fn said<T, E: std::fmt::Display>(promise: &'static str, result: Result<T, E>) -> Result<T, Broken> {
    result.map_err(|error| Broken { promise, found: error.to_string() })
}

#[derive(Clone, Copy)]
enum Damage {
    Flipped,
    Truncated,
    Empty,
    Missing,
}

/// Gives one chunk damaged.
struct Damaged {
    chunks: ChunkShelf,
    chunk: ChunkRef,
    damage: Damage,
}

impl ChunkSource for Damaged {
    fn read(&mut self, chunk: &ChunkRef) -> Result<Bytes, SourceError> {
        let bytes = self.chunks.read(chunk)?;
        if *chunk != self.chunk {
            return Ok(bytes);
        }
        match self.damage {
            Damage::Missing => Err(SourceError("it is not there".to_owned())),
            Damage::Empty => Ok(Bytes::new()),
            Damage::Truncated => Ok(bytes.slice(..bytes.len().saturating_sub(1))),
            Damage::Flipped => {
                let mut flipped = Vec::from(bytes);
                if let Some(byte) = flipped.last_mut() {
                    *byte ^= 1;
                }
                Ok(flipped.into())
            }
        }
    }
}

/// A body that panics in its turn.
struct Panicking {
    body: Box<dyn Body>,
}

impl Body for Panicking {
    fn name(&self) -> &str {
        self.body.name()
    }

    fn catch_up(&self) -> CatchUp {
        self.body.catch_up()
    }

    fn version(&self) -> StateVersion {
        self.body.version()
    }

    fn requirements(&self) -> Requirements {
        self.body.requirements()
    }

    fn reads(&self) -> RangeInclusive<StateVersion> {
        self.body.reads()
    }

    fn admit(&self, manifest: &Manifest) -> Result<(), Misfit> {
        self.body.admit(manifest)
    }

    fn turn(
        &mut self,
        context: &mut Context<'_>,
        input: Input<'_>,
        budget: Budget,
    ) -> Result<Step, ProcessError> {
        let turned = self.body.turn(context, input, budget);
        drop(turned);
        panic!("in the middle of a turn");
    }

    fn idle(&mut self, budget: Budget) -> Idle {
        self.body.idle(budget)
    }

    fn capture(&mut self) -> Arc<dyn FrozenState> {
        self.body.capture()
    }

    fn restore(
        &mut self,
        version: StateVersion,
        state: &mut StateReader<'_>,
    ) -> Result<(), RestoreError> {
        self.body.restore(version, state)
    }
}
