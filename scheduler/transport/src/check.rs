//! Which check refused a peer, in words for both sides.
//!
//! A handshake can fail on either side, and the other side sees only a number: a TLS alert in a QUIC
//! close. [`Check`] is the one vocabulary for both: the side that judges makes it from what its
//! verifier found, the side that was judged makes it from the alert.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// A check that a peer has to pass.
///
/// [`Check::label`] is what metrics say, [`fmt::Display`] what people read, and
/// [`Check::remedy`] what the side that was refused can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// A certificate was presented.
    Presence,
    /// The certificate can be read.
    Encoding,
    /// An authority of the bundle issued it.
    Chain,
    /// The peer holds its key, and every signature is right.
    Signature,
    /// It has not expired.
    Expiry,
    /// Its time has begun.
    Start,
    /// It is not revoked.
    Revocation,
    /// Whether it is revoked can be told.
    RevocationStatus,
    /// It is made for this side of a connection.
    Purpose,
    /// It bears the name that was connected to.
    Name,
    /// It carries exactly one identity.
    Identity,
    /// The identity is of the same trust domain.
    TrustDomain,
    /// The identity is of a kind that may be on this side.
    Kind,
    /// Both speak the same application protocol.
    Protocol,
    /// All else of the handshake: versions, cipher suites, malformed messages.
    Handshake,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 15] = [
        Self::Presence,
        Self::Encoding,
        Self::Chain,
        Self::Signature,
        Self::Expiry,
        Self::Start,
        Self::Revocation,
        Self::RevocationStatus,
        Self::Purpose,
        Self::Name,
        Self::Identity,
        Self::TrustDomain,
        Self::Kind,
        Self::Protocol,
        Self::Handshake,
    ];

    /// Returns the word for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Encoding => "encoding",
            Self::Chain => "chain",
            Self::Signature => "signature",
            Self::Expiry => "expiry",
            Self::Start => "start",
            Self::Revocation => "revocation",
            Self::RevocationStatus => "revocation_status",
            Self::Purpose => "purpose",
            Self::Name => "name",
            Self::Identity => "identity",
            Self::TrustDomain => "trust_domain",
            Self::Kind => "kind",
            Self::Protocol => "protocol",
            Self::Handshake => "handshake",
        }
    }

    /// Returns what the owner of the refused certificate can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Presence => "configure a certificate and its key",
            Self::Encoding => "issue the certificate again; this one cannot be read",
            Self::Chain => {
                "compare the bundles of authorities on both sides: the one that judges must hold the authority that issued this certificate"
            }
            Self::Signature => {
                "check that certificate and key belong together, and that no authority was made anew under an old name"
            }
            Self::Expiry => "renew the certificate, or set the clocks of both hosts right",
            Self::Start => {
                "set the clocks of both hosts right, or wait until the certificate begins"
            }
            Self::Revocation => "issue another certificate; this one was revoked",
            Self::RevocationStatus => "renew the revocation list on the side that judges",
            Self::Purpose => {
                "issue the certificate with the right extended key usage: server authentication for a scheduler, client authentication for all others"
            }
            Self::Name => {
                "connect to a name that the scheduler's certificate bears, or issue it with this name"
            }
            Self::Identity => {
                "issue the certificate with one identity, spiffe://<trust-domain>/<kind>/<name>"
            }
            Self::TrustDomain => "use a certificate of the cluster that is connected to",
            Self::Kind => "use a certificate of the right kind for this connection",
            Self::Protocol => {
                "check that the address is a Weir scheduler's and that both are of versions that speak the same protocol"
            }
            Self::Handshake => "check that the address is a Weir scheduler's; its log says more",
        }
    }

    /// Returns whether the same certificate may pass the check later, with nothing changed on the
    /// side that was refused.
    ///
    /// A daemon does well to come back also when it may not, only at its slowest pace: someone may
    /// put another certificate in place.
    pub fn may_pass_later(self) -> bool {
        match self {
            // A bundle or a list that is on its way, and time that goes on.
            Self::Chain | Self::Start | Self::RevocationStatus | Self::Handshake => true,
            // The refused certificate, name or program has to be another.
            Self::Presence
            | Self::Encoding
            | Self::Signature
            | Self::Expiry
            | Self::Revocation
            | Self::Purpose
            | Self::Name
            | Self::Identity
            | Self::TrustDomain
            | Self::Kind
            | Self::Protocol => false,
        }
    }

    /// Returns the check that a TLS error of this side's own is about.
    pub(crate) fn of_tls_error(error: &TlsError) -> Self {
        if let TlsError::InvalidCertificate(error) = error {
            return Self::of_certificate_error(error);
        }
        if matches!(error, TlsError::NoCertificatesPresented) {
            return Self::Presence;
        }
        if matches!(error, TlsError::InvalidCertRevocationList(_)) {
            return Self::RevocationStatus;
        }
        if matches!(error, TlsError::NoApplicationProtocol) {
            return Self::Protocol;
        }
        // rustls' errors may grow: whatever is none of the above is about the handshake itself.
        Self::Handshake
    }

    fn of_certificate_error(error: &CertificateError) -> Self {
        use CertificateError as E;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum is non-exhaustive, and a new way to be wrong is an encoding until named"
        )]
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::Expiry,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::Start,
            E::Revoked => Self::Revocation,
            E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. } => Self::RevocationStatus,
            E::UnknownIssuer => Self::Chain,
            E::BadSignature
            | E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Signature,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::Name,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose,
            _ => Self::Encoding,
        }
    }

    /// Returns the check that a TLS alert of the other side is about.
    ///
    /// Weir's own verifiers answer 46 (`certificate_unknown`) for all that is about the identity,
    /// with the exact reason in words; see [`crate::verify`].
    pub(crate) fn of_alert(alert: u8) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum is non-exhaustive, and most alerts are about the handshake itself"
        )]
        match AlertDescription::from(alert) {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                Self::Presence
            }
            AlertDescription::BadCertificate => Self::Encoding,
            AlertDescription::UnsupportedCertificate => Self::Purpose,
            AlertDescription::CertificateRevoked => Self::Revocation,
            AlertDescription::CertificateExpired => Self::Expiry,
            AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => Self::Identity,
            AlertDescription::UnknownCA => Self::Chain,
            AlertDescription::DecryptError => Self::Signature,
            AlertDescription::UnrecognisedName => Self::Name,
            AlertDescription::NoApplicationProtocol => Self::Protocol,
            _ => Self::Handshake,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Presence => "no certificate was presented",
            Self::Encoding => "the certificate is malformed",
            Self::Chain => "no authority of the bundle issued the certificate",
            Self::Signature => "a signature is wrong",
            Self::Expiry => "the certificate has expired",
            Self::Start => "the certificate is not valid yet",
            Self::Revocation => "the certificate is revoked",
            Self::RevocationStatus => "whether the certificate is revoked cannot be told",
            Self::Purpose => "the certificate is not made for this side of a connection",
            Self::Name => "the certificate does not bear the name that was connected to",
            Self::Identity => "the certificate does not carry an acceptable identity",
            Self::TrustDomain => "the certificate is of another trust domain",
            Self::Kind => "the certificate is of a kind that may not be on this side",
            Self::Protocol => "there is no application protocol that both speak",
            Self::Handshake => "the TLS handshake failed",
        })
    }
}
