//! The verifier of the accepting side.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme};

use super::finding::{Finding, Record, printable};
use super::trust::Trust;
use crate::certificate::Certificate;
use crate::check::Check;
use crate::identity::PeerKind;

/// Judges the certificate of a peer that connects, in one handshake.
#[derive(Debug)]
pub(crate) struct AcceptingVerifier {
    trust: Arc<Trust>,
    kinds: &'static [PeerKind],
    record: Arc<Record>,
}

/// Presents the one certificate, and notes what application protocols the peer offered.
///
/// The offer is seen nowhere else when nothing of it fits.
#[derive(Debug)]
pub(crate) struct OfferRecorder {
    own: Arc<CertifiedKey>,
    record: Arc<Record>,
}

impl AcceptingVerifier {
    /// Takes peers of these kinds.
    pub(crate) fn new(trust: Arc<Trust>, kinds: &'static [PeerKind], record: Arc<Record>) -> Self {
        Self {
            trust,
            kinds,
            record,
        }
    }
}

impl OfferRecorder {
    pub(crate) fn new(own: Arc<CertifiedKey>, record: Arc<Record>) -> Self {
        Self { own, record }
    }
}

impl ResolvesServerCert for OfferRecorder {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(offered) = hello.alpn() {
            self.record.offer(printable(offered));
        }
        Some(Arc::clone(&self.own))
    }
}

impl ClientCertVerifier for AcceptingVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.clients().root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.trust
            .judge_client(end_entity, intermediates, now, self.kinds)
            .map(|_| ClientCertVerified::assertion())
            .map_err(|(finding, error)| self.record.refuse(finding, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.trust
            .clients()
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.trust
            .clients()
            .verify_tls13_signature(message, certificate, signature)
            .map_err(|error| refuse_signature(&self.record, certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.clients().supported_verify_schemes()
    }
}

/// Refuses a peer that does not hold the key of the certificate it presents.
pub(super) fn refuse_signature(
    record: &Record,
    certificate: &CertificateDer<'_>,
    error: TlsError,
) -> TlsError {
    let read = Certificate::read(certificate).ok();
    let finding = Finding {
        check: Check::Signature,
        what: "the peer did not prove that it holds the key".to_owned(),
        serial: read.as_ref().map(|read| read.serial.clone()),
        claimed: read.map(|read| read.identity),
    };
    record.refuse(finding, error)
}
