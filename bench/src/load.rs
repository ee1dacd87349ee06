//! Decides how events are sent while a daemon moves: at times that were fixed beforehand, whatever
//! became of the ones before.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use whimbrel_daemon::kinds::{KvAnswer, KvCommand};
use whimbrel_protocol::SendError;
use whimbrel_runtime::{Client, DaemonError, DaemonRuntime};
use whimbrel_wire::{Answer, EntityId};

use crate::figures::nanos;
use crate::ledger::{Ledger, Outcome};
use crate::machine;

/// Counters that events are spread over.
pub(crate) const COUNTERS: u64 = 1_024;

/// An acknowledgement: when, and how long after its event was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) at: u64,
    pub(crate) latency: u64,
}

type Answering = Pin<Box<dyn Future<Output = Result<Answer, DaemonError>> + Send>>;

/// An event on its way.
struct Sent {
    event: u64,
    due: Instant,
    answer: Answering,
}

/// A sender at a fixed rate.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    acks: Arc<Mutex<Vec<Ack>>>,
    sender: std::thread::JoinHandle<()>,
    collector: tokio::task::JoinHandle<Ledger>,
}

/// The key of a counter.
pub(crate) fn counter_key(counter: u64) -> Vec<u8> {
    format!("e{counter}").into_bytes()
}

impl Load {
    /// Sends `rate` events a second to `entity` until it is ended.
    pub(crate) fn start(client: Client, entity: EntityId, rate: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let acks = Arc::new(Mutex::new(Vec::new()));
        let (give, sent) = unbounded_channel();
        let collector = tokio::spawn(collect(sent, Arc::clone(&acks)));
        let ended = Arc::clone(&over);
        let sender = std::thread::spawn(move || {
            let period = Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
            let mut due = Instant::now();
            for event in 0.. {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                if let Some(rest) = due.checked_duration_since(Instant::now()) {
                    std::thread::sleep(rest);
                }
                let key = counter_key(event % COUNTERS);
                let payload = KvCommand::Add { key: &key, by: 1 }.to_bytes();
                let answer = Box::pin(client.send(entity, payload));
                if give.send(Sent { event, due, answer }).is_err() {
                    return;
                }
                due += period;
            }
        });
        Self { over, acks, sender, collector }
    }

    /// Stops sending, waits for all answers, and gives the account and all acknowledgements.
    pub(crate) async fn end(self, patience: Duration) -> Result<(Ledger, Vec<Ack>)> {
        self.over.store(true, Ordering::Release);
        drop(tokio::task::spawn_blocking(move || drop(self.sender.join())).await);
        let ledger = tokio::time::timeout(patience, self.collector).await;
        let ledger = ledger.context("events are never answered")??;
        let acks = std::mem::take(&mut *lock(&self.acks));
        Ok((ledger, acks))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One sender's events are answered in order, so waiting for them in order sees each at once.
async fn collect(mut sent: UnboundedReceiver<Sent>, acks: Arc<Mutex<Vec<Ack>>>) -> Ledger {
    let mut ledger = Ledger::default();
    while let Some(Sent { event, due, answer }) = sent.recv().await {
        let answer = answer.await;
        let at = machine::wall();
        let outcome = outcome(answer);
        if matches!(outcome, Outcome::Applied(_)) {
            lock(&acks).push(Ack { at, latency: nanos(due.elapsed()) });
        }
        ledger.note(event, event % COUNTERS, at, outcome);
    }
    ledger
}

fn outcome(answer: Result<Answer, DaemonError>) -> Outcome {
    match answer {
        Ok(Answer { failure: Some(reason), .. }) => Outcome::Refused(reason),
        Ok(Answer { outputs, failure: None }) => {
            match outputs.first().map(|output| KvAnswer::parse(&output.payload)) {
                Some(Some(KvAnswer::Sum(sum))) => Outcome::Applied(sum),
                other => Outcome::Unknown(format!("answered by {other:?}")),
            }
        }
        Err(DaemonError::Send(
            error @ (SendError::Busy | SendError::NotFound | SendError::TooLarge),
        )) => Outcome::Refused(error.to_string()),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// Reads all counters back and compares them.
pub(crate) async fn read_back(
    runtime: &DaemonRuntime,
    entity: EntityId,
    ledger: &mut Ledger,
) -> Result<()> {
    for counter in ledger.counters() {
        let get = KvCommand::Get { key: &counter_key(counter) }.to_bytes();
        let answer = runtime.send(entity, get).await?;
        let output = answer.outputs.first().context("a get was not answered")?;
        let Some(KvAnswer::Value(value)) = KvAnswer::parse(&output.payload) else {
            anyhow::bail!("a get was answered by something else");
        };
        let sum = match value {
            Some(digits) => std::str::from_utf8(digits)?.parse()?,
            None => 0,
        };
        ledger.read_back(counter, sum);
    }
    Ok(())
}
