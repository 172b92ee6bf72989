//! RESERVE, UNRESERVE, CREATE and DESTROY: whether they may be done, and what they lead to.
//!
//! Pure but for the audit. Who may do it is asked once, when the operation is reached; whether it can be
//! done is asked again whenever time has passed.

use weir_protocol::resource::ResourceSetError;
use weir_protocol::{
    AgentName, ErrorCode, Failure, Note, OperationOrigin, Oversize, ResourceSet, TaskKey,
    VolumeSizes, check_size,
};
use weir_resources::{
    AddError, OperationError, OperationKind, Principal, Resource, ResourceOperation, Resources,
    Role, Shortfall,
};

use super::agent::Agent;
use super::errand::Errand;
use super::policy::{Act, Caller, Verdict};
use super::record::Actor;
use super::refusal::Refusal;
use super::state::Ledger;

/// What a change leads to.
#[derive(Clone, Debug)]
pub(super) struct PlannedChange {
    /// What the agent has then.
    pub(super) total: Resources,
    /// What the pool is then.
    pub(super) pool: Resources,
    /// What to know about it.
    pub(super) notes: Vec<Note>,
}

/// Says why a change is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(transparent)]
    Invalid(OperationError),
    #[error(transparent)]
    OtherPrincipal(OperationError),
    #[error("{kind} of `{resource}` by a framework of role `{role}`")]
    OtherRole {
        kind: OperationKind,
        resource: Resource,
        role: Role,
    },
    #[error("{caller} may not {act}")]
    Refused { caller: String, act: String },
    #[error("there is no role `{role}`")]
    RoleUnknown { role: Role },
    #[error("agent {agent} has no volume `{volume}`")]
    VolumeUnknown { agent: AgentName, volume: Resource },
    #[error("volume `{volume}` of agent {agent} is used by task {task}")]
    VolumeInUse {
        agent: AgentName,
        volume: Resource,
        task: TaskKey,
    },
    #[error("agent {agent} has a volume of that id already")]
    VolumeExists {
        agent: AgentName,
        #[source]
        source: AddError,
    },
    #[error("agent {agent} has no reservation of `{reservation}`")]
    ReservationUnknown {
        agent: AgentName,
        reservation: Resource,
    },
    #[error("{kind} needs more than is there for it on agent {agent}")]
    Insufficient {
        kind: OperationKind,
        agent: AgentName,
        #[source]
        source: Shortfall,
    },
    #[error("after it, agent {agent} could not say what it has")]
    SetTooLong {
        agent: AgentName,
        #[source]
        source: ResourceSetError,
    },
    #[error("{kind} leaves too many pieces of what is there for it on agent {agent}")]
    Ragged {
        kind: OperationKind,
        agent: AgentName,
        #[source]
        source: Oversize,
    },
    #[error("the agent is gone")]
    AgentGone,
}

impl Refusal for ChangeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidOperation,
            Self::OtherPrincipal(_) | Self::OtherRole { .. } | Self::Refused { .. } => {
                ErrorCode::Unauthorized
            }
            Self::RoleUnknown { .. } => ErrorCode::RoleUnknown,
            Self::VolumeUnknown { .. } => ErrorCode::VolumeUnknown,
            Self::VolumeInUse { .. } => ErrorCode::VolumeInUse,
            Self::VolumeExists { .. } => ErrorCode::VolumeExists,
            Self::ReservationUnknown { .. } => ErrorCode::ReservationUnknown,
            Self::Insufficient { .. } => ErrorCode::InsufficientResources,
            Self::SetTooLong { .. } | Self::Ragged { .. } => ErrorCode::LimitReached,
            Self::AgentGone => ErrorCode::AgentRemoved,
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Invalid(_) => {
                "name the resources as they are to be, or for UNRESERVE and DESTROY as they are"
            }
            Self::OtherPrincipal(_) => {
                "reserve in your own name, and give back what you have reserved yourself"
            }
            Self::OtherRole { .. } => "a framework works with the resources of its own role only",
            Self::Refused { .. } => "have the access rules of the scheduler changed",
            Self::RoleUnknown { .. } => {
                "use a role of the scheduler's configuration, or have it added"
            }
            Self::VolumeUnknown { .. } => {
                "look at the volumes that the agent has, with their roles and reservations"
            }
            Self::VolumeInUse { .. } => "end the task first",
            Self::VolumeExists { .. } => {
                "choose another id, or destroy the volume of that id first"
            }
            Self::ReservationUnknown { .. } => {
                "name role, principal and labels as they were reserved"
            }
            Self::Insufficient {
                kind: OperationKind::Create,
                ..
            } => "reserve the disk first, ask for less, or wait until what is in use is given back",
            Self::Insufficient { .. } => "ask for less, or wait until what is in use is given back",
            Self::SetTooLong { source, .. } => source.remedy(),
            Self::Ragged { .. } => "take numbers that follow one another, and whole sets",
            Self::AgentGone => "use an offer of another agent",
        }
    }
}

