//! Reads each file by itself: what can be said of it without the others.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::CredentialError;
use super::revocations::Revocations;
use super::warning::CredentialWarning;
use crate::certificate::{self, Certificate, CertificateError};
use crate::moment::Moment;
use crate::tls;

/// The largest certificate file, key or bundle: a hundred times what any of them needs.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The largest file of lists: a million revoked certificates.
const LISTS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most certificates in one file.
const CERTIFICATES_MAX: usize = 256;

/// Where the credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The certificate, followed by any authorities between it and the bundle.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The bundle: the authorities to believe.
    pub authorities: PathBuf,
    /// The revocation lists, one for each authority that has any.
    pub revocations: Option<PathBuf>,
}

/// The certificate and its key.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) path: PathBuf,
    pub(super) certificate: Certificate,
    pub(super) key: Arc<CertifiedKey>,
    /// What else only the owner of the key knows is derived with this.
    pub(super) secret: hmac::Key,
    /// Whether it bears a DNS name or an address.
    pub(super) has_host_names: bool,
    /// Whether it is made for a server too.
    pub(super) is_for_servers: bool,
    pub(super) warnings: Vec<CredentialWarning>,
}

/// The bundle.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) path: PathBuf,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) warnings: Vec<CredentialWarning>,
}

/// What each part of the files is, or why it cannot be read.
pub(super) struct Parts {
    pub(super) own: Result<Arc<Own>, CredentialError>,
    pub(super) authorities: Result<Arc<Authorities>, CredentialError>,
    pub(super) revocations: Result<Option<Arc<Revocations>>, CredentialError>,
}

/// What changes when a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<[i64; 6]>>);

impl CredentialFiles {
    pub(super) fn read(&self, now: Moment) -> Parts {
        Parts {
            own: Own::read(&self.certificate, &self.key).map(Arc::new),
            authorities: Authorities::read(&self.authorities, now).map(Arc::new),
            revocations: self
                .revocations
                .as_deref()
                .map(|path| {
                    read_file(path, "revocation list", LISTS_BYTES_MAX)
                        .and_then(|bytes| Revocations::parse(path, &bytes, now))
                        .map(Arc::new)
                })
                .transpose(),
        }
    }

    /// Returns what the files look like from outside, without reading them.
    ///
    /// The inode is part of it because files are best replaced by renaming, and the time of change
    /// because a copy may keep the time of modification.
    #[expect(
        clippy::cast_possible_wrap,
        reason = "only compared for equality with itself"
    )]
    pub(super) fn stamp(&self) -> Stamp {
        let Self {
            certificate,
            key,
            authorities,
            revocations,
        } = self;
        let paths = [certificate, key, authorities]
            .into_iter()
            .chain(revocations);
        Stamp(
            paths
                .map(|path| {
                    let metadata = fs::metadata(path).ok()?;
                    Some([
                        metadata.ino() as i64,
                        metadata.size() as i64,
                        metadata.mtime(),
                        metadata.mtime_nsec(),
                        metadata.ctime(),
                        metadata.ctime_nsec(),
                    ])
                })
                .collect(),
        )
    }
}

#[cfg(test)]
impl Stamp {
    pub(super) fn of_test(of: i64) -> Self {
        Self(vec![Some([of; 6])])
    }
}

