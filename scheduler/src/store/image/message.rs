//! The messages of rows. Numbers of fields are given once and for all.

use prost::{Enumeration, Message, Oneof};
use weir_protocol::wire;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Agent {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) info: Option<wire::AgentInfo>,
    #[prost(string, tag = "3")]
    pub(super) boot: String,
    #[prost(string, tag = "4")]
    pub(super) software: String,
    #[prost(uint64, tag = "5")]
    pub(super) registered_ms: u64,
    #[prost(message, optional, tag = "6")]
    pub(super) checkpointed: Option<wire::ResourceSet>,
    #[prost(uint32, tag = "7")]
    pub(super) port_blocks: u32,
    /// Present while it is drained.
    #[prost(message, optional, tag = "8")]
    pub(super) draining: Option<Draining>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub(super) struct Draining {
    #[prost(uint64, optional, tag = "1")]
    pub(super) grace_ms_max: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct RemovedAgent {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint64, tag = "3")]
    pub(super) at_ms: u64,
    #[prost(string, tag = "4")]
    pub(super) why: String,
}

/// A framework, or one that has ended: the last two fields are of one of the two only.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Framework {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) info: Option<wire::FrameworkInfo>,
    #[prost(string, tag = "3")]
    pub(super) principal: String,
    #[prost(uint64, tag = "4")]
    pub(super) subscribed_ms: u64,
    #[prost(enumeration = "Past", tag = "5")]
    pub(super) past: i32,
    #[prost(message, optional, tag = "6")]
    pub(super) ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum Past {
    Unspecified = 0,
    Known = 1,
    Unknown = 2,
    FromTasks = 3,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct Ended {
    #[prost(uint64, tag = "1")]
    pub(super) at_ms: u64,
    #[prost(string, tag = "2")]
    pub(super) why: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Task {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) owner: Option<wire::TaskOwner>,
    #[prost(string, tag = "3")]
    pub(super) agent_id: String,
    #[prost(message, optional, tag = "4")]
    pub(super) operation: Option<OperationKey>,
    #[prost(oneof = "TaskWhat", tags = "5, 6")]
    pub(super) what: Option<TaskWhat>,
    #[prost(message, optional, tag = "7")]
    pub(super) kill: Option<Kill>,
    /// As the wire calls it.
    #[prost(string, optional, tag = "8")]
    pub(super) ended: Option<String>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum TaskWhat {
    #[prost(message, tag = "5")]
    Launched(wire::TaskSpec),
    #[prost(message, tag = "6")]
    Learned(LearnedTask),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LearnedTask {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) resources: Vec<wire::Resource>,
    #[prost(bool, tag = "4")]
    pub(super) is_on_host_network: bool,
    #[prost(message, repeated, tag = "5")]
    pub(super) labels: Vec<wire::Label>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct Kill {
    #[prost(uint64, optional, tag = "1")]
    pub(super) grace_ms: Option<u64>,
    /// As the wire calls it.
    #[prost(string, optional, tag = "2")]
    pub(super) reason: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct OperationKey {
    #[prost(message, optional, tag = "1")]
    pub(super) origin: Option<Origin>,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct Origin {
    #[prost(oneof = "OriginIs", tags = "1, 2")]
    pub(super) is: Option<OriginIs>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub(super) enum OriginIs {
    #[prost(string, tag = "1")]
    FrameworkId(String),
    #[prost(string, tag = "2")]
    Operator(String),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Errand {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(uint64, tag = "2")]
    pub(super) turn: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) origin: Option<Origin>,
    #[prost(string, tag = "4")]
    pub(super) agent_id: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) pool: Vec<wire::Resource>,
    #[prost(message, repeated, tag = "6")]
    pub(super) steps: Vec<Step>,
    #[prost(uint64, tag = "7")]
    pub(super) refuse_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Step {
    #[prost(fixed64, tag = "1")]
    pub(super) fingerprint: u64,
    #[prost(oneof = "StepIs", tags = "2, 3")]
    pub(super) is: Option<StepIs>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum StepIs {
    /// A change of resources.
    #[prost(message, tag = "2")]
    Change(wire::Operation),
    /// Tasks; unlike on the wire there may be none left.
    #[prost(message, tag = "3")]
    Launch(LaunchStep),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LaunchStep {
    #[prost(string, tag = "1")]
    pub(super) operation_id: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) tasks: Vec<wire::TaskSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) key: Option<OperationKey>,
    #[prost(uint64, tag = "2")]
    pub(super) number: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) fingerprint: u64,
    #[prost(oneof = "Outcome", tags = "4, 5, 6")]
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Outcome {
    #[prost(message, tag = "4")]
    Accepted(Accepted),
    #[prost(message, tag = "5")]
    Finished(Finished),
    #[prost(message, tag = "6")]
    Failed(wire::Failure),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub(super) struct Accepted {}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct Finished {
    #[prost(string, repeated, tag = "1")]
    pub(super) notes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(super) struct RoleWeight {
    #[prost(string, tag = "1")]
    pub(super) role: String,
    #[prost(uint32, tag = "2")]
    pub(super) thousandths: u32,
}
