//! Decides what a newborn isolate is given, and how that looks as bytes.
//!
//! A module alone is enough: it begins with `\0asm`. With settings in front it is
//! [`FOUNDING_MAGIC`], the length of the settings as u32 (little-endian), the settings, the module.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_daemon::{Priority, Schedule};
use whimbrel_wire::{decode, encode};

use super::settings::{Life, Schedules, Settings};
use crate::module::Module;
use crate::state::{Limits, NanPolicy};
use crate::wasi::Beginnings;

/// How what a newborn is given begins, if it has settings.
pub const FOUNDING_MAGIC: [u8; 8] = *b"whimisol";

/// How a module in the binary format begins.
const MODULE_MAGIC: [u8; 4] = *b"\0asm";

/// How a newborn is to live; what is not said is as the module and the node have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// How it lives; by what it exports if this is not said.
    pub life: Option<Life>,
    /// The most bytes of each memory.
    pub memory_bytes_max: Option<u64>,
    /// The most elements of each table.
    pub table_elements_max: Option<u64>,
    /// The most looks of one turn.
    pub polls_max: Option<u64>,
    /// Whether arithmetic gives one NaN only, so that results are the same on every processor.
    pub canonical_nan: bool,
    /// What it finds through WASI.
    pub beginnings: Beginnings,
    /// How much of a node's threads it is given while others want them too.
    pub priority: Priority,
    /// Whether it stays where it is until somebody moves it by name.
    pub pinned: bool,
}

/// Why what a newborn was given is of no use.
///
/// Fault: whoever spawns it. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FoundingError {
    /// It is neither a module nor settings and a module.
    #[error("an isolate is given a WebAssembly module in the binary format")]
    NoModule,
    /// The settings in front of the module are none.
    #[error("the settings in front of the module are not readable")]
    Settings,
    /// The module exports neither what a reactor nor what a program must.
    #[error(
        "the module exports neither on_event nor _start: it is neither a reactor nor a program"
    )]
    NoLife,
    /// The module exports both.
    #[error("the module exports on_event and _start: say which of them it is to live by")]
    TwoLives,
}

impl Founding {
    /// What goes in front of the bytes of a module.
    #[must_use]
    pub fn in_front(&self) -> Vec<u8> {
        let settings = encode(self);
        let length = u32::try_from(settings.len()).unwrap_or(u32::MAX);
        [&FOUNDING_MAGIC[..], &length.to_le_bytes(), &settings].concat()
    }

    /// The settings and the module in what a newborn was given.
    ///
    /// # Errors
    ///
    /// [`FoundingError`].
    pub fn read(given: &[u8]) -> Result<(Self, &[u8]), FoundingError> {
        if given.starts_with(&MODULE_MAGIC) {
            return Ok((Self::default(), given));
        }
        let rest = given.strip_prefix(&FOUNDING_MAGIC).ok_or(FoundingError::NoModule)?;
        let (length, rest) = rest.split_first_chunk().ok_or(FoundingError::Settings)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (settings, module) = rest.split_at_checked(length).ok_or(FoundingError::Settings)?;
        if !module.starts_with(&MODULE_MAGIC) {
            return Err(FoundingError::NoModule);
        }
        Ok((decode(settings).map_err(|_| FoundingError::Settings)?, module))
    }

    /// What becomes of the bits of a NaN.
    pub(super) fn nan(&self) -> NanPolicy {
        if self.canonical_nan { NanPolicy::Canonical } else { NanPolicy::Open }
    }

    /// The settings with which an isolate of this module begins at a node with this policy.
    pub(super) fn settle(
        &self,
        module: &Module,
        policy: &super::Policy,
    ) -> Result<Settings, FoundingError> {
        let exported = |name: &str| module.exported_function(name).is_some();
        let life = match (self.life, exported("on_event"), exported("_start")) {
            (Some(life), ..) => life,
            (None, true, false) => Life::Reactor,
            (None, false, true) => Life::Program,
            (None, true, true) => return Err(FoundingError::TwoLives),
            (None, false, false) => return Err(FoundingError::NoLife),
        };
        Ok(Settings {
            life,
            nan: self.nan(),
            limits: Limits {
                memory_bytes_max: self
                    .memory_bytes_max
                    .unwrap_or_else(|| policy.memory_bytes_default()),
                table_elements_max: self.table_elements_max.unwrap_or_else(|| {
                    policy.table_elements_max.min(Limits::SMALL.table_elements_max)
                }),
                frames_max: Limits::SMALL.frames_max.min(policy.frames_max),
            },
            polls_max: self.polls_max.unwrap_or(policy.polls_max),
            files_bytes_max: match self.beginnings.files_bytes_max {
                0 => policy.files_bytes_max,
                most => most,
            },
            schedule: Schedules(Schedule { priority: self.priority, is_pinned: self.pinned }),
        })
    }
}
