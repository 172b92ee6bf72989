//! A set of numbers, and its algebra.

use std::fmt;
use std::sync::Arc;

use super::range::Range;
use crate::ports::{PortRange, PortSet};

/// A set of numbers in its one normal form: ranges in ascending order with at least one number
/// between each two.
///
/// The operations are linear in the number of ranges and clones are free. Its text is Mesos':
/// `[31000-31009, 31500-31500]`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges {
    /// Ascending; `ranges[i].last() + 1 < ranges[i + 1].first()`.
    ranges: Arc<[Range]>,
}

/// Says that two ranges which must be apart share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ranges {first} and {second} overlap in {shared}; each number may be named once")]
pub struct RangesOverlap {
    /// The one that begins first.
    pub first: Range,
    /// The other.
    pub second: Range,
    /// What is in both.
    pub shared: Range,
}

impl Ranges {
    /// Returns the set of all the numbers of `ranges`, in any order, or two that overlap.
    pub fn disjoint(ranges: impl IntoIterator<Item = Range>) -> Result<Self, RangesOverlap> {
        let mut ranges: Vec<Range> = ranges.into_iter().collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if let Some(shared) = pair[0].intersection(pair[1]) {
                return Err(RangesOverlap {
                    first: pair[0],
                    second: pair[1],
                    shared,
                });
            }
        }
        Ok(Self::from_ascending(ranges))
    }

    /// Returns the ranges in ascending order; no two overlap or are adjacent.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Returns whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns how many numbers are in it, which may be one more than `u64::MAX`.
    pub fn count(&self) -> u128 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// Returns whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.contains_range(Range::single(number))
    }

    /// Returns whether every number of `range` is in it.
    pub fn contains_range(&self, range: Range) -> bool {
        let index = self
            .ranges
            .partition_point(|own| own.last() < range.first());
        self.ranges
            .get(index)
            .is_some_and(|own| own.contains_range(range))
    }

    /// Returns whether every number of `other` is in it.
    pub fn contains_all(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ranges, &other.ranges)
            || other.ranges.iter().all(|range| self.contains_range(*range))
    }

    /// Returns the lowest numbers that are in both, or `None` when there are none.
    pub fn first_shared(&self, other: &Self) -> Option<Range> {
        overlaps(&self.ranges, &other.ranges).next()
    }

    /// Returns whether the two share no number.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.first_shared(other).is_none()
    }

    /// Returns the numbers that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        self.ranges.iter().chain(&*other.ranges).copied().collect()
    }

    /// Returns the numbers that are in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            // Pieces of two normal sets are in order and keep their gaps, so this is normal again.
            ranges: overlaps(&self.ranges, &other.ranges).collect(),
        }
    }

    /// Returns the numbers of `self` that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut ranges = Vec::with_capacity(self.ranges.len());
        let mut cuts = other.ranges.iter().copied().peekable();
        for range in &*self.ranges {
            // `None` once the cuts reached the end of the range; there is no number after the
            // highest.
            let mut next = Some(range.first());
            while let Some(from) = next {
                let Some(cut) = cuts.peek().copied() else {
                    break;
                };
                if cut.last() < from {
                    cuts.next();
                } else if cut.first() > range.last() {
                    break;
                } else {
                    if from < cut.first() {
                        ranges.extend(Range::new(from, cut.first() - 1));
                    }
                    // A cut that goes on past the range is kept for the next range.
                    next = cut
                        .last()
                        .checked_add(1)
                        .filter(|number| *number <= range.last());
                }
            }
            if let Some(from) = next {
                ranges.extend(Range::new(from, range.last()));
            }
        }
        Self {
            ranges: ranges.into(),
        }
    }

    /// Returns the set of ranges whose first numbers ascend; they may overlap.
    fn from_ascending(mut ranges: Vec<Range>) -> Self {
        ranges.dedup_by(|next, kept| {
            // Adjacent is as good as overlapping: one range says the same.
            let touches = next.first() <= kept.last().saturating_add(1);
            if touches && let Ok(hull) = Range::new(kept.first(), kept.last().max(next.last())) {
                *kept = hull;
            }
            touches
        });
        Self {
            ranges: ranges.into(),
        }
    }
}

/// Returns the common pieces of two ascending lists of disjoint ranges, ascending.
fn overlaps<'a>(left: &'a [Range], right: &'a [Range]) -> impl Iterator<Item = Range> + 'a {
    let mut left = left.iter().copied().peekable();
    let mut right = right.iter().copied().peekable();
    std::iter::from_fn(move || {
        loop {
            let (a, b) = (left.peek().copied()?, right.peek().copied()?);
            // The one that ends first cannot meet anything further on.
            if a.last() <= b.last() {
                left.next();
            } else {
                right.next();
            }
            if let Some(shared) = a.intersection(b) {
                return Some(shared);
            }
        }
    })
}

impl FromIterator<Range> for Ranges {
    /// Returns the set of all the numbers, whether the ranges overlap or not.
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut ranges: Vec<Range> = ranges.into_iter().collect();
        ranges.sort_unstable();
        Self::from_ascending(ranges)
    }
}

impl From<Range> for Ranges {
    fn from(range: Range) -> Self {
        Self {
            ranges: Arc::new([range]),
        }
    }
}

impl From<&PortSet> for Ranges {
    fn from(ports: &PortSet) -> Self {
        ports
            .ranges()
            .iter()
            .flat_map(|range| Range::new(range.first().into(), range.last().into()))
            .collect()
    }
}

/// Says that numbers are not all ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{range} are not all ports; ports are 1 to 65535")]
pub struct NotPorts {
    /// The range that holds what is no port.
    pub range: Range,
}

impl TryFrom<&Ranges> for PortSet {
    type Error = NotPorts;

    fn try_from(ranges: &Ranges) -> Result<Self, NotPorts> {
        ranges
            .ranges()
            .iter()
            .map(|range| {
                let first = u16::try_from(range.first()).ok();
                let last = u16::try_from(range.last()).ok();
                first
                    .zip(last)
                    .and_then(|(first, last)| PortRange::new(first, last).ok())
                    .ok_or(NotPorts { range: *range })
            })
            .collect()
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            fmt::Display::fmt(range, f)?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
