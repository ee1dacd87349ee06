//! Decides whether a state was seen before, by 64 bits of it.
//!
//! Two states with equal prints are taken for one: among 10⁸ states the chance that any two share
//! a print is about 3 in 10,000, and another seed gives other prints.

use crate::atlas::mix;

/// How full the table may be, in eighths.
const FULL_EIGHTHS: usize = 6;

/// A set of prints.
#[derive(Debug)]
pub(crate) struct Prints {
    /// Zero is an empty place.
    table: Vec<u64>,
    count: usize,
}

/// The print of a row of numbers.
pub(crate) fn print_of(seed: u64, row: &[u32]) -> u64 {
    let fold = |print: u64, pair: &[u32]| {
        let high = pair.get(1).copied().unwrap_or(u32::MAX);
        mix(print ^ (u64::from(high) << 32 | u64::from(pair[0])))
    };
    row.chunks(2).fold(mix(seed ^ row.len() as u64), fold).max(1)
}

impl Prints {
    pub(crate) fn new() -> Self {
        Self { table: vec![0; 1 << 16], count: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Adds a print. False if it was there.
    pub(crate) fn insert(&mut self, print: u64) -> bool {
        if (self.count + 1) * 8 > self.table.len() * FULL_EIGHTHS {
            self.grow();
        }
        let fresh = self.put(print);
        self.count += usize::from(fresh);
        fresh
    }

    fn put(&mut self, print: u64) -> bool {
        let mask = self.table.len() - 1;
        let mut at = usize::try_from(print >> 20).unwrap_or(0) & mask;
        loop {
            match self.table[at] {
                0 => {
                    self.table[at] = print;
                    return true;
                }
                known if known == print => return false,
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let bigger = vec![0; self.table.len() * 2];
        for print in std::mem::replace(&mut self.table, bigger) {
            if print != 0 {
                self.put(print);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_is_new_once_however_often_the_table_grew() {
        let mut prints = Prints::new();
        let print = |number: u32| print_of(7, &[number, number / 2, 3]);
        assert!((0..200_000).all(|number| prints.insert(print(number))));
        assert!((0..200_000).all(|number| !prints.insert(print(number))));
        assert_eq!(prints.len(), 200_000);
    }

    #[test]
    fn rows_that_differ_only_in_their_length_or_seed_have_different_prints() {
        let row = [1, 2, u32::MAX];
        assert_ne!(print_of(1, &row), print_of(1, &row[..2]));
        assert_ne!(print_of(1, &row), print_of(2, &row));
    }
}
