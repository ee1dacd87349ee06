//! Decides how the lines of an audit log hang together, and where a log that was tampered with does not.
//!
//! A line is a digest of 64 hexadecimal digits, a space, and an object of JSON. The digest is over the
//! digest of the line before and the bytes of the object, so what stands in a line, and in which order, cannot
//! be changed without changing all lines after it. A file begins with a head that says how many lines came
//! before it and with which digest, so that old files can be thrown away.
//!
//! It shows that what is there hangs together. It cannot show that the newest lines were not cut off, nor that
//! the whole was not written anew by somebody with the rights of the node: for that, [`Standing`] is to be
//! compared with one that was noted elsewhere.
//!
//! # Invariants
//!
//! * C1 (chained): a file in which a line is changed, left out, added or moved is broken, unless only lines at
//!   its end are missing.
//!
//! # Limits
//!
//! * [`LINE_BYTES_MAX`]: a longer line is broken.

use serde::{Deserialize, Serialize};
use whimbrel_wire::{Digest, DigestWriter, Purpose, hex};

use crate::limits::LINE_BYTES_MAX;

/// How far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Entries so far, those of files that were thrown away too.
    pub entries: u64,
    /// The digest of the last line.
    pub digest: Digest,
}

/// How a file begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the format: 1.
    pub audit: u32,
    /// Entries before this file.
    pub after: u64,
    /// The digest of the last line before this file: 64 digits.
    pub previous: String,
}

/// Something that was done, asked for or seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Which, counted from 1.
    pub number: u64,
    /// When, in microseconds since the Unix epoch, by the clock of the node.
    pub at_us: u64,
    /// Who: the holder of a token, `local` where none is demanded, or a node.
    pub who: String,
    /// With which token: the id of its last block.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// What, in a few words.
    pub what: String,
    /// To which daemon: its 64 digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub daemon: String,
    /// Since when this is under way: the number of the entry that began it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of: u64,
    /// What came of it.
    pub result: Outcome,
    /// Why, or what else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was allowed and is about to be done.
    #[default]
    Begun,
    /// It was done.
    Done,
    /// It was allowed, tried, and did not come true.
    Failed,
    /// It was not allowed: nothing was done.
    Refused,
    /// It is about the log itself.
    Noted,
}

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Broken {
    /// Counted from 1.
    pub line: u64,
    /// What.
    pub what: &'static str,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its head.
    pub head: Head,
    /// Its entries, as far as they hold.
    pub entries: Vec<Entry>,
    /// How far the log has come with them.
    pub standing: Standing,
    /// How many bytes these are.
    pub bytes: usize,
    /// Whether what follows is a line that was begun and not ended, as a crash leaves it.
    pub is_torn: bool,
    /// Why the rest does not hold.
    pub broken: Option<Broken>,
}

impl Standing {
    /// Of a log without entries.
    pub const START: Self = Self { entries: 0, digest: Digest::ZERO };

    /// The first line of a file that goes on from here; and how far the log has come with it.
    #[must_use]
    pub fn head(&self) -> (Vec<u8>, Self) {
        let head = Head { audit: 1, after: self.entries, previous: hex(self.digest.as_bytes()) };
        let (bytes, digest) = line(&self.digest, &head);
        (bytes, Self { digest, ..*self })
    }

    /// The line of an entry, which gets its number; and how far the log has come with it.
    #[must_use]
    pub fn line(&self, entry: &mut Entry) -> (Vec<u8>, Self) {
        entry.number = self.entries + 1;
        let (bytes, digest) = line(&self.digest, entry);
        (bytes, Self { entries: entry.number, digest })
    }
}

fn line(before: &Digest, words: &impl Serialize) -> (Vec<u8>, Digest) {
    // Words of text and numbers can be written to memory.
    let json = serde_json::to_vec(words).unwrap_or_default();
    let digest = digest(before, &json);
    let mut bytes = hex(digest.as_bytes()).into_bytes();
    bytes.push(b' ');
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    (bytes, digest)
}

fn digest(before: &Digest, json: &[u8]) -> Digest {
    let mut writer = DigestWriter::new(Purpose::Audit);
    writer.write(before.as_bytes()).write(json);
    writer.finish()
}

/// Reads a file. One without a whole head holds nothing.
#[must_use]
pub fn read(bytes: &[u8]) -> Read {
    let nothing = Head { audit: 1, after: 0, previous: hex(Digest::ZERO.as_bytes()) };
    let mut read = Read {
        head: nothing,
        entries: Vec::new(),
        standing: Standing::START,
        bytes: 0,
        is_torn: false,
        broken: None,
    };
    let mut number = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        number += 1;
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            read.is_torn = true;
            break;
        };
        match next(&mut read, number, &rest[..end]) {
            Ok(()) => read.bytes += end + 1,
            Err(what) => {
                read.broken = Some(Broken { line: number, what });
                break;
            }
        }
        rest = &rest[end + 1..];
    }
    read
}

/// What stood before the first line, if that can be believed, and what it says.
fn begin(json: &[u8]) -> Result<(Standing, Head), &'static str> {
    let head: Head = serde_json::from_slice(json).map_err(|_| "this is no head of a log")?;
    let previous = Digest::parse(&head.previous).ok_or("this is no head of a log")?;
    if head.audit != 1 {
        return Err("the log has another version");
    }
    Ok((Standing { entries: head.after, digest: previous }, head))
}

fn next(read: &mut Read, number: u64, line: &[u8]) -> Result<(), &'static str> {
    if line.len() > LINE_BYTES_MAX {
        return Err("it is too long");
    }
    let parts = (line.get(..64), line.get(64), line.get(65..));
    let (Some(said), Some(b' '), Some(json)) = parts else {
        return Err("it does not begin with a digest");
    };
    let (before, head) = if number == 1 {
        let (standing, head) = begin(json)?;
        (standing, Some(head))
    } else {
        (read.standing, None)
    };
    let found = digest(&before.digest, json);
    if hex(found.as_bytes()).as_bytes() != said {
        return Err("it does not follow from the line before: one was changed, left out or added");
    }
    if let Some(head) = head {
        read.head = head;
        read.standing = Standing { digest: found, ..before };
        return Ok(());
    }
    let entry: Entry = serde_json::from_slice(json).map_err(|_| "this is no entry")?;
    if Some(entry.number) != before.entries.checked_add(1) {
        return Err("its number does not follow");
    }
    read.standing = Standing { entries: entry.number, digest: found };
    read.entries.push(entry);
    Ok(())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
