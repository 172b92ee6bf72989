//! Reservations: for whom a resource is kept.

use super::labels::Labels;
use super::principal::Principal;
use super::role::Role;

/// For whom a resource is kept, and by whom.
///
/// The three are different kinds that never merge, and two dynamic ones merge only if role,
/// principal and labels are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reservation {
    /// Kept for nobody: RESERVE makes it dynamic.
    #[default]
    Unreserved,
    /// Kept for a role by the configuration of the agent: no operation changes that.
    Static(Role),
    /// Kept for a role by RESERVE: UNRESERVE makes it unreserved again.
    Dynamic {
        /// For whom.
        role: Role,
        /// Who reserved it, and alone may give it back.
        principal: Principal,
        /// What they wanted to remember.
        labels: Labels,
    },
}

impl Reservation {
    /// Returns the role for which it is kept, or `None` if it is unreserved.
    pub const fn role(&self) -> Option<&Role> {
        match self {
            Self::Unreserved => None,
            Self::Static(role) | Self::Dynamic { role, .. } => Some(role),
        }
    }

    /// Returns who reserved it, or `None` unless it is dynamic.
    pub const fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Unreserved | Self::Static(_) => None,
            Self::Dynamic { principal, .. } => Some(principal),
        }
    }

    /// Returns whether an operation made it.
    pub const fn is_dynamic(&self) -> bool {
        match self {
            Self::Unreserved | Self::Static(_) => false,
            Self::Dynamic { .. } => true,
        }
    }
}
