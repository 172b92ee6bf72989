//! `[http]`: metrics and health.

use std::net::{Ipv4Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Where metrics and health are served.
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
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            // One more than the agent's, for a machine that runs both.
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9465))),
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
            "`{text}` is not an address with a port; write for example \"127.0.0.1:9465\" or \
             \"[::1]:9465\", or \"\" to serve nothing"
        ))
    })
}
