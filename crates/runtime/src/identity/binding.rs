//! Decides which move an envelope belongs to, and in which bytes that is said.

use whimbrel_wire::{AttemptId, Digest, EntityId, Epoch, PublicKey};

/// Starts the encoding, so that it cannot be taken for bytes of another purpose. The version follows, as a digit.
const LABEL: &[u8; 27] = b"whimbrel identity envelope ";

/// How long the encoding is: the label, the version, three keys, an attempt, an epoch and a digest.
const ENCODED_BYTES: usize = LABEL.len() + 1 + 3 * 32 + 16 + 8 + 32;

/// The one move for which an envelope is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The daemon whose key travels.
    pub entity: EntityId,
    /// The try at the move.
    pub attempt: AttemptId,
    /// The epoch in which the source owns the daemon.
    pub epoch: Epoch,
    /// The snapshot that the key travels with.
    pub snapshot: Digest,
}

impl Binding {
    /// What both sides must agree on, byte for byte:
    ///
    /// | bytes | what |
    /// |---|---|
    /// | 28 | the label `whimbrel identity envelope ` and the version of the envelope, 1 or 2, as a digit |
    /// | 32 | ed25519 key of the source |
    /// | 32 | ed25519 key of the target |
    /// | 32 | `entity` |
    /// | 16 | `attempt`, little-endian |
    /// | 8 | `epoch`, little-endian |
    /// | 32 | `snapshot` |
    ///
    /// Each part has a fixed length, so no two moves have the same encoding. The keys of the nodes
    /// stand in it because a key and its negative are one and the same on the other curve.
    pub(super) fn encode(
        &self,
        version: u8,
        source: &PublicKey,
        target: &PublicKey,
    ) -> [u8; ENCODED_BYTES] {
        let mut bytes = [0; ENCODED_BYTES];
        let mut rest = bytes.as_mut_slice();
        for part in [
            LABEL.as_slice(),
            &[b'0' + version % 10],
            source.as_bytes(),
            target.as_bytes(),
            self.entity.as_bytes(),
            &self.attempt.get().to_le_bytes(),
            &self.epoch.get().to_le_bytes(),
            self.snapshot.as_bytes(),
        ] {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        bytes
    }
}
