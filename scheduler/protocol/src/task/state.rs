//! States, sources and reasons. The names are those of Mesos where it has one.

use std::fmt;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Accepted, on its way to the agent.
    Staging,
    /// The agent makes its container.
    Starting,
    /// It runs.
    Running,
    /// It is being ended.
    Killing,
    /// The command exited with 0.
    Finished,
    /// The command failed, or was ended for going beyond what it holds.
    Failed,
    /// It was ended because somebody asked for it.
    Killed,
    /// Nobody knows what became of it, or it never began.
    Lost,
    /// It could not be launched as it was described.
    Error,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
        Self::Error,
    ];

    /// Returns whether nothing comes after it, so that what the task held is free.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Staging | Self::Starting | Self::Running | Self::Killing => false,
            Self::Finished | Self::Failed | Self::Killed | Self::Lost | Self::Error => true,
        }
    }

    /// Returns the name of Mesos: `TASK_RUNNING`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Lost => "TASK_LOST",
            Self::Error => "TASK_ERROR",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who made a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The scheduler, by itself.
    Scheduler,
    /// The agent.
    Agent,
    /// The process that parents the task.
    Executor,
}

impl Source {
    /// Returns the name on the wire: `TASK_SOURCE_AGENT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "TASK_SOURCE_SCHEDULER",
            Self::Agent => "TASK_SOURCE_AGENT",
            Self::Executor => "TASK_SOURCE_EXECUTOR",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a task is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The command exited with another code than 0, or by a signal.
    CommandFailed,
    /// The executor ended before it could tell how the command did.
    CommandExecutorFailed,
    /// The container could not be made.
    ContainerLaunchFailed,
    /// It went beyond what it holds.
    ContainerLimitation,
    /// It went beyond its disk.
    ContainerLimitationDisk,
    /// It went beyond its memory.
    ContainerLimitationMemory,
    /// It was ended for the sake of regular tasks.
    ContainerPreempted,
    /// What was lent to it is no longer idle.
    Revoked,
    /// The executor ended.
    ExecutorTerminated,
    /// Its framework was removed.
    FrameworkRemoved,
    /// Its framework is not known.
    InvalidFrameworkId,
    /// The offers that were to pay for it are not the framework's, or gone.
    InvalidOffers,
    /// An answer to RECONCILE.
    Reconciliation,
    /// It needs a reservation or a volume that the agent does not have.
    ResourcesUnknown,
    /// The agent went away before it could be launched.
    AgentDisconnected,
    /// The agent was given up.
    AgentRemoved,
    /// An operator removed the agent.
    AgentRemovedByOperator,
    /// The agent or its node restarted and the task did not outlive that.
    AgentRestarted,
    /// No such agent.
    AgentUnknown,
    /// The agent is being emptied.
    AgentDraining,
    /// The description cannot be launched.
    TaskInvalid,
    /// The framework may not launch that.
    TaskUnauthorized,
    /// No such task.
    TaskUnknown,
    /// It was killed before it had begun.
    TaskKilledDuringLaunch,
    /// An operator killed it.
    KilledByOperator,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 25] = [
        Self::CommandFailed,
        Self::CommandExecutorFailed,
        Self::ContainerLaunchFailed,
        Self::ContainerLimitation,
        Self::ContainerLimitationDisk,
        Self::ContainerLimitationMemory,
        Self::ContainerPreempted,
        Self::Revoked,
        Self::ExecutorTerminated,
        Self::FrameworkRemoved,
        Self::InvalidFrameworkId,
        Self::InvalidOffers,
        Self::Reconciliation,
        Self::ResourcesUnknown,
        Self::AgentDisconnected,
        Self::AgentRemoved,
        Self::AgentRemovedByOperator,
        Self::AgentRestarted,
        Self::AgentUnknown,
        Self::AgentDraining,
        Self::TaskInvalid,
        Self::TaskUnauthorized,
        Self::TaskUnknown,
        Self::TaskKilledDuringLaunch,
        Self::KilledByOperator,
    ];

    /// Returns the name on the wire: `REASON_REVOKED`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandFailed => "REASON_COMMAND_FAILED",
            Self::CommandExecutorFailed => "REASON_COMMAND_EXECUTOR_FAILED",
            Self::ContainerLaunchFailed => "REASON_CONTAINER_LAUNCH_FAILED",
            Self::ContainerLimitation => "REASON_CONTAINER_LIMITATION",
            Self::ContainerLimitationDisk => "REASON_CONTAINER_LIMITATION_DISK",
            Self::ContainerLimitationMemory => "REASON_CONTAINER_LIMITATION_MEMORY",
            Self::ContainerPreempted => "REASON_CONTAINER_PREEMPTED",
            Self::Revoked => "REASON_REVOKED",
            Self::ExecutorTerminated => "REASON_EXECUTOR_TERMINATED",
            Self::FrameworkRemoved => "REASON_FRAMEWORK_REMOVED",
            Self::InvalidFrameworkId => "REASON_INVALID_FRAMEWORKID",
            Self::InvalidOffers => "REASON_INVALID_OFFERS",
            Self::Reconciliation => "REASON_RECONCILIATION",
            Self::ResourcesUnknown => "REASON_RESOURCES_UNKNOWN",
            Self::AgentDisconnected => "REASON_AGENT_DISCONNECTED",
            Self::AgentRemoved => "REASON_AGENT_REMOVED",
            Self::AgentRemovedByOperator => "REASON_AGENT_REMOVED_BY_OPERATOR",
            Self::AgentRestarted => "REASON_AGENT_RESTARTED",
            Self::AgentUnknown => "REASON_AGENT_UNKNOWN",
            Self::AgentDraining => "REASON_AGENT_DRAINING",
            Self::TaskInvalid => "REASON_TASK_INVALID",
            Self::TaskUnauthorized => "REASON_TASK_UNAUTHORIZED",
            Self::TaskUnknown => "REASON_TASK_UNKNOWN",
            Self::TaskKilledDuringLaunch => "REASON_TASK_KILLED_DURING_LAUNCH",
            Self::KilledByOperator => "REASON_KILLED_BY_OPERATOR",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
