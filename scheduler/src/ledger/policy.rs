//! Who may do what: asked by the ledger, answered by whoever has read the rules of access.

use std::fmt;

use weir_protocol::Line;
use weir_resources::{Principal, Role};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// A framework of this principal.
    Framework(&'a Principal),
    /// An operator.
    Operator(&'a Principal),
}

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framework(principal) => write!(f, "framework principal `{principal}`"),
            Self::Operator(principal) => write!(f, "operator `{principal}`"),
        }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// To be a framework of the role.
    Subscribe(&'a Role),
    /// To reserve for the role.
    Reserve(&'a Role),
    /// To take back what somebody has reserved for the role.
    ///
    /// A framework is asked only about its own; others' it may never take back.
    Unreserve {
        /// For whom it is reserved.
        role: &'a Role,
        /// Who has reserved it.
        by: &'a Principal,
    },
    /// To create a volume of the role.
    Create(&'a Role),
    /// To destroy a volume of the role, with what is on it.
    Destroy(&'a Role),
    /// To run something as a user.
    Launch {
        /// The role of the framework.
        role: &'a Role,
        /// The user, or `None` for whom the agent runs tasks as that do not say.
        user: Option<&'a Line>,
    },
    /// To see what there is; of operators.
    List,
    /// To set the weight of a role; of operators.
    SetWeight(&'a Role),
    /// To drain an agent; of operators.
    Drain,
    /// To remove an agent; of operators.
    Remove,
    /// To kill a task of the role; of operators.
    Kill(&'a Role),
    /// To tear down a framework of the role; of operators.
    Teardown(&'a Role),
}

impl<'a> Act<'a> {
    /// Returns the role that it is about, if it is about one.
    pub const fn role(&self) -> Option<&'a Role> {
        match self {
            Self::Subscribe(role)
            | Self::Reserve(role)
            | Self::Unreserve { role, .. }
            | Self::Create(role)
            | Self::Destroy(role)
            | Self::Launch { role, .. }
            | Self::SetWeight(role)
            | Self::Kill(role)
            | Self::Teardown(role) => Some(role),
            Self::List | Self::Drain | Self::Remove => None,
        }
    }
}

impl fmt::Display for Act<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(role) => write!(f, "subscribe with role `{role}`"),
            Self::Reserve(role) => write!(f, "reserve for role `{role}`"),
            Self::Unreserve { role, by } => {
                write!(f, "take back what `{by}` has reserved for role `{role}`")
            }
            Self::Create(role) => write!(f, "create volumes of role `{role}`"),
            Self::Destroy(role) => write!(f, "destroy volumes of role `{role}`"),
            Self::Launch { role, user } => match user {
                Some(user) => write!(f, "run tasks of role `{role}` as user `{user}`"),
                None => write!(f, "run tasks of role `{role}` as whom the agent chooses"),
            },
            Self::List => f.write_str("list what there is"),
            Self::SetWeight(role) => write!(f, "set the weight of role `{role}`"),
            Self::Drain => f.write_str("drain agents"),
            Self::Remove => f.write_str("remove agents"),
            Self::Kill(role) => write!(f, "kill tasks of role `{role}`"),
            Self::Teardown(role) => write!(f, "tear down frameworks of role `{role}`"),
        }
    }
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They allow it.
    Allowed,
    /// They do not allow it.
    Refused,
    /// They know no such role.
    RoleUnknown,
}

/// The rules of access.
///
/// The ledger asks each time and remembers no answer, so new rules count from the next call on.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Says whether somebody may do something. Pure: the same question has the same answer.
    fn judge(&self, caller: Caller<'_>, act: Act<'_>) -> Verdict;
}

/// Rules that allow everything: for tests, and for whoever has not written any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permissive;

impl Policy for Permissive {
    fn judge(&self, _: Caller<'_>, _: Act<'_>) -> Verdict {
        Verdict::Allowed
    }
}
