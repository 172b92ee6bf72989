//! What `weir-agent stats --json` says, as far as it is looked at here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What every container has used since it was started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Statistics {
    containers: Vec<Usage>,
}

/// What one container has used.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Usage {
    pub(crate) name: String,
    /// Absent when the programs' maps could not be read.
    network: Option<NetworkUse>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NetworkUse {
    /// Absent on the node's own network.
    traffic: Option<Traffic>,
    binds_refused: u64,
}

/// What a container sent and received.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
    /// What it sent and was dropped, by reason.
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

impl Usage {
    /// Returns what it sent and received; nothing if that is not known.
    pub(crate) fn traffic(&self) -> Traffic {
        self.network
            .as_ref()
            .and_then(|network| network.traffic.clone())
            .unwrap_or_default()
    }

    /// Returns how often it was refused something: a bind, or a packet.
    pub(crate) fn refusals(&self) -> u64 {
        let binds = self
            .network
            .as_ref()
            .map_or(0, |network| network.binds_refused);
        binds + self.traffic().tx_drops.values().sum::<u64>()
    }
}
