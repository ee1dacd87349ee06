//! Decides what the state of the daemon is: values that no compression and no deduplication can
//! shorten, and that can be made anew at will.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail};
use whimbrel_daemon::kinds::KvCommand;
use whimbrel_protocol::SendError;
use whimbrel_runtime::{Client, DaemonError};
use whimbrel_wire::EntityId;

/// The shortest and the longest value; the last may be shorter.
const VALUE_BYTES: std::ops::Range<u64> = 4_096..16_384;

/// Puts that are under way at once.
const UNDER_WAY_MAX: usize = 128;

/// How long a put rests that was refused because too many wait.
const BUSY_REST: Duration = Duration::from_millis(5);

/// The values of a state of a given size.
pub(crate) struct Filling {
    lengths: Vec<usize>,
    generation: u64,
    next: usize,
}

impl Filling {
    /// Values that take `bytes` together.
    pub(crate) fn new(bytes: u64) -> Self {
        let mut lengths = Vec::new();
        let mut rest = bytes;
        while rest > 0 {
            let spread = VALUE_BYTES.end - VALUE_BYTES.start;
            let wanted = VALUE_BYTES.start + 4_093 * lengths.len() as u64 % spread;
            let length = if rest < VALUE_BYTES.end { rest } else { wanted };
            lengths.push(usize::try_from(length).unwrap_or(0));
            rest -= length;
        }
        Self { lengths, generation: 0, next: 0 }
    }

    /// Writes values, in turn, until `bytes` are fresh. Gives how many are.
    pub(crate) async fn renew(
        &mut self,
        client: &Client,
        entity: EntityId,
        bytes: u64,
    ) -> Result<u64> {
        let mut under_way = VecDeque::new();
        let mut fresh = 0;
        while fresh < bytes && !self.lengths.is_empty() {
            let (index, length) = (self.next, self.lengths[self.next]);
            self.next = (index + 1) % self.lengths.len();
            self.generation += 1;
            let value = noise(self.generation, length);
            let key = format!("s{index:08}");
            let put = KvCommand::Put { key: key.as_bytes(), value: &value }.to_bytes();
            under_way.push_back((put.clone(), client.send(entity, put)));
            fresh += length as u64;
            while under_way.len() > UNDER_WAY_MAX || fresh >= bytes {
                let Some((put, answer)) = under_way.pop_front() else { break };
                let mut answered = answer.await;
                while let Err(DaemonError::Send(SendError::Busy)) = answered {
                    tokio::time::sleep(BUSY_REST).await;
                    answered = client.send(entity, put.clone()).await;
                }
                if let Some(reason) = answered?.failure {
                    bail!("a put was declined: {reason}");
                }
            }
        }
        Ok(fresh)
    }
}

/// Bytes that look random and are the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new_derive_key("whimbrel bench noise");
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_take_as_many_bytes_as_were_wanted() {
        for bytes in [1, 1_024, 16_384, 1 << 20, (1 << 24) + 1] {
            let lengths = Filling::new(bytes).lengths;
            assert_eq!(lengths.iter().map(|&length| length as u64).sum::<u64>(), bytes);
        }
    }
}
