//! An agent that says what a test has it say.

use std::collections::BTreeSet;

use weir_protocol::{
    AgentCall, AgentEvent, AgentId, AgentInfo, AgentName, AgentTask, BootId, CallId, Envelope,
    Hello, HelloAnswer, Launch, Line, Numbered, PortBlocks, Registration, ResourceSet, Source,
    TaskState, TaskStatus, UnixMs, UpdateId, VersionRange, VolumeSizes, registration_calls, wire,
};
use weir_resources::{Attributes, Resources};
use weir_transport::{PeerKind, Session};

use crate::world::{World, within};

/// An agent, connected and registered.
pub(crate) struct Node {
    session: Session<wire::AgentCall, wire::AgentEvent>,
    next_call: CallId,
    pub(crate) id: AgentId,
}

/// What an agent keeps when its connection breaks.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) id: Option<AgentId>,
    pub(crate) set: ResourceSet,
    pub(crate) tasks: Vec<AgentTask>,
}

/// Says hello, and returns the answer with the session.
pub(crate) async fn greet<Out: prost::Message, In: prost::Message + Default + prost::Name>(
    world: &World,
    kind: PeerKind,
    name: &str,
) -> (HelloAnswer, Session<Out, In>) {
    let connector = world.connector(kind, name);
    let address = world.address();
    let connecting = connector.connect::<wire::Hello, wire::HelloAnswer>(&address);
    let mut session = within(connecting).await.unwrap();
    let hello = Hello {
        versions: VersionRange::SPOKEN,
        capabilities: BTreeSet::new(),
        software: Line::new("test").unwrap(),
    };
    within(session.send(&hello.into_wire())).await.unwrap();
    let answer = within(session.receive()).await.unwrap().unwrap();
    let answer = HelloAnswer::from_wire(answer).unwrap();
    (answer, session.continue_with())
}

impl Node {
    /// Connects and registers with four processors.
    pub(crate) async fn register(world: &World, name: &str, kept: Kept) -> Self {
        let (answer, session) = greet(world, PeerKind::Agent, name).await;
        assert!(matches!(answer, HelloAnswer::Welcome(_)), "{answer:?}");
        let mut node = Self {
            session,
            next_call: CallId::FIRST,
            id: AgentId::from_bits(0),
        };
        let registration = Registration {
            agent: AgentInfo {
                name: AgentName::new(name).unwrap(),
                hostname: Line::new("localhost").unwrap(),
                addresses: ["127.0.0.1".parse().unwrap()].into(),
                attributes: Attributes::default(),
                resources: resources("cpus:4;mem:4096;disk:10000;ports:[31000-31999]"),
                volume_sizes: VolumeSizes::Accounted,
            },
            boot: BootId::new("boot-1").unwrap(),
            id: kept.id,
            checkpointed: kept.set,
            port_blocks: PortBlocks {
                version: 1,
                free: 16,
                held: 0,
            },
            estimate: None,
            tasks_total: 0,
        };
        for call in registration_calls(registration, kept.tasks) {
            node.say(call).await;
        }
        match node.hear().await {
            AgentEvent::Registered { id, .. } => node.id = id,
            other => panic!("not registered: {other:?}"),
        }
        node
    }

    pub(crate) async fn say(&mut self, call: AgentCall) {
        let id = self.next_call;
        self.next_call = id.next();
        let call = Numbered { id, call }.into_wire();
        within(self.session.send(&call)).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> AgentEvent {
        let event = within(self.session.receive()).await.unwrap().unwrap();
        AgentEvent::from_wire(event).unwrap()
    }

    /// Waits for a task to launch.
    pub(crate) async fn launched(&mut self) -> Launch {
        loop {
            match self.hear().await {
                AgentEvent::Launch(launch) => return *launch,
                AgentEvent::Reconcile(_) | AgentEvent::Acknowledge { .. } => {}
                other => panic!("no launch: {other:?}"),
            }
        }
    }

    /// Says that a task has come to a state.
    pub(crate) async fn update(&mut self, launch: &Launch, state: TaskState, number: u64) {
        let status = status(launch, self.id, state, Some(number));
        self.say(AgentCall::StatusUpdate {
            framework: launch.owner.framework,
            latest: status.state,
            status,
        })
        .await;
    }

    pub(crate) fn session(&self) -> &Session<wire::AgentCall, wire::AgentEvent> {
        &self.session
    }
}

/// Returns a task as its agent names it when it registers.
pub(crate) fn task_of(launch: &Launch, agent: AgentId) -> AgentTask {
    AgentTask {
        owner: launch.owner.clone(),
        id: launch.task.id.clone(),
        name: launch.task.name.clone(),
        resources: launch.task.resources.clone(),
        network: launch.task.network,
        labels: launch.task.labels.clone(),
        status: status(launch, agent, TaskState::Running, Some(1)),
        acknowledged: None,
        operation: launch.operation.clone(),
    }
}

fn status(launch: &Launch, agent: AgentId, state: TaskState, number: Option<u64>) -> TaskStatus {
    TaskStatus {
        task: launch.task.id.clone(),
        state,
        agent: Some(agent),
        source: Source::Agent,
        reason: None,
        message: None,
        timestamp: UnixMs(1),
        update: number.map(|number| UpdateId::from_bits(number.into())),
        exit: None,
    }
}

pub(crate) fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}
