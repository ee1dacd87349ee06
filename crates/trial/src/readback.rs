//! Decides how it is found out what daemons hold: by asking them, as any client would.
//!
//! * A `kv` is scanned page by page: each event must be a key with the number 1.
//! * A `tally` is asked for its totals. If they are those of the events that count, each was taken
//!   once. If not, it is asked about each event.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use whimbrel_daemon::kinds::{KvAnswer, KvCommand};
use whimbrel_runtime::Client;
use whimbrel_wire::EntityId;

use crate::Dice;
use crate::feed::{Feed, FeedKind};
use crate::ledger::{Outcome, Totals};

/// Entries that are asked for at a time.
const PAGE_ENTRIES: u32 = 1_000;

/// Questions that are on their way.
const QUESTIONS_MAX: usize = 256;

/// Length of one value of the state that a daemon is given before it moves.
const FILL_BYTES: usize = 64 * 1024;

/// How often each event of a feed is found at its daemon, by number.
///
/// # Errors
///
/// A daemon that does not answer, or not what such a daemon answers.
pub async fn find(client: &Client, feed: &Feed) -> Result<BTreeMap<u64, i64>> {
    match feed.kind {
        FeedKind::Kv => keys(client, feed).await,
        FeedKind::Tally => texts(client, feed).await,
    }
}

async fn ask(client: &Client, daemon: EntityId, payload: Bytes) -> Result<Bytes> {
    let answer = client.send(daemon, payload).await?;
    if let Some(reason) = answer.failure {
        bail!("a daemon declined a question: {reason}");
    }
    let output = answer.outputs.into_iter().next().context("a daemon did not answer")?;
    Ok(output.payload)
}

async fn keys(client: &Client, feed: &Feed) -> Result<BTreeMap<u64, i64>> {
    let prefix = format!("e{}-", feed.number);
    let mut found = BTreeMap::new();
    let mut from = Vec::new();
    loop {
        let scan = KvCommand::Scan { prefix: prefix.as_bytes(), from: &from, limit: PAGE_ENTRIES };
        let page = ask(client, feed.daemon, scan.to_bytes()).await?;
        let Some(KvAnswer::Entries { entries, next }) = KvAnswer::parse(&page) else {
            bail!("a kv answered something else");
        };
        for (key, value) in entries {
            let (number, times) = entry(feed, key, value).with_context(|| {
                format!("{} holds a key that nobody sent: {}", feed.name, key.escape_ascii())
            })?;
            found.insert(number, times);
        }
        match next {
            Some(next) => from = next.to_vec(),
            None => return Ok(found),
        }
    }
}

/// The number of the event and how often it was taken, if this is the key of an event.
fn entry(feed: &Feed, key: &[u8], value: &[u8]) -> Option<(u64, i64)> {
    let text = std::str::from_utf8(key.split(|&byte| byte == b' ').next()?).ok()?;
    let number = text.split_once('-')?.1.parse().ok()?;
    let times = std::str::from_utf8(value).ok()?.parse().ok()?;
    (feed.key(number) == key).then_some((number, times))
}

async fn texts(client: &Client, feed: &Feed) -> Result<BTreeMap<u64, i64>> {
    let told = feed.notes().told.clone();
    // Before the totals, so that an event that arrives late cannot hide between the two.
    let unknown = numbers(&told, Outcome::Unknown);
    let mut found = count_each(client, feed, &unknown).await?;
    let totals = ask(client, feed.daemon, Bytes::from_static(b"?totals")).await?;
    let totals = std::str::from_utf8(&totals).ok().and_then(Totals::parse);
    let totals = totals.context("a tally answered something else")?;
    let acknowledged = numbers(&told, Outcome::Acknowledged);
    let taken: Vec<String> = acknowledged
        .iter()
        .chain(found.iter().filter(|(_, times)| **times == 1).map(|(number, _)| number))
        .map(|&number| feed.text(number))
        .collect();
    if Totals::of(taken.iter().map(String::as_str)) == totals {
        found.extend(acknowledged.into_iter().map(|number| (number, 1)));
        return Ok(found);
    }
    let all: Vec<u64> = (0..told.len() as u64).collect();
    count_each(client, feed, &all).await
}

fn numbers(told: &[Outcome], which: Outcome) -> Vec<u64> {
    let told = (0..).zip(told);
    told.filter(|(_, outcome)| **outcome == which).map(|(number, _)| number).collect()
}

async fn count_each(client: &Client, feed: &Feed, numbers: &[u64]) -> Result<BTreeMap<u64, i64>> {
    let mut found = BTreeMap::new();
    let mut under_way = VecDeque::new();
    let mut rest = numbers.iter();
    loop {
        while under_way.len() < QUESTIONS_MAX
            && let Some(&number) = rest.next()
        {
            let question = format!("?count e{}-{number:08}", feed.number);
            under_way.push_back((number, client.send(feed.daemon, question.into())));
        }
        let Some((number, answer)) = under_way.pop_front() else { return Ok(found) };
        let answer = answer.await?;
        let output = answer.outputs.first().context("a tally did not answer")?;
        let times = std::str::from_utf8(&output.payload).ok().and_then(|text| text.parse().ok());
        let times: i64 = times.context("a tally answered something else")?;
        if times != 0 {
            found.insert(number, times);
        }
    }
}

/// Gives a `kv` about so many bytes of state that nobody could have guessed.
///
/// # Errors
///
/// A daemon that does not answer, or not what such a daemon answers.
pub async fn fill(client: &Client, daemon: EntityId, bytes: u64) -> Result<u64> {
    let values = bytes.div_ceil(FILL_BYTES as u64);
    let mut under_way = VecDeque::new();
    for number in 0..values {
        let (key, value) = filling(number);
        let put = KvCommand::Put { key: key.as_bytes(), value: &value };
        under_way.push_back(client.send(daemon, put.to_bytes()));
        if under_way.len() >= 16
            && let Some(first) = under_way.pop_front()
        {
            first.await?;
        }
    }
    for last in under_way {
        last.await?;
    }
    Ok(values)
}

/// How many of these values are not what they were.
///
/// # Errors
///
/// A daemon that does not answer, or not what such a daemon answers.
pub async fn spoilt(client: &Client, daemon: EntityId, values: u64) -> Result<u64> {
    let mut spoilt = 0;
    for number in 0..values {
        let (key, value) = filling(number);
        let get = KvCommand::Get { key: key.as_bytes() };
        let answer = ask(client, daemon, get.to_bytes()).await?;
        spoilt += u64::from(KvAnswer::parse(&answer) != Some(KvAnswer::Value(Some(&value))));
    }
    Ok(spoilt)
}

fn filling(number: u64) -> (String, Vec<u8>) {
    let mut dice = Dice::new(number);
    let value = std::iter::repeat_with(|| dice.next().to_le_bytes()).take(FILL_BYTES / 8).flatten();
    (format!("fill-{number:08}"), value.collect())
}
