//! Over TLS: who reads, who does not, and what is said of it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use weir_service::http::Way;
use weir_transport::PeerKind;
use weir_transport::scrape::{Gate, ScrapeLimits};

use crate::world::{
    LIFETIME, PATIENCE, SERVER, Served, World, ask_plainly, client, client_of, connect, connect_to,
    scrape, within,
};

/// Those who serve: an agent and a scheduler do it alike.
const SERVERS: [PeerKind; 2] = [PeerKind::Agent, PeerKind::Scheduler];

/// Returns what TLS said of a failure.
fn told(answer: io::Result<String>) -> String {
    answer.unwrap_err().to_string()
}

#[tokio::test]
async fn scrapers_and_operators_read() {
    let world = World::new();
    for server in SERVERS {
        let scraped = world.serve(server).await;
        for kind in [PeerKind::Scraper, PeerKind::Operator] {
            let files = world.issue(kind, "prometheus");
            let client = client(Some(&files), &files.authorities);
            let answer = scrape(&client, scraped.address()).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
        }
        assert_eq!(scraped.gate.counts().admitted(), 2);
        assert_eq!(scraped.refused(), []);
    }
}

#[tokio::test]
async fn all_others_are_refused_told_and_counted() {
    let world = World::new();
    let foreign = World::new();
    let authorities = world.authority.certificate_path();
    let old = SystemTime::now() - LIFETIME * 3;
    for server in SERVERS {
        let scraped = world.serve(server).await;
        let issued = |kind, name| Some(world.issue(kind, name));
        for (files, label, said) in [
            (None, "presence", "CertificateRequired"),
            (
                Some(foreign.issue(PeerKind::Scraper, "prometheus")),
                "chain",
                "UnknownCA",
            ),
            (issued(PeerKind::Agent, "n2"), "kind", "CertificateUnknown"),
            (
                issued(PeerKind::Framework, "ci"),
                "kind",
                "CertificateUnknown",
            ),
            // Its purpose is looked at before its kind.
            (
                issued(PeerKind::Scheduler, "main"),
                "purpose",
                "UnsupportedCertificate",
            ),
            (
                Some(world.issue_at(PeerKind::Scraper, "late", old, LIFETIME)),
                "expiry",
                "CertificateExpired",
            ),
        ] {
            let before: u64 = scraped.refused().iter().map(|(_, count)| count).sum();
            let client = client(files.as_ref(), &authorities);
            let error = told(scrape(&client, scraped.address()).await);
            assert!(error.contains(said), "{label}: {error}");
            let refused = scraped.refused();
            assert!(
                refused.iter().any(|(of, _)| *of == label),
                "{label}: {refused:?}"
            );
            let after: u64 = refused.iter().map(|(_, count)| count).sum();
            assert_eq!(after, before + 1, "{label}: {refused:?}");
        }
        assert_eq!(scraped.gate.counts().admitted(), 0);
    }
}

