//! Decides how much memory the daemons of a node may claim together.
//!
//! What is counted is what they require, not what they use. What is on disk here already is run
//! whatever it claims: a node that was given less is full, and takes nothing more.

use std::collections::HashMap;
use std::sync::Mutex;

use whimbrel_wire::EntityId;

use crate::core::lock;

/// What the daemons here claim.
pub(crate) struct Claims {
    bytes_max: u64,
    taken: Mutex<HashMap<EntityId, u64>>,
}

/// A claim that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// What is left.
    pub(crate) free_bytes: u64,
}

impl Claims {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, taken: Mutex::default() }
    }

    /// Claims for a daemon, in place of what was claimed for it before. A claim of nothing always
    /// fits.
    pub(crate) fn claim(&self, entity: EntityId, bytes: u64) -> Result<(), Full> {
        let mut taken = lock(&self.taken);
        let others = taken.iter().filter(|(other, _)| **other != entity);
        let claimed = others.fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let free_bytes = self.bytes_max.saturating_sub(claimed);
        if free_bytes < bytes {
            return Err(Full { free_bytes });
        }
        if bytes > 0 {
            taken.insert(entity, bytes);
        }
        Ok(())
    }

    /// What further daemons may claim; `u64::MAX` where there is no bound.
    pub(crate) fn free_bytes(&self) -> u64 {
        let taken = lock(&self.taken);
        let claimed = taken.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        if self.bytes_max == u64::MAX { u64::MAX } else { self.bytes_max.saturating_sub(claimed) }
    }

    /// Counts a daemon that is here anyway.
    pub(crate) fn insist(&self, entity: EntityId, bytes: u64) {
        if bytes > 0 {
            lock(&self.taken).insert(entity, bytes);
        }
    }

    /// The daemon is here no more.
    pub(crate) fn release(&self, entity: &EntityId) {
        lock(&self.taken).remove(entity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(seed: u8) -> EntityId {
        EntityId::from_bytes([seed; 32])
    }

    #[test]
    fn claims_fit_together_or_not_at_all() {
        let claims = Claims::new(100);
        assert_eq!(claims.claim(daemon(1), 60), Ok(()));
        assert_eq!(claims.claim(daemon(2), 50), Err(Full { free_bytes: 40 }));
        assert_eq!(claims.claim(daemon(2), 40), Ok(()));
        assert_eq!(claims.claim(daemon(3), 0), Ok(()));
        assert_eq!(claims.free_bytes(), 0);
        // A daemon claims once, however often it comes.
        assert_eq!(claims.claim(daemon(1), 60), Ok(()));
        claims.release(&daemon(1));
        assert_eq!(claims.claim(daemon(3), 60), Ok(()));
        claims.insist(daemon(4), 1);
        assert_eq!(claims.claim(daemon(5), 1), Err(Full { free_bytes: 0 }));
    }
}
