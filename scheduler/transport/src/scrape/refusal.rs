//! Why a client was not let in, or not left in.

use std::fmt;
use std::time::Duration;

use crate::check::Check;
use crate::credentials::CannotServe;

/// Why a client that would scrape was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A check of this side failed.
    Check {
        /// Which.
        check: Check,
        /// On what.
        what: String,
    },
    /// A check failed that the client had passed when it connected.
    NoLonger {
        /// Which.
        check: Check,
        /// On what.
        what: String,
    },
    /// The client refused this side.
    RefusedUs {
        /// What it said.
        alert: String,
    },
    /// It spoke HTTP without TLS.
    Plain,
    /// Certificate, key and authorities could not be loaded yet.
    NoCredentials,
    /// The certificate is not one to be shown to whoever connects.
    CannotServe(CannotServe),
    /// A newer client took its place among the handshakes.
    Busy {
        /// How many there may be.
        handshakes_max: usize,
    },
    /// The handshake took too long.
    Slow {
        /// How long it may take.
        patience: Duration,
    },
    /// The handshake failed in another way, or the client went away.
    Broken {
        /// How.
        what: String,
    },
}

/// The labels of what is not a check.
const OTHER_LABELS: [&str; 6] = [
    "refused_us",
    "plain",
    "own_certificate",
    "busy",
    "slow",
    "broken",
];

impl Refusal {
    /// Every word that [`Refusal::label`] may give, for metrics that should be there from the start.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        // A client bears no name that could be the wrong one.
        let checks = Check::ALL.into_iter().filter(|check| *check != Check::Name);
        checks.map(Check::label).chain(OTHER_LABELS)
    }

    /// Returns the word for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Check { check, .. } | Self::NoLonger { check, .. } => check.label(),
            Self::RefusedUs { .. } => "refused_us",
            Self::Plain => "plain",
            Self::NoCredentials | Self::CannotServe(_) => "own_certificate",
            Self::Busy { .. } => "busy",
            Self::Slow { .. } => "slow",
            Self::Broken { .. } => "broken",
        }
    }

    /// Returns what to do about it, if it should not be so.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Check {
                check: Check::Kind | Check::Presence,
                ..
            } => {
                "nothing, if a stranger came; otherwise give it a certificate: `weir certs issue scraper NAME`"
            }
            Self::Check { check, .. } | Self::NoLonger { check, .. } => check.remedy(),
            Self::RefusedUs { .. } => {
                "nothing, if a stranger came; otherwise compare the name or address that the client connects to with those in this side's certificate, and the authorities of both"
            }
            Self::Plain => "have the client use https, with a certificate of its own",
            Self::NoCredentials => {
                "see further up in the log why certificate, key and authorities cannot be loaded"
            }
            Self::CannotServe(error) => error.remedy(),
            Self::Busy { .. } | Self::Slow { .. } | Self::Broken { .. } => {
                "nothing, if a stranger came; otherwise check the client and the way to it"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { check, what } => write!(formatter, "{check}: {what}"),
            Self::NoLonger { check, what } => {
                write!(formatter, "not believed any more: {check}: {what}")
            }
            Self::RefusedUs { alert } => write!(formatter, "the client refused this side: {alert}"),
            Self::Plain => formatter.write_str("it spoke HTTP without TLS"),
            Self::NoCredentials => formatter.write_str("there are no credentials to serve with"),
            Self::CannotServe(error) => error.fmt(formatter),
            Self::Busy { handshakes_max } => {
                write!(formatter, "{handshakes_max} newer handshakes are under way")
            }
            Self::Slow { patience } => write!(
                formatter,
                "the handshake took more than {} ms",
                patience.as_millis()
            ),
            Self::Broken { what } => formatter.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_label_of_the_list() {
        let labels: BTreeSet<&str> = Refusal::labels().collect();
        assert_eq!(
            labels.len(),
            Refusal::labels().count(),
            "a label is there twice"
        );
        let patience = Duration::from_secs(1);
        let text = || "x".to_owned();
        for refusal in [
            Refusal::RefusedUs { alert: text() },
            Refusal::Plain,
            Refusal::NoCredentials,
            Refusal::Busy { handshakes_max: 1 },
            Refusal::Slow { patience },
            Refusal::Broken { what: text() },
        ] {
            assert!(labels.contains(refusal.label()), "{refusal}");
        }
        for check in Check::ALL {
            let what = text();
            let is_known = labels.contains(Refusal::Check { check, what }.label());
            assert_eq!(is_known, check != Check::Name);
        }
    }
}
