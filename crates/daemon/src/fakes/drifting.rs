//! Decides how the fakes differ from their own replay: by something that is not in their state.

use bytes::Bytes;
use whimbrel_wire::{CatchUp, CausalEvent, decode, encode};

use crate::context::Context;
use crate::contract::{MeshDaemon, ProcessError};
use crate::restore::RestoreError;

/// What a restored copy counts from, so that it never agrees with the original.
const RESTORED: u64 = 1_000_000;

/// Where a difference shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// In the state and in the outputs: the chains differ.
    Shown,
    /// In the state alone: only its digest differs.
    Hidden,
}

/// Says that it replays, and does not: its sum depends on how many events it saw since it was
/// built, which its snapshot leaves out.
#[derive(Clone, Debug)]
pub struct Drifting {
    drift: Drift,
    count: u64,
    sum: u64,
    /// Not in the snapshot.
    since: u64,
}

/// As little deterministic as [`Drifting`], and says so.
#[derive(Clone, Debug)]
pub struct Stubborn(Drifting);

impl Drifting {
    /// One whose difference shows as `drift`.
    #[must_use]
    pub fn new(drift: Drift) -> Self {
        Self { drift, count: 0, sum: 0, since: 0 }
    }
}

impl Stubborn {
    /// A fresh one.
    #[must_use]
    pub fn new() -> Self {
        Self(Drifting::new(Drift::Shown))
    }
}

impl Default for Stubborn {
    fn default() -> Self {
        Self::new()
    }
}

impl MeshDaemon for Drifting {
    fn name(&self) -> &str {
        "drifting"
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        _event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.since += 1;
        self.count += 1;
        self.sum = self.sum.wrapping_add(self.since);
        let said = match self.drift {
            Drift::Shown => self.sum,
            Drift::Hidden => self.count,
        };
        Ok(vec![Bytes::copy_from_slice(&said.to_le_bytes())])
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(encode(&(self.count, self.sum)).into())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let read = decode(state).map_err(|error| RestoreError::declined(error.to_string()))?;
        (self.count, self.sum) = read;
        self.since = RESTORED;
        Ok(())
    }
}

impl MeshDaemon for Stubborn {
    fn name(&self) -> &str {
        "stubborn"
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.0.process(context, event)
    }

    fn snapshot(&self) -> Option<Bytes> {
        self.0.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.0.restore(state)
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::FreezeAndCopy
    }
}
