//! Where a scheduler is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::host::{HostName, HostNameError};

/// A host and a port: `weir.example:5060`, `10.0.0.1:5060`, `[::1]:5060`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host, as it must stand in the scheduler's certificate.
    pub host: HostName,
    /// The UDP port.
    pub port: u16,
}

/// Says why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no port.
    #[error("`{text}` has no port; write it as host:port")]
    NoPort {
        /// The text.
        text: String,
    },
    /// The port is none.
    #[error("`{port}` is no port: a number from 1 to 65535")]
    Port {
        /// What stands in its place.
        port: String,
    },
    /// An address of IPv6 is not in brackets.
    #[error("`{text}` looks like an IPv6 address; write it as [address]:port")]
    Brackets {
        /// The text.
        text: String,
    },
    /// The host is none.
    #[error("the host cannot be used")]
    Host(#[source] HostNameError),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(120).collect::<String>();
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| AddressError::NoPort { text: shown() })?;
        if text.parse::<IpAddr>().is_ok() {
            return Err(AddressError::Brackets { text: shown() });
        }
        let port = match port.parse() {
            Ok(number) if number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => number,
            Ok(_) | Err(_) => {
                return Err(AddressError::Port {
                    port: port.chars().take(20).collect(),
                });
            }
        };
        let host = match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(inner) => inner,
            None if host.contains(':') => return Err(AddressError::Brackets { text: shown() }),
            None => host,
        };
        Ok(Self {
            host: host.parse().map_err(AddressError::Host)?,
            port,
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: HostName::Ip(address.ip()),
            port: address.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostName::Ip(IpAddr::V6(address)) => write!(formatter, "[{address}]:{}", self.port),
            host @ (HostName::Ip(IpAddr::V4(_)) | HostName::Dns(_)) => {
                write!(formatter, "{host}:{}", self.port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back() {
        for text in [
            "weir.example:5060",
            "localhost:1",
            "10.0.0.1:65535",
            "[::1]:5060",
            "[2001:db8::2]:5060",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, expected) in [
            ("weir.example", "has no port"),
            ("weir.example:", "is no port"),
            ("weir.example:0", "is no port"),
            ("weir.example:+1", "is no port"),
            ("weir.example:65536", "is no port"),
            ("::1", "[address]:port"),
            ("2001:db8::2:5060", "[address]:port"),
            (":5060", "the host cannot be used"),
            ("a b:5060", "the host cannot be used"),
            ("[::1:5060", "[address]:port"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
