//! Decides what the deterministic fake does.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use whimbrel_wire::{CausalEvent, Digest, EntityId, Purpose, TimerId, decode, encode};

use crate::context::Context;
use crate::contract::{MeshDaemon, ProcessError};
use crate::restore::RestoreError;

/// Counts and mixes everything it is told, and answers with the count (eight bytes,
/// little-endian). The first byte of an event can ask for more:
///
/// * `!`: decline the event;
/// * `#`: panic;
/// * `?`: mix a random number in;
/// * `@` and eight bytes: set timer 1 that many nanoseconds from now (little-endian);
/// * `>` and 32 bytes: send the rest to that daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// How many events.
    pub count: u64,
    /// How many timers.
    pub ticks: u64,
    /// A mixture of all that it ever saw.
    pub mixture: u64,
}

impl Counting {
    /// One that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn mix(&mut self, bytes: &[u8]) {
        let all = [&self.mixture.to_le_bytes(), bytes].concat();
        self.mixture = Digest::of(Purpose::Random, &all).prefix();
    }
}

impl MeshDaemon for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        match event.payload.split_first() {
            Some((b'!', _)) => {
                // Wishes of a declined event are forgotten.
                context.set_timer(TimerId::new(99), context.now());
                return Err(ProcessError::new("asked to decline"));
            }
            Some((b'#', _)) => panic!("asked to panic"),
            Some((b'?', _)) => {
                let random = context.random();
                self.mix(&random.to_le_bytes());
            }
            Some((b'@', nanos)) => {
                let nanos = nanos.try_into().map_or(0, u64::from_le_bytes);
                let at = context.now() + Duration::from_nanos(nanos);
                context.set_timer(TimerId::new(1), at);
            }
            Some((b'>', rest)) => {
                if let Some((to, said)) = rest.split_first_chunk() {
                    context.send(EntityId::from_bytes(*to), Bytes::copy_from_slice(said));
                }
            }
            Some(_) | None => {}
        }
        self.count += 1;
        self.mix(&event.payload);
        self.mix(&context.now().as_nanos().to_le_bytes());
        Ok(vec![Bytes::copy_from_slice(&self.count.to_le_bytes())])
    }

    fn on_timer(&mut self, context: &mut Context<'_>, timer: TimerId) {
        self.ticks += 1;
        self.mix(&timer.get().to_le_bytes());
        let random = context.random();
        self.mix(&random.to_le_bytes());
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(encode(self).into())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        *self = decode(state).map_err(|error| RestoreError::declined(error.to_string()))?;
        Ok(())
    }
}
