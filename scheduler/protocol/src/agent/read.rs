//! From the wire.

use weir_resources::{Principal, Role};

use super::call::{AgentCall, ApplyOutcome, Registration};
use super::event::{AgentEvent, Launch};
use super::info::AgentInfo;
use super::task::{AgentTask, TaskOwner};
use crate::bounds::{COUNT_MAX, RECONCILE_MAX, TASKS_PER_AGENT_MAX, TASKS_PER_CALL_MAX};
use crate::failure::{CallError, Failure};
use crate::id::{AgentName, BootId, OperationId, OperationKey, OperationOrigin, TaskId, TaskKey};
use crate::invalid::{At, Enumeration, Invalid, Problem, each_of_some, optional, required, within};
use crate::resource::{self, Estimate, PortBlocks, ResourceSet, SetVersion, VolumeSizes};
use crate::task::{NetworkMode, Reason, TaskSpec, TaskState, TaskStatus, duration};
use crate::text::{Line, Note};
use crate::wire;
use crate::wire::agent_call::Call;
use crate::wire::agent_event::Event;

impl TryFrom<Call> for AgentCall {
    type Error = Invalid;

    fn try_from(wire: Call) -> Result<Self, Invalid> {
        match wire {
            Call::Register(call) => {
                let registration = Registration::try_from(call).at("register")?;
                Ok(Self::Register(Box::new(registration)))
            }
            Call::Tasks(call) => {
                let tasks = each_of_some(call.tasks, TASKS_PER_CALL_MAX, AgentTask::try_from);
                Ok(Self::Tasks(tasks.at("tasks").at("tasks")?))
            }
            Call::StatusUpdate(call) => status_update(call).at("status_update"),
            Call::OperationStatus(call) => operation_status(call).at("operation_status"),
            Call::Estimate(call) => Ok(Self::Estimate(Estimate::try_from(call).at("estimate")?)),
            Call::PortBlocks(call) => Ok(Self::PortBlocks(
                PortBlocks::try_from(call).at("port_blocks")?,
            )),
            Call::Unregister(wire::agent_call::Unregister {}) => Ok(Self::Unregister),
        }
    }
}

impl TryFrom<wire::agent_call::Register> for Registration {
    type Error = Invalid;

    fn try_from(wire: wire::agent_call::Register) -> Result<Self, Invalid> {
        let wire::agent_call::Register {
            agent,
            boot_id,
            agent_id,
            checkpointed,
            port_blocks,
            estimate,
            tasks_total,
        } = wire;
        let checkpointed = required(checkpointed).at("checkpointed")?;
        within(tasks_total.into(), 0, TASKS_PER_AGENT_MAX.into()).at("tasks_total")?;
        Ok(Self {
            agent: required(agent).at("agent")?.try_into().at("agent")?,
            boot: BootId::new(boot_id).at("boot_id")?,
            id: optional(agent_id, |id| id.parse()).at("agent_id")?,
            checkpointed: ResourceSet::try_from(checkpointed).at("checkpointed")?,
            port_blocks: required(port_blocks)
                .at("port_blocks")?
                .try_into()
                .at("port_blocks")?,
            estimate: optional(estimate, Estimate::try_from).at("estimate")?,
            tasks_total,
        })
    }
}

fn status_update(wire: wire::agent_call::StatusUpdate) -> Result<AgentCall, Invalid> {
    let status = required(wire.status).at("status")?;
    Ok(AgentCall::StatusUpdate {
        framework: wire.framework_id.parse().at("framework_id")?,
        status: TaskStatus::try_from(status).at("status")?,
        latest: TaskState::from_number(wire.latest_state).at("latest_state")?,
    })
}

fn operation_status(wire: wire::agent_call::OperationStatus) -> Result<AgentCall, Invalid> {
    use wire::agent_call::operation_status::Outcome;
    Ok(AgentCall::OperationStatus {
        operation: operation_key(wire.operation).at("operation")?,
        outcome: match required(wire.outcome).at("outcome")? {
            Outcome::Applied(applied) => ApplyOutcome::Applied {
                version: set_version(applied.version).at("version").at("applied")?,
            },
            Outcome::Failed(failure) => {
                ApplyOutcome::Failed(Failure::try_from(failure).at("failed")?)
            }
        },
    })
}

