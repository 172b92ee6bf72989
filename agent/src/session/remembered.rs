//! A bounded memory: what came last, by its key.

use std::collections::{BTreeMap, VecDeque};

/// The last so many entries. The oldest makes room for the newest.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    max: usize,
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Ord, V> Remembered<K, V> {
    /// Returns a memory of at most `max` entries; the first of `entries` is the oldest.
    pub(super) fn new(max: usize, entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut remembered = Self {
            max,
            entries: BTreeMap::new(),
            order: VecDeque::new(),
        };
        for (key, value) in entries {
            remembered.insert(key, value);
        }
        remembered
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut remembered = Remembered::new(2, [(1, 'a'), (2, 'b'), (3, 'c')]);
        assert_eq!(remembered.get(&1), None);
        assert_eq!(remembered.get(&2), Some(&'b'));
        remembered.insert(2, 'x');
        remembered.insert(4, 'd');
        assert_eq!(remembered.get(&2), None);
        assert_eq!(remembered.get(&4), Some(&'d'));
        remembered.clear();
        assert_eq!(remembered.get(&4), None);
    }
}
