//! One framework on several connections, over real QUIC.

use weir_protocol::{
    CallId, Envelope as _, ErrorCode, FrameworkCall, FrameworkEvent, FrameworkId, Numbered, wire,
};
use weir_transport::session::{CloseCode, Disconnect};
use weir_transport::{PeerKind, Session};

use crate::node::greet;
use crate::world::{World, info, within};

/// A connection of a framework, on which nothing is said by itself.
struct Talk {
    session: Session<wire::FrameworkCall, wire::FrameworkEvent>,
    next_call: CallId,
}

impl Talk {
    async fn open(world: &World) -> Self {
        let (_, session) = greet(world, PeerKind::Framework, "ci").await;
        let next_call = CallId::FIRST;
        Self { session, next_call }
    }

    async fn subscribe(&mut self, id: Option<FrameworkId>, force: bool) -> FrameworkEvent {
        let call = FrameworkCall::Subscribe {
            framework: info("ci", "web"),
            id,
            force,
        };
        let id = self.next_call;
        self.next_call = id.next();
        let call = Numbered { id, call }.into_wire();
        within(self.session.send(&call)).await.unwrap();
        self.hear().await
    }

    async fn hear(&mut self) -> FrameworkEvent {
        let event = within(self.session.receive()).await.unwrap();
        FrameworkEvent::from_wire(event.expect("the conversation goes on")).unwrap()
    }
}

fn code(event: &FrameworkEvent) -> ErrorCode {
    match event {
        FrameworkEvent::Error(error) => error.failure.code,
        other => panic!("expected an error, found {other:?}"),
    }
}

#[tokio::test]
async fn the_older_connection_of_a_framework_stays_unless_force_is_used() {
    let world = World::running();
    let mut older = Talk::open(&world).await;
    let FrameworkEvent::Subscribed { id, .. } = older.subscribe(None, false).await else {
        panic!("it is the first");
    };
    let mut younger = Talk::open(&world).await;
    let refused = younger.subscribe(Some(id), false).await;
    assert_eq!(code(&refused), ErrorCode::AlreadySubscribed);
    // Nothing has changed for either, and the younger may ask again.
    assert!(matches!(
        older.subscribe(Some(id), false).await,
        FrameworkEvent::Subscribed { .. }
    ));
    let taken = younger.subscribe(Some(id), true).await;
    assert!(matches!(taken, FrameworkEvent::Subscribed { id: own, .. } if own == id));
    assert_eq!(code(&older.hear().await), ErrorCode::FrameworkFailedOver);
    let over = within(older.session.receive()).await;
    assert!(!matches!(over, Ok(Some(_))), "nothing follows");
    let why = within(older.session.link().closed()).await;
    let is_done = matches!(
        why,
        Disconnect::ByPeer {
            code: CloseCode::Done,
            ..
        }
    );
    assert!(is_done, "{why}");
}

#[tokio::test]
async fn a_framework_with_nothing_to_hear_hears_heartbeats() {
    let world = World::with_rules("[frameworks]\nheartbeat_ms = 1000\n");
    let mut framework = Talk::open(&world).await;
    let subscribed = framework.subscribe(None, false).await;
    let FrameworkEvent::Subscribed {
        heartbeat_interval, ..
    } = subscribed
    else {
        panic!("{subscribed:?}");
    };
    assert_eq!(heartbeat_interval.0, 1_000);
    for _ in 0..2 {
        assert_eq!(framework.hear().await, FrameworkEvent::Heartbeat);
    }
}
