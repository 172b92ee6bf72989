//! A cluster's certificates, a server of one page, and clients.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_service::http::{HttpServer, Page, Pages, Way};
use weir_transport::authority::{Authority, IssueRequest, Overwrite, Revoke};
use weir_transport::credentials::CredentialFiles;
use weir_transport::scrape::{Gate, ScrapeLimits};
use weir_transport::{Identity, PeerKind, Reloader, TrustDomain};

/// How often changed files are looked for.
const LOOK: Duration = Duration::from_millis(20);

/// What must come, comes within this time on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const LIFETIME: Duration = Duration::from_hours(24);

/// What the server is called in its certificate.
pub(crate) const SERVER: &str = "n1";

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The pages of the tests.
#[derive(Clone)]
struct Few;

impl Pages for Few {
    async fn page(&self, path: &str) -> Page {
        match path {
            "/metrics" => Page::metrics(b"up 1\n".to_vec()),
            "/health" => Page::text("ok\n"),
            _ => Page::not_found("there are /metrics and /health\n"),
        }
    }
}

/// A server that goes with this.
pub(crate) struct Served(Option<HttpServer>);

impl Served {
    pub(crate) async fn start(way: Way) -> Self {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        Self(Some(HttpServer::spawn(address, way, Few).await.unwrap()))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.as_ref().unwrap().address()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.stop();
        }
    }
}

/// One authority and what it issues.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) authority: Authority,
}

/// A server over TLS, and what looks after its credentials.
pub(crate) struct Scraped {
    pub(crate) served: Served,
    pub(crate) gate: Gate,
    pub(crate) reloader: Reloader,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let trust_domain = TrustDomain::new("weir.test").unwrap();
        let at = directory.path().join("ca");
        let authority =
            Authority::create(&at, &trust_domain, LIFETIME * 10, SystemTime::now()).unwrap();
        Self {
            directory,
            authority,
        }
    }

    pub(crate) fn issue(&self, kind: PeerKind, name: &str) -> CredentialFiles {
        self.issue_at(kind, name, SystemTime::now(), LIFETIME)
    }

    pub(crate) fn issue_at(
        &self,
        kind: PeerKind,
        name: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> CredentialFiles {
        let request = IssueRequest {
            kind,
            name: name.parse().unwrap(),
            host_names: match kind {
                PeerKind::Scheduler => vec![SERVER.parse().unwrap()],
                PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
                    Vec::new()
                }
            },
            lifetime,
        };
        let to = self.directory.path().join("certs");
        let (_, files) = self
            .authority
            .issue_files(&request, &to, Overwrite::Replace, now)
            .unwrap();
        CredentialFiles {
            certificate: files.certificate,
            key: files.key,
            authorities: self.authority.certificate_path(),
            revocations: Some(self.authority.revocations_path()),
        }
    }

    pub(crate) fn revoke(&self, kind: PeerKind, name: &str) {
        let domain = self.authority.trust_domain().clone();
        let identity = Identity::new(domain, kind, name.parse().unwrap());
        self.authority
            .revoke(&Revoke::Identity(identity), SystemTime::now())
            .unwrap();
    }

    /// Serves as a process of this kind.
    pub(crate) async fn serve(&self, kind: PeerKind) -> Scraped {
        let limits = ScrapeLimits {
            handshake_patience: PATIENCE,
            ..ScrapeLimits::default()
        };
        self.serve_with(kind, limits).await
    }

    pub(crate) async fn serve_with(&self, kind: PeerKind, limits: ScrapeLimits) -> Scraped {
        let files = self.issue(kind, SERVER);
        let reloader = Reloader::spawn(files, vec![kind], LOOK).unwrap();
        let gate = Gate::with(reloader.watch(), limits);
        let served = Served::start(Way::Tls(gate.clone())).await;
        Scraped {
            served,
            gate,
            reloader,
        }
    }
}

impl Scraped {
    pub(crate) fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// Returns how many were refused, by the reasons that there were.
    pub(crate) fn refused(&self) -> Vec<(&'static str, u64)> {
        let refused = self.gate.counts();
        refused.refused().filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until one more client was refused for this.
    pub(crate) async fn until_refused(&self, label: &str, count: u64) {
        within(async {
            let is_there = |refused: &(&str, u64)| refused.0 == label && refused.1 >= count;
            while !self.refused().iter().any(is_there) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Returns a client that shows this, believes the authority of these files, and speaks what Prometheus does.
pub(crate) fn client(shown: Option<&CredentialFiles>, authorities: &Path) -> TlsConnector {
    client_of(shown, authorities, &[b"h2", b"http/1.1"])
}

/// Returns the same that speaks these protocols.
pub(crate) fn client_of(
    shown: Option<&CredentialFiles>,
    authorities: &Path,
    protocols: &[&[u8]],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities) {
        roots.add(authority).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(files) => builder
            .with_client_auth_cert(
                certificates(&files.certificate),
                PrivateKeyDer::from_pem_file(&files.key).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&fs::read(path).unwrap())
        .collect::<Result<_, _>>()
        .unwrap()
}

pub(crate) async fn connect(
    client: &TlsConnector,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    connect_to(SERVER, client, address).await
}

/// Connects, and wants the certificate to bear this name.
pub(crate) async fn connect_to(
    name: &'static str,
    client: &TlsConnector,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    within(client.connect(name, stream)).await
}

/// Asks for the metrics on a connection of its own.
pub(crate) async fn scrape(client: &TlsConnector, address: SocketAddr) -> io::Result<String> {
    let mut stream = connect(client, address).await?;
    stream.write_all(GET.as_bytes()).await?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

/// Says something without TLS, and returns what comes until the other end closes.
pub(crate) async fn ask_plainly(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits for what must come, on however slow a machine.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future)
        .await
        .expect("what the test waits for did not come")
}
