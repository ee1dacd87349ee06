//! Decides how the outputs of a daemon form one chain.
//!
//! Each output is a [`CausalEvent`]: a link and a payload. The link names the digest of the link
//! and payload before it, so whoever holds one digest of the chain can check all that led to it.
//! A hand-over is a step of the chain too ([`Head::through_deed`]): an output made after a move
//! cannot be passed off as one made without it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestWriter, Purpose};
use crate::id::{EntityId, Epoch, OriginHash, Position, Sequence};

/// How long a link is as it is hashed.
const WORDS_BYTES: usize = 56;

/// Payloads up to here are hashed together with their link.
const SHORT_BYTES_MAX: usize = 200;

/// The place of one event in the chain of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CausalLink {
    /// Whose event it is.
    pub origin: OriginHash,
    /// Which of its events: the first is 1.
    pub sequence: Sequence,
    /// In which epoch it was made.
    pub epoch: Epoch,
    /// The digest of what came before it in the chain.
    pub parent: Digest,
}

/// An event or an output: a link and bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CausalEvent {
    /// Its place in the chain of whoever made it.
    pub link: CausalLink,
    /// What it says.
    pub payload: Bytes,
}

/// How far a daemon has come: inputs taken, outputs made, and the digest of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Head {
    /// How many inputs it has taken.
    pub position: Position,
    /// How many outputs it has made.
    pub sequence: Sequence,
    /// The digest of its chain.
    pub hash: Digest,
}

impl CausalLink {
    /// The digest of this link with its payload: the parent of the next.
    #[must_use]
    pub fn digest(&self, payload: &[u8]) -> Digest {
        // What is short is hashed in one piece: a writer costs more than the hash itself.
        let mut short = [0; WORDS_BYTES + SHORT_BYTES_MAX];
        let whole = WORDS_BYTES + payload.len();
        if let Some(room) = short.get_mut(WORDS_BYTES..whole) {
            room.copy_from_slice(payload);
            short[..WORDS_BYTES].copy_from_slice(&self.words());
            return Digest::of(Purpose::Link, &short[..whole]);
        }
        DigestWriter::new(Purpose::Link).write(&self.words()).write(payload).finish()
    }

    /// The link as it is hashed.
    fn words(&self) -> [u8; WORDS_BYTES] {
        let mut words = [0; WORDS_BYTES];
        words[..8].copy_from_slice(&self.origin.get().to_le_bytes());
        words[8..16].copy_from_slice(&self.sequence.get().to_le_bytes());
        words[16..24].copy_from_slice(&self.epoch.get().to_le_bytes());
        words[24..].copy_from_slice(self.parent.as_bytes());
        words
    }
}

impl CausalEvent {
    /// An event from outside any chain: a sender that is no daemon numbers its events and links
    /// nothing.
    #[must_use]
    pub fn unchained(origin: OriginHash, sequence: u64, payload: Bytes) -> Self {
        let sequence = Sequence::new(sequence);
        let link = CausalLink { origin, sequence, epoch: Epoch::FIRST, parent: Digest::ZERO };
        Self { link, payload }
    }

    /// The digest of the whole event.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.link.digest(&self.payload)
    }
}

impl Head {
    /// The head of a daemon that was just born under the deed with this digest.
    #[must_use]
    pub fn newborn(entity: &EntityId, birth: &Digest) -> Self {
        let hash = DigestWriter::new(Purpose::Genesis)
            .write(entity.as_bytes())
            .write(birth.as_bytes())
            .finish();
        Self { position: Position::FIRST, sequence: Sequence::FIRST, hash }
    }

    /// The head after the daemon put out `payload` in `epoch`, and the event that it became.
    #[must_use]
    pub fn put_out(&self, origin: OriginHash, epoch: Epoch, payload: Bytes) -> (Self, CausalEvent) {
        let sequence = self.sequence.next();
        let link = CausalLink { origin, sequence, epoch, parent: self.hash };
        let hash = link.digest(&payload);
        (Self { sequence, hash, ..*self }, CausalEvent { link, payload })
    }

    /// The head after the daemon was handed over by the deed with this digest.
    #[must_use]
    pub fn through_deed(&self, deed: &Digest) -> Self {
        let hash = DigestWriter::new(Purpose::HandOver)
            .write(self.hash.as_bytes())
            .write(deed.as_bytes())
            .finish();
        Self { hash, ..*self }
    }
}