#[tokio::test]
async fn who_is_revoked_is_refused_and_does_not_stay() {
    let world = World::new();
    for server in SERVERS {
        let scraped = world.serve(server).await;
        let files = world.issue(PeerKind::Scraper, "prometheus");
        let client = client(Some(&files), &files.authorities);
        let mut kept = connect(&client, scraped.address()).await.unwrap();
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut head = [0; 15];
        kept.write_all(request).await.unwrap();
        within(kept.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");

        world.revoke(PeerKind::Scraper, "prometheus");
        scraped.reloader.reload().await.unwrap();
        let mut rest = Vec::new();
        // Cut off without a goodbye, once what was answered is read.
        let ended = within(kept.read_to_end(&mut rest)).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
        scraped.until_refused("revocation", 1).await;
        let error = told(scrape(&client, scraped.address()).await);
        assert!(error.contains("CertificateRevoked"), "{error}");
        scraped.until_refused("revocation", 2).await;
    }
}

#[tokio::test]
async fn a_changed_certificate_is_shown_in_the_next_handshake_and_ends_nothing() {
    let world = World::new();
    for server in SERVERS {
        let scraped = world.serve(server).await;
        let files = world.issue(PeerKind::Scraper, "prometheus");
        let client = client(Some(&files), &files.authorities);
        let mut kept = connect(&client, scraped.address()).await.unwrap();
        let shown = kept.get_ref().1.peer_certificates().unwrap()[0].clone();

        world.issue(server, SERVER);
        scraped.reloader.reload().await.unwrap();
        let stream = connect(&client, scraped.address()).await.unwrap();
        assert_ne!(stream.get_ref().1.peer_certificates().unwrap()[0], shown);

        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        kept.write_all(request).await.unwrap();
        let mut answer = String::new();
        within(kept.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_ended_by_the_deadline() {
    let world = World::new();
    let limits = ScrapeLimits {
        handshake_patience: Duration::from_millis(50),
        ..ScrapeLimits::default()
    };
    let scraped = world.serve_with(PeerKind::Agent, limits).await;
    let mut silent = TcpStream::connect(scraped.address()).await.unwrap();
    assert_eq!(within(silent.read(&mut [0; 1])).await.unwrap(), 0);
    scraped.until_refused("slow", 1).await;
    // And who begins, and does not go on.
    let mut slow = TcpStream::connect(scraped.address()).await.unwrap();
    slow.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let ended = within(slow.read(&mut [0; 1])).await;
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    scraped.until_refused("slow", 2).await;
}

#[tokio::test]
async fn what_is_not_tls_is_answered_and_closed() {
    let world = World::new();
    let scraped = world.serve(PeerKind::Scheduler).await;
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = ask_plainly(scraped.address(), request).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(answer.contains("over TLS"), "{answer}");
    assert!(!answer.contains("up 1"), "{answer}");
    assert_eq!(scraped.refused(), [("plain", 1)]);
    // An alert of TLS, and nothing else.
    let answer = ask_plainly(scraped.address(), "\0 neither this nor that \r\n\r\n").await;
    assert!(answer.len() < 16, "{answer:?}");
    assert_eq!(scraped.refused(), [("handshake", 1), ("plain", 1)]);
}

#[tokio::test]
async fn strangers_who_wait_crowd_out_each_other_and_nobody_else() {
    let world = World::new();
    let limits = ScrapeLimits {
        handshakes_max: 2,
        handshake_patience: PATIENCE,
    };
    let scraped = world.serve_with(PeerKind::Agent, limits).await;
    let files = world.issue(PeerKind::Scraper, "prometheus");
    let client = client(Some(&files), &files.authorities);
    let mut kept = connect(&client, scraped.address()).await.unwrap();
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(scraped.address()).await.unwrap());
    }
    // The oldest gives way to whoever comes, so that a scraper gets through.
    let answer = scrape(&client, scraped.address()).await.unwrap();
    assert!(answer.ends_with("up 1\n"), "{answer}");
    scraped.until_refused("busy", 99).await;
    assert_eq!(within(strangers[0].read(&mut [0; 1])).await.unwrap(), 0);

    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    kept.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(kept.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("up 1\n"), "{answer}");
}

#[tokio::test]
async fn credentials_may_come_late() {
    let world = World::new();
    let early = world.serve(PeerKind::Agent).await;
    let (publish, late) = watch::channel(None);
    let gate = Gate::new(late, ScrapeLimits::default());
    let served = Served::start(Way::Tls(gate.clone())).await;
    let files = world.issue(PeerKind::Scraper, "prometheus");
    let client = client(Some(&files), &files.authorities);
    scrape(&client, served.address()).await.unwrap_err();
    let refused = gate.counts();
    assert!(refused.refused().any(|of| of == ("own_certificate", 1)));
    publish.send_replace(Some(early.reloader.watch()));
    let answer = scrape(&client, served.address()).await.unwrap();
    assert!(answer.ends_with("up 1\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_believe_the_server_is_counted_as_that() {
    let world = World::new();
    let foreign = World::new();
    let scraped = world.serve(PeerKind::Agent).await;
    let files = world.issue(PeerKind::Scraper, "prometheus");
    let other_name = client(Some(&files), &files.authorities);
    let error = connect_to("n2", &other_name, scraped.address()).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("not valid for name")
    );
    scraped.until_refused("refused_us", 1).await;
    let other_authority = client(Some(&files), &foreign.authority.certificate_path());
    let error = connect(&other_authority, scraped.address()).await;
    assert!(error.unwrap_err().to_string().contains("UnknownIssuer"));
    scraped.until_refused("refused_us", 2).await;
    assert_eq!(scraped.refused(), [("refused_us", 2)]);
}

#[tokio::test]
async fn only_http_1_1_is_spoken() {
    let world = World::new();
    let scraped = world.serve(PeerKind::Scheduler).await;
    let files = world.issue(PeerKind::Scraper, "prometheus");
    let newer = client_of(Some(&files), &files.authorities, &[b"h2"]);
    let error = told(scrape(&newer, scraped.address()).await);
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    scraped.until_refused("protocol", 1).await;
    // Who names none speaks what everybody does.
    let unnamed = client_of(Some(&files), &files.authorities, &[]);
    let answer = scrape(&unnamed, scraped.address()).await.unwrap();
    assert!(answer.ends_with("up 1\n"), "{answer}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refusal_is_logged_with_who_why_and_what_to_do() {
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || written.clone())
        .with_ansi(false)
        .finish();
    // The runtime of a test is this thread.
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let scraped = world.serve(PeerKind::Scheduler).await;
    let files = world.issue(PeerKind::Framework, "ci");
    let client = client(Some(&files), &files.authorities);
    for _ in 0..30 {
        scrape(&client, scraped.address()).await.unwrap_err();
    }
    scraped.until_refused("kind", 30).await;
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let refused: Vec<&str> = logged
        .lines()
        .filter(|line| line.contains("a scraper was refused"))
        .collect();
    assert!((20..30).contains(&refused.len()), "{}", refused.len());
    for part in [
        "WARN",
        "address=127.0.0.1:",
        "claimed=spiffe://weir.test/framework/ci",
        "serial=",
        "check=\"kind\"",
        "`spiffe://weir.test/framework/ci` is not of kind operator or scraper",
        "`weir certs issue scraper NAME`",
    ] {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
}
