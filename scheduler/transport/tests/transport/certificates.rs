//! Certificates of the right authority that are wrong in one way.

use std::time::{Duration, SystemTime};

use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use weir_transport::authority::{CERTIFICATE_LIFETIME, IssueRequest};
use weir_transport::check::Check;
use weir_transport::connect::ConnectError;
use weir_transport::credentials::{CredentialError, CredentialState};
use weir_transport::listen::Reason;
use weir_transport::scrape::{Gate, ScrapeLimits};
use weir_transport::{Credentials, PeerKind};

use crate::foreign;
use crate::forge::{Forged, ago, ahead, moment};
use crate::handshake::refused;
use crate::world::{
    Scheduler, World, connect, listen_limits, load, loopback, request, say, told, within,
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn an_expired_certificate_is_refused_with_both_times() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let then = ago(2 * HOUR);
    let files = world.issue_at(PeerKind::Agent, "n1", then, HOUR);
    let error = Credentials::load(&files, &[PeerKind::Agent], SystemTime::now()).unwrap_err();
    assert!(matches!(error, CredentialError::Expired { .. }), "{error}");
    assert!(error.to_string().contains(&moment(then + HOUR)), "{error}");

    // A process that has run for so long.
    let credentials =
        CredentialState::fixed(Credentials::load(&files, &[PeerKind::Agent], then).unwrap());
    let refusal = refused(connect(&scheduler.address, credentials).await).await;
    assert_eq!(refusal.check, Check::Expiry);
    assert_eq!(refusal.alert, 45);
    let refused = scheduler.refusal().await;
    let Reason::Check { check, what } = &refused.reason else {
        panic!("{refused}");
    };
    assert_eq!(*check, Check::Expiry);
    assert!(
        what.starts_with(&format!("it ended at {}", moment(then + HOUR))),
        "{what}"
    );
}

#[tokio::test]
async fn a_scheduler_whose_certificate_ran_out_is_not_believed() {
    let world = World::new();
    let then = ago(2 * HOUR);
    let files = world.issue_at(PeerKind::Scheduler, "main", then, HOUR);
    let credentials =
        CredentialState::fixed(Credentials::load(&files, &[PeerKind::Scheduler], then).unwrap());
    let mut scheduler = Scheduler::start(credentials, listen_limits(), None);
    let error = connect(&scheduler.address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap_err();
    let ConnectError::NotBelieved { finding, .. } = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(finding.check, Check::Expiry);
    let refused = scheduler.refusal().await;
    let Reason::RefusedUs(refusal) = &refused.reason else {
        panic!("{refused}");
    };
    assert_eq!(refusal.check, Check::Expiry);
}

#[tokio::test]
async fn a_certificate_from_the_future_is_refused() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let then = ahead(2 * HOUR);
    let files = world.issue_at(PeerKind::Agent, "n1", then, HOUR);
    let error = Credentials::load(&files, &[PeerKind::Agent], SystemTime::now()).unwrap_err();
    assert!(
        matches!(error, CredentialError::NotYetValid { .. }),
        "{error}"
    );
    let credentials =
        CredentialState::fixed(Credentials::load(&files, &[PeerKind::Agent], then).unwrap());
    drop(connect(&scheduler.address, credentials).await);
    assert_eq!(scheduler.refusal().await.reason.label(), "start");
}

#[tokio::test]
async fn a_valid_certificate_that_is_no_schedulers_is_refused_by_who_connects() {
    let world = World::new();
    let agent = world.credentials(PeerKind::Agent, "n1");
    for (name, files, check) in [
        // As the authority issues it: neither the usage nor the name are a server's.
        (
            "plain",
            world.issue(PeerKind::Framework, "ci"),
            Check::Purpose,
        ),
        // An agent is scraped, and so has both. It is no scheduler.
        (
            "agent",
            world.issue_as(IssueRequest {
                host_names: vec!["127.0.0.1".parse().unwrap()],
                ..request(PeerKind::Agent, "n2", CERTIFICATE_LIFETIME)
            }),
            Check::Kind,
        ),
        // With everything but the kind.
        (
            "kind",
            Forged::of(&["spiffe://weir.test/agent/n3"]).sign(&world, "kind"),
            Check::Kind,
        ),
        (
            "domain",
            Forged::of(&["spiffe://other.test/scheduler/main"]).sign(&world, "domain"),
            Check::TrustDomain,
        ),
        (
            "no-uri",
            Forged::of(&[]).sign(&world, "no-uri"),
            Check::Identity,
        ),
        (
            "two-uris",
            Forged::of(&[
                "spiffe://weir.test/scheduler/a",
                "spiffe://weir.test/scheduler/b",
            ])
            .sign(&world, "two-uris"),
            Check::Identity,
        ),
        (
            "no-spiffe",
            Forged::of(&["https://weir.test/scheduler/a"]).sign(&world, "no-spiffe"),
            Check::Identity,
        ),
    ] {
        let (_server, address) = foreign::server(foreign::identity(&files), &[b"weir/1"]);
        let error = connect(&address, agent.clone()).await.unwrap_err();
        let ConnectError::NotBelieved { finding, .. } = &error else {
            panic!("{name}: {}", told(&error));
        };
        assert_eq!(finding.check, check, "{name}: {}", told(&error));
    }
}

