//! `[agents]` and `[frameworks]`: for how long they may be away, and how many there may be.

use std::time::Duration;

use serde::Deserialize;

/// Agents.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsConfig {
    /// How long an agent may be away before it is removed.
    pub removal_ms: u64,
    /// How long agents have to come back after a start of the scheduler.
    pub return_ms: u64,
    /// The most agents.
    pub agents_max: usize,
}

/// Frameworks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrameworksConfig {
    /// How often a framework hears something at least.
    pub heartbeat_ms: u64,
    /// How long frameworks have to come back after a start of the scheduler, at least, and how long one
    /// that left its tasks alone when it has none left.
    pub return_ms: u64,
    /// The most frameworks.
    pub frameworks_max: usize,
}

impl AgentsConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["removal_ms", "return_ms", "agents_max"];

    pub(super) fn removal(&self) -> Duration {
        Duration::from_millis(self.removal_ms)
    }

    pub(super) fn come_back(&self) -> Duration {
        Duration::from_millis(self.return_ms)
    }
}

impl Default for AgentsConfig {
    fn default() -> Self {
        Self {
            removal_ms: 75_000,
            return_ms: 600_000,
            agents_max: 50_000,
        }
    }
}

impl FrameworksConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["heartbeat_ms", "return_ms", "frameworks_max"];

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    pub(super) fn come_back(&self) -> Duration {
        Duration::from_millis(self.return_ms)
    }
}

impl Default for FrameworksConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 15_000,
            return_ms: 120_000,
            frameworks_max: 10_000,
        }
    }
}
