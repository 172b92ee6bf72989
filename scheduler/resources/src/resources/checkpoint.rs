//! What an agent finds when it starts: what it is configured to have, and what operations made of it.

use super::add::AddError;
use super::collection::Resources;
use super::subtract::Shortfall;
use crate::resource::Resource;

/// Says why a checkpointed set does not fit what an agent is configured to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A resource in the set that no operation makes.
    #[error("`{resource}` is checkpointed, but is neither dynamically reserved nor a volume")]
    NotCheckpointed {
        /// The resource.
        resource: Resource,
    },
    /// Resources that are no longer there.
    #[error("what was reserved or made a volume is no longer there")]
    Missing(#[source] Shortfall),
    /// Resources that cannot be there beside the others.
    #[error("what was reserved or made a volume is there already")]
    Conflict(#[source] AddError),
}

impl CheckpointError {
    /// Returns what the operator of the agent may do.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotCheckpointed { .. } => {
                "the checkpoint is not what this agent writes: restore it"
            }
            Self::Missing(_) => {
                "configure at least what is reserved and what volumes use, or give it back first"
            }
            Self::Conflict(_) => {
                "configure no volume or reservation that operations have made as well"
            }
        }
    }
}

impl Resources {
    /// Returns what an agent has, of which it is configured to have `self`, after the operations that
    /// made `checkpointed`.
    ///
    /// The other way round, [`Resources::checkpointed`] is what has to be remembered.
    pub fn with_checkpoint(&self, checkpointed: &Self) -> Result<Self, CheckpointError> {
        if let Some(resource) = checkpointed.iter().find(|entry| !entry.is_checkpointed()) {
            return Err(CheckpointError::NotCheckpointed {
                resource: resource.clone(),
            });
        }
        let before = checkpointed.iter().map(Resource::before_operations);
        let before = Self::collect(before)
            .expect("what a node can have it can have without operations on it");
        self.checked_sub(&before)
            .map_err(CheckpointError::Missing)?
            .checked_add(checkpointed)
            .map_err(CheckpointError::Conflict)
    }
}
