//! Why credentials were not loaded.

use std::io;
use std::path::PathBuf;

use crate::certificate::CertificateError;
use crate::identity::Identity;
use crate::moment::Moment;

/// Says which file cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is no file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What it is instead.
        path: PathBuf,
    },
    /// A file is too large to be what it should be.
    #[error("{} is larger than {bytes_max} bytes, and no {what} is", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// The bound.
        bytes_max: u64,
    },
    /// A file is no PEM, or its content is not what it says.
    #[error("{} holds no readable {what}: {found}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What was found.
        found: String,
    },
    /// A file holds other than what is wanted.
    #[error("{} holds {found} of what should be {wanted}, in PEM", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
        /// What is wanted.
        wanted: &'static str,
    },
    /// The certificate carries no identity, or cannot be read.
    #[error("the certificate {} cannot be used", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CertificateError,
    },
    /// The certificate is of a kind that is not for this program.
    #[error("the certificate {} is of `{identity}`, and this program needs one of kind {wanted}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        identity: Identity,
        /// The kinds that would do.
        wanted: String,
    },
    /// A scheduler's certificate has no name to connect to.
    #[error("the scheduler's certificate {} bears neither a DNS name nor an IP address", path.display())]
    NoHostNames {
        /// The file.
        path: PathBuf,
    },
    /// The identity is another than the one in use.
    #[error("the certificate {} is of `{found}`, and this process runs as `{running}`", path.display())]
    OtherIdentity {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Identity,
        /// Who the process is.
        running: Identity,
    },
    /// The key is of no kind that can sign.
    #[error("the key {} cannot be used: {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// The key is another certificate's.
    #[error("the key {} is not the key of the certificate {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
        /// What the comparison says.
        #[source]
        source: rustls::Error,
    },
    /// The certificate has expired.
    #[error("the certificate {} ended at {at}, and it is {now}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When it ended.
        at: Moment,
        /// When it was looked at.
        now: Moment,
    },
    /// The certificate's time has not begun.
    #[error("the certificate {} begins at {at}, and it is {now}", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// When it begins.
        at: Moment,
        /// When it was looked at.
        now: Moment,
    },
    /// No authority of the bundle issued the certificate.
    #[error("the certificate {} does not verify against the authorities in {}: {what}", path.display(), authorities.display())]
    Chain {
        /// The certificate.
        path: PathBuf,
        /// The bundle.
        authorities: PathBuf,
        /// What the verification says.
        what: String,
    },
    /// A certificate of the bundle is no authority's.
    #[error("certificate {nth} of the bundle {} is of `{subject}`, which is no authority", path.display())]
    NotAnAuthority {
        /// The bundle.
        path: PathBuf,
        /// Which certificate, from 1.
        nth: usize,
        /// Whose it is.
        subject: String,
    },
    /// Every authority of the bundle has expired.
    #[error("every authority of the bundle {} has expired, the last at {at}", path.display())]
    NoAuthority {
        /// The bundle.
        path: PathBuf,
        /// When the last one did.
        at: Moment,
    },
    /// Two authorities of one name have different keys.
    #[error("the bundle {} has two authorities called `{subject}` with different keys: a revocation list is found by the name, so one of them would be refused altogether", path.display())]
    SameName {
        /// The bundle.
        path: PathBuf,
        /// Their name.
        subject: String,
    },
    /// Two lists are of one issuer.
    #[error("{} has two lists of `{issuer}`, and only one of them would be looked at", path.display())]
    TwoLists {
        /// The file of lists.
        path: PathBuf,
        /// Who issued them.
        issuer: String,
    },
    /// A list is not signed by whom it says.
    #[error("the list of `{issuer}` in {} is not signed by that authority: {what}", path.display())]
    ListSignature {
        /// The file of lists.
        path: PathBuf,
        /// Who should have signed it.
        issuer: String,
        /// What the verification says.
        what: String,
    },
    /// A list should have been replaced by now.
    #[error("the list of `{issuer}` in {} was good until {at}, and it is {now}", path.display())]
    ListStale {
        /// The file of lists.
        path: PathBuf,
        /// Who issued it.
        issuer: String,
        /// Until when it was good.
        at: Moment,
        /// When it was looked at.
        now: Moment,
    },
    /// A list is older than the one in force.
    #[error("the list of `{issuer}` in {} has number {found}, and number {in_force} is in force", path.display())]
    ListWentBack {
        /// The file of lists.
        path: PathBuf,
        /// Who issued it.
        issuer: String,
        /// Its number.
        found: String,
        /// The number of the list in force.
        in_force: String,
    },
    /// The verifier takes the bundle and the lists only one by one.
    #[error("the authorities in {} and the lists cannot be used together: {what}", path.display())]
    Verifier {
        /// The bundle.
        path: PathBuf,
        /// Why not.
        what: String,
    },
}

