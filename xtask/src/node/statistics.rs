//! What `weir-agent stats --json` says, as far as it is looked at here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What every container has used since it was started.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Statistics {
    containers: Vec<Usage>,
}

/// What one container has used.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Usage {
    pub(crate) name: String,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) tx_packets: u64,
    pub(crate) bind_refused: u64,
    /// What it sent and what was dropped, by reason.
    pub(crate) tx_drops: BTreeMap<String, u64>,
}

impl Statistics {
    pub(super) fn read(json: &str) -> Result<Self> {
        serde_json::from_str(json).context("weir-agent stats --json writes what is not expected")
    }

    /// Returns what the container called `name` has used.
    pub(crate) fn of(&self, name: &str) -> Option<&Usage> {
        self.containers.iter().find(|usage| usage.name == name)
    }

    /// Returns every container, in the agent's order.
    pub(crate) fn all(&self) -> &[Usage] {
        &self.containers
    }
}
