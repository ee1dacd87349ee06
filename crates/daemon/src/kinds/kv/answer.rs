//! Decides what a `kv` answers: in postcard behind a zero byte to a binary command, in words to
//! words.
//!
//! In words: `ok`, the bytes of a value, `(absent)`, a number, `no: VALUE` when a comparison
//! failed, and for a scan one line `KEY VALUE` for each entry, with a last line `… from KEY` if
//! there is more.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_wire::encode;

use super::blob;
use super::command::BINARY;

const ABSENT: &[u8] = b"(absent)";

/// What a `kv` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvAnswer<'a> {
    /// The key has the value; it may have had another.
    Put {
        /// Whether it had one.
        replaced: bool,
    },
    /// The value of the key, if it has one.
    Value(#[serde(borrow, serialize_with = "blob::maybe")] Option<&'a [u8]>),
    /// Whether there was anything to delete.
    Deleted(bool),
    /// The number after adding.
    Sum(i64),
    /// The value was as expected and is the new one.
    Swapped,
    /// The value is another than expected: this one. Nothing changed.
    Differs(#[serde(borrow, serialize_with = "blob::maybe")] Option<&'a [u8]>),
    /// Entries in order.
    Entries {
        /// Keys and values.
        #[serde(borrow, serialize_with = "blob::pairs")]
        entries: Vec<(&'a [u8], &'a [u8])>,
        /// The key to go on from, if there is more.
        next: Option<&'a [u8]>,
    },
}

impl<'a> KvAnswer<'a> {
    /// The binary payload of this answer.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = vec![BINARY];
        bytes.extend_from_slice(&encode(self));
        bytes.into()
    }

    /// The answer in a binary payload; none if it is no such thing.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&BINARY, rest) = payload.split_first()? else { return None };
        match postcard::take_from_bytes(rest) {
            Ok((answer, [])) => Some(answer),
            Ok(_) | Err(_) => None,
        }
    }

    /// The answer in words.
    #[must_use]
    pub fn to_text(&self) -> Bytes {
        match self {
            Self::Put { .. } | Self::Swapped | Self::Deleted(true) => Bytes::from_static(b"ok"),
            Self::Deleted(false) => Bytes::from_static(ABSENT),
            Self::Value(value) => Bytes::copy_from_slice(value.unwrap_or(ABSENT)),
            Self::Sum(sum) => sum.to_string().into(),
            Self::Differs(value) => [b"no: ", value.unwrap_or(ABSENT)].concat().into(),
            Self::Entries { entries, next } => lines(entries, *next).into(),
        }
    }
}

fn lines(entries: &[(&[u8], &[u8])], next: Option<&[u8]>) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in entries {
        text.extend_from_slice(key);
        text.push(b' ');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    if let Some(next) = next {
        text.extend_from_slice("… from ".as_bytes());
        text.extend_from_slice(next);
        text.push(b'\n');
    }
    text
}
