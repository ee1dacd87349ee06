//! Decides how sets of states are held: one bit for each.

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// An empty set of numbers below `count`.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    /// Adds a number; whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let Some(word) = self.0.get_mut(number as usize / 64) else { return false };
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Adds all of `other`; whether that changed anything.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        let mut new = false;
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            new |= more & !*word != 0;
            *word |= more;
        }
        new
    }

    /// Its numbers, the least first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(place, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                u32::try_from(place * 64).ok().map(|first| first + bit)
            })
        })
    }

    /// Whether a number in `from..to` is in it.
    pub(super) fn any_in(&self, from: u32, to: u32) -> bool {
        (from..to).any(|number| self.has(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut bits = Bits::new(130);
        assert!(bits.insert(0) && bits.insert(129) && !bits.insert(0) && !bits.insert(500));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 129]);
        assert!(bits.any_in(100, 130) && !bits.any_in(1, 129));
        let mut more = Bits::new(130);
        assert!(more.add(&bits) && !more.add(&bits));
    }
}
