//! Ids with whoever gave them.

use std::fmt;
use std::num::NonZeroU64;

use weir_resources::Principal;

use super::{FrameworkId, OperationId, TaskId};

/// A task in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Whose task it is.
    pub framework: FrameworkId,
    /// What its framework calls it.
    pub task: TaskId,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

/// An operation in the whole cluster.
///
/// An agent that has seen it answers it again as before, so it is never done twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey {
    /// Who asked for it.
    pub origin: OperationOrigin,
    /// What they call it.
    pub id: OperationId,
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.id)
    }
}

/// Who asks for operations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationOrigin {
    /// A framework, in an ACCEPT.
    Framework(FrameworkId),
    /// An operator, by the name in the certificate.
    Operator(Principal),
}

impl fmt::Display for OperationOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framework(id) => write!(f, "{id}"),
            Self::Operator(principal) => write!(f, "operator {principal}"),
        }
    }
}

/// A call, among those of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub NonZeroU64);

impl CallId {
    /// Returns the id of a first call.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Returns the id of the call after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        // Nobody makes 2^64 calls on one connection.
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A call with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered<C> {
    /// By which an error or an answer names it.
    pub id: CallId,
    /// What is asked.
    pub call: C,
}
