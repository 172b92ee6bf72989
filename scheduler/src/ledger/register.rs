//! REGISTER: who an agent is, and whether what it says can be.
//!
//! An agent is known by its id; its name is in its certificate, and one agent has a name at a time.
//!
//! 1. It comes without an id: a new agent. If another has its name and is connected, it is refused; one
//!    that is away is removed, for its node has begun anew and nothing of it is left.
//! 2. It comes with an id that the ledger knows: it is back, with the tasks it has, and
//!    [`reunion`](super::reunion) brings together what both know.
//! 3. It comes with an id that the ledger has never heard of: the ledger was lost, and the agent gives
//!    back what it has: its tasks, their frameworks, its reservations and volumes.
//! 4. It comes with the id of an agent that was removed: it is refused, and told to end what it runs and
//!    to register anew.

use weir_protocol::{
    AgentEvent, AgentId, AgentName, AgentTask, CallError, ErrorCode, Failure, FrameworkId, Line,
    Note, Registration, RescindReason,
};
use weir_resources::{AddError, Amount, ResourceName, Resources};

use super::agent::{Agent, AgentPresence, Lent};
use super::errand::Stage;
use super::input::SessionId;
use super::outbox::Message;
use super::record::{Actor, Row, Standing};
use super::refusal::Refusal;
use super::removal::Removal;
use super::session::Conversation;
use super::state::Ledger;
use super::timers::Timer;
use super::total::{Parts, TotalError};
use crate::allocator::{AgentStanding, HoldingError};

/// Says why an agent was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegisterError {
    #[error("the agent calls itself {claimed}, and its certificate says {certified}")]
    WrongName {
        claimed: AgentName,
        certified: AgentName,
    },
    #[error("id {id} belongs to agent {owner}, and this is {name}")]
    OthersId {
        id: AgentId,
        owner: AgentName,
        name: AgentName,
    },
    #[error("an agent of the name {name} is connected, as {id}")]
    NameTaken { name: AgentName, id: AgentId },
    #[error("agent {id} was removed: {why}")]
    Removed { id: AgentId, why: Note },
    #[error("there are {count} agents, which is the most")]
    TooMany { count: usize },
    #[error("what the agent has cannot be")]
    Total(#[from] TotalError),
    #[error("what tasks hold cannot be together on one agent")]
    Tasks(#[from] AddError),
    #[error("what tasks hold cannot be written down")]
    Holding(#[from] HoldingError),
}

impl Refusal for RegisterError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::WrongName { .. } | Self::OthersId { .. } => ErrorCode::Identity,
            Self::NameTaken { .. } => ErrorCode::AgentNameTaken,
            Self::Removed { .. } => ErrorCode::AgentRemoved,
            Self::TooMany { .. } => ErrorCode::LimitReached,
            Self::Total(_) | Self::Tasks(_) | Self::Holding(_) => ErrorCode::InvalidMessage,
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::WrongName { .. } => "give the agent the name of its certificate",
            Self::OthersId { .. } => "give each agent a state directory of its own",
            Self::NameTaken { .. } => {
                "wait until the connection of the other is noticed to be gone, or give each agent its own name"
            }
            Self::Removed { .. } => "end what it runs, forget its id, and register as a new agent",
            Self::TooMany { .. } => "remove agents that do not come back",
            Self::Total(error) => error.remedy(),
            Self::Tasks(_) | Self::Holding(_) => {
                "look at what the agent has written down of its tasks: each port, item and volume has one holder"
            }
        }
    }
}

/// Who registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// A new agent, with an id of its own or without; in the place of another of its name.
    New {
        id: Option<AgentId>,
        instead_of: Option<AgentId>,
    },
    /// One that the ledger knows.
    Known(AgentId),
}

impl Ledger {
    /// Registers an agent that has named all its tasks, or tells it why not.
    pub(super) fn handle_registration(
        &mut self,
        session: SessionId,
        name: &AgentName,
        registration: Registration,
        tasks: Vec<AgentTask>,
    ) {
        let Some(software) = self.sessions.get(&session).map(|own| own.software.clone()) else {
            return;
        };
        let registered = self.register(session, name, software, registration, tasks);
        if let Err(error) = registered {
            self.refuse_registration(session, name, error.failure());
        }
    }

