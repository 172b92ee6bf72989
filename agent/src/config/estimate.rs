//! `[estimate]`: what of the node's idle resources is lent a second time.

use serde::Deserialize;
use weir_resources::Resources;

/// What is lent of what is idle.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EstimateConfig {
    /// Who says how much.
    pub estimator: EstimatorKind,
    /// What `fixed` says: all that may be lent, what is lent already included.
    pub lend: String,
    /// How often it is asked.
    pub interval_ms: u64,
    /// How long its answer holds: an agent that stops to answer stops lending.
    pub ttl_ms: u64,
}

impl EstimateConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["estimator", "lend", "interval_ms", "ttl_ms"];

    /// Returns what `fixed` says, all of it revocable.
    pub(crate) fn checked_lend(&self) -> Resources {
        let lend: Resources = self
            .lend
            .parse()
            .expect("a configuration is only handed out when its resources are");
        lend.to_revocable()
            .expect("a configuration is only handed out when what it lends can be")
    }
}

impl Default for EstimateConfig {
    fn default() -> Self {
        Self {
            estimator: EstimatorKind::None,
            lend: String::new(),
            interval_ms: 15_000,
            ttl_ms: 60_000,
        }
    }
}

/// Who says how much is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EstimatorKind {
    /// Nobody: nothing is.
    None,
    /// The configuration: always the same.
    Fixed,
}
