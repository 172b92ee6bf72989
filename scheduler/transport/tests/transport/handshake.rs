//! Who is taken and who is refused, and what each side says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use weir_transport::PeerKind;
use weir_transport::check::Check;
use weir_transport::connect::ConnectError;
use weir_transport::listen::Reason;
use weir_transport::session::{Disconnect, ReceiveError, Refusal};

use crate::foreign;
use crate::world::{Words, World, connect, load, say, told, within, write_bundle};

/// Hears that this side was refused: the first receive fails.
pub(crate) async fn hear_refusal(mut session: Words) -> Refusal {
    let error = within(session.receive()).await.unwrap_err();
    let ReceiveError::Disconnected(Disconnect::RefusedByPeer(refusal)) = error else {
        panic!("{}", told(&error));
    };
    refusal
}

/// Connects, and returns how the scheduler refused: some refusals end the handshake, most come later.
pub(crate) async fn refused(result: Result<Words, ConnectError>) -> Refusal {
    match result {
        Ok(session) => hear_refusal(session).await,
        Err(ConnectError::Refused { refusal, .. }) => refusal,
        Err(error) => panic!("{}", told(&error)),
    }
}

#[tokio::test]
async fn every_kind_of_peer_is_known_by_its_certificate() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    for kind in [PeerKind::Agent, PeerKind::Framework, PeerKind::Operator] {
        let credentials = world.credentials(kind, "n1");
        let serial = credentials.borrow().current.serial().clone();
        let mut session = connect(&scheduler.address, credentials).await.unwrap();
        say(&mut session, "hello").await;
        assert_eq!(
            session.peer().identity,
            world.identity(PeerKind::Scheduler, "main")
        );
        let peer = within(scheduler.accepted.recv()).await.unwrap();
        assert_eq!(peer.identity, world.identity(kind, "n1"));
        assert_eq!(peer.serial, serial);
        assert!(peer.address.ip().is_loopback());
    }
    assert_eq!(scheduler.counters.accepted(), 3);
    assert_eq!(
        scheduler
            .counters
            .refused()
            .map(|(_, count)| count)
            .sum::<u64>(),
        0
    );
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let config = foreign::client_config(&world.bundle(), None, &[b"weir/1"]);
    let closed = match foreign::connect(config, &scheduler.address).await {
        Ok(connection) => within(connection.closed()).await,
        Err(error) => error,
    };
    assert!(closed.to_string().contains("certificate"), "{closed}");
    let refused = scheduler.refusal().await;
    assert!(matches!(
        refused.reason,
        Reason::Check {
            check: Check::Presence,
            ..
        }
    ));
    assert_eq!(scheduler.counters.refused_for("presence"), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let world = World::new();
    let other = World::new();
    let mut scheduler = world.scheduler();
    // It believes the scheduler, and is not believed.
    write_bundle(&other.bundle(), &[&world, &other]);
    let credentials = other.credentials(PeerKind::Agent, "n1");
    let refusal = refused(connect(&scheduler.address, credentials).await).await;
    assert_eq!(refusal.check, Check::Chain);
    let refused = scheduler.refusal().await;
    let Reason::Check { check, .. } = refused.reason else {
        panic!("{refused}");
    };
    assert_eq!(check, Check::Chain);
    assert_eq!(refused.claimed, Some(other.identity(PeerKind::Agent, "n1")));
}

