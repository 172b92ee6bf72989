//! What the session keeps: who the agent is to the scheduler, its reservations and volumes, its tasks.
//!
//! The session decides in memory and says what it decided as [`SessionChange`]s; several that belong
//! together are one transaction. [`SessionStored`] is what is read back, and [`SessionStored::apply`]
//! is what each change means: the tables do the same, and a test holds them to it.

mod apply;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use weir_protocol::{
    AgentId, ApplyOutcome, BootId, Launch, Millis, Note, OperationKey, Reason, ResourceSet,
    SetVersion, TaskKey, TaskState, TaskStatus, UpdateId,
};
use weir_resources::ResourceOperation;

use crate::container::ContainerId;

pub(super) use read::load;
pub(super) use write::execute;

/// How many answers to operations are kept: an operation that comes again is answered as before.
///
/// The scheduler asks again for what was on its way when a connection broke, and that is bounded by
/// what it sends before it waits; a thousand times more than one framework's ACCEPT can hold is
/// generous, and costs a few MiB of disk.
pub const ANSWERS_MAX: usize = 16_384;

/// How many tasks are remembered after their end was acknowledged, so that a launch that comes again
/// is not made again: as many as a node can start in an hour, which no connection outlives.
pub const FINISHED_MAX: usize = 65_536;

/// Everything that the session keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStored {
    /// What the scheduler calls the agent.
    pub agent: Option<AgentId>,
    /// Reservations and volumes.
    pub set: ResourceSet,
    /// The change that was begun and not answered.
    pub begun: Option<BegunChange>,
    /// The answers to the last operations, oldest first.
    pub answers: Vec<(OperationKey, ApplyOutcome)>,
    /// The tasks, in the order in which they came.
    pub tasks: Vec<TaskRow>,
    /// The tasks whose end was acknowledged, with how they ended; oldest first.
    pub finished: Vec<(TaskKey, TaskStatus)>,
}

/// A change that takes a step outside of the database: directories are made or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunChange {
    /// By which it is answered.
    pub operation: OperationKey,
    /// The version that it is made on.
    pub base: SetVersion,
    /// What is to be done.
    pub change: ResourceOperation,
}

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    /// As it came.
    pub launch: Arc<Launch>,
    /// How far it has come.
    pub progress: Progress,
    /// The updates that were not acknowledged, oldest first; each has an update id.
    pub updates: Vec<TaskStatus>,
}

/// How far a task has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Its container.
    pub phase: TaskPhase,
    /// Why it is to end, if somebody wants it to.
    pub ending: Option<Ending>,
    /// The latest status there is, sent or not.
    pub latest: TaskStatus,
    /// The state in the last update that was acknowledged.
    pub acknowledged: Option<TaskState>,
}

/// What a task has of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskPhase {
    /// A container of this id is being made, or is about to be.
    Launching {
        /// Chosen before it is made, so that it is known whether it was.
        container: ContainerId,
        /// Which attempt it is, counted from 1: those before were undone because the agent ended.
        attempt: u32,
        /// The boot in which it was tried.
        boot: BootId,
    },
    /// It runs, or did when it was last looked at.
    Running {
        /// Its container.
        container: ContainerId,
        /// The boot in which it was started.
        boot: BootId,
    },
    /// It has ended, or never began.
    Ended,
}

/// Why a task is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What its last status says; nothing when its framework asked for it.
    pub reason: Option<Reason>,
    /// What its last status says to people.
    pub message: Option<Note>,
    /// How long it has, if not as long as it says itself.
    pub grace: Option<Millis>,
}

/// One change of what the session keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionChange {
    /// The scheduler has given the agent an id, or it is to get another.
    SetAgent {
        /// The id.
        id: Option<AgentId>,
    },
    /// A change of the set is about to touch the disk.
    Begin(Box<BegunChange>),
    /// An operation has its answer. What was begun is over.
    Answer {
        /// The operation.
        operation: OperationKey,
        /// The answer.
        outcome: ApplyOutcome,
        /// The set that it made, if it made one.
        set: Option<ResourceSet>,
    },
    /// A task came.
    AddTask(Box<TaskRow>),
    /// A task has come further.
    SetProgress {
        /// The task.
        task: TaskKey,
        /// How far.
        progress: Box<Progress>,
    },
    /// An update is to be sent, after those before it.
    AddUpdate {
        /// The task.
        task: TaskKey,
        /// The update; it has an update id.
        status: Box<TaskStatus>,
    },
    /// An update was acknowledged.
    RemoveUpdate {
        /// The task.
        task: TaskKey,
        /// The update.
        update: UpdateId,
    },
    /// The last update of a task was acknowledged: of the task only its end is remembered.
    FinishTask {
        /// The task.
        task: TaskKey,
        /// How it ended.
        status: Box<TaskStatus>,
    },
    /// Nobody wants to know of any task any more: the agent begins as a new one.
    ForgetTasks,
}

impl TaskRow {
    /// Returns the task's name in the whole cluster.
    pub fn key(&self) -> TaskKey {
        self.launch.key()
    }
}

impl TaskPhase {
    /// Returns the container that the task has, or is to have.
    pub const fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Launching { container, .. } | Self::Running { container, .. } => Some(container),
            Self::Ended => None,
        }
    }

    /// Returns whether the task holds what it was given.
    pub const fn is_live(&self) -> bool {
        self.container().is_some()
    }
}
