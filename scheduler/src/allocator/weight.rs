//! Weights: how much more of the cluster one role may have than another.

use std::fmt;
use std::num::NonZeroU32;

use weir_resources::Amount;

/// How much of the cluster a role may have beside a role of weight 1; three decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU32);

/// Says why an amount is no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// A role of no weight would never be offered anything.
    #[error("a weight of 0 would give the role nothing; the least is {least}", least = Weight::LEAST)]
    Zero,
    /// More than there is reason for.
    #[error("a weight of {amount} is too large; the most is {most}", most = Weight::MOST)]
    TooLarge {
        /// What was to be the weight.
        amount: Amount,
    },
}

impl WeightError {
    /// Returns what to try instead.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Zero => "to give a role nothing, refuse it in the access rules",
            Self::TooLarge { .. } => {
                "only the ratio of two weights counts: make the others smaller"
            }
        }
    }
}

impl Weight {
    /// The weight of a role for which none was set.
    pub const ONE: Self = Self(NonZeroU32::new(1_000).expect("a thousand is not zero"));
    /// The least weight.
    pub const LEAST: Self = Self(NonZeroU32::MIN);
    /// The most: 1,000,000. Shares are compared exactly, and this leaves them room.
    pub const MOST: Self = Self(NonZeroU32::new(1_000_000_000).expect("a billion is not zero"));

    /// Returns the weight of so many thousandths, or `None` if it is zero or too large.
    pub fn from_thousandths(thousandths: u32) -> Option<Self> {
        NonZeroU32::new(thousandths)
            .map(Self)
            .filter(|weight| *weight <= Self::MOST)
    }

    /// Returns the weight in thousandths.
    pub const fn thousandths(self) -> u32 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl TryFrom<Amount> for Weight {
    type Error = WeightError;

    fn try_from(amount: Amount) -> Result<Self, WeightError> {
        if amount.is_zero() {
            return Err(WeightError::Zero);
        }
        u32::try_from(amount.thousandths())
            .ok()
            .and_then(Self::from_thousandths)
            .ok_or(WeightError::TooLarge { amount })
    }
}

impl From<Weight> for Amount {
    fn from(weight: Weight) -> Self {
        Self::from_thousandths(u64::from(weight.thousandths()))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Amount::from(*self), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_bounds_are_weights() {
        for (amount, weight) in [
            ("0.001", Weight::LEAST),
            ("1", Weight::ONE),
            ("1000000", Weight::MOST),
        ] {
            let amount: Amount = amount.parse().expect("an amount");
            assert_eq!(Weight::try_from(amount), Ok(weight));
            assert_eq!(Amount::from(weight), amount);
        }
    }

    #[test]
    fn amounts_out_of_bounds_are_refused_with_the_bound() {
        let error = Weight::try_from(Amount::ZERO).expect_err("no weight");
        assert_eq!(
            error.to_string(),
            "a weight of 0 would give the role nothing; the least is 0.001"
        );
        let large: Amount = "1000000.001".parse().expect("an amount");
        let error = Weight::try_from(large).expect_err("no weight");
        assert_eq!(
            error.to_string(),
            "a weight of 1000000.001 is too large; the most is 1000000"
        );
        assert!(Weight::try_from(Amount::MAX).is_err());
    }
}
