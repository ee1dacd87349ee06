//! Decides what the kind `kv` does: keys and values in order, as many as there is memory for.
//!
//! What the commands and answers look like is decided by [`command`] and [`answer`].
//!
//! # Limits
//!
//! * [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX), [`KV_VALUE_BYTES_MAX`]: longer ones are
//!   declined.
//! * [`KV_SCAN_ENTRIES_MAX`], [`KV_SCAN_BYTES_MAX`]: a scan stops there and says where to go on.

mod answer;
mod blob;
mod command;

pub use answer::KvAnswer;
pub use command::{KvCommand, KvCommandError};

use bytes::Bytes;
use whimbrel_wire::CausalEvent;

use crate::context::Context;
use crate::contract::{MeshDaemon, Paged, ProcessError};
use crate::paged::PagedMap;

/// Longest value: it fits an answer.
pub const KV_VALUE_BYTES_MAX: usize = 384 * 1024;

/// Most entries in the answer to one scan.
pub const KV_SCAN_ENTRIES_MAX: usize = 1000;

/// A scan stops after the entry that makes its answer longer than this.
pub const KV_SCAN_BYTES_MAX: usize = 64 * 1024;

/// A store of keys and values.
#[derive(Debug, Default)]
pub struct Kv {
    map: PagedMap,
}

impl Kv {
    /// The name of the kind.
    pub const NAME: &str = "kv";

    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it holds.
    #[must_use]
    pub fn map(&self) -> &PagedMap {
        &self.map
    }

    fn obey<T>(
        &mut self,
        command: KvCommand<'_>,
        say: impl FnOnce(KvAnswer<'_>) -> T,
    ) -> Result<T, ProcessError> {
        match command {
            KvCommand::Put { key, value } => {
                let replaced = self.put(key, value)?;
                Ok(say(KvAnswer::Put { replaced }))
            }
            KvCommand::Get { key } => Ok(say(KvAnswer::Value(self.map.get(key)))),
            KvCommand::Delete { key } => Ok(say(KvAnswer::Deleted(self.map.remove(key)))),
            KvCommand::Add { key, by } => {
                let sum = self.add(key, by)?;
                Ok(say(KvAnswer::Sum(sum)))
            }
            KvCommand::CompareAndSet { key, expected, value } => {
                if self.map.get(key) != expected {
                    return Ok(say(KvAnswer::Differs(self.map.get(key))));
                }
                self.put(key, value)?;
                Ok(say(KvAnswer::Swapped))
            }
            KvCommand::Scan { prefix, from, limit } => Ok(say(self.scan(prefix, from, limit))),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool, ProcessError> {
        if value.len() > KV_VALUE_BYTES_MAX {
            let bytes = value.len();
            let limit = KV_VALUE_BYTES_MAX;
            return Err(ProcessError::new(format!(
                "the value of {bytes} bytes is longer than {limit}"
            )));
        }
        self.map.insert(key, value).map_err(|error| ProcessError::new(error.to_string()))
    }

    fn add(&mut self, key: &[u8], by: i64) -> Result<i64, ProcessError> {
        let before = self.map.get(key).map_or(Some(0), number);
        let before = before.ok_or_else(|| ProcessError::new("the value is not a number"))?;
        let sum = before.checked_add(by);
        let sum = sum.ok_or_else(|| ProcessError::new("the sum does not fit 64 bits"))?;
        self.put(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }

    fn scan<'a>(&'a self, prefix: &[u8], from: &[u8], limit: u32) -> KvAnswer<'a> {
        let most = (limit as usize).clamp(1, KV_SCAN_ENTRIES_MAX);
        let mut scan =
            self.map.scan(prefix.max(from)).take_while(|(key, _)| key.starts_with(prefix));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < most && bytes <= KV_SCAN_BYTES_MAX {
            let Some((key, value)) = scan.next() else { break };
            bytes += key.len() + value.len();
            entries.push((key, value));
        }
        KvAnswer::Entries { entries, next: scan.next().map(|(key, _)| key) }
    }
}

/// A decimal number, as `add` keeps it.
fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl MeshDaemon for Kv {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let payload = &event.payload[..];
        let command =
            KvCommand::parse(payload).map_err(|error| ProcessError::new(error.to_string()))?;
        let answer = if KvCommand::is_binary(payload) {
            self.obey(command, |answer| answer.to_bytes())?
        } else {
            self.obey(command, |answer| answer.to_text())?
        };
        Ok(vec![answer])
    }

    fn paged(&mut self) -> Option<&mut dyn Paged> {
        Some(&mut self.map)
    }
}