impl Own {
    fn read(path: &Path, key_path: &Path) -> Result<Self, CredentialError> {
        let chain = certificates(path)?;
        let leaf = chain.first().ok_or_else(|| CredentialError::Count {
            path: path.to_owned(),
            found: 0,
            wanted: "one certificate or a chain",
        })?;
        let certificate = Certificate::read(leaf).map_err(in_certificate(path))?;
        let has_host_names = certificate::has_host_names(leaf);
        let is_for_servers = certificate::is_for_servers(leaf);
        let key_bytes = read_file(key_path, "key", PEM_BYTES_MAX)?;
        let key = PrivateKeyDer::from_pem_slice(&key_bytes).map_err(in_pem(key_path, "key"))?;
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret_der());
        let key = tls::provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| CredentialError::Key {
                path: key_path.to_owned(),
                what: error.to_string(),
            })?;
        let key = CertifiedKey::new(chain, key);
        // A key that cannot tell its public half is refused too: what does not fit is found now or
        // by every peer.
        key.keys_match()
            .map_err(|source| CredentialError::KeyMismatch {
                source,
                key: key_path.to_owned(),
                certificate: path.to_owned(),
            })?;
        let mode = fs::metadata(key_path)
            .map_err(|source| CredentialError::Read {
                path: key_path.to_owned(),
                source,
            })?
            .permissions()
            .mode()
            & 0o777;
        let warnings = if mode & 0o004 == 0 {
            Vec::new()
        } else {
            vec![CredentialWarning::KeyOpen {
                path: key_path.to_owned(),
                mode,
            }]
        };
        Ok(Self {
            path: path.to_owned(),
            certificate,
            key: Arc::new(key),
            secret,
            has_host_names,
            is_for_servers,
            warnings,
        })
    }
}

impl Authorities {
    fn read(path: &Path, now: Moment) -> Result<Self, CredentialError> {
        let mut roots = RootCertStore::empty();
        let mut kept = Vec::new();
        let mut warnings = Vec::new();
        let mut last_end = None;
        for (at, der) in certificates(path)?.into_iter().enumerate() {
            let parsed = certificate::parse(&der).map_err(in_certificate(path))?;
            let subject = parsed.subject().to_string();
            let not_after = Moment::from_asn1(parsed.validity().not_after);
            let is_authority = parsed.is_ca();
            let not_an_authority = || CredentialError::NotAnAuthority {
                path: path.to_owned(),
                nth: at + 1,
                subject: subject.clone(),
            };
            if !is_authority {
                return Err(not_an_authority());
            }
            last_end = last_end.max(Some(not_after));
            if not_after < now {
                warnings.push(CredentialWarning::AuthorityExpired {
                    path: path.to_owned(),
                    subject,
                    at: not_after,
                });
                continue;
            }
            roots
                .add(der.clone())
                .map_err(|_unreadable| not_an_authority())?;
            kept.push(der);
        }
        if kept.is_empty() {
            return Err(match last_end {
                Some(at) => CredentialError::NoAuthority {
                    path: path.to_owned(),
                    at,
                },
                None => CredentialError::Count {
                    path: path.to_owned(),
                    found: 0,
                    wanted: "the certificates of authorities",
                },
            });
        }
        Ok(Self {
            path: path.to_owned(),
            roots: Arc::new(roots),
            certificates: kept,
            warnings,
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let bytes = read_file(path, "certificate file", PEM_BYTES_MAX)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(in_pem(path, "certificate"))?;
    if certificates.len() > CERTIFICATES_MAX {
        return Err(CredentialError::Count {
            path: path.to_owned(),
            found: certificates.len(),
            wanted: "at most 256 certificates",
        });
    }
    Ok(certificates)
}

fn read_file(path: &Path, what: &'static str, bytes_max: u64) -> Result<Vec<u8>, CredentialError> {
    let error = |source| CredentialError::Read {
        path: path.to_owned(),
        source,
    };
    // Before it is opened: opening a pipe waits for its other end.
    if !fs::metadata(path).map_err(error)?.is_file() {
        return Err(CredentialError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(error)?;
    if bytes.len() as u64 > bytes_max {
        return Err(CredentialError::TooLarge {
            path: path.to_owned(),
            what,
            bytes_max,
        });
    }
    Ok(bytes)
}

pub(super) fn in_pem(
    path: &Path,
    what: &'static str,
) -> impl FnOnce(pem::Error) -> CredentialError {
    let path = path.to_owned();
    move |error| CredentialError::Pem {
        path,
        what,
        found: error.to_string(),
    }
}

fn in_certificate(path: &Path) -> impl FnOnce(CertificateError) -> CredentialError {
    let path = path.to_owned();
    move |source| CredentialError::Certificate { path, source }
}
