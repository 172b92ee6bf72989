//! Tasks as an agent has them.

use weir_resources::{Labels, Principal, Resources, Role};

use crate::id::{FrameworkId, OperationKey, TaskId, TaskKey};
use crate::task::{NetworkMode, TaskState, TaskStatus};
use crate::text::Line;
use crate::time::Millis;

/// Whose a task is. The agent keeps it, so that a scheduler that has lost everything can learn it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskOwner {
    /// The framework.
    pub framework: FrameworkId,
    /// What people call the framework.
    pub framework_name: Line,
    /// The framework's principal.
    pub principal: Principal,
    /// The framework's role.
    pub role: Role,
    /// How long its tasks outlive its connection.
    pub failover_timeout: Millis,
    /// Whether the scheduler acknowledges for the framework while it is away.
    pub unattended: bool,
}

/// A task that an agent has: alive, or ended with updates that are not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTask {
    /// Whose it is.
    pub owner: TaskOwner,
    /// What its framework calls it.
    pub id: TaskId,
    /// What people call it.
    pub name: Line,
    /// What it holds.
    pub resources: Resources,
    /// Whose network it sees.
    pub network: NetworkMode,
    /// What the framework wants to remember of it.
    pub labels: Labels,
    /// The latest there is, whether it is acknowledged or not.
    pub status: TaskStatus,
    /// The state in the last update that was acknowledged, if any was.
    pub acknowledged: Option<TaskState>,
    /// The LAUNCH that it came by.
    pub operation: OperationKey,
}

impl AgentTask {
    /// Returns its name in the whole cluster.
    pub fn key(&self) -> TaskKey {
        TaskKey {
            framework: self.owner.framework,
            task: self.id.clone(),
        }
    }
}
