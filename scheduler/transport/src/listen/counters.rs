//! What is counted, for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::refused::Reason;

/// Counts of one listener, readable at any time from anywhere.
#[derive(Clone, Debug)]
pub struct Counters(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    accepted: AtomicU64,
    handshakes: AtomicUsize,
    connections: AtomicUsize,
    sent_away_to_prove: AtomicU64,
    closed_no_longer: AtomicU64,
    refused: BTreeMap<&'static str, AtomicU64>,
}

/// Counts one more of something for as long as it lives.
#[derive(Debug)]
pub(super) struct Gauge {
    counters: Counters,
    of: fn(&Counts) -> &AtomicUsize,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self(Arc::new(Counts {
            accepted: AtomicU64::new(0),
            handshakes: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            sent_away_to_prove: AtomicU64::new(0),
            closed_no_longer: AtomicU64::new(0),
            refused: Reason::labels()
                .map(|label| (label, AtomicU64::new(0)))
                .collect(),
        }))
    }

    /// Returns how many peers were believed and opened their stream.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Returns how many handshakes are under way.
    pub fn handshakes(&self) -> usize {
        self.0.handshakes.load(Ordering::Relaxed)
    }

    /// Returns how many connections are live.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Returns how many first packets were sent back so that their address proves itself.
    pub fn sent_away_to_prove(&self) -> u64 {
        self.0.sent_away_to_prove.load(Ordering::Relaxed)
    }

    /// Returns how many live connections were closed because they would be refused now.
    pub fn closed_no_longer(&self) -> u64 {
        self.0.closed_no_longer.load(Ordering::Relaxed)
    }

    /// Returns how many peers were refused, for every reason there is.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0
            .refused
            .iter()
            .map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }

    /// Returns how many peers were refused for the reason with this label.
    pub fn refused_for(&self, label: &str) -> u64 {
        self.0
            .refused
            .get(label)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn count_accepted(&self) {
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_sent_away(&self) {
        self.0.sent_away_to_prove.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, reason: &Reason) {
        if let Reason::NoLonger { .. } = reason {
            self.0.closed_no_longer.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = self.0.refused.get(reason.label()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes one of `max` handshakes, if one is free.
    pub(super) fn begin_handshake(&self, max: usize) -> Option<Gauge> {
        self.begin(max, |counts| &counts.handshakes)
    }

    /// Takes one of `max` connections, if one is free.
    pub(super) fn begin_connection(&self, max: usize) -> Option<Gauge> {
        self.begin(max, |counts| &counts.connections)
    }

    fn begin(&self, max: usize, of: fn(&Counts) -> &AtomicUsize) -> Option<Gauge> {
        let gauge = of(&self.0);
        gauge
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < max).then_some(now + 1)
            })
            .ok()?;
        Some(Gauge {
            counters: self.clone(),
            of,
        })
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.of)(&self.counters.0).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let counters = Counters::new();
        let one = counters.begin_connection(2).unwrap();
        let two = counters.begin_connection(2).unwrap();
        assert!(counters.begin_connection(2).is_none());
        drop(one);
        assert_eq!(counters.connections(), 1);
        let three = counters.begin_connection(2).unwrap();
        drop((two, three));
        assert_eq!(counters.connections(), 0);
        assert_eq!(counters.handshakes(), 0);
    }
}