impl Ledger {
    /// Returns nothing if an operation may be done, and can.
    pub(super) fn admit_change(
        &self,
        errand: &Errand,
        change: &ResourceOperation,
    ) -> Result<(), ChangeError> {
        change.check().map_err(ChangeError::Invalid)?;
        self.judge_change(&errand.origin, change)?;
        self.plan_change(errand, change)?;
        Ok(())
    }

    /// Returns nothing if whoever asks may do it.
    pub(super) fn judge_change(
        &self,
        origin: &OperationOrigin,
        change: &ResourceOperation,
    ) -> Result<(), ChangeError> {
        match origin {
            OperationOrigin::Operator(principal) => {
                if matches!(change, ResourceOperation::Reserve(_)) {
                    let own = change.check_principal(principal);
                    own.map_err(ChangeError::OtherPrincipal)?;
                }
                self.judge_resources(Caller::Operator(principal), change)
            }
            OperationOrigin::Framework(framework) => {
                let Some(framework) = self.frameworks.by_id.get(framework) else {
                    return Ok(());
                };
                let role = &framework.info.role;
                let others = |entry: &&Resource| entry.role() != Some(role);
                if let Some(resource) = change.resources().iter().find(others) {
                    return Err(ChangeError::OtherRole {
                        kind: change.kind(),
                        resource: resource.clone(),
                        role: role.clone(),
                    });
                }
                let own = change.check_principal(&framework.principal);
                own.map_err(ChangeError::OtherPrincipal)?;
                self.judge_resources(Caller::Framework(&framework.principal), change)
            }
        }
    }

    fn judge_resources(
        &self,
        caller: Caller<'_>,
        change: &ResourceOperation,
    ) -> Result<(), ChangeError> {
        for resource in change.resources() {
            let Some(role) = resource.role() else {
                continue;
            };
            let act = match (change, resource.reservation().principal()) {
                (ResourceOperation::Reserve(_), _) => Act::Reserve(role),
                (ResourceOperation::Create(_), _) => Act::Create(role),
                (ResourceOperation::Destroy(_), _) => Act::Destroy(role),
                (ResourceOperation::Unreserve(_), Some(by)) => Act::Unreserve { role, by },
                // Only what was reserved by somebody can be taken back; it was checked.
                (ResourceOperation::Unreserve(_), None) => continue,
            };
            self.judge(caller, act)?;
        }
        Ok(())
    }

    /// Returns nothing if the rules allow it.
    pub(super) fn judge(&self, caller: Caller<'_>, act: Act<'_>) -> Result<(), ChangeError> {
        match self.policy.judge(caller, act) {
            Verdict::Allowed => Ok(()),
            Verdict::Refused => Err(ChangeError::Refused {
                caller: caller.to_string(),
                act: act.to_string(),
            }),
            Verdict::RoleUnknown => match act.role() {
                Some(role) => Err(ChangeError::RoleUnknown { role: role.clone() }),
                None => Err(ChangeError::Refused {
                    caller: caller.to_string(),
                    act: act.to_string(),
                }),
            },
        }
    }

    /// Returns what a change leads to, if it can be done.
    pub(super) fn plan_change(
        &self,
        errand: &Errand,
        change: &ResourceOperation,
    ) -> Result<PlannedChange, ChangeError> {
        let agent = self.agents.by_id.get(&errand.agent);
        let agent = agent.ok_or(ChangeError::AgentGone)?;
        let explain = |error| self.explain(agent, change, error);
        let pool = errand.pool.apply(change).map_err(explain)?;
        let total = agent.total.apply(change).map_err(explain)?;
        // What follows is registered and offered, and neither may be longer than a peer takes.
        let version = agent.checkpointed.version().next();
        if let Err(source) = ResourceSet::new(version, total.checkpointed()) {
            let agent = agent.info.name.clone();
            return Err(ChangeError::SetTooLong { agent, source });
        }
        if let Err(source) = check_size(&pool) {
            return Err(ChangeError::Ragged {
                kind: change.kind(),
                agent: agent.info.name.clone(),
                source,
            });
        }
        Ok(PlannedChange {
            total,
            pool,
            notes: notes(agent, change),
        })
    }

