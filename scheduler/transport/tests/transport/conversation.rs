//! What is said once both sides believe each other.

use std::time::Duration;

use quinn::Connection;
use tokio::sync::mpsc;
use weir_protocol::bounds::FRAME_BYTES_MAX;
use weir_protocol::wire::Hello;
use weir_transport::connect::ConnectLimits;
use weir_transport::listen::{Incoming, ListenLimits};
use weir_transport::session::{CloseCode, Disconnect, OutboxError, ReceiveError, SendError};
use weir_transport::{Address, Connector, Listener, PeerKind, Session};

use crate::foreign;
use crate::world::{Words, World, connect_limits, listen_limits, loopback, told, within};

/// Both ends of one connection.
struct Pair {
    world: World,
    address: Address,
    listener: Listener,
    connector: Connector,
}

impl Pair {
    fn new() -> Self {
        Self::with(listen_limits(), connect_limits())
    }

    fn with(listen: ListenLimits, connect: ConnectLimits) -> Self {
        let world = World::new();
        let scheduler = world.credentials(PeerKind::Scheduler, "main");
        let listener = Listener::bind(loopback(), scheduler, listen).unwrap();
        let agent = world.credentials(PeerKind::Agent, "n1");
        Self {
            address: listener.local_address().into(),
            world,
            listener,
            connector: Connector::new(agent, connect),
        }
    }

    /// Connects and says one word, so that both ends are there: agent's, scheduler's.
    async fn talk(&mut self) -> (Words, Words) {
        let mut agent: Words = within(self.connector.connect(&self.address)).await.unwrap();
        within(agent.send(&"first".to_owned())).await.unwrap();
        let mut scheduler: Words = self.accept().await.into_session();
        assert_eq!(hear(&mut scheduler).await, "first");
        (agent, scheduler)
    }

    async fn accept(&mut self) -> Incoming {
        within(self.listener.accept()).await.unwrap()
    }

    /// Connects with plain QUIC, for bytes that no session would send.
    async fn foreign(&mut self, bytes: &[u8], finish: bool) -> (Connection, Words) {
        let identity = foreign::identity(&self.world.issue(PeerKind::Framework, "odd"));
        let config = foreign::client_config(&self.world.bundle(), Some(identity), &[b"weir/1"]);
        let connection = foreign::connect(config, &self.address).await.unwrap();
        let (mut send, receive) = within(connection.open_bi()).await.unwrap();
        within(send.write_all(bytes)).await.unwrap();
        if finish {
            send.finish().unwrap();
            drop(receive);
        } else {
            // Neither end may finish or stop by being dropped.
            let keep = connection.clone();
            tokio::spawn(async move {
                let held = (send, receive);
                keep.closed().await;
                drop(held);
            });
        }
        (connection, self.accept().await.into_session())
    }
}

async fn hear(session: &mut Words) -> String {
    within(session.receive())
        .await
        .unwrap()
        .expect("the conversation has ended")
}

#[tokio::test]
async fn hello_comes_first_and_then_other_messages() {
    let mut pair = Pair::new();
    let mut agent: Session<Hello, Hello> =
        within(pair.connector.connect(&pair.address)).await.unwrap();
    let hello = Hello {
        software: "a".to_owned(),
        ..Hello::default()
    };
    within(agent.send(&hello)).await.unwrap();
    let mut agent = agent.continue_with::<String, String>();
    // Sent before the answer: it waits behind the Hello, and is read as what it is.
    within(agent.send(&"early".to_owned())).await.unwrap();
    let mut scheduler: Session<Hello, Hello> = pair.accept().await.into_session();
    assert_eq!(within(scheduler.receive()).await.unwrap(), Some(hello));
    let mut scheduler = scheduler.continue_with::<String, String>();
    assert_eq!(hear(&mut scheduler).await, "early");
}

#[tokio::test]
async fn who_finishes_is_heard_to_the_end() {
    let mut pair = Pair::new();
    let (mut agent, mut scheduler) = pair.talk().await;
    for number in 0..100 {
        within(agent.send(&format!("word {number}"))).await.unwrap();
    }
    let finished = tokio::spawn(agent.finish());
    for number in 0..100 {
        assert_eq!(hear(&mut scheduler).await, format!("word {number}"));
    }
    assert_eq!(within(scheduler.receive()).await.unwrap(), None);
    within(finished).await.unwrap().unwrap();
    let closed = within(scheduler.link().closed()).await;
    assert!(closed.is_done(), "{closed}");
}

