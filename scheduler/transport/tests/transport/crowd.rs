//! Peers that say nothing, too many peers, peers that vanish.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_transport::connect::{ConnectError, ConnectLimits};
use weir_transport::listen::{ListenLimits, Reason};
use weir_transport::session::{CloseCode, Disconnect};
use weir_transport::{Address, Connector, PeerKind};

use crate::foreign;
use crate::world::{
    Words, World, connect, connect_limits, connector, listen_limits, loopback, say, served, told,
    within,
};

/// Forwards packets between clients' first peer and a server, until it is told to be silent.
struct Wire {
    address: Address,
    cut: Arc<AtomicBool>,
}

impl Wire {
    fn lay(server: SocketAddr) -> Self {
        let front = UdpSocket::bind(loopback()).unwrap();
        let back = UdpSocket::bind(loopback()).unwrap();
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap().into();
        let cut = Arc::new(AtomicBool::new(false));
        for socket in [&front, &back] {
            socket.set_nonblocking(true).unwrap();
        }
        let front = tokio::net::UdpSocket::from_std(front).unwrap();
        let back = tokio::net::UdpSocket::from_std(back).unwrap();
        let is_cut = Arc::clone(&cut);
        tokio::spawn(async move {
            let mut client = None;
            let (mut one, mut other) = (vec![0; 65536], vec![0; 65536]);
            loop {
                tokio::select! {
                    Ok((bytes, from)) = front.recv_from(&mut one) => {
                        client = Some(from);
                        if !is_cut.load(Ordering::SeqCst) {
                            back.send(&one[..bytes]).await.ok();
                        }
                    }
                    Ok(bytes) = back.recv(&mut other) => {
                        if let Some(client) = client && !is_cut.load(Ordering::SeqCst) {
                            front.send_to(&other[..bytes], client).await.ok();
                        }
                    }
                }
            }
        });
        Self { address, cut }
    }
}

/// Returns the first packet of a handshake, and sends no other.
async fn first_packet(world: &World) -> Vec<u8> {
    let trap = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let address: Address = trap.local_addr().unwrap().into();
    let config = foreign::client_config(&world.bundle(), None, &[b"weir/1"]);
    let connecting = tokio::spawn(async move { foreign::connect(config, &address).await });
    let mut packet = vec![0; 65536];
    let (bytes, _) = within(trap.recv_from(&mut packet)).await.unwrap();
    connecting.abort();
    packet.truncate(bytes);
    packet
}