/// Returns the version of a set.
pub(crate) fn set_version(number: u64) -> Result<SetVersion, Problem> {
    within(number, 0, COUNT_MAX).map(SetVersion)
}

fn operation_key(wire: Option<wire::OperationKey>) -> Result<OperationKey, Invalid> {
    use wire::operation_key::Origin;
    let wire = required(wire)?;
    Ok(OperationKey {
        origin: match required(wire.origin).at("origin")? {
            Origin::FrameworkId(id) => OperationOrigin::Framework(id.parse().at("framework_id")?),
            Origin::Operator(name) => {
                OperationOrigin::Operator(Principal::new(name).at("operator")?)
            }
        },
        id: OperationId::new(wire.operation_id).at("operation_id")?,
    })
}

/// Returns the task that two fields name.
pub(crate) fn task_key(framework_id: &str, task_id: &str) -> Result<TaskKey, Invalid> {
    Ok(TaskKey {
        framework: framework_id.parse().at("framework_id")?,
        task: TaskId::new(task_id).at("task_id")?,
    })
}

impl TryFrom<wire::AgentInfo> for AgentInfo {
    type Error = Invalid;

    fn try_from(wire: wire::AgentInfo) -> Result<Self, Invalid> {
        let wire::AgentInfo {
            name,
            hostname,
            addresses,
            attributes,
            resources,
            volume_sizes,
        } = wire;
        Ok(Self {
            name: AgentName::new(name).at("name")?,
            hostname: Line::new(hostname).at("hostname")?,
            addresses: resource::addresses(addresses).at("addresses")?,
            attributes: resource::attributes(attributes).at("attributes")?,
            resources: resource::own_resources(resources).at("resources")?,
            volume_sizes: VolumeSizes::from_number(volume_sizes).at("volume_sizes")?,
        })
    }
}

impl TryFrom<wire::TaskOwner> for TaskOwner {
    type Error = Invalid;

    fn try_from(wire: wire::TaskOwner) -> Result<Self, Invalid> {
        Ok(Self {
            framework: wire.framework_id.parse().at("framework_id")?,
            framework_name: Line::new(wire.framework_name).at("framework_name")?,
            principal: Principal::new(wire.principal).at("principal")?,
            role: Role::new(wire.role).at("role")?,
            failover_timeout: duration(wire.failover_timeout_ms).at("failover_timeout_ms")?,
            unattended: wire.unattended,
        })
    }
}

impl TryFrom<wire::AgentTask> for AgentTask {
    type Error = Invalid;

    fn try_from(wire: wire::AgentTask) -> Result<Self, Invalid> {
        let wire::AgentTask {
            owner,
            task_id,
            name,
            resources,
            network,
            labels,
            status,
            acknowledged,
            operation,
        } = wire;
        let id = TaskId::new(task_id).at("task_id")?;
        let status = required(status).at("status")?;
        let status = status_of(&id, status).at("status")?;
        Ok(Self {
            owner: required(owner).at("owner")?.try_into().at("owner")?,
            id,
            name: Line::new(name).at("name")?,
            resources: resource::resources(resources).at("resources")?,
            network: NetworkMode::from_number(network).at("network")?,
            labels: resource::labels(labels).at("labels")?,
            status,
            acknowledged: TaskState::from_number_or_none(acknowledged).at("acknowledged")?,
            operation: operation_key(operation).at("operation")?,
        })
    }
}

/// Returns a status that stands beside the id of its task, and so must be of that task.
pub(crate) fn status_of(id: &TaskId, wire: wire::TaskStatus) -> Result<TaskStatus, Invalid> {
    let status = TaskStatus::try_from(wire)?;
    if status.task == *id {
        return Ok(status);
    }
    Err(Problem::Disagree {
        here: status.task.into(),
        other: "task_id",
        there: id.to_string(),
    })
    .at("task_id")
}

