//! Makes an authority, and opens one.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::GeneralName;
use x509_parser::time::ASN1Time;

use super::error::AuthorityError;
use super::files::{Readers, system, write_atomically, write_new};
use super::index::IndexEntry;
use super::{CLOCK_SKEW, revoke};
use crate::certificate;
use crate::identity::TrustDomain;
use crate::moment::Moment;
use crate::tls;

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
const REVOCATIONS: &str = "crl.pem";
const INDEX: &str = "index";
const LOCK: &str = "lock";

/// The shortest lifetime of anything: shorter than that is over before it is deployed.
pub(super) const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// A certificate authority in a directory.
pub struct Authority {
    pub(super) directory: PathBuf,
    pub(super) issuer: Issuer<'static, KeyPair>,
    trust_domain: TrustDomain,
    pub(super) not_after: Moment,
}

/// The directory's lock: whoever holds it is alone with the index and the list.
pub(super) struct Alone {
    _lock: File,
}

impl Authority {
    /// Makes an authority for `trust_domain` in `directory`.
    ///
    /// An authority that is there already is never touched.
    pub fn create(
        directory: &Path,
        trust_domain: &TrustDomain,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        for file in [CERTIFICATE, KEY, INDEX] {
            let path = directory.join(file);
            if path.symlink_metadata().is_ok() {
                return Err(AuthorityError::Exists { path });
            }
        }
        check_lifetime(lifetime)?;
        let now = Moment::from_system(now);
        let not_after = now.plus(lifetime);

        let key = KeyPair::generate().map_err(crypto("make a key"))?;
        let serial = random_serial()?;
        let mut params = CertificateParams::default();
        params.not_before = calendar(now.minus(CLOCK_SKEW))?.to_datetime();
        params.not_after = calendar(not_after)?.to_datetime();
        // Every authority has a name of its own: a revocation list is found by the name of who
        // signed it, so two authorities of one name could not both have one.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(
            DnType::CommonName,
            format!(
                "Weir development authority {}",
                hex(&serial.to_bytes()[..4])
            ),
        );
        params.subject_alt_names = vec![SanType::URI(
            format!("spiffe://{trust_domain}")
                .try_into()
                .map_err(crypto("write the trust domain"))?,
        )];
        params.serial_number = Some(serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params
            .self_signed(&key)
            .map_err(crypto("sign the authority's certificate"))?;

        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(system("make", directory))?;
        // The certificate last: it is what says that an authority is here, so a run that ends
        // half-way is completed by hand or begun again, and never mistaken for one.
        write_new(
            &directory.join(KEY),
            key.serialize_pem().as_bytes(),
            Readers::Owner,
        )?;
        write_new(&directory.join(INDEX), b"", Readers::Everyone)?;
        let authority = Self {
            directory: directory.to_owned(),
            issuer: Issuer::new(params, key),
            trust_domain: trust_domain.clone(),
            not_after,
        };
        revoke::write_list(&authority, &[], now)?;
        write_new(
            &authority.certificate_path(),
            made.pem().as_bytes(),
            Readers::Everyone,
        )?;
        Ok(authority)
    }

    /// Opens the authority in `directory`.
    pub fn open(directory: &Path) -> Result<Self, AuthorityError> {
        let certificate_path = directory.join(CERTIFICATE);
        let damaged = |path: &Path, what: String| AuthorityError::Damaged {
            path: path.to_owned(),
            what,
        };
        let certificate = CertificateDer::from_pem_slice(&read(&certificate_path)?)
            .map_err(|error| damaged(&certificate_path, error.to_string()))?;
        let key_path = directory.join(KEY);
        let key_text = String::from_utf8(read(&key_path)?)
            .map_err(|error| damaged(&key_path, error.to_string()))?;
        let key =
            KeyPair::from_pem(&key_text).map_err(|error| damaged(&key_path, error.to_string()))?;

        let parsed = certificate::parse(&certificate)
            .map_err(|error| damaged(&certificate_path, error.to_string()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(damaged(
                &key_path,
                format!("it is not the key of {}", certificate_path.display()),
            ));
        }
        let no_trust_domain = |source| AuthorityError::NoTrustDomain {
            path: certificate_path.clone(),
            source,
        };
        let names = parsed
            .subject_alternative_name()
            .map_err(|error| damaged(&certificate_path, error.to_string()))?
            .ok_or_else(|| no_trust_domain(None))?;
        let [GeneralName::URI(uri)] = names.value.general_names[..] else {
            return Err(no_trust_domain(None));
        };
        let trust_domain = TrustDomain::new(uri.strip_prefix("spiffe://").unwrap_or(uri))
            .map_err(|error| no_trust_domain(Some(error)))?;
        let not_after = Moment::from_asn1(parsed.validity().not_after);

        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(&certificate_path, error.to_string()))?;
        Ok(Self {
            directory: directory.to_owned(),
            issuer,
            trust_domain,
            not_after,
        })
    }

    /// Returns the cluster that the authority is for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Returns when the authority ends.
    pub fn not_after(&self) -> Moment {
        self.not_after
    }

    /// Returns the file that every peer needs as its bundle.
    pub fn certificate_path(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    /// Returns the revocation list.
    pub fn revocations_path(&self) -> PathBuf {
        self.directory.join(REVOCATIONS)
    }

    /// Returns every certificate that was issued, in that order.
    pub fn list(&self) -> Result<Vec<IndexEntry>, AuthorityError> {
        let path = self.directory.join(INDEX);
        let text = String::from_utf8(read(&path)?).map_err(|error| AuthorityError::Damaged {
            path: path.clone(),
            what: error.to_string(),
        })?;
        text.lines()
            .enumerate()
            .map(|(at, line)| {
                line.parse().map_err(|source| AuthorityError::Index {
                    path: path.clone(),
                    line: at + 1,
                    source,
                })
            })
            .collect()
    }

    pub(super) fn write_index(
        &self,
        _alone: &Alone,
        entries: &[IndexEntry],
    ) -> Result<(), AuthorityError> {
        let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        write_atomically(
            &self.directory.join(INDEX),
            text.as_bytes(),
            Readers::Everyone,
        )
    }

    /// Waits until nobody else issues or revokes here.
    pub(super) fn lock(&self) -> Result<Alone, AuthorityError> {
        let path = self.directory.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(system("open", &path))?;
        lock.lock().map_err(system("lock", &path))?;
        Ok(Alone { _lock: lock })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key: what is debugged is logged.
        formatter
            .debug_struct("Authority")
            .field("directory", &self.directory)
            .field("trust_domain", &self.trust_domain)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

pub(super) fn check_lifetime(lifetime: Duration) -> Result<(), AuthorityError> {
    if lifetime < LIFETIME_MIN {
        return Err(AuthorityError::TooShort {
            seconds: lifetime.as_secs(),
            seconds_min: LIFETIME_MIN.as_secs(),
        });
    }
    Ok(())
}

/// Returns a serial number of 16 random bytes, positive and without a leading zero.
pub(super) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    tls::provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|rustls::crypto::GetRandomFailed| AuthorityError::NoRandomness)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(super) fn crypto(what: &'static str) -> impl Fn(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Crypto { what, source }
}

/// Returns a moment as certificates write it.
pub(super) fn calendar(moment: Moment) -> Result<ASN1Time, AuthorityError> {
    moment.to_asn1().ok_or(AuthorityError::Calendar { moment })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    fs::read(path).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            AuthorityError::Missing {
                path: path.to_owned(),
            }
        } else {
            system("read", path)(source)
        }
    })
}
