//! Decides what can be asked of a `kv`, in bytes for programs and in words for people.
//!
//! A payload that starts with a zero byte is binary: after it comes a [`KvCommand`] in postcard.
//! Any other payload is a line of words:
//!
//! ```text
//! put KEY VALUE…            the value is the rest of the line
//! get KEY
//! delete KEY
//! add KEY NUMBER            the value is a decimal number; none counts as 0
//! cas KEY OLD NEW…          OLD is one word; `-` stands for "no value"
//! scan [PREFIX [LIMIT [FROM]]]
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::encode;

use super::blob;

/// The first byte of a binary payload.
pub(super) const BINARY: u8 = 0;

/// How many entries a scan of words gives that names no limit.
const SCAN_ENTRIES_DEFAULT: u32 = 100;

/// Something asked of a `kv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand<'a> {
    /// Gives a key a value.
    Put {
        /// Which key.
        #[serde(serialize_with = "blob::one")]
        key: &'a [u8],
        /// Which value.
        #[serde(serialize_with = "blob::one")]
        value: &'a [u8],
    },
    /// Asks for a value.
    Get {
        /// Of which key.
        key: &'a [u8],
    },
    /// Takes a key out.
    Delete {
        /// Which key.
        key: &'a [u8],
    },
    /// Adds to a value that is a decimal number.
    Add {
        /// Of which key.
        key: &'a [u8],
        /// How much.
        by: i64,
    },
    /// Gives a key a value if it has the expected one.
    CompareAndSet {
        /// Which key.
        key: &'a [u8],
        /// What its value must be; none if it must have none.
        #[serde(borrow, serialize_with = "blob::maybe")]
        expected: Option<&'a [u8]>,
        /// Which value.
        #[serde(serialize_with = "blob::one")]
        value: &'a [u8],
    },
    /// Asks for entries in the order of their keys.
    Scan {
        /// What their keys start with.
        prefix: &'a [u8],
        /// None before this key.
        from: &'a [u8],
        /// How many at most.
        limit: u32,
    },
}

/// A payload that is no command.
///
/// Fault: sender. Changed: nothing. Again: no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KvCommandError {
    /// A binary payload that is not a [`KvCommand`].
    #[error("the bytes after the zero are no command")]
    Malformed,
    /// The first word is no command.
    #[error("the commands are put, get, delete, add, cas and scan")]
    Unknown,
    /// A command lacks words, or has too many.
    #[error("usage: {0}")]
    Usage(&'static str),
}

impl<'a> KvCommand<'a> {
    /// Whether `payload` is meant as a binary command.
    #[must_use]
    pub fn is_binary(payload: &[u8]) -> bool {
        payload.first() == Some(&BINARY)
    }

    /// The binary payload of this command.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = vec![BINARY];
        bytes.extend_from_slice(&encode(self));
        bytes.into()
    }

    /// The command in `payload`, binary or words.
    ///
    /// # Errors
    ///
    /// [`KvCommandError`] says what is wrong with it.
    pub fn parse(payload: &'a [u8]) -> Result<Self, KvCommandError> {
        if !Self::is_binary(payload) {
            return Self::parse_words(payload);
        }
        match postcard::take_from_bytes(&payload[1..]) {
            Ok((command, [])) => Ok(command),
            Ok(_) | Err(_) => Err(KvCommandError::Malformed),
        }
    }

    fn parse_words(line: &'a [u8]) -> Result<Self, KvCommandError> {
        let (name, rest) = word(line.trim_ascii());
        match name {
            b"put" => {
                let (key, value) = word(rest);
                present(key, "put KEY VALUE")?;
                Ok(Self::Put { key, value })
            }
            b"get" => Ok(Self::Get { key: only(rest, "get KEY")? }),
            b"delete" => Ok(Self::Delete { key: only(rest, "delete KEY")? }),
            b"add" => {
                const USAGE: &str = "add KEY NUMBER";
                let (key, by) = word(rest);
                let by = digits(only(by, USAGE)?).ok_or(KvCommandError::Usage(USAGE))?;
                Ok(Self::Add { key, by })
            }
            b"cas" => {
                let (key, rest) = word(rest);
                let (old, value) = word(rest);
                present(old, "cas KEY OLD NEW (OLD is - for no value)")?;
                Ok(Self::CompareAndSet { key, expected: (old != b"-").then_some(old), value })
            }
            b"scan" => {
                let (prefix, rest) = word(rest);
                let (limit, from) = word(rest);
                let limit =
                    if limit.is_empty() { Some(SCAN_ENTRIES_DEFAULT) } else { digits(limit) };
                let limit = limit.ok_or(KvCommandError::Usage("scan [PREFIX [LIMIT [FROM]]]"))?;
                Ok(Self::Scan { prefix, from, limit })
            }
            _ => Err(KvCommandError::Unknown),
        }
    }
}

/// The first word and what follows the white space after it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_ascii_start())
}

fn present(word: &[u8], usage: &'static str) -> Result<(), KvCommandError> {
    if word.is_empty() { Err(KvCommandError::Usage(usage)) } else { Ok(()) }
}

/// The only word of a line.
fn only<'a>(line: &'a [u8], usage: &'static str) -> Result<&'a [u8], KvCommandError> {
    let (word, rest) = word(line);
    present(word, usage)?;
    if rest.is_empty() { Ok(word) } else { Err(KvCommandError::Usage(usage)) }
}

fn digits<N: std::str::FromStr>(word: &[u8]) -> Option<N> {
    std::str::from_utf8(word).ok()?.parse().ok()
}
