//! Why a listener cannot be made.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

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
    /// The idle time is more than QUIC can say.
    #[error("an idle time of {} s cannot be said", idle.as_secs())]
    Idle {
        /// The idle time.
        idle: Duration,
    },
    /// A limit is too small.
    #[error("the limit `{limit}` is {found}, and at least {least} is needed")]
    Limit {
        /// Which.
        limit: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        least: String,
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
            Self::Idle { .. } | Self::Limit { .. } => "set the limit within its bounds",
        }
    }
}
