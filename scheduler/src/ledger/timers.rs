//! What is to happen at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_protocol::{AgentId, FrameworkId, OfferId};

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An agent was away for too long.
    AgentGone(AgentId),
    /// An estimate has not been renewed.
    EstimateEnds(AgentId),
    /// A framework was away for too long.
    FrameworkGone(FrameworkId),
    /// Something is to be said to a framework.
    Heartbeat(FrameworkId),
    /// An offer has stayed for as long as it may.
    OfferExpires(OfferId),
}

/// Timers by when they are due. Whoever sets one knows when it is due and takes it back.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Duration, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Duration, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, at: Duration, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes out the first that is due.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        let first = self.due.first().filter(|(at, _)| *at <= now).copied()?;
        self.due.remove(&first);
        Some(first.1)
    }
}
