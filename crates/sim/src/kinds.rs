//! Decides how a line is told to each kind of daemon, and what the kind must have become by it.
//!
//! The scribe writes down what it is told; its state is its own witness. The other kinds are those
//! that come with every node, and two fakes. What they must have become is folded from the lines of
//! their journal by a plain model, which knows nothing of pages, snapshots or moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon as daemon;
use whimbrel_daemon::fakes::{Churning, Counting};
use whimbrel_daemon::kinds::{Kv, KvCommand, Tally};
use whimbrel_daemon::{Body, ChunkSource, Native, Paged, PagedMap, StateReader};
use whimbrel_statechart::daemon::{Palette, Statechart};
use whimbrel_wire::{Kind, StateVersion, decode, encode};

use crate::chart;
use crate::scribe::{Act, Line, Pages, Scribe, Style};

/// The words of a tally that a line adds beside its own, at most.
const FILLER_WORDS_MAX: u32 = 400;

/// The state of a daemon, as its kind shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// What a scribe wrote.
    Pages(Box<Pages>),
    /// Keys and values, or words and their counts.
    Entries(BTreeMap<Vec<u8>, Vec<u8>>),
    /// How many events it took.
    Count(u64),
}

impl Shown {
    pub(crate) fn pages(&self) -> Option<&Pages> {
        match self {
            Self::Pages(pages) => Some(pages),
            Self::Entries(_) | Self::Count(_) => None,
        }
    }
}

impl Style {
    /// The kinds whose state is no scribe's.
    pub(crate) const OTHERS: [Self; 5] =
        [Self::Kv, Self::Tally, Self::Counting, Self::Churning, Self::Chart];

    pub(crate) const fn is_scribe(self) -> bool {
        match self {
            Self::Replays
            | Self::Deltas
            | Self::Freezes
            | Self::DriftShown
            | Self::DriftHidden
            | Self::Choosy => true,
            Self::Kv | Self::Tally | Self::Counting | Self::Churning | Self::Chart => false,
        }
    }

