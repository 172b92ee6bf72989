//! Times that were measured, and what is said of them.

use std::time::Duration;

use crate::tell;

/// Times of one thing.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Says the quantiles, in milliseconds.
    pub(crate) fn tell(mut self, name: &str) {
        self.0.sort_unstable();
        for (part, label) in [(500, "p50"), (990, "p99"), (999, "p99.9"), (1_000, "max")] {
            let index = (self.0.len() * part / 1_000).min(self.0.len().saturating_sub(1));
            let time = self.0.get(index).copied().unwrap_or_default();
            tell(&format!("{name}_{label}"), time.as_secs_f64() * 1e3, "ms");
        }
    }
}
