//! From the wire.

use std::collections::BTreeSet;

use weir_resources::{Kind, Role};

use super::call::{FrameworkCall, TaskQuery};
use super::event::{FrameworkEvent, RescindReason};
use super::info::{FrameworkCapability, FrameworkInfo};
use super::offer::{Filters, Offer};
use super::operation::{Action, Operation, OperationOutcome};
use crate::bounds::{
    CAPABILITIES_MAX, DURATION_MS_MAX, NOTES_MAX, OFFER_IDS_MAX, OFFERS_MAX, OPERATIONS_MAX,
    RECONCILE_MAX, TASKS_PER_LAUNCH_MAX,
};
use crate::failure::{CallError, Failure};
use crate::id::{AgentName, OfferId, OperationId, TaskId};
use crate::invalid::{
    At, Enumeration, Invalid, Problem, each, each_of_some, enumeration, optional, required, within,
};
use crate::resource::{self, VolumeSizes};
use crate::task::{TaskSpec, TaskStatus, duration};
use crate::text::{Line, Note};
use crate::time::Millis;
use crate::wire;
use crate::wire::framework_call::Call;
use crate::wire::framework_event::Event;
use crate::wire::framework_event::operation_answer::Outcome;

enumeration! {
    FrameworkCapability, FrameworkCapability, Unspecified {
        RevocableResources = RevocableResources,
    }
}

enumeration! {
    Kind, OfferKind, Unspecified { Regular = Regular, Revocable = Revocable }
}

enumeration! {
    RescindReason, RescindReason, Unspecified {
        AgentDisconnected = AgentDisconnected,
        AgentRemoved = AgentRemoved,
        AgentDraining = AgentDraining,
        Expired = Expired,
        ResourcesChanged = ResourcesChanged,
        EstimateShrank = EstimateShrank,
        Operator = Operator,
        Resubscribed = Resubscribed,
        InvalidAccept = InvalidAccept,
    }
}

impl TryFrom<Call> for FrameworkCall {
    type Error = Invalid;

    fn try_from(wire: Call) -> Result<Self, Invalid> {
        match wire {
            Call::Subscribe(call) => subscribe(call).at("subscribe"),
            Call::Accept(call) => accept(call).at("accept"),
            Call::Decline(call) => decline(call).at("decline"),
            Call::Revive(wire::framework_call::Revive {}) => Ok(Self::Revive),
            Call::Suppress(wire::framework_call::Suppress {}) => Ok(Self::Suppress),
            Call::Kill(call) => kill(call).at("kill"),
            Call::Acknowledge(call) => acknowledge(call).at("acknowledge"),
            Call::Reconcile(call) => reconcile(call).at("reconcile"),
            Call::Teardown(wire::framework_call::Teardown {}) => Ok(Self::Teardown),
        }
    }
}

fn subscribe(wire: wire::framework_call::Subscribe) -> Result<FrameworkCall, Invalid> {
    let framework = required(wire.framework).at("framework")?;
    Ok(FrameworkCall::Subscribe {
        framework: framework.try_into().at("framework")?,
        id: optional(wire.framework_id, |id| id.parse()).at("framework_id")?,
        force: wire.force,
    })
}

fn accept(wire: wire::framework_call::Accept) -> Result<FrameworkCall, Invalid> {
    Ok(FrameworkCall::Accept {
        offers: offer_ids(wire.offer_ids).at("offer_ids")?,
        operations: each(wire.operations, OPERATIONS_MAX, Operation::try_from).at("operations")?,
        filters: filters(wire.filters).at("filters")?,
    })
}

fn decline(wire: wire::framework_call::Decline) -> Result<FrameworkCall, Invalid> {
    Ok(FrameworkCall::Decline {
        offers: offer_ids(wire.offer_ids).at("offer_ids")?,
        filters: filters(wire.filters).at("filters")?,
    })
}

fn kill(wire: wire::framework_call::Kill) -> Result<FrameworkCall, Invalid> {
    Ok(FrameworkCall::Kill {
        task: TaskId::new(wire.task_id).at("task_id")?,
        agent: optional(wire.agent_id, |id| id.parse()).at("agent_id")?,
        grace: optional(wire.grace_ms, duration).at("grace_ms")?,
    })
}

