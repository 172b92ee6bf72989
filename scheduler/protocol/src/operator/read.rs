//! From the wire.

use std::num::NonZeroU32;

use weir_resources::{Amount, Principal, Resource, ResourceOperation, Role};

use super::answer::{Listing, OperatorAnswer};
use super::call::{Cursor, OperatorCall, Page, Weight};
use super::entry::{
    AgentEntry, AgentState, FrameworkEntry, FrameworkState, Holder, OfferEntry, ReservationEntry,
    RoleEntry, TaskEntry, VolumeEntry,
};
use crate::agent::{set_version, status_of, task_key};
use crate::bounds::PAGE_MAX;
use crate::failure::Failure;
use crate::framework::notes;
use crate::id::{AgentName, OperationId, TaskId};
use crate::invalid::{
    At, Enumeration, Invalid, Problem, each, enumeration, optional, required, within,
};
use crate::resource::{self, VolumeSizes};
use crate::task::{NetworkMode, duration, timestamp};
use crate::text::Line;
use crate::wire;
use crate::wire::operator_answer::Answer;
use crate::wire::operator_call::Call;

enumeration! {
    AgentState, AgentState, Unspecified {
        Connected = Connected,
        Disconnected = Disconnected,
        Draining = Draining,
        Recovered = Recovered,
    }
}

enumeration! {
    FrameworkState, FrameworkState, Unspecified {
        Connected = Connected,
        Suppressed = Suppressed,
        Disconnected = Disconnected,
        Recovered = Recovered,
        Completed = Completed,
    }
}

impl TryFrom<Call> for OperatorCall {
    type Error = Invalid;

    fn try_from(wire: Call) -> Result<Self, Invalid> {
        match wire {
            Call::ListAgents(call) => Ok(Self::ListAgents(
                page(call.page).at("page").at("list_agents")?,
            )),
            Call::ListOffers(call) => Ok(Self::ListOffers(
                page(call.page).at("page").at("list_offers")?,
            )),
            Call::ListRoles(call) => Ok(Self::ListRoles(
                page(call.page).at("page").at("list_roles")?,
            )),
            Call::ListFrameworks(call) => Ok(Self::ListFrameworks(
                page(call.page).at("page").at("list_frameworks")?,
            )),
            Call::ListTasks(call) => list_tasks(call).at("list_tasks"),
            Call::ListReservations(call) => list_reservations(call).at("list_reservations"),
            Call::ListVolumes(call) => list_volumes(call).at("list_volumes"),
            Call::Reserve(call) => change(call, ResourceOperation::Reserve).at("reserve"),
            Call::Unreserve(call) => change(call, ResourceOperation::Unreserve).at("unreserve"),
            Call::CreateVolumes(call) => {
                change(call, ResourceOperation::Create).at("create_volumes")
            }
            Call::DestroyVolumes(call) => {
                change(call, ResourceOperation::Destroy).at("destroy_volumes")
            }
            Call::SetWeight(call) => set_weight(call).at("set_weight"),
            Call::DrainAgent(call) => drain_agent(call).at("drain_agent"),
            Call::RemoveAgent(call) => Ok(Self::RemoveAgent {
                agent: AgentName::new(call.agent_name)
                    .at("agent_name")
                    .at("remove_agent")?,
            }),
            Call::KillTask(call) => kill_task(call).at("kill_task"),
            Call::TeardownFramework(call) => Ok(Self::TeardownFramework {
                framework: call
                    .framework_id
                    .parse()
                    .at("framework_id")
                    .at("teardown_framework")?,
            }),
        }
    }
}

fn page(wire: Option<wire::operator_call::Page>) -> Result<Page, Invalid> {
    let Some(wire) = wire else {
        return Ok(Page::default());
    };
    let limit = |limit: u32| {
        let refusal = Problem::OutOfRange {
            value: 0,
            min: 1,
            max: u32::MAX.into(),
        };
        NonZeroU32::new(limit).ok_or(refusal)
    };
    Ok(Page {
        after: optional(wire.after, |after| Line::new(after).map(Cursor)).at("after")?,
        limit: optional(wire.limit, limit).at("limit")?,
    })
}

fn list_tasks(wire: wire::operator_call::ListTasks) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::ListTasks {
        page: page(wire.page).at("page")?,
        framework: optional(wire.framework_id, |id| id.parse()).at("framework_id")?,
        agent: optional(wire.agent_name, AgentName::new).at("agent_name")?,
        ended: wire.ended,
    })
}

fn list_reservations(wire: wire::operator_call::ListReservations) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::ListReservations {
        page: page(wire.page).at("page")?,
        agent: optional(wire.agent_name, AgentName::new).at("agent_name")?,
        role: optional(wire.role, Role::new).at("role")?,
    })
}

