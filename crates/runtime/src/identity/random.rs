//! Decides where secrets come from: the operating system, and nothing in between.

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};

use super::error::IdentityError;

/// Random bytes from the operating system, for an interface that cannot hear of a failure.
///
/// A failure is remembered, and whatever was made of the bytes must be thrown away: ask
/// [`finish`](Self::finish) before using it.
#[derive(Default)]
pub(super) struct Random {
    failure: Option<getrandom::Error>,
}

impl Random {
    /// Fills `bytes`, or leaves them as they are and remembers why.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            self.failure = Some(error);
        }
    }

    /// Whether all that was asked for was random.
    pub(super) fn finish(self) -> Result<(), IdentityError> {
        self.failure.map_or(Ok(()), |error| Err(IdentityError::Randomness(error)))
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_system_is_remembered() {
        let random = Random { failure: Some(getrandom::Error::UNSUPPORTED) };
        assert_eq!(random.finish(), Err(IdentityError::Randomness(getrandom::Error::UNSUPPORTED)));
    }
}
