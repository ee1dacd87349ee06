//! Decides what of a daemon is secret, and in which bytes: its key, and the tokens that it holds.
//!
//! Both go everywhere together: into one envelope, and locked into one place of the disk, so whatever is true of
//! the key there is true of the tokens. A daemon without tokens has the bytes of version 1.
//!
//! | version | bytes | what |
//! |---|---|---|
//! | 1 | 32 | the seed of the key |
//! | 2 | 32 | the seed of the key |
//! |   | … | from one to [`TOKENS_MAX`] times: the length of a token as `u16`, little-endian, and the token |
//!
//! # Limits
//!
//! * [`TOKENS_MAX`] tokens of together [`TOKENS_BYTES_MAX`]: more are refused when they are given.

use std::fmt;

use whimbrel_trust::{BlockId, PermissionToken};
use whimbrel_wire::limits::ENVELOPE_BYTES_MAX;
use whimbrel_wire::{EntityId, Identity};
use zeroize::Zeroizing;

use super::error::IdentityError;

/// Most tokens that a daemon holds.
pub const TOKENS_MAX: usize = 8;

/// Longest they are together, in bytes.
pub const TOKENS_BYTES_MAX: usize = 8 * 1024;

/// How long a key is.
const SEED_BYTES: usize = 32;

/// How long the number before a token is.
const LENGTH_BYTES: usize = 2;

// The rest of an envelope: version, ephemeral key, tag.
const _: () = assert!(
    1 + 32 + SEED_BYTES + TOKENS_MAX * LENGTH_BYTES + TOKENS_BYTES_MAX + 16 <= ENVELOPE_BYTES_MAX
);

/// The key of a daemon and the tokens that it holds. They are overwritten when dropped.
#[derive(Clone)]
pub struct Secrets {
    identity: Identity,
    tokens: Vec<PermissionToken>,
}

/// A daemon holds as many tokens as it can.
///
/// Fault: caller. Changed: nothing. Again: after one was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a daemon holds at most {TOKENS_MAX} tokens of together {TOKENS_BYTES_MAX} bytes")]
pub struct TooManyTokens;

impl From<Identity> for Secrets {
    /// Without tokens.
    fn from(identity: Identity) -> Self {
        Self { identity, tokens: Vec::new() }
    }
}

impl Secrets {
    /// The key.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The tokens.
    #[must_use]
    pub fn tokens(&self) -> &[PermissionToken] {
        &self.tokens
    }

    /// Whose they are.
    #[must_use]
    pub fn entity_id(&self) -> EntityId {
        self.identity.entity_id()
    }

    /// Adds a token; one that is there already stays as it is.
    pub(crate) fn give(&mut self, token: PermissionToken) -> Result<(), TooManyTokens> {
        if self.tokens.contains(&token) {
            return Ok(());
        }
        let bytes: usize = self.tokens.iter().chain([&token]).map(|it| it.to_bytes().len()).sum();
        if self.tokens.len() >= TOKENS_MAX || bytes > TOKENS_BYTES_MAX {
            return Err(TooManyTokens);
        }
        self.tokens.push(token);
        Ok(())
    }

    /// Takes all tokens away that have this block. How many there were.
    pub(crate) fn take(&mut self, block: &BlockId) -> usize {
        let before = self.tokens.len();
        self.tokens.retain(|token| !token.ids().contains(block));
        before - self.tokens.len()
    }

    /// The version of the bytes.
    pub(super) fn version(&self) -> u8 {
        if self.tokens.is_empty() { 1 } else { 2 }
    }

    pub(super) fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        let tokens: Vec<Zeroizing<Vec<u8>>> =
            self.tokens.iter().map(PermissionToken::to_bytes).collect();
        let length = tokens.iter().map(|it| LENGTH_BYTES + it.len()).sum::<usize>();
        // In its whole length at once: a buffer that grows leaves its former self behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(SEED_BYTES + length));
        plain.extend_from_slice(&*self.identity.seed());
        for token in &tokens {
            let length = u16::try_from(token.len()).unwrap_or(u16::MAX);
            plain.extend_from_slice(&length.to_le_bytes());
            plain.extend_from_slice(token);
        }
        plain
    }

    /// The secrets of `entity` in these bytes, which are authentic.
    pub(super) fn from_plain(
        version: u8,
        entity: &EntityId,
        plain: &[u8],
    ) -> Result<Self, IdentityError> {
        let wrong = IdentityError::Malformed;
        let (seed, mut rest) = plain.split_first_chunk::<SEED_BYTES>().ok_or(wrong)?;
        let seed = Zeroizing::new(*seed);
        let mut secrets = Self::from(Identity::from_seed(&seed));
        let found = secrets.entity_id();
        if found != *entity {
            return Err(IdentityError::WrongDaemon { expected: *entity, found });
        }
        if rest.is_empty() != (version == 1) {
            return Err(wrong);
        }
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(wrong)?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (token, after) = after.split_at_checked(length).ok_or(wrong)?;
            let token = PermissionToken::from_bytes(token).map_err(|_| wrong)?;
            secrets.give(token).map_err(|_| wrong)?;
            rest = after;
        }
        Ok(secrets)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({}, {} tokens)", self.entity_id(), self.tokens.len())
    }
}
