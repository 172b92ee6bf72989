//! Ids that the ledger gives to agents, frameworks and offers.

use weir_protocol::{AgentId, FrameworkId, OfferId};

/// 128 random bits, others at every start of the scheduler: what its ids are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u128);

impl Seed {
    /// Returns 64 bits for whoever else needs some.
    pub(super) fn half(self) -> u64 {
        u64::try_from(self.0 >> 64).expect("64 bits are left")
    }
}

/// Gives ids: no two the same in one life, and none of another life.
///
/// The upper half is the seed's, so that two lives never meet. The lower half is a count, mixed by a
/// function that maps no two numbers to one. Nothing depends on that nobody can guess them: every use
/// of an id is checked against its owner.
#[derive(Clone, Debug)]
pub(super) struct IdSource {
    life: u128,
    count: u64,
}

impl IdSource {
    pub(super) const fn new(Seed(seed): Seed) -> Self {
        Self {
            life: seed,
            count: 0,
        }
    }

    pub(super) fn agent(&mut self) -> AgentId {
        AgentId::from_bits(self.next())
    }

    pub(super) fn framework(&mut self) -> FrameworkId {
        FrameworkId::from_bits(self.next())
    }

    pub(super) fn offer(&mut self) -> OfferId {
        OfferId::from_bits(self.next())
    }

    fn next(&mut self) -> u128 {
        // The finalizer of SplitMix64 (Steele, Lea and Flood); every step of it can be undone.
        self.count = self.count.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.count;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        self.life ^ u128::from(mixed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_ids_of_a_life_are_the_same_nor_any_of_another() {
        let mut seen = BTreeSet::new();
        for seed in [0, 1 << 64, u128::MAX] {
            let mut ids = IdSource::new(Seed(seed));
            for _ in 0..1000 {
                assert!(seen.insert(ids.offer()));
            }
        }
    }
}
