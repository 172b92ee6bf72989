//! One bundle and its lists, made ready to judge with.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{Error as TlsError, RootCertStore};

use super::finding::{Finding, describe};
use crate::certificate::{self, Certificate, CertificateError};
use crate::check::Check;
use crate::identity::{PeerKind, TrustDomain};
use crate::tls;

/// Who may hold a conversation with a scheduler.
pub(crate) const CONVERSING: &[PeerKind] =
    &[PeerKind::Agent, PeerKind::Framework, PeerKind::Operator];

/// Who may read what is measured.
pub(crate) const SCRAPING: &[PeerKind] = &[PeerKind::Operator, PeerKind::Scraper];

/// Judges certificates by one bundle, its lists, and one trust domain.
#[derive(Debug)]
pub(crate) struct Trust {
    trust_domain: TrustDomain,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

/// A refusal, and the error that TLS makes of it.
pub(crate) type Refused = (Finding, TlsError);

impl Trust {
    pub(crate) fn new(
        trust_domain: TrustDomain,
        roots: &Arc<RootCertStore>,
        lists: &[CertificateRevocationListDer<'static>],
    ) -> Result<Self, VerifierBuilderError> {
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), tls::provider())
                .with_crls(lists.iter().cloned())
                .allow_unknown_revocation_status()
                // A peer has one certificate; it needs no hint, and strangers no list of names.
                .clear_root_hint_subjects()
                .build()?;
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), tls::provider())
                .with_crls(lists.iter().cloned())
                .allow_unknown_revocation_status()
                .build()?;
        Ok(Self {
            trust_domain,
            clients,
            servers,
        })
    }

    pub(super) fn clients(&self) -> &dyn ClientCertVerifier {
        self.clients.as_ref()
    }

    pub(super) fn servers(&self) -> &WebPkiServerVerifier {
        &self.servers
    }

    /// Judges the chain of a peer that connected, and has to be of one of these kinds.
    pub(crate) fn judge_client(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        kinds: &[PeerKind],
    ) -> Result<Certificate, Refused> {
        self.clients
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| refused_chain(end_entity, error))?;
        self.judge_identity(end_entity, kinds)
    }

    /// Judges the chain of the peer that was connected to as `name`.
    pub(crate) fn judge_server(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Certificate, Refused> {
        self.servers
            .verify_server_cert(end_entity, intermediates, name, &[], now)
            .map_err(|error| refused_chain(end_entity, error))?;
        self.judge_identity(end_entity, &[PeerKind::Scheduler])
    }

    fn judge_identity(
        &self,
        end_entity: &CertificateDer<'_>,
        kinds: &[PeerKind],
    ) -> Result<Certificate, Refused> {
        let read = Certificate::read(end_entity).map_err(|error| {
            refused(Finding {
                check: match &error {
                    CertificateError::NotX509 { .. } | CertificateError::Serial { .. } => {
                        Check::Encoding
                    }
                    CertificateError::Names { .. }
                    | CertificateError::Uris { .. }
                    | CertificateError::Identity(_) => Check::Identity,
                },
                what: with_source(&error),
                claimed: None,
                serial: certificate::read_serial(end_entity).ok(),
            })
        })?;
        let finding = |check, what| {
            refused(Finding {
                check,
                what,
                claimed: Some(read.identity.clone()),
                serial: Some(read.serial.clone()),
            })
        };
        if *read.identity.trust_domain() != self.trust_domain {
            return Err(finding(
                Check::TrustDomain,
                format!(
                    "`{}` is not of the trust domain `{}`",
                    read.identity, self.trust_domain
                ),
            ));
        }
        if !kinds.contains(&read.identity.kind()) {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            return Err(finding(
                Check::Kind,
                format!("`{}` is not of kind {}", read.identity, kinds.join(" or ")),
            ));
        }
        Ok(read)
    }
}

fn refused_chain(end_entity: &CertificateDer<'_>, error: TlsError) -> Refused {
    let read = Certificate::read(end_entity).ok();
    let finding = Finding {
        check: Check::of_tls_error(&error),
        what: describe(&error),
        serial: read
            .as_ref()
            .map(|read| read.serial.clone())
            .or_else(|| certificate::read_serial(end_entity).ok()),
        claimed: read.map(|read| read.identity),
    };
    (finding, error)
}

/// Returns a refusal for which TLS has no error of its own.
fn refused(finding: Finding) -> Refused {
    let error = TlsError::General(finding.to_string());
    (finding, error)
}

fn with_source(error: &CertificateError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
