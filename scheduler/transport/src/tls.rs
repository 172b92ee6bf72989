//! The TLS that both sides speak: 1.3 only, one provider, one application protocol for each use, no resumption.
//!
//! A configuration is made for each handshake, from the credentials of that moment. It has a record
//! of its own for what its verifier finds, and nothing in it outlives the handshake that another
//! could resume: whoever connects again is judged again.

use std::sync::{Arc, LazyLock};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::ServerConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use weir_protocol::hello::ALPN;

use crate::credentials::Credentials;
use crate::identity::PeerKind;
use crate::verify::{
    AcceptingVerifier, CONVERSING, ConnectingVerifier, OfferRecorder, Record, SCRAPING,
};

/// Says why there is no TLS to speak: a defect of this program, for its parts are chosen here.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The provider lacks TLS 1.3.
    #[error("the cryptography has no TLS 1.3")]
    Version(#[source] rustls::Error),
    /// The provider lacks the cipher suite that every QUIC handshake starts with.
    #[error("the cryptography lacks the suite that QUIC starts with")]
    InitialSuite(#[source] NoInitialCipherSuite),
}

/// Returns the cryptography, always named: the default of a process is whatever the last linked
/// crate made of it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            // The hybrid first: it costs nothing that can be measured beside a signature, and what
            // is recorded today stays closed. A peer that lacks it takes the next.
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// The application protocol of whoever scrapes.
pub(crate) const SCRAPE_ALPN: &[u8] = b"http/1.1";

/// Returns the accepting side of one handshake of a conversation.
pub(crate) fn accepting(
    credentials: &Credentials,
    record: &Arc<Record>,
) -> Result<QuicServerConfig, TlsSetupError> {
    let config = serving(credentials, record, CONVERSING, ALPN)?;
    QuicServerConfig::try_from(config).map_err(TlsSetupError::InitialSuite)
}

/// Returns the accepting side of one handshake of whoever scrapes.
pub(crate) fn scraped(
    credentials: &Credentials,
    record: &Arc<Record>,
) -> Result<ServerConfig, TlsSetupError> {
    serving(credentials, record, SCRAPING, SCRAPE_ALPN)
}

fn serving(
    credentials: &Credentials,
    record: &Arc<Record>,
    kinds: &'static [PeerKind],
    alpn: &[u8],
) -> Result<ServerConfig, TlsSetupError> {
    let verifier =
        AcceptingVerifier::new(Arc::clone(credentials.trust()), kinds, Arc::clone(record));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetupError::Version)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(OfferRecorder::new(
            Arc::clone(credentials.key()),
            Arc::clone(record),
        )));
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session skips the verifier, so there is nothing to resume: no tickets, no store, no
    // early data.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Returns the connecting side of one handshake.
pub(crate) fn connecting(
    credentials: &Credentials,
    record: &Arc<Record>,
) -> Result<QuicClientConfig, TlsSetupError> {
    let verifier = ConnectingVerifier::new(Arc::clone(credentials.trust()), Arc::clone(record));
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsSetupError::Version)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
            credentials.key(),
        ))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(TlsSetupError::InitialSuite)
}