    /// Writes down as whom an agent is registered in a session.
    pub(super) fn set_registered(&mut self, session: SessionId, id: AgentId) {
        if let Some(Conversation::Agent { registered, .. }) = self
            .sessions
            .get_mut(&session)
            .map(|own| &mut own.conversation)
        {
            *registered = Some(id);
        }
    }

    fn refuse_registration(&mut self, session: SessionId, name: &AgentName, failure: Failure) {
        let event = AgentEvent::RegistrationRefused(failure);
        self.send(session, Message::Agent(event));
        self.close(session);
        // It may have been registered in this session before.
        self.disconnect_agent_in(session, name);
    }

    fn register(
        &mut self,
        session: SessionId,
        name: &AgentName,
        software: Line,
        registration: Registration,
        tasks: Vec<AgentTask>,
    ) -> Result<(), RegisterError> {
        match self.plan_identity(session, name, &registration)? {
            Identity::New { id, instead_of } => {
                let id = id.unwrap_or_else(|| self.new_agent_id());
                self.add_agent(id, instead_of, session, software, registration, tasks)
            }
            Identity::Known(id) => self.reunite(id, session, software, registration, tasks),
        }
    }

    fn plan_identity(
        &self,
        session: SessionId,
        name: &AgentName,
        registration: &Registration,
    ) -> Result<Identity, RegisterError> {
        if registration.agent.name != *name {
            return Err(RegisterError::WrongName {
                claimed: registration.agent.name.clone(),
                certified: name.clone(),
            });
        }
        if let Some(id) = registration.id {
            if let Some(why) = self.agents.why_removed(id) {
                let why = why.clone();
                return Err(RegisterError::Removed { id, why });
            }
            if let Some(known) = self.agents.by_id.get(&id) {
                if known.info.name == *name {
                    return Ok(Identity::Known(id));
                }
                return Err(RegisterError::OthersId {
                    id,
                    owner: known.info.name.clone(),
                    name: name.clone(),
                });
            }
        }
        let namesake = self.agents.named(name);
        match namesake.map(|known| (known.id, known.session())) {
            // It has begun again in the session in which it was told its id.
            Some((id, Some(own))) if own == session && registration.id.is_none() => {
                Ok(Identity::Known(id))
            }
            Some((id, Some(_))) => Err(RegisterError::NameTaken {
                name: name.clone(),
                id,
            }),
            Some((id, None)) => Ok(Identity::New {
                id: registration.id,
                instead_of: Some(id),
            }),
            None => match self.agents.by_id.len() {
                count if count >= self.settings.bounds.agents => {
                    Err(RegisterError::TooMany { count })
                }
                _ => Ok(Identity::New {
                    id: registration.id,
                    instead_of: None,
                }),
            },
        }
    }

    fn new_agent_id(&mut self) -> AgentId {
        loop {
            let id = self.ids.agent();
            // Only whoever starts twice with one seed could meet an id again.
            if !self.agents.by_id.contains_key(&id) && self.agents.why_removed(id).is_none() {
                return id;
            }
        }
    }

    /// Adds an agent that the ledger does not know, with all that it says it has.
    fn add_agent(
        &mut self,
        id: AgentId,
        instead_of: Option<AgentId>,
        session: SessionId,
        software: Line,
        registration: Registration,
        tasks: Vec<AgentTask>,
    ) -> Result<(), RegisterError> {
        let held = held_by(&tasks);
        let all = Resources::sum(held.iter().map(|(_, resources)| resources))?;
        let lent = self.lent_by(&registration);
        let agent = self.agent_from(id, session, software, registration, lent);
        let total = Parts {
            info: &agent.info,
            checkpointed: agent.checkpointed.resources(),
            blocks: agent.port_blocks,
            lent: &agent.lent.resources(),
            held_blocks: blocks_of(&all),
        }
        .total()?;
        self.allocator
            .add_agent(id, &total, &held, AgentStanding::Active)
            .map_err(TotalError::Cluster)?;
        if let Some(other) = instead_of {
            let why = Note::cut("its node has registered as a new agent");
            self.remove_agent(other, why, Removal::Replaced);
        }
        let agent = Agent { total, ..agent };
        self.audit_registration(&agent);
        self.agents.by_name.insert(agent.info.name.clone(), id);
        self.put(Row::Agent(agent.row()));
        self.agents.by_id.insert(id, agent);
        self.expect_estimate_end(id);
        self.set_registered(session, id);
        self.tell_registered(id);
        for task in tasks {
            self.learn(id, task);
        }
        self.revoke_excess(id);
        Ok(())
    }