#[tokio::test]
async fn a_scheduler_of_another_authority_is_not_believed_and_hears_why() {
    let world = World::new();
    let other = World::new();
    let mut scheduler = world.scheduler();
    let credentials = other.credentials(PeerKind::Agent, "n1");
    let error = connect(&scheduler.address, credentials).await.unwrap_err();
    let ConnectError::NotBelieved { finding, .. } = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(finding.check, Check::Chain);
    assert_eq!(
        finding.claimed,
        Some(world.identity(PeerKind::Scheduler, "main"))
    );
    assert!(error.remedy().contains("bundle"), "{}", error.remedy());
    let refused = scheduler.refusal().await;
    let Reason::RefusedUs(refusal) = refused.reason else {
        panic!("{refused}");
    };
    assert_eq!(refusal.check, Check::Chain);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_on_both_sides() {
    let world = World::new();
    let agent = world.credentials(PeerKind::Agent, "n1");
    world.revoke(PeerKind::Agent, "n1");
    let mut scheduler = world.scheduler();
    let refusal = refused(connect(&scheduler.address, agent).await).await;
    assert_eq!(refusal.check, Check::Revocation);
    assert_eq!(refusal.alert, 44);
    let refused = scheduler.refusal().await;
    assert_eq!(refused.reason.label(), "revocation");
    assert_eq!(refused.claimed, Some(world.identity(PeerKind::Agent, "n1")));

    // And the scheduler's own.
    world.revoke(PeerKind::Scheduler, "main");
    let agent = world.credentials(PeerKind::Agent, "n2");
    let error = connect(&scheduler.address, agent).await.unwrap_err();
    let ConnectError::NotBelieved { finding, .. } = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(finding.check, Check::Revocation);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused_with_both_named() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let agent = world.issue(PeerKind::Agent, "n1");
    for (offer, shown) in [
        (
            &[&b"h3"[..], b"weir/0"][..],
            "the peer offers `h3`, `weir/0`, and this side speaks `weir/1`",
        ),
        (
            &[][..],
            "the peer offers none, and this side speaks `weir/1`",
        ),
    ] {
        let config =
            foreign::client_config(&world.bundle(), Some(foreign::identity(&agent)), offer);
        let error = foreign::connect(config, &scheduler.address)
            .await
            .unwrap_err();
        assert!(
            matches!(error, quinn::ConnectionError::ConnectionClosed(_)),
            "{error}"
        );
        let refused = scheduler.refusal().await;
        let Reason::Check { check, what } = refused.reason else {
            panic!("{refused}");
        };
        assert_eq!((check, what.as_str()), (Check::Protocol, shown));
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_is_named_as_such() {
    let world = World::new();
    let identity = foreign::identity(&world.issue(PeerKind::Scheduler, "main"));
    let (_server, address) = foreign::server(identity, &[b"h3"]);
    let error = connect(&address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap_err();
    let ConnectError::Refused { refusal, .. } = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(refusal.check, Check::Protocol);
    assert!(error.remedy().contains("address"), "{}", error.remedy());
}

#[tokio::test]
async fn the_name_that_was_asked_for_must_stand_in_the_certificate() {
    let world = World::new();
    let scheduler = world.scheduler();
    // It bears 127.0.0.1, which `localhost` resolves to, but not that name.
    let asked = format!("localhost:{}", scheduler.address.port)
        .parse()
        .unwrap();
    let limits = weir_transport::connect::ConnectLimits {
        handshake_patience: Duration::from_secs(10),
        ..Default::default()
    };
    let credentials = world.credentials(PeerKind::Agent, "n1");
    let connector = weir_transport::Connector::new(credentials, limits);
    let result: Result<Words, _> = within(connector.connect(&asked)).await;
    let error = result.unwrap_err();
    let ConnectError::NotBelieved { finding, .. } = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(finding.check, Check::Name);
    assert!(
        told(&error).contains("certificate not valid for name \"localhost\""),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn the_other_side_hears_of_a_name_that_does_not_match() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let asked = format!("localhost:{}", scheduler.address.port)
        .parse()
        .unwrap();
    let connector = weir_transport::Connector::new(
        world.credentials(PeerKind::Agent, "n1"),
        weir_transport::connect::ConnectLimits {
            handshake_patience: Duration::from_secs(10),
            ..Default::default()
        },
    );
    let result: Result<Words, _> = within(connector.connect(&asked)).await;
    assert!(result.is_err());
    let refused = scheduler.refusal().await;
    let Reason::RefusedUs(refusal) = refused.reason else {
        panic!("{refused}");
    };
    assert_eq!(refusal.check, Check::Name);
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_said_so() {
    let world = World::new();
    // Bound and silent.
    let socket = std::net::UdpSocket::bind(crate::world::loopback()).unwrap();
    let address = socket.local_addr().unwrap().into();
    let limits = weir_transport::connect::ConnectLimits {
        handshake_patience: Duration::from_millis(100),
        ..Default::default()
    };
    let connector =
        weir_transport::Connector::new(world.credentials(PeerKind::Agent, "n1"), limits);
    let result: Result<Words, _> = within(connector.connect(&address)).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error, ConnectError::NoAnswer { .. }),
        "{}",
        told(&error)
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_so() {
    let world = World::new();
    let address = "no-such-host.invalid:5060".parse().unwrap();
    let error = connect(&address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Resolve { .. }
                | ConnectError::ResolveSlow { .. }
                | ConnectError::NoAddresses { .. }
        ),
        "{}",
        told(&error)
    );
    assert!(error.is_retryable());
}

/// Counts what a client could resume with.
#[derive(Debug)]
struct Tickets {
    kept: AtomicUsize,
    store: ClientSessionMemoryCache,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.store.set_kx_hint(name, group);
    }
    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.kx_hint(name)
    }
    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.store.set_tls12_session(name, value);
    }
    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.store.tls12_session(name)
    }
    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.store.remove_tls12_session(name);
    }
    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept.fetch_add(1, Ordering::SeqCst);
        self.store.insert_tls13_ticket(name, value);
    }
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.take_tls13_ticket(name)
    }
}

