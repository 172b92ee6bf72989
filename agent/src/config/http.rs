//! `[http]`: metrics and statistics.

use std::net::{Ipv4Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use weir_resources::{PortRange, PortSet};
use weir_service::http::is_plain;

/// Where metrics, statistics and health are served.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The address and port; `None` to serve nothing.
    #[serde(deserialize_with = "address_or_empty")]
    pub listen: Option<SocketAddr>,
}

impl HttpConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["listen"];

    /// Returns whether it is served over TLS: wherever others than this machine can connect.
    pub fn needs_tls(&self) -> bool {
        self.listen.is_some_and(|address| !is_plain(address))
    }

    /// Returns the port that this takes of the node's, if any and if it is known beforehand.
    pub(crate) fn ports(&self) -> PortSet {
        self.listen
            .and_then(|address| PortRange::single(address.port()).ok())
            .into_iter()
            .collect()
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))),
        }
    }
}

fn address_or_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_source| {
        D::Error::custom(format_args!(
            "`{text}` is not an address with a port; write for example \"127.0.0.1:9464\" or \
             \"[::1]:9464\", or \"\" to serve nothing"
        ))
    })
}
