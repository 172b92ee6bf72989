//! `[bandwidth]`: the rates of the node's links, and how they are divided.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use weir_resources::BitRate;

/// How the network is divided among containers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BandwidthConfig {
    /// Whether the uplinks get queues in which containers have their parts.
    pub divide: bool,
    /// The rate at which the node sends; asked of each uplink where absent.
    #[serde(deserialize_with = "rate_or_empty")]
    pub egress: Option<BitRate>,
    /// The rate at which the node receives; asked of each uplink where absent.
    #[serde(deserialize_with = "rate_or_empty")]
    pub ingress: Option<BitRate>,
    /// What the node itself can send at any time, of which the agent's own messages go first.
    pub node_egress_min: BitRate,
}

impl BandwidthConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["divide", "egress", "ingress", "node_egress_min"];
}

fn rate_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BitRate>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(D::Error::custom)
}

impl Default for BandwidthConfig {
    fn default() -> Self {
        Self {
            divide: true,
            egress: None,
            ingress: None,
            node_egress_min: BitRate::from_kilobits(10_000).expect("it is above zero"),
        }
    }
}
