//! To the wire.

use weir_resources::ResourceOperation;

use super::answer::{Listing, OperatorAnswer};
use super::call::{Cursor, OperatorCall, Page};
use super::entry::{
    AgentEntry, FrameworkEntry, Holder, OfferEntry, ReservationEntry, RoleEntry, TaskEntry,
    VolumeEntry,
};
use crate::id::TaskKey;
use crate::invalid::Enumeration;
use crate::resource::{self, VolumeSizes};
use crate::text::Note;
use crate::wire;
use crate::wire::operator_answer::Answer;
use crate::wire::operator_call::Call;

impl From<OperatorCall> for Call {
    fn from(call: OperatorCall) -> Self {
        match call {
            OperatorCall::ListAgents(page) => Self::ListAgents(wire::operator_call::ListAgents {
                page: Some(page.into()),
            }),
            OperatorCall::ListOffers(page) => Self::ListOffers(wire::operator_call::ListOffers {
                page: Some(page.into()),
            }),
            OperatorCall::ListRoles(page) => Self::ListRoles(wire::operator_call::ListRoles {
                page: Some(page.into()),
            }),
            OperatorCall::ListFrameworks(page) => {
                Self::ListFrameworks(wire::operator_call::ListFrameworks {
                    page: Some(page.into()),
                })
            }
            OperatorCall::ListTasks {
                page,
                framework,
                agent,
                ended,
            } => Self::ListTasks(wire::operator_call::ListTasks {
                page: Some(page.into()),
                framework_id: framework.map(String::from),
                agent_name: agent.map(String::from),
                ended,
            }),
            OperatorCall::ListReservations { page, agent, role } => {
                Self::ListReservations(wire::operator_call::ListReservations {
                    page: Some(page.into()),
                    agent_name: agent.map(String::from),
                    role: role.map(String::from),
                })
            }
            OperatorCall::ListVolumes { page, agent, role } => {
                Self::ListVolumes(wire::operator_call::ListVolumes {
                    page: Some(page.into()),
                    agent_name: agent.map(String::from),
                    role: role.map(String::from),
                })
            }
            OperatorCall::Change {
                operation,
                agent,
                change,
            } => {
                let call = wire::operator_call::Change {
                    operation_id: operation.into(),
                    agent_name: agent.into(),
                    resources: resource::resource_list(change.resources()),
                };
                match change {
                    ResourceOperation::Reserve(_) => Self::Reserve(call),
                    ResourceOperation::Unreserve(_) => Self::Unreserve(call),
                    ResourceOperation::Create(_) => Self::CreateVolumes(call),
                    ResourceOperation::Destroy(_) => Self::DestroyVolumes(call),
                }
            }
            OperatorCall::SetWeight { role, weight } => {
                Self::SetWeight(wire::operator_call::SetWeight {
                    role: role.into(),
                    weight_thousandths: weight.amount().thousandths(),
                })
            }
            OperatorCall::DrainAgent { agent, grace_max } => {
                Self::DrainAgent(wire::operator_call::DrainAgent {
                    agent_name: agent.into(),
                    grace_ms_max: grace_max.map(|grace| grace.0),
                })
            }
            OperatorCall::RemoveAgent { agent } => {
                Self::RemoveAgent(wire::operator_call::RemoveAgent {
                    agent_name: agent.into(),
                })
            }
            OperatorCall::KillTask {
                task: TaskKey { framework, task },
                grace,
            } => Self::KillTask(wire::operator_call::KillTask {
                framework_id: framework.into(),
                task_id: task.into(),
                grace_ms: grace.map(|grace| grace.0),
            }),
            OperatorCall::TeardownFramework { framework } => {
                Self::TeardownFramework(wire::operator_call::TeardownFramework {
                    framework_id: framework.into(),
                })
            }
        }
    }
}

impl From<Page> for wire::operator_call::Page {
    fn from(page: Page) -> Self {
        let Page { after, limit } = page;
        Self {
            after: after.map(|Cursor(after)| after.into()),
            limit: limit.map(u32::from),
        }
    }
}

impl From<OperatorAnswer> for Answer {
    fn from(answer: OperatorAnswer) -> Self {
        match answer {
            OperatorAnswer::Done { notes } => Self::Done(wire::operator_answer::Done {
                notes: notes.into_iter().map(Note::into).collect(),
            }),
            OperatorAnswer::Failed(failure) => Self::Failed(failure.into()),
            OperatorAnswer::Agents(list) => {
                let (agents, next) = parts(list);
                Self::Agents(wire::operator_answer::Agents { agents, next })
            }
            OperatorAnswer::Offers(list) => {
                let (offers, next) = parts(list);
                Self::Offers(wire::operator_answer::Offers { offers, next })
            }
            OperatorAnswer::Roles(list) => {
                let (roles, next) = parts(list);
                Self::Roles(wire::operator_answer::Roles { roles, next })
            }
            OperatorAnswer::Frameworks(list) => {
                let (frameworks, next) = parts(list);
                Self::Frameworks(wire::operator_answer::Frameworks { frameworks, next })
            }
            OperatorAnswer::Tasks(list) => {
                let (tasks, next) = parts(list);
                Self::Tasks(wire::operator_answer::Tasks { tasks, next })
            }
            OperatorAnswer::Reservations(list) => {
                let (reservations, next) = parts(list);
                Self::Reservations(wire::operator_answer::Reservations { reservations, next })
            }
            OperatorAnswer::Volumes(list) => {
                let (volumes, next) = parts(list);
                Self::Volumes(wire::operator_answer::Volumes { volumes, next })
            }
        }
    }
}