fn acknowledge(wire: wire::framework_call::Acknowledge) -> Result<FrameworkCall, Invalid> {
    Ok(FrameworkCall::Acknowledge {
        agent: wire.agent_id.parse().at("agent_id")?,
        task: TaskId::new(wire.task_id).at("task_id")?,
        update: wire.update_id.parse().at("update_id")?,
    })
}

fn reconcile(wire: wire::framework_call::Reconcile) -> Result<FrameworkCall, Invalid> {
    let task = |wire: wire::framework_call::reconcile::Task| {
        Ok::<_, Invalid>(TaskQuery {
            task: TaskId::new(wire.task_id).at("task_id")?,
            agent: optional(wire.agent_id, |id| id.parse()).at("agent_id")?,
        })
    };
    Ok(FrameworkCall::Reconcile {
        tasks: each(wire.tasks, RECONCILE_MAX, task).at("tasks")?,
        operations: each(wire.operation_ids, RECONCILE_MAX, OperationId::new)
            .at("operation_ids")?,
    })
}

fn offer_ids(list: Vec<String>) -> Result<Vec<OfferId>, Invalid> {
    each_of_some(list, OFFER_IDS_MAX, |id| id.parse::<OfferId>())
}

fn filters(wire: Option<wire::Filters>) -> Result<Filters, Invalid> {
    match wire.and_then(|filters| filters.refuse_ms) {
        None => Ok(Filters::default()),
        Some(millis) => Ok(Filters {
            refuse: duration(millis).at("refuse_ms")?,
        }),
    }
}

impl TryFrom<wire::FrameworkInfo> for FrameworkInfo {
    type Error = Invalid;

    fn try_from(wire: wire::FrameworkInfo) -> Result<Self, Invalid> {
        let wire::FrameworkInfo {
            name,
            role,
            user,
            failover_timeout_ms,
            capabilities,
            labels,
            weburl,
            unattended,
        } = wire;
        let capabilities = each(
            capabilities,
            CAPABILITIES_MAX,
            FrameworkCapability::from_number,
        );
        Ok(Self {
            name: Line::new(name).at("name")?,
            role: Role::new(role).at("role")?,
            user: optional(user, Line::new).at("user")?,
            failover_timeout: duration(failover_timeout_ms).at("failover_timeout_ms")?,
            unattended,
            capabilities: BTreeSet::from_iter(capabilities.at("capabilities")?),
            labels: resource::labels(labels).at("labels")?,
            weburl: optional(weburl, Line::new).at("weburl")?,
        })
    }
}

impl TryFrom<wire::Operation> for Operation {
    type Error = Invalid;

    fn try_from(wire: wire::Operation) -> Result<Self, Invalid> {
        Ok(Self {
            id: OperationId::new(wire.operation_id).at("operation_id")?,
            action: required(wire.operation).at("operation")?.try_into()?,
        })
    }
}

impl TryFrom<wire::operation::Operation> for Action {
    type Error = Invalid;

    fn try_from(wire: wire::operation::Operation) -> Result<Self, Invalid> {
        use wire::operation::Operation as Wire;
        let change = match wire {
            Wire::Launch(launch) => {
                let tasks = each_of_some(launch.tasks, TASKS_PER_LAUNCH_MAX, TaskSpec::try_from);
                return Ok(Self::Launch(tasks.at("tasks").at("launch")?));
            }
            Wire::Reserve(reserve) => resource::reserve(reserve).at("reserve")?,
            Wire::Unreserve(unreserve) => resource::unreserve(unreserve).at("unreserve")?,
            Wire::Create(create) => resource::create(create).at("create")?,
            Wire::Destroy(destroy) => resource::destroy(destroy).at("destroy")?,
        };
        Ok(Self::Change(change))
    }
}

impl TryFrom<Event> for FrameworkEvent {
    type Error = Invalid;

