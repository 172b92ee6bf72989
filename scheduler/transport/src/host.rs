//! What a host is called by those who connect to it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::{DnsName, ServerName};

/// A name that a scheduler, or an agent that is scraped, is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostName {
    /// A DNS name.
    Dns(Dns),
    /// An address.
    Ip(IpAddr),
}

/// A DNS name in lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dns(DnsName<'static>);

/// Says why a text is no host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither a DNS name nor an IP address")]
pub struct HostNameError {
    text: String,
}

impl HostName {
    /// Returns the name as TLS verifies it.
    pub(crate) fn to_server_name(&self) -> ServerName<'static> {
        match self {
            Self::Dns(name) => ServerName::DnsName(name.0.clone()),
            Self::Ip(address) => ServerName::IpAddress((*address).into()),
        }
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match DnsName::try_from(lower) {
            // A last label of digits is an address that was mistyped.
            Ok(name) if !ends_in_digits(name.as_ref()) => Ok(Self::Dns(Dns(name))),
            Ok(_) | Err(rustls::pki_types::InvalidDnsNameError) => Err(HostNameError {
                text: text.chars().take(80).collect(),
            }),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => formatter.write_str(name.as_str()),
            Self::Ip(address) => address.fmt(formatter),
        }
    }
}

impl Dns {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }
}

fn ends_in_digits(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        for (text, shown) in [
            ("weir.example", "weir.example"),
            ("Weir.Example.", "weir.example"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
        ] {
            assert_eq!(text.parse::<HostName>().unwrap().to_string(), shown);
        }
        assert!(matches!("10.0.0.1".parse(), Ok(HostName::Ip(_))));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "a b",
            "a..b",
            "10.0.0",
            "300.1.1.1",
            "-",
            "*.weir.example",
            "a:1",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }
}
