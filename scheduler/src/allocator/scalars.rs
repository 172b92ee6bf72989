//! Scalars: what there is of each resource that is counted, as numbers.
//!
//! Dominant shares are over scalars only. Ranges and sets are handed out with the rest, and count for
//! nothing.

use weir_resources::{Amount, ResourceName, Resources};

use super::share::Share;
use super::weight::Weight;

/// The most names of scalars that a cluster can have.
///
/// A node has about six, and a name that was ever told is kept: without a bound an agent that makes up
/// names would fill the memory of the scheduler.
pub const SCALAR_NAMES_MAX: usize = 1_024;

/// The scalars by the numbers that stand for their names.
#[derive(Clone, Debug)]
pub(super) struct ScalarNames {
    names: Vec<ResourceName>,
}

/// So much of each scalar; those of which there is nothing are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    /// In the order of the numbers, in thousandths, none zero.
    entries: Vec<(usize, u64)>,
}

/// Says that there would be more of a scalar, by its number, than can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uncountable(pub(super) usize);

/// How much of each scalar there is altogether, in thousandths, by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    thousandths: Vec<u64>,
}

impl ScalarNames {
    /// The number of `cpus`.
    pub(super) const CPUS: usize = 0;
    /// The number of `mem`.
    pub(super) const MEM: usize = 1;

    pub(super) fn new() -> Self {
        Self {
            names: vec![ResourceName::CPUS, ResourceName::MEM],
        }
    }