#[tokio::test]
async fn an_answer_that_refuses_is_read_although_the_connection_is_closed() {
    let mut pair = Pair::new();
    let (mut agent, mut scheduler) = pair.talk().await;
    within(scheduler.send(&"refused, because".to_owned()))
        .await
        .unwrap();
    within(scheduler.finish()).await.unwrap();
    within(agent.link().closed()).await;
    assert_eq!(hear(&mut agent).await, "refused, because");
}

#[tokio::test]
async fn who_closes_gives_a_code_and_a_reason() {
    let mut pair = Pair::new();
    let (mut agent, scheduler) = pair.talk().await;
    scheduler.close(
        CloseCode::Superseded,
        format!("by a newer one{}", "…".repeat(500)),
    );
    let error = within(agent.receive()).await.unwrap_err();
    let ReceiveError::Disconnected(Disconnect::ByPeer { code, reason }) = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(*code, CloseCode::Superseded);
    assert!(reason.starts_with("by a newer one…"), "{reason}");
    let error = within(agent.send(&"late".to_owned())).await.unwrap_err();
    assert!(
        matches!(error, SendError::Disconnected(_)),
        "{}",
        told(&error)
    );
    let here = within(scheduler.link().closed()).await;
    assert!(
        matches!(
            here,
            Disconnect::Here {
                code: CloseCode::Superseded,
                ..
            }
        ),
        "{here}"
    );
}

#[tokio::test]
async fn a_listener_that_closes_tells_everyone() {
    let mut pair = Pair::new();
    let (mut agent, _scheduler) = pair.talk().await;
    within(pair.listener.close(CloseCode::ShuttingDown, "upgrade")).await;
    let error = within(agent.receive()).await.unwrap_err();
    let ReceiveError::Disconnected(disconnect) = &error else {
        panic!("{}", told(&error));
    };
    assert_eq!(
        disconnect.to_string(),
        "closed by the peer: the process stops (upgrade)"
    );
    assert!(disconnect.is_retryable());
}

