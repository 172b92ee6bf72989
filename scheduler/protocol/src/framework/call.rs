//! What a framework asks.

use super::info::FrameworkInfo;
use super::offer::Filters;
use super::operation::Operation;
use crate::id::{AgentId, FrameworkId, OfferId, OperationId, TaskId, UpdateId};
use crate::time::Millis;

/// What a framework asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameworkCall {
    /// Begins the conversation: anew, or where another connection of the framework left it.
    Subscribe {
        /// What it says of itself.
        framework: FrameworkInfo,
        /// Who it is, or `None` for a new framework.
        id: Option<FrameworkId>,
        /// Whether to take over from another connection.
        force: bool,
    },
    /// Uses offers of one agent, or parts of them.
    Accept {
        /// At least one in what comes from a peer.
        offers: Vec<OfferId>,
        /// In order; each sees what those before it have done.
        operations: Vec<Operation>,
        /// For what is left.
        filters: Filters,
    },
    /// Gives offers back.
    Decline {
        /// At least one in what comes from a peer.
        offers: Vec<OfferId>,
        /// For what was offered.
        filters: Filters,
    },
    /// Removes all filters of the framework and undoes SUPPRESS.
    Revive,
    /// Asks for no more offers until REVIVE.
    Suppress,
    /// Ends a task.
    Kill {
        /// The task.
        task: TaskId,
        /// Its agent, if the framework knows.
        agent: Option<AgentId>,
        /// How long it has, or `None` for what the task says.
        grace: Option<Millis>,
    },
    /// Says that an update was received and need not come again.
    Acknowledge {
        /// The agent that made it.
        agent: AgentId,
        /// The task.
        task: TaskId,
        /// The update.
        update: UpdateId,
    },
    /// Asks where tasks and operations are; all tasks if it names nothing.
    Reconcile {
        /// The tasks.
        tasks: Vec<TaskQuery>,
        /// The operations.
        operations: Vec<OperationId>,
    },
    /// Ends all tasks and forgets the framework.
    Teardown,
}

impl FrameworkCall {
    /// Returns the name of the call in the schema and in Mesos.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } => "SUBSCRIBE",
            Self::Accept { .. } => "ACCEPT",
            Self::Decline { .. } => "DECLINE",
            Self::Revive => "REVIVE",
            Self::Suppress => "SUPPRESS",
            Self::Kill { .. } => "KILL",
            Self::Acknowledge { .. } => "ACKNOWLEDGE",
            Self::Reconcile { .. } => "RECONCILE",
            Self::Teardown => "TEARDOWN",
        }
    }
}

/// A task whose state is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskQuery {
    /// The task.
    pub task: TaskId,
    /// Its agent, if the framework knows: with it the answer comes while other agents are away.
    pub agent: Option<AgentId>,
}
