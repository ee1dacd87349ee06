//! Decides how words become bytes: postcard (its wire format is documented and stable), a version
//! byte in front of each frame, a limit before each allocation.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::FRAME_BYTES_MAX;
use crate::message::Message;

/// The version of the frame format. A node refuses what it does not know.
const FRAME_VERSION: u8 = 1;

/// Why some bytes are no word of ours.
///
/// Fault: peer or disk. Changed: nothing. Again: no, the bytes stay wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Nothing at all.
    #[error("the frame is empty")]
    Empty,
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("the frame of {bytes} bytes is longer than {FRAME_BYTES_MAX}")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Of a format that this node does not speak.
    #[error("the frame has version {version}, this node speaks {FRAME_VERSION}")]
    Version {
        /// Which.
        version: u8,
    },
    /// Truncated, or not the word that was expected.
    #[error("the bytes do not encode the expected word")]
    Malformed,
    /// The word ended before the bytes did.
    #[error("{bytes} bytes follow the word")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// The bytes of a word.
///
/// # Panics
///
/// Never for the words of this crate: they have known lengths and no foreign `Serialize`.
#[must_use]
pub fn encode<T: Serialize>(word: &T) -> Vec<u8> {
    postcard::to_stdvec(word).expect("words of known length encode into memory")
}

/// The word that `bytes` encode, all of them.
///
/// # Errors
///
/// [`FrameError::Malformed`] or [`FrameError::Trailing`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (word, rest) = postcard::take_from_bytes(bytes).map_err(|_| FrameError::Malformed)?;
    if !rest.is_empty() {
        return Err(FrameError::Trailing { bytes: rest.len() });
    }
    Ok(word)
}

/// The frame that carries `message`.
///
/// # Errors
///
/// [`FrameError::TooLong`] when the message does not fit a frame.
pub fn encode_frame(message: &Message) -> Result<Bytes, FrameError> {
    let bytes =
        postcard::to_extend(message, vec![FRAME_VERSION]).map_err(|_| FrameError::Malformed)?;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes.into())
}

/// The message that `frame` carries.
///
/// # Errors
///
/// [`FrameError`] says what is wrong with the bytes.
pub fn decode_frame(frame: &[u8]) -> Result<Message, FrameError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: frame.len() });
    }
    match frame.split_first() {
        None => Err(FrameError::Empty),
        Some((&FRAME_VERSION, word)) => decode(word),
        Some((&version, _)) => Err(FrameError::Version { version }),
    }
}
