//! Metrics from elsewhere: over TLS, for who has a certificate for that.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weir_transport::PeerKind;
use weir_transport::credentials::CredentialFiles;

use crate::world::{PATIENCE, World};

/// Asks for metrics over TLS; returns them with the certificate that was shown.
fn scrape(
    world: &World,
    files: Option<&CredentialFiles>,
) -> io::Result<(String, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(world.authority.certificate_path()).unwrap();
    roots.add(authority).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match files {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = "127.0.0.1".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(world.http())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let shown = stream.conn.peer_certificates().expect("a handshake was")[0].clone();
    Ok((text, shown))
}

/// Tries until it is so.
fn until(what: &str, mut check: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !check() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_scheduler_is_read_from_elsewhere_by_who_has_a_certificate_for_that() {
    let mut world = World::new();
    world.http_listen = "0.0.0.0:0".to_owned();
    world.start();
    let scraper = world.issue(PeerKind::Scraper, "prometheus");
    let (text, before) = scrape(&world, Some(&scraper)).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");

    assert!(scrape(&world, None).is_err());
    for kind in [PeerKind::Agent, PeerKind::Framework] {
        let files = world.issue(kind, "n1");
        assert!(scrape(&world, Some(&files)).is_err(), "{kind}");
    }
    let plain = world.get("/metrics");
    assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
    let (text, _) = scrape(&world, Some(&scraper)).unwrap();
    for (check, count) in [("presence", 1), ("kind", 2), ("plain", 1), ("slow", 0)] {
        let line = format!("\nweir_scheduler_http_refused_total{{check=\"{check}\"}} {count}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }

    world.issue(PeerKind::Scheduler, "main");
    until("the new certificate is shown", || {
        let (_, shown) = scrape(&world, Some(&scraper)).unwrap();
        shown != before
    });
    world.revoke(PeerKind::Scraper, "prometheus");
    until("who is revoked is refused", || {
        scrape(&world, Some(&scraper)).is_err()
    });
}