#[tokio::test]
async fn a_client_that_would_resume_is_given_nothing_to_and_is_judged_again() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let agent = world.issue(PeerKind::Agent, "n1");
    let tickets = Arc::new(Tickets {
        kept: AtomicUsize::new(0),
        store: ClientSessionMemoryCache::new(8),
    });
    let mut config = foreign::client_config(
        &world.bundle(),
        Some(foreign::identity(&agent)),
        &[b"weir/1"],
    );
    config.resumption = Resumption::store(Arc::clone(&tickets) as Arc<dyn ClientSessionStore>);
    config.enable_early_data = true;
    for _ in 0..2 {
        let connection = foreign::connect(config.clone(), &scheduler.address)
            .await
            .unwrap();
        let (mut send, mut receive) = within(connection.open_bi()).await.unwrap();
        // A frame with a text of two letters, said back: the handshake is surely over then.
        let frame = b"\0\0\0\x04\x0a\x02hi";
        within(send.write_all(frame)).await.unwrap();
        let mut heard = [0; 8];
        within(receive.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, frame);
        within(scheduler.accepted.recv()).await.unwrap();
    }
    assert_eq!(tickets.kept.load(Ordering::SeqCst), 0);

    world.revoke(PeerKind::Agent, "n1");
    within(scheduler.reloader.as_ref().unwrap().reload())
        .await
        .unwrap();
    let closed = match foreign::connect(config, &scheduler.address).await {
        Ok(connection) => within(connection.closed()).await,
        Err(error) => error,
    };
    assert!(closed.to_string().contains("Revoked"), "{closed}");
}

#[tokio::test]
async fn a_client_that_connects_twice_is_refused_once_it_is_revoked() {
    let world = World::new();
    let mut scheduler = world.scheduler();
    let agent = world.issue(PeerKind::Agent, "n1");
    let connector = crate::world::connector(load(&agent));
    for _ in 0..2 {
        let mut session: Words = within(connector.connect(&scheduler.address)).await.unwrap();
        say(&mut session, "again").await;
    }
    world.revoke(PeerKind::Agent, "n1");
    within(scheduler.reloader.as_ref().unwrap().reload())
        .await
        .unwrap();
    let refusal = refused(within(connector.connect(&scheduler.address)).await).await;
    assert_eq!(refusal.check, Check::Revocation);
    assert_eq!(scheduler.refusal().await.reason.label(), "revocation");
}