fn list_volumes(wire: wire::operator_call::ListVolumes) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::ListVolumes {
        page: page(wire.page).at("page")?,
        agent: optional(wire.agent_name, AgentName::new).at("agent_name")?,
        role: optional(wire.role, Role::new).at("role")?,
    })
}

fn change(
    wire: wire::operator_call::Change,
    kind: fn(weir_resources::Resources) -> ResourceOperation,
) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::Change {
        operation: OperationId::new(wire.operation_id).at("operation_id")?,
        agent: AgentName::new(wire.agent_name).at("agent_name")?,
        change: kind(resource::resources(wire.resources).at("resources")?),
    })
}

fn set_weight(wire: wire::operator_call::SetWeight) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::SetWeight {
        role: Role::new(wire.role).at("role")?,
        weight: weight(wire.weight_thousandths).at("weight_thousandths")?,
    })
}

fn weight(thousandths: u64) -> Result<Weight, Problem> {
    Weight::new(Amount::from_thousandths(thousandths)).ok_or(Problem::OutOfRange {
        value: thousandths,
        min: 1,
        max: u64::MAX,
    })
}

fn drain_agent(wire: wire::operator_call::DrainAgent) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::DrainAgent {
        agent: AgentName::new(wire.agent_name).at("agent_name")?,
        grace_max: optional(wire.grace_ms_max, duration).at("grace_ms_max")?,
    })
}

fn kill_task(wire: wire::operator_call::KillTask) -> Result<OperatorCall, Invalid> {
    Ok(OperatorCall::KillTask {
        task: task_key(&wire.framework_id, &wire.task_id)?,
        grace: optional(wire.grace_ms, duration).at("grace_ms")?,
    })
}

impl TryFrom<Answer> for OperatorAnswer {
    type Error = Invalid;

    fn try_from(wire: Answer) -> Result<Self, Invalid> {
        match wire {
            Answer::Done(done) => Ok(Self::Done {
                notes: notes(done.notes).at("notes").at("done")?,
            }),
            Answer::Failed(failure) => Ok(Self::Failed(Failure::try_from(failure).at("failed")?)),
            Answer::Agents(list) => listing(list.agents, list.next, "agents")
                .map(Self::Agents)
                .at("agents"),
            Answer::Offers(list) => listing(list.offers, list.next, "offers")
                .map(Self::Offers)
                .at("offers"),
            Answer::Roles(list) => listing(list.roles, list.next, "roles")
                .map(Self::Roles)
                .at("roles"),
            Answer::Frameworks(list) => listing(list.frameworks, list.next, "frameworks")
                .map(Self::Frameworks)
                .at("frameworks"),
            Answer::Tasks(list) => listing(list.tasks, list.next, "tasks")
                .map(Self::Tasks)
                .at("tasks"),
            Answer::Reservations(list) => listing(list.reservations, list.next, "reservations")
                .map(Self::Reservations)
                .at("reservations"),
            Answer::Volumes(list) => listing(list.volumes, list.next, "volumes")
                .map(Self::Volumes)
                .at("volumes"),
        }
    }
}

fn listing<W, T: TryFrom<W, Error = Invalid>>(
    entries: Vec<W>,
    next: Option<String>,
    field: &'static str,
) -> Result<Listing<T>, Invalid> {
    Ok(Listing {
        entries: each(entries, PAGE_MAX, T::try_from).at(field)?,
        next: optional(next, |next| Line::new(next).map(Cursor)).at("next")?,
    })
}

impl TryFrom<wire::AgentEntry> for AgentEntry {
    type Error = Invalid;

    fn try_from(wire: wire::AgentEntry) -> Result<Self, Invalid> {
        Ok(Self {
            id: wire.agent_id.parse().at("agent_id")?,
            agent: required(wire.agent).at("agent")?.try_into().at("agent")?,
            state: AgentState::from_number(wire.state).at("state")?,
            software: Line::new(wire.software).at("software")?,
            registered: timestamp(wire.registered_ms).at("registered_ms")?,
            set_version: set_version(wire.set_version).at("set_version")?,
            total: resource::resources(wire.total).at("total")?,
            used: resource::resources(wire.used).at("used")?,
            offered: resource::resources(wire.offered).at("offered")?,
            revocable: resource::resources(wire.revocable).at("revocable")?,
            tasks: wire.tasks,
        })
    }
}

impl TryFrom<wire::OfferEntry> for OfferEntry {
    type Error = Invalid;

    fn try_from(wire: wire::OfferEntry) -> Result<Self, Invalid> {
        Ok(Self {
            offer: required(wire.offer).at("offer")?.try_into().at("offer")?,
            framework: wire.framework_id.parse().at("framework_id")?,
            framework_name: Line::new(wire.framework_name).at("framework_name")?,
            role: Role::new(wire.role).at("role")?,
            offered: timestamp(wire.offered_ms).at("offered_ms")?,
        })
    }
}

