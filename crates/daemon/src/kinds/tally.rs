//! Decides what the kind `tally` does: it counts the words and lines of what it is sent.
//!
//! A payload that starts with `?` is a question; any other is text. Words are what stands between
//! ASCII white space, compared byte by byte; lines end at a line feed or at the end of the text.
//!
//! ```text
//! some text         counts it and answers with the totals
//! ?totals           lines 12 words 71 bytes 430 distinct 44
//! ?top [N]          the N most frequent words (10 unless told), one line `COUNT WORD` for each
//! ?count WORD       how often
//! ```
//!
//! # Limits
//!
//! * [`TALLY_WORD_BYTES_MAX`]: of a longer word the beginning is counted.
//! * [`TOP_MAX`]: more are not listed.

use bytes::Bytes;
use whimbrel_wire::CausalEvent;

use crate::context::Context;
use crate::contract::{MeshDaemon, Paged, ProcessError};
use crate::paged::PagedMap;

/// Longest word that is told from others.
pub const TALLY_WORD_BYTES_MAX: usize = 256;

/// Most words in the answer to `?top`.
const TOP_MAX: usize = 1000;

const TOP_DEFAULT: usize = 10;

/// Where the totals are. No word holds white space.
const TOTALS: &[u8] = b" totals";

/// A counter of words and lines.
#[derive(Debug, Default)]
pub struct Tally {
    map: PagedMap,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    lines: u64,
    words: u64,
    bytes: u64,
}

impl Totals {
    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.lines.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.words.to_le_bytes());
        bytes[16..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }
}

impl Tally {
    /// The name of the kind.
    pub const NAME: &str = "tally";

    /// One that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn totals(&self) -> Totals {
        let value = self.map.get(TOTALS).unwrap_or_default();
        let number = |at: usize| value.get(at..at + 8).map_or(0, counted);
        Totals { lines: number(0), words: number(8), bytes: number(16) }
    }

    fn count(&self, word: &[u8]) -> u64 {
        self.map.get(shortened(word)).map_or(0, counted)
    }

    fn read(&mut self, text: &[u8]) -> Result<(), ProcessError> {
        let mut totals = self.totals();
        for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            let word = shortened(word);
            let count = self.count(word).saturating_add(1);
            self.put(word, &count.to_le_bytes())?;
            totals.words += 1;
        }
        totals.lines += text.split_inclusive(|&byte| byte == b'\n').count() as u64;
        totals.bytes += text.len() as u64;
        self.put(TOTALS, &totals.to_bytes())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), ProcessError> {
        let put = self.map.insert(key, value);
        put.map(drop).map_err(|error| ProcessError::new(error.to_string()))
    }

    fn totals_line(&self) -> String {
        let Totals { lines, words, bytes } = self.totals();
        let distinct = self.map.len() - u64::from(self.map.get(TOTALS).is_some());
        format!("lines {lines} words {words} bytes {bytes} distinct {distinct}")
    }

    /// All words with how often they came.
    fn words(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let entries = self.map.iter().filter(|(word, _)| *word != TOTALS);
        entries.map(|(word, count)| (word, counted(count)))
    }

    fn top(&self, most: usize) -> Vec<u8> {
        let mut words: Vec<(u64, &[u8])> =
            self.words().map(|(word, count)| (count, word)).collect();
        words.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let mut text = Vec::new();
        for (count, word) in words.into_iter().take(most.min(TOP_MAX)) {
            text.extend_from_slice(format!("{count} ").as_bytes());
            text.extend_from_slice(word);
            text.push(b'\n');
        }
        text
    }

    fn answer(&self, question: &[u8]) -> Result<Bytes, ProcessError> {
        let mut words = question.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match (words.next(), words.next(), words.next()) {
            (Some(b"totals"), None, None) => Ok(self.totals_line().into()),
            (Some(b"top"), None, None) => Ok(self.top(TOP_DEFAULT).into()),
            (Some(b"top"), Some(most), None) => {
                let most = std::str::from_utf8(most).ok().and_then(|most| most.parse().ok());
                let most = most.ok_or_else(|| ProcessError::new("usage: ?top [NUMBER]"))?;
                Ok(self.top(most).into())
            }
            (Some(b"count"), Some(word), None) => Ok(self.count(word).to_string().into()),
            _ => Err(ProcessError::new("the questions are ?totals, ?top [N] and ?count WORD")),
        }
    }
}

fn shortened(word: &[u8]) -> &[u8] {
    &word[..word.len().min(TALLY_WORD_BYTES_MAX)]
}

fn counted(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

impl MeshDaemon for Tally {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        if let Some((b'?', question)) = event.payload.split_first() {
            return Ok(vec![self.answer(question)?]);
        }
        self.read(&event.payload)?;
        Ok(vec![self.totals_line().into()])
    }

    fn paged(&mut self) -> Option<&mut dyn Paged> {
        Some(&mut self.map)
    }
}
