//! Decides what nodes say to each other about members, and its bytes.
//!
//! Such a frame begins with [`WORD_MARK`] and a version, where a frame about daemons has its own version. It
//! travels on the control lane or, where it fits, as a datagram.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{Digest, EntityId, decode, encode};

use crate::placement::Wanted;
use crate::roster::SignedFact;
use crate::sharing::Burden;

/// What a frame about members begins with.
pub const WORD_MARK: u8 = b'M';

/// The version of these words.
const WORD_VERSION: u8 = 1;

/// Most blocks in one word.
pub const REVOKED_TOLD_MAX: usize = 500;

/// Something said about members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// News of the [`Detector`](crate::Detector).
    Gossip(Bytes),
    /// What does this daemon want of its node? Asked of its owner.
    WantedAsked {
        /// Which.
        entity: EntityId,
    },
    /// This; nothing if it does not live here.
    WantedAnswered {
        /// Which.
        entity: EntityId,
        /// What it wants.
        wanted: Option<Wanted>,
    },
    /// This is said of members.
    Told(Vec<SignedFact>),
    /// These facts are held here, and saved, or what took their place.
    Holds(Vec<Digest>),
    /// What is revoked here has this digest; what has it there?
    RevokedAsked(Digest),
    /// This.
    RevokedAnswered(Digest),
    /// Blocks of tokens that are revoked here, at most [`REVOKED_TOLD_MAX`].
    Revoked(Vec<Digest>),
    /// This node would take daemons whose turns may take long. Answered by [`Word::WorkGiven`].
    WorkWanted {
        /// How much it has to do.
        burden: Burden,
        /// How many daemons it would take at most.
        room: u32,
    },
    /// So many were told to move to the node that asked. They come as in every move, or not at all.
    WorkGiven {
        /// How much the node that says so had to do before.
        burden: Burden,
        /// How many.
        given: u32,
    },
}

/// Why bytes are no word.
///
/// Fault: peer. Changed: nothing. Again: no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WordError {
    /// It has another mark or version.
    #[error("the word has a version that this node does not speak")]
    Version,
    /// It is truncated, or something follows it.
    #[error("the bytes are no word about members")]
    Malformed,
}

impl Word {
    /// The frame that carries it.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        let mut frame = vec![WORD_MARK, WORD_VERSION];
        frame.extend_from_slice(&encode(self));
        frame.into()
    }

    /// The word in a frame.
    ///
    /// # Errors
    ///
    /// [`WordError`].
    pub fn read(frame: &[u8]) -> Result<Self, WordError> {
        match frame {
            [WORD_MARK, WORD_VERSION, word @ ..] => decode(word).map_err(|_| WordError::Malformed),
            _ => Err(WordError::Version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_strict_and_their_bytes_stay() {
        let entity = EntityId::from_bytes([7; 32]);
        let tags = [String::from("gpu")].into();
        let wanted = Wanted { kind: "kv".to_owned(), tags, memory_bytes: 300 };
        let golden = [
            (Word::Gossip(Bytes::from_static(b"ab")), vec![0, 2, b'a', b'b']),
            (Word::WantedAsked { entity }, [vec![1], vec![7; 32]].concat()),
            (
                Word::WantedAnswered { entity, wanted: Some(wanted) },
                [vec![2], vec![7; 32], b"\x01\x02kv\x01\x03gpu\xac\x02".to_vec()].concat(),
            ),
        ];
        let golden = golden.into_iter().chain([
            (Word::Told(Vec::new()), vec![3, 0]),
            (Word::Holds(vec![Digest::from_bytes([9; 32])]), [vec![4, 1], vec![9; 32]].concat()),
            (Word::RevokedAsked(Digest::from_bytes([9; 32])), [vec![5], vec![9; 32]].concat()),
            (Word::RevokedAnswered(Digest::from_bytes([9; 32])), [vec![6], vec![9; 32]].concat()),
            (Word::Revoked(vec![Digest::from_bytes([9; 32])]), [vec![7, 1], vec![9; 32]].concat()),
            (
                Word::WorkWanted { burden: Burden { turns: 300, threads: 2 }, room: 16 },
                vec![8, 0xac, 2, 2, 16],
            ),
            (
                Word::WorkGiven { burden: Burden { turns: 1, threads: 2 }, given: 0 },
                vec![9, 1, 2, 0],
            ),
        ]);
        for (word, bytes) in golden {
            let frame = word.frame();
            assert_eq!(frame[..2], [b'M', 1]);
            assert_eq!(frame[2..], bytes);
            assert_eq!(Word::read(&frame), Ok(word));
            for end in 0..frame.len() {
                assert!(Word::read(&frame[..end]).is_err(), "{end} bytes");
            }
            assert_eq!(Word::read(&[&frame[..], b"x"].concat()), Err(WordError::Malformed));
            assert_eq!(Word::read(&[b"M\x02", &frame[2..]].concat()), Err(WordError::Version));
        }
    }
}
