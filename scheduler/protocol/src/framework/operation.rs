//! What is to be done with offered resources, and what came of it.

use weir_resources::ResourceOperation;

use crate::failure::Failure;
use crate::id::OperationId;
use crate::task::TaskSpec;
use crate::text::Note;

/// What is to be done with offered resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// By which it is answered.
    pub id: OperationId,
    /// What to do.
    pub action: Action,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Launches tasks; at least one in what comes from a peer.
    Launch(Vec<TaskSpec>),
    /// Changes what resources are. Whether it makes sense is not checked here, for a framework is
    /// told by an answer to the operation: see [`ResourceOperation::check`].
    Change(ResourceOperation),
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationOutcome {
    /// It is written down and on its way to the agent; one of the others follows.
    Accepted,
    /// It is done.
    Finished {
        /// What to know about it.
        notes: Vec<Note>,
    },
    /// It is not done and will not be.
    Failed(Failure),
}

impl OperationOutcome {
    /// Returns whether no other answer follows.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Accepted => false,
            Self::Finished { .. } | Self::Failed(_) => true,
        }
    }
}
