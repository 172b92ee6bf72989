//! Parcels: resources with the numbers in them.

use std::sync::Arc;

use weir_resources::Resources;

use super::scalars::{Amounts, ScalarNames};
use super::settings::Least;

/// Resources of one kind of one agent, with the numbers in them, counted once.
///
/// What is offered and declined goes from hand to hand as it is: a clone is an increment, and two that
/// are the same are seen to be equal without a look inside.
#[derive(Clone, Debug, Default)]
pub(super) struct Parcel(Arc<Contents>);

#[derive(Debug, Default)]
struct Contents {
    resources: Resources,
    amounts: Amounts,
    /// The part of `amounts` that is kept for nobody.
    unreserved: Amounts,
}

impl Parcel {
    pub(super) fn new(resources: Resources, names: &ScalarNames) -> Self {
        if resources.is_empty() {
            return Self::default();
        }
        let amounts = names.amounts(resources.scalars());
        let unreserved = if is_unreserved(&resources) {
            amounts.clone()
        } else {
            names.amounts(resources.unreserved().scalars())
        };
        Self(Arc::new(Contents {
            resources,
            amounts,
            unreserved,
        }))
    }

    pub(super) fn resources(&self) -> &Resources {
        &self.0.resources
    }

    pub(super) fn amounts(&self) -> &Amounts {
        &self.0.amounts
    }

    /// Returns how much of it is kept for nobody.
    pub(super) fn unreserved_amounts(&self) -> &Amounts {
        &self.0.unreserved
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.resources.is_empty()
    }

    /// Returns whether it is worth an offer to whoever may have it.
    pub(super) fn is_enough(&self, least: &Least) -> bool {
        let amounts = self.amounts();
        !self.is_empty()
            && (amounts.get(ScalarNames::CPUS) >= least.cpus.thousandths()
                || amounts.get(ScalarNames::MEM) >= least.mem.thousandths())
    }

    /// Returns both together; they are parts of what one agent has.
    pub(super) fn joined(&self, other: &Self, names: &ScalarNames) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        let resources = self
            .resources()
            .checked_add(other.resources())
            .expect("two parts of what an agent has can be together");
        Self::new(resources, names)
    }
}

/// Returns whether nothing of it is kept for anyone.
pub(super) fn is_unreserved(resources: &Resources) -> bool {
    resources.iter().all(|resource| resource.role().is_none())
}
