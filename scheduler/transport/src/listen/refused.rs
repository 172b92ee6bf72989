//! Who was not taken, and why.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::certificate::Serial;
use crate::check::Check;
use crate::identity::Identity;
use crate::session::Refusal;

/// A peer that was not taken, or is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPeer {
    /// Where it is.
    pub address: SocketAddr,
    /// Who it claims to be, when that could be read. Not proven, unless the reason is
    /// [`Reason::NoStream`] or [`Reason::NoLonger`].
    pub claimed: Option<Identity>,
    /// The number of its certificate, when that could be read.
    pub serial: Option<Serial>,
    /// Why.
    pub reason: Reason,
}

/// Why a peer was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A check of this side failed.
    Check {
        /// Which.
        check: Check,
        /// On what.
        what: String,
    },
    /// A check failed that the peer had passed when it connected.
    NoLonger {
        /// Which.
        check: Check,
        /// On what.
        what: String,
    },
    /// The peer refused this side.
    RefusedUs(Refusal),
    /// There is no place among the connections.
    Full {
        /// How many there are.
        connections_max: usize,
    },
    /// Too many handshakes are under way.
    Busy {
        /// How many.
        handshakes_max: usize,
    },
    /// The handshake took too long.
    Slow {
        /// How long it may take.
        patience: Duration,
    },
    /// The peer opened no stream.
    NoStream {
        /// How long it may take.
        patience: Duration,
    },
    /// The handshake failed in another way, or the peer went away.
    Broken {
        /// How.
        what: String,
    },
}

impl Reason {
    /// Every word that [`Reason::label`] may give, for metrics that should be there from the start.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        Check::ALL.into_iter().map(Check::label).chain(OTHER_LABELS)
    }

    /// Returns the word for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Check { check, .. } | Self::NoLonger { check, .. } => check.label(),
            Self::RefusedUs(_) => "refused_us",
            Self::Full { .. } => "full",
            Self::Busy { .. } => "busy",
            Self::Slow { .. } => "slow",
            Self::NoStream { .. } => "no_stream",
            Self::Broken { .. } => "broken",
        }
    }
}

impl Reason {
    /// Returns what to do about it, if it should not be so.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Check { check, .. } | Self::NoLonger { check, .. } => check.remedy(),
            Self::RefusedUs(_) => {
                "nothing, if a stranger came; otherwise see what the peer says of this side's certificate"
            }
            Self::Full { .. } => "find out who holds the connections, or raise the limit",
            Self::Busy { .. } => "nothing, if it passes; peers come back by themselves",
            Self::Slow { .. } | Self::NoStream { .. } | Self::Broken { .. } => {
                "nothing, if a stranger came; otherwise check the peer and the way to it"
            }
        }
    }
}

/// The labels of what is not a check.
const OTHER_LABELS: [&str; 6] = ["refused_us", "full", "busy", "slow", "no_stream", "broken"];

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { check, what } => write!(formatter, "{check}: {what}"),
            Self::NoLonger { check, what } => {
                write!(formatter, "not believed any more: {check}: {what}")
            }
            Self::RefusedUs(refusal) => write!(formatter, "the peer refused this side: {refusal}"),
            Self::Full { connections_max } => {
                write!(formatter, "there are {connections_max} connections already")
            }
            Self::Busy { handshakes_max } => {
                write!(
                    formatter,
                    "{handshakes_max} handshakes are under way already"
                )
            }
            Self::Slow { patience } => write!(
                formatter,
                "the handshake took more than {} ms",
                patience.as_millis()
            ),
            Self::NoStream { patience } => write!(
                formatter,
                "no stream was opened in {} ms",
                patience.as_millis()
            ),
            Self::Broken { what } => formatter.write_str(what),
        }
    }
}

impl fmt::Display for RefusedPeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.address)?;
        if let Some(claimed) = &self.claimed {
            write!(formatter, " ({claimed})")?;
        }
        write!(formatter, ": {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_the_list() {
        let labels: BTreeSet<&str> = Reason::labels().collect();
        assert_eq!(
            labels.len(),
            Reason::labels().count(),
            "a label is there twice"
        );
        let patience = Duration::from_secs(1);
        for reason in [
            Reason::Full { connections_max: 1 },
            Reason::Busy { handshakes_max: 1 },
            Reason::Slow { patience },
            Reason::NoStream { patience },
            Reason::Broken {
                what: "x".to_owned(),
            },
        ] {
            assert!(labels.contains(reason.label()), "{reason}");
        }
        for check in Check::ALL {
            let what = "x".to_owned();
            assert!(labels.contains(Reason::Check { check, what }.label()));
        }
    }
}
