//! An agent in memory, which speaks to the scheduler as a real one does.

use weir_protocol::{AgentCall, AgentEvent, CallId, Envelope as _, Numbered, TaskState};
use weir_protocol::{registration_calls, wire};
use weir_transport::connect::{ConnectLimits, Connector};
use weir_transport::{Address, CredentialWatch, Session};

use crate::node::Node;

type Greeting = Session<wire::Hello, wire::HelloAnswer>;
type Talk = Session<wire::AgentCall, wire::AgentEvent>;

/// What the ids of tasks begin with that end by themselves; others run until they are killed.
const ENDS_BY_ITSELF: &str = "batch.";

/// Connects, registers, and does what it is told until the connection ends.
pub(crate) async fn run(mut node: Node, address: Address, credentials: CredentialWatch) {
    let connector = Connector::new(credentials, ConnectLimits::default());
    let mut greeting: Greeting = connector.connect(&address).await.unwrap();
    let hello = wire::Hello {
        protocol_min: 1,
        protocol_max: 1,
        capabilities: Vec::new(),
        software: "an agent in memory".to_owned(),
    };
    greeting.send(&hello).await.unwrap();
    let answer = greeting.receive().await.unwrap().unwrap().answer;
    assert!(
        matches!(answer, Some(wire::hello_answer::Answer::Welcome(_))),
        "expected a welcome, found {answer:?}"
    );
    let mut talk: Talk = greeting.continue_with();
    let mut calls = CallId::FIRST;
    let (registration, tasks) = node.registration();
    say(
        &mut talk,
        &mut calls,
        registration_calls(registration, tasks),
    )
    .await;
    while let Ok(Some(event)) = talk.receive().await {
        let event = AgentEvent::from_wire(event).unwrap();
        let acknowledged = match &event {
            AgentEvent::Acknowledge { task, .. } => Some(task.clone()),
            AgentEvent::RegistrationRefused(failure) | AgentEvent::Shutdown(failure) => {
                panic!("expected to be registered, found {failure}")
            }
            AgentEvent::Error(error) => panic!("expected no refusal, found {error:?}"),
            AgentEvent::Registered { .. }
            | AgentEvent::Apply { .. }
            | AgentEvent::Launch(_)
            | AgentEvent::Kill { .. }
            | AgentEvent::Reconcile(_)
            | AgentEvent::Revoke { .. }
            | AgentEvent::Drain { .. } => None,
        };
        say(&mut talk, &mut calls, node.handle(event)).await;
        // Its framework knows that it runs; now it ends.
        let ends = acknowledged
            .filter(|key| key.task.as_str().starts_with(ENDS_BY_ITSELF))
            .and_then(|key| node.end(&key, TaskState::Finished, None));
        say(&mut talk, &mut calls, ends).await;
    }
}

async fn say(talk: &mut Talk, next: &mut CallId, calls: impl IntoIterator<Item = AgentCall>) {
    for call in calls {
        let id = *next;
        *next = id.next();
        // A scheduler that is gone is noticed by whoever receives.
        drop(talk.send(&Numbered { id, call }.into_wire()).await);
    }
}
