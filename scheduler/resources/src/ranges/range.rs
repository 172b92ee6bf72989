//! A run of numbers without a gap.

use std::fmt;

/// One or more numbers in a row, both ends included.
///
/// Ranges order by their first number, then by their last. Their text is `first-last`, also where
/// the two are the same, as Mesos writes them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: u64,
    last: u64,
}

/// Says that two numbers are not the ends of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("range {first}-{last} runs backwards; write {last}-{first}")]
pub struct RangeError {
    /// The end that was given first.
    pub first: u64,
    /// The end that was given last.
    pub last: u64,
}

impl Range {
    /// Returns the numbers from `first` to `last`, both included.
    pub const fn new(first: u64, last: u64) -> Result<Self, RangeError> {
        if last < first {
            return Err(RangeError { first, last });
        }
        Ok(Self { first, last })
    }

    /// Returns the range that holds `number` alone.
    pub const fn single(number: u64) -> Self {
        Self {
            first: number,
            last: number,
        }
    }

    /// Returns the lowest number.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// Returns the highest number.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// Returns how many numbers there are, which may be one more than `u64::MAX`.
    pub const fn count(self) -> u128 {
        (self.last - self.first) as u128 + 1
    }

    /// Returns whether `number` is one of these.
    pub const fn contains(self, number: u64) -> bool {
        self.first <= number && number <= self.last
    }

    /// Returns whether every number of `other` is one of these.
    pub const fn contains_range(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Returns the numbers of both, or `None` when they share none.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last)).ok()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
