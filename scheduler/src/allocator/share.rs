//! Shares: exact fractions, compared without rounding.

use std::cmp::Ordering;

use super::weight::Weight;

/// Which part of a whole someone holds, divided by a weight; exact.
///
/// Equal shares are equal however they are written: a half is two quarters. Rounding would make equal
/// what is not, and the tie rules would decide what the shares should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    part: u64,
    /// A total of 64 bits times a weight of 32; never zero.
    whole: u128,
}

/// The least factor by which shares have changed since they were measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drift {
    /// What there was of a resource when the shares were measured.
    before: u64,
    /// What there is now; never zero.
    now: u64,
}

impl Share {
    /// The share of who holds nothing.
    pub(super) const ZERO: Self = Self { part: 0, whole: 1 };

    /// Returns the share of `part` in `whole`; nothing of nothing is no share.
    pub(super) fn new(part: u64, whole: u64, weight: Weight) -> Self {
        if part == 0 || whole == 0 {
            return Self::ZERO;
        }
        Self {
            part,
            whole: u128::from(whole) * u128::from(weight.thousandths()),
        }
    }

    /// Compares the least that this share can be after `drift` with `other`.
    pub(super) fn compare_after(&self, drift: Drift, other: &Self) -> Ordering {
        // part / whole × before / now against other.part / other.whole: 128 × 96 bits on either side.
        let own = u128::from(self.part) * u128::from(drift.before);
        let others = u128::from(other.part) * u128::from(drift.now);
        product(own, other.whole).cmp(&product(others, self.whole))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.whole == other.whole {
            return self.part.cmp(&other.part);
        }
        product(u128::from(self.part), other.whole)
            .cmp(&product(u128::from(other.part), self.whole))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

impl Drift {
    /// Nothing has changed.
    pub(super) const NONE: Self = Self { before: 1, now: 1 };

    /// Returns the least factor, where each resource had `before` and has `now` in total.
    ///
    /// A resource of which there is nothing now is nobody's, and one of which there was nothing was
    /// not measured: neither can make a share smaller than the others do.
    pub(super) fn between(before: &[u64], now: &[u64]) -> Self {
        let mut least: Option<Self> = None;
        for (&before, &now) in before.iter().zip(now) {
            if before == 0 || now == 0 {
                continue;
            }
            let factor = Self { before, now };
            if least.is_none_or(|least| factor.is_below(least)) {
                least = Some(factor);
            }
        }
        least.unwrap_or(Self::NONE)
    }

    fn is_below(self, other: Self) -> bool {
        u128::from(self.before) * u128::from(other.now)
            < u128::from(other.before) * u128::from(self.now)
    }
}

/// Returns the product of two numbers as its upper and its lower half.
fn product(one: u128, other: u128) -> (u128, u128) {
    // Nearly all wholes fit into 64 bits, and nearly all parts.
    if let Some(product) = one.checked_mul(other) {
        return (0, product);
    }
    let (one_high, one_low) = halves(one);
    let (other_high, other_low) = halves(other);
    let low = one_low * other_low;
    let (middle, carried) = (one_low * other_high).overflowing_add(one_high * other_low);
    let (low, overflowed) = low.overflowing_add(middle << u64::BITS);
    let high = one_high * other_high
        + (middle >> u64::BITS)
        + (u128::from(carried) << u64::BITS)
        + u128::from(overflowed);
    (high, low)
}

fn halves(number: u128) -> (u128, u128) {
    (number >> u64::BITS, number & u128::from(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(part: u64, whole: u64) -> Share {
        Share::new(part, whole, Weight::ONE)
    }

    #[test]
    fn equal_shares_are_equal_however_they_are_written() {
        assert_eq!(share(1, 2), share(2, 4));
        assert_eq!(share(0, 7), Share::ZERO);
        assert!(share(1, 3) < share(2, 5));
    }

    #[test]
    fn the_closest_shares_that_differ_are_told_apart() {
        let most = u64::MAX;
        assert!(share(most - 2, most - 1) < share(most - 1, most));
        assert!(share(most - 1, most) < share(most, most));
        assert_eq!(share(most - 1, most - 1), share(most, most));
    }

    #[test]
    fn a_share_is_divided_by_the_weight() {
        let double = Weight::from_thousandths(2_000).expect("two is a weight");
        assert_eq!(Share::new(2, 4, double), share(1, 4));
        assert!(Share::new(2, 4, double) < share(2, 4));
    }

    #[test]
    fn the_least_factor_counts_and_absent_resources_do_not() {
        let drift = Drift::between(&[10, 6, 0, 5], &[20, 3, 4, 0]);
        assert_eq!(
            share(1, 2).compare_after(drift, &share(1, 4)),
            Ordering::Equal
        );
        let none = Drift::between(&[0, 5], &[5, 0]);
        assert_eq!(
            share(1, 2).compare_after(none, &share(1, 2)),
            Ordering::Equal
        );
    }

    proptest! {
        #[test]
        fn products_are_whole(one: u64, two: u64, three: u64, four: u64) {
            // By way of four 64-bit digits, as at school.
            let (left, right) = (
                (u128::from(one) << 64) | u128::from(two),
                (u128::from(three) << 64) | u128::from(four),
            );
            let digits = [
                [u128::from(two), u128::from(one)],
                [u128::from(four), u128::from(three)],
            ];
            let mut result = [0_u128; 4];
            for (i, a) in digits[0].iter().enumerate() {
                let mut carry = 0;
                for (j, b) in digits[1].iter().enumerate() {
                    let sum = result[i + j] + a * b + carry;
                    result[i + j] = sum & u128::from(u64::MAX);
                    carry = sum >> 64;
                }
                result[i + 2] += carry;
            }
            let expected = ((result[3] << 64) | result[2], (result[1] << 64) | result[0]);
            prop_assert_eq!(product(left, right), expected);
        }

        #[test]
        fn a_share_is_never_below_what_its_drift_allows(
            part in 0..50_u64, before in 1..50_u64, now in 1..50_u64, other in (0..50_u64, 1..50_u64),
        ) {
            let drift = Drift::between(&[before], &[now]);
            let least = share(part, before).compare_after(drift, &share(other.0, other.1));
            prop_assert_eq!(least, share(part, now).cmp(&share(other.0, other.1)));
        }
    }
}
