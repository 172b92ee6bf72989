//! What a verifier found against a peer.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::{CertificateError, Error as TlsError, OtherError};

use crate::certificate::Serial;
use crate::check::Check;
use crate::identity::Identity;
use crate::moment::Moment;

/// The check that failed, and on what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {what}")]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// What was found, with the object and what it should have been.
    pub what: String,
    /// Who the certificate says it is, when that can be read: a claim, for it was not accepted.
    pub claimed: Option<Identity>,
    /// The certificate's number, when it can be read.
    pub serial: Option<Serial>,
}

/// What one handshake left behind, for the task that started it.
///
/// The verifier is called deep inside the handshake, whose own error is an alert and a text. Each
/// handshake has a record of its own, so that nothing is attributed to the wrong peer.
#[derive(Debug, Default)]
pub(crate) struct Record {
    finding: OnceLock<Finding>,
    offered: OnceLock<Vec<String>>,
}

/// The most application protocols of a peer that are kept, and the most characters of each.
const OFFERS_MAX: usize = 8;

impl Record {
    /// Keeps what was found, and returns what to tell the peer.
    pub(crate) fn refuse(&self, finding: Finding, error: TlsError) -> TlsError {
        let told = tell(&finding, error);
        // The first finding is the one that ended the handshake.
        self.finding.get_or_init(|| finding);
        told
    }

    /// Returns what the verifier found, if it did.
    pub(crate) fn finding(&self) -> Option<&Finding> {
        self.finding.get()
    }

    pub(crate) fn offer(&self, protocols: Vec<String>) {
        self.offered.get_or_init(|| protocols);
    }

    /// Returns the application protocols that the peer offered.
    pub(crate) fn offered(&self) -> &[String] {
        self.offered.get().map_or(&[], Vec::as_slice)
    }
}

/// Returns the first of a peer's application protocols, in a form that can be printed.
pub(super) fn printable<'a>(protocols: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    protocols
        .take(OFFERS_MAX)
        .map(|protocol| protocol.escape_ascii().take(64).map(char::from).collect())
        .collect()
}

/// Returns the error that makes the right alert and the right words.
fn tell(finding: &Finding, error: TlsError) -> TlsError {
    match finding.check {
        // These have alerts of their own, which peers of any make understand.
        Check::Presence
        | Check::Chain
        | Check::Signature
        | Check::Expiry
        | Check::Start
        | Check::Revocation
        | Check::Purpose
        | Check::Protocol
        | Check::Handshake => error,
        Check::Encoding
        | Check::RevocationStatus
        | Check::Name
        | Check::Identity
        | Check::TrustDomain
        | Check::Kind => TlsError::InvalidCertificate(CertificateError::Other(OtherError(
            Arc::new(Told(format!("[{}] {finding}", finding.check.label()))),
        ))),
    }
}

/// Returns the check that a Weir peer named in its words, if it is one and did.
pub(crate) fn check_in_words(words: &str) -> Option<Check> {
    let (_, rest) = words.split_once('[')?;
    let (label, _) = rest.split_once(']')?;
    Check::ALL.into_iter().find(|check| check.label() == label)
}

/// Returns what was wrong with a chain, in words that name times as people do.
pub(super) fn describe(error: &TlsError) -> String {
    let TlsError::InvalidCertificate(certificate) = error else {
        return error.to_string();
    };
    let moment = |time: &rustls::pki_types::UnixTime| {
        Moment::from_unix_s(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    };
    if let CertificateError::ExpiredContext { time, not_after } = certificate {
        return format!(
            "it ended at {}, and it is {}",
            moment(not_after),
            moment(time)
        );
    }
    if let CertificateError::NotValidYetContext { time, not_before } = certificate {
        return format!(
            "it begins at {}, and it is {}",
            moment(not_before),
            moment(time)
        );
    }
    certificate.to_string()
}

#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_survives_the_way_in_words() {
        for check in Check::ALL {
            let words = format!("invalid peer certificate: [{}] and why", check.label());
            assert_eq!(check_in_words(&words), Some(check));
        }
        for words in ["", "[", "[]", "no brackets", "[unheard_of] x", "] ["] {
            assert_eq!(check_in_words(words), None, "{words}");
        }
    }

    #[test]
    fn foreign_protocols_are_printed_and_bounded() {
        let many = vec![&b"h3\n\xff"[..]; 20];
        let printed = printable(many.into_iter());
        assert_eq!(printed.len(), OFFERS_MAX);
        assert_eq!(printed[0], "h3\\n\\xff");
    }
}