    pub(crate) fn of(kind: &Kind) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.name() == kind.as_str())
    }

    /// A fresh daemon at a node that was given these statecharts; a scribe writes as `author` when it
    /// tells others.
    pub(crate) fn body(self, author: u64, charts: &Arc<Palette>) -> Box<dyn Body> {
        match self {
            Self::Replays
            | Self::Deltas
            | Self::Freezes
            | Self::DriftShown
            | Self::DriftHidden
            | Self::Choosy => Native::boxed(Scribe::new(self, author)),
            Self::Kv => Native::boxed(Kv::new()),
            Self::Tally => Native::boxed(Tally::new()),
            Self::Counting => Native::boxed(Counting::new()),
            Self::Churning => Box::new(Churning::new()),
            Self::Chart => Native::boxed(Statechart::new(Arc::clone(charts))),
        }
    }

    /// A fresh daemon; a scribe with a state of so many bytes.
    pub(crate) fn body_of(self, author: u64, bytes: u64) -> Box<dyn Body> {
        if !self.is_scribe() || bytes == 0 {
            return self.body(author, &Arc::default());
        }
        let mut scribe = Scribe::new(self, author);
        scribe.pages.ballast = filler(author, u32::try_from(bytes).unwrap_or(u32::MAX));
        Native::boxed(scribe)
    }

    /// The event that tells this kind `line`.
    pub(crate) fn payload(self, line: &Line) -> Bytes {
        let Line { author, number, act } = line;
        let declines = *act == Act::Decline;
        match self {
            Self::Replays
            | Self::Deltas
            | Self::Freezes
            | Self::DriftShown
            | Self::DriftHidden
            | Self::Choosy => encode(line).into(),
            Self::Kv if declines => Bytes::from_static(b"no command"),
            Self::Kv => {
                let key = format!("{author}:{number}");
                let key = key.as_bytes();
                match act {
                    Act::Fill(bytes) => {
                        let value = filler(*number, *bytes);
                        KvCommand::Put { key, value: &value }.to_bytes()
                    }
                    Act::Note
                    | Act::Decline
                    | Act::Panic
                    | Act::Random
                    | Act::Timer(_)
                    | Act::Publish
                    | Act::Send(_) => KvCommand::Add { key, by: 1 }.to_bytes(),
                }
            }
            Self::Tally if declines => Bytes::from_static(b"?no question"),
            Self::Tally => {
                let mut text = format!("{author}:{number}");
                if let Act::Fill(bytes) = act {
                    for word in 0..(bytes / 64).min(FILLER_WORDS_MAX) {
                        text.push_str(&format!(
                            " word{}",
                            number.wrapping_mul(31) + u64::from(word)
                        ));
                    }
                }
                text.push('\n');
                text.into()
            }
            Self::Counting => {
                let first = match act {
                    Act::Decline => b'!',
                    Act::Panic => b'#',
                    Act::Random => b'?',
                    Act::Note | Act::Timer(_) | Act::Send(_) | Act::Fill(_) | Act::Publish => b'.',
                };
                [vec![first], encode(line)].concat().into()
            }
            Self::Churning => encode(line).into(),
            Self::Chart => chart::payload(line),
        }
    }

    /// Who wrote the line of an event that was not declined, and its number.
    pub(crate) fn read(self, payload: &[u8]) -> Option<(u64, u64)> {
        let line = match self {
            Self::Replays
            | Self::Deltas
            | Self::Freezes
            | Self::DriftShown
            | Self::DriftHidden
            | Self::Choosy
            | Self::Churning => payload,
            Self::Counting => payload.get(1..)?,
            Self::Kv => {
                return match KvCommand::parse(payload).ok()? {
                    KvCommand::Put { key, .. } | KvCommand::Add { key, .. } => name(key),
                    KvCommand::Get { .. }
                    | KvCommand::Delete { .. }
                    | KvCommand::CompareAndSet { .. }
                    | KvCommand::Scan { .. } => None,
                };
            }
            Self::Chart => return chart::read(payload),
            Self::Tally => return name(payload.split(u8::is_ascii_whitespace).next()?),
        };
        let line: Line = decode(line).ok()?;
        Some((line.author, line.number))
    }

    /// What a daemon of this kind shows after these events, none of which it declined. None for a
    /// scribe: it is compared line by line.
    pub(crate) fn expected<'a>(self, events: impl Iterator<Item = &'a [u8]>) -> Option<Shown> {
        let mut entries = BTreeMap::new();
        let mut count = 0;
        for payload in events {
            count += 1;
            match self {
                Self::Kv => obey(&mut entries, payload),
                Self::Tally => tally(&mut entries, payload),
                Self::Chart => chart::hear(&mut entries, payload),
                Self::Replays
                | Self::Deltas
                | Self::Freezes
                | Self::DriftShown
                | Self::DriftHidden
                | Self::Choosy
                | Self::Counting
                | Self::Churning => {}
            }
        }
        match self {
            Self::Kv | Self::Tally => Some(Shown::Entries(entries)),
            Self::Chart => Some(Shown::Entries(chart::stood(entries))),
            Self::Counting | Self::Churning => Some(Shown::Count(count)),
            Self::Replays
            | Self::Deltas
            | Self::Freezes
            | Self::DriftShown
            | Self::DriftHidden
            | Self::Choosy => None,
        }
    }

    /// What a daemon shows.
    pub(crate) fn shown(self, host: &mut daemon::Host) -> Option<Shown> {
        let mut shelf = daemon::ChunkShelf::new();
        let parts = host.capture().ok()?.write(&mut shelf).ok()?;
        let source: &mut dyn ChunkSource = &mut shelf;
        let mut reader = StateReader::new(&parts.state, source);
        match self {
            Self::Replays
            | Self::Deltas
            | Self::Freezes
            | Self::DriftShown
            | Self::DriftHidden
            | Self::Choosy => {
                let pages = decode(&reader.read_whole().ok()?).ok()?;
                Some(Shown::Pages(Box::new(pages)))
            }
            Self::Kv | Self::Tally => {
                let mut map = PagedMap::new();
                map.thaw(&mut reader).ok()?;
                let entries = map.iter().filter(|(key, _)| !key.starts_with(b" "));
                Some(Shown::Entries(
                    entries.map(|(key, value)| (key.into(), value.into())).collect(),
                ))
            }
            Self::Chart => chart::shown(&thawed(&mut reader)?).map(Shown::Entries),
            Self::Counting => {
                let counting: Counting = decode(&reader.read_whole().ok()?).ok()?;
                Some(Shown::Count(counting.count))
            }
            Self::Churning => {
                let mut churning = Churning::new();
                churning.restore(StateVersion::new(1), &mut reader).ok()?;
                Some(Shown::Count(churning.registers().1))
            }
        }
    }
}

