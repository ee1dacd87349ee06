//! What can go wrong with the keys of daemons, and whose fault it is.

use whimbrel_wire::limits::ENVELOPE_BYTES_MAX;
use whimbrel_wire::{EntityId, PublicKey};

/// Why the key of a daemon could not be sealed, opened, locked or unlocked.
///
/// No variant changes anything: on an error there is no envelope and no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The envelope is longer than any envelope may be.
    ///
    /// Fault: peer. Changed: nothing. Again: no.
    #[error("envelope of {bytes} bytes is longer than {ENVELOPE_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The envelope, or the locked key, has a version that this node does not know.
    ///
    /// Fault: surroundings (a newer node wrote it), or peer or disk. Changed: nothing. Again: after
    /// an upgrade of this node.
    #[error("version {version} of the key's wrapping is unknown")]
    UnknownVersion {
        /// The version it names.
        version: u8,
    },
    /// The envelope, or the locked key, is empty, cut off or too long for its version.
    ///
    /// Fault: peer or disk. Changed: nothing. Again: no, not with these bytes.
    #[error("the wrapped key has {bytes} bytes, and one of its version {expected} or more")]
    WrongLength {
        /// How long it is.
        bytes: usize,
        /// How long it must be.
        expected: usize,
    },
    /// The envelope was not sealed by this source to this node for this move, or was altered. Which
    /// of these, nobody can tell.
    ///
    /// Fault: peer. Changed: nothing. Again: with another envelope.
    #[error("the envelope was not sealed by this source to this node for this move")]
    NotAuthentic,
    /// The locked key was not locked by this node for this daemon, or was altered.
    ///
    /// Fault: disk, or caller (the node's key is another than before). Changed: nothing. Again: with
    /// the node's key of that time.
    #[error("the locked key is not one that this node locked for this daemon")]
    NotLockedHere,
    /// What was wrapped is authentic, and what follows the key is no tokens.
    ///
    /// Fault: peer or us. Changed: nothing. Again: no.
    #[error("what follows the key of the daemon is no tokens")]
    Malformed,
    /// It holds the key of another daemon.
    ///
    /// Fault: caller when sealing, peer when opening. Changed: nothing. Again: no.
    #[error("the key is that of {found}, not of {expected}")]
    WrongDaemon {
        /// Whose it should be.
        expected: EntityId,
        /// Whose it is.
        found: EntityId,
    },
    /// The public key of the other node is none that can be sealed to or opened from: no point, of
    /// small order, or outside the main subgroup.
    ///
    /// Fault: caller (the member list has a bad key). Changed: nothing. Again: with another key.
    #[error("nothing can be sealed with the node key {key}")]
    UnusableKey {
        /// Which key.
        key: PublicKey,
    },
    /// The operating system gave no randomness.
    ///
    /// Fault: surroundings. Changed: nothing. Again: yes, later.
    #[error("the system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The cipher refused what it must accept.
    ///
    /// Fault: us. Changed: nothing. Again: no.
    #[error("the cipher refused to seal")]
    Cipher,
}
