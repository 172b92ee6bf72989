//! A run of ports without a gap.

use std::fmt;
use std::ops::RangeInclusive;

/// The lowest port there is: 0 asks the kernel for any.
pub const PORT_MIN: u16 = 1;

/// The highest port there is.
pub const PORT_MAX: u16 = u16::MAX;

/// One or more ports in a row, both ends included.
///
/// Ranges order by their first port, then by their last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Says why two numbers are not the ends of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortRangeError {
    /// A range that would begin at 0.
    #[error("port 0 is not a port; ports are 1 to 65535")]
    Zero,
    /// A range that would end before it begins.
    #[error("range {first}-{last} runs backwards; write {last}-{first}")]
    Backwards {
        /// The end that was given first.
        first: u16,
        /// The end that was given last.
        last: u16,
    },
}

impl PortRange {
    /// Every port there is.
    pub const ALL: Self = Self {
        first: PORT_MIN,
        last: PORT_MAX,
    };

    /// Returns the ports from `first` to `last`, both included.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first < PORT_MIN {
            return Err(PortRangeError::Zero);
        }
        if last < first {
            return Err(PortRangeError::Backwards { first, last });
        }
        Ok(Self { first, last })
    }

    /// Returns the range that holds `port` alone.
    pub const fn single(port: u16) -> Result<Self, PortRangeError> {
        Self::new(port, port)
    }

    /// Returns the lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Returns the highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Returns how many ports there are: at least 1, at most 65535.
    pub const fn count(self) -> u32 {
        // Not in u16 and not `last - first` alone: both ends count.
        self.last as u32 - self.first as u32 + 1
    }

    /// Returns whether `port` is one of these.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Returns whether every port of `other` is one of these.
    pub const fn contains_range(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Returns whether the two share no port.
    pub const fn is_disjoint(self, other: Self) -> bool {
        self.last < other.first || other.last < self.first
    }

    /// Returns the ports of both, or `None` when they share none.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last)).ok()
    }

    /// Returns whether the two together are one range: they overlap, or one begins where the other
    /// ends.
    pub(super) const fn touches(self, other: Self) -> bool {
        // In u32, for the successor of port 65535 is not port 0.
        self.first as u32 <= other.last as u32 + 1 && other.first as u32 <= self.last as u32 + 1
    }

    /// Returns the smallest range that holds both.
    pub(super) fn hull(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    /// Returns the ports in ascending order.
    pub const fn iter(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl IntoIterator for PortRange {
    type Item = u16;
    type IntoIter = RangeInclusive<u16>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Debug for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_begins_no_range() {
        assert_eq!(PortRange::new(0, 5), Err(PortRangeError::Zero));
        assert_eq!(PortRange::single(0), Err(PortRangeError::Zero));
    }

    #[test]
    fn a_backward_range_is_refused_with_the_forward_one() {
        let error = PortRange::new(31009, 31000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "range 31009-31000 runs backwards; write 31000-31009"
        );
    }

    #[test]
    fn the_whole_range_counts_65535_ports() {
        assert_eq!(PortRange::ALL.count(), 65535);
        assert_eq!(PortRange::ALL.iter().count(), 65535);
    }

    #[test]
    fn the_last_port_does_not_touch_the_first() {
        let highest = PortRange::single(PORT_MAX).unwrap();
        let lowest = PortRange::single(PORT_MIN).unwrap();
        assert!(!highest.touches(lowest));
        assert!(!lowest.touches(highest));
        assert!(highest.touches(PortRange::single(PORT_MAX - 1).unwrap()));
    }
}
