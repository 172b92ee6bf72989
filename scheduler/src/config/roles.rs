//! `[roles]`: which roles there are, and how much each is due.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use weir_resources::{Amount, Role};

use crate::allocator::Weight;

/// The roles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolesConfig {
    /// The roles that there are; empty for any.
    pub known: BTreeSet<Role>,
    /// Weights, until an operator sets others. A role without one has 1.
    #[serde(deserialize_with = "weights")]
    pub weights: BTreeMap<Role, Weight>,
}

impl RolesConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["known", "weights"];

    /// Returns whether there is such a role.
    pub fn knows(&self, role: &Role) -> bool {
        self.known.is_empty() || self.known.contains(role)
    }
}

fn weights<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Role, Weight>, D::Error> {
    let amounts = BTreeMap::<Role, Amount>::deserialize(deserializer)?;
    let weight = |(role, amount): (Role, Amount)| match Weight::try_from(amount) {
        Ok(weight) => Ok((role, weight)),
        Err(error) => Err(D::Error::custom(format_args!(
            "role `{role}`: {error}; {}",
            error.remedy()
        ))),
    };
    amounts.into_iter().map(weight).collect()
}
