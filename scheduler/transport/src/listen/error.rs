//! Why a listener cannot be made.

use std::io;
use std::net::SocketAddr;

use crate::tls::TlsSetupError;

/// Says why no connections are taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen on UDP {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The certificate in use cannot be served.
    #[error("cannot set TLS up")]
    Tls(#[source] TlsSetupError),
    /// A limit is out of range.
    #[error("the limit {limit} is out of range: {found}")]
    Limit {
        /// Which.
        limit: &'static str,
        /// Its value.
        found: String,
    },
}

impl ListenError {
    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Bind { .. } => {
                "check that no other process has the port, and that the address is one of this host"
            }
            Self::Tls(_) => "please report this",
            Self::Limit { .. } => "set it between 1 and what the machine can bear",
        }
    }
}
