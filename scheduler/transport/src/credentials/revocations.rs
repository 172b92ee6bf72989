//! Revocation lists: who issued them, whether they may be believed, whom they name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::error::CredentialError;
use super::files::{Authorities, Own, in_pem};
use super::warning::CredentialWarning;
use crate::certificate::{self, Serial};
use crate::moment::Moment;

/// Every list of one file.
#[derive(Debug)]
pub(super) struct Revocations {
    pub(super) path: PathBuf,
    lists: Vec<List>,
}

/// One list.
#[derive(Debug)]
struct List {
    der: CertificateRevocationListDer<'static>,
    /// The issuer's name as it is encoded: what is compared.
    issuer_raw: Vec<u8>,
    /// The issuer's name for people.
    issuer: String,
    number: Option<BigUint>,
    next_update: Option<Moment>,
}

impl Revocations {
    pub(super) fn parse(path: &Path, bytes: &[u8], now: Moment) -> Result<Self, CredentialError> {
        let mut lists: Vec<List> = Vec::new();
        for der in CertificateRevocationListDer::pem_slice_iter(bytes) {
            let der = der.map_err(in_pem(path, "revocation list"))?;
            let list = List::parse(path, der)?;
            if let Some(at) = list.next_update
                && at < now
            {
                return Err(CredentialError::ListStale {
                    path: path.to_owned(),
                    issuer: list.issuer,
                    at,
                    now,
                });
            }
            if lists
                .iter()
                .any(|other| other.issuer_raw == list.issuer_raw)
            {
                return Err(CredentialError::TwoLists {
                    path: path.to_owned(),
                    issuer: list.issuer,
                });
            }
            lists.push(list);
        }
        if lists.is_empty() {
            // An empty file would be revocation switched off by accident.
            return Err(CredentialError::Count {
                path: path.to_owned(),
                found: 0,
                wanted: "revocation lists",
            });
        }
        Ok(Self {
            path: path.to_owned(),
            lists,
        })
    }

    /// Checks who signed the lists, and returns what is worth a warning.
    ///
    /// Every list is used. One whose issuer is neither in the bundle nor in the own chain cannot be
    /// checked here; the verifier does so when a peer brings the issuer's certificate.
    pub(super) fn check_issuers(
        &self,
        authorities: &Authorities,
        own: &Own,
    ) -> Result<Vec<CredentialWarning>, CredentialError> {
        let mut warnings = Vec::new();
        for list in &self.lists {
            let issuers = authorities
                .certificates
                .iter()
                .chain(own.key.cert.iter().skip(1));
            match list.signature(issuers) {
                Signature::Right => {}
                Signature::Wrong(what) => {
                    return Err(CredentialError::ListSignature {
                        path: self.path.clone(),
                        issuer: list.issuer.clone(),
                        what,
                    });
                }
                Signature::OfStranger => warnings.push(CredentialWarning::ListOfStranger {
                    path: self.path.clone(),
                    issuer: list.issuer.clone(),
                }),
            }
        }
        let mut subjects: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for der in &authorities.certificates {
            let parsed =
                certificate::parse(der).map_err(|source| CredentialError::Certificate {
                    path: authorities.path.clone(),
                    source,
                })?;
            let subject = (
                parsed.subject().as_raw().to_vec(),
                parsed.public_key().raw.to_vec(),
            );
            if subjects
                .iter()
                .any(|(name, key)| *name == subject.0 && *key != subject.1)
            {
                return Err(CredentialError::SameName {
                    path: authorities.path.clone(),
                    subject: parsed.subject().to_string(),
                });
            }
            if !self.lists.iter().any(|list| list.issuer_raw == subject.0) {
                warnings.push(CredentialWarning::AuthorityWithoutList {
                    path: self.path.clone(),
                    subject: parsed.subject().to_string(),
                });
            }
            subjects.push(subject);
        }
        Ok(warnings)
    }