#[tokio::test]
async fn who_begins_a_handshake_and_falls_silent_holds_up_nobody() {
    let world = World::new();
    let limits = ListenLimits {
        handshake_patience: Duration::from_secs(1),
        ..listen_limits()
    };
    let mut scheduler = world.scheduler_with(limits);
    let mut silent = Vec::new();
    for _ in 0..20 {
        let packet = first_packet(&world).await;
        let socket = UdpSocket::bind(loopback()).unwrap();
        socket
            .send_to(&packet, foreign::socket_address(&scheduler.address))
            .unwrap();
        silent.push(socket);
    }
    within(async {
        while scheduler.counters.handshakes() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    served(&scheduler.address, world.credentials(PeerKind::Agent, "n1")).await;
    for _ in 0..20 {
        let refused = scheduler.refusal().await;
        assert!(matches!(refused.reason, Reason::Slow { .. }), "{refused}");
    }
    within(async {
        while scheduler.counters.handshakes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_opens_no_stream_is_closed_and_holds_up_nobody() {
    let world = World::new();
    let limits = ListenLimits {
        stream_patience: Duration::from_millis(200),
        ..listen_limits()
    };
    let mut scheduler = world.scheduler_with(limits);
    let identity = foreign::identity(&world.issue(PeerKind::Framework, "mute"));
    let config = foreign::client_config(&world.bundle(), Some(identity), &[b"weir/1"]);
    let mute = foreign::connect(config, &scheduler.address).await.unwrap();
    served(&scheduler.address, world.credentials(PeerKind::Agent, "n1")).await;
    let quinn::ConnectionError::ApplicationClosed(close) = within(mute.closed()).await else {
        panic!("not closed by the scheduler");
    };
    assert_eq!(close.error_code.into_inner(), CloseCode::NoStream.number());
    let refused = scheduler.refusal().await;
    assert!(
        matches!(refused.reason, Reason::NoStream { .. }),
        "{refused}"
    );
    assert_eq!(
        refused.claimed,
        Some(world.identity(PeerKind::Framework, "mute"))
    );
}

#[tokio::test]
async fn noise_is_no_peer() {
    let world = World::new();
    let scheduler = world.scheduler();
    let noise = UdpSocket::bind(loopback()).unwrap();
    for length in [0, 1, 20, 1200, 1400] {
        for fill in [0x00, 0x40, 0xc0, 0xff] {
            noise
                .send_to(
                    &vec![fill; length],
                    foreign::socket_address(&scheduler.address),
                )
                .unwrap();
        }
    }
    let mut session = connect(&scheduler.address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap();
    say(&mut session, "served").await;
    assert_eq!(scheduler.counters.handshakes(), 0);
}

#[tokio::test]
async fn who_comes_when_it_is_full_is_told_so() {
    let world = World::new();
    let limits = ListenLimits {
        connections_max: 1,
        ..listen_limits()
    };
    let mut scheduler = world.scheduler_with(limits);
    let mut first = connect(&scheduler.address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap();
    say(&mut first, "served").await;
    let late = world.credentials(PeerKind::Agent, "n2");
    let error = connect(&scheduler.address, late.clone()).await.unwrap_err();
    let ConnectError::Failed {
        disconnect: Disconnect::Full { .. },
        ..
    } = &error
    else {
        panic!("{}", told(&error));
    };
    assert!(error.is_retryable());
    assert_eq!(
        scheduler.refusal().await.reason,
        Reason::Full { connections_max: 1 }
    );

    // A place that is given back is taken.
    within(first.finish()).await.unwrap();
    let mut second = within(async {
        loop {
            match connect(&scheduler.address, late.clone()).await {
                Ok(session) => return session,
                Err(error) => assert!(error.is_retryable(), "{}", told(&error)),
            }
        }
    })
    .await;
    say(&mut second, "served").await;
}

#[tokio::test]
async fn when_it_is_busy_addresses_prove_themselves() {
    let world = World::new();
    let limits = ListenLimits {
        handshakes_unproven_max: 0,
        ..listen_limits()
    };
    let scheduler = world.scheduler_with(limits);
    let mut session = connect(&scheduler.address, world.credentials(PeerKind::Agent, "n1"))
        .await
        .unwrap();
    say(&mut session, "served").await;
    assert_eq!(scheduler.counters.sent_away_to_prove(), 1);
}

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed_by_both() {
    let world = World::new();
    let idle = Duration::from_millis(1500);
    let keep_alive = Duration::from_millis(250);
    let mut scheduler = world.scheduler_with(ListenLimits {
        idle,
        keep_alive,
        ..listen_limits()
    });
    let wire = Wire::lay(foreign::socket_address(&scheduler.address));
    let limits = ConnectLimits {
        idle,
        keep_alive,
        ..connect_limits()
    };
    let connector = Connector::new(world.credentials(PeerKind::Agent, "n1"), limits);
    let mut session: Words = within(connector.connect(&wire.address)).await.unwrap();
    say(&mut session, "served").await;
    within(scheduler.accepted.recv()).await.unwrap();
    wire.cut.store(true, Ordering::SeqCst);
    let closed = within(session.link().closed()).await;
    assert_eq!(closed, Disconnect::Silence);
    assert!(closed.is_retryable());
    within(async {
        while scheduler.counters.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_quiet_peer_stays_connected() {
    let world = World::new();
    let idle = Duration::from_millis(1500);
    let keep_alive = Duration::from_millis(250);
    let scheduler = world.scheduler_with(ListenLimits {
        idle,
        keep_alive,
        ..listen_limits()
    });
    let limits = ConnectLimits {
        idle,
        keep_alive,
        ..connect_limits()
    };
    let connector = Connector::new(world.credentials(PeerKind::Agent, "n1"), limits);
    let mut session: Words = within(connector.connect(&scheduler.address)).await.unwrap();
    say(&mut session, "served").await;
    // Longer than the idle time, and nothing happens.
    let closed = tokio::time::timeout(idle * 2, session.link().closed()).await;
    assert!(closed.is_err(), "{closed:?}");
    say(&mut session, "still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_served_while_strangers_are_refused() {
    const CROWD: u64 = 18;
    const STRANGERS: u64 = CROWD / 3;
    let world = World::new();
    let stranger = World::new();
    crate::world::write_bundle(&stranger.bundle(), &[&world, &stranger]);
    let scheduler = world.scheduler();
    let good = Arc::new(connector(world.credentials(PeerKind::Agent, "n1")));
    let bad = Arc::new(connector(stranger.credentials(PeerKind::Agent, "n1")));
    let mut tasks = Vec::new();
    for number in 0..CROWD {
        let address = scheduler.address.clone();
        let (good, bad) = (Arc::clone(&good), Arc::clone(&bad));
        tasks.push(tokio::spawn(async move {
            if number % 3 == 0 {
                let result: Result<Words, _> = within(bad.connect(&address)).await;
                if let Ok(mut session) = result {
                    // Why is not asked here: the packet that says so may be lost in a crowd.
                    within(session.receive()).await.unwrap_err();
                }
            } else {
                let mut session: Words = within(good.connect(&address)).await.unwrap();
                for word in 0..5 {
                    say(&mut session, &format!("{number} {word}")).await;
                }
                within(session.finish()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        within(task).await.unwrap();
    }
    assert_eq!(scheduler.counters.accepted(), CROWD - STRANGERS);
    within(async {
        while scheduler.counters.refused_for("chain") < STRANGERS {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
