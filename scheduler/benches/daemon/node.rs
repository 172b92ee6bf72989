//! An agent that runs nothing: a connection that speaks the agents' protocol.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use weir_protocol::{
    AgentCall, AgentEvent, AgentId, AgentInfo, AgentName, BootId, CallId, Envelope as _, Hello,
    HelloAnswer, Launch, Line, Numbered, PortBlocks, Registration, ResourceSet, Source, TaskState,
    TaskStatus, UnixMs, UpdateId, VersionRange, VolumeSizes, registration_calls, wire,
};
use weir_resources::Attributes;
use weir_transport::connect::ConnectLimits;
use weir_transport::{Connector, CredentialWatch, PeerKind, Session};

use crate::cluster::{Cluster, PATIENCE, within};

/// An agent, connected and registered.
pub(crate) struct Node {
    session: Session<wire::AgentCall, wire::AgentEvent>,
    next_call: CallId,
    id: AgentId,
    /// Its socket goes when this does.
    _connector: Connector,
}

impl Node {
    /// Connects and registers.
    pub(crate) async fn register(cluster: &Cluster, name: &str, resources: &str) -> Result<Self> {
        let credentials = cluster.credentials(PeerKind::Agent, name)?;
        Self::register_as(cluster, credentials, name, resources).await
    }

    /// The same with a certificate that is there: to issue one takes time that others need for their
    /// handshakes.
    pub(crate) async fn register_as(
        cluster: &Cluster,
        credentials: CredentialWatch,
        name: &str,
        resources: &str,
    ) -> Result<Self> {
        let connector = Connector::new(
            credentials,
            ConnectLimits {
                handshake_patience: PATIENCE,
                ..ConnectLimits::default()
            },
        );
        let connecting = connector.connect::<wire::Hello, wire::HelloAnswer>(cluster.address());
        let mut session = within("a connection", connecting).await??;
        let hello = Hello {
            versions: VersionRange::SPOKEN,
            capabilities: BTreeSet::new(),
            software: Line::new("bench")?,
        };
        session.send(&hello.into_wire()).await?;
        let answer = within("WELCOME", session.receive()).await??;
        let answer = HelloAnswer::from_wire(answer.context("the stream has ended")?)?;
        ensure!(matches!(answer, HelloAnswer::Welcome(_)), "{answer:?}");
        let mut node = Self {
            session: session.continue_with(),
            next_call: CallId::FIRST,
            id: AgentId::from_bits(0),
            _connector: connector,
        };
        let registration = Registration {
            agent: AgentInfo {
                name: AgentName::new(name)?,
                hostname: Line::new("localhost")?,
                addresses: ["127.0.0.1".parse()?].into(),
                attributes: Attributes::default(),
                resources: resources.parse()?,
                volume_sizes: VolumeSizes::Accounted,
            },
            boot: BootId::new("boot-1")?,
            id: None,
            checkpointed: ResourceSet::default(),
            port_blocks: PortBlocks {
                version: 1,
                free: 0,
                held: 0,
            },
            estimate: None,
            tasks_total: 0,
        };
        for call in registration_calls(registration, Vec::new()) {
            node.say(call).await?;
        }
        let answer = within("REGISTERED", node.hear()).await??;
        let AgentEvent::Registered { id, .. } = answer else {
            bail!("not registered: {answer:?}");
        };
        node.id = id;
        Ok(node)
    }

    pub(crate) const fn id(&self) -> AgentId {
        self.id
    }

    async fn say(&mut self, call: AgentCall) -> Result<()> {
        let id = self.next_call;
        self.next_call = id.next();
        self.session
            .send(&Numbered { id, call }.into_wire())
            .await?;
        Ok(())
    }

    pub(crate) async fn hear(&mut self) -> Result<AgentEvent> {
        let event = self.session.receive().await?;
        Ok(AgentEvent::from_wire(
            event.context("the stream has ended")?,
        )?)
    }

    /// Waits for a task to launch.
    pub(crate) async fn launched(&mut self) -> Result<Launch> {
        loop {
            if let AgentEvent::Launch(launch) = self.hear().await? {
                return Ok(*launch);
            }
        }
    }

    /// Says that a task has ended.
    pub(crate) async fn finished(&mut self, launch: &Launch, number: u128) -> Result<()> {
        let status = TaskStatus {
            task: launch.task.id.clone(),
            state: TaskState::Finished,
            agent: Some(self.id),
            source: Source::Agent,
            reason: None,
            message: None,
            timestamp: UnixMs(1),
            update: Some(UpdateId::from_bits(number)),
            exit: None,
        };
        self.say(AgentCall::StatusUpdate {
            framework: launch.owner.framework,
            latest: status.state,
            status,
        })
        .await
    }
}
