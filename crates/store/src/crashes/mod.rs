//! Decides whether a store keeps its promises when the power goes, at each call of a disk.
//!
//! A life is played once to count the calls that change the disk (files made, written, cut,
//! synced, removed), and then again for each of them: there the disk stops, the power goes, and of
//! what was not synced anything may be found. What is opened after that must hold exactly what was
//! acknowledged, or that and the one step that was under way; it must work, and lose nothing when
//! the power goes again.
//!
//! # Promises
//!
//! They are those of the crate's root: S2 durable, S3 honest, S5 no-hole; and L2 found-again of
//! what is to be deleted.

mod life;
mod store;
mod tally;
pub(crate) mod workload;

use std::fmt;

use whimbrel_wire::{ChunkList, decode};

use self::life::{Deed, Ended, Life};
use self::store::Store;
pub use self::tally::Tally;
use self::workload::{copies, same};
use crate::chunks::Chunks;
use crate::error::StoreError;
use crate::vfs::image::Random;

/// How many things happen in a life.
const STEPS: u64 = 30;

/// How many more happen after a recovery.
const STEPS_AFTER: u64 = 4;

/// In how many calls after an opening the power may go a second time.
const RECOVERY_CALLS: u64 = 40;

/// What a store may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// What was acknowledged is found.
    Durable,
    /// An answer is true.
    Honest,
    /// A chunk that is named is there.
    NoHole,
    /// What is to be deleted is found again.
    FoundAgain,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub what: String,
}

/// A broken promise, and where.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many points were tried, this one included.
    pub points: u64,
    /// The seed of the life.
    pub seed: u64,
    /// The call at which the disk stopped, and what happened then; none in a life without a crash.
    pub crash: Option<(u64, Ending)>,
    /// What was broken.
    pub broken: Broken,
}

/// What happens when the disk has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ending {
    /// The power goes.
    Power,
    /// The process is killed; what it wrote stays visible. It is opened, read, and then the power
    /// goes: what was read is durable.
    Kill,
    /// The power goes, and again while the store is opened.
    PowerTwice,
}

/// Which crashes to try.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seeds of lives, from 0 on.
    pub seeds: u64,
    /// Of so many calls, one is a point. 1 tries them all; the seed shifts which.
    pub stride: u64,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Power, Self::Kill, Self::PowerTwice];
}

