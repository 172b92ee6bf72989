//! `[offers]`: how resources are offered.

use std::time::Duration;

use serde::Deserialize;
use weir_resources::Amount;

use crate::allocator;

/// What is worth an offer, and how long one stays.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OffersConfig {
    /// How long an offer stays unused; 0 for as long as its framework likes.
    pub timeout_ms: u64,
    /// Resources are offered from so many cores on, ...
    pub cpus_least: Amount,
    /// ... or from so much memory on.
    pub mem_mib_least: Amount,
    /// How long a refusal holds at least, whatever the framework says.
    pub refusal_ms_min: u64,
}

impl OffersConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "timeout_ms",
        "cpus_least",
        "mem_mib_least",
        "refusal_ms_min",
    ];

    pub(super) fn timeout(&self) -> Option<Duration> {
        (self.timeout_ms > 0).then(|| Duration::from_millis(self.timeout_ms))
    }

    pub(super) fn refusal_min(&self) -> Duration {
        Duration::from_millis(self.refusal_ms_min)
    }
}

impl Default for OffersConfig {
    fn default() -> Self {
        let allocator::Settings { least, .. } = allocator::Settings::default();
        Self {
            timeout_ms: 0,
            cpus_least: least.cpus,
            mem_mib_least: least.mem,
            refusal_ms_min: 1_000,
        }
    }
}
