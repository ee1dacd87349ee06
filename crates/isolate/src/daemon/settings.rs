//! Decides what is fixed for an isolate at its birth, and what a node allows.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_daemon::{Priority, Schedule};

use crate::state::{DecodeLimits, Limits, NanPolicy};

/// How an isolate lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It exports `on_event` and is called for each event.
    Reactor,
    /// It exports `_start` and runs until it ends.
    Program,
}

/// What is fixed at the birth of an isolate and travels with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) life: Life,
    pub(super) nan: NanPolicy,
    pub(super) limits: Limits,
    /// The most looks of one turn.
    pub(super) polls_max: u64,
    /// The most bytes in all files.
    pub(super) files_bytes_max: u64,
    /// How its turns want to be made. Written apart, see [`Schedules`].
    #[serde(skip)]
    pub(super) schedule: Schedules,
}

/// A schedule as it is written: with nothing if it is the usual one, so that what was written before there was
/// another one stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedules(pub(super) Schedule);

impl Schedules {
    /// How many bytes there are if it is not the usual one.
    pub(super) const BYTES: usize = 2;

    /// None for the usual one.
    pub(super) fn bytes(self) -> Option<[u8; Self::BYTES]> {
        let Schedule { priority, is_pinned } = self.0;
        let priority = match priority {
            Priority::Low => 0,
            Priority::Normal => 1,
            Priority::High => 2,
        };
        (self != Self::default()).then(|| [priority, u8::from(is_pinned)])
    }

    /// None if these are not written so.
    pub(super) fn read(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [priority, pinned] = bytes;
        let priority = *Priority::ALL.get(usize::from(priority))?;
        let read = Self(Schedule { priority, is_pinned: pinned != 0 });
        (read.bytes() == Some(bytes)).then_some(read)
    }
}

/// What a node allows the isolates that it takes; each bound is for one isolate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most bytes of a module. A larger one is refused.
    pub module_bytes_max: usize,
    /// The most bytes of each memory that an isolate may claim.
    pub memory_bytes_max: u64,
    /// The most elements of each table that an isolate may claim.
    pub table_elements_max: u64,
    /// The most frames that an isolate may claim.
    pub frames_max: u32,
    /// The most bytes in all files of an isolate; also what it has if it claims nothing.
    pub files_bytes_max: u64,
    /// The most looks of one turn that an isolate may claim; also what it has if it claims nothing.
    pub polls_max: u64,
}

impl Default for Policy {
    /// 64 MiB of module, 1 GiB for each memory, 10,000,000 elements for each table, 20,000 frames,
    /// 16 MiB of files, 20,000,000 looks.
    fn default() -> Self {
        Self {
            module_bytes_max: 64 << 20,
            memory_bytes_max: 1 << 30,
            table_elements_max: 10_000_000,
            frames_max: 20_000,
            files_bytes_max: 16 << 20,
            polls_max: 20_000_000,
        }
    }
}

/// Why a node does not take an isolate.
///
/// Fault: whoever chose this node. Changed: nothing. Again: at a node that allows more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} of {claimed} is more than the {allowed} that this node allows an isolate")]
pub struct Disallowed {
    /// What it claims too much of.
    pub what: &'static str,
    /// How much.
    pub claimed: u64,
    /// How much it may.
    pub allowed: u64,
}

impl Policy {
    /// What a memory may grow to if nothing is said.
    pub(super) fn memory_bytes_default(&self) -> u64 {
        self.memory_bytes_max.min(Limits::SMALL.memory_bytes_max)
    }

    /// Whether an isolate with these settings may live here.
    pub(super) fn allows(&self, settings: &Settings) -> Result<(), Disallowed> {
        let Limits { memory_bytes_max, table_elements_max, frames_max } = settings.limits;
        let claims = [
            ("memory", memory_bytes_max, self.memory_bytes_max),
            ("a table", table_elements_max, self.table_elements_max),
            ("a depth", u64::from(frames_max), u64::from(self.frames_max)),
            ("a turn", settings.polls_max, self.polls_max),
            ("files", settings.files_bytes_max, self.files_bytes_max),
        ];
        let over = claims.into_iter().find(|(_, claimed, allowed)| claimed > allowed);
        over.map_or(Ok(()), |(what, claimed, allowed)| Err(Disallowed { what, claimed, allowed }))
    }

    /// What a state may hold to be read here at all.
    pub(super) fn decode_limits(&self) -> DecodeLimits {
        DecodeLimits { frames_max: self.frames_max, ..DecodeLimits::WIDE }
    }
}