impl Plan {
    /// Tries them; stops at the first broken promise.
    ///
    /// # Errors
    ///
    /// [`Found`] says what and where.
    pub fn run(&self, tally: &mut Tally) -> Result<(), Box<Found>> {
        for seed in 0..self.seeds {
            let calls = count(seed).map_err(|broken| {
                Box::new(Found { points: tally.points(), seed, crash: None, broken })
            })?;
            tally.life(calls);
            for call in (seed % self.stride.max(1)..calls).step_by(self.stride.max(1) as usize) {
                for ending in Ending::ALL {
                    point(seed, call, ending, tally).map_err(|broken| {
                        let crash = Some((call, ending));
                        Box::new(Found { points: tally.points(), seed, crash, broken })
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// How many calls a life without a crash makes.
fn count(seed: u64) -> Result<u64, Broken> {
    let mut store = Store::new()?;
    let mut life = Life::new(seed);
    live(&mut life, &mut store, STEPS)?;
    Ok(store.disk.calls())
}

/// Opens and works, until the disk stops or to the end.
fn live(life: &mut Life, store: &mut Store, steps: u64) -> Result<Ended, Broken> {
    if life.open(store)? == Ended::Stopped {
        return Ok(Ended::Stopped);
    }
    for _ in 0..steps {
        if life.step(store)? == Ended::Stopped {
            return Ok(Ended::Stopped);
        }
    }
    Ok(Ended::Well)
}

/// One life with a crash at one call.
fn point(seed: u64, call: u64, ending: Ending, tally: &mut Tally) -> Result<(), Broken> {
    let mut store = Store::new()?;
    let mut life = Life::new(seed);
    store.disk.stop_at_call(call);
    live(&mut life, &mut store, STEPS)?;
    tally.point(life.deed, store.disk.stopped_at());
    let mut random = Random(seed ^ call.wrapping_mul(0x9e37_79b9));
    match ending {
        Ending::Power => store.disk.crash(random.next()),
        Ending::Kill => store.disk.kill(),
        Ending::PowerTwice => {
            store.disk.crash(random.next());
            store.disk.stop_at_call(random.below(RECOVERY_CALLS));
            life.deed = Deed::Recover;
            if store.open().is_ok() {
                while store.engine()?.tidy_one().is_ok_and(|more| more) {}
            }
            tally.point(life.deed, store.disk.stopped_at());
            store.disk.crash(random.next());
        }
    }
    let found = recover(&mut life, &mut store)?;
    if ending == Ending::Kill {
        life.go_on(found, &**store.chunks()?)?;
        store.disk.crash(random.next());
        recover(&mut life, &mut store)?;
    }
    go_on(&mut life, &mut store, random.next())
}

/// Opens the store and compares; what it holds.
fn recover(life: &mut Life, store: &mut Store) -> Result<crate::Memory, Broken> {
    store.open().map_err(Broken::damage)?;
    let engine = store.engine()?;
    let mut candidates = [Some(life.held.clone()), life.perhaps.clone()].into_iter().flatten();
    let vault = Life::vault(engine).map_err(Broken::damage)?;
    let found = candidates.find(|model| {
        let same_vault = Life::vault(&mut model.clone()).is_ok_and(|expected| expected == vault);
        same_vault && same(engine, model)
    });
    let found = found.ok_or_else(|| {
        let what = "the store does not hold what was acknowledged".to_owned();
        Broken::of(Promise::Durable, what)
    })?;
    let chunks = store.chunks()?.clone();
    for (digest, bytes) in &life.ever {
        match chunks.get(digest).map_err(Broken::damage)? {
            Some(read) if read == *bytes => {}
            None if !life.must_keep(digest)? => {}
            Some(_) | None => {
                return Err(Broken::of(Promise::Durable, format!("chunk {digest} is gone")));
            }
        }
    }
    no_hole(store)?;
    Ok(found)
}

/// Everything that any copy names is there.
fn no_hole(store: &mut Store) -> Result<(), Broken> {
    let chunks = store.chunks()?.clone();
    for copy in copies(store.engine()?).map_err(Broken::damage)? {
        let mut named = copy.manifest.luggage.clone();
        for list in &copy.manifest.state.lists {
            named.push(*list);
            let Some(bytes) = chunks.get(&list.digest).map_err(Broken::damage)? else { continue };
            let list: ChunkList = decode(&bytes)
                .map_err(|error| Broken::of(Promise::Durable, format!("a list: {error}")))?;
            named.extend(list.0);
        }
        for chunk in named {
            if chunks.get(&chunk.digest).map_err(Broken::damage)?.is_none() {
                let what = format!("chunk {} is named and not there", chunk.digest);
                return Err(Broken::of(Promise::NoHole, what));
            }
        }
    }
    Ok(())
}

/// The store works, deletes what it has to, and loses nothing when the power goes once more.
fn go_on(life: &mut Life, store: &mut Store, seed: u64) -> Result<(), Broken> {
    let found = recover(life, store)?;
    life.go_on(found, &**store.chunks()?)?;
    for _ in 0..STEPS_AFTER {
        life.step(store)?;
    }
    while store.engine()?.tidy_one().map_err(Broken::damage)? {}
    let unwanted = store.engine()?.unwanted().map_err(Broken::damage)?;
    if unwanted != 0 {
        let what = format!("{unwanted} rows that nobody wants and nobody deletes");
        return Err(Broken::of(Promise::FoundAgain, what));
    }
    store.disk.crash(seed);
    recover(life, store).map(|_| ())
}

impl Broken {
    fn of(promise: Promise, what: String) -> Self {
        Self { promise, what }
    }

    /// What was written cannot be read.
    fn damage(error: StoreError) -> Self {
        Self::of(Promise::Durable, error.to_string())
    }

    /// The model itself, or the disk under test, could not be made to work.
    fn model(error: StoreError) -> Self {
        Self::of(Promise::Honest, format!("the model: {error}"))
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durable => "durable",
            Self::Honest => "honest",
            Self::NoHole => "no-hole",
            Self::FoundAgain => "found-again",
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, seed, crash, broken } = self;
        write!(f, "the store's crash test after {points} points: {} broken at ", broken.promise)?;
        match crash {
            Some((call, ending)) => write!(f, "call {call} of seed {seed}, {ending:?}")?,
            None => write!(f, "seed {seed}, without a crash")?,
        }
        write!(f, ": {}", broken.what)
    }
}
