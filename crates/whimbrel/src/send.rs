//! Decides how events are sent: one, or each line of a file, without waiting for each other.
//!
//! Every event gets its number when the node reads it, in the order of the lines, and takes effect
//! exactly once whatever the daemon does meanwhile. If the node itself goes away, the ledger says
//! which lines were acknowledged and from where on it is not known.
//!
//! # Limits
//!
//! * [`UNDER_WAY_MAX`] events are on their way; the next line is read when one is acknowledged.
//! * [`LINE_BYTES_MAX`]: a longer line is not sent; sending ends there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::{Semaphore, mpsc};
use whimbrel::runtime::admin::words::{Ask, Body, Done, Payload, Reply};
use whimbrel::runtime::admin::{AdminClientError, Asker, Effect};
use whimbrel::wire::limits::PAYLOAD_BYTES_MAX;

use crate::ask::{declined_because, payload, put};
use crate::failure::{Advice, UNKNOWN, UNSUCCESSFUL};
use crate::output::{self, LiveLine, count};
use crate::words::Place;

/// Events that are on their way.
const UNDER_WAY_MAX: usize = 512;

/// Longest line: it is an event.
const LINE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// Reasons that the ledger lists.
const REASONS_MAX: usize = 5;

/// Sends one event.
pub(crate) async fn one(place: &Place, daemon: String, words: &[OsString]) -> Result<ExitCode> {
    let done = put(place, Ask::Send { daemon, payload: payload(words) }).await?;
    let Done::Answered { declined, .. } = done else { bail!("the node answered something else") };
    match declined {
        Some(reason) => Ok(declined_because(&reason)),
        None => {
            output::complain("acknowledged");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Sends each line.
pub(crate) async fn lines(place: &Place, daemon: String, file: &Path) -> Result<ExitCode> {
    let from: Box<dyn AsyncRead + Unpin + Send> = if file == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        let open = tokio::fs::File::open(file).await;
        Box::new(open.map_err(|error| {
            Advice::wrong(
                format!("could not read {}: {error}", file.display()),
                "name a file of lines, or - for the standard input",
            )
        })?)
    };
    let mut client = crate::ask::connect(place).await?;
    // The whole id, so that the node need not look the daemon up for each line.
    let Done::Daemon(found) = client.ask(Ask::Find { daemon }).await? else {
        bail!("the node answered something else")
    };
    let (asker, mut listener) = client.split();
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let (sent, mut news) = mpsc::unbounded_channel();
    let sending = tokio::spawn(send_all(from, asker, found.daemon, Arc::clone(&under_way), sent));

    let mut ledger = Ledger::new();
    let mut live = LiveLine::new(Duration::from_secs(5));
    let mut waiting: BTreeMap<u64, u64> = BTreeMap::new();
    let mut all_sent = false;
    while !(all_sent && waiting.is_empty()) {
        tokio::select! {
            biased;
            line = news.recv(), if !all_sent => match line {
                Some((request, number)) => {
                    ledger.sent += 1;
                    waiting.insert(request, number);
                }
                None => all_sent = true,
            },
            reply = listener.next(), if !waiting.is_empty() => match reply {
                Ok(reply) => {
                    if let Some(number) = waiting.remove(&reply.id) {
                        under_way.add_permits(1);
                        ledger.enter(number, reply);
                    }
                }
                Err(_) => break,
            },
        }
        live.show(&ledger.line());
    }
    live.clear();
    let stopped = if waiting.is_empty() { sending.await.ok().flatten() } else { None };
    Ok(ledger.close(waiting.values().next().copied(), waiting.len() as u64, stopped))
}

/// Sends lines until there are no more, or one cannot be sent: then says why.
async fn send_all(
    from: Box<dyn AsyncRead + Unpin + Send>,
    mut asker: Asker,
    daemon: String,
    under_way: Arc<Semaphore>,
    sent: mpsc::UnboundedSender<(u64, u64)>,
) -> Option<String> {
    let mut lines = BufReader::new(from);
    let mut number = 0;
    loop {
        let line = match next_line(&mut lines).await {
            Ok(Some(line)) => line,
            Ok(None) => return None,
            Err(error) => return Some(format!("line {}: {error}", number + 1)),
        };
        number += 1;
        // One is given back with each reply.
        let Ok(permit) = under_way.acquire().await else { return None };
        permit.forget();
        let ask = Ask::Send { daemon: daemon.clone(), payload: Payload::of(&line) };
        match asker.ask(ask).await {
            Ok(request) if sent.send((request, number)).is_ok() => {}
            Ok(_) => return None,
            Err(AdminClientError::Closed) => return Some("the node went away".to_owned()),
            Err(error) => return Some(format!("line {number}: {error}")),
        }
    }
}

/// The next line without its end.
async fn next_line(
    lines: &mut BufReader<Box<dyn AsyncRead + Unpin + Send>>,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let piece = lines.fill_buf().await?;
        let end = piece.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(piece.len());
        if line.len() + taken > LINE_BYTES_MAX {
            return Err(std::io::Error::other(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        line.extend_from_slice(&piece[..taken]);
        let is_over = piece.is_empty();
        lines.consume(end.map_or(taken, |end| end + 1));
        match end {
            Some(_) => return Ok(Some(line)),
            None if is_over => return Ok((!line.is_empty()).then_some(line)),
            None => {}
        }
    }
}

/// What became of the lines.
struct Ledger {
    begun: Instant,
    sent: u64,
    acknowledged: u64,
    declined: u64,
    failed: u64,
    unknown: u64,
    reasons: Vec<String>,
}

impl Ledger {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            sent: 0,
            acknowledged: 0,
            declined: 0,
            failed: 0,
            unknown: 0,
            reasons: Vec::new(),
        }
    }

    fn enter(&mut self, number: u64, reply: Reply) {
        let reason = match reply.body {
            Body::Done(Done::Answered { declined, .. }) => {
                self.acknowledged += 1;
                self.declined += u64::from(declined.is_some());
                declined.map(|reason| format!("declined: {reason}"))
            }
            Body::Failed(fault) if fault.effect == Effect::Nothing => {
                self.failed += 1;
                Some(fault.message)
            }
            Body::Failed(fault) => {
                self.unknown += 1;
                Some(fault.message)
            }
            Body::Done(_) | Body::Part(_) => {
                self.unknown += 1;
                Some("the node answered something else".to_owned())
            }
        };
        if let Some(reason) = reason
            && self.reasons.len() < REASONS_MAX
        {
            self.reasons.push(format!("line {number}: {reason}"));
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a rate is shown in whole events")]
    #[allow(clippy::cast_sign_loss, reason = "a rate is not negative")]
    #[allow(clippy::cast_precision_loss, reason = "a rate is shown in whole events")]
    fn rate(&self) -> u64 {
        (self.acknowledged as f64 / self.begun.elapsed().as_secs_f64().max(1e-6)) as u64
    }

    fn line(&self) -> String {
        format!(
            "sent {}, acknowledged {}, {}/s",
            count(self.sent),
            count(self.acknowledged),
            count(self.rate())
        )
    }

    fn close(mut self, first: Option<u64>, unanswered: u64, stopped: Option<String>) -> ExitCode {
        self.unknown += unanswered;
        for (word, number) in [
            ("sent", self.sent),
            ("acknowledged", self.acknowledged),
            ("declined", self.declined),
            ("failed", self.failed),
            ("unknown", self.unknown),
            ("per second", self.rate()),
        ] {
            output::say(&format!("{word:<13}{:>12}", count(number)));
        }
        self.reasons.iter().for_each(|reason| output::complain(&format!("  {reason}")));
        if let Some(number) = first {
            output::complain("error: the node went away before it had answered");
            output::complain(&format!(
                "  next: see what the daemon took of line {number} and after, then send the rest"
            ));
            return ExitCode::from(UNKNOWN);
        }
        if let Some(reason) = stopped {
            output::complain(&format!("error: sending ended early: {reason}"));
            output::complain("  next: send the rest of the lines when the cause is gone");
            return ExitCode::from(UNSUCCESSFUL);
        }
        if self.acknowledged == self.sent && self.declined == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(UNSUCCESSFUL)
        }
    }
}
