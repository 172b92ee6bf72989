//! What the rules of access say when the ledger asks.

use weir_resources::Principal;

use super::access::{AccessConfig, FrameworkRule, OperatorRule, Otherwise, Power};
use super::roles::RolesConfig;
use crate::ledger::{Act, Caller, Policy, Verdict};

/// The rules of access, as the ledger asks for them.
#[derive(Clone, Debug)]
pub struct Rights {
    roles: RolesConfig,
    access: AccessConfig,
}

impl Rights {
    pub(super) fn new(roles: RolesConfig, access: AccessConfig) -> Self {
        Self { roles, access }
    }

    /// Returns what `rules` say of one caller: those that name it count, and if there is none,
    /// `otherwise`.
    fn any<R>(
        &self,
        rules: &[R],
        names: impl Fn(&R) -> bool,
        allows: impl Fn(&R) -> bool,
    ) -> Verdict {
        let mut naming = rules.iter().filter(|rule| names(rule)).peekable();
        let allowed = if naming.peek().is_some() {
            naming.any(allows)
        } else {
            self.access.otherwise == Otherwise::Allow
        };
        if allowed {
            Verdict::Allowed
        } else {
            Verdict::Refused
        }
    }
}

impl Policy for Rights {
    fn judge(&self, caller: Caller<'_>, act: Act<'_>) -> Verdict {
        if brings_role(act) && act.role().is_some_and(|role| !self.roles.knows(role)) {
            return Verdict::RoleUnknown;
        }
        match caller {
            Caller::Framework(principal) => self.any(
                &self.access.frameworks,
                |rule| rule.principals.includes(principal),
                |rule| rule.allows(principal, act),
            ),
            Caller::Operator(principal) => self.any(
                &self.access.operators,
                |rule| rule.principals.includes(principal),
                |rule| rule.allows(act),
            ),
        }
    }
}

/// Returns whether an act would bring a role in. One that was taken out of the list can still be
/// cleared of what it has.
const fn brings_role(act: Act<'_>) -> bool {
    match act {
        Act::Subscribe(_)
        | Act::Reserve(_)
        | Act::Create(_)
        | Act::Launch { .. }
        | Act::SetWeight(_) => true,
        Act::Unreserve { .. }
        | Act::Destroy(_)
        | Act::Kill(_)
        | Act::Teardown(_)
        | Act::List
        | Act::Drain
        | Act::Remove => false,
    }
}

impl FrameworkRule {
    fn allows(&self, principal: &Principal, act: Act<'_>) -> bool {
        if act.role().is_some_and(|role| !self.roles.includes(role)) {
            return false;
        }
        match act {
            Act::Subscribe(_) => true,
            Act::Reserve(_) => self.reserve,
            Act::Unreserve { by, .. } => self.reserve && by == principal,
            Act::Create(_) => self.create,
            Act::Destroy(_) => self.destroy,
            Act::Launch { user, .. } => self.users.include(user),
            // An operator's.
            Act::List
            | Act::SetWeight(_)
            | Act::Drain
            | Act::Remove
            | Act::Kill(_)
            | Act::Teardown(_) => false,
        }
    }
}

impl OperatorRule {
    fn allows(&self, act: Act<'_>) -> bool {
        if act.role().is_some_and(|role| !self.roles.includes(role)) {
            return false;
        }
        let power = match act {
            Act::List => Power::List,
            Act::Reserve(_) => Power::Reserve,
            Act::Unreserve { .. } => Power::Unreserve,
            Act::Create(_) => Power::Create,
            Act::Destroy(_) => Power::Destroy,
            Act::SetWeight(_) => Power::SetWeight,
            Act::Drain => Power::Drain,
            Act::Remove => Power::Remove,
            Act::Kill(_) => Power::Kill,
            Act::Teardown(_) => Power::Teardown,
            // A framework's.
            Act::Subscribe(_) | Act::Launch { .. } => return false,
        };
        self.powers.contains(&power)
    }
}
