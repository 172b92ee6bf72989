//! What an agent is told.

use weir_resources::ResourceOperation;

use super::task::TaskOwner;
use crate::failure::{CallError, Failure};
use crate::id::{AgentId, OperationKey, TaskKey, UpdateId};
use crate::resource::SetVersion;
use crate::task::{Reason, TaskSpec};
use crate::text::{Line, Note};
use crate::time::Millis;

/// What an agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// It is registered; every event but a refusal comes after this one.
    Registered {
        /// Its id, to be kept and given at the next REGISTER.
        id: AgentId,
        /// What the scheduler is called.
        scheduler: Line,
    },
    /// It is not registered; the connection is closed.
    RegistrationRefused(Failure),
    /// Its set of reservations and volumes is to change.
    Apply {
        /// By which it is answered.
        operation: OperationKey,
        /// The version that it is meant for.
        base: SetVersion,
        /// What to do.
        change: ResourceOperation,
    },
    /// A task is to run.
    Launch(Box<Launch>),
    /// A task is to end.
    Kill {
        /// The task.
        task: TaskKey,
        /// How long it has, or `None` for what the task says.
        grace: Option<Millis>,
        /// What its last status says, or `None` when its framework asked for it.
        reason: Option<Reason>,
    },
    /// An update need not come again.
    Acknowledge {
        /// The task.
        task: TaskKey,
        /// The update.
        update: UpdateId,
    },
    /// Asks where tasks are; each is answered by an update without an id.
    Reconcile(Vec<TaskKey>),
    /// A task that holds revocable resources is to end.
    Revoke {
        /// The task.
        task: TaskKey,
        /// Why, for the framework to read.
        why: Note,
    },
    /// Every task is to end, and then the agent leaves.
    Drain {
        /// The longest that a task has, or `None` for what each says.
        grace_max: Option<Millis>,
    },
    /// The agent was removed: it must end what it runs and register as a new one.
    Shutdown(Failure),
    /// A call was refused.
    Error(CallError),
}

impl AgentEvent {
    /// Returns the name of the event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "REGISTERED",
            Self::RegistrationRefused(_) => "REGISTRATION_REFUSED",
            Self::Apply { .. } => "APPLY",
            Self::Launch(_) => "LAUNCH",
            Self::Kill { .. } => "KILL",
            Self::Acknowledge { .. } => "ACKNOWLEDGE",
            Self::Reconcile(_) => "RECONCILE",
            Self::Revoke { .. } => "REVOKE",
            Self::Drain { .. } => "DRAIN",
            Self::Shutdown(_) => "SHUTDOWN",
            Self::Error(_) => "ERROR",
        }
    }
}

/// A task is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The LAUNCH that it came by. The same task may come again; it is launched once.
    pub operation: OperationKey,
    /// Whose it is.
    pub owner: TaskOwner,
    /// Complete: with the user, and with the block of ports that an isolated task takes.
    pub task: TaskSpec,
}

impl Launch {
    /// Returns the task's name in the whole cluster.
    pub fn key(&self) -> TaskKey {
        TaskKey {
            framework: self.owner.framework,
            task: self.task.id.clone(),
        }
    }
}