    /// Checks that no list is older than the one of the same issuer in `in_force`.
    pub(super) fn check_newer(&self, in_force: &Self) -> Result<(), CredentialError> {
        for list in &self.lists {
            let older = in_force
                .lists
                .iter()
                .find(|other| other.issuer_raw == list.issuer_raw && list.number < other.number);
            if let Some(other) = older {
                let shown = |number: &Option<BigUint>| {
                    number
                        .as_ref()
                        .map_or_else(|| "none".to_owned(), BigUint::to_string)
                };
                return Err(CredentialError::ListWentBack {
                    path: self.path.clone(),
                    issuer: list.issuer.clone(),
                    found: shown(&list.number),
                    in_force: shown(&other.number),
                });
            }
        }
        Ok(())
    }

    /// Returns whether a list names the certificate.
    pub(super) fn names(&self, der: &CertificateDer<'_>) -> bool {
        let Ok(parsed) = certificate::parse(der) else {
            return false;
        };
        let serial = Serial::from_bytes(parsed.raw_serial());
        self.lists
            .iter()
            .filter(|list| list.issuer_raw == parsed.issuer().as_raw())
            .any(
                |list| match CertificateRevocationList::from_der(&list.der) {
                    Ok((_, read)) => read
                        .iter_revoked_certificates()
                        .any(|revoked| Serial::from_bytes(revoked.raw_serial()) == serial),
                    Err(_) => false,
                },
            )
    }

    /// Returns every number that stands in any of the lists.
    pub(super) fn serials(&self) -> HashSet<Serial> {
        self.lists
            .iter()
            .filter_map(|list| CertificateRevocationList::from_der(&list.der).ok())
            .flat_map(|(_, read)| {
                read.iter_revoked_certificates()
                    .filter_map(|revoked| Serial::from_bytes(revoked.raw_serial()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Returns the lists, for the verifier.
    pub(super) fn ders(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.lists.iter().map(|list| list.der.clone()).collect()
    }

    /// Returns when the first list should be replaced.
    pub(super) fn next_update(&self) -> Option<Moment> {
        self.lists.iter().filter_map(|list| list.next_update).min()
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.lists.len() == other.lists.len()
            && self
                .lists
                .iter()
                .zip(&other.lists)
                .all(|(one, other)| one.der == other.der)
    }
}

/// Whether a list is signed by whom it says.
enum Signature {
    Right,
    /// By none of the authorities of that name.
    Wrong(String),
    /// No authority of that name is known.
    OfStranger,
}

impl List {
    fn parse(
        path: &Path,
        der: CertificateRevocationListDer<'static>,
    ) -> Result<Self, CredentialError> {
        let error = |found: String| CredentialError::Pem {
            path: path.to_owned(),
            what: "revocation list",
            found,
        };
        let (rest, read) =
            CertificateRevocationList::from_der(&der).map_err(|what| error(what.to_string()))?;
        if !rest.is_empty() {
            return Err(error(format!("{} bytes follow it", rest.len())));
        }
        Ok(Self {
            issuer_raw: read.issuer().as_raw().to_vec(),
            issuer: read.issuer().to_string(),
            number: read.crl_number().cloned(),
            next_update: read.next_update().map(Moment::from_asn1),
            der: der.clone(),
        })
    }

    fn signature<'a>(
        &self,
        issuers: impl Iterator<Item = &'a CertificateDer<'static>>,
    ) -> Signature {
        let Ok((_, read)) = CertificateRevocationList::from_der(&self.der) else {
            return Signature::Wrong("it cannot be read".to_owned());
        };
        let mut signature = Signature::OfStranger;
        for der in issuers {
            let Ok(parsed) = certificate::parse(der) else {
                continue;
            };
            if parsed.subject().as_raw() != self.issuer_raw {
                continue;
            }
            match read.verify_signature(parsed.public_key()) {
                Ok(()) => return Signature::Right,
                Err(error) => signature = Signature::Wrong(error.to_string()),
            }
        }
        signature
    }
}