impl CredentialError {
    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::NotAFile { .. } => {
                "check the path in the configuration, and that this user may read the file"
            }
            Self::TooLarge { .. } | Self::Pem { .. } | Self::Count { .. } => {
                "check that the path names the right file, and that it was copied whole"
            }
            Self::Certificate { .. } => {
                "issue a certificate with one URI name, spiffe://<trust-domain>/<kind>/<name>"
            }
            Self::Kind { .. } => "use a certificate of the right kind",
            Self::NoHostNames { .. } => {
                "issue it with the names and addresses that agents and clients connect to"
            }
            Self::OtherIdentity { .. } => {
                "restart the process if it is to be another, otherwise put its own certificate back"
            }
            Self::Key { .. } => "make a key for ECDSA P-256, P-384 or Ed25519, or RSA of 2048 bits",
            Self::KeyMismatch { .. } => "put certificate and key of one issue there, both",
            Self::Expired { .. } => "renew the certificate, or set this host's clock right",
            Self::NotYetValid { .. } => {
                "set this host's clock right, or wait until the certificate begins"
            }
            Self::Chain { .. } => {
                "put the authority that issued the certificate into the bundle, and any authorities between into the certificate's file; schedulers need the usage server authentication, all others client authentication"
            }
            Self::NotAnAuthority { .. } => "leave only certificates of authorities in the bundle",
            Self::NoAuthority { .. } => "put an authority that is valid into the bundle",
            Self::SameName { .. } => {
                "make the new authority under a name of its own, or do without revocation lists while both are in the bundle"
            }
            Self::TwoLists { .. } => "leave only the newer of the two",
            Self::ListSignature { .. } => "fetch the list again, from the authority of the bundle",
            Self::ListStale { .. } => {
                "fetch a new list from the authority, or set this host's clock right"
            }
            Self::ListWentBack { .. } => {
                "fetch the newest list; if the authority was set up anew, restart this process"
            }
            Self::Verifier { .. } => "fetch bundle and list again",
        }
    }

    /// Returns whether the same files may be usable later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Time goes on, and files that are being written become whole.
            Self::Read { .. }
            | Self::NotYetValid { .. }
            | Self::Pem { .. }
            | Self::Count { .. }
            | Self::KeyMismatch { .. } => true,
            // Only other files help.
            Self::NotAFile { .. }
            | Self::TooLarge { .. }
            | Self::Certificate { .. }
            | Self::Kind { .. }
            | Self::NoHostNames { .. }
            | Self::OtherIdentity { .. }
            | Self::Key { .. }
            | Self::Expired { .. }
            | Self::Chain { .. }
            | Self::NotAnAuthority { .. }
            | Self::NoAuthority { .. }
            | Self::SameName { .. }
            | Self::TwoLists { .. }
            | Self::ListSignature { .. }
            | Self::ListStale { .. }
            | Self::ListWentBack { .. }
            | Self::Verifier { .. } => false,
        }
    }
}
