//! Sets of small numbers, as bits: which frameworks refuse an agent, which agents have something free.

/// A set of the numbers that a [slab](super::slab) gives.
///
/// A thousand frameworks are sixteen words: whether any of them wants an agent is asked in
/// nanoseconds, however many of them there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    words: Vec<u64>,
}

impl Members {
    pub(super) const fn new() -> Self {
        Self { words: Vec::new() }
    }

    pub(super) fn insert(&mut self, member: u32) {
        let (word, bit) = place(member);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    pub(super) fn remove(&mut self, member: u32) {
        let (word, bit) = place(member);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Makes `member` one of the set, or no longer.
    pub(super) fn set(&mut self, member: u32, is_member: bool) {
        if is_member {
            self.insert(member);
        } else {
            self.remove(member);
        }
    }

    pub(super) fn contains(&self, member: u32) -> bool {
        let (word, bit) = place(member);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    /// Puts all of `others` in.
    pub(super) fn add(&mut self, others: &Self) {
        self.add_difference(others, &Self::new());
    }

    /// Takes all of `others` out.
    pub(super) fn subtract(&mut self, others: &Self) {
        for (word, other) in self.words.iter_mut().zip(&others.words) {
            *word &= !other;
        }
    }

    /// Puts in who is in `all` and not in `without`.
    pub(super) fn add_difference(&mut self, all: &Self, without: &Self) {
        if self.words.len() < all.words.len() {
            self.words.resize(all.words.len(), 0);
        }
        let without = without.words.iter().copied().chain(std::iter::repeat(0));
        for ((word, all), without) in self.words.iter_mut().zip(&all.words).zip(without) {
            *word |= all & !without;
        }
    }

    /// Keeps who is in `others`, too.
    pub(super) fn intersect(&mut self, others: &Self) {
        self.words.truncate(others.words.len());
        for (word, other) in self.words.iter_mut().zip(&others.words) {
            *word &= other;
        }
    }

    /// Returns whether anyone is in both sets.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .any(|(one, other)| one & other != 0)
    }

    /// Returns how many are in both sets.
    pub(super) fn count_shared(&self, other: &Self) -> usize {
        self.words
            .iter()
            .zip(&other.words)
            .map(|(one, other)| (one & other).count_ones() as usize)
            .sum()
    }

    pub(super) fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Returns the first member from `start` on.
    pub(super) fn next_from(&self, start: u32) -> Option<u32> {
        let (first, bit) = place(start);
        let from_bit = !(bit - 1);
        let masks = std::iter::once(from_bit).chain(std::iter::repeat(u64::MAX));
        self.words
            .iter()
            .enumerate()
            .skip(first)
            .zip(masks)
            .find_map(|((index, word), mask)| lowest(index, word & mask))
    }

    /// Goes through the members in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.shared(None)
    }

    /// Goes through those who are in both sets.
    pub(super) fn iter_shared<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        self.shared(Some(other))
    }

    fn shared<'a>(&'a self, other: Option<&'a Self>) -> impl Iterator<Item = u32> + 'a {
        self.words
            .iter()
            .enumerate()
            .flat_map(move |(index, word)| {
                let mut left = match other {
                    Some(other) => word & other.words.get(index).copied().unwrap_or(0),
                    None => *word,
                };
                std::iter::from_fn(move || {
                    let member = lowest(index, left)?;
                    left &= left - 1;
                    Some(member)
                })
            })
    }
}

fn place(member: u32) -> (usize, u64) {
    ((member / u64::BITS) as usize, 1 << (member % u64::BITS))
}

fn lowest(index: usize, word: u64) -> Option<u32> {
    if word == 0 {
        return None;
    }
    let before = u32::try_from(index).expect("members are 32-bit numbers") * u64::BITS;
    Some(before + word.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(numbers: &BTreeSet<u32>) -> Members {
        let mut members = Members::new();
        for &number in numbers {
            members.insert(number);
        }
        members
    }

    fn numbers() -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0..200_u32, 0..40)
    }

    proptest! {
        #[test]
        fn bits_are_a_set(one in numbers(), other in numbers(), third in numbers(), at in 0..220_u32) {
            let (a, b, c) = (members(&one), members(&other), members(&third));
            let list = |set: &Members| set.iter().collect::<BTreeSet<_>>();

            prop_assert_eq!(&list(&a), &one);
            prop_assert_eq!(a.count(), one.len());
            prop_assert_eq!(a.is_empty(), one.is_empty());
            prop_assert_eq!(a.contains(at), one.contains(&at));
            prop_assert_eq!(a.next_from(at), one.range(at..).next().copied());
            prop_assert_eq!(a.meets(&b), !one.is_disjoint(&other));
            let shared: BTreeSet<u32> = one.intersection(&other).copied().collect();
            prop_assert_eq!(&a.iter_shared(&b).collect::<BTreeSet<_>>(), &shared);
            prop_assert_eq!(a.count_shared(&b), shared.len());

            let mut result = a.clone();
            result.subtract(&b);
            prop_assert_eq!(list(&result), &one - &other);
            let mut result = a.clone();
            result.intersect(&b);
            prop_assert_eq!(list(&result), shared);
            let mut result = a.clone();
            result.add_difference(&b, &c);
            prop_assert_eq!(list(&result), &one | &(&other - &third));
            let mut result = a;
            result.set(at, true);
            prop_assert!(result.contains(at));
            result.set(at, false);
            prop_assert!(!result.contains(at));
            let before = list(&result);
            result.add(&b);
            prop_assert_eq!(list(&result), &before | &other);
        }
    }
}