#[tokio::test]
async fn the_last_handle_closes() {
    let mut pair = Pair::new();
    let (agent, scheduler) = pair.talk().await;
    let (sender, receiver) = agent.split();
    drop(sender);
    let link = receiver.link().clone();
    drop(receiver);
    assert!(link.close_reason().is_none(), "a link keeps the connection");
    drop(link);
    let closed = within(scheduler.link().closed()).await;
    assert!(closed.is_done(), "{closed}");
    within(pair.connector.settle()).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_here_and_the_session_goes_on() {
    let mut pair = Pair::new();
    let (mut agent, mut scheduler) = pair.talk().await;
    let error = within(agent.send(&"x".repeat(FRAME_BYTES_MAX)))
        .await
        .unwrap_err();
    assert!(
        told(&error).contains("a frame of 1048580 bytes, and at most 1048576"),
        "{}",
        told(&error)
    );
    // The largest that fits: a tag, and three bytes of length.
    let largest = "y".repeat(FRAME_BYTES_MAX - 4);
    let (sent, heard) = tokio::join!(agent.send(&largest), scheduler.receive());
    sent.unwrap();
    assert_eq!(heard.unwrap().unwrap().len(), largest.len());
    let outbox = agent.split().0.into_outbox(4);
    assert!(matches!(
        outbox.try_send("x".repeat(FRAME_BYTES_MAX)),
        Err(OutboxError::TooLarge(_))
    ));
    within(outbox.send("fits".to_owned())).await.unwrap();
    assert_eq!(hear(&mut scheduler).await, "fits");
}

#[tokio::test]
async fn what_is_no_frame_or_no_message_closes_with_what_was_wrong() {
    let mut pair = Pair::new();
    for (name, bytes, finish, expected) in [
        (
            "odd-length",
            &b"\x00\x10\x00\x01"[..],
            false,
            "a frame of 1048577 bytes, and at most 1048576 are taken",
        ),
        (
            "http",
            b"GET / HTTP/1.1\r\n\r\n",
            false,
            "a frame of 1195725856 bytes",
        ),
        (
            "cut length",
            b"\0\0",
            true,
            "the stream ends after 2 of the 4 bytes",
        ),
        (
            "cut frame",
            b"\0\0\0\x09abc",
            true,
            "the stream ends after 3 of the 9 bytes",
        ),
        (
            "no message",
            b"\0\0\0\x02\xff\xff",
            false,
            "a frame of 2 bytes cannot be read as `StringValue`",
        ),
    ] {
        let (connection, mut session) = pair.foreign(bytes, finish).await;
        let error = within(session.receive()).await.unwrap_err();
        assert!(told(&error).contains(expected), "{name}: {}", told(&error));
        let closed = within(connection.closed()).await;
        let quinn::ConnectionError::ApplicationClosed(close) = &closed else {
            panic!("{name}: {closed}");
        };
        assert_eq!(
            close.error_code.into_inner(),
            CloseCode::Garbage.number(),
            "{name}"
        );
        assert!(closed.to_string().contains(expected), "{name}: {closed}");
        std::fs::remove_dir_all(pair.world.path("certs")).unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_no_garbage() {
    let mut pair = Pair::new();
    let identity = foreign::identity(&pair.world.issue(PeerKind::Framework, "odd"));
    let config = foreign::client_config(&pair.world.bundle(), Some(identity), &[b"weir/1"]);
    let connection = foreign::connect(config, &pair.address).await.unwrap();
    let (mut send, _receive) = within(connection.open_bi()).await.unwrap();
    within(send.write_all(b"\0\0\0\x09abc")).await.unwrap();
    let mut session: Words = pair.accept().await.into_session();
    send.reset(quinn::VarInt::from_u32(11)).unwrap();
    let error = within(session.receive()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ReceiveError::GivenUp {
                code: CloseCode::Internal
            }
        ),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_disconnected() {
    let limits = ListenLimits {
        stall: Duration::from_millis(100),
        ..listen_limits()
    };
    let mut pair = Pair::with(limits, connect_limits());
    let (agent, scheduler) = pair.talk().await;
    let (sender, _receiver) = scheduler.split();
    let outbox = sender.into_outbox(2);
    let word = "x".repeat(FRAME_BYTES_MAX / 2);
    let full = loop {
        match outbox.try_send(word.clone()) {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            full,
            OutboxError::Full { messages_max: 2 } | OutboxError::Disconnected
        ),
        "{full}"
    );
    let closed = within(agent.link().closed()).await;
    assert!(
        matches!(
            closed,
            Disconnect::ByPeer {
                code: CloseCode::NotReading,
                ..
            }
        ),
        "{closed}"
    );
    let closed = within(outbox.link().closed()).await;
    assert!(
        matches!(
            closed,
            Disconnect::Here {
                code: CloseCode::NotReading,
                ..
            }
        ),
        "{closed}"
    );
    let late = within(async {
        loop {
            match outbox.try_send("late".to_owned()) {
                Err(OutboxError::Disconnected) => return,
                Ok(()) | Err(OutboxError::Full { .. } | OutboxError::TooLarge(_)) => {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    late.await;
}

#[tokio::test]
async fn an_outbox_that_is_dropped_sends_what_it_holds() {
    let mut pair = Pair::new();
    let (agent, mut scheduler) = pair.talk().await;
    let (sender, _receiver) = agent.split();
    let outbox = sender.into_outbox(2000);
    let other = outbox.clone();
    for number in 0..1000 {
        outbox.try_send(format!("word {number}")).unwrap();
    }
    drop((outbox, other));
    for number in 0..1000 {
        assert_eq!(hear(&mut scheduler).await, format!("word {number}"));
    }
    assert_eq!(within(scheduler.receive()).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_dropped_half_way_tears_no_frame() {
    // Small windows, so that a large word takes many turns.
    let listen = ListenLimits {
        receive_bytes_max: 4096,
        ..listen_limits()
    };
    let connect = ConnectLimits {
        send_bytes_max: 4096,
        ..connect_limits()
    };
    let mut pair = Pair::with(listen, connect);
    let (mut agent, mut scheduler) = pair.talk().await;
    let large = "x".repeat(300_000);
    // Given up after a moment, again and again, on both sides.
    let (tell, mut interrupted) = mpsc::unbounded_channel();
    let sending = tokio::spawn({
        let large = large.clone();
        async move {
            tokio::select! {
                biased;
                sent = agent.send(&large) => sent.unwrap(),
                () = tokio::task::yield_now() => {}
            }
            tell.send(()).unwrap();
            while tokio::time::timeout(Duration::from_millis(1), agent.flush())
                .await
                .is_err()
            {}
            agent.send(&"after".to_owned()).await.unwrap();
            agent.finish().await.unwrap();
        }
    });
    within(interrupted.recv()).await.unwrap();
    let mut heard = Vec::new();
    within(async {
        loop {
            match tokio::time::timeout(Duration::from_millis(1), scheduler.receive()).await {
                Ok(Ok(Some(word))) => heard.push(word),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => panic!("{}", told(&error)),
                Err(_interrupted) => {}
            }
        }
    })
    .await;
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0], large);
    assert_eq!(heard[1], "after");
    within(sending).await.unwrap();
}

#[tokio::test]
async fn a_sender_that_is_dropped_inside_a_frame_gives_the_stream_up() {
    let listen = ListenLimits {
        receive_bytes_max: 4096,
        ..listen_limits()
    };
    let connect = ConnectLimits {
        send_bytes_max: 4096,
        ..connect_limits()
    };
    let mut pair = Pair::with(listen, connect);
    let (agent, mut scheduler) = pair.talk().await;
    let (mut sender, _receiver) = agent.split();
    let large = "x".repeat(300_000);
    tokio::select! {
        biased;
        _ = sender.send(&large) => panic!("it cannot be through yet"),
        () = tokio::task::yield_now() => {}
    }
    drop(sender);
    let error = within(scheduler.receive()).await.unwrap_err();
    assert!(
        matches!(error, ReceiveError::GivenUp { .. }),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn many_messages_at_once_all_arrive() {
    let mut pair = Pair::new();
    let (agent, mut scheduler) = pair.talk().await;
    let words: Vec<String> = (0..5000).map(|number| format!("word {number}")).collect();
    let all = words.clone();
    let (mut sender, _receiver) = agent.split();
    let sending = tokio::spawn(async move {
        sender.send_all(&all).await.unwrap();
        sender.finish().await.unwrap();
    });
    for word in words {
        assert_eq!(hear(&mut scheduler).await, word);
    }
    assert_eq!(within(scheduler.receive()).await.unwrap(), None);
    within(sending).await.unwrap();
}

#[tokio::test]
async fn a_connection_says_how_it_goes() {
    let mut pair = Pair::new();
    let (mut agent, mut scheduler) = pair.talk().await;
    within(scheduler.send(&"answer".to_owned())).await.unwrap();
    assert_eq!(hear(&mut agent).await, "answer");
    let statistics = agent.link().statistics();
    assert!(statistics.bytes_sent > 0 && statistics.bytes_received > 0);
    assert!(statistics.packets_sent > 0);
    assert!(statistics.mtu_bytes >= 1200);
    assert!(statistics.rtt > Duration::ZERO);
}

#[tokio::test]
async fn no_second_stream_can_be_opened() {
    let mut pair = Pair::new();
    let (connection, mut session) = pair.foreign(b"\0\0\0\x04\x0a\x02hi", false).await;
    assert_eq!(hear(&mut session).await, "hi");
    let second = tokio::time::timeout(Duration::from_millis(50), connection.open_bi()).await;
    assert!(second.is_err(), "a second stream was opened");
    let one_way = tokio::time::timeout(Duration::from_millis(50), connection.open_uni()).await;
    assert!(one_way.is_err(), "a stream in one direction was opened");
    assert_eq!(connection.max_datagram_size(), None, "datagrams are taken");
}

#[tokio::test]
async fn another_connector_for_the_same_identity_is_another_connection() {
    let mut pair = Pair::new();
    let (mut first, mut at_first) = pair.talk().await;
    let (mut second, mut at_second) = pair.talk().await;
    say_across(&mut first, &mut at_first).await;
    say_across(&mut second, &mut at_second).await;
    assert_eq!(first.peer(), second.peer());
    assert_eq!(at_first.peer().identity, at_second.peer().identity);
}

async fn say_across(from: &mut Words, to: &mut Words) {
    within(from.send(&"across".to_owned())).await.unwrap();
    assert_eq!(hear(to).await, "across");
}