fn parts<T, W: From<T>>(list: Listing<T>) -> (Vec<W>, Option<String>) {
    let Listing { entries, next } = list;
    let next = next.map(|Cursor(next)| next.into());
    (entries.into_iter().map(W::from).collect(), next)
}

impl From<AgentEntry> for wire::AgentEntry {
    fn from(entry: AgentEntry) -> Self {
        let AgentEntry {
            id,
            agent,
            state,
            software,
            registered,
            set_version,
            total,
            used,
            offered,
            revocable,
            tasks,
        } = entry;
        Self {
            agent_id: id.into(),
            agent: Some(agent.into()),
            state: state.number(),
            software: software.into(),
            registered_ms: registered.0,
            set_version: set_version.0,
            total: resource::resource_list(&total),
            used: resource::resource_list(&used),
            offered: resource::resource_list(&offered),
            revocable: resource::resource_list(&revocable),
            tasks,
        }
    }
}

impl From<OfferEntry> for wire::OfferEntry {
    fn from(entry: OfferEntry) -> Self {
        let OfferEntry {
            offer,
            framework,
            framework_name,
            role,
            offered,
        } = entry;
        Self {
            offer: Some(offer.into()),
            framework_id: framework.into(),
            framework_name: framework_name.into(),
            role: role.into(),
            offered_ms: offered.0,
        }
    }
}

impl From<RoleEntry> for wire::RoleEntry {
    fn from(entry: RoleEntry) -> Self {
        let RoleEntry {
            role,
            weight,
            frameworks,
            allocated,
            reserved,
            dominant_share_millionths,
        } = entry;
        Self {
            role: role.into(),
            weight_thousandths: weight.amount().thousandths(),
            frameworks,
            allocated: resource::resource_list(&allocated),
            reserved: resource::resource_list(&reserved),
            dominant_share_millionths,
        }
    }
}

impl From<FrameworkEntry> for wire::FrameworkEntry {
    fn from(entry: FrameworkEntry) -> Self {
        let FrameworkEntry {
            id,
            framework,
            principal,
            state,
            subscribed,
            used,
            offered,
            tasks,
            offers,
        } = entry;
        Self {
            framework_id: id.into(),
            framework: Some(framework.into()),
            principal: principal.into(),
            state: state.number(),
            subscribed_ms: subscribed.0,
            used: resource::resource_list(&used),
            offered: resource::resource_list(&offered),
            tasks,
            offers,
        }
    }
}

impl From<TaskEntry> for wire::TaskEntry {
    fn from(entry: TaskEntry) -> Self {
        let TaskEntry {
            owner,
            id,
            name,
            agent,
            resources,
            network,
            labels,
            status,
            volume_sizes,
        } = entry;
        let (agent_id, agent_name) = agent.unzip();
        Self {
            owner: Some(owner.into()),
            task_id: id.into(),
            name: name.into(),
            agent_id: agent_id.map(String::from),
            agent_name: agent_name.map(String::from),
            resources: resource::resource_list(&resources),
            network: network.number(),
            labels: resource::label_list(&labels),
            status: Some(status.into()),
            volume_sizes: volume_sizes.map(VolumeSizes::number),
        }
    }
}

impl From<Holder> for wire::Holder {
    fn from(holder: Holder) -> Self {
        use wire::holder::Holder as Wire;
        Self {
            holder: Some(match holder {
                Holder::Free => Wire::Free(wire::holder::Free {}),
                Holder::Offered(framework) => Wire::Offered(wire::holder::OfferedTo {
                    framework_id: framework.into(),
                }),
                Holder::Used(TaskKey { framework, task }) => Wire::Used(wire::holder::UsedBy {
                    framework_id: framework.into(),
                    task_id: task.into(),
                }),
            }),
        }
    }
}

impl From<ReservationEntry> for wire::ReservationEntry {
    fn from(entry: ReservationEntry) -> Self {
        let ReservationEntry {
            agent,
            agent_name,
            resources,
            holder,
        } = entry;
        Self {
            agent_id: agent.into(),
            agent_name: agent_name.into(),
            resources: resource::resource_list(&resources),
            holder: Some(holder.into()),
        }
    }
}

impl From<VolumeEntry> for wire::VolumeEntry {
    fn from(entry: VolumeEntry) -> Self {
        let VolumeEntry {
            agent,
            agent_name,
            volume,
            holder,
            sizes,
        } = entry;
        Self {
            agent_id: agent.into(),
            agent_name: agent_name.into(),
            volume: Some((&volume).into()),
            holder: Some(holder.into()),
            sizes: sizes.number(),
        }
    }
}
