//! What an operator asks.

use std::fmt;
use std::num::NonZeroU32;

use weir_resources::{Amount, ResourceOperation, Role};

use crate::bounds::CURSOR_BYTES_MAX;
use crate::id::{AgentName, FrameworkId, OperationId, TaskKey};
use crate::text::Line;
use crate::time::Millis;

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorCall {
    /// Lists the agents.
    ListAgents(Page),
    /// Lists the offers that frameworks hold.
    ListOffers(Page),
    /// Lists the roles.
    ListRoles(Page),
    /// Lists the frameworks.
    ListFrameworks(Page),
    /// Lists tasks.
    ListTasks {
        /// Which part.
        page: Page,
        /// Only those of this framework.
        framework: Option<FrameworkId>,
        /// Only those on this agent.
        agent: Option<AgentName>,
        /// Whether those that have ended are wanted too.
        ended: bool,
    },
    /// Lists what is reserved, statically or dynamically.
    ListReservations {
        /// Which part.
        page: Page,
        /// Only those on this agent.
        agent: Option<AgentName>,
        /// Only those of this role.
        role: Option<Role>,
    },
    /// Lists the volumes.
    ListVolumes {
        /// Which part.
        page: Page,
        /// Only those on this agent.
        agent: Option<AgentName>,
        /// Only those of this role.
        role: Option<Role>,
    },
    /// Reserves, unreserves, creates or destroys; offers that are in the way are rescinded.
    Change {
        /// Chosen by the operator; the same call again is answered again and done once.
        operation: OperationId,
        /// Where.
        agent: AgentName,
        /// What to do.
        change: ResourceOperation,
    },
    /// Sets how much of the cluster a role is due.
    SetWeight {
        /// The role.
        role: Role,
        /// Its weight.
        weight: Weight,
    },
    /// Ends the tasks of an agent and sends it away.
    DrainAgent {
        /// The agent.
        agent: AgentName,
        /// The longest that a task has, or `None` for what each says.
        grace_max: Option<Millis>,
    },
    /// Gives an agent up, with its tasks.
    RemoveAgent {
        /// The agent.
        agent: AgentName,
    },
    /// Ends a task.
    KillTask {
        /// The task.
        task: TaskKey,
        /// How long it has, or `None` for what the task says.
        grace: Option<Millis>,
    },
    /// Ends a framework with its tasks.
    TeardownFramework {
        /// The framework.
        framework: FrameworkId,
    },
}

impl OperatorCall {
    /// Returns the name of the call.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ListAgents(_) => "LIST_AGENTS",
            Self::ListOffers(_) => "LIST_OFFERS",
            Self::ListRoles(_) => "LIST_ROLES",
            Self::ListFrameworks(_) => "LIST_FRAMEWORKS",
            Self::ListTasks { .. } => "LIST_TASKS",
            Self::ListReservations { .. } => "LIST_RESERVATIONS",
            Self::ListVolumes { .. } => "LIST_VOLUMES",
            Self::Change { change, .. } => match change {
                ResourceOperation::Reserve(_) => "RESERVE",
                ResourceOperation::Unreserve(_) => "UNRESERVE",
                ResourceOperation::Create(_) => "CREATE_VOLUMES",
                ResourceOperation::Destroy(_) => "DESTROY_VOLUMES",
            },
            Self::SetWeight { .. } => "SET_WEIGHT",
            Self::DrainAgent { .. } => "DRAIN_AGENT",
            Self::RemoveAgent { .. } => "REMOVE_AGENT",
            Self::KillTask { .. } => "KILL_TASK",
            Self::TeardownFramework { .. } => "TEARDOWN_FRAMEWORK",
        }
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What `next` of the answer before said, or `None` from the start.
    pub after: Option<Cursor>,
    /// The most entries, or `None` for as many as fit.
    pub limit: Option<NonZeroU32>,
}

/// A place in a list; only whoever made it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Line<CURSOR_BYTES_MAX>);

/// How much of the cluster a role is due, compared with others: above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(Amount);

impl Weight {
    /// What a role weighs of which nothing was said.
    pub const ONE: Self = Self(Amount::from_thousandths(1000));

    /// Returns the weight, or `None` if it is zero: a role that is due nothing.
    pub const fn new(amount: Amount) -> Option<Self> {
        if amount.is_zero() {
            None
        } else {
            Some(Self(amount))
        }
    }

    /// Returns the number.
    pub const fn amount(self) -> Amount {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