/// Under which version of its definition a statechart lives.
pub(crate) fn chart_version(host: &mut daemon::Host) -> Option<String> {
    let mut shelf = daemon::ChunkShelf::new();
    let parts = host.capture().ok()?.write(&mut shelf).ok()?;
    let source: &mut dyn ChunkSource = &mut shelf;
    chart::version(&thawed(&mut StateReader::new(&parts.state, source))?)
}

fn thawed(reader: &mut StateReader<'_>) -> Option<Statechart> {
    let mut statechart = Statechart::new(Arc::default());
    statechart.thaw(reader).ok()?;
    Some(statechart)
}

fn name(text: &[u8]) -> Option<(u64, u64)> {
    let (author, number) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((author.parse().ok()?, number.parse().ok()?))
}

/// Bytes that no other line has.
pub(crate) fn filler(number: u64, bytes: u32) -> Vec<u8> {
    let mut dice = crate::dice::Dice::new(number);
    let mut filler = Vec::with_capacity(bytes as usize + 8);
    while filler.len() < bytes as usize {
        filler.extend_from_slice(&dice.next().to_le_bytes());
    }
    filler.truncate(bytes as usize);
    filler
}

fn obey(entries: &mut BTreeMap<Vec<u8>, Vec<u8>>, payload: &[u8]) {
    match KvCommand::parse(payload) {
        Ok(KvCommand::Put { key, value }) => {
            entries.insert(key.to_vec(), value.to_vec());
        }
        Ok(KvCommand::Add { key, by }) => {
            let value = entries.entry(key.to_vec()).or_insert_with(|| b"0".to_vec());
            let before = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
            *value = (before.unwrap_or(0) + by).to_string().into_bytes();
        }
        Ok(
            KvCommand::Get { .. }
            | KvCommand::Delete { .. }
            | KvCommand::CompareAndSet { .. }
            | KvCommand::Scan { .. },
        )
        | Err(_) => {}
    }
}

fn tally(entries: &mut BTreeMap<Vec<u8>, Vec<u8>>, payload: &[u8]) {
    for word in payload.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
        let value = entries.entry(word.to_vec()).or_insert_with(|| 0_u64.to_le_bytes().to_vec());
        let before = value.as_slice().try_into().map_or(0, u64::from_le_bytes);
        *value = (before + 1).to_le_bytes().to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_lost_or_doubled_shows() {
        for style in Style::OTHERS {
            let line = |number, act| style.payload(&Line { author: 7, number, act });
            let all = [line(1, Act::Note), line(2, Act::Fill(700)), line(3, Act::Random)];
            let shown = |events: &[&Bytes]| style.expected(events.iter().map(|event| &event[..]));
            let right = shown(&[&all[0], &all[1], &all[2]]);
            assert!(right.is_some(), "{style:?}");
            assert_ne!(shown(&[&all[0], &all[1]]), right, "{style:?}");
            assert_ne!(shown(&[&all[0], &all[1], &all[2], &all[2]]), right, "{style:?}");
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_told() {
        for style in Style::ALL {
            for act in [Act::Note, Act::Fill(300), Act::Random] {
                let payload = style.payload(&Line { author: 3, number: 44, act });
                assert_eq!(style.read(&payload), Some((3, 44)), "{style:?}");
            }
        }
    }
}