    fn try_from(wire: Event) -> Result<Self, Invalid> {
        match wire {
            Event::Subscribed(event) => subscribed(event).at("subscribed"),
            Event::Offers(event) => {
                let offers = each_of_some(event.offers, OFFERS_MAX, Offer::try_from);
                Ok(Self::Offers(offers.at("offers").at("offers")?))
            }
            Event::Rescind(event) => rescind(event).at("rescind"),
            Event::Update(event) => {
                let status = required(event.status).at("status").at("update")?;
                let status = TaskStatus::try_from(status).at("status").at("update")?;
                Ok(Self::Update(status))
            }
            Event::Operation(event) => operation_answer(event).at("operation"),
            Event::AgentLost(event) => agent_lost(event).at("agent_lost"),
            Event::Error(error) => Ok(Self::Error(CallError::try_from(error).at("error")?)),
            Event::Heartbeat(wire::framework_event::Heartbeat {}) => Ok(Self::Heartbeat),
        }
    }
}

fn subscribed(wire: wire::framework_event::Subscribed) -> Result<FrameworkEvent, Invalid> {
    let interval = within(wire.heartbeat_interval_ms, 1, DURATION_MS_MAX);
    Ok(FrameworkEvent::Subscribed {
        id: wire.framework_id.parse().at("framework_id")?,
        scheduler: Line::new(wire.scheduler_name).at("scheduler_name")?,
        heartbeat_interval: Millis(interval.at("heartbeat_interval_ms")?),
    })
}

fn rescind(wire: wire::framework_event::Rescind) -> Result<FrameworkEvent, Invalid> {
    Ok(FrameworkEvent::Rescind {
        offer: wire.offer_id.parse().at("offer_id")?,
        reason: RescindReason::from_number(wire.reason).at("reason")?,
    })
}

fn operation_answer(
    wire: wire::framework_event::OperationAnswer,
) -> Result<FrameworkEvent, Invalid> {
    Ok(FrameworkEvent::Operation {
        id: OperationId::new(wire.operation_id).at("operation_id")?,
        outcome: required(wire.outcome).at("outcome")?.try_into()?,
    })
}

impl TryFrom<Outcome> for OperationOutcome {
    type Error = Invalid;

    fn try_from(wire: Outcome) -> Result<Self, Invalid> {
        match wire {
            Outcome::Accepted(wire::framework_event::Accepted {}) => Ok(Self::Accepted),
            Outcome::Finished(finished) => Ok(Self::Finished {
                notes: notes(finished.notes).at("notes").at("finished")?,
            }),
            Outcome::Failed(failure) => Ok(Self::Failed(Failure::try_from(failure).at("failed")?)),
        }
    }
}

/// Returns the notes of a list.
pub(crate) fn notes(list: Vec<String>) -> Result<Vec<Note>, Invalid> {
    each(list, NOTES_MAX, Note::new)
}

fn agent_lost(wire: wire::framework_event::AgentLost) -> Result<FrameworkEvent, Invalid> {
    Ok(FrameworkEvent::AgentLost {
        id: wire.agent_id.parse().at("agent_id")?,
        name: AgentName::new(wire.agent_name).at("agent_name")?,
        reason: Note::new(wire.reason).at("reason")?,
    })
}

impl TryFrom<wire::Offer> for Offer {
    type Error = Invalid;

    fn try_from(wire: wire::Offer) -> Result<Self, Invalid> {
        let wire::Offer {
            offer_id,
            agent_id,
            agent_name,
            hostname,
            addresses,
            attributes,
            resources,
            kind,
            expires_after_ms,
            volume_sizes,
        } = wire;
        let kind = Kind::from_number(kind).at("kind")?;
        let resources = resource::resources(resources).at("resources")?;
        if resources.is_empty() {
            return Err(Problem::Empty).at("resources");
        }
        if let Some(other) = resources.iter().find(|entry| entry.kind() != kind) {
            return Err(Problem::OtherKind {
                resource: other.clone(),
            })
            .at("resources");
        }
        Ok(Self {
            id: offer_id.parse().at("offer_id")?,
            agent: agent_id.parse().at("agent_id")?,
            agent_name: AgentName::new(agent_name).at("agent_name")?,
            hostname: Line::new(hostname).at("hostname")?,
            addresses: resource::addresses(addresses).at("addresses")?,
            attributes: resource::attributes(attributes).at("attributes")?,
            resources,
            kind,
            expires_after: optional(expires_after_ms, duration).at("expires_after_ms")?,
            volume_sizes: VolumeSizes::from_number(volume_sizes).at("volume_sizes")?,
        })
    }
}
