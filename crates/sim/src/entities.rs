//! Decides where what is known of each daemon lies, so that a look costs no search.
//!
//! The id of a daemon is a public key, so its first bytes are as good as random: they say where to look. Who goes through all of
//! them meets them in the order of their ids, as in a tree.

use whimbrel_wire::EntityId;

/// Places of the table for each one that is known, at least.
const PLACES: usize = 4;

/// Something for each daemon.
#[derive(Clone, Debug)]
pub(crate) struct Entities<T> {
    /// In the order in which they came.
    known: Vec<(EntityId, T)>,
    /// Where they are, by their ids.
    sorted: Vec<u32>,
    /// Where they are, each at or after the place that its id names: one more than the index, zero for none. Its
    /// length is a power of two.
    table: Vec<u32>,
}

impl<T> Default for Entities<T> {
    fn default() -> Self {
        Self { known: Vec::new(), sorted: Vec::new(), table: Vec::new() }
    }
}

impl<T> Entities<T> {
    /// What there is for `entity`.
    #[inline]
    pub(crate) fn get(&self, entity: &EntityId) -> Option<&T> {
        self.find(entity).map(|at| &self.known[at].1)
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, entity: &EntityId) -> Option<&mut T> {
        self.find(entity).map(|at| &mut self.known[at].1)
    }

    /// What there is for `entity`; if there is nothing, `make` says what.
    #[inline]
    pub(crate) fn entry(&mut self, entity: EntityId, make: impl FnOnce() -> T) -> &mut T {
        let at = match self.find(&entity) {
            Some(at) => at,
            None => self.push(entity, make()),
        };
        &mut self.known[at].1
    }

    /// Puts something in the place of what there was.
    pub(crate) fn insert(&mut self, entity: EntityId, value: T) {
        match self.find(&entity) {
            Some(at) => self.known[at].1 = value,
            None => drop(self.push(entity, value)),
        }
    }

    /// All ids, rising.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &EntityId> {
        self.sorted.iter().map(|at| &self.known[*at as usize].0)
    }

    /// Everything, by rising ids.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.sorted.iter().map(|at| &self.known[*at as usize].1)
    }

    /// Everything, to change it, in the order in which it came.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.known.iter_mut().map(|(_, value)| value)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    #[inline]
    fn find(&self, entity: &EntityId) -> Option<usize> {
        let mask = self.table.len().checked_sub(1)?;
        let mut place = first_place(entity) & mask;
        loop {
            let at = (self.table[place] as usize).checked_sub(1)?;
            if self.known[at].0 == *entity {
                return Some(at);
            }
            place = (place + 1) & mask;
        }
    }

    fn push(&mut self, entity: EntityId, value: T) -> usize {
        let at = self.known.len();
        let rank = self.sorted.partition_point(|other| self.known[*other as usize].0 < entity);
        self.sorted.insert(rank, u32::try_from(at).unwrap_or(u32::MAX));
        self.known.push((entity, value));
        if self.table.len() < self.known.len() * PLACES {
            self.table = vec![0; (self.known.len() * PLACES * 2).next_power_of_two()];
            (0..self.known.len()).for_each(|known| self.place(known));
        } else {
            self.place(at);
        }
        at
    }

    /// Enters one in the table.
    fn place(&mut self, at: usize) {
        let mask = self.table.len() - 1;
        let mut place = first_place(&self.known[at].0) & mask;
        while self.table[place] != 0 {
            place = (place + 1) & mask;
        }
        self.table[place] = u32::try_from(at + 1).unwrap_or(u32::MAX);
    }
}

#[inline]
fn first_place(entity: &EntityId) -> usize {
    let bytes = entity.as_bytes();
    usize::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dice::Dice;

    #[test]
    fn it_holds_what_a_tree_holds_and_in_its_order() {
        let mut dice = Dice::new(3);
        let (mut tree, mut entities) = (BTreeMap::new(), Entities::default());
        for round in 0..2_000_u64 {
            // Few last bytes and few first ones, so that ids meet again and share places.
            let mut bytes = [0; 32];
            (bytes[0], bytes[31]) = (dice.index(16) as u8, dice.index(40) as u8);
            let entity = EntityId::from_bytes(bytes);
            assert_eq!(entities.get(&entity), tree.get(&entity));
            if dice.chance(500) {
                tree.insert(entity, round);
                entities.insert(entity, round);
            } else {
                *tree.entry(entity).or_insert(7) += round;
                *entities.entry(entity, || 7) += round;
            }
            assert_eq!(entities.get_mut(&entity), tree.get_mut(&entity));
        }
        assert!(entities.keys().eq(tree.keys()) && entities.values().eq(tree.values()));
        entities.clear();
        assert_eq!(entities.values().count() + entities.values_mut().count(), 0);
    }
}
