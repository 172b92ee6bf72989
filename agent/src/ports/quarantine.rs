//! The time between two owners of one port.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_resources::{PortRange, PortSet};

/// How long a freed port rests unless the configuration says else.
///
/// Twice the longest life of a segment as Linux counts it (TIME_WAIT is 60 s): after it no peer
/// takes a segment of the new owner for one of the old connection.
pub const QUARANTINE: Duration = Duration::from_secs(60);

/// A moment, in milliseconds of the Unix clock: it can be stored and means the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// Returns the time from `earlier` to `self`, or nothing when the clock went back between them.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Ports that were freed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// What was freed.
    pub ports: PortSet,
    /// When.
    pub released_at: UnixMs,
}

/// The ports that rest.
///
/// It is bounded by itself: a port that rests cannot be owned, so it cannot be freed again, and no
/// two entries share one.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    period: Duration,
    freed: Vec<Freed>,
}

impl Quarantine {
    pub(super) fn new(period: Duration) -> Self {
        Self {
            period,
            freed: Vec::new(),
        }
    }

    pub(super) fn period(&self) -> Duration {
        self.period
    }

    pub(super) fn freed(&self) -> &[Freed] {
        &self.freed
    }

    /// Lets `ports` rest from `released_at` on, whenever they began before.
    pub(super) fn add(&mut self, ports: PortSet, released_at: UnixMs) {
        self.remove(&ports);
        if !ports.is_empty() {
            self.freed.push(Freed { ports, released_at });
        }
    }

    /// Takes `ports` out, whoever freed them.
    pub(super) fn remove(&mut self, ports: &PortSet) {
        for freed in &mut self.freed {
            freed.ports = freed.ports.subtract(ports);
        }
        self.freed.retain(|freed| !freed.ports.is_empty());
    }

    /// Lets go of what has rested long enough.
    ///
    /// What seems to have been freed in the future was freed before somebody set the clock back:
    /// nobody knows when, so it rests for one period from now, and not until the old hour returns.
    pub(super) fn settle(&mut self, now: UnixMs) {
        for freed in &mut self.freed {
            freed.released_at = freed.released_at.min(now);
        }
        self.freed
            .retain(|freed| now.since(freed.released_at) < self.period);
    }

    /// Returns all ports that rest, as of the last [`Self::settle`].
    pub(super) fn ports(&self) -> PortSet {
        self.freed
            .iter()
            .flat_map(|freed| freed.ports.ranges())
            .copied()
            .collect()
    }

    /// Returns what of `ports` rests the longest, since when, and for how long still.
    pub(super) fn longest(&self, ports: &PortSet, now: UnixMs) -> Option<Resting> {
        self.freed
            .iter()
            .filter_map(|freed| {
                let common = freed.ports.intersect(ports);
                (!common.is_empty()).then(|| Resting {
                    ports: common,
                    since: now.since(freed.released_at),
                    remaining: self.remaining(freed, now),
                })
            })
            .max_by_key(|resting| resting.remaining)
    }

    /// Returns how long it takes until no port of `range` rests.
    pub(super) fn free_in(&self, range: PortRange, now: UnixMs) -> Duration {
        self.freed
            .iter()
            .filter(|freed| !freed.ports.is_disjoint_from_range(range))
            .map(|freed| self.remaining(freed, now))
            .max()
            .unwrap_or_default()
    }

    fn remaining(&self, freed: &Freed, now: UnixMs) -> Duration {
        self.period.saturating_sub(now.since(freed.released_at))
    }
}

/// Ports in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) ports: PortSet,
    pub(super) since: Duration,
    pub(super) remaining: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    #[test]
    fn a_clock_set_back_does_not_prolong_the_rest_beyond_one_period() {
        let mut quarantine = Quarantine::new(QUARANTINE);
        quarantine.add(ports("31000"), UnixMs(3_600_000));
        quarantine.settle(UnixMs(0));
        assert_eq!(quarantine.ports(), ports("31000"));
        quarantine.settle(UnixMs(59_999));
        assert_eq!(quarantine.ports(), ports("31000"));
        quarantine.settle(UnixMs(60_000));
        assert_eq!(quarantine.ports(), PortSet::new());
    }

    #[test]
    fn the_longest_rest_is_the_answer() {
        let mut quarantine = Quarantine::new(QUARANTINE);
        quarantine.add(ports("31000-31004"), UnixMs(0));
        quarantine.add(ports("31005"), UnixMs(10_000));
        let resting = quarantine
            .longest(&ports("31000-31009"), UnixMs(20_000))
            .unwrap();
        assert_eq!(resting.ports, ports("31005"));
        assert_eq!(resting.since, Duration::from_secs(10));
        assert_eq!(resting.remaining, Duration::from_secs(50));
        assert_eq!(quarantine.longest(&ports("32000"), UnixMs(20_000)), None);
    }

    #[test]
    fn a_quarantine_of_nothing_holds_nothing() {
        let mut quarantine = Quarantine::new(Duration::ZERO);
        quarantine.add(ports("31000"), UnixMs(0));
        quarantine.settle(UnixMs(0));
        assert_eq!(quarantine.ports(), PortSet::new());
    }
}
