//! What is wrong with credentials that can be used all the same.

use std::path::PathBuf;

use crate::certificate::Serial;
use crate::moment::Moment;

/// Something that a person should know about the credentials in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialWarning {
    /// Everyone can read the key.
    #[error("the key {} can be read by everyone (mode {mode:03o}); take that right away", path.display())]
    KeyOpen {
        /// The key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// An authority has expired.
    #[error("the authority `{subject}` of the bundle {} ended at {at} and is left out; take it out of the file", path.display())]
    AuthorityExpired {
        /// The bundle.
        path: PathBuf,
        /// The authority.
        subject: String,
        /// When it ended.
        at: Moment,
    },
    /// An authority has no revocation list though others have.
    #[error("the authority `{subject}` has no list in {}: nothing that it issued can be revoked", path.display())]
    AuthorityWithoutList {
        /// The file of lists.
        path: PathBuf,
        /// The authority.
        subject: String,
    },
    /// A list is of an issuer that is neither in the bundle nor in the own chain.
    #[error("{} has a list of `{issuer}`, which is no authority of the bundle; it says something only if peers bring that authority's certificate with them", path.display())]
    ListOfStranger {
        /// The file of lists.
        path: PathBuf,
        /// Who issued it.
        issuer: String,
    },
    /// This process' own certificate is revoked.
    #[error("the certificate {serial} in {} is revoked: every peer that has this list refuses it; issue another", path.display())]
    OwnRevoked {
        /// The certificate.
        path: PathBuf,
        /// Its number.
        serial: Serial,
    },
}
