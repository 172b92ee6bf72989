//! What the allocator refuses, and why.

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{AddError, ResourceName, Shortfall};

use super::scalars::SCALAR_NAMES_MAX;

/// Says why the resources of an agent cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It was added before.
    #[error("agent {agent} is there already")]
    Known {
        /// The agent.
        agent: AgentId,
    },
    /// It was never added, or was removed.
    #[error("agent {agent} is not there")]
    Unknown {
        /// The agent.
        agent: AgentId,
    },
    /// It has a scalar of a name that is one too many.
    #[error(
        "`{name}` of agent {agent} is one name too many: the cluster has had {max} names of scalars",
        max = SCALAR_NAMES_MAX
    )]
    TooManyNames {
        /// The agent.
        agent: AgentId,
        /// The name.
        name: ResourceName,
    },
    /// More than can be counted.
    #[error("with agent {agent} the cluster has more of `{name}` than can be counted")]
    Uncountable {
        /// The agent.
        agent: AgentId,
        /// What there would be too much of.
        name: ResourceName,
    },
    /// One framework holds things that cannot be together on one agent.
    #[error("framework {framework} cannot hold all that it is said to hold on agent {agent}")]
    Held {
        /// The agent.
        agent: AgentId,
        /// The framework.
        framework: FrameworkId,
        /// Why they cannot be together.
        source: AddError,
    },
}

impl AgentError {
    /// Returns what to try.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Known { .. } => "update it instead",
            Self::Unknown { .. } => "let it register again",
            Self::TooManyNames { .. } => {
                "give resources of the same sort the same name on all agents, then restart the scheduler"
            }
            Self::Uncountable { .. } => {
                "look for a misprint in the amount, or count in a larger unit on all agents"
            }
            Self::Held { .. } => "let the agent register again and say what its tasks hold",
        }
    }
}

/// Says why something cannot be done with a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameworkError {
    /// It was added before.
    #[error("framework {framework} is there already")]
    Known {
        /// The framework.
        framework: FrameworkId,
    },
    /// It was never added, or was removed.
    #[error("framework {framework} is not there")]
    Unknown {
        /// The framework.
        framework: FrameworkId,
    },
}

/// Says why what a framework holds on an agent cannot change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldingError {
    /// The agent was never added, or was removed with all that was held there.
    #[error("agent {agent} is not there")]
    UnknownAgent {
        /// The agent.
        agent: AgentId,
    },
    /// It does not hold that.
    #[error("framework {framework} does not hold that on agent {agent}")]
    NotHeld {
        /// The agent.
        agent: AgentId,
        /// The framework.
        framework: FrameworkId,
        /// What it does not hold.
        source: Shortfall,
    },
    /// It holds it, and yet the agent does not have it: it shrank, and awaits it back.
    #[error("agent {agent} no longer has what framework {framework} wants changed")]
    NotThere {
        /// The agent.
        agent: AgentId,
        /// The framework.
        framework: FrameworkId,
        /// What is not there.
        source: Shortfall,
    },
    /// The new resources cannot be together with others of the agent.
    #[error("framework {framework} cannot hold that on agent {agent}")]
    Together {
        /// The agent.
        agent: AgentId,
        /// The framework.
        framework: FrameworkId,
        /// Why they cannot be together.
        source: AddError,
    },
    /// The cluster cannot have the new resources.
    #[error(transparent)]
    Agent(#[from] AgentError),
}
