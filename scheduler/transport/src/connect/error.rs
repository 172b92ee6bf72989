//! Why there is no session.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::address::Address;
use crate::host::HostName;
use crate::session::{Disconnect, Refusal};
use crate::tls::TlsSetupError;
use crate::verify::Finding;

/// Says why a scheduler was not reached, or not believed, or did not believe this side.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no addresses, or they cannot be asked for.
    #[error("cannot resolve the host of {address}")]
    Resolve {
        /// Whom was wanted.
        address: Address,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name was not resolved in time.
    #[error("the host of {address} was not resolved within {} s", patience.as_secs())]
    ResolveSlow {
        /// Whom was wanted.
        address: Address,
        /// How long it may take.
        patience: Duration,
    },
    /// There is no socket to connect from.
    #[error("cannot open a socket towards {remote}")]
    Socket {
        /// Where to.
        remote: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nobody answered, or not to the end.
    #[error("no answer from {} within {} s", place(address, remote), patience.as_secs())]
    NoAnswer {
        /// Whom was wanted.
        address: Address,
        /// Where that was tried.
        remote: SocketAddr,
        /// How long it may take.
        patience: Duration,
    },
    /// The certificate of the other side failed a check of this side.
    #[error("{} is not believed to be a scheduler", place(address, remote))]
    NotBelieved {
        /// Whom was wanted.
        address: Address,
        /// Who answered.
        remote: SocketAddr,
        /// Which check, on what.
        #[source]
        finding: Finding,
    },
    /// The other side refused this side, before the handshake was through.
    #[error("{} refused the connection", place(address, remote))]
    Refused {
        /// Whom was wanted.
        address: Address,
        /// Who answered.
        remote: SocketAddr,
        /// Which check failed there.
        #[source]
        refusal: Refusal,
    },
    /// The connection failed in another way.
    #[error("the connection to {} failed", place(address, remote))]
    Failed {
        /// Whom was wanted.
        address: Address,
        /// Who answered.
        remote: SocketAddr,
        /// How.
        #[source]
        disconnect: Disconnect,
    },
    /// There are no addresses.
    #[error("the host of {address} has no addresses")]
    NoAddresses {
        /// Whom was wanted.
        address: Address,
    },
    /// The certificate in use cannot be presented.
    #[error("cannot set TLS up")]
    Tls(#[source] TlsSetupError),
    /// The connection cannot be begun.
    #[error("cannot begin a connection to {remote}")]
    Begin {
        /// Where to.
        remote: SocketAddr,
        /// Why not.
        #[source]
        source: quinn::ConnectError,
    },
    /// A limit is out of range.
    #[error("an idle time of {} s cannot be used", idle.as_secs())]
    Idle {
        /// The idle time.
        idle: Duration,
    },
}

impl ConnectError {
    /// Returns whether connecting again, with nothing changed here, may succeed.
    ///
    /// See [`crate::check::Check::may_pass_later`] for what a daemon makes of it.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Names, networks and schedulers come back.
            Self::Resolve { .. }
            | Self::ResolveSlow { .. }
            | Self::NoAddresses { .. }
            | Self::Socket { .. }
            | Self::NoAnswer { .. } => true,
            Self::NotBelieved { finding, .. } => finding.check.may_pass_later(),
            Self::Refused { refusal, .. } => refusal.check.may_pass_later(),
            Self::Failed { disconnect, .. } => disconnect.is_retryable(),
            // Only a person can change these.
            Self::Tls(_) | Self::Begin { .. } | Self::Idle { .. } => false,
        }
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Resolve { .. } | Self::ResolveSlow { .. } | Self::NoAddresses { .. } => {
                "check the host name, and this host's name servers"
            }
            Self::Socket { .. } => "check that this host has a network of that kind",
            Self::NoAnswer { .. } => {
                "check the address, that the scheduler runs, and that UDP packets pass both ways"
            }
            Self::NotBelieved { finding, .. } => finding.check.remedy(),
            Self::Refused { refusal, .. } => refusal.check.remedy(),
            Self::Failed { disconnect, .. } => disconnect.remedy(),
            Self::Tls(_) | Self::Begin { .. } => "please report this",
            Self::Idle { .. } => "choose an idle time of seconds",
        }
    }

    /// Returns whether somebody answered and one of the two was refused: what says more than that
    /// another address of the same host was silent.
    pub(super) fn is_judgement(&self) -> bool {
        match self {
            Self::NotBelieved { .. } | Self::Refused { .. } | Self::Failed { .. } => true,
            Self::Resolve { .. }
            | Self::ResolveSlow { .. }
            | Self::NoAddresses { .. }
            | Self::Socket { .. }
            | Self::NoAnswer { .. }
            | Self::Tls(_)
            | Self::Begin { .. }
            | Self::Idle { .. } => false,
        }
    }
}

/// Says who was wanted, and where that was tried if the name does not say it.
fn place(address: &Address, remote: &SocketAddr) -> String {
    match address.host {
        HostName::Ip(_) => address.to_string(),
        HostName::Dns(_) => format!("{address} at {remote}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_said_once() {
        let said = |address: &str, remote: &str| {
            let error = ConnectError::NoAnswer {
                address: address.parse().unwrap(),
                remote: remote.parse().unwrap(),
                patience: Duration::from_secs(5),
            };
            error.to_string()
        };
        assert_eq!(
            said("127.0.0.1:5151", "127.0.0.1:5151"),
            "no answer from 127.0.0.1:5151 within 5 s"
        );
        assert_eq!(
            said("weir.example:5151", "[::1]:5151"),
            "no answer from weir.example:5151 at [::1]:5151 within 5 s"
        );
    }
}
