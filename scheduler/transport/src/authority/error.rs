//! Why the authority refuses.

use std::io;
use std::path::PathBuf;

use super::index::IndexError;
use crate::certificate::{CertificateError, Serial};
use crate::identity::{Identity, IdentityError};
use crate::moment::Moment;

/// Says why something was not made, issued or revoked, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is an authority in the directory already.
    #[error(
        "{} is there already; use that authority, or move the directory away: certificates of the old one will not be trusted by the new",
        path.display()
    )]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// There is no authority in the directory.
    #[error("{} is not there; make an authority first, with `weir certs init`", path.display())]
    Missing {
        /// What is not there.
        path: PathBuf,
    },
    /// A file would be overwritten.
    #[error("{} is there already; remove it, choose another directory, or ask for it to be replaced", path.display())]
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {what} {}; check the directory, its owner and the space on its disk", path.display())]
    System {
        /// What was to be done, as a verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the authority is not what it should be.
    #[error("{} cannot be used: {what}; restore it from a copy, or make a new authority", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The authority's certificate names no trust domain.
    #[error("{} names no trust domain (a single URI, spiffe://<trust-domain>); this authority was not made by `weir certs init`", path.display())]
    NoTrustDomain {
        /// The certificate.
        path: PathBuf,
        /// What is wrong with its URI, if it has one.
        #[source]
        source: Option<IdentityError>,
    },
    /// A line of the index cannot be read.
    #[error("line {line} of {} cannot be read; undo what was edited, for what is not in the index cannot be revoked", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// A scheduler's certificate needs names to be verified by.
    #[error(
        "a scheduler's certificate needs the DNS names or IP addresses it is connected to; give at least one"
    )]
    NoNames,
    /// Only schedulers and agents are connected to.
    #[error(
        "`{identity}` is neither a scheduler nor an agent, so nobody connects to it by name; leave the {names} names out"
    )]
    NamesForClient {
        /// Whose certificate.
        identity: Identity,
        /// How many names.
        names: usize,
    },
    /// It would last longer than the authority.
    #[error(
        "the certificate would end at {wanted}, after the authority itself at {authority_end}; ask for a shorter time, or make a new authority"
    )]
    OutlivesAuthority {
        /// When the certificate would end.
        wanted: Moment,
        /// When the authority ends.
        authority_end: Moment,
    },
    /// The time is none that a certificate can bear.
    #[error(
        "{moment} cannot be written in a certificate; ask for a shorter time, and check this host's clock"
    )]
    Calendar {
        /// The time.
        moment: Moment,
    },
    /// It would last no time at all.
    #[error("a lifetime of {seconds} s is too short; ask for at least {seconds_min} s")]
    TooShort {
        /// What was asked for.
        seconds: u64,
        /// The least.
        seconds_min: u64,
    },
    /// No certificate has this number.
    #[error(
        "no certificate with serial number {serial} was issued here; the index lists those that were"
    )]
    UnknownSerial {
        /// The number.
        serial: Serial,
    },
    /// No certificate bears this identity.
    #[error("no certificate was issued here to {identity}; the index lists those that were")]
    UnknownIdentity {
        /// The identity.
        identity: Identity,
    },
    /// All that match are revoked.
    #[error("{which} is revoked already")]
    AlreadyRevoked {
        /// The number or the identity.
        which: String,
    },
    /// What was just made does not read back: a defect of this program.
    #[error("the certificate just made cannot be read; please report this")]
    Unreadable(#[source] CertificateError),
    /// The cryptography refuses.
    #[error("cannot {what}")]
    Crypto {
        /// What was to be done, as a verb.
        what: &'static str,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// No random numbers are to be had.
    #[error("the system gives no random numbers")]
    NoRandomness,
}