impl TryFrom<Event> for AgentEvent {
    type Error = Invalid;

    fn try_from(wire: Event) -> Result<Self, Invalid> {
        match wire {
            Event::Registered(event) => registered(event).at("registered"),
            Event::RegistrationRefused(failure) => Ok(Self::RegistrationRefused(
                Failure::try_from(failure).at("registration_refused")?,
            )),
            Event::Apply(event) => apply(event).at("apply"),
            Event::Launch(event) => {
                let launch = Launch::try_from(event).at("launch")?;
                Ok(Self::Launch(Box::new(launch)))
            }
            Event::Kill(event) => kill(event).at("kill"),
            Event::Acknowledge(event) => acknowledge(event).at("acknowledge"),
            Event::Reconcile(event) => {
                let tasks = each_of_some(event.tasks, RECONCILE_MAX, |task| {
                    task_key(&task.framework_id, &task.task_id)
                });
                Ok(Self::Reconcile(tasks.at("tasks").at("reconcile")?))
            }
            Event::Revoke(event) => revoke(event).at("revoke"),
            Event::Drain(event) => {
                let grace_max = optional(event.grace_ms_max, duration);
                Ok(Self::Drain {
                    grace_max: grace_max.at("grace_ms_max").at("drain")?,
                })
            }
            Event::Shutdown(failure) => {
                Ok(Self::Shutdown(Failure::try_from(failure).at("shutdown")?))
            }
            Event::Error(error) => Ok(Self::Error(CallError::try_from(error).at("error")?)),
        }
    }
}

fn registered(wire: wire::agent_event::Registered) -> Result<AgentEvent, Invalid> {
    Ok(AgentEvent::Registered {
        id: wire.agent_id.parse().at("agent_id")?,
        scheduler: Line::new(wire.scheduler_name).at("scheduler_name")?,
    })
}

fn apply(wire: wire::agent_event::Apply) -> Result<AgentEvent, Invalid> {
    use wire::agent_event::apply::Change;
    Ok(AgentEvent::Apply {
        operation: operation_key(wire.operation).at("operation")?,
        base: set_version(wire.base_version).at("base_version")?,
        change: match required(wire.change).at("change")? {
            Change::Reserve(reserve) => resource::reserve(reserve).at("reserve")?,
            Change::Unreserve(unreserve) => resource::unreserve(unreserve).at("unreserve")?,
            Change::Create(create) => resource::create(create).at("create")?,
            Change::Destroy(destroy) => resource::destroy(destroy).at("destroy")?,
        },
    })
}

impl TryFrom<wire::agent_event::Launch> for Launch {
    type Error = Invalid;

    fn try_from(wire: wire::agent_event::Launch) -> Result<Self, Invalid> {
        let task = required(wire.task).at("task")?;
        Ok(Self {
            operation: operation_key(wire.operation).at("operation")?,
            owner: required(wire.owner).at("owner")?.try_into().at("owner")?,
            task: TaskSpec::try_from(task).at("task")?,
        })
    }
}

fn kill(wire: wire::agent_event::Kill) -> Result<AgentEvent, Invalid> {
    Ok(AgentEvent::Kill {
        task: task_key(&wire.framework_id, &wire.task_id)?,
        grace: optional(wire.grace_ms, duration).at("grace_ms")?,
        reason: Reason::from_number_or_none(wire.reason).at("reason")?,
    })
}

fn acknowledge(wire: wire::agent_event::Acknowledge) -> Result<AgentEvent, Invalid> {
    Ok(AgentEvent::Acknowledge {
        task: task_key(&wire.framework_id, &wire.task_id)?,
        update: wire.update_id.parse().at("update_id")?,
    })
}

fn revoke(wire: wire::agent_event::Revoke) -> Result<AgentEvent, Invalid> {
    Ok(AgentEvent::Revoke {
        task: task_key(&wire.framework_id, &wire.task_id)?,
        why: Note::new(wire.why).at("why")?,
    })
}