#[tokio::test]
async fn a_valid_certificate_that_is_no_clients_is_refused_by_the_scheduler() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    for (name, forged, check, said) in [
        (
            "scheduler",
            Forged::of(&["spiffe://weir.test/scheduler/evil"]),
            Check::Kind,
            "`spiffe://weir.test/scheduler/evil` is not of kind agent or framework or operator",
        ),
        (
            "domain",
            Forged::of(&["spiffe://other.test/agent/n1"]),
            Check::TrustDomain,
            "`spiffe://other.test/agent/n1` is not of the trust domain `weir.test`",
        ),
        (
            "none",
            Forged::of(&[]),
            Check::Identity,
            "it carries 0 URI names (none)",
        ),
        (
            "two",
            Forged::of(&[
                "spiffe://weir.test/agent/a",
                "spiffe://weir.test/operator/b",
            ]),
            Check::Identity,
            "it carries 2 URI names (spiffe://weir.test/agent/a, spiffe://weir.test/operator/b)",
        ),
        (
            "long",
            Forged::of(&["spiffe://weir.test/agent/a/b"]),
            Check::Identity,
            "has 3 path segments",
        ),
    ] {
        let files = forged.sign(&world, name);
        let config = foreign::client_config(
            &world.bundle(),
            Some(foreign::identity(&files)),
            &[b"weir/1"],
        );
        let closed = match foreign::connect(config, &scheduler.address).await {
            Ok(connection) => within(connection.closed()).await,
            Err(error) => error,
        };
        let words = format!("[{}]", check.label());
        assert!(closed.to_string().contains(&words), "{name}: {closed}");
        assert!(closed.to_string().contains(said), "{name}: {closed}");
        let refused = scheduler.refusal().await;
        let Reason::Check { check: found, what } = refused.reason else {
            panic!("{name}: {refused}");
        };
        assert_eq!(found, check, "{name}");
        assert!(what.contains(said), "{name}: {what}");
    }
}

#[tokio::test]
async fn a_server_only_certificate_does_not_make_a_client() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let forged = Forged {
        usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
        ..Forged::of(&["spiffe://weir.test/agent/n1"])
    };
    let files = forged.sign(&world, "usage");
    let error = Credentials::load(&files, &[PeerKind::Agent], SystemTime::now()).unwrap_err();
    assert!(matches!(error, CredentialError::Chain { .. }), "{error}");
    let config = foreign::client_config(
        &world.bundle(),
        Some(foreign::identity(&files)),
        &[b"weir/1"],
    );
    drop(foreign::connect(config, &scheduler.address).await);
    assert_eq!(scheduler.refusal().await.reason.label(), "purpose");
}

#[tokio::test]
async fn a_certificate_that_serves_both_sides_is_taken_for_its_kind() {
    let world = World::new();
    let forged = Forged::of(&["spiffe://weir.test/scheduler/brought"]).sign(&world, "brought");
    let scheduler = Scheduler::start(load(&forged), listen_limits(), None);
    let mut session = connect(
        &scheduler.address,
        world.credentials(PeerKind::Operator, "o"),
    )
    .await
    .unwrap();
    say(&mut session, "hello").await;
    assert_eq!(session.peer().identity.name().as_str(), "brought");
}

#[tokio::test]
async fn an_agent_whose_certificate_is_no_servers_says_so_and_lets_nobody_in() {
    let world = World::new();
    for (name, hosts, usages, said) in [
        // As they were issued before agents could be scraped.
        (
            "before",
            vec![],
            vec![ExtendedKeyUsagePurpose::ClientAuth],
            "is not made for server authentication",
        ),
        (
            "nameless",
            vec![],
            vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            "bears neither a DNS name nor an IP address to connect to",
        ),
    ] {
        let forged = Forged {
            uris: vec!["spiffe://weir.test/agent/n1"],
            hosts,
            usages,
        };
        let credentials = load(&forged.sign(&world, name));
        let error = credentials.borrow().current.check_serves().unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.remedy().contains("`weir certs issue agent"));

        let gate = Gate::with(credentials, ScrapeLimits::default());
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, address) = accepted.unwrap();
        // Something that could be a handshake, and the end.
        let mut client = client.unwrap();
        client.write_all(&[22]).await.unwrap();
        drop(client);
        assert!(within(gate.admit(stream, address)).await.is_none());
        let counts = gate.counts();
        assert!(counts.refused().any(|of| of == ("own_certificate", 1)));
    }
}