    /// Gives every scalar in `resources` a number, or returns the first for which there is none left.
    pub(super) fn admit<'a>(&mut self, resources: &'a Resources) -> Result<(), &'a ResourceName> {
        for (name, _) in resources.scalars() {
            if self.find(name).is_some() {
                continue;
            }
            if self.names.len() >= SCALAR_NAMES_MAX {
                return Err(name);
            }
            self.names.push(name.clone());
        }
        Ok(())
    }

    /// Returns the name that a number stands for.
    pub(super) fn name(&self, scalar: usize) -> &ResourceName {
        &self.names[scalar]
    }

    /// Returns how much there is of each scalar in `resources`, which were admitted.
    pub(super) fn amounts<'a>(
        &self,
        scalars: impl Iterator<Item = (&'a ResourceName, Amount)>,
    ) -> Amounts {
        let entries = scalars.map(|(name, amount)| {
            let scalar = self.find(name).expect("what an agent has was admitted");
            (scalar, amount.thousandths())
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable();
        Amounts { entries }
    }

    fn find(&self, name: &ResourceName) -> Option<usize> {
        // Half a dozen: looking at each is faster than a map.
        self.names.iter().position(|known| known == name)
    }
}

impl Amounts {
    /// Returns how much there is of a scalar, in thousandths.
    pub(super) fn get(&self, scalar: usize) -> u64 {
        match self.position(scalar) {
            Ok(index) => self.entries[index].1,
            Err(_) => 0,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.entries.iter().copied()
    }

    /// Adds what is known to be countable with this: parts of totals that were.
    pub(super) fn add(&mut self, other: &Self) {
        self.checked_add(other)
            .expect("what is held is part of totals that can be counted");
    }

    /// Adds `other`, of which some may be added even if not all can be.
    pub(super) fn checked_add(&mut self, other: &Self) -> Result<(), Uncountable> {
        if self.entries.is_empty() {
            self.entries.clone_from(&other.entries);
            return Ok(());
        }
        other
            .iter()
            .try_for_each(|(scalar, thousandths)| self.add_one(scalar, thousandths))
    }

    fn add_one(&mut self, scalar: usize, thousandths: u64) -> Result<(), Uncountable> {
        match self.position(scalar) {
            Ok(index) => {
                let sum = &mut self.entries[index].1;
                *sum = sum.checked_add(thousandths).ok_or(Uncountable(scalar))?;
            }
            Err(index) => self.entries.insert(index, (scalar, thousandths)),
        }
        Ok(())
    }

    /// Takes away what was added before.
    pub(super) fn subtract(&mut self, other: &Self) {
        if self.entries == other.entries {
            self.entries.clear();
            return;
        }
        for (scalar, thousandths) in other.iter() {
            let index = self
                .position(scalar)
                .expect("only what was added is taken away");
            let rest = &mut self.entries[index].1;
            *rest = rest
                .checked_sub(thousandths)
                .expect("only what was added is taken away");
            if *rest == 0 {
                self.entries.remove(index);
            }
        }
    }

    /// Returns the dominant share: the greatest of the shares of each scalar in its total.
    pub(super) fn share(&self, totals: &Totals, weight: Weight) -> Share {
        let mut greatest = (0_u64, 1_u64);
        for (scalar, part) in self.iter() {
            let whole = totals.get(scalar);
            if whole != 0
                && u128::from(part) * u128::from(greatest.1)
                    > u128::from(greatest.0) * u128::from(whole)
            {
                greatest = (part, whole);
            }
        }
        Share::new(greatest.0, greatest.1, weight)
    }

    fn position(&self, scalar: usize) -> Result<usize, usize> {
        self.entries
            .binary_search_by_key(&scalar, |(known, _)| *known)
    }
}

impl Totals {
    pub(super) fn get(&self, scalar: usize) -> u64 {
        self.thousandths.get(scalar).copied().unwrap_or(0)
    }

    pub(super) fn as_slice(&self) -> &[u64] {
        &self.thousandths
    }

    /// Returns whether there is the same in both, which may have seen different scalars.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let scalars = self.thousandths.len().max(other.thousandths.len());
        (0..scalars).all(|scalar| self.get(scalar) == other.get(scalar))
    }

    /// Returns nothing if everything can be counted when `less` was taken away and `more` added.
    pub(super) fn check(&self, less: &Amounts, more: &Amounts) -> Result<(), Uncountable> {
        more.iter().try_for_each(|(scalar, more)| {
            let rest = self.get(scalar).saturating_sub(less.get(scalar));
            rest.checked_add(more)
                .map(|_| ())
                .ok_or(Uncountable(scalar))
        })
    }

    /// Adds what [`Self::check`] has nothing against.
    pub(super) fn add(&mut self, amounts: &Amounts) {
        for (scalar, thousandths) in amounts.iter() {
            if scalar >= self.thousandths.len() {
                self.thousandths.resize(scalar + 1, 0);
            }
            let total = &mut self.thousandths[scalar];
            *total = total
                .checked_add(thousandths)
                .expect("totals are checked before they grow");
        }
    }

    /// Takes away what was added before.
    pub(super) fn subtract(&mut self, amounts: &Amounts) {
        for (scalar, thousandths) in amounts.iter() {
            let total = &mut self.thousandths[scalar];
            *total = total
                .checked_sub(thousandths)
                .expect("only what was added is taken away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(entries: &[(usize, u64)]) -> Amounts {
        let mut amounts = Amounts::default();
        for &(scalar, thousandths) in entries {
            amounts.add_one(scalar, thousandths).expect("little");
        }
        amounts
    }

    #[test]
    fn what_was_added_can_be_taken_away() {
        let mut sum = amounts(&[(0, 5)]);
        sum.add(&amounts(&[(2, 7), (0, 1)]));
        assert_eq!(sum, amounts(&[(0, 6), (2, 7)]));
        sum.subtract(&amounts(&[(0, 6)]));
        assert_eq!(sum, amounts(&[(2, 7)]));
        sum.subtract(&amounts(&[(2, 7)]));
        assert_eq!(sum, Amounts::default());
    }

    #[test]
    fn the_dominant_share_is_the_greatest_and_ignores_what_nobody_has() {
        let mut totals = Totals::default();
        totals.add(&amounts(&[(0, 9), (1, 18)]));
        let share = amounts(&[(0, 3), (1, 12), (4, 9)]).share(&totals, Weight::ONE);
        assert_eq!(share, Share::new(2, 3, Weight::ONE));
    }

    #[test]
    fn totals_that_cannot_be_counted_are_found_before_they_are_made() {
        let mut totals = Totals::default();
        totals.add(&amounts(&[(0, 1), (1, u64::MAX - 1)]));
        let (none, most) = (Amounts::default(), amounts(&[(1, 2)]));
        assert_eq!(totals.check(&none, &most), Err(Uncountable(1)));
        assert_eq!(totals.check(&amounts(&[(1, 1)]), &most), Ok(()));
    }
}
