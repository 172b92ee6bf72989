//! To the wire.

use weir_resources::ResourceOperation;

use super::call::{FrameworkCall, TaskQuery};
use super::event::FrameworkEvent;
use super::info::{FrameworkCapability, FrameworkInfo};
use super::offer::{Filters, Offer};
use super::operation::{Action, Operation, OperationOutcome};
use crate::invalid::Enumeration;
use crate::resource;
use crate::wire;
use crate::wire::framework_call::Call;
use crate::wire::framework_event::Event;
use crate::wire::framework_event::operation_answer::Outcome;

impl From<FrameworkCall> for Call {
    fn from(call: FrameworkCall) -> Self {
        match call {
            FrameworkCall::Subscribe {
                framework,
                id,
                force,
            } => Self::Subscribe(wire::framework_call::Subscribe {
                framework: Some(framework.into()),
                framework_id: id.map(String::from),
                force,
            }),
            FrameworkCall::Accept {
                offers,
                operations,
                filters,
            } => Self::Accept(wire::framework_call::Accept {
                offer_ids: texts(offers),
                operations: operations.into_iter().map(wire::Operation::from).collect(),
                filters: Some(filters.into()),
            }),
            FrameworkCall::Decline { offers, filters } => {
                Self::Decline(wire::framework_call::Decline {
                    offer_ids: texts(offers),
                    filters: Some(filters.into()),
                })
            }
            FrameworkCall::Revive => Self::Revive(wire::framework_call::Revive {}),
            FrameworkCall::Suppress => Self::Suppress(wire::framework_call::Suppress {}),
            FrameworkCall::Kill { task, agent, grace } => Self::Kill(wire::framework_call::Kill {
                task_id: task.into(),
                agent_id: agent.map(String::from),
                grace_ms: grace.map(|grace| grace.0),
            }),
            FrameworkCall::Acknowledge {
                agent,
                task,
                update,
            } => Self::Acknowledge(wire::framework_call::Acknowledge {
                agent_id: agent.into(),
                task_id: task.into(),
                update_id: update.into(),
            }),
            FrameworkCall::Reconcile { tasks, operations } => {
                Self::Reconcile(wire::framework_call::Reconcile {
                    tasks: tasks.into_iter().map(query).collect(),
                    operation_ids: texts(operations),
                })
            }
            FrameworkCall::Teardown => Self::Teardown(wire::framework_call::Teardown {}),
        }
    }
}

fn texts<T: Into<String>>(ids: Vec<T>) -> Vec<String> {
    ids.into_iter().map(T::into).collect()
}

fn query(query: TaskQuery) -> wire::framework_call::reconcile::Task {
    let TaskQuery { task, agent } = query;
    wire::framework_call::reconcile::Task {
        task_id: task.into(),
        agent_id: agent.map(String::from),
    }
}

impl From<Filters> for wire::Filters {
    fn from(filters: Filters) -> Self {
        let Filters { refuse } = filters;
        Self {
            refuse_ms: Some(refuse.0),
        }
    }
}

impl From<FrameworkInfo> for wire::FrameworkInfo {
    fn from(framework: FrameworkInfo) -> Self {
        let FrameworkInfo {
            name,
            role,
            user,
            failover_timeout,
            unattended,
            capabilities,
            labels,
            weburl,
        } = framework;
        let capabilities = capabilities.into_iter();
        Self {
            name: name.into(),
            role: role.into(),
            user: user.map(String::from),
            failover_timeout_ms: failover_timeout.0,
            capabilities: capabilities.map(FrameworkCapability::number).collect(),
            labels: resource::label_list(&labels),
            weburl: weburl.map(String::from),
            unattended,
        }
    }
}

impl From<Operation> for wire::Operation {
    fn from(operation: Operation) -> Self {
        let Operation { id, action } = operation;
        Self {
            operation_id: id.into(),
            operation: Some(action.into()),
        }
    }
}

impl From<Action> for wire::operation::Operation {
    fn from(action: Action) -> Self {
        match action {
            Action::Launch(tasks) => Self::Launch(wire::Launch {
                tasks: tasks.into_iter().map(wire::TaskSpec::from).collect(),
            }),
            Action::Change(change) => {
                let list = resource::resource_list(change.resources());
                match change {
                    ResourceOperation::Reserve(_) => {
                        Self::Reserve(wire::Reserve { resources: list })
                    }
                    ResourceOperation::Unreserve(_) => {
                        Self::Unreserve(wire::Unreserve { resources: list })
                    }
                    ResourceOperation::Create(_) => {
                        Self::Create(wire::CreateVolumes { volumes: list })
                    }
                    ResourceOperation::Destroy(_) => {
                        Self::Destroy(wire::DestroyVolumes { volumes: list })
                    }
                }
            }
        }
    }
}

impl From<FrameworkEvent> for Event {
    fn from(event: FrameworkEvent) -> Self {
        match event {
            FrameworkEvent::Subscribed {
                id,
                scheduler,
                heartbeat_interval,
            } => Self::Subscribed(wire::framework_event::Subscribed {
                framework_id: id.into(),
                scheduler_name: scheduler.into(),
                heartbeat_interval_ms: heartbeat_interval.0,
            }),
            FrameworkEvent::Offers(offers) => Self::Offers(wire::framework_event::Offers {
                offers: offers.into_iter().map(wire::Offer::from).collect(),
            }),
            FrameworkEvent::Rescind { offer, reason } => {
                Self::Rescind(wire::framework_event::Rescind {
                    offer_id: offer.into(),
                    reason: reason.number(),
                })
            }
            FrameworkEvent::Update(status) => Self::Update(wire::framework_event::Update {
                status: Some(status.into()),
            }),
            FrameworkEvent::Operation { id, outcome } => {
                Self::Operation(wire::framework_event::OperationAnswer {
                    operation_id: id.into(),
                    outcome: Some(outcome.into()),
                })
            }
            FrameworkEvent::AgentLost { id, name, reason } => {
                Self::AgentLost(wire::framework_event::AgentLost {
                    agent_id: id.into(),
                    agent_name: name.into(),
                    reason: reason.into(),
                })
            }
            FrameworkEvent::Error(error) => Self::Error(error.into()),
            FrameworkEvent::Heartbeat => Self::Heartbeat(wire::framework_event::Heartbeat {}),
        }
    }
}

impl From<OperationOutcome> for Outcome {
    fn from(outcome: OperationOutcome) -> Self {
        match outcome {
            OperationOutcome::Accepted => Self::Accepted(wire::framework_event::Accepted {}),
            OperationOutcome::Finished { notes } => {
                Self::Finished(wire::framework_event::Finished {
                    notes: texts(notes),
                })
            }
            OperationOutcome::Failed(failure) => Self::Failed(failure.into()),
        }
    }
}

impl From<Offer> for wire::Offer {
    fn from(offer: Offer) -> Self {
        let Offer {
            id,
            agent,
            agent_name,
            hostname,
            addresses,
            attributes,
            resources,
            kind,
            expires_after,
            volume_sizes,
        } = offer;
        Self {
            offer_id: id.into(),
            agent_id: agent.into(),
            agent_name: agent_name.into(),
            hostname: hostname.into(),
            addresses: resource::address_texts(&addresses),
            attributes: resource::attribute_list(&attributes),
            resources: resource::resource_list(&resources),
            kind: kind.number(),
            expires_after_ms: expires_after.map(|time| time.0),
            volume_sizes: volume_sizes.number(),
        }
    }
}
