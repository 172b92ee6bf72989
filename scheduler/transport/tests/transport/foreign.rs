//! Peers of other makes: plain quinn and rustls, with whatever configuration a test wants.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use weir_transport::Address;
use weir_transport::credentials::CredentialFiles;
use weir_transport::host::HostName;

use crate::world::{loopback, within};

pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn identity(files: &CredentialFiles) -> Identity {
    (
        certificates(&files.certificate),
        PrivateKeyDer::from_pem_file(&files.key).unwrap(),
    )
}

/// A client that believes the bundle and shows what it is given.
pub(crate) fn client_config(
    bundle: &Path,
    identity: Option<Identity>,
    alpn: &[&[u8]],
) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bundle) {
        roots.add(certificate).unwrap();
    }
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

pub(crate) async fn connect(
    config: rustls::ClientConfig,
    address: &Address,
) -> Result<Connection, quinn::ConnectionError> {
    let endpoint = Endpoint::client(loopback()).unwrap();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let connecting = endpoint
        .connect_with(config, socket_address(address), "127.0.0.1")
        .unwrap();
    within(connecting).await
}

/// A server that shows what it is given, and believes everyone.
pub(crate) fn server((chain, key): Identity, alpn: &[&[u8]]) -> (Endpoint, Address) {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let endpoint = Endpoint::server(config, loopback()).unwrap();
    let address = endpoint.local_addr().unwrap().into();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    connection.closed().await;
                }
            });
        }
    });
    (endpoint, address)
}

pub(crate) fn socket_address(address: &Address) -> SocketAddr {
    match address.host {
        HostName::Ip(ip) => SocketAddr::new(ip, address.port),
        HostName::Dns(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port),
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&fs::read(path).unwrap())
        .collect::<Result<_, _>>()
        .unwrap()
}
