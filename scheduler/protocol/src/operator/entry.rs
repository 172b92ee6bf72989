//! What is listed.

use weir_resources::{Labels, Principal, Resource, Resources, Role};

use super::call::Weight;
use crate::agent::{AgentInfo, TaskOwner};
use crate::framework::{FrameworkInfo, Offer};
use crate::id::{AgentId, AgentName, FrameworkId, TaskId, TaskKey};
use crate::resource::{SetVersion, VolumeSizes};
use crate::task::{NetworkMode, TaskStatus};
use crate::text::Line;
use crate::time::UnixMs;

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentEntry {
    /// What the scheduler calls it.
    pub id: AgentId,
    /// What it says of its node.
    pub agent: AgentInfo,
    /// How it is.
    pub state: AgentState,
    /// What it runs.
    pub software: Line,
    /// When it last registered.
    pub registered: UnixMs,
    /// The version of its set of reservations and volumes, which have listings of their own.
    pub set_version: SetVersion,
    /// All that it has, with reservations and volumes.
    pub total: Resources,
    /// What tasks hold of it.
    pub used: Resources,
    /// What frameworks are offered of it.
    pub offered: Resources,
    /// What it lends.
    pub revocable: Resources,
    /// How many tasks it has.
    pub tasks: u32,
}

/// How an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentState {
    /// It is there.
    Connected,
    /// Its connection is gone, its tasks are not given up.
    Disconnected,
    /// It takes nothing new.
    Draining,
    /// Known from before a restart of the scheduler, not seen since.
    Recovered,
}

/// An offer with its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferEntry {
    /// The offer.
    pub offer: Offer,
    /// Who holds it.
    pub framework: FrameworkId,
    /// What people call the holder.
    pub framework_name: Line,
    /// The holder's role.
    pub role: Role,
    /// When it was made.
    pub offered: UnixMs,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleEntry {
    /// Its name.
    pub role: Role,
    /// How much it is due.
    pub weight: Weight,
    /// How many frameworks it has.
    pub frameworks: u32,
    /// How much of each scalar its frameworks hold or are offered, over all agents. Ranges and sets
    /// of several agents mean nothing together and are left out.
    pub allocated: Resources,
    /// How much of each scalar is reserved for it, over all agents.
    pub reserved: Resources,
    /// Its share of the scarcest resource in millionths, before the weight.
    pub dominant_share_millionths: u32,
}

/// A framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkEntry {
    /// What the scheduler calls it.
    pub id: FrameworkId,
    /// What it says of itself.
    pub framework: FrameworkInfo,
    /// The name in its certificate.
    pub principal: Principal,
    /// How it is.
    pub state: FrameworkState,
    /// When it last subscribed.
    pub subscribed: UnixMs,
    /// How much of each scalar its tasks hold, over all agents.
    pub used: Resources,
    /// How much of each scalar it is offered, over all agents.
    pub offered: Resources,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many offers it holds.
    pub offers: u32,
}

/// How a framework is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameworkState {
    /// It is there.
    Connected,
    /// It is there, and wants no offers.
    Suppressed,
    /// Its time to fail over runs.
    Disconnected,
    /// Known from its tasks only, since the scheduler lost what it knew.
    Recovered,
    /// It was torn down or did not come back.
    Completed,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEntry {
    /// Whose it is.
    pub owner: TaskOwner,
    /// What its framework calls it.
    pub id: TaskId,
    /// What people call it.
    pub name: Line,
    /// Where it is, with the name, if it is anywhere.
    pub agent: Option<(AgentId, AgentName)>,
    /// What it holds.
    pub resources: Resources,
    /// Whose network it sees.
    pub network: NetworkMode,
    /// What the framework wants to remember of it.
    pub labels: Labels,
    /// The latest there is.
    pub status: TaskStatus,
    /// Whether it can write beyond the sizes of its volumes, if its agent is known.
    pub volume_sizes: Option<VolumeSizes>,
}

/// Who has a piece of an agent at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Free,
    /// A framework is offered it.
    Offered(FrameworkId),
    /// A task holds it.
    Used(TaskKey),
}

/// Something that is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationEntry {
    /// Where.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: AgentName,
    /// What; volumes are left to their own list.
    pub resources: Resources,
    /// Who has it.
    pub holder: Holder,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeEntry {
    /// Where.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: AgentName,
    /// The volume with its reservation and size.
    pub volume: Resource,
    /// Who has it.
    pub holder: Holder,
    /// Whether it can grow beyond its size.
    pub sizes: VolumeSizes,
}
