//! What `weir-agent stats --json` says, as far as it is looked at here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What every running container has used since it was started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Statistics {
    containers: Vec<Usage>,
}

/// What one container has used.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Usage {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) ports: String,
    cpu_user_us: u64,
    cpu_system_us: u64,
    pub(crate) memory_bytes: u64,
    /// Absent when the programs' maps could not be read.
    pub(crate) network: Option<NetworkUse>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NetworkUse {
    /// Absent on the node's own network.
    pub(crate) traffic: Option<Traffic>,
    pub(crate) binds_refused: u64,
    pub(crate) tcp_connects: Option<u64>,
    pub(crate) tcp_accepts: Option<u64>,
    pub(crate) tcp_active: Option<u64>,
    /// Absent before the first connection.
    pub(crate) tcp_rtt: Option<RoundTrips>,
}

/// What a container sent and received.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    /// What it should have received and was dropped, by reason.
    pub(crate) rx_drops: BTreeMap<String, u64>,
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
    /// What it sent and was dropped, by reason.
    pub(crate) tx_drops: BTreeMap<String, u64>,
}

/// How long its connections' packets and their answers were under way of late.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RoundTrips {
    pub(crate) p50_us: u64,
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
    /// Returns everything that is counted and never falls, with its name.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let mut counters = vec![("cpu_us".to_owned(), self.cpu_us())];
        if let Some(network) = &self.network {
            counters.extend([
                ("binds_refused".to_owned(), network.binds_refused),
                ("tcp_connects".to_owned(), network.tcp_connects.unwrap_or(0)),
                ("tcp_accepts".to_owned(), network.tcp_accepts.unwrap_or(0)),
            ]);
        }
        let traffic = self.traffic();
        counters.extend([
            ("rx_packets".to_owned(), traffic.rx_packets),
            ("rx_bytes".to_owned(), traffic.rx_bytes),
            ("tx_packets".to_owned(), traffic.tx_packets),
            ("tx_bytes".to_owned(), traffic.tx_bytes),
        ]);
        for (direction, drops) in [("rx", traffic.rx_drops), ("tx", traffic.tx_drops)] {
            let named = drops
                .into_iter()
                .map(|(reason, count)| (format!("{direction} drops {reason}"), count));
            counters.extend(named);
        }
        counters
    }

    /// Returns the time that its processes have run.
    pub(crate) fn cpu_us(&self) -> u64 {
        self.cpu_user_us + self.cpu_system_us
    }

    /// Returns what it sent and received; nothing if that is not known.
    pub(crate) fn traffic(&self) -> Traffic {
        self.network
            .as_ref()
            .and_then(|network| network.traffic.clone())
            .unwrap_or_default()
    }
}
