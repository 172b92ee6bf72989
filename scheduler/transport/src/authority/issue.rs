//! Issues certificates.

use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::CLOCK_SKEW;
use super::error::AuthorityError;
use super::files::{Readers, system, write_atomically, write_new};
use super::index::{IndexEntry, Standing};
use super::open::{Authority, calendar, check_lifetime, crypto, random_serial};
use crate::certificate::{Certificate, Serial};
use crate::host::HostName;
use crate::identity::{Identity, PeerKind, PeerName};
use crate::moment::Moment;

/// What certificate is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    /// What its owner may be.
    pub kind: PeerKind,
    /// What its owner is called.
    pub name: PeerName,
    /// The names that a scheduler is connected to, and those beside its own that an agent is scraped by; none for
    /// all other kinds.
    pub host_names: Vec<HostName>,
    /// How long it lasts.
    pub lifetime: Duration,
}

/// A certificate that was issued, and its key.
#[derive(Clone)]
pub struct Issued {
    /// Whose it is.
    pub identity: Identity,
    /// Its number.
    pub serial: Serial,
    /// When it ends.
    pub not_after: Moment,
    /// The certificate, as it goes into a file.
    pub certificate_pem: String,
    /// Its key, as it goes into a file.
    pub key_pem: String,
}

/// What to do with files that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Refuse, and change nothing.
    Refuse,
    /// Replace each of them at once.
    Replace,
}

/// Where a certificate and its key were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// Issues a certificate, which is in the index when this returns.
    pub fn issue(&self, request: &IssueRequest, now: SystemTime) -> Result<Issued, AuthorityError> {
        let IssueRequest {
            kind,
            name,
            host_names,
            lifetime,
        } = request;
        let identity = Identity::new(self.trust_domain().clone(), *kind, name.clone());
        check_names(&identity, host_names)?;
        check_lifetime(*lifetime)?;
        let now = Moment::from_system(now);
        let not_after = now.plus(*lifetime);
        if not_after > self.not_after {
            return Err(AuthorityError::OutlivesAuthority {
                wanted: not_after,
                authority_end: self.not_after,
            });
        }

        let mut params = CertificateParams::default();
        params.not_before = calendar(now.minus(CLOCK_SKEW))?.to_datetime();
        params.not_after = calendar(not_after)?.to_datetime();
        params.serial_number = Some(random_serial()?);
        // The identity is the URI; this is for people who look at the certificate.
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Weir {kind}"));
        params.subject_alt_names = vec![SanType::URI(
            identity
                .to_string()
                .try_into()
                .map_err(crypto("write the identity"))?,
        )];
        for name in served_names(&identity, host_names) {
            params.subject_alt_names.push(match name {
                HostName::Dns(name) => SanType::DnsName(
                    name.as_str()
                        .try_into()
                        .map_err(crypto("write a DNS name"))?,
                ),
                HostName::Ip(address) => SanType::IpAddress(address),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match kind {
            PeerKind::Scheduler => vec![ExtendedKeyUsagePurpose::ServerAuth],
            // It connects to its scheduler, and monitoring connects to it. That makes it no scheduler: whoever
            // connects to one looks for the kind.
            PeerKind::Agent => vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
                vec![ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        params.use_authority_key_identifier_extension = true;

        let key = KeyPair::generate().map_err(crypto("make a key"))?;
        let made = params
            .signed_by(&key, &self.issuer)
            .map_err(crypto("sign the certificate"))?;
        let read = Certificate::read(made.der()).map_err(AuthorityError::Unreadable)?;

        let alone = self.lock()?;
        let mut entries = self.list()?;
        entries.push(IndexEntry {
            serial: read.serial.clone(),
            identity: identity.clone(),
            not_after,
            standing: Standing::Valid,
        });
        self.write_index(&alone, &entries)?;

        Ok(Issued {
            identity,
            serial: read.serial,
            not_after,
            certificate_pem: made.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Issues a certificate into `directory`, as `<kind>-<name>.pem` and `<kind>-<name>-key.pem`.
    ///
    /// What would be overwritten is found before anything is issued.
    pub fn issue_files(
        &self,
        request: &IssueRequest,
        directory: &Path,
        overwrite: Overwrite,
        now: SystemTime,
    ) -> Result<(Issued, IssuedFiles), AuthorityError> {
        let stem = format!("{}-{}", request.kind, request.name);
        let files = IssuedFiles {
            certificate: directory.join(format!("{stem}.pem")),
            key: directory.join(format!("{stem}-key.pem")),
        };
        if overwrite == Overwrite::Refuse {
            for path in [&files.certificate, &files.key] {
                if path.symlink_metadata().is_ok() {
                    return Err(AuthorityError::WouldOverwrite { path: path.clone() });
                }
            }
        }
        let issued = self.issue(request, now)?;
        issued.write(&files, overwrite)?;
        Ok((issued, files))
    }
}

impl Issued {
    /// Writes the certificate and its key.
    ///
    /// A process that reads both while they are replaced may see the old of one and the new of the
    /// other: Weir's keep what they have until the two fit.
    pub fn write(&self, files: &IssuedFiles, overwrite: Overwrite) -> Result<(), AuthorityError> {
        let write = match overwrite {
            Overwrite::Refuse => write_new,
            Overwrite::Replace => write_atomically,
        };
        if let Some(directory) = files.key.parent()
            && !directory.as_os_str().is_empty()
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .map_err(system("make", directory))?;
        }
        write(&files.key, self.key_pem.as_bytes(), Readers::Owner)?;
        write(
            &files.certificate,
            self.certificate_pem.as_bytes(),
            Readers::Everyone,
        )
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key: what is debugged is logged.
        formatter
            .debug_struct("Issued")
            .field("identity", &self.identity)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Returns the names and addresses that a certificate bears.
///
/// An agent is called by its own name, where that can be a host's: whoever scrapes `n1:9464` need not be told more.
fn served_names(identity: &Identity, given: &[HostName]) -> Vec<HostName> {
    let own = match identity.kind() {
        PeerKind::Agent => identity.name().as_str().parse().ok(),
        PeerKind::Scheduler | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => None,
    };
    let mut names: Vec<HostName> = Vec::new();
    for name in own.into_iter().chain(given.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn check_names(identity: &Identity, names: &[HostName]) -> Result<(), AuthorityError> {
    match (identity.kind(), names.len()) {
        (PeerKind::Scheduler, 0) => Err(AuthorityError::NoNames),
        (PeerKind::Scheduler | PeerKind::Agent, _)
        | (PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper, 0) => Ok(()),
        (PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper, names) => {
            Err(AuthorityError::NamesForClient {
                identity: identity.clone(),
                names,
            })
        }
    }
}
