//! Decides what the client process of `moves` does: it sends events at times that were fixed
//! beforehand and keeps the account of them. It is neither a node of the daemon nor the process
//! that orchestrates, so that neither makes it wait.
//!
//! ```text
//! in   member, start, stop     as a node
//! in   send SEED RATE          begins to send so many events a second to the daemon of SEED
//! in   account FILE            ends it, waits for all answers, reads all counters back, and writes
//!                              the acknowledgements to FILE
//! out  account JSON            the ledger
//! ```
//!
//! The file holds two numbers of 64 bits for each acknowledgement, little-endian: when it came and
//! how long it took.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use whimbrel_runtime::DaemonRuntime;
use whimbrel_wire::EntityId;

use crate::ledger::Ledger;
use crate::load::{self, Ack, Load};
use crate::node;

/// How long answers may take when everything is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of the client process.
#[derive(Args)]
pub(crate) struct ClientTask {
    /// Of its key.
    #[arg(long)]
    seed: u8,
    /// Where the moments of moves are written at the end.
    #[arg(long)]
    hops: Option<PathBuf>,
}

/// Runs the client until its input ends.
pub(crate) fn run(task: &ClientTask) -> Result<()> {
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let runtime = tokio.block_on(node::open(task.seed, None, task.hops.clone()))?;
    let mut client = Client { runtime, tokio, sending: None };
    node::say(&format!("listening {}", client.runtime.mesh().local_address()));
    node::obey_lines(|words| client.obey(words))?;
    client.tokio.block_on(client.runtime.shutdown())?;
    node::say("done");
    Ok(())
}

struct Client {
    runtime: DaemonRuntime,
    tokio: tokio::runtime::Runtime,
    sending: Option<(EntityId, Load)>,
}

impl Client {
    fn obey(&mut self, words: &[&str]) -> Result<()> {
        match *words {
            ["member", seed, address] => node::admit(&self.runtime, seed, address),
            ["start"] => Ok(self.tokio.block_on(self.runtime.start())?),
            ["send", seed, rate] => {
                let entity = node::identity(seed.parse()?).entity_id();
                let _inside = self.tokio.enter();
                let load = Load::start(self.runtime.client(), entity, rate.parse()?);
                self.sending = Some((entity, load));
                Ok(())
            }
            ["account", file] => {
                let ledger = self.account(Path::new(file))?;
                node::say(&format!("account {}", serde_json::to_string(&ledger)?));
                Ok(())
            }
            _ => Err(anyhow!("not understood: {}", words.join(" "))),
        }
    }

    fn account(&mut self, file: &Path) -> Result<Ledger> {
        let (entity, load) = self.sending.take().context("nothing was sent")?;
        let (mut ledger, acks) = self.tokio.block_on(load.end(PATIENCE))?;
        self.tokio.block_on(load::read_back(&self.runtime, entity, &mut ledger))?;
        write(file, &acks)?;
        Ok(ledger)
    }
}

fn write(file: &Path, acks: &[Ack]) -> Result<()> {
    let words = acks.iter().flat_map(|ack| [ack.at, ack.latency]);
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    Ok(std::fs::write(file, bytes)?)
}

/// The acknowledgements in a file that a client wrote.
pub(crate) fn read(file: &Path) -> Result<Vec<Ack>> {
    let bytes = std::fs::read(file)?;
    let (words, rest) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let (pairs, odd) = words.as_chunks::<2>();
    if !rest.is_empty() || !odd.is_empty() {
        return Err(anyhow!("the acknowledgements are cut off"));
    }
    Ok(pairs.iter().map(|&[at, latency]| Ack { at, latency }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_read_as_they_were_written_and_not_when_they_are_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("acknowledgements");
        let acks = [(1, 2), (3, 4)].map(|(at, latency)| Ack { at, latency });
        write(&file, &acks).expect("written");
        assert_eq!(read(&file).expect("read"), acks);
        let bytes = std::fs::read(&file).expect("bytes");
        std::fs::write(&file, &bytes[..24]).expect("cut");
        assert!(read(&file).is_err());
    }
}
