//! Who reads what an agent measures from elsewhere, and who does not.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::cluster::Cluster;
use crate::node::{DEADLINE, eventually};

/// Where the agent is scraped, at the end of its wire.
const SERVED: &str = "10.9.0.2:9464";

/// What the agent answered, and the certificate it showed.
struct Answer {
    text: String,
    shown: CertificateDer<'static>,
}

/// Asks the agent over TLS as whoever holds this certificate of the cluster, from the other end of its wire.
fn scrape(cluster: &Cluster, who: Option<&str>, path: &str) -> io::Result<Answer> {
    let certificates = cluster.certificates();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.join("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match who {
        None => builder.with_no_client_auth(),
        Some(who) => {
            let file = |end: &str| certificates.join(format!("{who}{end}"));
            let chain = vec![CertificateDer::from_pem_file(file(".pem")).unwrap()];
            let key = PrivateKeyDer::from_pem_file(file("-key.pem")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = "n1".try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    cluster.nodes[0].on_wire(|| {
        let stream = TcpStream::connect(SERVED)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut stream = StreamOwned::new(connection, stream);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let shown = stream.conn.peer_certificates().expect("a handshake was")[0].clone();
        Ok(Answer { text, shown })
    })
}

/// Says something without TLS, and returns all that comes.
fn ask_plainly(cluster: &Cluster) -> String {
    cluster.nodes[0].on_wire(|| {
        let mut stream = TcpStream::connect(SERVED).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: n1\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

#[test]
fn an_agent_is_read_from_elsewhere_by_who_has_a_certificate_for_that() {
    let lines = format!("resources.lend = \"cpus:4;mem:1024\"\nhttp.listen = \"{SERVED}\"\n");
    let cluster = Cluster::with(&[&lines]);
    let directory = cluster.certificates().display().to_string();
    let certs = |words: &[&str]| {
        let words = [&["certs"], words, &["--directory", &directory]].concat();
        cluster.weir(&words).ok()
    };
    certs(&["issue", "scraper", "prometheus"]);
    let scraper = Some("scraper-prometheus");
    let metrics = scrape(&cluster, scraper, "/metrics").unwrap();
    assert!(
        metrics.text.starts_with("HTTP/1.1 200 OK\r\n"),
        "{}",
        metrics.text
    );
    assert!(metrics.text.contains("\nweir_agent_build_info{"));
    let read = |path| scrape(&cluster, Some("operator-admin"), path).unwrap().text;
    assert!(read("/health").ends_with("\r\n\r\nok\n"));
    assert!(read("/monitor/statistics.json").contains("application/json"));

    assert!(scrape(&cluster, None, "/metrics").is_err());
    assert!(scrape(&cluster, Some("agent-n1"), "/metrics").is_err());
    assert!(scrape(&cluster, Some("framework-run"), "/metrics").is_err());
    let plain = ask_plainly(&cluster);
    assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
    let text = scrape(&cluster, scraper, "/metrics").unwrap().text;
    for (check, count) in [("presence", 1), ("kind", 2), ("plain", 1), ("slow", 0)] {
        let line = format!("\nweir_agent_http_refused_total{{check=\"{check}\"}} {count}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }
    let log = cluster.nodes[0].log();
    assert!(log.contains("a scraper was refused"), "{log}");
    assert!(
        log.contains("spiffe://weir.local/framework/run` is not of kind operator or scraper"),
        "{log}"
    );

    // The agent's certificate is replaced while it runs.
    certs(&["issue", "agent", "n1", "--replace"]);
    eventually("the new certificate is shown", || {
        let answer = scrape(&cluster, scraper, "/metrics").unwrap();
        (answer.shown != metrics.shown).then_some(())
    });
    certs(&["revoke", "scraper", "prometheus"]);
    eventually("who is revoked is refused", || {
        scrape(&cluster, scraper, "/metrics").is_err().then_some(())
    });
    assert!(Path::new(&directory).join("crl.pem").exists());
}

#[test]
fn without_a_certificate_it_is_told_that_nobody_can_scrape() {
    let cluster = Cluster::without_agents(&["resources.lend = \"cpus:4;mem:1024\"\n"]);
    let lines = format!(
        "resources.lend = \"cpus:4;mem:1024\"\nhttp.listen = \"{SERVED}\"\n\
         scheduler.certificate = \"{}\"\n",
        cluster.path("agent.pem").display()
    );
    cluster.configure_node(0, &lines);
    let said = cluster.nodes[0].weir_here(&["check-config"]);
    // It may come at any moment, and the node's containers want an agent meanwhile.
    assert_eq!(said.code, 0, "{said:?}");
    for word in [SERVED, "not loopback", "TLS", "agent.pem", "127.0.0.1"] {
        assert!(said.stderr.contains(word), "{word}: {said:?}");
    }
    std::fs::write(cluster.path("agent.pem"), "no certificate").unwrap();
    let said = cluster.nodes[0].weir_here(&["check-config"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stderr.contains("nobody can scrape 10.9.0.2:9464 yet"),
        "{said:?}"
    );
}