    /// Returns what it means that an operation cannot be done.
    pub(super) fn explain(
        &self,
        agent: &Agent,
        change: &ResourceOperation,
        error: OperationError,
    ) -> ChangeError {
        let name = || agent.info.name.clone();
        let (kind, shortfall) = match error {
            OperationError::Conflict { conflict, .. } => {
                return ChangeError::VolumeExists {
                    agent: name(),
                    source: conflict,
                };
            }
            OperationError::Missing {
                operation,
                shortfall,
            } => (operation, shortfall),
            error @ (OperationError::Empty { .. }
            | OperationError::NotDynamic { .. }
            | OperationError::Volume { .. }
            | OperationError::NotVolume { .. }
            | OperationError::OtherPrincipal { .. }) => return ChangeError::Invalid(error),
        };
        let wanted = &shortfall.wanted;
        let alike = |held: &Resources| held.contains(&Resources::from(wanted.clone()));
        match change {
            ResourceOperation::Destroy(_) if !alike(&agent.total) => ChangeError::VolumeUnknown {
                agent: name(),
                volume: wanted.clone(),
            },
            ResourceOperation::Destroy(_) => {
                let user = agent.tasks.iter().find(|key| {
                    let task = self.tasks.get(key);
                    task.is_some_and(|task| task.is_alive() && alike(task.resources()))
                });
                let stray = agent
                    .strays
                    .iter()
                    .find_map(|(key, stray)| alike(&stray.resources).then_some(key));
                match user.or(stray) {
                    Some(task) => ChangeError::VolumeInUse {
                        agent: name(),
                        volume: wanted.clone(),
                        task: task.clone(),
                    },
                    None => insufficient(kind, name(), shortfall),
                }
            }
            ResourceOperation::Unreserve(_) => {
                let is_reserved =
                    agent.total.get(wanted.name().as_str()).iter().any(|own| {
                        own.reservation() == wanted.reservation() && own.volume().is_none()
                    });
                if is_reserved {
                    insufficient(kind, name(), shortfall)
                } else {
                    ChangeError::ReservationUnknown {
                        agent: name(),
                        reservation: wanted.clone(),
                    }
                }
            }
            // Its disk went with the first one: that there is one already is what helps.
            ResourceOperation::Create(volumes) => match agent.total.checked_add(volumes) {
                Err(source @ AddError::VolumeTwice { .. }) => ChangeError::VolumeExists {
                    agent: name(),
                    source,
                },
                Ok(_) | Err(_) => insufficient(kind, name(), shortfall),
            },
            ResourceOperation::Reserve(_) => insufficient(kind, name(), shortfall),
        }
    }

    /// Writes down that somebody has changed what an agent has, or why not.
    pub(super) fn audit_change(
        &mut self,
        errand: &Errand,
        change: &ResourceOperation,
        refused: Option<&Failure>,
    ) {
        let Some(who) = self.actor(&errand.origin) else {
            return;
        };
        let Some(agent) = self.agents.by_id.get(&errand.agent) else {
            return;
        };
        let what = format!(
            "{} {} on agent {}",
            change.kind(),
            change.resources(),
            agent.info.name
        );
        self.audit(who, what, refused);
    }

    /// Returns who it is that asked, if they are still known.
    fn actor(&self, origin: &OperationOrigin) -> Option<Actor> {
        match origin {
            OperationOrigin::Operator(principal) => Some(Actor::Operator(principal.clone())),
            OperationOrigin::Framework(id) => {
                let principal: &Principal = match self.frameworks.by_id.get(id) {
                    Some(framework) => &framework.principal,
                    None => &self.frameworks.ended.get(id)?.principal,
                };
                Some(Actor::Framework {
                    id: Some(*id),
                    principal: principal.clone(),
                })
            }
        }
    }
}

fn insufficient(kind: OperationKind, agent: AgentName, source: Shortfall) -> ChangeError {
    ChangeError::Insufficient {
        kind,
        agent,
        source,
    }
}

/// Returns what to know about a change that is done.
fn notes(agent: &Agent, change: &ResourceOperation) -> Vec<Note> {
    match change {
        ResourceOperation::Create(_) => note_on_sizes(agent).into_iter().collect(),
        ResourceOperation::Reserve(_)
        | ResourceOperation::Unreserve(_)
        | ResourceOperation::Destroy(_) => Vec::new(),
    }
}

/// Returns what to know of the volumes of an agent, if a task can write beyond their sizes.
pub(super) fn note_on_sizes(agent: &Agent) -> Option<Note> {
    match agent.info.volume_sizes {
        VolumeSizes::Enforced => None,
        VolumeSizes::Accounted => Some(Note::cut(format_args!(
            "agent {} does not enforce the size of volumes: a task can write beyond it",
            agent.info.name
        ))),
    }
}
