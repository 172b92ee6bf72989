//! The verifier of the connecting side.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error as TlsError, SignatureScheme};

use super::accepting::refuse_signature;
use super::finding::Record;
use super::trust::Trust;

/// Judges the certificate of the peer that is connected to, in one handshake.
#[derive(Debug)]
pub(crate) struct ConnectingVerifier {
    trust: Arc<Trust>,
    record: Arc<Record>,
}

impl ConnectingVerifier {
    pub(crate) fn new(trust: Arc<Trust>, record: Arc<Record>) -> Self {
        Self { trust, record }
    }
}

impl ServerCertVerifier for ConnectingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        // Stapled answers are not asked for: revocation is by list.
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.trust
            .judge_server(end_entity, intermediates, server_name, now)
            .map(|_| ServerCertVerified::assertion())
            .map_err(|(finding, error)| self.record.refuse(finding, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.trust
            .servers()
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.trust
            .servers()
            .verify_tls13_signature(message, certificate, signature)
            .map_err(|error| refuse_signature(&self.record, certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.servers().supported_verify_schemes()
    }
}
