//! Puts the parts together, and checks that they fit.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::UnixTime;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::error::CredentialError;
use super::files::{Authorities, CredentialFiles, Own, Parts};
use super::revocations::Revocations;
use super::warning::CredentialWarning;
use crate::certificate::Serial;
use crate::identity::{Identity, PeerKind};
use crate::moment::Moment;
use crate::tls;
use crate::verify::Trust;

/// One validated set of credentials.
#[derive(Debug)]
pub struct Credentials {
    pub(super) own: Arc<Own>,
    pub(super) authorities: Arc<Authorities>,
    pub(super) revocations: Option<Arc<Revocations>>,
    trust: Arc<Trust>,
    warnings: Vec<CredentialWarning>,
}

/// Says why a certificate cannot be shown to whoever connects over TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate {} of `{identity}` {what}", path.display())]
pub struct CannotServe {
    path: PathBuf,
    identity: Identity,
    what: &'static str,
}

impl CannotServe {
    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        "issue it again: `weir certs issue agent NAME --host ADDRESS --replace` makes one that can be scraped, which those of an older `weir` cannot"
    }
}

impl Credentials {
    /// Reads and checks the files. Blocks on the disk.
    ///
    /// `kinds` are the kinds of identity that this program may have.
    pub fn load(
        files: &CredentialFiles,
        kinds: &[PeerKind],
        now: SystemTime,
    ) -> Result<Self, CredentialError> {
        let now = Moment::from_system(now);
        let Parts {
            own,
            authorities,
            revocations,
        } = files.read(now);
        Self::combine(own?, authorities?, revocations?, kinds, now)
    }

    /// Puts parts together that were read before.
    pub(super) fn combine(
        own: Arc<Own>,
        authorities: Arc<Authorities>,
        revocations: Option<Arc<Revocations>>,
        kinds: &[PeerKind],
        now: Moment,
    ) -> Result<Self, CredentialError> {
        let identity = &own.certificate.identity;
        if !kinds.contains(&identity.kind()) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            return Err(CredentialError::Kind {
                path: own.path.clone(),
                identity: identity.clone(),
                wanted: wanted.join(" or "),
            });
        }
        check_names(&own)?;
        check_time(&own, now)?;
        check_chain(&own, &authorities, now)?;
        let mut warnings = [&own.warnings[..], &authorities.warnings[..]].concat();
        if let Some(revocations) = &revocations {
            warnings.extend(revocations.check_issuers(&authorities, &own)?);
            if own
                .key
                .cert
                .first()
                .is_some_and(|leaf| revocations.names(leaf))
            {
                warnings.push(CredentialWarning::OwnRevoked {
                    path: own.path.clone(),
                    serial: own.certificate.serial.clone(),
                });
            }
        }
        let lists = revocations
            .as_ref()
            .map_or(Vec::new(), |lists| lists.ders());
        let trust = Trust::new(identity.trust_domain().clone(), &authorities.roots, &lists)
            .map_err(|error| CredentialError::Verifier {
                path: authorities.path.clone(),
                what: error.to_string(),
            })?;
        Ok(Self {
            own,
            authorities,
            revocations,
            trust: Arc::new(trust),
            warnings,
        })
    }

    /// Returns who this process is.
    pub fn identity(&self) -> &Identity {
        &self.own.certificate.identity
    }

    /// Returns the number of the certificate.
    pub fn serial(&self) -> &Serial {
        &self.own.certificate.serial
    }

    /// Returns when the certificate begins.
    pub fn not_before(&self) -> Moment {
        self.own.certificate.not_before
    }

    /// Returns when the certificate ends.
    pub fn not_after(&self) -> Moment {
        self.own.certificate.not_after
    }

    /// Returns whether whoever connects over TLS can be shown the certificate.
    pub fn check_serves(&self) -> Result<(), CannotServe> {
        let what = match (self.own.is_for_servers, self.own.has_host_names) {
            (true, true) => return Ok(()),
            (false, _) => "is not made for server authentication",
            (true, false) => "bears neither a DNS name nor an IP address to connect to",
        };
        Err(CannotServe {
            path: self.own.path.clone(),
            identity: self.identity().clone(),
            what,
        })
    }

    /// Returns when the first revocation list should be replaced, if there is one that says so.
    pub fn revocations_next_update(&self) -> Option<Moment> {
        self.revocations.as_ref()?.next_update()
    }

    /// Returns what a person should know.
    pub fn warnings(&self) -> &[CredentialWarning] {
        &self.warnings
    }

    /// Returns what nobody knows who does not have the key: for each purpose something else, for the same
    /// key always the same.
    pub(crate) fn secret(&self, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.own.secret, purpose.as_bytes())
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.own.key
    }

    pub(crate) fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Returns every number that stands in a revocation list, whoever issued it.
    pub(crate) fn listed_serials(&self) -> HashSet<Serial> {
        self.revocations
            .as_ref()
            .map_or_else(HashSet::new, |lists| lists.serials())
    }

    /// Returns whether both believe the same peers.
    pub(crate) fn believes_like(&self, other: &Self) -> bool {
        let same_lists = match (&self.revocations, &other.revocations) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_same_as(other),
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_lists
            && self.authorities.certificates == other.authorities.certificates
            && self.identity().trust_domain() == other.identity().trust_domain()
    }

    /// Returns whether both show the same certificate and believe the same peers.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.own.key.cert == other.own.key.cert
            && self.believes_like(other)
            && self.warnings == other.warnings
    }
}

/// Checks that a scheduler can be connected to by name.
fn check_names(own: &Own) -> Result<(), CredentialError> {
    match own.certificate.identity.kind() {
        PeerKind::Scheduler if !own.has_host_names => Err(CredentialError::NoHostNames {
            path: own.path.clone(),
        }),
        PeerKind::Scheduler
        | PeerKind::Agent
        | PeerKind::Framework
        | PeerKind::Operator
        | PeerKind::Scraper => Ok(()),
    }
}

fn check_time(own: &Own, now: Moment) -> Result<(), CredentialError> {
    let certificate = &own.certificate;
    if certificate.not_after < now {
        return Err(CredentialError::Expired {
            path: own.path.clone(),
            at: certificate.not_after,
            now,
        });
    }
    if certificate.not_before > now {
        return Err(CredentialError::NotYetValid {
            path: own.path.clone(),
            at: certificate.not_before,
            now,
        });
    }
    Ok(())
}

/// Checks that a peer with the same bundle would believe the own certificate.
fn check_chain(own: &Own, authorities: &Authorities, now: Moment) -> Result<(), CredentialError> {
    let error = |what: String| CredentialError::Chain {
        path: own.path.clone(),
        authorities: authorities.path.clone(),
        what,
    };
    let Some((leaf, between)) = own.key.cert.split_first() else {
        return Err(error("it is empty".to_owned()));
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(now.as_unix_s()).unwrap_or(0),
    ));
    let provider = tls::provider();
    let checked = match own.certificate.identity.kind() {
        PeerKind::Scheduler => ParsedCertificate::try_from(leaf).and_then(|leaf| {
            verify_server_cert_signed_by_trust_anchor(
                &leaf,
                &authorities.roots,
                between,
                now,
                provider.signature_verification_algorithms.all,
            )
        }),
        PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
            WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&authorities.roots),
                Arc::clone(&provider),
            )
            .build()
            .map_err(|what| error(what.to_string()))?
            .verify_client_cert(leaf, between, now)
            .map(drop)
        }
    };
    checked.map_err(|what| error(what.to_string()))
}