    /// Writes down that there is a new agent, and whom of its name it follows: one that was removed does
    /// not come back unnoticed.
    fn audit_registration(&mut self, agent: &Agent) {
        let Agent { id, info, .. } = agent;
        let name = &info.name;
        let who = Actor::Agent(name.clone());
        match self.agents.last_removed(name) {
            None => self.audit(who, format_args!("register agent {name} ({id})"), None),
            Some(removed) => {
                let before = removed.id;
                let what = format!(
                    "register agent {name} ({id}) anew: {before} was removed, for {}",
                    removed.why
                );
                self.audit(who, what, None);
            }
        }
    }

    fn agent_from(
        &self,
        id: AgentId,
        session: SessionId,
        software: Line,
        registration: Registration,
        lent: Lent,
    ) -> Agent {
        Agent {
            id,
            info: registration.agent,
            boot: registration.boot,
            software,
            registered: self.now.unix,
            presence: AgentPresence::Connected(session),
            standing: Standing::Open,
            checkpointed: registration.checkpointed,
            port_blocks: registration.port_blocks,
            port_blocks_registered: registration.port_blocks.total(),
            lent,
            total: Resources::new(),
            offers: Default::default(),
            tasks: Default::default(),
            strays: Default::default(),
            errands: Default::default(),
        }
    }

    /// Returns what an agent lends by what it registers with.
    pub(super) fn lent_by(&self, registration: &Registration) -> Lent {
        match &registration.estimate {
            None => Lent::Nothing,
            Some(estimate) => Lent::Estimated {
                version: estimate.version(),
                ends_at: self.now.elapsed.saturating_add(estimate.ttl().into()),
                resources: estimate.resources().clone(),
            },
        }
    }

    pub(super) fn tell_registered(&mut self, id: AgentId) {
        let scheduler = self.settings.scheduler.clone();
        self.tell_agent(id, AgentEvent::Registered { id, scheduler });
    }

    /// Writes down that the session in which an agent was is gone, if it was in it.
    pub(super) fn disconnect_agent_in(&mut self, session: SessionId, name: &AgentName) {
        let agent = self.agents.named(name);
        let agent = agent.filter(|agent| agent.session() == Some(session));
        if let Some(id) = agent.map(|agent| agent.id) {
            self.disconnect_agent(id);
        }
    }

    /// Writes down that an agent is away. Its tasks go on.
    pub(super) fn disconnect_agent(&mut self, id: AgentId) {
        let gone_at = self.now.elapsed.saturating_add(self.settings.agent_removal);
        let Some(agent) = self.agents.by_id.get_mut(&id) else {
            return;
        };
        agent.presence = AgentPresence::Disconnected {
            since: self.now.unix,
            gone_at,
        };
        let first = agent.errands.front();
        if let Some(errand) = first.and_then(|first| self.errands.by_number.get_mut(first)) {
            errand.stage = match errand.stage {
                Stage::Sent { .. } => Stage::Doubtful,
                other @ (Stage::Fresh | Stage::Queued | Stage::Doubtful) => other,
            };
        }
        self.timers.set(gone_at, Timer::AgentGone(id));
        self.allocator
            .set_agent_standing(id, AgentStanding::Inactive)
            .expect("the allocator has the agents of the ledger");
        self.rescind_agent(id, RescindReason::AgentDisconnected);
    }

    /// Has an agent register again: by what it says, one of the two is mistaken.
    pub(super) fn send_away(&mut self, id: AgentId, failure: Failure) {
        let session = self.agents.by_id.get(&id).and_then(Agent::session);
        if let Some(session) = session {
            let error = CallError {
                call: None,
                failure,
            };
            self.send(session, Message::Agent(AgentEvent::Error(error)));
            self.close(session);
            self.disconnect_agent(id);
        }
    }
}

/// Returns what tasks hold that have not ended, with whose they are.
pub(super) fn held_by(tasks: &[AgentTask]) -> Vec<(FrameworkId, Resources)> {
    let alive = tasks.iter().filter(|task| !task.status.state.is_terminal());
    alive
        .map(|task| (task.owner.framework, task.resources.clone()))
        .collect()
}

/// Returns how many blocks of ports are in resources: regular and revocable.
pub(super) fn blocks_of(resources: &Resources) -> [Amount; 2] {
    let name = ResourceName::PORT_BLOCKS;
    [resources.regular(), resources.revocable()].map(|kind| kind.amount(name.as_str()))
}