impl TryFrom<wire::RoleEntry> for RoleEntry {
    type Error = Invalid;

    fn try_from(wire: wire::RoleEntry) -> Result<Self, Invalid> {
        const WHOLE: u64 = 1_000_000;
        let share = u64::from(wire.dominant_share_millionths);
        within(share, 0, WHOLE).at("dominant_share_millionths")?;
        Ok(Self {
            role: Role::new(wire.role).at("role")?,
            weight: weight(wire.weight_thousandths).at("weight_thousandths")?,
            frameworks: wire.frameworks,
            allocated: resource::resources(wire.allocated).at("allocated")?,
            reserved: resource::resources(wire.reserved).at("reserved")?,
            dominant_share_millionths: wire.dominant_share_millionths,
        })
    }
}

impl TryFrom<wire::FrameworkEntry> for FrameworkEntry {
    type Error = Invalid;

    fn try_from(wire: wire::FrameworkEntry) -> Result<Self, Invalid> {
        let framework = required(wire.framework).at("framework")?;
        Ok(Self {
            id: wire.framework_id.parse().at("framework_id")?,
            framework: framework.try_into().at("framework")?,
            principal: Principal::new(wire.principal).at("principal")?,
            state: FrameworkState::from_number(wire.state).at("state")?,
            subscribed: timestamp(wire.subscribed_ms).at("subscribed_ms")?,
            used: resource::resources(wire.used).at("used")?,
            offered: resource::resources(wire.offered).at("offered")?,
            tasks: wire.tasks,
            offers: wire.offers,
        })
    }
}

impl TryFrom<wire::TaskEntry> for TaskEntry {
    type Error = Invalid;

    fn try_from(wire: wire::TaskEntry) -> Result<Self, Invalid> {
        let id = TaskId::new(wire.task_id).at("task_id")?;
        let status = required(wire.status).at("status")?;
        let agent = match (wire.agent_id, wire.agent_name) {
            (None, None) => None,
            (Some(id), Some(name)) => Some((
                id.parse().at("agent_id")?,
                AgentName::new(name).at("agent_name")?,
            )),
            (Some(_), None) => {
                let other = "agent_name";
                return Err(Problem::Alone { other }).at("agent_id");
            }
            (None, Some(_)) => {
                let other = "agent_id";
                return Err(Problem::Alone { other }).at("agent_name");
            }
        };
        Ok(Self {
            owner: required(wire.owner).at("owner")?.try_into().at("owner")?,
            status: status_of(&id, status).at("status")?,
            id,
            name: Line::new(wire.name).at("name")?,
            agent,
            resources: resource::resources(wire.resources).at("resources")?,
            network: NetworkMode::from_number(wire.network).at("network")?,
            labels: resource::labels(wire.labels).at("labels")?,
            volume_sizes: optional(wire.volume_sizes, VolumeSizes::from_number)
                .at("volume_sizes")?,
        })
    }
}

impl TryFrom<wire::Holder> for Holder {
    type Error = Invalid;

    fn try_from(wire: wire::Holder) -> Result<Self, Invalid> {
        use wire::holder::Holder as Wire;
        match required(wire.holder).at("holder")? {
            Wire::Free(wire::holder::Free {}) => Ok(Self::Free),
            Wire::Offered(offered) => {
                let framework = offered.framework_id.parse().at("framework_id");
                Ok(Self::Offered(framework.at("offered")?))
            }
            Wire::Used(used) => {
                let task = task_key(&used.framework_id, &used.task_id).at("used")?;
                Ok(Self::Used(task))
            }
        }
    }
}

impl TryFrom<wire::ReservationEntry> for ReservationEntry {
    type Error = Invalid;

    fn try_from(wire: wire::ReservationEntry) -> Result<Self, Invalid> {
        Ok(Self {
            agent: wire.agent_id.parse().at("agent_id")?,
            agent_name: AgentName::new(wire.agent_name).at("agent_name")?,
            resources: resource::resources(wire.resources).at("resources")?,
            holder: required(wire.holder)
                .at("holder")?
                .try_into()
                .at("holder")?,
        })
    }
}

impl TryFrom<wire::VolumeEntry> for VolumeEntry {
    type Error = Invalid;

    fn try_from(wire: wire::VolumeEntry) -> Result<Self, Invalid> {
        let volume = required(wire.volume).at("volume")?;
        let volume = Resource::try_from(volume).at("volume")?;
        if volume.volume().is_none() {
            return Err(Problem::Missing).at("volume").at("volume");
        }
        Ok(Self {
            agent: wire.agent_id.parse().at("agent_id")?,
            agent_name: AgentName::new(wire.agent_name).at("agent_name")?,
            volume,
            holder: required(wire.holder)
                .at("holder")?
                .try_into()
                .at("holder")?,
            sizes: VolumeSizes::from_number(wire.sizes).at("sizes")?,
        })
    }
}
