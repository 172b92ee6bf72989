//! An agent in memory, which comes back for as long as its test lasts.

use std::collections::BTreeMap;

use weir_protocol::{
    AgentCall, AgentEvent, CallId, Envelope as _, Exit, Hello, HelloAnswer, Line, Numbered, Run,
    TaskKey, TaskState, VersionRange, registration_calls, wire,
};
use weir_transport::connect::ConnectLimits;
use weir_transport::{Address, Connector, CredentialWatch, Session};

use crate::node::Node;
use crate::world::PATIENCE;

type Talk = Session<wire::AgentCall, wire::AgentEvent>;

/// Connects, registers, and does what it is told until it is sent away or the connection ends.
pub(crate) async fn run(mut node: Node, address: Address, credentials: CredentialWatch) {
    let limits = ConnectLimits {
        handshake_patience: PATIENCE,
        ..ConnectLimits::default()
    };
    let connector = Connector::new(credentials, limits);
    let mut talk = greet(&connector, &address).await;
    let mut calls = CallId::FIRST;
    // With which code tasks end that end by themselves.
    let mut ends = BTreeMap::<TaskKey, u8>::new();
    let (registration, tasks) = node.registration();
    say(
        &mut talk,
        &mut calls,
        registration_calls(registration, tasks),
    )
    .await;
    while let Ok(Some(event)) = talk.receive().await {
        let event = AgentEvent::from_wire(event).unwrap();
        let mut acknowledged = None;
        match &event {
            AgentEvent::Launch(launch) => {
                if let Run::Argv(argv) = &launch.task.command.run
                    && let [program, code] = argv.words()
                    && program == "exit"
                {
                    ends.insert(launch.key(), code.parse().unwrap());
                }
            }
            AgentEvent::Acknowledge { task, .. } => acknowledged = Some(task.clone()),
            AgentEvent::Error(error) => panic!("expected no refusal, found {error:?}"),
            AgentEvent::RegistrationRefused(_)
            | AgentEvent::Shutdown(_)
            | AgentEvent::Registered { .. }
            | AgentEvent::Apply { .. }
            | AgentEvent::Kill { .. }
            | AgentEvent::Reconcile(_)
            | AgentEvent::Revoke { .. }
            | AgentEvent::Drain { .. } => {}
        }
        say(&mut talk, &mut calls, node.handle(event)).await;
        // Its framework knows that it runs; now it ends.
        if let Some(task) = acknowledged
            && let Some(code) = ends.remove(&task)
        {
            say(&mut talk, &mut calls, end(&mut node, &task, code)).await;
        }
    }
}

/// Returns what is said of a task that has ended with a code.
fn end(node: &mut Node, task: &TaskKey, code: u8) -> Option<AgentCall> {
    let state = match code {
        0 => TaskState::Finished,
        _ => TaskState::Failed,
    };
    let mut call = node.end(task, state, None)?;
    if let AgentCall::StatusUpdate { status, .. } = &mut call {
        status.exit = Some(Exit::Code(code));
    }
    Some(call)
}

async fn greet(connector: &Connector, address: &Address) -> Talk {
    let mut greeting = connector
        .connect::<wire::Hello, wire::HelloAnswer>(address)
        .await
        .unwrap();
    let hello = Hello {
        versions: VersionRange::SPOKEN,
        capabilities: [].into(),
        software: Line::new("an agent in memory").unwrap(),
    };
    greeting.send(&hello.into_wire()).await.unwrap();
    let answer = greeting.receive().await.unwrap().unwrap();
    let answer = HelloAnswer::from_wire(answer).unwrap();
    assert!(matches!(answer, HelloAnswer::Welcome(_)), "{answer:?}");
    greeting.continue_with()
}

async fn say(talk: &mut Talk, next: &mut CallId, calls: impl IntoIterator<Item = AgentCall>) {
    for call in calls {
        let id = *next;
        *next = id.next();
        // A scheduler that is gone is noticed by whoever receives.
        drop(talk.send(&Numbered { id, call }.into_wire()).await);
    }
}
