//! Who and what is refused, and what they are told.

use weir_client::Event;
use weir_protocol::bounds::RECONCILE_MAX;
use weir_protocol::{
    AgentEvent, CallId, Envelope as _, ErrorCode, FrameworkCall, FrameworkEvent, HelloAnswer,
    Numbered, TaskId, TaskQuery, wire,
};
use weir_resources::Role;
use weir_scheduler::daemon::chain;
use weir_transport::session::{CloseCode, Disconnect};
use weir_transport::{PeerKind, Session};

use crate::conversations::{heard, launch, offered, task};
use crate::node::{Kept, Node, greet};
use crate::world::{World, info, within};

const RULES: &str = r#"
[access]
otherwise = "refuse"

[[access.frameworks]]
principals = ["ci"]
roles = ["web"]

[[access.operators]]
principals = ["ann"]
powers = ["list"]
"#;

#[tokio::test]
async fn the_rules_of_access_hold_and_change_at_a_signal() {
    let mut world = World::with_rules(RULES);
    let mut operator = world.operator("ann");
    within(operator.roles()).await.unwrap();
    let role = Role::new("web").unwrap();
    let weight = weir_protocol::operator::Weight::ONE;
    let error = within(operator.set_weight(role.clone(), weight))
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("operator `ann`"),
        "{}",
        chain(&error)
    );
    assert!(within(world.operator("bob").roles()).await.is_err());

    let mut framework = world.framework("ci", "web");
    let _node = Node::register(&world, "n1", Kept::default()).await;
    let offer = offered(&mut framework).await;
    let mut as_root = task("t-1");
    as_root.command.user = Some("root".parse().unwrap());
    framework
        .call(launch("op-1", &offer, vec![as_root]))
        .await
        .unwrap();
    let outcome = crate::conversations::answered(&mut framework, "op-1").await;
    let weir_protocol::OperationOutcome::Failed(failure) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.code, ErrorCode::Unauthorized);

    world.set_rules("");
    world.signal("HUP");
    within(async {
        while operator.set_weight(role.clone(), weight).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_framework_of_another_role_is_told_why_it_may_not_subscribe() {
    let world = World::with_rules(RULES);
    let mut framework = world.framework("ci", "db");
    let error = within(async {
        loop {
            match framework.next().await {
                Ok(Event::Subscribed { .. }) => panic!("it was let in"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(chain(&error).contains("role `db`"), "{}", chain(&error));
}

#[tokio::test]
async fn a_call_that_makes_no_sense_is_answered_and_the_conversation_goes_on() {
    let world = World::running();
    let (_, mut session) =
        greet::<wire::FrameworkCall, wire::FrameworkEvent>(&world, PeerKind::Framework, "ci").await;
    let nonsense = wire::FrameworkCall {
        call_id: 7,
        call: None,
    };
    for _ in 0..2 {
        within(session.send(&nonsense)).await.unwrap();
        let answer = within(session.receive()).await.unwrap().unwrap();
        let FrameworkEvent::Error(error) = FrameworkEvent::from_wire(answer).unwrap() else {
            panic!("no error");
        };
        assert_eq!(error.call.map(|call| call.0.get()), Some(7));
        assert!(!error.failure.remedy.is_empty());
    }
    assert_eq!(
        world.metric("weir_scheduler_session_refused_calls_total"),
        2.0
    );
    // Without end it is not answered.
    let why = within(async {
        loop {
            if session.send(&nonsense).await.is_err() {
                break;
            }
            if !matches!(session.receive().await, Ok(Some(_))) {
                break;
            }
        }
        session.link().closed().await
    })
    .await;
    assert!(why.to_string().contains("made no sense"), "{why}");
}

#[tokio::test]
async fn what_is_no_message_closes_the_connection() {
    let world = World::running();
    let (_, session) =
        greet::<wire::AgentCall, wire::AgentEvent>(&world, PeerKind::Agent, "n1").await;
    // Texts where calls are expected: another field 1, of another type.
    let mut session: Session<String, wire::AgentEvent> = session.continue_with();
    within(session.send(&"garbage".to_owned())).await.unwrap();
    let why = within(session.link().closed()).await;
    assert!(why.to_string().contains("no message"), "{why}");
    // Others are served all the same.
    drop(Node::register(&world, "n2", Kept::default()).await);
}

#[tokio::test]
async fn who_speaks_before_it_is_registered_is_told_so() {
    let world = World::running();
    let (_, mut session) =
        greet::<wire::AgentCall, wire::AgentEvent>(&world, PeerKind::Agent, "n1").await;
    let call = wire::AgentCall {
        call_id: 1,
        call: Some(wire::agent_call::Call::Unregister(
            wire::agent_call::Unregister {},
        )),
    };
    within(session.send(&call)).await.unwrap();
    let answer = within(session.receive()).await.unwrap().unwrap();
    let AgentEvent::Error(error) = AgentEvent::from_wire(answer).unwrap() else {
        panic!("no error");
    };
    assert_eq!(error.failure.code, ErrorCode::NotSubscribed);
}

#[tokio::test]
async fn one_identity_has_so_many_connections_and_no_more() {
    let world = World::running();
    let mut open = Vec::new();
    let refused = within(async {
        loop {
            let (answer, session) =
                greet::<wire::AgentCall, wire::AgentEvent>(&world, PeerKind::Agent, "n1").await;
            match answer {
                HelloAnswer::Welcome(_) => open.push(session),
                HelloAnswer::Refused(refused) => return refused,
            }
        }
    })
    .await;
    assert_eq!(refused.failure.code, ErrorCode::LimitReached);
    assert_eq!(open.len(), 4);
    // One that goes makes room.
    open.pop().unwrap().close(CloseCode::Done, "");
    within(async {
        loop {
            let (answer, session) =
                greet::<wire::AgentCall, wire::AgentEvent>(&world, PeerKind::Agent, "n1").await;
            if matches!(answer, HelloAnswer::Welcome(_)) {
                drop(session);
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_frame_beyond_the_bound_is_not_even_sent() {
    let world = World::running();
    let (_, session) =
        greet::<wire::OperatorCall, wire::OperatorAnswer>(&world, PeerKind::Operator, "ann").await;
    let mut session: Session<Vec<u8>, wire::OperatorAnswer> = session.continue_with();
    let error = within(session.send(&vec![0; 2 * 1024 * 1024]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[tokio::test]
async fn a_framework_cannot_use_what_was_offered_to_another() {
    let world = World::running();
    let mut owner = world.framework("ci", "web");
    drop(Node::register(&world, "n0", Kept::default()).await);
    let _node = Node::register(&world, "n1", Kept::default()).await;
    let offer = offered(&mut owner).await;
    let mut thief = world.framework("thief", "web");
    let subscribed = |event| matches!(event, Event::Subscribed { .. }).then_some(());
    heard(&mut thief, subscribed).await;
    thief
        .call(launch("op-1", &offer, vec![task("t-1")]))
        .await
        .unwrap();
    let refused = |event| match event {
        Event::Refused { failure, .. } => Some(failure.code),
        Event::Operation { outcome, .. } => match outcome {
            weir_protocol::OperationOutcome::Failed(failure) => Some(failure.code),
            other => panic!("{other:?}"),
        },
        _ => None,
    };
    assert_eq!(heard(&mut thief, refused).await, ErrorCode::InvalidOffers);
}

#[tokio::test]
async fn who_does_not_read_is_disconnected_once_too_much_waits_for_them() {
    let world = World::running();
    let (_, mut session) =
        greet::<wire::FrameworkCall, wire::FrameworkEvent>(&world, PeerKind::Framework, "ci").await;
    let mut id = CallId::FIRST;
    let mut say = async |call| {
        let call = Numbered { id, call };
        id = id.next();
        session.send(&call.into_wire()).await
    };
    let subscribe = FrameworkCall::Subscribe {
        framework: info("ci", "web"),
        id: None,
        force: false,
    };
    within(say(subscribe)).await.unwrap();
    // Each of them is answered, whether it is known or not; nobody reads what is said of it.
    let tasks = (0..RECONCILE_MAX).map(|number| TaskQuery {
        task: TaskId::new(format!("t-{number}")).unwrap(),
        agent: None,
    });
    let reconcile = FrameworkCall::Reconcile {
        tasks: tasks.collect(),
        operations: Vec::new(),
    };
    within(async { while say(reconcile.clone()).await.is_ok() {} }).await;
    let why = within(session.link().closed()).await;
    let Disconnect::ByPeer { code, reason } = why else {
        panic!("{why}");
    };
    assert_eq!(code, CloseCode::NotReading);
    assert!(reason.contains("read faster"), "{reason}");
    assert_eq!(
        world.metric("weir_scheduler_session_slow_readers_total"),
        1.0
    );
    // Others are served all the same.
    drop(Node::register(&world, "n1", Kept::default()).await);
}
