//! To the wire.

use weir_resources::ResourceOperation;

use super::call::{AgentCall, ApplyOutcome, Registration};
use super::event::{AgentEvent, Launch};
use super::info::AgentInfo;
use super::task::{AgentTask, TaskOwner};
use crate::id::{OperationKey, OperationOrigin, TaskKey};
use crate::invalid::Enumeration;
use crate::resource;
use crate::task::{Reason, TaskState};
use crate::wire;
use crate::wire::agent_call::Call;
use crate::wire::agent_event::Event;

impl From<AgentCall> for Call {
    fn from(call: AgentCall) -> Self {
        match call {
            AgentCall::Register(registration) => Self::Register((*registration).into()),
            AgentCall::Tasks(tasks) => Self::Tasks(wire::agent_call::Tasks {
                tasks: tasks.into_iter().map(wire::AgentTask::from).collect(),
            }),
            AgentCall::StatusUpdate {
                framework,
                status,
                latest,
            } => Self::StatusUpdate(wire::agent_call::StatusUpdate {
                framework_id: framework.into(),
                status: Some(status.into()),
                latest_state: latest.number(),
            }),
            AgentCall::OperationStatus { operation, outcome } => {
                use wire::agent_call::operation_status::Outcome;
                Self::OperationStatus(wire::agent_call::OperationStatus {
                    operation: Some(operation.into()),
                    outcome: Some(match outcome {
                        ApplyOutcome::Applied { version } => {
                            Outcome::Applied(wire::agent_call::Applied { version: version.0 })
                        }
                        ApplyOutcome::Failed(failure) => Outcome::Failed(failure.into()),
                    }),
                })
            }
            AgentCall::Estimate(estimate) => Self::Estimate((&estimate).into()),
            AgentCall::PortBlocks(blocks) => Self::PortBlocks(blocks.into()),
            AgentCall::Unregister => Self::Unregister(wire::agent_call::Unregister {}),
        }
    }
}

impl From<Registration> for wire::agent_call::Register {
    fn from(registration: Registration) -> Self {
        let Registration {
            agent,
            boot,
            id,
            checkpointed,
            port_blocks,
            estimate,
            tasks_total,
        } = registration;
        Self {
            agent: Some(agent.into()),
            boot_id: boot.into(),
            agent_id: id.map(String::from),
            checkpointed: Some((&checkpointed).into()),
            port_blocks: Some(port_blocks.into()),
            estimate: estimate.as_ref().map(wire::Estimate::from),
            tasks_total,
        }
    }
}

impl From<AgentInfo> for wire::AgentInfo {
    fn from(agent: AgentInfo) -> Self {
        let AgentInfo {
            name,
            hostname,
            addresses,
            attributes,
            resources,
            volume_sizes,
        } = agent;
        Self {
            name: name.into(),
            hostname: hostname.into(),
            addresses: resource::address_texts(&addresses),
            attributes: resource::attribute_list(&attributes),
            resources: resource::resource_list(&resources),
            volume_sizes: volume_sizes.number(),
        }
    }
}

impl From<OperationKey> for wire::OperationKey {
    fn from(key: OperationKey) -> Self {
        use wire::operation_key::Origin;
        let OperationKey { origin, id } = key;
        Self {
            origin: Some(match origin {
                OperationOrigin::Framework(id) => Origin::FrameworkId(id.into()),
                OperationOrigin::Operator(principal) => Origin::Operator(principal.into()),
            }),
            operation_id: id.into(),
        }
    }
}

impl From<TaskOwner> for wire::TaskOwner {
    fn from(owner: TaskOwner) -> Self {
        let TaskOwner {
            framework,
            framework_name,
            principal,
            role,
            failover_timeout,
            unattended,
        } = owner;
        Self {
            framework_id: framework.into(),
            framework_name: framework_name.into(),
            principal: principal.into(),
            role: role.into(),
            failover_timeout_ms: failover_timeout.0,
            unattended,
        }
    }
}

impl From<AgentTask> for wire::AgentTask {
    fn from(task: AgentTask) -> Self {
        let AgentTask {
            owner,
            id,
            name,
            resources,
            network,
            labels,
            status,
            acknowledged,
            operation,
        } = task;
        Self {
            owner: Some(owner.into()),
            task_id: id.into(),
            name: name.into(),
            resources: resource::resource_list(&resources),
            network: network.number(),
            labels: resource::label_list(&labels),
            status: Some(status.into()),
            acknowledged: acknowledged.map_or(0, TaskState::number),
            operation: Some(operation.into()),
        }
    }
}

impl From<AgentEvent> for Event {
    fn from(event: AgentEvent) -> Self {
        match event {
            AgentEvent::Registered { id, scheduler } => {
                Self::Registered(wire::agent_event::Registered {
                    agent_id: id.into(),
                    scheduler_name: scheduler.into(),
                })
            }
            AgentEvent::RegistrationRefused(failure) => Self::RegistrationRefused(failure.into()),
            AgentEvent::Apply {
                operation,
                base,
                change,
            } => Self::Apply(wire::agent_event::Apply {
                operation: Some(operation.into()),
                base_version: base.0,
                change: Some(change.into()),
            }),
            AgentEvent::Launch(launch) => Self::Launch((*launch).into()),
            AgentEvent::Kill {
                task: TaskKey { framework, task },
                grace,
                reason,
            } => Self::Kill(wire::agent_event::Kill {
                framework_id: framework.into(),
                task_id: task.into(),
                grace_ms: grace.map(|grace| grace.0),
                reason: reason.map_or(0, Reason::number),
            }),
            AgentEvent::Acknowledge {
                task: TaskKey { framework, task },
                update,
            } => Self::Acknowledge(wire::agent_event::Acknowledge {
                framework_id: framework.into(),
                task_id: task.into(),
                update_id: update.into(),
            }),
            AgentEvent::Reconcile(tasks) => {
                let task = |TaskKey { framework, task }| wire::agent_event::reconcile::Task {
                    framework_id: framework.into(),
                    task_id: task.into(),
                };
                Self::Reconcile(wire::agent_event::Reconcile {
                    tasks: tasks.into_iter().map(task).collect(),
                })
            }
            AgentEvent::Revoke {
                task: TaskKey { framework, task },
                why,
            } => Self::Revoke(wire::agent_event::Revoke {
                framework_id: framework.into(),
                task_id: task.into(),
                why: why.into(),
            }),
            AgentEvent::Drain { grace_max } => Self::Drain(wire::agent_event::Drain {
                grace_ms_max: grace_max.map(|grace| grace.0),
            }),
            AgentEvent::Shutdown(failure) => Self::Shutdown(failure.into()),
            AgentEvent::Error(error) => Self::Error(error.into()),
        }
    }
}

impl From<ResourceOperation> for wire::agent_event::apply::Change {
    fn from(change: ResourceOperation) -> Self {
        let list = resource::resource_list(change.resources());
        match change {
            ResourceOperation::Reserve(_) => Self::Reserve(wire::Reserve { resources: list }),
            ResourceOperation::Unreserve(_) => Self::Unreserve(wire::Unreserve { resources: list }),
            ResourceOperation::Create(_) => Self::Create(wire::CreateVolumes { volumes: list }),
            ResourceOperation::Destroy(_) => Self::Destroy(wire::DestroyVolumes { volumes: list }),
        }
    }
}

impl From<Launch> for wire::agent_event::Launch {
    fn from(launch: Launch) -> Self {
        let Launch {
            operation,
            owner,
            task,
        } = launch;
        Self {
            operation: Some(operation.into()),
            owner: Some(owner.into()),
            task: Some(task.into()),
        }
    }
}
