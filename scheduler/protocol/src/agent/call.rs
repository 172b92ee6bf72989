//! What an agent says.

use super::info::AgentInfo;
use super::task::AgentTask;
use crate::failure::Failure;
use crate::id::{AgentId, BootId, FrameworkId, OperationKey};
use crate::resource::{Estimate, PortBlocks, ResourceSet, SetVersion};
use crate::task::{TaskState, TaskStatus};

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentCall {
    /// Begins the conversation, or begins it again.
    Register(Box<Registration>),
    /// Names tasks that the agent has, as many calls as it takes after a registration.
    Tasks(Vec<AgentTask>),
    /// A task has come to a state.
    StatusUpdate {
        /// Whose task it is.
        framework: FrameworkId,
        /// With an update id, unless it answers RECONCILE.
        status: TaskStatus,
        /// Where the task is by now; updates before it may still be on their way.
        latest: TaskState,
    },
    /// The answer to a change.
    OperationStatus {
        /// The operation.
        operation: OperationKey,
        /// What came of it.
        outcome: ApplyOutcome,
    },
    /// What it lends has changed, or is renewed.
    Estimate(Estimate),
    /// How many blocks of ports there are has changed.
    PortBlocks(PortBlocks),
    /// The agent leaves: nothing of it runs any more.
    Unregister,
}

impl AgentCall {
    /// Returns the name of the call.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register(_) => "REGISTER",
            Self::Tasks(_) => "TASKS",
            Self::StatusUpdate { .. } => "STATUS_UPDATE",
            Self::OperationStatus { .. } => "OPERATION_STATUS",
            Self::Estimate(_) => "ESTIMATE",
            Self::PortBlocks(_) => "PORT_BLOCKS",
            Self::Unregister => "UNREGISTER",
        }
    }
}

/// What an agent registers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The node.
    pub agent: AgentInfo,
    /// What the kernel calls this boot.
    pub boot: BootId,
    /// What the scheduler called the agent, if it ever did.
    pub id: Option<AgentId>,
    /// Its reservations and volumes.
    pub checkpointed: ResourceSet,
    /// Its blocks of ports.
    pub port_blocks: PortBlocks,
    /// What it lends, or `None` for nothing.
    pub estimate: Option<Estimate>,
    /// How many tasks the TASKS calls name; registration is complete with the last.
    pub tasks_total: u32,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// It is written down and done.
    Applied {
        /// The version that it has made.
        version: SetVersion,
    },
    /// Nothing was changed.
    Failed(Failure),
}
