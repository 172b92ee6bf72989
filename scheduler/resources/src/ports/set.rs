//! A set of ports, and its algebra.

use std::fmt;

use super::range::PortRange;

/// A set of ports in its one normal form: ranges in ascending order with at least one port between
/// each two.
///
/// The operations are linear in the number of ranges. They return a new set and cannot fail: ports
/// are indivisible, so union, difference and intersection always exist.
///
/// Its text is what people write: `31000-31009,31500`. The empty set is the empty text.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PortSet {
    /// Ascending; `ranges[i].last() + 1 < ranges[i + 1].first()`.
    ranges: Vec<PortRange>,
}

impl PortSet {
    /// Returns the set without a port.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Returns the ranges in ascending order; no two overlap or are adjacent.
    pub fn ranges(&self) -> &[PortRange] {
        &self.ranges
    }

    /// Returns the ports in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        self.ranges.iter().flat_map(|range| range.iter())
    }

    /// Returns whether there is no port in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns how many ports are in it.
    pub fn count(&self) -> u32 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// Returns the lowest port.
    pub fn first(&self) -> Option<u16> {
        self.ranges.first().map(|range| range.first())
    }

    /// Returns the highest port.
    pub fn last(&self) -> Option<u16> {
        self.ranges.last().map(|range| range.last())
    }

    /// Returns whether `port` is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.range_from(port)
            .is_some_and(|range| range.contains(port))
    }

    /// Returns whether every port of `range` is in it.
    pub fn contains_range(&self, range: PortRange) -> bool {
        self.range_from(range.first())
            .is_some_and(|own| own.contains_range(range))
    }

    /// Returns whether every port of `other` is in it.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.ranges.iter().all(|range| self.contains_range(*range))
    }

    /// Returns whether the two share no port.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        overlaps(&self.ranges, &other.ranges).next().is_none()
    }

    /// Returns whether no port of `range` is in it.
    pub fn is_disjoint_from_range(&self, range: PortRange) -> bool {
        self.range_from(range.first())
            .is_none_or(|own| own.is_disjoint(range))
    }

    /// Returns the ports that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.ranges.iter().chain(&other.ranges).copied().collect()
    }

    /// Returns the ports that are in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            // Pieces of two normal sets are in order and keep their gaps, so this is normal again.
            ranges: overlaps(&self.ranges, &other.ranges).collect(),
        }
    }

    /// Returns the ports of `self` that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len());
        let mut cuts = other.ranges.iter().copied().peekable();
        for range in &self.ranges {
            // `None` once the cuts reached the end of the range; in u16 the port after 65535 would
            // be 0.
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
                        ranges.extend(PortRange::new(from, cut.first() - 1));
                    }
                    // A cut that goes on past the range is kept for the next range.
                    next = cut
                        .last()
                        .checked_add(1)
                        .filter(|port| *port <= range.last());
                }
            }
            if let Some(from) = next {
                ranges.extend(PortRange::new(from, range.last()));
            }
        }
        Self { ranges }
    }

    /// Returns the lowest range that holds or follows `port`.
    fn range_from(&self, port: u16) -> Option<PortRange> {
        let index = self.ranges.partition_point(|range| range.last() < port);
        self.ranges.get(index).copied()
    }
}

/// Returns the common pieces of two ascending lists of disjoint ranges, ascending.
fn overlaps<'a>(left: &'a [PortRange], right: &'a [PortRange]) -> impl Iterator<Item = PortRange> {
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
            if let Some(common) = a.intersection(b) {
                return Some(common);
            }
        }
    })
}

impl FromIterator<PortRange> for PortSet {
    /// Collects ranges in any order, overlapping or not.
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut given: Vec<PortRange> = ranges.into_iter().collect();
        given.sort_unstable();
        let mut ranges: Vec<PortRange> = Vec::with_capacity(given.len());
        for range in given {
            match ranges.last_mut() {
                Some(last) if last.touches(range) => *last = last.hull(range),
                Some(_) | None => ranges.push(range),
            }
        }
        Self { ranges }
    }
}

impl From<PortRange> for PortSet {
    fn from(range: PortRange) -> Self {
        Self {
            ranges: vec![range],
        }
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
